//! Presigned URLs: requests whose signature is in the query, for whoever is given the URL.

use std::time::Duration;

use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::{
    http_request::{
        PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings, UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use http::Method;
use umbra_core::Timestamp;

use super::{SignError, UNSIGNED_PAYLOAD, system_time};
use crate::{Credentials, encode};

/// Signs `url`, an absolute URL without a query whose path is encoded as it is to be sent, for one request by whoever has the result,
/// within `expires` of `time`.
pub fn presign(
    method: &Method,
    url: &str,
    credentials: &Credentials,
    region: &str,
    time: Timestamp,
    expires: Duration,
) -> Result<String, SignError> {
    let unsignable = |error: Box<dyn std::error::Error + Send + Sync>| SignError::Unsignable(error);
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(expires);
    let token = credentials.session_token().map(str::to_owned);
    let identity = AwsCredentials::new(credentials.access_key(), credentials.secret(), token, None, "umbra").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("s3")
        .time(system_time(time))
        .settings(settings)
        .build()
        .map_err(|error| unsignable(error.into()))?
        .into();
    let body = SignableBody::Precomputed(UNSIGNED_PAYLOAD.to_owned());
    let request = SignableRequest::new(method.as_str(), url, [].into_iter(), body).map_err(|error| unsignable(error.into()))?;
    let (instructions, _) = sign(request, &params).map_err(|error| unsignable(error.into()))?.into_parts();
    let (_, query) = instructions.into_parts();
    let query: Vec<_> = query.into_iter().map(|(name, value)| (name, Some(value.into_owned()))).collect();
    Ok(format!("{url}?{}", encode::query(&query)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Method;
    use umbra_core::Timestamp;

    use super::presign;
    use crate::Credentials;

    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>
    #[test]
    fn the_documented_example_is_signed_as_documented() {
        let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let time = Timestamp::from_millis(1_369_353_600_000);
        let url = "https://examplebucket.s3.amazonaws.com/test.txt";
        let url = presign(&Method::GET, url, &credentials, "us-east-1", time, Duration::from_secs(86_400)).unwrap();
        assert!(url.contains("X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"), "{url}");
        assert!(!url.contains("EXAMPLEKEY"));
    }
}

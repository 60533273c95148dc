//! AWS Signature Version 4: signing what goes out, URLs for others, and verifying what comes in at the admin API.
//!
//! The arithmetic is the `aws-sigv4` crate's. S3 wants the path as it is sent: encoded once and never normalized.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>

mod presign;
mod verify;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use http::{
    HeaderValue,
    header::{self, HOST, HeaderName},
    request::Parts,
};
use umbra_core::Timestamp;

use crate::Credentials;

pub use presign::presign;
pub use verify::{VerifyError, verify_request};

/// The SHA-256 of nothing, in hexadecimal.
pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What stands for the hash of a body that is not known beforehand. S3 takes it.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// What stands for the hash of a body that ends with a checksum of its own.
pub const STREAMING_UNSIGNED_PAYLOAD_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const X_AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// Headers that stay out of signatures, because what lies between us and the origin may change them. Google's front end rewrites
/// `Accept-Encoding`; hyper writes `Content-Length` itself.
const UNSIGNED: [HeaderName; 8] = [
    header::ACCEPT_ENCODING,
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::TE,
    header::TRANSFER_ENCODING,
    header::USER_AGENT,
];

/// Why a request cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The request names no host.
    #[error("the request names no host")]
    NoHost,
    /// A header's value is not text.
    #[error("the value of the header {0} is not UTF-8")]
    Header(HeaderName),
    /// The credentials, or something else, do not fit into a header.
    #[error("the request cannot be signed")]
    Unsignable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Signs a request whose body has the SHA-256 `body_sha256`, in lower-case hexadecimal, or is not to be signed ([`UNSIGNED_PAYLOAD`]).
///
/// Sets `Authorization`, `x-amz-date`, `x-amz-content-sha256` and, for temporary credentials, `x-amz-security-token`; also `Host`,
/// when only the URI names it. Everything else the request carries by then is signed, but for what proxies change.
pub fn sign_request(
    parts: &mut Parts,
    body_sha256: &str,
    credentials: &Credentials,
    region: &str,
    service: &str,
    time: Timestamp,
) -> Result<(), SignError> {
    if !parts.headers.contains_key(HOST) {
        let authority = parts.uri.authority().ok_or(SignError::NoHost)?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|error| SignError::Unsignable(error.into()))?;
        parts.headers.insert(HOST, host);
    }
    for ours in [header::AUTHORIZATION, X_AMZ_DATE, X_AMZ_CONTENT_SHA256, X_AMZ_SECURITY_TOKEN] {
        parts.headers.remove(ours);
    }
    let mut signed = Vec::with_capacity(parts.headers.len());
    for (name, value) in &parts.headers {
        if !UNSIGNED.contains(name) {
            let value = std::str::from_utf8(value.as_bytes()).map_err(|_| SignError::Header(name.clone()))?;
            signed.push((name.as_str(), value));
        }
    }
    let scope = Scope { region, service, time };
    let (additions, _) = calculate(parts, &signed, body_sha256, credentials, &scope, PayloadChecksumKind::XAmzSha256)?;
    for (name, value, sensitive) in additions {
        let mut value = HeaderValue::from_str(&value).map_err(|error| SignError::Unsignable(error.into()))?;
        value.set_sensitive(sensitive);
        parts.headers.insert(name, value);
    }
    Ok(())
}

/// What a signature is good for.
struct Scope<'a> {
    region: &'a str,
    service: &'a str,
    time: Timestamp,
}

/// A header to set: its name, its value, whether it is secret.
type Addition = (&'static str, String, bool);

/// The headers that carry the signature over exactly `headers`, and the signature itself.
fn calculate(
    parts: &Parts,
    headers: &[(&str, &str)],
    body_sha256: &str,
    credentials: &Credentials,
    scope: &Scope<'_>,
    checksum: PayloadChecksumKind,
) -> Result<(Vec<Addition>, String), SignError> {
    let unsignable = |error: Box<dyn std::error::Error + Send + Sync>| SignError::Unsignable(error);
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = checksum;
    settings.excluded_headers = None;
    let token = credentials.session_token().map(str::to_owned);
    let identity = AwsCredentials::new(credentials.access_key(), credentials.secret(), token, None, "umbra").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(scope.region)
        .name(scope.service)
        .time(system_time(scope.time))
        .settings(settings)
        .build()
        .map_err(|error| unsignable(error.into()))?
        .into();
    let body = SignableBody::Precomputed(body_sha256.to_owned());
    let request = SignableRequest::new(parts.method.as_str(), parts.uri.to_string(), headers.iter().copied(), body)
        .map_err(|error| unsignable(error.into()))?;
    let (instructions, signature) = sign(request, &params).map_err(|error| unsignable(error.into()))?.into_parts();
    let (additions, _) = instructions.into_parts();
    let additions = additions.into_iter().map(|header| (header.name(), header.value().to_owned(), header.sensitive())).collect();
    Ok((additions, signature))
}

fn system_time(time: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(0))
}

/// The SHA-256 of `bytes` as signatures spell it.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(ring::digest::digest(&ring::digest::SHA256, bytes))
}

#[cfg(test)]
mod tests;

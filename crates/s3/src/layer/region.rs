//! Regions that no signature can be for.
//!
//! Any region is good enough here, but s3s refuses those that are not spelt like one, in words no client understands: s3cmd, for one, signs
//! for `US` until it is told better. S3 tells the right one with its error, and then clients sign again.

use http::{Request, StatusCode, header::AUTHORIZATION};
use percent_encoding::percent_decode_str;
use s3s::{S3Result, region::Region};

use crate::error::custom;

/// Refuses `request` when it is signed for what cannot be a region, and names `here` instead.
pub(super) fn check<B>(request: &Request<B>, here: &str) -> S3Result<()> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let in_header =
        header.and_then(|text| text.split_once("Credential=")).map(|(_, rest)| rest.split([',', ' ']).next().unwrap_or_default());
    let mut pairs = request.uri().query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let in_query = || pairs.find(|(name, _)| name.eq_ignore_ascii_case("x-amz-credential")).map(|(_, value)| decode(value));
    let Some(credential) = in_header.map(str::to_owned).or_else(in_query) else { return Ok(()) };
    // KEY/DAY/REGION/SERVICE/aws4_request, where the key may have slashes too.
    match credential.rsplit('/').nth(2) {
        Some(region) if !region.is_empty() && Region::new(region.into()).is_err() => {
            let message = format!("The authorization header is malformed; the region '{region}' is wrong; expecting '{here}'");
            Err(custom("AuthorizationHeaderMalformed", StatusCode::BAD_REQUEST, message))
        }
        _ => Ok(()),
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::check;

    #[test]
    fn only_what_is_no_region_is_refused() {
        let cases = [
            ("/", Some("AWS4-HMAC-SHA256 Credential=K/20260101/US/s3/aws4_request, SignedHeaders=host, Signature=00"), false),
            ("/", Some("AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00"), true),
            ("/", Some("AWS4-HMAC-SHA256 Credential=K/20260101/nowhere-9/s3/aws4_request,SignedHeaders=host,Signature=00"), true),
            ("/", Some("AWS4-HMAC-SHA256 Credential=K"), true),
            ("/", Some("AWS key:signature"), true),
            ("/?X-Amz-Credential=a%2Fb%2F20260101%2FUS%2Fs3%2Faws4_request", None, false),
            ("/?X-Amz-Credential=a%2F20260101%2Ffra%2Fs3%2Faws4_request", None, true),
            ("/", None, true),
        ];
        for (uri, authorization, expected) in cases {
            let mut request = Request::builder().uri(uri);
            if let Some(value) = authorization {
                request = request.header("authorization", value);
            }
            assert_eq!(check(&request.body(()).unwrap(), "auto").is_ok(), expected, "{uri} {authorization:?}");
        }
    }
}

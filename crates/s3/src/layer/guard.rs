//! Refuses requests that must not reach s3s, each with the answer S3 gives.

use http::{
    HeaderMap, Method, Request, StatusCode, Version,
    header::{AUTHORIZATION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING},
};
use percent_encoding::percent_decode_str;
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::query::{self, Shape};
use crate::{error::custom, post::is_form};

/// The longest URI: a key of 1,024 bytes, every one escaped, and a long signature fit several times.
const URI_BYTES_MAX: usize = 16 * 1024;
/// The most bytes of headers. S3 takes 8 KB; a little more does no harm.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Refuses `request`, or lets it pass.
pub(super) fn check<B>(request: &Request<B>, shape: Shape) -> S3Result<()> {
    check_target(request)?;
    check_method(request.method(), shape)?;
    check_extensions(request.headers())?;
    check_length(request.method(), request.headers())?;
    check_mechanisms(request)?;
    check_presigned(request.uri().query().unwrap_or_default())
}

/// Refuses what no address here would take.
pub(super) fn check_target<B>(request: &Request<B>) -> S3Result<()> {
    check_host(request)?;
    check_sizes(request)?;
    check_path(request.uri().path())
}

/// Since HTTP/1.1 a request must say whom it is for (RFC 9112, section 3.2).
fn check_host<B>(request: &Request<B>) -> S3Result<()> {
    if request.version() == Version::HTTP_11 && !request.headers().contains_key(HOST) {
        return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, "Missing the Host header"));
    }
    Ok(())
}

/// OPTIONS is answered by the bucket's CORS rules, PATCH is Tigris's way of changing a bucket.
fn check_method(method: &Method, shape: Shape) -> S3Result<()> {
    match *method {
        Method::GET | Method::HEAD | Method::PUT | Method::POST | Method::DELETE | Method::OPTIONS => Ok(()),
        Method::PATCH if shape == Shape::Bucket => Ok(()),
        _ => Err(S3ErrorCode::MethodNotAllowed.into()),
    }
}

/// Headers of Tigris's that make something else of a request, and that are not served: snapshots, forks, soft deletion, queries.
const NOT_SERVED: [&str; 11] = [
    "x-tigris-enable-snapshot",
    "x-tigris-fork",
    "x-tigris-fork-source-bucket",
    "x-tigris-fork-source-bucket-snapshot",
    "x-tigris-merge-source-bucket",
    "x-tigris-query",
    "x-tigris-rebase",
    "x-tigris-restore-type",
    "x-tigris-snapshot",
    "x-tigris-snapshot-version",
    "x-tigris-soft-delete",
];

/// To pass one of them over would answer another question than was asked.
fn check_extensions(headers: &HeaderMap) -> S3Result<()> {
    let is_asked = |name: &&&str| headers.get(**name).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"false"));
    match NOT_SERVED.iter().find(is_asked) {
        Some(name) => Err(S3Error::with_message(S3ErrorCode::NotImplemented, format!("{name} is not implemented here"))),
        None => Ok(()),
    }
}

fn check_sizes<B>(request: &Request<B>) -> S3Result<()> {
    let uri = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
    if uri > URI_BYTES_MAX {
        return Err(custom("InvalidURI", StatusCode::URI_TOO_LONG, format!("the URI is longer than {URI_BYTES_MAX} bytes")));
    }
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers > HEADER_BYTES_MAX {
        return Err(S3ErrorCode::RequestHeaderSectionTooLarge.into());
    }
    Ok(())
}

/// A key must be UTF-8, and what stands for its bytes must be hexadecimal.
fn check_path(path: &str) -> S3Result<()> {
    let escapes = path.split('%').skip(1);
    let is_escape = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    let decodable = escapes.into_iter().all(is_escape) && percent_decode_str(path).decode_utf8().is_ok();
    if decodable { Ok(()) } else { Err(S3Error::with_message(S3ErrorCode::InvalidURI, "Couldn't parse the specified URI.")) }
}

/// A body that is stored must say how long it is before it comes.
fn check_length(method: &Method, headers: &HeaderMap) -> S3Result<()> {
    let unknown = headers.contains_key(TRANSFER_ENCODING) && !headers.contains_key(CONTENT_LENGTH);
    let is_stored = *method == Method::PUT || (*method == Method::POST && is_form(headers));
    if is_stored && unknown && !headers.contains_key("x-amz-decoded-content-length") {
        return Err(S3ErrorCode::MissingContentLength.into());
    }
    Ok(())
}

/// A request is signed in one way. One signature is verified, and what another one claims to cover would be believed unverified.
fn check_mechanisms<B>(request: &Request<B>) -> S3Result<()> {
    let is_in_header = request.headers().get_all(AUTHORIZATION).iter().any(|value| !value.is_empty());
    let (mut is_in_url, mut is_old) = (false, false);
    for name in query::names(request.uri().query()) {
        is_in_url |= ["x-amz-algorithm", "x-amz-signature", "x-amz-signedheaders"].contains(&&*name);
        is_old |= ["awsaccesskeyid", "signature"].contains(&&*name);
    }
    if [is_in_header, is_in_url, is_old].into_iter().filter(|is_used| *is_used).count() <= 1 {
        return Ok(());
    }
    let message = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the \
                   Authorization header should be specified";
    Err(S3Error::with_message(S3ErrorCode::InvalidArgument, message))
}

/// Presigned URLs that s3s would call malformed, and S3 expired or wrongly signed.
fn check_presigned(query: &str) -> S3Result<()> {
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        if name.eq_ignore_ascii_case("x-amz-expires") && value.parse::<i64>().is_ok_and(|seconds| seconds <= 0) {
            return Err(S3Error::with_message(S3ErrorCode::AccessDenied, "Request has expired"));
        }
        let is_signature = || value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit());
        if name.eq_ignore_ascii_case("x-amz-signature") && !is_signature() {
            return Err(S3ErrorCode::SignatureDoesNotMatch.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::{Method, Request, Version};

    use super::{HEADER_BYTES_MAX, Shape, URI_BYTES_MAX, check};

    type Headers<'a> = &'a [(&'static str, &'a str)];

    fn code(method: Method, uri: &str, headers: Headers<'_>) -> String {
        let mut request = Request::builder().method(method).uri(uri).header("host", "h");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let shape = Shape::of(request.uri().path(), false);
        check(&request, shape).map_or_else(|error| error.code().as_str().to_owned(), |()| "passes".to_owned())
    }

    #[test]
    fn a_request_says_whom_it_is_for() {
        let of = |version| Request::builder().version(version).uri("/").body(()).unwrap();
        assert!(check(&of(Version::HTTP_11), Shape::Root).is_err());
        assert!(check(&of(Version::HTTP_10), Shape::Root).is_ok());
    }

    #[test]
    fn what_must_not_pass_does_not() {
        let long_uri = format!("/b/{}", "k".repeat(URI_BYTES_MAX));
        let long_header = "v".repeat(HEADER_BYTES_MAX);
        let cases: &[(Method, &str, Headers<'_>, &str)] = &[
            (Method::GET, "/b/k", &[], "passes"),
            (Method::GET, "/b/%C3%BC%20%00", &[], "passes"),
            (Method::GET, "/b/%FF", &[], "InvalidURI"),
            (Method::GET, "/b/%zz", &[], "InvalidURI"),
            (Method::GET, "/b/%2", &[], "InvalidURI"),
            (Method::GET, &long_uri, &[], "InvalidURI"),
            (Method::GET, "/b/k", &[("x-amz-meta-a", &long_header)], "RequestHeaderSectionTooLarge"),
            (Method::PATCH, "/b/k", &[], "MethodNotAllowed"),
            (Method::PATCH, "/b", &[], "passes"),
            (Method::TRACE, "/b", &[], "MethodNotAllowed"),
            (Method::OPTIONS, "/b/k", &[], "passes"),
            (Method::GET, "/b/k", &[("x-tigris-snapshot-version", "17")], "NotImplemented"),
            (Method::PUT, "/b/", &[("x-tigris-enable-snapshot", "true")], "NotImplemented"),
            (Method::PUT, "/b/", &[("x-tigris-enable-snapshot", "false")], "passes"),
            (Method::PUT, "/b/k", &[("transfer-encoding", "chunked")], "MissingContentLength"),
            (Method::PUT, "/b/k", &[("transfer-encoding", "chunked"), ("x-amz-decoded-content-length", "3")], "passes"),
            (Method::POST, "/b", &[("transfer-encoding", "chunked"), ("content-type", "multipart/form-data")], "MissingContentLength"),
            (Method::GET, "/b/k?X-Amz-Expires=-5", &[], "AccessDenied"),
            (Method::GET, "/b/k?X-Amz-Expires=0", &[], "AccessDenied"),
            (Method::GET, "/b/k?X-Amz-Expires=60", &[], "passes"),
            (Method::GET, "/b/k?X-Amz-Signature=00", &[], "SignatureDoesNotMatch"),
            (Method::GET, "/b/k?X-Amz-Signature=00", &[("authorization", "")], "SignatureDoesNotMatch"),
            (Method::GET, "/b/k?X-Amz-Signature=00", &[("authorization", "any")], "InvalidArgument"),
            (Method::GET, "/b/k?x-amz-signedheaders=a", &[("authorization", "AWS a:b")], "InvalidArgument"),
            (Method::GET, "/b/k?AWSAccessKeyId=a&Signature=b&Expires=9", &[], "passes"),
            (Method::GET, "/b/k?AWSAccessKeyId=a&Signature=b&Expires=9", &[("authorization", "AWS a:b")], "InvalidArgument"),
            (Method::GET, "/b/k?AWSAccessKeyId=a&Signature=b&Expires=9&X-Amz-SignedHeaders=c", &[], "InvalidArgument"),
        ];
        for (method, uri, headers, expected) in cases {
            assert_eq!(code(method.clone(), uri, headers), *expected, "{method} {:.60} {:.80?}", uri, headers);
        }
    }
}

//! Headers that s3s refuses and HTTP says to ignore, and those that it does not look for in the query.
//!
//! A Range that cannot be understood means the whole object, and a date that cannot be understood is no condition (RFC 9110, sections 14.2
//! and 13.1.3), but s3s answers both with an error. They cannot be dropped up front: they may be signed. Nor can what the query says in the
//! place of headers ([`hoisted`]) be made headers then. So s3s verifies such a request here as a custom route, then a second s3s answers it
//! as it was meant, trusting the identity found by the first.

use async_trait::async_trait;
use http::{
    Extensions, HeaderMap, HeaderName, Method, Request, Uri,
    header::{AUTHORIZATION, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, RANGE},
};
use s3s::{
    Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    dto::{Range, Timestamp, TimestampFormat},
    route::S3Route,
    service::S3Service,
};

use crate::convert::hoisted;

/// The access key whose signature on this request has been verified.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    /// Its id.
    pub(crate) key: String,
    /// Whether the signature was one of version 2.
    pub(crate) is_v2: bool,
}

/// The custom route.
#[derive(Debug)]
pub(crate) struct Lenient {
    /// The s3s that answers, with the same access check and operations.
    pub(crate) service: S3Service,
}

#[async_trait]
impl S3Route for Lenient {
    fn is_match(&self, method: &Method, uri: &Uri, headers: &HeaderMap, _extensions: &mut Extensions) -> bool {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        reads && [RANGE, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE].iter().any(|name| is_odd(headers, name))
            || uri.query().is_some_and(hoisted::is_in)
    }

    /// The second s3s checks access, knowing the operation.
    async fn check_access(&self, _request: &mut S3Request<Body>) -> S3Result<()> {
        Ok(())
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let answer = self.service.call(trusted(request)?).await;
        let (head, body) = answer.map_err(|error| S3Error::with_source(S3ErrorCode::InternalError, error.into_std_error()))?.into_parts();
        Ok(S3Response { output: body, status: Some(head.status), headers: head.headers, extensions: head.extensions })
    }
}

/// Whether `headers` hold a `name` that says nothing.
fn is_odd(headers: &HeaderMap, name: &HeaderName) -> bool {
    let Some(value) = headers.get(name) else { return false };
    let understood = value.to_str().is_ok_and(|text| match *name {
        RANGE => Range::parse(text).is_ok(),
        _ => Timestamp::parse(TimestampFormat::HttpDate, text).is_ok(),
    });
    !understood
}

/// The same request for the second s3s: without its odd headers, with those of its query, and without its signature, which would not fit
/// any more.
fn trusted(request: S3Request<Body>) -> S3Result<Request<Body>> {
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    let mut inner = Request::new(request.input);
    *inner.method_mut() = request.method;
    *inner.uri_mut() = without_signature(&request.uri)?;
    *inner.headers_mut() = request.headers;
    *inner.extensions_mut() = request.extensions;
    for name in [RANGE, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
        if reads && is_odd(inner.headers(), &name) {
            inner.headers_mut().remove(name);
        }
    }
    hoisted::raise(request.uri.query().unwrap_or_default(), inner.headers_mut())?;
    let authorization = inner.headers_mut().remove(AUTHORIZATION);
    if let Some(credentials) = request.credentials {
        let is_v2 = authorization.is_some_and(|authorization| authorization.as_bytes().starts_with(b"AWS "));
        inner.extensions_mut().insert(Verified { key: credentials.access_key, is_v2 });
    }
    Ok(inner)
}

fn without_signature(uri: &Uri) -> S3Result<Uri> {
    let Some(query) = uri.query() else { return Ok(uri.clone()) };
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.to_ascii_lowercase().starts_with("x-amz-signature=")).collect();
    let text = format!("{}?{}", uri.path(), kept.join("&"));
    text.parse().map_err(|error| S3Error::with_source(S3ErrorCode::InvalidURI, Box::new(error)))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Uri, header::IF_MODIFIED_SINCE, header::RANGE};

    use super::{is_odd, without_signature};

    #[test]
    fn only_what_says_nothing_is_odd() {
        let cases = [
            (RANGE, "bytes=0-1", false),
            (RANGE, "bytes=-5", false),
            (RANGE, "bytes=5-", false),
            (RANGE, "bytes=0-1,3-4", true),
            (RANGE, "bytes=5-1", true),
            (RANGE, "bytes=a-b", true),
            (RANGE, "lines=1-2", true),
            (IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT", false),
            (IF_MODIFIED_SINCE, "yesterday", true),
        ];
        for (name, value, expected) in cases {
            let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(value))]);
            assert_eq!(is_odd(&headers, &name), expected, "{name}: {value}");
        }
        assert!(!is_odd(&HeaderMap::new(), &RANGE));
    }

    #[test]
    fn the_signature_is_dropped_and_nothing_else() {
        let uri = Uri::from_static("/b/k%20k?partNumber=1&X-Amz-Signature=ab&response-expires=x%26y");
        assert_eq!(without_signature(&uri).unwrap().to_string(), "/b/k%20k?partNumber=1&response-expires=x%26y");
        assert_eq!(without_signature(&Uri::from_static("/b/k")).unwrap().to_string(), "/b/k");
    }
}

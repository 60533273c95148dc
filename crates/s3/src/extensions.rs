//! Tigris's extension headers that change what an operation does.
//!
//! They are not `x-amz-` headers, so s3s honours them unsigned; what changes the outcome of a request must not be up to whoever carries it.

use http::{HeaderMap, Method, header::AUTHORIZATION};

use crate::access::Stated;

/// Deletes a bucket with everything in it.
pub(crate) const FORCE_DELETE: &str = "tigris-force-delete";
/// Makes a copy within a bucket a move.
pub(crate) const RENAME: &str = "x-tigris-rename";

/// Where the objects of a new bucket are to live, or a new object.
pub(crate) const REGIONS: &str = "x-tigris-regions";
/// Orders the hydration of what a HEAD looks at.
pub(crate) const SCHEDULE_MIGRATION: &str = "x-tigris-schedule-migration";

/// Asks a read for the newest, from wherever that has to be fetched.
const CONSISTENT: &str = "x-tigris-consistent";

/// The same, as Tigris's SDK for Go asks before a write on a condition.
const SWAPPING: &str = "x-tigris-cas";

/// Whether a request of `method` only reads, and does not ask for the newest. That may be asked for unsigned: it changes no answer but for the better.
pub(crate) fn reads_nearby(method: &Method, headers: &HeaderMap) -> bool {
    let says_true = |name| headers.get(name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    let asks_for_newest = [CONSISTENT, SWAPPING].into_iter().any(says_true);
    matches!(*method, Method::GET | Method::HEAD) && !asks_for_newest
}

/// Whether `headers` switch `name` on, and the signature covers it.
pub(crate) fn is_on(headers: &HeaderMap, name: &str) -> bool {
    value(headers, name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// What `headers` say of `name`, if the signature covers it.
pub(crate) fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).filter(|_| is_signed_by_header(headers, name)).and_then(|value| value.to_str().ok())
}

/// Whether the signature, of a header or of the URL, covers the header `name`.
pub(crate) fn is_signed(stated: &Stated<'_>, name: &str) -> bool {
    let by_url = stated.parameter("X-Amz-SignedHeaders");
    is_signed_by_header(stated.headers, name)
        || by_url.is_some_and(|names| names.split(';').any(|signed| signed.eq_ignore_ascii_case(name)))
}

fn is_signed_by_header(headers: &HeaderMap, name: &str) -> bool {
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let names = authorization.split("SignedHeaders=").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default();
    names.trim().split(';').any(|signed| signed.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    use super::{CONSISTENT, REGIONS, RENAME, SWAPPING, is_on, is_signed, reads_nearby};
    use crate::access::{Stated, Way};

    #[test]
    fn what_only_reads_may_read_nearby() {
        let with = |name, value| HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
        let asking = |value| with(CONSISTENT, value);
        for (method, headers, nearby) in [
            (Method::GET, HeaderMap::new(), true),
            (Method::HEAD, asking("false"), true),
            (Method::GET, asking("true"), false),
            (Method::HEAD, asking("TRUE"), false),
            (Method::GET, with(SWAPPING, "true"), false),
            (Method::PUT, HeaderMap::new(), false),
            (Method::POST, HeaderMap::new(), false),
            (Method::DELETE, HeaderMap::new(), false),
        ] {
            assert_eq!(reads_nearby(&method, &headers), nearby, "{method} {headers:?}");
        }
    }

    #[test]
    fn only_a_signed_header_switches() {
        let headers = |value: &'static str, signed: &str| {
            let authorization = format!("AWS4-HMAC-SHA256 Credential=a/b/c/s3/aws4_request, SignedHeaders={signed}, Signature=00");
            HeaderMap::from_iter([
                (HeaderName::from_static(RENAME), HeaderValue::from_static(value)),
                (http::header::AUTHORIZATION, HeaderValue::try_from(authorization).unwrap()),
            ])
        };
        assert!(is_on(&headers("true", "host;x-amz-date;x-tigris-rename"), RENAME));
        assert!(!is_on(&headers("false", "host;x-tigris-rename"), RENAME));
        assert!(!is_on(&headers("true", "host;x-amz-date"), RENAME));
        assert!(!is_on(&HeaderMap::new(), RENAME));
    }

    #[test]
    fn a_url_signs_headers_too() {
        let (headers, way) = (HeaderMap::new(), Way::default());
        let signed = |uri: &'static str| is_signed(&Stated::new(&http::Uri::from_static(uri), &headers, way), REGIONS);
        assert!(signed("/b/k?X-Amz-SignedHeaders=host%3Bx-tigris-regions&X-Amz-Signature=00"));
        assert!(!signed("/b/k?X-Amz-SignedHeaders=host&X-Amz-Signature=00") && !signed("/b/k"));
    }
}

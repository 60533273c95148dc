//! Headers that stand in the query.
//!
//! Some SDKs move the `x-amz-*` headers of a presigned request into its query, and S3 honours them there. s3s does not look, so they are made
//! headers again once the signature is verified ([`crate::lenient`]): whoever looks for a header, finds it.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use percent_encoding::percent_decode_str;
use s3s::{S3Error, S3ErrorCode, S3Result};
use umbra_core::{ChecksumAlgorithm, ChecksumHasher};

/// Parameters that are no headers, and what only means something for the request as it was sent.
const OTHERS: [&str; 12] = [
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-expires",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
    "x-amz-trailer",
    "x-amz-user-agent",
];

/// Whether `query` says anything in the place of a header.
pub(crate) fn is_in(query: &str) -> bool {
    pairs(query).next().is_some()
}

/// Refuses `query` where it says of a header something else than `headers` do, and where no signature covers it or the body is sent in a
/// form that only the headers it came with describe.
pub(crate) fn check(query: &str, headers: &HeaderMap) -> S3Result<()> {
    let refused = |message: String| Err(S3Error::with_message(S3ErrorCode::InvalidArgument, message));
    let begins = |name: &str, prefix: &[u8]| headers.get(name).is_some_and(|value| value.as_bytes().starts_with(prefix));
    for (name, value) in pairs(query) {
        if name.contains("server-side-encryption-customer-key") {
            let message = format!("the key in {name:?} is sent as a header: URLs are no place for secrets");
            return Err(S3Error::with_message(S3ErrorCode::NotImplemented, message));
        }
        // Of metadata the header counts, if it is signed: nothing is judged by either.
        let is_judged = !name.starts_with("x-amz-meta-");
        if is_judged && headers.get_all(&*name).iter().any(|header| header.as_bytes() != value.as_bytes()) {
            return refused(format!("the parameter {name:?} is also a header, with another value"));
        }
        let is_old = begins(AUTHORIZATION.as_str(), b"AWS ") || query.split('&').any(|pair| pair.starts_with("AWSAccessKeyId="));
        if is_old || begins("x-amz-content-sha256", b"STREAMING-") {
            return refused(format!("the parameter {name:?} of such a request is sent as a header"));
        }
    }
    Ok(())
}

/// Adds what `query` says to `headers`, unless they say it.
pub(crate) fn raise(query: &str, headers: &mut HeaderMap) -> S3Result<()> {
    for (name, value) in pairs(query) {
        let refused = || S3Error::with_message(S3ErrorCode::InvalidArgument, format!("the parameter {name:?} cannot be a header"));
        let header = HeaderName::try_from(&*name).map_err(|_| refused())?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| refused())?;
        headers.entry(header).or_insert(value);
    }
    Ok(())
}

/// What `query` says in the place of headers: their names in lower case, and their values.
fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let named = pairs.filter_map(|(name, value)| {
        let name = percent_decode_str(name).decode_utf8_lossy();
        let is_header = name.get(..6).is_some_and(|prefix| prefix.eq_ignore_ascii_case("x-amz-"));
        is_header.then(|| (name.to_ascii_lowercase(), decode(value).into_owned()))
    });
    named.filter(|(name, value)| !OTHERS.contains(&name.as_str()) && !is_of_nothing(name, value))
}

/// Whether it is the checksum of an empty body: SDKs sign that, for they do not know the body yet.
fn is_of_nothing(name: &str, value: &str) -> bool {
    let algorithm = ChecksumAlgorithm::ALL.into_iter().find(|algorithm| algorithm.header() == name);
    algorithm.is_some_and(|algorithm| ChecksumHasher::new(algorithm).finish().value == value)
}

fn decode(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        return Cow::Owned(percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned());
    }
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{check, is_in, raise};

    type Headers = &'static [(&'static str, &'static str)];

    fn map(headers: Headers) -> HeaderMap {
        headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn what_is_judged_is_what_is_done() {
        let cases: [(&str, Headers, bool); 14] = [
            ("x-amz-meta-a=b", &[("x-amz-meta-a", "c")], true),
            ("x-amz-tagging=a%3Db", &[], true),
            ("x-amz-tagging=a%3Db", &[("x-amz-tagging", "a=b")], true),
            ("x-amz-tagging=a%3Db", &[("x-amz-tagging", "")], false),
            ("X-Amz-Tagging=a%3Db", &[("x-amz-tagging", "a=c")], false),
            ("x-amz-st%6Frage-class=GLACIER", &[("x-amz-storage-class", "")], false),
            ("x-amz-storage-class=GLACIER", &[("x-amz-copy-source", "b/k")], true),
            ("x-amz-grant-read=id%3Da", &[("x-amz-grant-read", "")], false),
            ("x-amz-meta-a=b", &[("authorization", "AWS a:b")], false),
            ("AWSAccessKeyId=a&x-amz-meta-a=b", &[], false),
            ("x-amz-meta-a=b", &[("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")], false),
            ("x-amz-server-side-encryption=AES256", &[], true),
            ("x-amz-server-side-encryption-customer-key=k", &[], false),
            ("x-amz-copy-source-server-side-encryption-customer-key=k", &[], false),
        ];
        for (query, headers, expected) in cases {
            assert_eq!(check(query, &map(headers)).is_ok(), expected, "?{query} {headers:?}");
        }
    }

    #[test]
    fn the_query_becomes_headers() {
        let query = "X-Amz-Meta-Name=a%20b&x-amz-tagging=k%3Dv&X-Amz-Date=20260101T000000Z&partNumber=1&x-amz-checksum-crc32=AAAAAA%3D%3D\
                     &x-amz-checksum-sha1=2jmj7l5rSw0yVb%2FvlWAYkK%2FYBwk%3D&x-amz-checksum-crc32c=4waSgw%3D%3D&x-amz-object-lock-mode=GOVERNANCE";
        let mut headers = map(&[("x-amz-meta-b", "header")]);
        raise(&format!("{query}&x-amz-meta-b=query"), &mut headers).unwrap();
        let expected: Headers = &[
            ("x-amz-meta-b", "header"),
            ("x-amz-meta-name", "a b"),
            ("x-amz-tagging", "k=v"),
            ("x-amz-checksum-crc32c", "4waSgw=="),
            ("x-amz-object-lock-mode", "GOVERNANCE"),
        ];
        assert_eq!(headers, map(expected));
        assert!(is_in(query));
        assert!(!is_in("X-Amz-Signature=a&prefix=x-amz-acl&x-id=PutObject&x-amz-checksum-crc32=AAAAAA%3D%3D"));
        for bad in ["x-amz-meta-a%0a=b", "x-amz-meta-a=b%0d%0ac", "x-amz-meta-%C3%BC=b"] {
            assert!(raise(bad, &mut HeaderMap::new()).is_err(), "{bad}");
        }
    }
}

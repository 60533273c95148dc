//! Headers that repeat what a presigned query says.
//!
//! Tigris's SDK signs metadata into the query of an upload's URL and tells its users to send them as headers too. A header that is not
//! signed is refused; one that says what the signed query says already adds nothing, and is dropped.

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

/// Drops the unsigned `x-amz-` headers that `query`, which carries a signature, repeats.
pub(super) fn drop_from(headers: &mut HeaderMap, query: &str) {
    let pairs: Vec<_> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name).to_ascii_lowercase(), decode(value)))
        .collect();
    let value = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let (Some(_), Some(signed)) = (value("x-amz-signature"), value("x-amz-signedheaders")) else { return };
    let is_signed = |name: &HeaderName| signed.split(';').any(|signed| signed.eq_ignore_ascii_case(name.as_str()));
    let repeated: Vec<_> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-amz-") && !is_signed(name))
        .filter(|name| {
            headers.get_all(*name).iter().all(|header| value(name.as_str()).is_some_and(|value| value.as_bytes() == header.as_bytes()))
        })
        .cloned()
        .collect();
    for name in repeated {
        headers.remove(name);
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::drop_from;

    #[test]
    fn only_what_the_signed_query_says_too_is_dropped() {
        let headers = || -> HeaderMap {
            let pairs = [
                ("x-amz-meta-a", "b c"),
                ("x-amz-meta-b", "other"),
                ("x-amz-acl", "public-read"),
                ("x-amz-meta-s", "1"),
                ("range", "bytes=0-1"),
            ];
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
        };
        let query =
            "x-amz-meta-a=b%20c&x-amz-meta-b=b&x-amz-meta-s=1&range=bytes%3D0-1&X-Amz-SignedHeaders=host%3Bx-amz-meta-s&X-Amz-Signature=00";
        let mut kept = headers();
        drop_from(&mut kept, query);
        let mut names: Vec<_> = kept.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["range", "x-amz-acl", "x-amz-meta-b", "x-amz-meta-s"]);
        // Without a signature in the query nothing is.
        let mut kept = headers();
        drop_from(&mut kept, "x-amz-meta-a=b%20c&X-Amz-SignedHeaders=host");
        assert_eq!(kept, headers());
        // One of two values is not the header.
        let mut twice = headers();
        twice.append("x-amz-meta-a", HeaderValue::from_static("second"));
        drop_from(&mut twice, query);
        assert!(twice.contains_key("x-amz-meta-a"));
    }
}

//! Headers that a presigned URL carries in its query.
//!
//! Some SDKs move every `x-amz-*` header of a presigned request into the query; S3 honours them there as if they were headers. s3s does
//! not look. Checksums are left out on purpose: SDKs sign the checksum of an empty body there.

use http::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;
use s3s::{S3Error, S3ErrorCode, S3Result, dto::StorageClass};

/// Whether operations heed the header `name`, in lower case, where it stands in the query.
pub(crate) fn is_heeded(name: &str) -> bool {
    is_single(name) || name.starts_with("x-amz-meta-")
}

/// The same, of those that say one thing.
fn is_single(name: &str) -> bool {
    matches!(name, "x-amz-acl" | "x-amz-expected-bucket-owner" | "x-amz-storage-class" | "x-amz-tagging")
        || name.starts_with("x-amz-grant-")
}

/// Refuses `query` where it says of a header something else than `headers` do, or what the copy that they ask for would not heed: what is
/// judged must be what is done.
pub(crate) fn check(query: &str, headers: &HeaderMap) -> S3Result<()> {
    let refused = |name: &str, why: &str| {
        let message = format!("the parameter {name:?} {why}");
        Err(S3Error::with_message(S3ErrorCode::InvalidArgument, message))
    };
    for (name, value) in query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
        let name = decode(name).to_ascii_lowercase();
        if !is_single(&name) {
            continue;
        }
        if headers.get_all(&name).iter().any(|header| header.as_bytes() != decode(value).as_bytes()) {
            return refused(&name, "is also a header, with another value");
        }
        if matches!(name.as_str(), "x-amz-storage-class" | "x-amz-tagging") && headers.contains_key("x-amz-copy-source") {
            return refused(&name, "of a copy is sent as a header");
        }
    }
    Ok(())
}

/// What the query of a write says besides its operation.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Hoisted {
    /// User metadata.
    pub(crate) metadata: Vec<(String, String)>,
    /// `x-amz-tagging`.
    pub(crate) tagging: Option<String>,
    /// `x-amz-storage-class`.
    pub(crate) storage_class: Option<StorageClass>,
}

impl Hoisted {
    /// Takes what `uri` says.
    pub(crate) fn of(uri: &Uri) -> Self {
        let mut hoisted = Self::default();
        for pair in uri.query().unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).to_ascii_lowercase();
            if !name.starts_with("x-amz-") {
                continue;
            }
            match name.as_str() {
                "x-amz-tagging" => hoisted.tagging = hoisted.tagging.or_else(|| Some(decode(value))),
                "x-amz-storage-class" => hoisted.storage_class = hoisted.storage_class.or_else(|| Some(decode(value).into())),
                name => {
                    let entry = name.strip_prefix("x-amz-meta-").filter(|name| !name.is_empty());
                    hoisted.metadata.extend(entry.map(|name| (name.to_owned(), decode(value))));
                }
            }
        }
        hoisted
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Uri};

    use super::{Hoisted, check};

    type Headers = &'static [(&'static str, &'static str)];

    #[test]
    fn what_is_judged_is_what_is_done() {
        let cases: [(&str, Headers, bool); 8] = [
            ("x-amz-tagging=a%3Db", &[], true),
            ("x-amz-tagging=a%3Db", &[("x-amz-tagging", "a=b")], true),
            ("x-amz-tagging=a%3Db", &[("x-amz-tagging", "")], false),
            ("X-Amz-Tagging=a%3Db", &[("x-amz-tagging", "a=c")], false),
            ("x-amz-st%6Frage-class=GLACIER", &[("x-amz-storage-class", "")], false),
            ("x-amz-storage-class=GLACIER", &[("x-amz-copy-source", "b/k")], false),
            ("x-amz-acl=private", &[("x-amz-copy-source", "b/k")], true),
            ("x-amz-grant-read=id%3Da", &[("x-amz-grant-read", "")], false),
        ];
        for (query, headers, expected) in cases {
            let pairs = headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            assert_eq!(check(query, &HeaderMap::from_iter(pairs)).is_ok(), expected, "?{query} {headers:?}");
        }
    }

    #[test]
    fn the_query_is_read_like_headers() {
        let uri = Uri::from_static(
            "/b/k?X-Amz-Meta-Name=a%20b&x-amz-tagging=k%3Dv&x-amz-storage-class=GLACIER&partNumber=1&x-amz-checksum-crc32=AAAAAA%3D%3D",
        );
        let hoisted = Hoisted::of(&uri);
        assert_eq!(hoisted.metadata, [("name".to_owned(), "a b".to_owned())]);
        assert_eq!(hoisted.tagging.as_deref(), Some("k=v"));
        assert_eq!(hoisted.storage_class.unwrap().as_str(), "GLACIER");
        assert_eq!(Hoisted::of(&Uri::from_static("/b/k")), Hoisted::default());
    }
}

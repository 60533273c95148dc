//! Headers that a presigned URL carries in its query.
//!
//! Some SDKs move every `x-amz-*` header of a presigned request into the query; S3 honours them there as if they were headers. s3s does
//! not look. Checksums are left out on purpose: SDKs sign the checksum of an empty body there.

use http::Uri;
use percent_encoding::percent_decode_str;
use s3s::dto::StorageClass;

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
                "x-amz-tagging" => hoisted.tagging = Some(decode(value)),
                "x-amz-storage-class" => hoisted.storage_class = Some(decode(value).into()),
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
    use http::Uri;

    use super::Hoisted;

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

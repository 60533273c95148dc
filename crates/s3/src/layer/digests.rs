//! Digests of documents.
//!
//! Bodies that are stored are checked where they are stored. Those that s3s gathers and parses are checked by nobody, so the outer layer
//! does while they pass.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, Method};
use md5::{Digest as _, Md5};
use s3s::{S3Error, S3ErrorCode, S3Result};
use umbra_core::{Checksum, ChecksumAlgorithm, ChecksumHasher};

use super::query::Shape;

/// The digests a document was announced to have.
pub(super) struct Digests {
    md5: Option<(Md5, [u8; 16])>,
    checksum: Option<(ChecksumHasher, Checksum)>,
}

impl Digests {
    /// What `headers` announce, when the request's body is a document.
    pub(super) fn announced(method: &Method, shape: Shape, query: Option<&str>, headers: &HeaderMap) -> S3Result<Option<Self>> {
        let Some(document) = Document::of(method, shape, query.unwrap_or_default()) else { return Ok(None) };
        let md5 = headers.get("content-md5").map(|value| parse_md5(value.as_bytes())).transpose()?;
        let checksum = if document == Document::OfItself { checksum(headers)? } else { None };
        let is_announced = md5.is_some() || checksum.is_some();
        Ok(is_announced.then(|| Self {
            md5: md5.map(|md5| (Md5::new(), md5)),
            checksum: checksum.map(|checksum| (ChecksumHasher::new(checksum.algorithm), checksum)),
        }))
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        if let Some((hasher, _)) = &mut self.md5 {
            hasher.update(bytes);
        }
        if let Some((hasher, _)) = &mut self.checksum {
            hasher.update(bytes);
        }
    }

    /// Whether the document has them.
    pub(super) fn agree(self) -> bool {
        self.md5.is_none_or(|(hasher, expected)| <[u8; 16]>::from(hasher.finalize()) == expected)
            && self.checksum.is_none_or(|(hasher, expected)| hasher.finish().value == expected.value)
    }
}

impl fmt::Debug for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digests").finish_non_exhaustive()
    }
}

/// Requests whose body is a document.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Document {
    /// All digests are of the document.
    OfItself,
    /// Checksums are of the object that a completed upload becomes.
    OfAnUpload,
}

impl Document {
    fn of(method: &Method, shape: Shape, query: &str) -> Option<Self> {
        let has = |wanted: &str| query.split('&').any(|pair| pair.split('=').next().is_some_and(|name| name.eq_ignore_ascii_case(wanted)));
        match (method.as_str(), shape) {
            ("PUT", Shape::Bucket) => Some(Self::OfItself),
            ("POST", Shape::Bucket) if has("delete") => Some(Self::OfItself),
            ("PUT", Shape::Object) if has("tagging") => Some(Self::OfItself),
            ("POST", Shape::Object) if has("uploadid") => Some(Self::OfAnUpload),
            _ => None,
        }
    }
}

fn parse_md5(value: &[u8]) -> S3Result<[u8; 16]> {
    let digest = BASE64.decode(value.trim_ascii()).ok().and_then(|digest| digest.try_into().ok());
    digest.ok_or_else(|| S3ErrorCode::InvalidDigest.into())
}

fn checksum(headers: &HeaderMap) -> S3Result<Option<Checksum>> {
    let given = |algorithm: ChecksumAlgorithm| headers.get(algorithm.header()).map(|value| (algorithm, value));
    let Some((algorithm, value)) = ChecksumAlgorithm::ALL.into_iter().find_map(given) else { return Ok(None) };
    let checksum = value.to_str().ok().and_then(|value| Checksum::parse(algorithm, value).ok());
    let refused = || S3Error::with_message(S3ErrorCode::InvalidRequest, format!("Value for {} header is invalid.", algorithm.header()));
    checksum.map(Some).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    use super::Digests;
    use crate::layer::query::Shape;

    fn agree(method: Method, shape: Shape, query: &str, header: (&'static str, &'static str)) -> Option<bool> {
        let headers = HeaderMap::from_iter([(HeaderName::from_static(header.0), HeaderValue::from_static(header.1))]);
        let mut digests = Digests::announced(&method, shape, Some(query), &headers).unwrap()?;
        digests.update(b"1234");
        digests.update(b"56789");
        Some(digests.agree())
    }

    #[test]
    fn documents_are_what_was_announced() {
        let (md5, other_md5) = (("content-md5", "JfnnlDI7RTiF9RgfG2JNCw=="), ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="));
        let (crc, other_crc) = (("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-checksum-crc32", "AAAAAA=="));
        let delete = |header| agree(Method::POST, Shape::Bucket, "delete=", header);
        assert_eq!([delete(md5), delete(other_md5), delete(crc), delete(other_crc)], [Some(true), Some(false), Some(true), Some(false)]);
        assert_eq!(agree(Method::POST, Shape::Object, "uploadId=u", other_md5), Some(false));
        assert_eq!(agree(Method::POST, Shape::Object, "uploadId=u", other_crc), None);
        assert_eq!(agree(Method::PUT, Shape::Object, "tagging", other_crc), Some(false));
        assert_eq!(agree(Method::PUT, Shape::Object, "", other_md5), None);
        assert_eq!(agree(Method::POST, Shape::Bucket, "", other_md5), None);
    }

    #[test]
    fn malformed_digests_are_refused() {
        let refused = |name, value| {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
            Digests::announced(&Method::POST, Shape::Bucket, Some("delete"), &headers).unwrap_err().code().as_str().to_owned()
        };
        assert_eq!(refused("content-md5", "AAAA"), "InvalidDigest");
        assert_eq!(refused("x-amz-checksum-sha1", "AAAA"), "InvalidRequest");
    }
}

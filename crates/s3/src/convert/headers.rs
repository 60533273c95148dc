//! Stored headers and user metadata.

use std::collections::HashMap;

use s3s::{S3Error, S3ErrorCode, dto::StorageClass};
use umbra_core::{Result, UserMetadata};

/// The content type of what came without one.
pub(crate) const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

/// The class of what came without one.
pub(crate) const STANDARD: &str = "STANDARD";

/// Takes the stored headers out of the fields of `$input`.
macro_rules! stored {
    ($input:expr) => {
        umbra_core::SystemHeaders {
            content_type: $input.content_type.take(),
            cache_control: $input.cache_control.take(),
            content_disposition: $input.content_disposition.take(),
            content_encoding: $input.content_encoding.take().and_then(|encoding| $crate::convert::headers::content_encoding(&encoding)),
            content_language: $input.content_language.take(),
            expires: $input.expires.take(),
            website_redirect_location: $input.website_redirect_location.take(),
            storage_class: $crate::convert::headers::storage_class($input.storage_class.as_ref())?,
        }
    };
}

pub(crate) use stored;

/// What a stored `Content-Encoding` is: the coding of the transfer is not part of it.
pub(crate) fn content_encoding(encoding: &str) -> Option<String> {
    let kept: Vec<&str> =
        encoding.split(',').map(str::trim).filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked")).collect();
    if kept.len() == encoding.split(',').count() {
        return Some(encoding.to_owned());
    }
    (!kept.is_empty()).then(|| kept.join(","))
}

/// The storage class to keep: a label, checked for being one of S3's.
pub(crate) fn storage_class(class: Option<&StorageClass>) -> Result<Option<String>, S3Error> {
    match class.map(StorageClass::as_str) {
        None | Some(STANDARD) => Ok(None),
        Some(
            class @ ("REDUCED_REDUNDANCY"
            | "STANDARD_IA"
            | "ONEZONE_IA"
            | "INTELLIGENT_TIERING"
            | "GLACIER"
            | "GLACIER_IR"
            | "DEEP_ARCHIVE"),
        ) => Ok(Some(class.to_owned())),
        Some(_) => Err(S3ErrorCode::InvalidStorageClass.into()),
    }
}

/// Takes user metadata.
pub(crate) fn metadata(metadata: Option<HashMap<String, String>>) -> Result<UserMetadata> {
    let metadata = UserMetadata::new(metadata.into_iter().flatten());
    metadata.check()?;
    Ok(metadata)
}

/// Shows user metadata.
pub(crate) fn shown(metadata: &UserMetadata) -> Option<HashMap<String, String>> {
    // A name that cannot be a header could only have come from elsewhere; S3 counts such entries in `x-amz-missing-meta` instead of failing.
    let named = metadata.iter().filter(|(name, _)| http::HeaderName::from_bytes(name.as_bytes()).is_ok());
    (!metadata.is_empty()).then(|| named.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use s3s::dto::StorageClass;

    use super::{content_encoding, metadata, storage_class};

    #[test]
    fn the_coding_of_the_transfer_is_not_stored() {
        let cases = [
            ("gzip", Some("gzip")),
            ("deflate, gzip", Some("deflate, gzip")),
            ("aws-chunked", None),
            ("AWS-chunked,", None),
            ("gzip,aws-chunked", Some("gzip")),
            ("aws-chunked, deflate, gzip", Some("deflate,gzip")),
        ];
        for (sent, stored) in cases {
            assert_eq!(content_encoding(sent).as_deref(), stored, "{sent}");
        }
    }

    #[test]
    fn storage_classes_are_labels_of_s3() {
        let class = |name| storage_class(Some(&StorageClass::from_static(name)));
        assert_eq!(class("STANDARD").unwrap(), None);
        assert_eq!(class("GLACIER").unwrap().as_deref(), Some("GLACIER"));
        assert!(class("FAST").is_err());
    }

    #[test]
    fn metadata_is_bounded() {
        let of = |value: String| metadata(Some([("a".to_owned(), value)].into()));
        assert_eq!(of("b".to_owned()).unwrap().iter().collect::<Vec<_>>(), [("a", "b")]);
        assert!(of("x".repeat(2047)).is_ok());
        assert!(of("x".repeat(2048)).is_err());
    }
}

//! `m/<upload>`: a multipart upload, all of it in the body; `M/<key><upload>`: its place in the index by key, with the date in the head.

use bytes::Bytes;
use umbra_core::{ObjectKey, Result, Timestamp};

use crate::CreateUpload;

const WHAT: &str = "a multipart upload";
const WHAT_INDEX: &str = "the index of multipart uploads";
const VERSION: u8 = 1;

/// A multipart upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UploadRecord {
    /// The key it is for.
    pub(crate) key: ObjectKey,
    /// When it began.
    pub(crate) initiated: Timestamp,
    /// How it began.
    pub(crate) options: CreateUpload,
    /// What a wrapper wrote beside it.
    pub(crate) note: Option<String>,
}

/// The body of the record that holds `upload`.
pub(crate) fn encode(upload: &UploadRecord) -> Bytes {
    super::encode(VERSION, &v1::Upload::of(upload))
}

/// The upload that `body` holds.
pub(crate) fn decode(body: &[u8]) -> Result<UploadRecord> {
    match super::split(WHAT, body)? {
        (VERSION, cbor) => super::decode::<v1::Upload<'_>>(WHAT, cbor)?.into_upload(),
        (version, _) => Err(super::unknown_version(WHAT, version)),
    }
}

/// The head of an index row.
pub(crate) fn encode_index(initiated: Timestamp) -> Bytes {
    super::encode(VERSION, &v1::Index { initiated: initiated.as_millis() })
}

/// When the upload of an index row began.
pub(crate) fn decode_index(head: &[u8]) -> Result<Timestamp> {
    match super::split(WHAT_INDEX, head)? {
        (VERSION, cbor) => Ok(Timestamp::from_millis(super::decode::<v1::Index>(WHAT_INDEX, cbor)?.initiated)),
        (version, _) => Err(super::unknown_version(WHAT_INDEX, version)),
    }
}

mod v1 {
    use minicbor::{Decode, Encode};
    use umbra_core::{ObjectKey, Result, Timestamp};

    use super::{UploadRecord, WHAT};
    use crate::{
        CreateUpload,
        record::{
            attributes::Attributes,
            corrupt,
            fields::{self, Algorithm, Covers, Headers, Pairs},
        },
    };

    #[derive(Encode, Decode)]
    pub(super) struct Upload<'b> {
        #[b(0)]
        key: &'b str,
        #[n(1)]
        initiated: i64,
        #[b(2)]
        headers: Headers<'b>,
        #[b(3)]
        storage_class: Option<&'b str>,
        #[b(4)]
        metadata: Pairs<'b>,
        #[b(5)]
        tags: Pairs<'b>,
        #[n(6)]
        checksum: Option<(Algorithm, Covers)>,
        #[b(7)]
        note: Option<&'b str>,
        #[b(8)]
        attributes: Option<Attributes<'b>>,
    }

    #[derive(Encode, Decode)]
    pub(super) struct Index {
        #[n(0)]
        pub(super) initiated: i64,
    }

    impl<'b> Upload<'b> {
        pub(super) fn of(upload: &'b UploadRecord) -> Self {
            Self {
                key: upload.key.as_str(),
                initiated: upload.initiated.as_millis(),
                headers: Headers::of(&upload.options.headers),
                storage_class: upload.options.headers.storage_class.as_deref(),
                metadata: upload.options.metadata.iter().collect(),
                tags: upload.options.tags.iter().collect(),
                checksum: upload.options.checksum.map(|(algorithm, kind)| (algorithm.into(), kind.into())),
                note: upload.note.as_deref(),
                attributes: Attributes::of(&upload.options.attributes),
            }
        }

        pub(super) fn into_upload(self) -> Result<UploadRecord> {
            Ok(UploadRecord {
                key: ObjectKey::parse(self.key).map_err(|error| corrupt(WHAT, error))?,
                initiated: Timestamp::from_millis(self.initiated),
                options: CreateUpload {
                    headers: self.headers.with_storage_class(self.storage_class),
                    metadata: fields::metadata(self.metadata),
                    tags: fields::tags(self.tags),
                    attributes: Attributes::given(self.attributes),
                    checksum: self.checksum.map(|(algorithm, covers)| (algorithm.into(), covers.into())),
                },
                note: self.note.map(str::to_owned),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use umbra_core::{ChecksumAlgorithm, ChecksumType, ObjectKey, SystemHeaders, Tags, Timestamp, UserMetadata};

    use super::{UploadRecord, decode, decode_index, encode, encode_index};
    use crate::{CreateUpload, record::golden};

    fn full() -> UploadRecord {
        let pair = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
        UploadRecord {
            key: ObjectKey::parse("a/ü\0").unwrap(),
            initiated: Timestamp::from_millis(1_700_000_000_123),
            options: CreateUpload {
                headers: SystemHeaders {
                    content_type: Some("text/plain".to_owned()),
                    storage_class: Some("GLACIER".to_owned()),
                    ..SystemHeaders::default()
                },
                metadata: UserMetadata::new(pair("owner", "Zoë")),
                tags: Tags::new(pair("team", "blue")),
                attributes: umbra_core::Attributes::default(),
                checksum: Some((ChecksumAlgorithm::Sha256, ChecksumType::Composite)),
            },
            note: Some("origin-upload".to_owned()),
        }
    }

    fn bare() -> UploadRecord {
        UploadRecord {
            key: ObjectKey::parse("k").unwrap(),
            initiated: Timestamp::from_millis(0),
            options: CreateUpload::default(),
            note: None,
        }
    }

    #[test]
    fn every_released_format_is_read() {
        for (name, upload) in [("upload/v1", full()), ("upload/v1-bare", bare())] {
            let golden = golden::check(name, Some(&encode(&upload)));
            assert_eq!(decode(&golden).unwrap(), upload, "{name}");
        }
        let initiated = full().initiated;
        let golden = golden::check("upload/v1-index", Some(&encode_index(initiated)));
        assert_eq!(decode_index(&golden).unwrap(), initiated);
    }

    #[test]
    fn damage_is_refused() {
        golden::check_refusals(&encode(&full()), decode);
        golden::check_refusals(&encode_index(Timestamp::from_millis(7)), decode_index);
    }
}

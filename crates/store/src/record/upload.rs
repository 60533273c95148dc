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

/// What an index row tells of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexRecord {
    /// When it began.
    pub(crate) initiated: Timestamp,
    /// Which organization began it; `None` for that of the bucket.
    pub(crate) initiator: Option<String>,
    /// Which organization its object will belong to; `None` for that of the bucket.
    pub(crate) owner: Option<String>,
}

/// The head of the index row of `upload`.
pub(crate) fn encode_index(upload: &UploadRecord) -> Bytes {
    super::encode(VERSION, &v1::Index::of(upload))
}

/// What the head of an index row holds.
pub(crate) fn decode_index(head: &[u8]) -> Result<IndexRecord> {
    match super::split(WHAT_INDEX, head)? {
        (VERSION, cbor) => Ok(super::decode::<v1::Index<'_>>(WHAT_INDEX, cbor)?.into_index()),
        (version, _) => Err(super::unknown_version(WHAT_INDEX, version)),
    }
}

mod v1 {
    use minicbor::{Decode, Encode};
    use umbra_core::{ObjectKey, Result, Timestamp};

    use super::{IndexRecord, UploadRecord, WHAT};
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
        #[b(9)]
        initiator: Option<&'b str>,
    }

    #[derive(Encode, Decode)]
    pub(super) struct Index<'b> {
        #[n(0)]
        initiated: i64,
        #[b(1)]
        initiator: Option<&'b str>,
        #[b(2)]
        owner: Option<&'b str>,
    }

    impl<'b> Index<'b> {
        pub(super) fn of(upload: &'b UploadRecord) -> Self {
            Self { initiated: upload.initiated.as_millis(), initiator: upload.options.initiator.as_deref(), owner: upload.options.owner() }
        }

        pub(super) fn into_index(self) -> IndexRecord {
            IndexRecord {
                initiated: Timestamp::from_millis(self.initiated),
                initiator: self.initiator.map(str::to_owned),
                owner: self.owner.map(str::to_owned),
            }
        }
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
                initiator: upload.options.initiator.as_deref(),
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
                    initiator: self.initiator.map(str::to_owned),
                },
                note: self.note.map(str::to_owned),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use umbra_core::{Acl, ChecksumAlgorithm, ChecksumType, ObjectKey, SystemHeaders, Tags, Timestamp, UserMetadata};

    use super::{IndexRecord, UploadRecord, decode, decode_index, encode, encode_index};
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
                initiator: None,
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
        let mut others = full();
        others.options.initiator = Some("evil".to_owned());
        others.options.attributes.acl = Some(Acl { owner: "evil".to_owned(), grants: vec![] });
        let index = |upload: &UploadRecord| IndexRecord {
            initiated: upload.initiated,
            initiator: upload.options.initiator.clone(),
            owner: upload.options.owner().map(str::to_owned),
        };
        for (name, upload) in [("upload/v1-index", full()), ("upload/v1-index-of-others", others.clone())] {
            let golden = golden::check(name, Some(&encode_index(&upload)));
            assert_eq!(decode_index(&golden).unwrap(), index(&upload), "{name}");
        }
        for (name, upload) in [("upload/v1", full()), ("upload/v1-bare", bare()), ("upload/v1-of-others", others)] {
            let golden = golden::check(name, Some(&encode(&upload)));
            assert_eq!(decode(&golden).unwrap(), upload, "{name}");
        }
    }

    #[test]
    fn damage_is_refused() {
        golden::check_refusals(&encode(&full()), decode);
        golden::check_refusals(&encode_index(&full()), decode_index);
    }
}

//! `m/<upload>p<number>`: a part of a multipart upload. The head is all that listing parts needs, the body holds the extents.

use bytes::Bytes;
use umbra_core::{Checksum, ETag, Result, Timestamp};
use umbra_meta::Entry;

use crate::Extent;

const WHAT: &str = "a part";
const VERSION: u8 = 1;

/// What a listing needs of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartHead {
    /// Bytes of content.
    pub(crate) size: u64,
    /// The MD5 of the content, or what stands for it: its ETag.
    pub(crate) md5: [u8; 16],
    /// When it was stored.
    pub(crate) last_modified: Timestamp,
    /// Checksums over it: what the client sent, or what the object is to be summed up from.
    pub(crate) checksums: Vec<Checksum>,
}

/// A part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartRecord {
    pub(crate) head: PartHead,
    pub(crate) extents: Vec<Extent>,
    /// What a wrapper wants to find again: the shadow keeps the origin's ETag here.
    pub(crate) note: Option<String>,
}

impl PartHead {
    pub(crate) fn etag(&self) -> ETag {
        ETag::from_md5(self.md5)
    }
}

/// The head and the body of the record that holds `part`.
pub(crate) fn encode(part: &PartRecord) -> (Bytes, Bytes) {
    (super::encode(VERSION, &v1::Head::of(&part.head)), super::encode(VERSION, &v1::Body::of(part)))
}

/// What the head of a part's record tells.
pub(crate) fn decode_head(head: &[u8]) -> Result<PartHead> {
    match super::split(WHAT, head)? {
        (VERSION, cbor) => Ok(super::decode::<v1::Head<'_>>(WHAT, cbor)?.into()),
        (version, _) => Err(super::unknown_version(WHAT, version)),
    }
}

/// The part that `entry` holds.
pub(crate) fn decode(entry: &Entry) -> Result<PartRecord> {
    let head = decode_head(&entry.head)?;
    let (extents, note) = match super::split(WHAT, &entry.body)? {
        (VERSION, cbor) => super::decode::<v1::Body<'_>>(WHAT, cbor)?.into_parts(),
        (version, _) => return Err(super::unknown_version(WHAT, version)),
    };
    let part = extents.map(|extents| PartRecord { head, extents, note });
    let sound = |part: &PartRecord| {
        let size = part.extents.iter().try_fold(0_u64, |sum, extent| sum.checked_add(extent.size));
        size == Some(part.head.size)
    };
    part.filter(sound).ok_or_else(|| super::corrupt(WHAT, "its content is impossible"))
}

mod v1 {
    use minicbor::{Decode, Encode};
    use umbra_core::Timestamp;

    use super::{PartHead, PartRecord};
    use crate::{
        Extent,
        record::fields::{self, Seals, Stretch, Sum},
    };

    #[derive(Encode, Decode)]
    pub(super) struct Head<'b> {
        #[n(0)]
        size: u64,
        #[cbor(n(1), with = "minicbor::bytes")]
        md5: [u8; 16],
        #[n(2)]
        last_modified: i64,
        #[b(3)]
        checksums: Vec<Sum<'b>>,
    }

    #[derive(Encode, Decode)]
    pub(super) struct Body<'b> {
        #[b(0)]
        extents: Vec<Stretch<'b>>,
        #[b(1)]
        note: Option<&'b str>,
        #[b(2)]
        seals: Seals<'b>,
    }

    impl<'b> Head<'b> {
        pub(super) fn of(head: &'b PartHead) -> Self {
            Self { size: head.size, md5: head.md5, last_modified: head.last_modified.as_millis(), checksums: fields::sums(&head.checksums) }
        }
    }

    impl From<Head<'_>> for PartHead {
        fn from(head: Head<'_>) -> Self {
            Self {
                size: head.size,
                md5: head.md5,
                last_modified: Timestamp::from_millis(head.last_modified),
                checksums: fields::checksums(head.checksums),
            }
        }
    }

    impl<'b> Body<'b> {
        pub(super) fn of(part: &'b PartRecord) -> Self {
            Self { extents: fields::stretches(&part.extents), note: part.note.as_deref(), seals: fields::seals(&part.extents) }
        }

        pub(super) fn into_parts(self) -> (Option<Vec<Extent>>, Option<String>) {
            (fields::extents(&self.extents, self.seals), self.note.map(str::to_owned))
        }
    }
}

#[cfg(test)]
mod tests {
    use umbra_blob::BlobId;
    use umbra_core::{Checksum, ChecksumAlgorithm, Timestamp};
    use umbra_meta::{Entry, Revision};

    use super::{PartHead, PartRecord, decode, decode_head, encode};
    use crate::{Extent, Seal, Wrapping, keyring::WRAPPED_LEN, record::golden};

    fn full() -> PartRecord {
        PartRecord {
            head: PartHead {
                size: 5_242_881,
                md5: [7; 16],
                last_modified: Timestamp::from_millis(1_700_000_000_123),
                checksums: vec![Checksum::parse(ChecksumAlgorithm::Crc64Nvme, "rosUhgp5mIg=").unwrap()],
            },
            extents: vec![Extent::plain(BlobId::from_bytes(b"one"), 5_242_880), Extent::plain(BlobId::from_bytes(&[0xff; 64]), 1)],
            note: Some("their-etag".to_owned()),
        }
    }

    fn sealed() -> PartRecord {
        let mut part = full();
        let seal = |wrapping| Some(Box::new(Seal { wrapping, wrapped: [7; WRAPPED_LEN] }));
        part.extents[0].seal = seal(Wrapping::Managed);
        part.extents[1].seal = seal(Wrapping::Customer);
        PartRecord { note: None, ..part }
    }

    fn entry(head: &[u8], body: &[u8]) -> Entry {
        Entry { key: "k".into(), revision: Revision(1), head: head.to_vec().into(), body: body.to_vec().into() }
    }

    #[test]
    fn every_released_format_is_read() {
        let (head, body) = encode(&full());
        let head = golden::check("part/v1-head", Some(&head));
        let body = golden::check("part/v1", Some(&body));
        assert_eq!(decode(&entry(&head, &body)).unwrap(), full());
        let (head, body) = encode(&sealed());
        let body = golden::check("part/v1-sealed", Some(&body));
        assert_eq!(decode(&entry(&head, &body)).unwrap(), sealed());
    }

    #[test]
    fn damage_is_refused() {
        let (head, body) = encode(&full());
        golden::check_refusals(&head, decode_head);
        golden::check_refusals(&body, |body| decode(&entry(&head, body)));
        golden::check_refusals(&encode(&sealed()).1, |body| decode(&entry(&head, body)));
        let mut contradicting = full();
        contradicting.extents.pop();
        let (head, body) = encode(&contradicting);
        assert!(decode(&entry(&head, &body)).is_err());
    }
}

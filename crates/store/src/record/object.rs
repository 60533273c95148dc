//! `o/<key>`: the current object of a key; `v/<key><sequence>`: an older version of it, or a delete marker. The head is all a listing needs,
//! the body holds the rest.

use bytes::Bytes;
use umbra_core::{ETag, Result, Timestamp};
use umbra_meta::Entry;

use crate::{ObjectRecord, Pieces, Version};

const WHAT: &str = "an object";
const VERSION: u8 = 1;

/// What a listing needs of an object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ObjectHead {
    pub(crate) size: u64,
    pub(crate) etag: ETag,
    pub(crate) last_modified: Timestamp,
    pub(crate) storage_class: Option<String>,
    pub(crate) version: Version,
}

/// The head and the body of the record that holds `object`.
pub(crate) fn encode(object: &ObjectRecord) -> (Bytes, Bytes) {
    (super::encode(VERSION, &v1::Head::of(object)), super::encode(VERSION, &v1::Body::of(object)))
}

/// What the head of an object's record tells.
pub(crate) fn decode_head(head: &[u8]) -> Result<ObjectHead> {
    match super::split(WHAT, head)? {
        (VERSION, cbor) => Ok(super::decode::<v1::Head<'_>>(WHAT, cbor)?.into()),
        (version, _) => Err(super::unknown_version(WHAT, version)),
    }
}

/// The object that `entry` holds.
pub(crate) fn decode(entry: &Entry) -> Result<ObjectRecord> {
    let head = decode_head(&entry.head)?;
    let object = match super::split(WHAT, &entry.body)? {
        (VERSION, cbor) => super::decode::<v1::Body<'_>>(WHAT, cbor)?.into_object(head, &entry.body),
        (version, _) => return Err(super::unknown_version(WHAT, version)),
    };
    object
        .filter(|object| pieces_size(&object.content) == Some(object.size))
        .ok_or_else(|| super::corrupt(WHAT, "its content is impossible"))
}

fn pieces_size(pieces: &Pieces) -> Option<u64> {
    match pieces {
        Pieces::Inline(_) | Pieces::SealedInline(..) => Some(pieces.size()),
        Pieces::Extents(extents) => extents.iter().try_fold(0_u64, |sum, extent| sum.checked_add(extent.size)),
    }
}

mod v1 {
    use bytes::Bytes;
    use minicbor::{Decode, Encode, bytes::ByteSlice};
    use umbra_core::{ETag, PartInfo, Timestamp, UploadId};

    use super::ObjectHead;
    use crate::{
        Completion, ObjectRecord, Pieces, Version,
        record::{
            attributes::Attributes,
            fields::{self, Headers, Pairs, Sealed, Seals, Stretch, Sum},
        },
    };

    #[derive(Encode, Decode)]
    pub(super) struct Head<'b> {
        #[n(0)]
        size: u64,
        #[b(1)]
        etag: &'b str,
        #[n(2)]
        last_modified: i64,
        #[b(3)]
        storage_class: Option<&'b str>,
        /// Absent: the null version of a time before versions.
        #[n(4)]
        version: Option<Place>,
    }

    #[derive(Encode, Decode)]
    struct Place {
        #[n(0)]
        sequence: u64,
        /// Absent: the null version.
        #[n(1)]
        nonce: Option<u64>,
        #[n(2)]
        is_marker: Option<bool>,
    }

    #[derive(Encode, Decode)]
    pub(super) struct Body<'b> {
        #[b(0)]
        headers: Headers<'b>,
        #[b(1)]
        metadata: Pairs<'b>,
        #[b(2)]
        tags: Pairs<'b>,
        #[b(3)]
        checksums: Vec<Sum<'b>>,
        #[b(4)]
        parts: Vec<Part<'b>>,
        /// The content itself; absent when it is in `extents`.
        #[b(5)]
        inline: Option<&'b ByteSlice>,
        #[b(6)]
        extents: Vec<Stretch<'b>>,
        #[n(7)]
        hydrated: Option<i64>,
        #[b(8)]
        completion: Option<CompletedBy<'b>>,
        #[b(9)]
        attributes: Option<Attributes<'b>>,
        /// The keys of the extents, or the one of the inline content.
        #[b(11)]
        seals: Seals<'b>,
    }

    #[derive(Encode, Decode)]
    struct Part<'b> {
        #[n(0)]
        number: u16,
        #[n(1)]
        size: u64,
        #[b(2)]
        checksums: Vec<Sum<'b>>,
    }

    #[derive(Encode, Decode)]
    struct CompletedBy<'b> {
        #[b(0)]
        upload: &'b str,
        #[cbor(n(1), with = "minicbor::bytes")]
        fingerprint: [u8; 16],
    }

    impl<'b> Head<'b> {
        pub(super) fn of(object: &'b ObjectRecord) -> Self {
            Self {
                size: object.size,
                etag: object.etag.as_str(),
                last_modified: object.last_modified.as_millis(),
                storage_class: object.headers.storage_class.as_deref(),
                version: Place::of(object.version),
            }
        }
    }

    impl From<Head<'_>> for ObjectHead {
        fn from(head: Head<'_>) -> Self {
            Self {
                size: head.size,
                etag: ETag::parse(head.etag),
                last_modified: Timestamp::from_millis(head.last_modified),
                storage_class: head.storage_class.map(str::to_owned),
                version: head.version.map(Version::from).unwrap_or_default(),
            }
        }
    }

    impl Place {
        fn of(version: Version) -> Option<Self> {
            let Version { sequence, nonce, is_marker } = version;
            (version != Version::default()).then(|| Self { sequence, nonce, is_marker: is_marker.then_some(true) })
        }
    }

    impl From<Place> for Version {
        fn from(place: Place) -> Self {
            Self { sequence: place.sequence, nonce: place.nonce, is_marker: place.is_marker.unwrap_or(false) }
        }
    }

    impl<'b> Body<'b> {
        pub(super) fn of(object: &'b ObjectRecord) -> Self {
            let part = |part: &'b PartInfo| Part { number: part.number, size: part.size, checksums: fields::sums(&part.checksums) };
            let (inline, extents, seals) = match &object.content {
                Pieces::Inline(bytes) => (Some(<&ByteSlice>::from(&bytes[..])), Vec::new(), None),
                Pieces::SealedInline(bytes, seal) => (Some(<&ByteSlice>::from(&bytes[..])), Vec::new(), Some(vec![Some(Sealed::of(seal))])),
                Pieces::Extents(extents) => (None, fields::stretches(extents), fields::seals(extents)),
            };
            Self {
                headers: Headers::of(&object.headers),
                metadata: object.metadata.iter().collect(),
                tags: object.tags.iter().collect(),
                checksums: fields::sums(&object.checksums),
                parts: object.parts.iter().map(part).collect(),
                inline,
                extents,
                hydrated: object.hydrated.map(Timestamp::as_millis),
                completion: object.completion.as_ref().map(|by| CompletedBy { upload: by.upload.as_str(), fingerprint: by.fingerprint }),
                attributes: Attributes::of(&object.attributes),
                seals,
            }
        }

        /// The object; inline content is a slice of `body`, the record this was decoded from. `None` when it is impossible.
        pub(super) fn into_object(self, head: ObjectHead, body: &Bytes) -> Option<ObjectRecord> {
            let part = |part: Part<'_>| PartInfo { number: part.number, size: part.size, checksums: fields::checksums(part.checksums) };
            let content = match (self.inline, self.seals) {
                (Some(inline), None) => Pieces::Inline(body.slice_ref(inline)),
                (Some(inline), Some(seals)) => {
                    let [Some(seal)] = <[_; 1]>::try_from(seals).ok()? else { return None };
                    Pieces::SealedInline(body.slice_ref(inline), seal.into_seal()?)
                }
                (None, seals) => Pieces::Extents(fields::extents(&self.extents, seals)?),
            };
            Some(ObjectRecord {
                size: head.size,
                etag: head.etag,
                last_modified: head.last_modified,
                headers: self.headers.with_storage_class(head.storage_class.as_deref()),
                metadata: fields::metadata(self.metadata),
                tags: fields::tags(self.tags),
                attributes: Attributes::given(self.attributes),
                checksums: fields::checksums(self.checksums),
                parts: self.parts.into_iter().map(part).collect(),
                content,
                hydrated: self.hydrated.map(Timestamp::from_millis),
                version: head.version,
                completion: self.completion.map(|by| Completion { upload: UploadId::parse(by.upload), fingerprint: by.fingerprint }),
            })
        }
    }
}

#[cfg(test)]
mod tests;

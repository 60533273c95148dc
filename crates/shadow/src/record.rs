//! The shadow's own records: CBOR behind a leading format-version byte. Old versions stay readable for ever.

use minicbor::{CborLen, Decode, Encode};
use umbra_core::{Error, ErrorKind, Result, Timestamp};

/// A key is gone here, and the origin must not bring it back. Row `s/<key>`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub(crate) struct Tombstone {
    /// The generation it belongs to: it hides nothing of a later one.
    #[n(0)]
    pub(crate) generation: u64,
    /// When, in milliseconds since 1970.
    #[n(1)]
    pub(crate) at: i64,
}

/// A write-through is under way, or was when its owner died. Row `w/<key>`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub(crate) struct Intent {
    /// The generation it belongs to.
    #[n(0)]
    pub(crate) generation: u64,
    /// When, in milliseconds since 1970.
    #[n(1)]
    pub(crate) at: i64,
    /// What was to be done.
    #[n(2)]
    pub(crate) operation: Operation,
    /// What tells afterwards whether the origin applied the write: for a put the ETag the object would have, by our reckoning; for tags their MD5.
    /// For a copy back: the upload at the origin that is to be aborted when the copy does not come to its end.
    #[n(3)]
    pub(crate) mark: Option<String>,
    /// For a put: bytes of content.
    #[n(4)]
    pub(crate) size: Option<u64>,
    /// The intent of a dead owner that this one took the place of: if the origin did not apply this one, it may have applied that one.
    #[n(5)]
    pub(crate) before: Option<Box<Intent>>,
    /// For a put: what tells its user metadata from that of another object of the same content.
    #[n(6)]
    pub(crate) metadata: Option<String>,
}

/// What a write-through does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
#[cbor(index_only)]
pub(crate) enum Operation {
    /// An object is put, copied or completed.
    #[n(0)]
    Put,
    /// An object is deleted.
    #[n(1)]
    Delete,
    /// The tags of an object are replaced.
    #[n(2)]
    Tag,
    /// What is here already is brought to the origin. It stands, whatever becomes of the copy.
    #[n(3)]
    CopyBack,
}

/// An upload at the origin that mirrors one of ours, or that is left of a copy back. Row `u/<upload of ours, or a name no upload has>`, until it
/// is known to have ended.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub(crate) struct OriginUpload {
    /// The generation it belongs to.
    #[n(0)]
    pub(crate) generation: u64,
    /// When it began, in milliseconds since 1970.
    #[n(1)]
    pub(crate) at: i64,
    /// The key it is for.
    #[n(2)]
    pub(crate) key: String,
    /// The origin's identifier of it.
    #[n(3)]
    pub(crate) upload: String,
}

/// A hydration that is not complete. Row `h/<key>`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub(crate) struct Hydrating {
    /// The generation it belongs to.
    #[n(0)]
    pub(crate) generation: u64,
    /// The revisions of the rows of object, tombstone and intent when it began: it goes on only while they are the same.
    #[n(1)]
    pub(crate) base: (Option<u64>, Option<u64>, Option<u64>),
    /// The number of its first piece.
    #[n(2)]
    pub(crate) first_piece: u64,
    /// Which object of the origin it is.
    #[n(3)]
    pub(crate) etag: String,
    /// Bytes of the whole.
    #[n(4)]
    pub(crate) size: u64,
    /// When the origin's object was written, in milliseconds since 1970.
    #[n(5)]
    pub(crate) last_modified: i64,
    /// Its stored headers, in the order of the fields of `SystemHeaders`.
    #[n(6)]
    pub(crate) headers: Vec<Option<String>>,
    /// Its user metadata.
    #[n(7)]
    pub(crate) metadata: Vec<(String, String)>,
    /// How many tags it has, where the origin told.
    #[n(8)]
    pub(crate) tag_count: Option<u64>,
    /// Whether its ETag may be the MD5 of the content.
    #[n(9)]
    pub(crate) etag_is_md5: bool,
    /// What it belongs to: see [`crate::shadow::scope_of`].
    #[n(10)]
    pub(crate) scope: u64,
}

impl Operation {
    /// What people call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Tag => "tags",
            Self::CopyBack => "copy-back",
        }
    }
}

const VERSION: u8 = 1;

/// The bytes of a record.
pub(crate) fn encode<T: Encode<()>>(record: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    minicbor::encode(record, &mut bytes).expect("encoding into memory cannot fail");
    bytes
}

/// The record that `bytes` hold.
pub(crate) fn decode<'b, T: Decode<'b, ()>>(what: &str, bytes: &'b [u8]) -> Result<T> {
    let corrupt = |why: String| Error::new(ErrorKind::Corrupt, format!("a {what} record is damaged")).because(why);
    match bytes.split_first() {
        Some((&VERSION, rest)) => minicbor::decode(rest).map_err(|error| corrupt(error.to_string())),
        Some((version, _)) => Err(corrupt(format!("format version {version} is newer than this program"))),
        None => Err(corrupt("it is empty".to_owned())),
    }
}

impl Tombstone {
    pub(crate) fn new(generation: u64, now: Timestamp) -> Self {
        Self { generation, at: now.as_millis() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Hydrating, Intent, Operation, OriginUpload, Tombstone, decode, encode};

    /// The first format, written once and readable for ever.
    #[test]
    fn records_of_the_first_format_are_read() {
        let golden: [&[u8]; 2] = [&[1, 0x82, 7, 0x18, 0x2a], &[1, 0x85, 7, 0x18, 0x2a, 0, 0x61, b'e', 3]];
        let tombstone = Tombstone { generation: 7, at: 42 };
        let intent = Intent {
            generation: 7,
            at: 42,
            operation: Operation::Put,
            mark: Some("e".into()),
            size: Some(3),
            before: None,
            metadata: None,
        };
        assert_eq!(encode(&tombstone), golden[0]);
        assert_eq!(encode(&intent), golden[1]);
        assert_eq!(decode::<Tombstone>("t", golden[0]).unwrap(), tombstone);
        assert_eq!(decode::<Intent>("i", golden[1]).unwrap(), intent);
        let copy_back = Intent { operation: Operation::CopyBack, mark: None, size: None, ..intent.clone() };
        assert_eq!(decode::<Intent>("i", &[1, 0x85, 7, 0x18, 0x2a, 3, 0xf6, 0xf6]).unwrap(), copy_back);
        let before = Some(Box::new(intent.clone()));
        let second = Intent { operation: Operation::Delete, mark: None, size: None, before, ..intent };
        let golden = [1, 0x86, 7, 0x18, 0x2a, 1, 0xf6, 0xf6, 0x85, 7, 0x18, 0x2a, 0, 0x61, b'e', 3];
        assert_eq!(encode(&second), golden);
        assert_eq!(decode::<Intent>("i", &golden).unwrap(), second);
        let with_metadata = Intent { operation: Operation::Put, before: None, metadata: Some("m".into()), ..second };
        let golden = [1, 0x87, 7, 0x18, 0x2a, 0, 0xf6, 0xf6, 0xf6, 0x61, b'm'];
        assert_eq!(encode(&with_metadata), golden);
        assert_eq!(decode::<Intent>("i", &golden).unwrap(), with_metadata);
        let upload = OriginUpload { generation: 7, at: 42, key: "k".into(), upload: "id".into() };
        let golden = [1, 0x84, 7, 0x18, 0x2a, 0x61, b'k', 0x62, b'i', b'd'];
        assert_eq!(encode(&upload), golden);
        assert_eq!(decode::<OriginUpload>("u", &golden).unwrap(), upload);
        let hydrating = Hydrating {
            generation: 7,
            base: (Some(1), None, None),
            first_piece: 1 << 20,
            etag: "e".into(),
            size: 3,
            last_modified: 42,
            headers: vec![Some("h".into()), None],
            metadata: vec![("n".into(), "v".into())],
            tag_count: None,
            etag_is_md5: true,
            scope: 9,
        };
        let golden = b"\x01\x8b\x07\x83\x01\xf6\xf6\x1a\x00\x10\x00\x00\x61e\x03\x18\x2a\x82\x61h\xf6\x81\x82\x61n\x61v\xf6\xf5\x09";
        assert_eq!(encode(&hydrating), golden);
        assert_eq!(decode::<Hydrating>("h", golden).unwrap(), hydrating);
    }

    #[test]
    fn damaged_and_newer_records_are_refused() {
        for bad in [&[][..], &[2, 0x82, 7, 1], &[1, 0xff]] {
            assert!(decode::<Tombstone>("tombstone", bad).is_err());
        }
    }
}

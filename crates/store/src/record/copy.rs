//! Root `C/<blob><region>`: a copy of a blob, or one that is coming. All of it is in the body.

use bytes::Bytes;
use minicbor::{Decode, Encode, bytes::ByteVec};
use umbra_blob::BlobId;
use umbra_core::{Result, Timestamp};

const WHAT: &str = "a copy of a blob";
const VERSION: u8 = 1;

/// A copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CopyRecord {
    /// When it was begun, by the clock of whoever makes it.
    pub(crate) begun: Timestamp,
    /// The copy, as the store of its region knows it; `None` while it is coming.
    pub(crate) blob: Option<BlobId>,
    /// Since when it is the blob's home, if it is: the region in the blob's identifier is not any more.
    pub(crate) home: Option<Timestamp>,
    /// Whether it has to be there, read or not.
    pub(crate) is_required: bool,
    /// When it was read, roughly; `None` for not since it was made.
    pub(crate) read: Option<Timestamp>,
    /// Until when it is taken to be coming, where whoever makes it says again and again that it does.
    pub(crate) until: Option<Timestamp>,
}

#[derive(Encode, Decode)]
struct V1 {
    #[n(0)]
    begun: i64,
    #[n(1)]
    blob: Option<ByteVec>,
    #[n(2)]
    home: Option<i64>,
    #[n(3)]
    required: Option<bool>,
    #[n(4)]
    read: Option<i64>,
    #[n(5)]
    until: Option<i64>,
}

impl CopyRecord {
    /// The body of the record.
    pub(crate) fn encode(&self) -> Bytes {
        let record = V1 {
            begun: self.begun.as_millis(),
            blob: self.blob.as_ref().map(|blob| blob.as_bytes().to_vec().into()),
            home: self.home.map(Timestamp::as_millis),
            required: self.is_required.then_some(true),
            read: self.read.map(Timestamp::as_millis),
            until: self.until.map(Timestamp::as_millis),
        };
        super::encode(VERSION, &record)
    }

    /// The record that `body` holds.
    pub(crate) fn decode(body: &[u8]) -> Result<Self> {
        match super::split(WHAT, body)? {
            (VERSION, cbor) => {
                let V1 { begun, blob, home, required, read, until } = super::decode(WHAT, cbor)?;
                if blob.as_ref().is_some_and(|blob| blob.len() > BlobId::BYTES_MAX) {
                    return Err(super::corrupt(WHAT, "its identifier is too long"));
                }
                Ok(Self {
                    begun: Timestamp::from_millis(begun),
                    blob: blob.map(|blob| BlobId::from_bytes(&blob)),
                    home: home.map(Timestamp::from_millis),
                    is_required: required.unwrap_or(false),
                    read: read.map(Timestamp::from_millis),
                    until: until.map(Timestamp::from_millis),
                })
            }
            (version, _) => Err(super::unknown_version(WHAT, version)),
        }
    }

    /// When it was used, as far as is known: made, or read.
    pub(crate) fn used(&self) -> Option<Timestamp> {
        self.blob.as_ref().map(|_| self.read.map_or(self.begun, |read| read.max(self.begun)))
    }
}

#[cfg(test)]
mod tests {
    use umbra_blob::BlobId;
    use umbra_core::Timestamp;

    use super::CopyRecord;
    use crate::record::golden;

    fn record() -> CopyRecord {
        CopyRecord { begun: Timestamp::from_millis(1_750_000_000_000), blob: Some(BlobId::from_bytes(&[3; 25])), ..CopyRecord::default() }
    }

    /// One whose every field says something.
    fn full() -> CopyRecord {
        let at = |millis| Some(Timestamp::from_millis(millis));
        CopyRecord { home: at(1_750_000_000_001), is_required: true, read: at(1_750_000_000_002), ..record() }
    }

    #[test]
    fn every_released_format_is_read() {
        let golden = golden::check("copy/v1", Some(&record().encode()));
        assert_eq!(CopyRecord::decode(&golden).unwrap(), record());
        let coming = CopyRecord { blob: None, until: Some(Timestamp::from_millis(1_750_000_060_000)), ..record() };
        assert_eq!(CopyRecord::decode(&golden::check("copy/v1-coming", Some(&coming.encode()))).unwrap(), coming);
        let golden = golden::check("copy/v1-full", Some(&full().encode()));
        assert_eq!(CopyRecord::decode(&golden).unwrap(), full());
    }

    #[test]
    fn damage_is_refused() {
        golden::check_refusals(&full().encode(), CopyRecord::decode);
    }
}

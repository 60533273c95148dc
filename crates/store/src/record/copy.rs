//! Root `C/<blob><region>`: a copy of a blob, or one that is coming. All of it is in the body.

use bytes::Bytes;
use minicbor::{Decode, Encode, bytes::ByteVec};
use umbra_blob::BlobId;
use umbra_core::{Result, Timestamp};

const WHAT: &str = "a copy of a blob";
const VERSION: u8 = 1;

/// A copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopyRecord {
    /// When it was begun, by the clock of whoever makes it.
    pub(crate) begun: Timestamp,
    /// The copy, as the store of its region knows it; `None` while it is coming.
    pub(crate) blob: Option<BlobId>,
    /// Until when it is taken to be coming, where whoever makes it says again and again that it does.
    pub(crate) until: Option<Timestamp>,
}

#[derive(Encode, Decode)]
struct V1 {
    #[n(0)]
    begun: i64,
    #[n(1)]
    blob: Option<ByteVec>,
    #[n(4)]
    until: Option<i64>,
}

impl CopyRecord {
    /// One that is coming, begun then.
    pub(crate) fn coming(begun: Timestamp) -> Self {
        Self { begun, blob: None, until: None }
    }

    /// The body of the record.
    pub(crate) fn encode(&self) -> Bytes {
        let blob = self.blob.as_ref().map(|blob| blob.as_bytes().to_vec().into());
        super::encode(VERSION, &V1 { begun: self.begun.as_millis(), blob, until: self.until.map(Timestamp::as_millis) })
    }

    /// The record that `body` holds.
    pub(crate) fn decode(body: &[u8]) -> Result<Self> {
        match super::split(WHAT, body)? {
            (VERSION, cbor) => {
                let V1 { begun, blob, until } = super::decode(WHAT, cbor)?;
                if blob.as_ref().is_some_and(|blob| blob.len() > BlobId::BYTES_MAX) {
                    return Err(super::corrupt(WHAT, "its identifier is too long"));
                }
                let blob = blob.map(|blob| BlobId::from_bytes(&blob));
                Ok(Self { begun: Timestamp::from_millis(begun), blob, until: until.map(Timestamp::from_millis) })
            }
            (version, _) => Err(super::unknown_version(WHAT, version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use umbra_blob::BlobId;
    use umbra_core::Timestamp;

    use super::CopyRecord;
    use crate::record::golden;

    fn record() -> CopyRecord {
        CopyRecord { blob: Some(BlobId::from_bytes(&[3; 25])), ..CopyRecord::coming(Timestamp::from_millis(1_750_000_000_000)) }
    }

    #[test]
    fn every_released_format_is_read() {
        let golden = golden::check("copy/v1", Some(&record().encode()));
        assert_eq!(CopyRecord::decode(&golden).unwrap(), record());
        let coming = CopyRecord { blob: None, until: Some(Timestamp::from_millis(1_750_000_060_000)), ..record() };
        assert_eq!(CopyRecord::decode(&golden::check("copy/v1-coming", Some(&coming.encode()))).unwrap(), coming);
    }

    #[test]
    fn damage_is_refused() {
        golden::check_refusals(&record().encode(), CopyRecord::decode);
    }
}

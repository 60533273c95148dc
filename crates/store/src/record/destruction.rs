//! Root `D/<partition>`: the bucket of a partition is gone, and what it held is still to be freed. All of it is in the body.

use bytes::Bytes;
use minicbor::{Decode, Encode};
use umbra_core::{Result, Timestamp};

const WHAT: &str = "a destruction";
const VERSION: u8 = 1;

/// What to free, told for the log: the key alone says where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DestructionRecord {
    /// The name the bucket had.
    pub(crate) name: String,
    /// When it lost it.
    pub(crate) since: Timestamp,
}

#[derive(Encode, Decode)]
struct V1 {
    #[n(0)]
    name: String,
    #[n(1)]
    since: i64,
}

impl DestructionRecord {
    /// The body of the record.
    pub(crate) fn encode(&self) -> Bytes {
        super::encode(VERSION, &V1 { name: self.name.clone(), since: self.since.as_millis() })
    }

    /// The record that `body` holds.
    pub(crate) fn decode(body: &[u8]) -> Result<Self> {
        match super::split(WHAT, body)? {
            (VERSION, cbor) => {
                let V1 { name, since } = super::decode(WHAT, cbor)?;
                Ok(Self { name, since: Timestamp::from_millis(since) })
            }
            (version, _) => Err(super::unknown_version(WHAT, version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use umbra_core::Timestamp;

    use super::DestructionRecord;
    use crate::record::golden;

    fn record() -> DestructionRecord {
        DestructionRecord { name: "bucket".to_owned(), since: Timestamp::from_millis(1_750_000_000_000) }
    }

    #[test]
    fn every_released_format_is_read() {
        let golden = golden::check("destruction/v1", Some(&record().encode()));
        assert_eq!(DestructionRecord::decode(&golden).unwrap(), record());
    }

    #[test]
    fn damage_is_refused() {
        golden::check_refusals(&record().encode(), DestructionRecord::decode);
    }
}

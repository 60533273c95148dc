//! Root `W/<blob><region>`: how often a region reads a blob, while that is to be compared. All of it is in the body.

use bytes::Bytes;
use minicbor::{Decode, Encode};
use umbra_core::Result;

const WHAT: &str = "a claim to a blob";
const VERSION: u8 = 1;

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimRecord {
    /// The first window that was counted. Windows are numbered since 1970.
    pub(crate) since: u64,
    /// The last one in which there were reads.
    pub(crate) window: u64,
    /// How many.
    pub(crate) reads: u64,
    /// The mean of those before it, in sixteenths, if any was counted.
    pub(crate) before: Option<u64>,
}

#[derive(Encode, Decode)]
struct V1 {
    #[n(0)]
    since: u64,
    #[n(1)]
    window: u64,
    #[n(2)]
    reads: u64,
    #[n(3)]
    before: Option<u64>,
}

impl ClaimRecord {
    /// The body of the record.
    pub(crate) fn encode(&self) -> Bytes {
        let Self { since, window, reads, before } = *self;
        super::encode(VERSION, &V1 { since, window, reads, before })
    }

    /// The record that `body` holds.
    pub(crate) fn decode(body: &[u8]) -> Result<Self> {
        match super::split(WHAT, body)? {
            (VERSION, cbor) => {
                let V1 { since, window, reads, before } = super::decode(WHAT, cbor)?;
                Ok(Self { since, window, reads, before })
            }
            (version, _) => Err(super::unknown_version(WHAT, version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ClaimRecord;
    use crate::record::golden;

    fn record() -> ClaimRecord {
        ClaimRecord { since: 486_111, window: 486_120, reads: 77, before: Some(1_000) }
    }

    #[test]
    fn every_released_format_is_read() {
        let golden = golden::check("claim/v1", Some(&record().encode()));
        assert_eq!(ClaimRecord::decode(&golden).unwrap(), record());
        let first = ClaimRecord { before: None, ..record() };
        assert_eq!(ClaimRecord::decode(&first.encode()).unwrap(), first);
    }

    #[test]
    fn damage_is_refused() {
        golden::check_refusals(&record().encode(), ClaimRecord::decode);
    }
}

//! `r/<region><at><blob>`: a copy that has to be made; and root `Q/<region><partition>l`: who makes those of a partition. All of it is in the body.

use bytes::Bytes;
use minicbor::{Decode, Encode};
use umbra_core::{Result, Timestamp};

const WHAT: &str = "a copy to be made";
const LEASE: &str = "the lease of copies to be made";
const VERSION: u8 = 1;

/// A copy that has to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DueCopyRecord {
    /// Since when.
    pub(crate) since: Timestamp,
    /// How often it failed.
    pub(crate) failures: u32,
    /// Why it failed last.
    pub(crate) reason: Option<String>,
    /// Whether it is to be the home.
    pub(crate) becomes_home: bool,
}

/// Who makes the copies of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DueLeaseRecord {
    /// A node, by its incarnation.
    pub(crate) holder: String,
    /// Until when, by the holder's clock.
    pub(crate) until: Timestamp,
}

#[derive(Encode, Decode)]
struct V1 {
    #[n(0)]
    since: i64,
    #[n(1)]
    failures: u32,
    #[n(2)]
    reason: Option<String>,
    /// Left out where it is not.
    #[n(3)]
    becomes_home: Option<bool>,
}

#[derive(Encode, Decode)]
struct LeaseV1 {
    #[n(0)]
    holder: String,
    #[n(1)]
    until: i64,
}

impl DueCopyRecord {
    /// The body of the record.
    pub(crate) fn encode(&self) -> Bytes {
        let (since, becomes_home) = (self.since.as_millis(), self.becomes_home.then_some(true));
        super::encode(VERSION, &V1 { since, failures: self.failures, reason: self.reason.clone(), becomes_home })
    }

    /// The record that `body` holds.
    pub(crate) fn decode(body: &[u8]) -> Result<Self> {
        match super::split(WHAT, body)? {
            (VERSION, cbor) => {
                let V1 { since, failures, reason, becomes_home } = super::decode(WHAT, cbor)?;
                Ok(Self { since: Timestamp::from_millis(since), failures, reason, becomes_home: becomes_home.unwrap_or(false) })
            }
            (version, _) => Err(super::unknown_version(WHAT, version)),
        }
    }
}

impl DueLeaseRecord {
    /// The body of the record.
    pub(crate) fn encode(&self) -> Bytes {
        super::encode(VERSION, &LeaseV1 { holder: self.holder.clone(), until: self.until.as_millis() })
    }

    /// The record that `body` holds.
    pub(crate) fn decode(body: &[u8]) -> Result<Self> {
        match super::split(LEASE, body)? {
            (VERSION, cbor) => {
                let LeaseV1 { holder, until } = super::decode(LEASE, cbor)?;
                Ok(Self { holder, until: Timestamp::from_millis(until) })
            }
            (version, _) => Err(super::unknown_version(LEASE, version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use umbra_core::Timestamp;

    use super::{DueCopyRecord, DueLeaseRecord};
    use crate::record::golden;

    #[test]
    fn every_released_format_is_read() {
        let since = Timestamp::from_millis(1_750_000_000_000);
        let due = DueCopyRecord { since, failures: 3, reason: Some("away".to_owned()), becomes_home: false };
        assert_eq!(DueCopyRecord::decode(&golden::check("due-copy/v1", Some(&due.encode()))).unwrap(), due);
        let home = DueCopyRecord { becomes_home: true, ..due };
        assert_eq!(DueCopyRecord::decode(&golden::check("due-copy/v1-home", Some(&home.encode()))).unwrap(), home);
        let lease = DueLeaseRecord { holder: "a-1".to_owned(), until: since };
        assert_eq!(DueLeaseRecord::decode(&golden::check("due-lease/v1", Some(&lease.encode()))).unwrap(), lease);
    }

    #[test]
    fn damage_is_refused() {
        golden::check_refusals(&DueCopyRecord::default().encode(), DueCopyRecord::decode);
        let lease = DueLeaseRecord { holder: "a-1".to_owned(), until: Timestamp::default() };
        golden::check_refusals(&lease.encode(), DueLeaseRecord::decode);
    }
}

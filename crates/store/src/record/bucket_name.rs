//! Root `B/<name>`: whose a bucket's name is, and where its records are. All of it is in the body.

use bytes::Bytes;
use minicbor::{Decode, Encode};
use umbra_core::{Result, Timestamp};
use umbra_meta::Partition;

const WHAT: &str = "a bucket's name";
const VERSION: u8 = 1;

/// What never changes while a bucket exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BucketNameRecord {
    pub(crate) partition: Partition,
    pub(crate) organization: String,
    pub(crate) created: Timestamp,
}

#[derive(Encode, Decode)]
struct V1 {
    #[n(0)]
    partition: u64,
    #[n(1)]
    organization: String,
    #[n(2)]
    created: i64,
}

impl BucketNameRecord {
    /// The body of the record.
    pub(crate) fn encode(&self) -> Bytes {
        let Self { partition, organization, created } = self;
        super::encode(VERSION, &V1 { partition: partition.0, organization: organization.clone(), created: created.as_millis() })
    }

    /// The record that `body` holds.
    pub(crate) fn decode(body: &[u8]) -> Result<Self> {
        match super::split(WHAT, body)? {
            (VERSION, cbor) => {
                let V1 { partition, organization, created } = super::decode(WHAT, cbor)?;
                Ok(Self { partition: Partition(partition), organization, created: Timestamp::from_millis(created) })
            }
            (version, _) => Err(super::unknown_version(WHAT, version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use umbra_core::Timestamp;
    use umbra_meta::Partition;

    use super::BucketNameRecord;
    use crate::record::golden;

    fn record() -> BucketNameRecord {
        BucketNameRecord {
            partition: Partition(i64::MAX as u64),
            organization: "acme".to_owned(),
            created: Timestamp::from_millis(1_750_000_000_000),
        }
    }

    #[test]
    fn every_released_format_is_read() {
        let golden = golden::check("bucket_name/v1", Some(&record().encode()));
        assert_eq!(BucketNameRecord::decode(&golden).unwrap(), record());
    }

    #[test]
    fn damage_is_refused() {
        golden::check_refusals(&record().encode(), BucketNameRecord::decode);
    }
}

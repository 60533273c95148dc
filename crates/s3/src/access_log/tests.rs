use std::sync::Arc;

use umbra_core::{BucketName, Timestamp};
use umbra_store::{Bucket, BucketSettings, Extras, Logging};

/// A bucket with a log.
pub(super) fn source(logging: Logging) -> Bucket {
    source_of(1, logging)
}

/// The same, in a partition of its own.
pub(super) fn source_of(partition: u64, logging: Logging) -> Bucket {
    let extras = Extras { logging: Some(logging), ..Extras::default() };
    Bucket {
        name: BucketName::parse("photos").unwrap(),
        partition: umbra_meta::Partition(partition),
        organization: "acme".to_owned(),
        created: Timestamp::default(),
        settings: BucketSettings { extras: Arc::new(extras), ..BucketSettings::default() },
        revision: umbra_meta::Revision(1),
        taken_in: None,
    }
}

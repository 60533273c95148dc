//! Where a bucket's access log goes.

use umbra_core::Grant;

/// Where the access log of a bucket goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// The bucket.
    pub bucket: String,
    /// What keys of logs begin with.
    pub prefix: String,
    /// How the rest of these keys is made.
    pub keys: LogKeys,
    /// What others may do with logs.
    pub grants: Vec<Grant>,
}

/// How the keys of logs are made behind their prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogKeys {
    /// Of the time alone.
    #[default]
    Simple,
    /// By owner, region, bucket and day of the requests.
    ByEventTime,
    /// By owner, region, bucket and day of the delivery.
    ByDeliveryTime,
}

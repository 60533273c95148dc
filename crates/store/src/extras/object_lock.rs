//! Object lock of a bucket.

use std::time::Duration;

use umbra_core::{Retention, RetentionMode, Timestamp};

/// That versions can be kept from being deleted. Once there it stays.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectLockSettings {
    /// How new versions are kept that do not say so themselves.
    pub default: Option<DefaultRetention>,
}

/// How new versions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultRetention {
    /// Who may end it before its time.
    pub mode: RetentionMode,
    /// For how long, from when a version is made.
    pub period: RetentionPeriod,
}

/// For how long a version is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionPeriod {
    /// So many days.
    Days(u32),
    /// So many years of 365 days.
    Years(u32),
}

impl DefaultRetention {
    /// The retention of a version that is made `now`.
    pub fn from(self, now: Timestamp) -> Retention {
        let days = match self.period {
            RetentionPeriod::Days(days) => days,
            RetentionPeriod::Years(years) => years.saturating_mul(365),
        };
        Retention { mode: self.mode, until: now.plus(Duration::from_secs(u64::from(days) * 24 * 60 * 60)) }
    }
}

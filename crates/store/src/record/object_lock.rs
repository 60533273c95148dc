//! Object lock within the optional settings of a bucket.

use minicbor::{Decode, Encode};

use super::attributes::Mode;
use crate::extras::{self, ObjectLockSettings};

#[derive(Encode, Decode)]
pub(super) struct ObjectLock {
    #[n(0)]
    default: Option<DefaultRetention>,
}

#[derive(Encode, Decode)]
struct DefaultRetention {
    #[n(0)]
    mode: Mode,
    #[n(1)]
    period: Period,
}

#[derive(Encode, Decode)]
enum Period {
    #[n(0)]
    Days(#[n(0)] u32),
    #[n(1)]
    Years(#[n(0)] u32),
}

impl From<ObjectLockSettings> for ObjectLock {
    fn from(lock: ObjectLockSettings) -> Self {
        let period = |period| match period {
            extras::RetentionPeriod::Days(days) => Period::Days(days),
            extras::RetentionPeriod::Years(years) => Period::Years(years),
        };
        Self { default: lock.default.map(|default| DefaultRetention { mode: default.mode.into(), period: period(default.period) }) }
    }
}

impl From<ObjectLock> for ObjectLockSettings {
    fn from(lock: ObjectLock) -> Self {
        let period = |period| match period {
            Period::Days(days) => extras::RetentionPeriod::Days(days),
            Period::Years(years) => extras::RetentionPeriod::Years(years),
        };
        let default = |default: DefaultRetention| extras::DefaultRetention { mode: default.mode.into(), period: period(default.period) };
        Self { default: lock.default.map(default) }
    }
}

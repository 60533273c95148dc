//! What keeps a version from being deleted: judged where it is committed, so that no race deletes what is kept.

use umbra_core::{Error, ErrorKind, ObjectKey, ObjectLock, Result, Retention, RetentionMode, Timestamp, VersionId};

use super::Native;
use crate::{Bucket, LockChange};

impl Native {
    /// Changes what keeps the object of `key`, or `version` of it, from being deleted.
    pub(super) async fn change_lock(&self, bucket: &Bucket, key: &ObjectKey, version: Option<VersionId>, change: LockChange) -> Result<()> {
        let now = || self.clock().now();
        let amend = |object: &mut super::ObjectRecord| {
            // A copy that is kept is no longer replaced when its original changes.
            object.hydrated = None;
            change_at(now(), &mut object.attributes.lock, change)
        };
        self.amend(bucket, key, version, crate::Terms::default(), amend).await.map(drop)
    }
}

fn denied(message: &str) -> Error {
    Error::new(ErrorKind::Denied, message)
}

/// Refuses to delete what is kept.
pub(super) fn refuse_kept(lock: &ObjectLock, now: Timestamp, bypass_governance: bool) -> Result<()> {
    if lock.legal_hold == Some(true) {
        return Err(denied("access denied because object protected by object lock: it is under a legal hold"));
    }
    match lock.retention {
        Some(Retention { mode, until }) if until > now && !(bypass_governance && mode == RetentionMode::Governance) => {
            Err(denied("access denied because object protected by object lock: its retention has not ended"))
        }
        _ => Ok(()),
    }
}

/// Changes `lock`, if it may be: a retention that has not ended may be lengthened, and by who may bypass it replaced, unless nobody may.
fn change_at(now: Timestamp, lock: &mut ObjectLock, change: LockChange) -> Result<()> {
    match change {
        LockChange::LegalHold(on) => lock.legal_hold = Some(on),
        LockChange::Retention { retention, bypass_governance } => {
            if let Some(kept) = lock.retention.filter(|kept| kept.until > now)
                && !is_at_least(retention, kept)
                && !(bypass_governance && kept.mode == RetentionMode::Governance)
            {
                return Err(denied("access denied because object protected by object lock: its retention may only be lengthened"));
            }
            lock.retention = retention;
        }
    }
    Ok(())
}

/// Whether `wanted` keeps an object as long and as strictly as `kept` does.
fn is_at_least(wanted: Option<Retention>, kept: Retention) -> bool {
    wanted.is_some_and(|wanted| wanted.until >= kept.until && wanted.mode == kept.mode)
}

#[cfg(test)]
mod tests {
    use umbra_core::{ObjectLock, Retention, RetentionMode::*, Timestamp};

    use super::{change_at, refuse_kept};
    use crate::LockChange;

    fn kept(mode: umbra_core::RetentionMode, until: i64) -> Option<Retention> {
        Some(Retention { mode, until: Timestamp::from_millis(until) })
    }

    #[test]
    fn what_is_kept_is_not_deleted() {
        let cases = [
            (None, None, false, true),
            (None, Some(false), false, true),
            (None, Some(true), true, false),
            (kept(Governance, 11), None, false, false),
            (kept(Governance, 11), None, true, true),
            (kept(Governance, 11), Some(true), true, false),
            (kept(Governance, 10), None, false, true),
            (kept(Compliance, 11), None, true, false),
            (kept(Compliance, 10), None, false, true),
        ];
        for (retention, legal_hold, bypass, allowed) in cases {
            let lock = ObjectLock { retention, legal_hold };
            assert_eq!(refuse_kept(&lock, Timestamp::from_millis(10), bypass).is_ok(), allowed, "{lock:?}, bypass {bypass}");
        }
    }

    #[test]
    fn a_retention_is_loosened_only_by_who_may() {
        let cases = [
            (None, kept(Compliance, 11), false, true),
            (kept(Governance, 20), kept(Governance, 21), false, true),
            (kept(Governance, 20), kept(Governance, 20), false, true),
            (kept(Governance, 20), kept(Governance, 19), false, false),
            (kept(Governance, 20), kept(Compliance, 21), false, false),
            (kept(Governance, 20), kept(Governance, 19), true, true),
            (kept(Governance, 20), kept(Compliance, 19), true, true),
            (kept(Governance, 20), None, true, true),
            (kept(Governance, 20), None, false, false),
            (kept(Compliance, 20), kept(Compliance, 21), false, true),
            (kept(Compliance, 20), kept(Compliance, 19), true, false),
            (kept(Compliance, 20), kept(Governance, 21), true, false),
            (kept(Compliance, 20), None, true, false),
            (kept(Compliance, 10), None, false, true),
        ];
        for (before, retention, bypass_governance, allowed) in cases {
            let mut lock = ObjectLock { retention: before, legal_hold: None };
            let changed = change_at(Timestamp::from_millis(10), &mut lock, LockChange::Retention { retention, bypass_governance });
            assert_eq!(changed.is_ok(), allowed, "{before:?} to {retention:?}, bypass {bypass_governance}");
            assert_eq!(lock.retention, if allowed { retention } else { before });
        }
    }
}

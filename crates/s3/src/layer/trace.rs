//! What the inside of the front learns of a request, for its line in the access log.

use std::{
    mem,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;
use umbra_store::AccessKey;

/// One delete of many in a request.
#[derive(Debug)]
pub(crate) struct Deletion {
    pub(crate) key: String,
    pub(crate) version: Option<String>,
    pub(crate) status: u16,
    /// S3's word for what went wrong.
    pub(crate) code: Option<String>,
}

/// What was learned. Each is noted once.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    access_key: OnceLock<Arc<AccessKey>>,
    key: OnceLock<String>,
    size: OnceLock<u64>,
    received: OnceLock<Instant>,
    by_acl: AtomicBool,
    deleted: Mutex<Vec<Deletion>>,
}

impl Trace {
    /// Notes whose signature was good.
    pub(crate) fn signed_by(&self, key: &Arc<AccessKey>) {
        self.access_key.get_or_init(|| Arc::clone(key));
    }

    pub(crate) fn access_key(&self) -> Option<&AccessKey> {
        self.access_key.get().map(|key| &**key)
    }

    /// Notes the key, where the path does not name it.
    pub(crate) fn is_for(&self, key: &str) {
        self.key.get_or_init(|| key.to_owned());
    }

    pub(crate) fn key(&self) -> Option<&str> {
        self.key.get().map(String::as_str)
    }

    /// Notes how many bytes the object has, where neither request nor answer tells.
    pub(crate) fn is_of_size(&self, bytes: u64) {
        self.size.get_or_init(|| bytes);
    }

    pub(crate) fn size(&self) -> Option<u64> {
        self.size.get().copied()
    }

    /// Notes that the body has ended.
    pub(super) fn body_ended(&self) {
        self.received.get_or_init(Instant::now);
    }

    /// When the body had ended.
    pub(crate) fn received(&self) -> Option<Instant> {
        self.received.get().copied()
    }

    /// Notes that nothing but an ACL allowed it.
    pub(crate) fn allowed_by_acl(&self) {
        self.by_acl.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_by_acl(&self) -> bool {
        self.by_acl.load(Ordering::Relaxed)
    }

    /// Notes one delete of many.
    pub(crate) fn deleted(&self, deletion: Deletion) {
        self.deleted.lock().push(deletion);
    }

    pub(crate) fn take_deleted(&self) -> Vec<Deletion> {
        mem::take(&mut *self.deleted.lock())
    }
}

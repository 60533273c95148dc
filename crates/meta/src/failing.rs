//! A store whose commits fail as a test wants them to.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::{Batch, Committed, DelimPage, Entry, Error, KeyRange, MetaStore, Partition, Projection, Result, ScanDelim};

/// What happens to a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommitFault {
    /// Nothing unusual.
    #[default]
    None,
    /// It is refused with [`Error::Unavailable`]; nothing was written.
    Unavailable,
    /// It is refused with [`Error::Full`]; nothing was written.
    Full,
    /// It is applied, and answered with [`Error::Unknown`] all the same: the acknowledgement got lost.
    LostAcknowledgement,
}

type Hook = Box<dyn FnMut(u64, &Batch) -> CommitFault + Send>;

/// A [`MetaStore`] that asks a hook what to do with each commit. Reads pass.
pub struct FailingMetaStore {
    inner: Arc<dyn MetaStore>,
    hook: Mutex<Hook>,
    commits: AtomicU64,
}

impl FailingMetaStore {
    /// Wraps `inner`; every commit passes until [`FailingMetaStore::set`].
    pub fn new(inner: Arc<dyn MetaStore>) -> Self {
        Self { inner, hook: Mutex::new(Box::new(|_, _| CommitFault::None)), commits: AtomicU64::new(0) }
    }

    /// Asks `hook` from now on. It gets the number of the commit since the store was made, from 0, and the batch.
    pub fn set(&self, hook: impl FnMut(u64, &Batch) -> CommitFault + Send + 'static) {
        *self.hook.lock() = Box::new(hook);
    }

    /// Makes the commit that comes after `skip` more commits meet `fault`, and every other one pass.
    pub fn fail_after(&self, skip: u64, fault: CommitFault) {
        let target = self.commits() + skip;
        self.set(move |number, _| if number == target { fault } else { CommitFault::None });
    }

    /// Lets every commit pass again.
    pub fn heal(&self) {
        self.set(|_, _| CommitFault::None);
    }

    /// How many commits were asked for since the store was made.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl MetaStore for FailingMetaStore {
    async fn get(&self, partition: Partition, key: &[u8]) -> Result<Option<Entry>> {
        self.inner.get(partition, key).await
    }

    async fn multi_get(&self, partition: Partition, keys: &[&[u8]]) -> Result<Vec<Option<Entry>>> {
        self.inner.multi_get(partition, keys).await
    }

    async fn multi_scan(&self, partition: Partition, ranges: Vec<(KeyRange, usize)>, projection: Projection) -> Result<Vec<Vec<Entry>>> {
        self.inner.multi_scan(partition, ranges, projection).await
    }

    async fn scan_delim(&self, partition: Partition, scan: ScanDelim) -> Result<DelimPage> {
        self.inner.scan_delim(partition, scan).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        let number = self.commits.fetch_add(1, Ordering::SeqCst);
        let fault = (self.hook.lock())(number, &batch);
        match fault {
            CommitFault::None => self.inner.commit(batch).await,
            CommitFault::Unavailable => Err(Error::Unavailable("a fault was injected before the commit".to_owned())),
            CommitFault::Full => Err(Error::Full("a fault was injected before the commit".to_owned())),
            CommitFault::LostAcknowledgement => {
                self.inner.commit(batch).await?;
                Err(Error::Unknown("a fault was injected after the commit".to_owned()))
            }
        }
    }
}

impl fmt::Debug for FailingMetaStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailingMetaStore").field("inner", &self.inner).field("commits", &self.commits()).finish_non_exhaustive()
    }
}

//! The catalog: which buckets, organizations and access keys there are.
//!
//! It lives in the root partition; a bucket's settings live in the bucket's own partition, because its writers check them. No
//! batch spans two partitions, so every change of both is a sequence whose every prefix leaves a bucket that works or is gone:
//!
//! | change | in the bucket's partition | in the root partition |
//! |---|---|---|
//! | create | 1. put `b`, active | 2. put `B/<name>`, if absent |
//! | delete | 1. `b` becomes deleting: writers stop. 2. look for objects; if there are any, `b` becomes active again | 3. `B/<name>` becomes `D/<partition>` |
//! | destroy | 1. `b` becomes deleting | 2. `B/<name>` becomes `D/<partition>` |
//! | empty ([`crate::Destroyer`]) | 1. drop `b`, then blobs and rows | 2. drop `D/<partition>` |
//!
//! A crash behind step 1 of creating leaves a `b` that nothing names and nothing will: a few dozen bytes. A crash within deleting
//! leaves a bucket that is deleting and still has its name; whoever finds one takes it back ([`Catalog::open`] looks for them,
//! and so does every look-up).
//!
//! One process changes the catalog at a time: the only one that has the store open, or the one that leads among several. The rule that a
//! deletion nobody is working on was abandoned relies on that. Those that do not lead believe what they have read for as long as
//! [`AGE_MAX`], and may have read it at a replica that was behind by as much as [`Neighbours`] say; whoever leads lets that time pass behind a
//! change, so that everybody knows of it when it is answered. What a replica does not have is looked up at the primary: a bucket and a key can
//! be used at once everywhere.

mod access_keys;
mod buckets;
mod cache;
mod organizations;
mod place;
mod removal;
mod store_identity;

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{TryStreamExt, stream};
use tokio::sync::{Mutex, MutexGuard, Notify};
use umbra_core::{Clock, Error, ErrorKind, Random, Result};
use umbra_meta::{Entry, KeyRange, MetaStore, Neighbours, Partition, Projection, key::root};

pub use self::{
    access_keys::NewKey,
    buckets::Usage,
    organizations::Organization,
    place::{ContentsPlace, contents_row, parse_contents_row},
};

use self::cache::Cache;
use crate::{AccessKey, Bucket, Sealer, Topology};

/// How often a change is tried again that lost a race, before it is given up as [`ErrorKind::Conflict`].
const ATTEMPTS_MAX: usize = 64;
/// Entries that one scan of the root partition reads.
const PAGE_ENTRIES: usize = 256;
/// Buckets that are looked after at once when the catalog opens.
const RECOVERIES_AT_ONCE: usize = 16;

/// How long a process that does not lead believes what it has read of buckets and keys.
pub(crate) const AGE_MAX: Duration = Duration::from_millis(500);

/// Which buckets, organizations and access keys there are. Cheap to clone.
#[derive(Clone)]
pub struct Catalog {
    shared: Arc<Shared>,
}

struct Shared {
    meta: Arc<dyn MetaStore>,
    sealer: Arc<Sealer>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    store_id: String,
    buckets: Cache<Bucket>,
    keys: Cache<AccessKey>,
    /// Held from before a bucket or key is changed until the cache tells of it: changes reach the cache in their order.
    changes: Mutex<()>,
    destroyed: Arc<Notify>,
    relocated: Arc<Notify>,
    topology: OnceLock<Arc<Topology>>,
    /// Whether other processes may have the store open too.
    is_shared: bool,
    /// Whether this process may change the catalog.
    leads: AtomicBool,
    /// When the last change was stored that others may not know of yet.
    stored: parking_lot::Mutex<Option<Instant>>,
    nearby: Option<CatalogNearby>,
}

/// How processes that share a store and do not lead look buckets and keys up.
#[derive(Clone, Debug)]
pub struct CatalogNearby {
    /// Where, before the primary is asked: a replica, where there is one.
    pub meta: Option<Arc<dyn MetaStore>>,
    /// Who knows how old that may be, anywhere.
    pub neighbours: Arc<Neighbours>,
}

impl Catalog {
    /// Opens the catalog that `meta` holds, or begins one. Takes back deletions that a crash left half-done.
    ///
    /// Fails when `sealer` has another key-encryption key than the store was begun with.
    pub async fn open(meta: Arc<dyn MetaStore>, sealer: Arc<Sealer>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<Self> {
        let catalog = Self::begin(meta, sealer, clock, random, (false, None)).await?;
        catalog.lead().await?;
        Ok(catalog)
    }

    /// The same for one of several processes that have the store open. Until [`Catalog::lead`] it refuses changes.
    pub async fn open_shared(
        meta: Arc<dyn MetaStore>,
        sealer: Arc<Sealer>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        nearby: Option<CatalogNearby>,
    ) -> Result<Self> {
        Self::begin(meta, sealer, clock, random, (true, nearby)).await
    }

    /// Takes changes from now on, and takes back deletions that were left half-done. No other process may be at it any more.
    pub async fn lead(&self) -> Result<()> {
        self.shared.buckets.clear();
        self.shared.keys.clear();
        self.shared.leads.store(true, Ordering::SeqCst);
        // What was being read before the first of these lines was read by one who did not lead.
        self.shared.buckets.clear();
        self.shared.keys.clear();
        self.recover_buckets().await
    }

    /// Takes no more changes, once the one under way has ended: another process may lead then.
    pub async fn resign(&self) {
        let _changing = self.shared.changes.lock().await;
        self.shared.leads.store(false, Ordering::SeqCst);
    }

    async fn begin(
        meta: Arc<dyn MetaStore>,
        sealer: Arc<Sealer>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        (is_shared, nearby): (bool, Option<CatalogNearby>),
    ) -> Result<Self> {
        let store_id = store_identity::open(&*meta, &sealer, &*random).await?;
        let shared = Shared {
            meta,
            sealer,
            clock,
            random,
            store_id,
            buckets: Cache::new(),
            keys: Cache::new(),
            changes: Mutex::new(()),
            destroyed: Arc::new(Notify::new()),
            relocated: Arc::new(Notify::new()),
            topology: OnceLock::new(),
            is_shared,
            leads: AtomicBool::new(false),
            stored: parking_lot::Mutex::default(),
            nearby,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The store's id: random, made once.
    pub fn store_id(&self) -> &str {
        &self.shared.store_id
    }

    /// Tells which regions the store has: once, before anything is asked of it. Otherwise it has none.
    pub fn set_topology(&self, topology: Arc<Topology>) {
        let is_first = self.shared.topology.set(topology).is_ok();
        debug_assert!(is_first, "the regions of a store are told once, and before they are asked for");
    }

    /// The regions of the store.
    pub fn topology(&self) -> &Topology {
        self.shared.topology.get_or_init(Arc::default)
    }

    /// Waits until whatever is read afterwards, at a replica too, shows what is stored now.
    pub async fn await_replicas(&self) {
        tokio::time::sleep(self.shared.lag_max()).await;
    }

    /// What secrets are sealed with.
    pub fn sealer(&self) -> &Sealer {
        &self.shared.sealer
    }

    /// The metadata it lives in.
    pub(crate) fn meta(&self) -> &Arc<dyn MetaStore> {
        &self.shared.meta
    }

    /// Notified whenever the location of a bucket changed.
    pub(crate) fn relocated(&self) -> &Arc<Notify> {
        &self.shared.relocated
    }

    /// Notified whenever a bucket was destroyed or deleted.
    pub(crate) fn destroyed(&self) -> &Arc<Notify> {
        &self.shared.destroyed
    }

    /// Looks each bucket up, which takes back deletions that were abandoned.
    async fn recover_buckets(&self) -> Result<()> {
        let mut pages = Pages::new(&*self.shared.meta, root::bucket_range(""));
        while let Some(page) = pages.next().await? {
            let names = page.iter().filter_map(|entry| root::parse_bucket(&entry.key)).map(Ok);
            stream::iter(names).try_for_each_concurrent(RECOVERIES_AT_ONCE, |name| async move { self.recover(&name).await }).await?;
        }
        Ok(())
    }
}

impl Shared {
    /// Begins a change: none other is under way until it is dropped.
    async fn begin_change(&self) -> Result<MutexGuard<'_, ()>> {
        let changing = self.changes.lock().await;
        if self.leads.load(Ordering::SeqCst) { Ok(changing) } else { Err(conflict()) }
    }

    /// Where what is there may be looked up, for a request.
    fn nearby(&self) -> Option<&Arc<dyn MetaStore>> {
        let leads = self.leads.load(Ordering::SeqCst);
        self.nearby.as_ref().filter(|_| !leads).and_then(|nearby| nearby.meta.as_ref())
    }

    /// For how long what is stored now may not be seen by those who read a replica.
    fn lag_max(&self) -> Duration {
        self.nearby.as_ref().map_or(Duration::ZERO, |nearby| nearby.neighbours.lag_max())
    }

    /// How old may be what this process believes.
    fn age_max(&self) -> Option<Duration> {
        (self.is_shared && !self.leads.load(Ordering::SeqCst)).then_some(AGE_MAX)
    }

    /// Notes that something was stored just now, or may have been.
    fn note_stored(&self) {
        *self.stored.lock() = Some(Instant::now());
    }

    /// Waits until no other process believes what was so before the last change that was stored, whoever asked for it: what one was told is so
    /// for all.
    async fn spread(&self) {
        let age = self.stored.lock().map(|stored| stored.elapsed());
        let age_max = AGE_MAX + self.lag_max();
        let Some(rest) = age.and_then(|age| age_max.checked_sub(age)).filter(|_| self.is_shared) else { return };
        let nodes = self.meta.scan(Partition::ROOT, root::node_range(), 2, Projection::Head).await;
        // Who joins later has nothing to forget.
        if !nodes.is_ok_and(|nodes| nodes.len() < 2) {
            tokio::time::sleep(rest).await;
        }
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog").field("store_id", &self.shared.store_id).finish_non_exhaustive()
    }
}

/// Runs `change` to its end, even if the caller goes away meanwhile: a change that was committed must reach the cache.
async fn finish<T: Send + 'static>(change: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    match tokio::spawn(change).await {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Err(Error::new(ErrorKind::Cancelled, "the server is stopping").because(error)),
        Err(error) => Err(Error::internal("a change of the catalog panicked").because(error)),
    }
}

/// The error of a change that lost too many races.
fn conflict() -> Error {
    Error::new(ErrorKind::Conflict, "a conflicting operation is in progress; please try again")
}

/// Reads a range of the root partition page by page.
struct Pages<'a> {
    meta: &'a dyn MetaStore,
    rest: Option<KeyRange>,
}

impl<'a> Pages<'a> {
    fn new(meta: &'a dyn MetaStore, range: KeyRange) -> Self {
        Self { meta, rest: Some(range) }
    }

    /// The next page, which is not empty.
    async fn next(&mut self) -> Result<Option<Vec<Entry>>> {
        let Some(range) = self.rest.take() else { return Ok(None) };
        let page = self.meta.scan(Partition::ROOT, range.clone(), PAGE_ENTRIES, Projection::Full).await?;
        if page.len() == PAGE_ENTRIES {
            self.rest = page.last().map(|last| range.after(&last.key));
        }
        Ok((!page.is_empty()).then_some(page))
    }
}

#[cfg(test)]
mod tests;

//! A standby of the database in this region, that is read instead of it where nobody could tell the difference.
//!
//! # Trust
//! The watch (`watch.rs`) notes the time, asks the primary how much of its log is durable, and waits until the standby has replayed that. Then
//! the standby has every commit that was acknowledged by then, and it is *trusted* for [`TRUST`] from that time on. What is
//! compared is compared between servers that are known to be of one history: the standby has shown a row that was written
//! through the very connection on which the primary is asked, and both are known by when they were started (`position.rs`).
//!
//! # Why a region reads its own writes
//! A commit in a region where replicas are read is told of when the one server that all nodes of the region read has replayed it, and else
//! [`TRUST`] after it was acknowledged. Take a node that reads at a time at which the commit was told of. If it was told because the standby had
//! replayed it, the standby shows it. If it was told because time had passed, then the node's trust was established by a question
//! that came after the acknowledgement, and the standby has it all the same. Which servers are read in a region, and that it is one,
//! is in the rows of nodes, see [`Neighbours`]. No message goes between nodes, and no clocks are compared.
//!
//! # Why nothing goes back in time
//! What the primary has shown or acknowledged to this node stands before a place in its log, which comes with the answer: the *floor*. A standby
//! is not read while it is behind the floor, and what it has replayed only grows. So whatever one node answers, and every read within one request,
//! sees what was seen before. Between nodes of a region that holds while all of them read the standby.
//!
//! # When the primary does not answer
//! The standby is read for single entries, if it is not behind the floor. What it has is answered, old as it may be; what it does not have,
//! and every listing, is [`Error::Unavailable`]: absence is never guessed.
//!
//! # Two handles
//! [`Nearby::reads`] is for requests that read and nothing else. Whatever writes reads by way of [`Nearby::writes`], from the primary:
//! what is written upon has to be what is there, and who lost a race must not read again what he lost it with.

mod metrics;
mod replica;
mod trust;
mod watch;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch as channel},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout, timeout_at},
};

pub use self::metrics::ReplicaMetrics;
use self::{
    metrics::{CUT_OFF, PRIMARY, REPLAYED, REPLICA, TIME},
    replica::{Ask, Found, Replica},
    trust::Trust,
};
use super::{PostgresMetaStore, position::Instance, target::Target};
use crate::{
    Batch, Committed, DelimPage, Entry, Error, KeyRange, MetaStore, Neighbours, Partition, Projection, Result, ScanDelim,
    neighbours::{Duty, MARGIN, TRUST},
};

/// How long a read waits for a standby that is behind the floor, before it goes to the primary.
const FLOOR_WAIT: Duration = Duration::from_millis(50);

/// For how long nodes may read different servers before that is told: one that is started again is another.
const DISAGREED_MAX: Duration = Duration::from_secs(15);

/// Where a standby is, and how it is used.
#[derive(Clone)]
pub struct ReplicaSettings {
    /// `postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE`, one host.
    pub url: String,
    /// Used instead of the one in the URL.
    pub password: Option<String>,
    /// Connections at most.
    pub connections_max: usize,
}

/// A database and, in this region, a standby of it. See the module's documentation.
pub struct Nearby {
    shared: Arc<Shared>,
    watching: Option<JoinHandle<()>>,
}

struct Shared {
    primary: Arc<PostgresMetaStore>,
    /// Nothing at a node that has none; others in its region may.
    replica: Option<Replica>,
    neighbours: Arc<Neighbours>,
    trust: Mutex<Trust>,
    /// Changes whenever the standby has replayed more.
    progress: channel::Sender<()>,
    /// How many wait for that, and what has it looked for.
    waiting: AtomicUsize,
    wanted: Notify,
    is_cut_off: channel::Sender<bool>,
    /// Since when the nodes of this region disagree, and whether that was told.
    disagreement: Mutex<Option<(Instant, bool)>>,
    metrics: ReplicaMetrics,
}

impl Nearby {
    /// Puts a standby beside `primary`, whose settings must say so; or, without one, only waits for the `neighbours` that have one.
    ///
    /// A standby that does not answer is waited for in the background.
    pub fn open(
        primary: Arc<PostgresMetaStore>,
        replica: Option<ReplicaSettings>,
        neighbours: Arc<Neighbours>,
        metrics: ReplicaMetrics,
    ) -> Result<Self> {
        let replica = match replica {
            Some(settings) => {
                Some(Replica::new(Target::parse_standby(&settings.url, settings.password.as_deref())?, settings.connections_max))
            }
            None => None,
        };
        let shared = Arc::new(Shared {
            primary,
            replica,
            neighbours,
            trust: Mutex::new(Trust::new(Instant::now())),
            progress: channel::Sender::default(),
            waiting: AtomicUsize::new(0),
            wanted: Notify::new(),
            is_cut_off: channel::Sender::default(),
            disagreement: Mutex::default(),
            metrics,
        });
        let watched = Arc::clone(&shared);
        let watching = shared.replica.is_some().then(|| tokio::spawn(async move { watched.watch().await }));
        Ok(Self { shared, watching })
    }

    /// For whatever writes: reads from the primary, and commits that are not told of before those who read nearby see them.
    pub fn writes(&self) -> Arc<dyn MetaStore> {
        Arc::new(Writes(Arc::clone(&self.shared)))
    }

    /// For requests that read and nothing else; nothing where there is no standby.
    pub fn reads(&self) -> Option<Arc<dyn MetaStore>> {
        self.shared.replica.as_ref()?;
        Some(Arc::new(Reads(Arc::clone(&self.shared))))
    }

    /// Whether the standby is read at this moment.
    pub fn is_trusted(&self) -> bool {
        self.shared.trusted().is_some()
    }

    /// Reads nothing nearby any more.
    pub fn shutdown(&self) {
        self.watching.iter().for_each(JoinHandle::abort);
        self.shared.replica.iter().for_each(Replica::close);
        self.shared.lose_standby();
    }
}

impl Drop for Nearby {
    fn drop(&mut self) {
        self.watching.iter().for_each(JoinHandle::abort);
    }
}

impl fmt::Debug for Nearby {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

/// See [`Nearby::writes`].
#[derive(Debug)]
struct Writes(Arc<Shared>);

#[async_trait]
impl MetaStore for Writes {
    async fn multi_get(&self, partition: Partition, keys: &[&[u8]]) -> Result<Vec<Option<Entry>>> {
        self.0.heard(self.0.primary.multi_get(partition, keys).await)
    }

    async fn multi_scan(&self, partition: Partition, ranges: Vec<(KeyRange, usize)>, projection: Projection) -> Result<Vec<Vec<Entry>>> {
        self.0.heard(self.0.primary.multi_scan(partition, ranges, projection).await)
    }

    async fn scan_delim(&self, partition: Partition, scan: ScanDelim) -> Result<DelimPage> {
        self.0.heard(self.0.primary.scan_delim(partition, scan).await)
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        self.0.commit(batch).await
    }
}

/// See [`Nearby::reads`].
#[derive(Debug)]
struct Reads(Arc<Shared>);

#[async_trait]
impl MetaStore for Reads {
    async fn multi_get(&self, partition: Partition, keys: &[&[u8]]) -> Result<Vec<Option<Entry>>> {
        match self.0.read(Ask::Get(partition, keys.iter().map(|key| key.to_vec()).collect())).await? {
            Found::Entries(entries) => Ok(entries),
            _ => Err(mistaken()),
        }
    }

    async fn multi_scan(&self, partition: Partition, ranges: Vec<(KeyRange, usize)>, projection: Projection) -> Result<Vec<Vec<Entry>>> {
        match self.0.read(Ask::Ranges(partition, ranges, projection)).await? {
            Found::Ranges(ranges) => Ok(ranges),
            _ => Err(mistaken()),
        }
    }

    async fn scan_delim(&self, partition: Partition, scan: ScanDelim) -> Result<DelimPage> {
        match self.0.read(Ask::Page(partition, scan)).await? {
            Found::Page(page) => Ok(page),
            _ => Err(mistaken()),
        }
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        self.0.commit(batch).await
    }
}

impl Shared {
    /// Reads at the standby if it is trusted, else at the primary, else at the standby what is there for certain.
    async fn read(&self, ask: Ask) -> Result<Found> {
        if let Some(standby) = self.trusted()
            && let Some(found) = self.read_nearby(standby, &ask).await
        {
            self.metrics.count_read(REPLICA);
            return Ok(found);
        }
        let mut is_cut_off = self.is_cut_off.subscribe();
        let is_already = *is_cut_off.borrow();
        if !is_already {
            self.metrics.count_read(PRIMARY);
            tokio::select! {
                found = ask.clone().at(&self.primary) => return self.heard(found),
                // The sender lives as long as we do.
                _ = is_cut_off.wait_for(|is_cut_off| *is_cut_off) => {}
            }
        }
        self.read_cut_off(&ask).await
    }

    async fn read_cut_off(&self, ask: &Ask) -> Result<Found> {
        let unavailable = |why: &str| Error::Unavailable(format!("the metadata database does not answer, and its replica {why}"));
        if !matches!(ask, Ask::Get(..)) {
            return Err(unavailable("may not have everything that is to be listed"));
        }
        let floor = self.floor();
        let standby = self.trust.lock().last_resort(Instant::now(), floor);
        let standby = standby.ok_or_else(|| unavailable("is away, or lacks what was told already"))?;
        match self.at_replica(standby, ask, floor).await {
            Some(Found::Entries(entries)) if entries.iter().all(Option::is_some) => {
                self.metrics.count_read(CUT_OFF);
                Ok(Found::Entries(entries))
            }
            Some(_) => Err(unavailable("does not have what was asked for, or not yet")),
            None => Err(unavailable("does not answer either")),
        }
    }

    /// Reads at `standby` once it is not behind the floor; nothing when that takes too long, or fails.
    async fn read_nearby(&self, standby: Instance, ask: &Ask) -> Option<Found> {
        // What the floor rises to meanwhile was shown to others.
        let floor = self.floor();
        if let Some(found) = self.at_replica(standby, ask, floor).await {
            return Some(found);
        }
        timeout(FLOOR_WAIT, self.replayed(standby, floor)).await.ok()?;
        self.at_replica(standby, ask, floor).await
    }

    /// Reads at `standby`; nothing when it is behind `floor`, or does not answer.
    async fn at_replica(&self, standby: Instance, ask: &Ask, floor: u64) -> Option<Found> {
        let is_known = self.trust.lock().has_replayed(standby, floor);
        match self.replica.as_ref()?.read(ask.clone(), standby, (!is_known).then_some(floor)).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, "a read at the metadata replica failed");
                None
            }
        }
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        let landed = self.heard(self.primary.commit_at(batch).await)?;
        let now = Instant::now();
        if landed.position.is_none() {
            self.trust.lock().note_unplaced(now);
        }
        let until = now + TRUST + MARGIN;
        let place = landed.position;
        let is_comparable = |standby| place.filter(|place| self.trust.lock().follows(standby, place.instance));
        match self.neighbours.duty(now) {
            Duty::Nothing => return Ok(landed.committed),
            Duty::Replayed(server) => {
                let standby = Instance(server);
                if let Some(place) = is_comparable(standby)
                    && timeout_at(until, self.replayed(standby, place.lsn)).await.is_ok()
                {
                    self.metrics.count_wait(REPLAYED);
                    *self.disagreement.lock() = None;
                    return Ok(landed.committed);
                }
            }
            Duty::Time => {}
        }
        self.complain();
        sleep_until(until).await;
        self.metrics.count_wait(TIME);
        Ok(landed.committed)
    }

    /// Says that the nodes of this region read different servers, if that is why commits take long, and has been for a while.
    fn complain(&self) {
        let own = self.trusted().map(|standby| standby.0);
        let is_disagreed = match self.neighbours.servers()[..] {
            [] => false,
            [server] => self.replica.is_none() || own.is_some_and(|own| own != server),
            _ => true,
        };
        let mut disagreement = self.disagreement.lock();
        let Some((since, is_told)) = disagreement.filter(|_| is_disagreed) else {
            *disagreement = is_disagreed.then(|| (Instant::now(), false));
            return;
        };
        if !is_told && since.elapsed() > DISAGREED_MAX {
            *disagreement = Some((since, true));
            tracing::warn!(
                "the nodes of this region do not all read the same metadata replica, so every commit takes a second longer: give all of them the same"
            );
        }
    }

    /// Waits until `standby` has replayed everything up to `lsn`.
    async fn replayed(&self, standby: Instance, lsn: u64) {
        let mut progress = self.progress.subscribe();
        let _waiter = Waiter::new(self);
        loop {
            progress.mark_unchanged();
            if self.trust.lock().has_replayed(standby, lsn) {
                return;
            }
            if progress.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn trusted(&self) -> Option<Instance> {
        self.trust.lock().trusted(&self.neighbours, Instant::now())
    }

    fn floor(&self) -> u64 {
        self.primary.store.floor.as_ref().map_or(0, |floor| floor.lsn())
    }

    /// Notes that the primary answers, if it does.
    fn heard<T>(&self, answer: Result<T>) -> Result<T> {
        if matches!(answer, Ok(_) | Err(Error::Conflict { .. })) {
            self.trust.lock().note_answer(Instant::now());
        }
        answer
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nearby").field("primary", &self.primary).field("replica", &self.replica).finish_non_exhaustive()
    }
}

/// One that waits for the standby to go on.
struct Waiter<'a>(&'a Shared);

impl<'a> Waiter<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.waiting.fetch_add(1, Ordering::SeqCst);
        shared.wanted.notify_one();
        Self(shared)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

fn mistaken() -> Error {
    Error::Unavailable("the metadata replica answered something else than was asked".to_owned())
}

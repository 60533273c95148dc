//! The worker that makes copies which have to be, in its region, and in those that have no node of their own.
//!
//! It goes through the pointers to its regions ([`super::due`]) and takes a *lease* of each partition that nobody works on: a row that
//! it renews, and that another takes once its time is over. The lease saves work and decides nothing: clocks may differ, and of two that work on
//! one partition each copy is made by whoever has claimed its row.
//!
//! # What fails
//! A copy that cannot be made is tried again later and later, and its row keeps the reason. While the region's store itself does not answer
//! nothing is tried there for a while. A home that takes requests and does not answer is given up after a while, and not asked for some
//! time, so that copies of others are made meanwhile (`silence.rs`). A row whose blob is gone goes, for whatever was deleted needs no copies.
//!
//! # Crashes
//! A row goes after its copy is there: what was not deleted is looked at again, and found done. A pointer goes only if it is what it was before its
//! queue was found empty; whoever added to the queue meanwhile has put it anew, or is about to.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use futures::{
    StreamExt,
    stream::{self, FuturesUnordered},
};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use umbra_blob::BlobId;
use umbra_core::{Clock, Result, Timestamp};
use umbra_meta::{Batch, Entry, Error as MetaError, Expect, MetaStore, Partition, Projection, Revision, key, key::root};

use super::{
    Moved, PlacedBlobStore, PlacementMetrics,
    due::{DueCopy, due_counter, failing_counter, row},
    maker::Made,
    subject::Subject,
};
use crate::record::{
    bucket::decode_settings,
    due_copy::{DueCopyRecord, DueLeaseRecord},
};

/// Rows looked at by one scan.
const ROWS: usize = 64;
/// Copies made at once.
const AT_ONCE: usize = 4;
/// Rows worked on before others have their turn.
const TURN_ROWS: usize = 1024;
/// Pointers and leases looked at by one scan.
const POINTERS: usize = 512;
/// How long a lease lasts, and how often it is renewed.
const LEASE: Duration = Duration::from_secs(60);
const RENEW_EVERY: Duration = Duration::from_secs(15);
/// How often pointers are looked for.
const POLL: Duration = Duration::from_secs(1);
/// The first wait after a copy failed; it doubles up to the last.
const BACKOFF_FIRST: Duration = Duration::from_secs(2);
const BACKOFF_LAST: Duration = Duration::from_secs(600);
/// The same of a region that does not answer.
const PAUSE_LAST: Duration = Duration::from_secs(60);
/// When to look again at a copy that somebody else makes.
const COMING_RETRY: Duration = Duration::from_secs(5);
/// Of a reason so much is kept: which place cannot be told to be the store's, by what, and what its engine answered.
const REASON_CHARS_MAX: usize = 600;

/// Tells the regions whose copies this server is to make.
pub type RegionSource = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// Makes copies that have to be made.
pub struct CopyWorker {
    meta: Arc<dyn MetaStore>,
    clock: Arc<dyn Clock>,
    blobs: PlacedBlobStore,
    holder: String,
    regions: RegionSource,
    metrics: PlacementMetrics,
    state: Mutex<State>,
    stopping: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    /// When partitions with nothing to do at once are to be looked at again, if their pointers are still what they were.
    quiet: HashMap<(String, Partition), (Revision, Timestamp)>,
    /// Regions that do not answer: until when nothing is tried there, and how long that is.
    paused: HashMap<String, (Timestamp, Duration)>,
    /// Regions whose copies could not be looked for last.
    failing: HashSet<String>,
}

/// A partition with copies to be made in a region.
struct Pointer {
    partition: Partition,
    revision: Revision,
    lease: Option<Entry>,
}

/// A partition that is being worked on.
struct Work<'a> {
    region: &'a str,
    pointer: &'a Pointer,
    lease: tokio::sync::Mutex<Option<Revision>>,
}

/// What came of a row.
enum Outcome {
    Done(DueCopy, Made),
    Failed { due: DueCopy, reason: String, is_there: bool },
}

impl CopyWorker {
    /// The worker of the node `holder`, for what is to be copied to the regions that `regions` tells.
    pub fn new(
        meta: Arc<dyn MetaStore>,
        clock: Arc<dyn Clock>,
        blobs: PlacedBlobStore,
        holder: String,
        regions: RegionSource,
        metrics: PlacementMetrics,
    ) -> Self {
        Self { meta, clock, blobs, holder, regions, metrics, state: Mutex::default(), stopping: watch::Sender::new(false) }
    }

    /// Works until [`CopyWorker::stop`]; finishes the copies at hand. Each region has its turns for itself: one that takes long for an answer
    /// holds up none of the others.
    pub async fn run(&self) {
        let (mut turns, mut served) = (FuturesUnordered::new(), HashSet::new());
        while !self.is_stopping() {
            for region in (self.regions)() {
                if served.insert(region.clone()) {
                    turns.push(self.turn(region));
                }
            }
            tokio::select! {
                Some(region) = turns.next() => drop(served.remove(&region)),
                // Whose copies are made here may be others by now.
                () = self.rest() => {}
            }
        }
        while turns.next().await.is_some() {}
    }

    /// Serves a region once, and rests if there was nothing to be done. Gives its name.
    async fn turn(&self, region: String) -> String {
        let done = match self.serve(&region).await {
            Ok(done) => {
                self.state.lock().failing.remove(&region);
                done
            }
            Err(error) => {
                if self.state.lock().failing.insert(region.clone()) {
                    tracing::warn!(region, %error, "copies that have to be made cannot be looked for; trying again");
                }
                0
            }
        };
        if done == 0 {
            self.rest().await;
        }
        region
    }

    async fn rest(&self) {
        let mut stopping = self.stopping.subscribe();
        let _stopped_or_rested = timeout(POLL, stopping.wait_for(|stopping| *stopping)).await;
    }

    /// Makes [`CopyWorker::run`] return.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Makes what is due in `region`, as far as nobody else does. Tells how many rows are done with.
    pub(super) async fn serve(&self, region: &str) -> Result<usize> {
        let pointers = self.pointers(region).await?;
        self.metrics.set_due_buckets(region, pointers.len());
        let now = self.clock.now();
        self.state.lock().quiet.retain(|(of, partition), _| of != region || pointers.iter().any(|pointer| pointer.partition == *partition));
        let mut done = 0;
        for pointer in pointers {
            if self.is_stopping() || self.is_paused(region, now) {
                break;
            }
            if self.is_quiet(region, &pointer, now) {
                continue;
            }
            let Some(lease) = self.take(region, &pointer).await? else { continue };
            let work = Work { region, pointer: &pointer, lease: tokio::sync::Mutex::new(Some(lease)) };
            done += self.renewing(&work, self.drain(&work)).await?;
        }
        Ok(done)
    }

    async fn pointers(&self, region: &str) -> Result<Vec<Pointer>> {
        let (mut range, mut pointers): (_, Vec<Pointer>) = (root::due_range(region), Vec::new());
        loop {
            let rows = self.meta.scan(Partition::ROOT, range.clone(), POINTERS, Projection::Full).await?;
            let Some(last) = rows.last().filter(|_| rows.len() == POINTERS).map(|last| last.key.clone()) else {
                gather(&mut pointers, rows);
                return Ok(pointers);
            };
            range = range.after(&last);
            gather(&mut pointers, rows);
        }
    }

    fn is_paused(&self, region: &str, now: Timestamp) -> bool {
        self.state.lock().paused.get(region).is_some_and(|(until, _)| *until > now)
    }

    fn is_quiet(&self, region: &str, pointer: &Pointer, now: Timestamp) -> bool {
        let place = (region.to_owned(), pointer.partition);
        self.state.lock().quiet.get(&place).is_some_and(|(revision, until)| *revision == pointer.revision && *until > now)
    }

    /// Takes the lease of a partition, if nobody has it.
    async fn take(&self, region: &str, pointer: &Pointer) -> Result<Option<Revision>> {
        let now = self.clock.now();
        let held = pointer.lease.as_ref().and_then(|lease| DueLeaseRecord::decode(&lease.body).ok());
        if held.is_some_and(|held| held.until > now && held.holder != self.holder) {
            return Ok(None);
        }
        let row = root::due_lease(region, pointer.partition);
        let expect = Expect::unchanged(pointer.lease.as_ref().map(|lease| lease.revision));
        let body = DueLeaseRecord { holder: self.holder.clone(), until: now.plus(LEASE) }.encode();
        // A pointer that is gone was done with.
        let batch = Batch::new(Partition::ROOT).check(root::due_pointer(region, pointer.partition), Expect::Exists);
        match self.meta.commit(batch.check(row.clone(), expect).put(row, "", body)).await {
            Ok(committed) => Ok(Some(committed.revision)),
            Err(MetaError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Renews the lease for as long as `drain` takes. Once it is lost no more rows are begun.
    async fn renewing(&self, work: &Work<'_>, drain: impl Future<Output = Result<usize>>) -> Result<usize> {
        tokio::pin!(drain);
        loop {
            tokio::select! {
                biased;
                done = &mut drain => return done,
                () = sleep(RENEW_EVERY) => {}
            }
            let mut lease = work.lease.lock().await;
            let Some(revision) = *lease else { continue };
            let row = root::due_lease(work.region, work.pointer.partition);
            let body = DueLeaseRecord { holder: self.holder.clone(), until: self.clock.now().plus(LEASE) }.encode();
            match self.meta.commit(Batch::new(Partition::ROOT).check(row.clone(), Expect::Revision(revision)).put(row, "", body)).await {
                Ok(committed) => *lease = Some(committed.revision),
                Err(MetaError::Conflict { .. }) => *lease = None,
                Err(error) => tracing::debug!(%error, "a lease could not be renewed"),
            }
        }
    }

    /// Works on the queue of a partition for a turn. Tells how many rows are done with.
    async fn drain(&self, work: &Work<'_>) -> Result<usize> {
        let (region, partition) = (work.region, work.pointer.partition);
        let mut done = 0;
        loop {
            let rows = self.meta.scan(partition, key::due_copies_of(region), ROWS, Projection::Full).await?;
            if rows.is_empty() {
                self.end(work, true).await?;
                return Ok(done);
            }
            let now = self.clock.now();
            let (due, later): (Vec<_>, Vec<_>) = rows.into_iter().filter_map(DueCopy::decode).partition(|due| due.at <= now);
            let is_lost = work.lease.lock().await.is_none();
            if due.is_empty() || done >= TURN_ROWS || self.is_stopping() || is_lost {
                if let (true, Some(next)) = (due.is_empty(), later.first()) {
                    self.state.lock().quiet.insert((region.to_owned(), partition), (work.pointer.revision, next.at));
                }
                self.end(work, false).await?;
                return Ok(done);
            }
            if self.meta.get(partition, &key::settings()).await?.is_none() {
                // The bucket is gone, and its rows are on their way out.
                self.state.lock().quiet.insert((region.to_owned(), partition), (work.pointer.revision, now.plus(COMING_RETRY)));
                self.end(work, false).await?;
                return Ok(done);
            }
            let outcomes: Vec<_> = stream::iter(due).map(|due| self.make(region, partition, due)).buffer_unordered(AT_ONCE).collect().await;
            let is_away = outcomes.iter().all(|outcome| matches!(outcome, Outcome::Failed { is_there: true, .. }));
            let settled = self.settle(work, &outcomes).await?;
            done += settled;
            self.note_answers(region, is_away);
            // Where nothing comes of it, others are at it too.
            if settled == 0 {
                self.end(work, false).await?;
                return Ok(done);
            }
        }
    }

    /// Whether a copy in `region` still is to be the home: a location may have changed since that was asked for, or while the copy was made. What
    /// the writer of an object narrowed is left to the audit.
    async fn is_to_be_home(&self, region: &str, partition: Partition, blob: &BlobId) -> Result<bool> {
        let Some(settings) = self.meta.get(partition, &key::settings()).await? else { return Ok(false) };
        let Some(allowed) = self.blobs.topology().allowed(&decode_settings(&settings.body)?.location) else { return Ok(false) };
        let allows = |region: &str| allowed.iter().any(|allowed| allowed.as_str() == region);
        let home = self.blobs.home_by(blob, &self.blobs.copies(blob).await?);
        Ok(allows(region) && home.is_some_and(|home| !allows(home.as_str())))
    }

    async fn become_home(&self, region: &str, partition: Partition, blob: &BlobId) -> Result<Moved> {
        if self.is_to_be_home(region, partition, blob).await? { Ok(self.blobs.move_home(blob, region).await?) } else { Ok(Moved::Already) }
    }

    /// Makes a copy, if the bucket's location lets its contents be in `region`: it may be another than when the copy was asked for, and become
    /// another while those before it are made. What the writer of an object narrowed is left to the audit.
    async fn make(&self, region: &str, partition: Partition, due: DueCopy) -> Outcome {
        let subject = Subject::new(partition, None);
        // Asked before a row says that the copy is coming, too, which would be in vain for each of many.
        if matches!(self.blobs.may_be_in(region, &subject).await, Ok(Some(false))) {
            return Outcome::Done(due, Made::Gone);
        }
        let (blobs, blob, becomes_home) = (&self.blobs, &due.blob, due.record.becomes_home);
        let made = if becomes_home { blobs.make_home(region, blob, &subject).await } else { blobs.make_copy(region, blob, &subject).await };
        match made {
            Ok(made @ (Made::Now | Made::Before)) if becomes_home => match self.become_home(region, partition, blob).await {
                Ok(Moved::NotNow) => Outcome::Failed { due, reason: "its home cannot be moved just now".to_owned(), is_there: false },
                Ok(Moved::Done | Moved::Already) => Outcome::Done(due, made),
                Err(error) => Outcome::Failed { due, reason: error.to_string().chars().take(REASON_CHARS_MAX).collect(), is_there: false },
            },
            Ok(made) => Outcome::Done(due, made),
            Err(error) => {
                let cause = std::error::Error::source(&error.error).map(|cause| format!(": {cause}")).unwrap_or_default();
                let reason = format!("{}{cause}", error.error).chars().take(REASON_CHARS_MAX).collect();
                Outcome::Failed { due, reason, is_there: error.is_there }
            }
        }
    }

    /// Notes whether the store of a region answers.
    fn note_answers(&self, region: &str, is_away: bool) {
        let mut state = self.state.lock();
        if !is_away {
            if state.paused.remove(region).is_some() {
                tracing::info!(region, "copies are made there again");
            }
            return;
        }
        let before = state.paused.get(region).map(|(_, pause)| *pause);
        if before.is_none() {
            tracing::warn!(region, "copies that have to be made there cannot be stored; trying again");
        }
        let pause = before.map_or(BACKOFF_FIRST, |before| (before * 2).min(PAUSE_LAST));
        state.paused.insert(region.to_owned(), (self.clock.now().plus(pause), pause));
    }

    /// Takes away the rows that are done with, and puts off the others. Tells how many are done with.
    async fn settle(&self, work: &Work<'_>, outcomes: &[Outcome]) -> Result<usize> {
        let mut done = 0;
        for outcome in outcomes {
            if self.settle_one(work, outcome).await? {
                done += 1;
            }
        }
        Ok(done)
    }

    /// The same of one row, in a commit of its own: somebody else may have done it meanwhile, and the counters follow each row once.
    async fn settle_one(&self, work: &Work<'_>, outcome: &Outcome) -> Result<bool> {
        let (region, now) = (work.region, self.clock.now());
        let (due, made) = match outcome {
            Outcome::Done(due, made) => (due, Some(*made)),
            Outcome::Failed { due, .. } => (due, None),
        };
        let batch = Batch::new(work.pointer.partition).check(due.entry.key.to_vec(), Expect::Revision(due.entry.revision));
        let mut batch = batch.check(key::settings(), Expect::Exists).delete(due.entry.key.to_vec());
        let had_failed = i64::from(due.record.failures > 0);
        match outcome {
            Outcome::Done(_, Made::Coming) => {
                // Another has it: nothing failed, and nothing is known yet.
                batch = batch.put(row(region, now.plus(COMING_RETRY), &due.blob), "", due.record.encode());
            }
            Outcome::Done(..) => {
                batch = batch.add(due_counter(region), -1);
                if had_failed > 0 {
                    batch = batch.add(failing_counter(region), -1);
                }
            }
            Outcome::Failed { reason, .. } => {
                let failures = due.record.failures.saturating_add(1);
                let wait = BACKOFF_FIRST.saturating_mul(1 << (failures - 1).min(16)).min(BACKOFF_LAST);
                let record = DueCopyRecord { failures, reason: Some(reason.clone()), ..due.record.clone() };
                batch = batch.put(row(region, now.plus(wait), &due.blob), "", record.encode());
                if had_failed == 0 {
                    batch = batch.add(failing_counter(region), 1);
                }
            }
        }
        match self.meta.commit(batch).await {
            Ok(_) => {
                self.metrics.count_required(region, made);
                Ok(made.is_some_and(|made| made != Made::Coming))
            }
            // Somebody else has done it, or its bucket is gone.
            Err(MetaError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the lease back; the pointer goes too where the queue was found empty and nobody put it anew.
    async fn end(&self, work: &Work<'_>, is_empty: bool) -> Result<()> {
        let Some(revision) = work.lease.lock().await.take() else { return Ok(()) };
        let (pointer, lease) =
            (root::due_pointer(work.region, work.pointer.partition), root::due_lease(work.region, work.pointer.partition));
        let released = Batch::new(Partition::ROOT).check(lease.clone(), Expect::Revision(revision)).delete(lease);
        let done = released.clone().check(pointer.clone(), Expect::Revision(work.pointer.revision)).delete(pointer);
        for batch in [is_empty.then_some(done), Some(released)].into_iter().flatten() {
            match self.meta.commit(batch).await {
                Ok(_) => return Ok(()),
                Err(MetaError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Puts rows together, each lease behind its pointer. A lease without a pointer is none.
fn gather(pointers: &mut Vec<Pointer>, rows: Vec<Entry>) {
    for row in rows {
        match root::parse_due(&row.key) {
            Some((partition, false)) => pointers.push(Pointer { partition, revision: row.revision, lease: None }),
            Some((partition, true)) => {
                if let Some(pointer) = pointers.last_mut().filter(|pointer| pointer.partition == partition) {
                    pointer.lease = Some(row);
                }
            }
            None => {}
        }
    }
}

impl fmt::Debug for CopyWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyWorker").field("holder", &self.holder).finish_non_exhaustive()
    }
}

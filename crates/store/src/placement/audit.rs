//! The audit: a walk through a bucket that holds what is there against what its location asks for.
//!
//! # What it does
//! It looks at every blob that a row of the bucket names, page by page, and at the rows of its copies. What has to be somewhere and is not, or whose
//! bytes do not answer there, is queued to be made ([`super::due`]); what may not be somewhere is dropped; a home that may not be where it is
//! moves to a copy as soon as there is one, and one that has lost its bytes to any copy that has them (`audit/homes.rs`). Small contents leave
//! their records where a location binds them (`audit/inline.rs`). And it counts what is where.
//!
//! # When
//! When a location changes, when somebody asks for it, and every while. While something could not be done at once it comes again, later each
//! time. After a change of location it comes once more a while later: nodes of earlier releases leave copies of what is read by the old
//! location, behind the walk, and what becomes the object again once a newer version is deleted may pass the walk by. Buckets of a global location are only counted, but for objects whose writers said where they are to be.
//!
//! # Changes of location
//! A walk queues no more than some thousand copies ahead of those who make them (`audit/room.rs`): it waits for room and goes on, so that one walk
//! is enough however large the bucket is. A copy that is to be the home says so where it is queued, and whoever makes it moves the home.
//!
//! # Crashes
//! The row `p` says how far it got, and is saved behind each page. What a page asks for is queued before that: a page that is looked at again finds
//! it queued.

mod homes;
mod inline;
mod page;
mod room;
mod status;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use umbra_core::{BucketName, Clock, Entity, Error, ErrorKind, Location, Result, Timestamp};
use umbra_meta::{Batch, Error as MetaError, Expect, MetaStore, Partition, Revision, key};

use self::room::{DUE_MAX, LOOK_EVERY as ROOM_LOOK_EVERY, Room};
pub use self::status::{DueCopies, PlacementStatus};
use super::{DuePointers, PlacedBlobStore};
use crate::{Bucket, Catalog, record};

/// Buckets asked for at once.
const PAGE: usize = 256;
/// Steps between two looks at which buckets are due.
const STEPS_PER_LOOK: usize = 64;
/// How often it is looked which buckets are due: not all that asks for an audit says so.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The shortest and the longest rest after a step: as long as the step took.
const REST_MIN: Duration = Duration::from_millis(2);
const REST_MAX: Duration = Duration::from_secs(1);
/// The first wait before a walk that left something to be done is repeated; it doubles.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_LAST: Duration = Duration::from_secs(3600);
/// How long after a change of location the audit comes once more.
const SETTLE: Duration = Duration::from_secs(600);
/// When to try again where something failed.
const FAILED_RETRY: Duration = Duration::from_secs(60);

/// An audit of a bucket: under way, unless it is the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The location it judges by.
    pub location: Location,
    /// When it began.
    pub began: Timestamp,
    /// What it found so far.
    pub findings: AuditFindings,
    /// The row it got to.
    pub after: Vec<u8>,
    /// How many in a row left something to be done.
    pub retries: u32,
    /// Whether, once nothing is left to be done, it comes again soon: the location is new.
    pub settles: bool,
    /// The last one that ended.
    pub last: Option<FinishedAudit>,
}

/// An audit that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedAudit {
    /// The location it judged by.
    pub location: Location,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What it found.
    pub findings: AuditFindings,
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFindings {
    /// What is in each region.
    pub regions: BTreeMap<String, RegionUse>,
    /// Copies that were missing, and are queued to be made.
    pub missing: u64,
    /// Contents that had been somewhere and were there no more: as copies, or at home while there was a copy.
    pub lost: u64,
    /// Copies that were where they may not be, and were dropped.
    pub removed: u64,
    /// Homes that were where they may not be, or had lost their bytes, and moved at once. Those that their region is to move are pending.
    pub moved: u64,
    /// Contents of which something is still to be done, once copies are made.
    pub pending: u64,
    /// Contents of which something could not be told or done.
    pub failed: u64,
    /// Why it could not, of one of them.
    pub failure: Option<String>,
    /// Contents that had lost their bytes at home and had no copy.
    pub gone: u64,
}

/// What is in a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionUse {
    /// Contents that are at home there.
    pub homes: u64,
    /// Their bytes.
    pub home_bytes: u64,
    /// Copies of others.
    pub copies: u64,
    /// Their bytes.
    pub copy_bytes: u64,
}

impl AuditFindings {
    /// Whether nothing is left to be done but what is queued.
    pub const fn is_settled(&self) -> bool {
        self.pending == 0 && self.failed == 0
    }
}

impl Audit {
    /// One that begins now, after `before`.
    fn begin(location: &Location, now: Timestamp, before: Option<Self>) -> Self {
        let settles = before.as_ref().map_or(*location != Location::Global, |before| before.is_before_settled(location, now));
        let (before_retries, last) = before.map_or((0, None), |before| (before.retries, before.last));
        let is_same = last.as_ref().is_none_or(|last| last.location == *location);
        let is_retry = is_same && last.as_ref().is_some_and(|last| !last.findings.is_settled());
        let retries = if is_retry { before_retries.saturating_add(1) } else { 0 };
        // Later than the last: that tells them apart.
        let began = last.as_ref().map_or(now, |last| now.max(Timestamp::from_millis(last.began.as_millis().saturating_add(1))));
        Self { location: location.clone(), began, findings: AuditFindings::default(), after: Vec::new(), retries, settles, last }
    }

    /// Whether one by `location` that begins now, after this one, has to come again: the location is another, or was just before and this one
    /// has not come again for it.
    fn is_before_settled(&self, location: &Location, now: Timestamp) -> bool {
        let last = self.last.as_ref();
        let is_new = self.location != *location || last.is_some_and(|last| last.location != *location);
        is_new || self.settles && last.is_some_and(|last| !last.findings.is_settled() || now < last.ended.plus(SETTLE))
    }

    /// Whether it is still under way.
    pub fn is_running(&self) -> bool {
        self.last.as_ref().is_none_or(|last| last.began < self.began)
    }

    /// Ends it.
    fn end(&mut self, now: Timestamp) {
        let (location, findings) = (self.location.clone(), self.findings.clone());
        self.last = Some(FinishedAudit { location, began: self.began, ended: now, findings });
    }

    /// When the next is due in a bucket with `location`, where one is due each `interval`. `None`: never.
    pub(super) fn next_due(&self, location: &Location, interval: Option<Duration>) -> Option<Timestamp> {
        let Some(last) = self.last.as_ref().filter(|last| last.began == self.began && last.location == *location) else {
            return Some(Timestamp::default());
        };
        let regular = interval.map(|interval| last.ended.plus(interval));
        let took = Duration::from_millis(last.ended.as_millis().abs_diff(last.began.as_millis()));
        let again = if !last.findings.is_settled() {
            let wait = RETRY_FIRST.saturating_mul(1 << self.retries.min(16)).min(RETRY_LAST);
            Some(last.ended.plus(wait.max(took.saturating_mul(4))))
        } else if self.settles {
            Some(last.ended.plus(SETTLE.max(took.saturating_mul(4))))
        } else {
            None
        };
        regular.into_iter().chain(again).min()
    }
}

/// What an [`Auditor`] is made of.
#[derive(Clone, Debug)]
pub struct AuditorParts {
    /// Where records are.
    pub meta: Arc<dyn MetaStore>,
    /// The buckets.
    pub catalog: Arc<Catalog>,
    /// The contents of all regions.
    pub blobs: PlacedBlobStore,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whom to tell of copies that are to be made.
    pub pointers: DuePointers,
    /// How often every bucket is audited; `None`: never without being asked.
    pub interval: Option<Duration>,
}

/// The worker that audits buckets: one for the whole store.
pub struct Auditor {
    pub(super) parts: AuditorParts,
    /// When each bucket is due that was looked at, by which location.
    pub(super) known: Mutex<HashMap<Partition, (Location, Option<Timestamp>)>>,
    /// Copies due in a region while which no more are queued there.
    pub(super) due_max: usize,
    pub(super) room: Room,
    stopping: AtomicBool,
    wake: Arc<Notify>,
}

impl Auditor {
    /// Puts it together.
    pub fn new(parts: AuditorParts) -> Self {
        let wake = Arc::clone(parts.catalog.relocated());
        Self { parts, known: Mutex::default(), due_max: DUE_MAX, room: Room::default(), stopping: AtomicBool::new(false), wake }
    }

    /// Works until [`Auditor::stop`]; finishes the page at hand.
    pub async fn run(&self) {
        while !self.is_stopping() {
            let wait = match self.round().await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::warn!(?error, "it cannot be told which buckets are to be audited; trying again");
                    FAILED_RETRY
                }
            };
            let _woken = timeout(wait, self.wake.notified()).await;
        }
    }

    /// Makes [`Auditor::run`] return.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// Has `bucket` audited now, unless that is under way. Gives the audit that is.
    pub async fn order(&self, bucket: &Bucket) -> Result<Audit> {
        loop {
            let (found, revision) = self.read(bucket.partition).await?;
            let audit = match found {
                Some(audit) if audit.is_running() && audit.location == bucket.settings.location => audit,
                before => {
                    Audit::begin(&bucket.settings.location, self.parts.clock.now(), before.map(|audit| Audit { retries: 0, ..audit }))
                }
            };
            let saved = self.save(bucket.partition, &audit, revision).await;
            if saved? {
                self.known.lock().remove(&bucket.partition);
                self.wake.notify_one();
                return Ok(audit);
            }
        }
    }

    /// What is known of where the bytes of `bucket` are.
    pub async fn status(&self, bucket: &Bucket) -> Result<PlacementStatus> {
        status::placement_status(&*self.parts.meta, bucket).await
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Works on what is due for some steps. Tells how long there is nothing to do then.
    pub(super) async fn round(&self) -> Result<Duration> {
        let (mut due, mut next) = self.look().await?;
        let mut has_ended = false;
        for _ in 0..STEPS_PER_LOOK {
            let Some(name) = due.pop_front().filter(|_| !self.is_stopping()) else { break };
            let began = Instant::now();
            match self.step_if_room(&name).await {
                Ok(Some(true)) => due.push_back(name),
                // When it is due again is for the next look.
                Ok(Some(false)) => has_ended = true,
                Ok(None) => next = next.min(ROOM_LOOK_EVERY),
                Err(error) if error.kind() == ErrorKind::NotFound(Entity::Bucket) => {}
                Err(error) => {
                    tracing::warn!(bucket = %name, ?error, "the audit of a bucket is held up; trying again");
                    next = next.min(FAILED_RETRY);
                }
            }
            sleep(began.elapsed().clamp(REST_MIN, REST_MAX)).await;
        }
        Ok(if due.is_empty() && !has_ended { next } else { Duration::ZERO })
    }

    /// Which buckets are due, and when the next of the others is.
    async fn look(&self) -> Result<(VecDeque<BucketName>, Duration)> {
        let (mut due, mut next, mut after): (_, _, Option<String>) = (VecDeque::new(), LOOK_EVERY, None);
        let (now, mut there) = (self.parts.clock.now(), HashSet::new());
        loop {
            let buckets = self.parts.catalog.buckets(None, after.as_deref(), PAGE).await?;
            for bucket in &buckets {
                there.insert(bucket.partition);
                match self.due(bucket).await? {
                    Some(at) if at <= now => due.push_back(bucket.name.clone()),
                    Some(at) => next = next.min(since(now, at)),
                    None => {}
                }
            }
            match buckets.last() {
                Some(last) if buckets.len() == PAGE => after = Some(last.name.to_string()),
                _ => {
                    // Of buckets that are gone nothing is remembered.
                    self.known.lock().retain(|partition, _| there.contains(partition));
                    self.room.lock().retain(|(partition, _), _| there.contains(partition));
                    return Ok((due, next));
                }
            }
        }
    }

    /// When the next audit of `bucket` is due, from memory if its location is what it was.
    async fn due(&self, bucket: &Bucket) -> Result<Option<Timestamp>> {
        let location = &bucket.settings.location;
        if let Some((_, due)) = self.known.lock().get(&bucket.partition).filter(|(known, _)| known == location) {
            return Ok(*due);
        }
        let (found, _) = self.read(bucket.partition).await?;
        let due = self.next_due(bucket, found.as_ref());
        self.known.lock().insert(bucket.partition, (location.clone(), due));
        Ok(due)
    }

    /// Takes the audit of a bucket one page further. Tells whether there is more.
    pub(super) async fn step(&self, name: &BucketName) -> Result<bool> {
        let bucket = self.parts.catalog.bucket(name).await?;
        let (location, now) = (&bucket.settings.location, self.parts.clock.now());
        self.known.lock().remove(&bucket.partition);
        let (found, revision) = self.read(bucket.partition).await?;
        let mut audit = match found {
            Some(audit) if audit.is_running() && audit.location == *location => audit,
            before if self.next_due(&bucket, before.as_ref()).is_none_or(|due| due > now) => return Ok(false),
            before => Audit::begin(location, now, before),
        };
        let is_over = self.walk(&bucket, &mut audit).await?;
        if is_over {
            audit.end(self.parts.clock.now());
            let AuditFindings { missing, removed, moved, pending, failed, gone, .. } = audit.findings;
            tracing::debug!(bucket = %name, missing, removed, moved, pending, failed, gone, "a bucket was audited");
        }
        // Who ordered another meanwhile has it begun anew.
        self.save(bucket.partition, &audit, revision).await?;
        Ok(audit.is_running())
    }

    /// When the next audit of `bucket` is due, `audit` being the latest.
    fn next_due(&self, bucket: &Bucket, audit: Option<&Audit>) -> Option<Timestamp> {
        match audit {
            Some(audit) => audit.next_due(&bucket.settings.location, self.parts.interval),
            None if bucket.settings.location == Location::Global => self.parts.interval.map(|interval| bucket.created.plus(interval)),
            // It may have had another location before.
            None => Some(Timestamp::default()),
        }
    }

    /// The latest audit of a bucket, and the revision of its row. One that cannot be read is begun anew, in its place.
    async fn read(&self, partition: Partition) -> Result<(Option<Audit>, Option<Revision>)> {
        let entry = self.parts.meta.get(partition, &key::audit()).await?;
        let audit = entry.as_ref().and_then(|entry| record::audit::decode(&entry.body).ok());
        Ok((audit, entry.map(|entry| entry.revision)))
    }

    /// Saves where `audit` got to, unless the row is another than it was.
    async fn save(&self, partition: Partition, audit: &Audit, before: Option<Revision>) -> Result<bool> {
        let batch = Batch::new(partition).check(key::settings(), Expect::Exists).check(key::audit(), Expect::unchanged(before));
        match self.parts.meta.commit(batch.put(key::audit(), "", record::audit::encode(audit))).await {
            Ok(_) => Ok(true),
            Err(MetaError::Conflict { key: found, .. }) if found == key::settings() => Err(Error::not_found(Entity::Bucket)),
            Err(MetaError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl fmt::Debug for Auditor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auditor").field("interval", &self.parts.interval).finish_non_exhaustive()
    }
}

fn since(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(to.as_millis().saturating_sub(from.as_millis())).unwrap_or(0))
}

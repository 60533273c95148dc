//! Commits behind the bucket's fence.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use bytes::Bytes;
use umbra_core::{BucketName, Entity, Error, ErrorKind, Location, ObjectKey, Result, Timestamp};
use umbra_meta::{Batch, Check, Committed, Entry, Expect, Partition, Revision, Write, key};

use super::{Extent, Native};
use crate::{Bucket, BucketSettings, BucketState, DefaultRetention, Removal, Terms, Versioning, placement, placement::due::Wanted, record};

/// The name of the counter of objects.
const OBJECTS: &str = "objects";
/// The name of the counter of their bytes.
const BYTES: &str = "bytes";

/// What a writer knows of its bucket: its settings must not have changed meanwhile, or at least it must not be going away nor have got
/// another shadow, location or state of versioning, under which the write would mean something else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fence {
    pub(super) partition: Partition,
    revision: Revision,
    generation: u64,
    /// Tells its location from others. `None` where it is all the same.
    location: Option<u64>,
    /// Whether its objects have versions.
    pub(super) versioning: Versioning,
    /// How new versions are kept that do not say so themselves.
    pub(super) retention: Option<DefaultRetention>,
}

/// A check did not hold: what its key holds instead of what was expected.
#[derive(Debug)]
pub(super) struct Lost {
    key: Vec<u8>,
    current: Option<Entry>,
}

/// A batch in the making.
#[derive(Debug)]
pub(super) struct Changes {
    batch: Batch,
    removal: Option<Removal>,
    reclaims: Option<Timestamp>,
    /// The bucket, if somebody is to be told.
    told: Option<BucketName>,
    /// The regions in which copies have to be made.
    copies: BTreeSet<String>,
    /// Whether they were made with the fence's retention in mind.
    is_under_retention: bool,
}

impl From<&Bucket> for Fence {
    fn from(bucket: &Bucket) -> Self {
        Self {
            partition: bucket.partition,
            revision: bucket.revision,
            generation: bucket.settings.generation,
            location: Some(mark(&bucket.settings.location)),
            versioning: bucket.settings.versioning,
            retention: default_retention(&bucket.settings),
        }
    }
}

fn default_retention(settings: &BucketSettings) -> Option<DefaultRetention> {
    settings.extras.object_lock.and_then(|lock| lock.default)
}

/// Tells a location from others.
fn mark(location: &Location) -> u64 {
    let mut hasher = DefaultHasher::new();
    location.hash(&mut hasher);
    hasher.finish()
}

impl Fence {
    /// Of a change that stores no content: the location may change meanwhile.
    pub(super) fn in_any_location(bucket: &Bucket) -> Self {
        Self { location: None, ..Self::from(bucket) }
    }

    fn check(self) -> Check {
        Check { key: key::settings(), expect: Expect::Revision(self.revision) }
    }

    /// Moves on to the settings that `current` holds, if they still take writes.
    pub(super) fn renew(&mut self, current: Option<&Entry>) -> Result<()> {
        let current = current.ok_or_else(|| Error::not_found(Entity::Bucket))?;
        if current.revision == self.revision {
            return Ok(());
        }
        let settings = record::bucket::decode_settings(&current.body)?;
        if settings.state == BucketState::Deleting {
            return Err(Error::not_found(Entity::Bucket));
        }
        if settings.generation != self.generation {
            return Err(Error::new(ErrorKind::Unavailable, "the bucket's shadow was just changed; please try again"));
        }
        if settings.versioning != self.versioning {
            return Err(Error::new(ErrorKind::Unavailable, "the bucket's versioning was just changed; please try again"));
        }
        if self.location.is_some_and(|location| location != mark(&settings.location)) {
            return Err(Error::new(ErrorKind::Unavailable, "the bucket's location was just changed; please try again"));
        }
        self.retention = default_retention(&settings);
        self.revision = current.revision;
        Ok(())
    }
}

impl Lost {
    /// Whether it is the check of `key` at `expected` that failed.
    ///
    /// Terms may check the same key once more. Theirs is the one that failed when `expected` still holds.
    pub(super) fn is_of(&self, key: &[u8], expected: Expect) -> bool {
        self.key == key && !expected.holds(self.current.as_ref().map(|entry| entry.revision))
    }

    /// Whether it is the check of a version of `key` that failed.
    pub(super) fn is_of_any_version(&self, key: &ObjectKey) -> bool {
        self.key.starts_with(&key::history(key))
    }

    /// What `key` holds, when it is the check of `key` at `expected` that failed; a conflict for the client when it is another.
    pub(super) fn reread(self, key: &[u8], expected: Expect) -> Result<Option<Entry>> {
        if self.is_of(key, expected) { Ok(self.current) } else { Err(self.into()) }
    }
}

impl From<Lost> for Error {
    fn from(lost: Lost) -> Self {
        umbra_meta::Error::Conflict { key: lost.key, current: lost.current.map(Box::new) }.into()
    }
}

impl Changes {
    /// No changes, to a bucket behind `fence`.
    pub(super) fn behind(fence: Fence) -> Self {
        let batch = Batch { partition: fence.partition, checks: vec![fence.check()], writes: Vec::new() };
        Self { batch, removal: None, reclaims: None, told: None, copies: BTreeSet::new(), is_under_retention: false }
    }

    /// Like [`Changes::behind`], for changes that have to be made anew when the retention of `fence` is another by then.
    pub(super) fn under_retention(fence: Fence) -> Self {
        Self { is_under_retention: true, ..Self::behind(fence) }
    }

    pub(super) fn check(&mut self, key: Vec<u8>, expect: Expect) {
        self.batch.checks.push(Check { key, expect });
    }

    pub(super) fn put(&mut self, key: Vec<u8>, (head, body): (Bytes, Bytes)) {
        self.batch.writes.push(Write::Put { key, head, body });
    }

    pub(super) fn delete(&mut self, key: Vec<u8>) {
        self.batch.writes.push(Write::Delete { key });
    }

    /// Counts `objects` more objects and `bytes` more bytes.
    pub(super) fn count(&mut self, objects: i64, bytes: i64) {
        for (name, delta) in [(OBJECTS, objects), (BYTES, bytes)] {
            if delta != 0 {
                self.batch.writes.push(Write::Add { key: key::counter(name), delta });
            }
        }
    }

    /// Enqueues the reclamation of `extents`, whose last reference this batch drops.
    pub(super) fn reclaim(&mut self, extents: &[Extent], due: Timestamp) {
        let due_ms = u64::try_from(due.as_millis()).unwrap_or(0);
        for extent in extents {
            self.put(key::reclaim(due_ms, extent.blob.as_bytes()), Default::default());
            self.reclaims = Some(due);
        }
    }

    /// Says that copies of blobs have to be made in regions.
    pub(super) fn require_copies(&mut self, copies: &BTreeSet<Wanted>, now: Timestamp) {
        placement::due::enqueue(&mut self.batch.writes, copies, now);
        self.copies.extend(copies.iter().map(|wanted| wanted.region.clone()));
    }

    /// Adds a wrapper's terms, behind everything else.
    pub(super) fn add_terms(&mut self, terms: &Terms) {
        self.batch.checks.extend_from_slice(&terms.checks);
        self.batch.writes.extend_from_slice(&terms.writes);
        self.removal.clone_from(&terms.removal);
        self.told = terms.telling.as_ref().filter(|telling| telling.tell(&mut self.batch)).map(|telling| telling.bucket.clone());
    }

    /// The whole batch, while the row of the removal holds `removed`.
    fn batch(&self, removed: Option<&Entry>) -> Result<Batch> {
        let mut batch = self.batch.clone();
        if let Some(removal) = &self.removal {
            batch = batch.check(removal.key.clone(), Expect::unchanged(removed.map(|entry| entry.revision)));
            if let Some(entry) = removed {
                batch = batch.delete(removal.key.clone());
                batch = (removal.counts)(entry)?.into_iter().fold(batch, |batch, (key, delta)| batch.add(key, delta));
            }
        }
        Ok(batch)
    }
}

impl Native {
    /// When a blob that is dropped now may be deleted.
    pub(super) fn reclamation_due(&self) -> Timestamp {
        self.clock().now().plus(self.reclaimer().grace())
    }

    /// Moves `fence` on to the settings as they are now, like a commit, for an answer that changes nothing: what was not found held by what it was
    /// looked for.
    pub(super) async fn confirm(&self, fence: &mut Fence) -> Result<()> {
        let current = self.meta().get(fence.partition, &key::settings()).await?;
        fence.renew(current.as_ref())
    }

    /// Commits `changes`; again when only the fence moved and the bucket still takes writes, and `fence` moves along, or when only the
    /// row of the removal changed. What is under a retention is lost when that is another where the fence moved to.
    pub(super) async fn commit(&self, fence: &mut Fence, mut changes: Changes) -> Result<Result<Committed, Lost>> {
        let mut removed = match &changes.removal {
            Some(removal) => self.meta().get(fence.partition, &removal.key).await?,
            None => None,
        };
        loop {
            match self.meta().commit(changes.batch(removed.as_ref())?).await {
                Ok(committed) => {
                    self.nudge(*fence, &changes);
                    return Ok(Ok(committed));
                }
                Err(umbra_meta::Error::Conflict { key, current }) => {
                    let lost = Lost { key, current: current.map(|entry| *entry) };
                    let expected = Expect::unchanged(removed.as_ref().map(|entry| entry.revision));
                    if changes.removal.as_ref().is_some_and(|removal| lost.is_of(&removal.key, expected)) {
                        removed = lost.current;
                        continue;
                    }
                    let check = fence.check();
                    if !lost.is_of(&check.key, check.expect) {
                        return Ok(Err(lost));
                    }
                    let retention = fence.retention;
                    fence.renew(lost.current.as_ref())?;
                    if changes.is_under_retention && fence.retention != retention {
                        return Ok(Err(lost));
                    }
                    changes.batch.checks[0] = fence.check();
                }
                Err(error) => {
                    // It may have been applied all the same.
                    self.nudge(*fence, &changes);
                    return Err(error.into());
                }
            }
        }
    }

    fn nudge(&self, fence: Fence, changes: &Changes) {
        if let Some(due) = changes.reclaims {
            self.reclaimer().nudge(fence.partition, due);
        }
        if let Some(bucket) = &changes.told {
            self.event_bell().ring(bucket);
        }
        for region in &changes.copies {
            self.due_pointers().point(region, fence.partition);
        }
    }
}

//! Revalidation: whether an object that was brought here is still what the origin holds.
//!
//! With an interval set, a read of a hydrated object that nothing changed here since asks the origin, once the interval is over, whether the
//! object still has its ETag. If it has, that is remembered. If not, the copy is *outdated*: the key is read as if it were cold, and the new
//! copy replaces the old by compare-and-set on its revision, so that a PUT or DELETE here always wins. If the origin says with authority that
//! the object is gone, it goes here as well. An origin that does not say anything changes nothing: what is here is served, and asked about
//! again soon.
//!
//! What was found out is remembered in memory only, for so many keys at most; what is forgotten is asked again. It counts for the origin and
//! the generation it was found out in, and only while an interval is set. Objects written here are never asked about. A change of metadata or
//! tags that leaves the ETag alone is not seen.

use std::{collections::HashMap, mem, sync::Arc, time::Duration};

use parking_lot::Mutex;
use umbra_core::{ETag, ErrorKind, ObjectInfo, ObjectKey, RequestContext, Result, Timestamp, VersionId};
use umbra_meta::{Check, Expect, Partition, Revision, key};
use umbra_store::{Bucket, GetObject, GetOptions, RemoveVersion, Stored, Terms};

use crate::{
    Shadow,
    key_locks::KeyLocks,
    origin::Origin,
    read_through::hydrates_whole,
    shadow::scope_of,
    view::{View, has_versions},
};

/// How long a reader waits for the origin to say whether an object changed.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How soon an origin that did not say is asked again, if the interval is not shorter still.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Keys of one generation of the memory. There are two: some 30 MiB, if all keys are as long as they may be.
const REMEMBERED_MAX: usize = 16_384;

type Key = (Partition, ObjectKey);

/// What the origin said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Nothing changed, or there is nothing to ask about.
    Same,
    /// It holds another object.
    Changed,
    /// It did not say.
    Unknown,
}

/// What is remembered of a key.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Timestamp,
    /// The origin and generation it was found out in.
    scope: u64,
    /// The revision of the object it is about.
    revision: Revision,
    found: Found,
}

/// What was found out lately.
#[derive(Debug, Default)]
pub(crate) struct Revalidations {
    marks: Mutex<Marks>,
    /// Readers of one key ask once.
    asking: KeyLocks,
}

/// Two generations of marks: when the young one is full it becomes the old one, and the old one is forgotten.
#[derive(Debug, Default)]
struct Marks {
    young: HashMap<Key, Mark>,
    old: HashMap<Key, Mark>,
}

impl Marks {
    fn get(&self, key: &Key) -> Option<Mark> {
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }

    fn set(&mut self, key: Key, mark: Mark) {
        if self.young.len() >= REMEMBERED_MAX && !self.young.contains_key(&key) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, mark);
    }

    fn forget(&mut self, partition: Partition) {
        self.young.retain(|(of, _), _| *of != partition);
        self.old.retain(|(of, _), _| *of != partition);
    }
}

impl Revalidations {
    /// Whether the copy of `revision` is known to be outdated.
    pub(crate) fn is_outdated(&self, bucket: &Bucket, key: &ObjectKey, revision: Revision) -> bool {
        let is_so = |mark: Mark| mark.found == Found::Changed && mark.revision == revision && mark.scope == scope_of(bucket);
        interval_of(bucket).is_some() && self.marks.lock().get(&(bucket.partition, key.clone())).is_some_and(is_so)
    }

    /// Forgets all keys of a bucket.
    pub(crate) fn forget(&self, partition: Partition) {
        self.marks.lock().forget(partition);
    }

    /// The copy of `revision` is known to be outdated, from before a restart.
    pub(crate) fn remember_outdated(&self, bucket: &Bucket, key: &ObjectKey, revision: Revision, now: Timestamp) {
        self.remember(bucket.partition, key, Mark { at: now, scope: scope_of(bucket), revision, found: Found::Changed });
    }

    /// The new object cannot be had: what is here counts again, for a while. Tells whether the copy was known to be outdated.
    fn doubt(&self, partition: Partition, key: &ObjectKey, now: Timestamp) -> bool {
        let (mut marks, key) = (self.marks.lock(), (partition, key.clone()));
        let outdated = marks.get(&key).filter(|mark| mark.found == Found::Changed);
        outdated.map(|mark| marks.set(key, Mark { at: now, found: Found::Unknown, ..mark })).is_some()
    }

    fn remember(&self, partition: Partition, key: &ObjectKey, mark: Mark) {
        self.marks.lock().set((partition, key.clone()), mark);
    }

    fn is_due(&self, bucket: &Bucket, key: &ObjectKey, interval: Duration, now: Timestamp) -> bool {
        let mark = self.marks.lock().get(&(bucket.partition, key.clone()));
        mark.filter(|mark| mark.scope == scope_of(bucket)).is_none_or(|mark| {
            let rest = if mark.found == Found::Unknown { interval.min(ASK_AGAIN_AFTER) } else { interval };
            now >= mark.at.plus(rest)
        })
    }
}

impl Shadow {
    /// [`Shadow::read_through`], the object being asked about first if that is due.
    pub(crate) async fn read_fresh(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        options: GetOptions,
        origin: Arc<dyn Origin>,
    ) -> Result<GetObject> {
        let Some(interval) = interval_of(bucket) else { return self.read_through(cx, bucket, key, options, origin).await };
        self.revalidate(cx, bucket, key, interval, &origin).await?;
        match self.read_through(cx, bucket, key, options.clone(), origin.clone()).await {
            Err(error) if self.falls_back(bucket, key, error.kind()) => self.read_through(cx, bucket, key, options, origin).await,
            read => read,
        }
    }

    /// [`Shadow::head_through`], the object being asked about first if that is due.
    pub(crate) async fn head_fresh(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        options: GetOptions,
        origin: Arc<dyn Origin>,
    ) -> Result<ObjectInfo> {
        let Some(interval) = interval_of(bucket) else { return self.head_through(cx, bucket, key, options, &origin).await };
        let changed = self.revalidate(cx, bucket, key, interval, &origin).await?;
        if changed && hydrates_whole(bucket) {
            self.hydrate(cx, bucket, key, &origin);
        }
        match self.head_through(cx, bucket, key, options.clone(), &origin).await {
            Err(error) if self.falls_back(bucket, key, error.kind()) => self.head_through(cx, bucket, key, options, &origin).await,
            told => told,
        }
    }

    /// Whether a read that failed at the origin can be answered from an outdated copy.
    fn falls_back(&self, bucket: &Bucket, key: &ObjectKey, kind: ErrorKind) -> bool {
        matches!(kind, ErrorKind::OriginUnavailable | ErrorKind::OriginRefused)
            && self.0.revalidations.doubt(bucket.partition, key, self.0.clock.now())
    }

    /// Asks the origin about a copy, if it is older than `interval` and so is the last answer. Tells whether it was found to be outdated now.
    async fn revalidate(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        interval: Duration,
        origin: &Arc<dyn Origin>,
    ) -> Result<bool> {
        let (known, partition) = (&self.0.revalidations, bucket.partition);
        if !known.is_due(bucket, key, interval, self.0.clock.now()) {
            return Ok(false);
        }
        let _asking = known.asking.lock(partition, key).await;
        if !known.is_due(bucket, key, interval, self.0.clock.now()) {
            return Ok(false);
        }
        let view = self.view(bucket, key).await?;
        // A write under way, or half done, is newer than anything the origin could say.
        let Some(stored) = view.object.as_ref().filter(|_| view.intent.is_none() && !view.gone) else { return Ok(false) };
        let now = self.0.clock.now();
        let (at, found) = match stored.object.hydrated {
            None => (now, Found::Same),
            Some(hydrated) if now < hydrated.plus(interval) => (hydrated, Found::Same),
            Some(_) => (now, self.ask(cx, bucket, key, &view, stored, origin).await?),
        };
        known.remember(partition, key, Mark { at, scope: scope_of(bucket), revision: stored.revision, found });
        Ok(found == Found::Changed)
    }

    async fn ask(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        view: &View,
        stored: &Stored,
        origin: &Arc<dyn Origin>,
    ) -> Result<Found> {
        let (stats, etag): (_, &ETag) = (self.stats(bucket), &stored.object.etag);
        stats.revalidations.add(1);
        let path = self.path(cx, bucket);
        let found = match tokio::time::timeout(ANSWER_WITHIN, origin.is_unchanged(&path, key, etag)).await {
            Ok(Ok(true)) => return Ok(Found::Same),
            Ok(Ok(false)) => Found::Changed,
            Ok(Err(error)) if error.is_not_found() => {
                self.remove_copy(bucket, key, view, stored.revision).await?;
                Found::Same
            }
            Ok(Err(_)) | Err(_) => return Ok(Found::Unknown),
        };
        stats.revalidated_changes.add(1);
        tracing::info!(bucket = %bucket.name, %key, ?found, "the origin's object changed since it was brought here");
        Ok(found)
    }

    /// Removes a copy whose original is gone. No tombstone: if the origin holds the key again one day, it is the origin's again.
    async fn remove_copy(&self, bucket: &Bucket, key: &ObjectKey, view: &View, revision: Revision) -> Result<()> {
        let object = Check { key: key::object(key), expect: Expect::Revision(revision) };
        let mut checks = vec![object, view.base.tombstone_unchanged(key), view.base.intent_unchanged(key)];
        if has_versions(bucket) {
            // A key with versions of its own is no copy: none of them would be what the origin has.
            checks.push(Check { key: key::history(key), expect: Expect::Absent });
        }
        // The copy is the null version, and the one there is: no delete marker takes its place.
        let terms = Terms { checks, ..Terms::default() };
        let options = RemoveVersion { at: Some(revision), terms: terms.clone(), terms_of_absence: terms, ..RemoveVersion::default() };
        match self.native().remove_version(bucket, key, VersionId::Null, options).await {
            // Somebody wrote meanwhile.
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            removed => removed.map(drop),
        }
    }
}

/// How old a copy may be before the origin is asked about it, if it ever is.
pub(crate) fn interval_of(bucket: &Bucket) -> Option<Duration> {
    bucket.settings.shadow.as_ref()?.revalidate
}

#[cfg(test)]
mod tests {
    use umbra_core::{ObjectKey, Timestamp};
    use umbra_meta::{Partition, Revision};

    use super::{Found, Mark, REMEMBERED_MAX, Revalidations};

    #[test]
    fn memory_is_bounded_and_keeps_the_latest() {
        let known = Revalidations::default();
        let key = |n: usize| ObjectKey::parse(&format!("key-{n}")).unwrap();
        let mark = |n: usize| Mark { at: Timestamp::from_millis(0), scope: 0, revision: Revision(n as u64), found: Found::Changed };
        let many = 3 * REMEMBERED_MAX;
        for n in 0..many {
            known.remember(Partition(1), &key(n), mark(n));
        }
        let remembers = |n: usize| known.marks.lock().get(&(Partition(1), key(n))).is_some_and(|mark| mark.revision.0 == n as u64);
        assert!((many - REMEMBERED_MAX..many).all(remembers) && !remembers(0));
        let sizes = || {
            let marks = known.marks.lock();
            (marks.young.len(), marks.old.len())
        };
        assert!(sizes().0 <= REMEMBERED_MAX && sizes().1 <= REMEMBERED_MAX);
        known.forget(Partition(2));
        assert!(remembers(many - 1), "another bucket is none of ours");
        known.forget(Partition(1));
        assert_eq!(sizes(), (0, 0));
    }
}

//! The repair queue: what was learnt by trying, and when to try again.
//!
//! The queue itself is the rows `w/` whose owner died. Here is only what a restart may forget: each key that failed waits longer from time to
//! time, by itself, so that one that cannot be repaired neither blocks the others nor spins. It is tried at once when the origin is back, or
//! when somebody asks for the key.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use umbra_core::{BucketName, Error, ErrorKind, ObjectKey, Timestamp};
use umbra_meta::{Entry, Partition, Revision, key};
use umbra_store::Bucket;

/// How long a key rests after its first failure; twice as long after each further one.
const REST_FIRST: Duration = Duration::from_secs(1);
/// The longest rest, when the origin could not be reached: nothing else tells that it is back, where nobody asks for anything.
const REST_MAX_AWAY: Duration = Duration::from_secs(15);
/// The longest rest after any other failure.
const REST_MAX: Duration = Duration::from_secs(300);
/// Failures remembered. A key beyond has no rest of its own.
const TROUBLES_MAX: usize = 10_000;

/// A write-through that is half done, as the status shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRepair {
    /// The key, which is read through the origin until it is repaired.
    pub key: ObjectKey,
    /// What was to be done: `put`, `delete`, `tags` or `copy-back`.
    pub operation: &'static str,
    /// Since when.
    pub since: Timestamp,
    /// How often a repair was tried, since the server started.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When the next one is due.
    pub next_attempt: Option<Timestamp>,
}

/// What is known of the keys that are to be repaired.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    state: Mutex<State>,
    /// Told when something became due sooner.
    pub(crate) changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The buckets to look at, and when.
    due: BTreeMap<BucketName, Timestamp>,
    troubles: HashMap<(Partition, ObjectKey), Trouble>,
    /// Rows known to be damaged, and in which revision.
    damaged: HashMap<(Partition, Bytes), Revision>,
}

/// A key whose repair failed.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) attempts: u32,
    pub(crate) error: String,
    pub(crate) next: Timestamp,
    last: Timestamp,
    is_away: bool,
    bucket: BucketName,
}

impl Repairs {
    /// A write of `key` lost its owner.
    pub(crate) fn add(&self, bucket: &Bucket, key: &ObjectKey) {
        tracing::warn!(bucket = %bucket.name, %key, "a write-through is half done; the key is read through the origin until repaired");
        // It is another write than the one that could not be repaired before, if any.
        self.state.lock().troubles.remove(&(bucket.partition, key.clone()));
        self.look_at(&bucket.name);
    }

    /// A row of the queue cannot be read: it is told once.
    pub(crate) fn note_damage(&self, bucket: &Bucket, row: &Entry, error: &Error) {
        let damaged = &mut self.state.lock().damaged;
        let at = (bucket.partition, Bytes::copy_from_slice(&row.key));
        if damaged.get(&at) == Some(&row.revision) || (damaged.len() >= TROUBLES_MAX && !damaged.contains_key(&at)) {
            return;
        }
        damaged.insert(at, row.revision);
        let key = key::parse_write_intent(&row.key).unwrap_or_default();
        tracing::error!(bucket = %bucket.name, key, error = ?error, "the record of a write-through is damaged; the key is not repaired until it is written anew");
    }

    /// There is something to do in a bucket.
    pub(crate) fn look_at(&self, name: &BucketName) {
        self.look_again(name, Timestamp::default());
    }

    /// There will be something to do in a bucket at `due`.
    pub(crate) fn look_again(&self, name: &BucketName, due: Timestamp) {
        let mut state = self.state.lock();
        let at = state.due.entry(name.clone()).or_insert(due);
        *at = due.min(*at);
        drop(state);
        self.changed.notify_one();
    }

    /// Takes out the buckets that are due, but for those `under_way`.
    pub(crate) fn take_due(&self, now: Timestamp, under_way: &BTreeSet<BucketName>) -> Vec<BucketName> {
        let mut state = self.state.lock();
        let is_due = |(name, at): &(&BucketName, &Timestamp)| **at <= now && !under_way.contains(*name);
        let due: Vec<_> = state.due.iter().filter(is_due).map(|(name, _)| name.clone()).collect();
        for name in &due {
            state.due.remove(name);
        }
        due
    }

    /// When the next bucket is due, but for those `under_way`.
    pub(crate) fn next_due(&self, under_way: &BTreeSet<BucketName>) -> Option<Timestamp> {
        self.state.lock().due.iter().filter(|(name, _)| !under_way.contains(*name)).map(|(_, at)| *at).min()
    }

    /// What is known of a key that could not be repaired.
    pub(crate) fn trouble(&self, partition: Partition, key: &ObjectKey) -> Option<Trouble> {
        self.state.lock().troubles.get(&(partition, key.clone())).cloned()
    }

    /// A key is repaired.
    pub(crate) fn mended(&self, partition: Partition, key: &ObjectKey) {
        self.state.lock().troubles.remove(&(partition, key.clone()));
    }

    /// A repair failed. Tells when to try again.
    pub(crate) fn failed(&self, bucket: &Bucket, key: &ObjectKey, error: &Error, now: Timestamp) -> Timestamp {
        let mut state = self.state.lock();
        let at = (bucket.partition, key.clone());
        let attempts = state.troubles.get(&at).map_or(0, |trouble| trouble.attempts).saturating_add(1);
        let is_away = error.kind() == ErrorKind::OriginUnavailable;
        let longest = if is_away { REST_MAX_AWAY } else { REST_MAX };
        let next = now.plus(REST_FIRST.saturating_mul(1 << (attempts - 1).min(16)).min(longest));
        if state.troubles.contains_key(&at) || state.troubles.len() < TROUBLES_MAX {
            let bucket = bucket.name.clone();
            state.troubles.insert(at, Trouble { attempts, error: format!("{error:?}"), next, last: now, is_away, bucket });
        }
        next
    }

    /// Somebody asks for a key: if its repair rests, it is tried at once, though not more often than its first rest allows.
    pub(crate) fn touch(&self, partition: Partition, key: &ObjectKey, now: Timestamp) {
        let mut state = self.state.lock();
        if state.troubles.is_empty() {
            return;
        }
        let Some(trouble) = state.troubles.get_mut(&(partition, key.clone())) else { return };
        let soonest = trouble.last.plus(REST_FIRST);
        if soonest >= trouble.next {
            return;
        }
        trouble.next = soonest.max(now);
        let (name, next) = (trouble.bucket.clone(), trouble.next);
        drop(state);
        self.look_again(&name, next);
    }

    /// The origin answers again: what failed because it was away is tried at once.
    pub(crate) fn origin_is_back(&self, partition: Partition, now: Timestamp) {
        let mut state = self.state.lock();
        let mut bucket = None;
        for ((of, _), trouble) in &mut state.troubles {
            if *of == partition && trouble.is_away {
                trouble.next = now;
                bucket.get_or_insert_with(|| trouble.bucket.clone());
            }
        }
        drop(state);
        if let Some(name) = bucket {
            self.look_at(&name);
        }
    }

    /// The buckets that have keys in trouble.
    pub(crate) fn troubled(&self) -> Vec<Partition> {
        let mut partitions: Vec<_> = self.state.lock().troubles.keys().map(|(partition, _)| *partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        partitions
    }

    /// Forgets a bucket.
    pub(crate) fn forget(&self, partition: Partition) {
        let mut state = self.state.lock();
        state.troubles.retain(|(of, _), _| *of != partition);
        state.damaged.retain(|(of, _), _| *of != partition);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use umbra_core::{BucketName, Error, ErrorKind, ObjectKey, Timestamp};
    use umbra_meta::{Partition, Revision};
    use umbra_store::{Bucket, BucketSettings};

    use super::Repairs;

    fn bucket() -> Bucket {
        Bucket {
            name: BucketName::parse("bucket").unwrap(),
            partition: Partition(7),
            organization: "org".into(),
            created: Timestamp::default(),
            settings: BucketSettings::default(),
            revision: Revision(1),
            taken_in: None,
        }
    }

    fn none() -> BTreeSet<BucketName> {
        BTreeSet::new()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1000 * seconds)
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey::parse(name).unwrap()
    }

    #[test]
    fn each_key_rests_longer_by_itself() {
        let (repairs, bucket) = (Repairs::default(), bucket());
        let corrupt = Error::new(ErrorKind::Corrupt, "damaged");
        let away = Error::new(ErrorKind::OriginUnavailable, "away");
        let rests = |name: &str, error: &Error| {
            (0..12).map(|_| repairs.failed(&bucket, &key(name), error, at(0)).as_millis() / 1000).collect::<Vec<_>>()
        };
        assert_eq!(rests("bad", &corrupt), [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(rests("away", &away), [1, 2, 4, 8, 15, 15, 15, 15, 15, 15, 15, 15]);
        assert_eq!(repairs.failed(&bucket, &key("new"), &corrupt, at(0)), at(1), "another key is not kept waiting");
        let trouble = repairs.trouble(bucket.partition, &key("bad")).unwrap();
        assert_eq!((trouble.attempts, trouble.next), (12, at(300)));
        assert!(trouble.error.contains("damaged"));
        repairs.mended(bucket.partition, &key("bad"));
        assert_eq!(repairs.failed(&bucket, &key("bad"), &corrupt, at(0)), at(1));
    }

    #[test]
    fn a_key_that_is_asked_for_is_tried_at_once_and_does_not_spin() {
        let (repairs, bucket) = (Repairs::default(), bucket());
        let corrupt = Error::new(ErrorKind::Corrupt, "damaged");
        repairs.touch(bucket.partition, &key("k"), at(0));
        assert_eq!(repairs.next_due(&none()), None, "nothing is wrong with it");
        for _ in 0..5 {
            repairs.failed(&bucket, &key("k"), &corrupt, at(10));
        }
        repairs.touch(bucket.partition, &key("k"), at(10));
        assert_eq!(repairs.next_due(&none()), Some(at(11)), "not before it rested a little");
        repairs.touch(bucket.partition, &key("k"), at(20));
        assert_eq!((repairs.take_due(at(10), &none()), repairs.take_due(at(11), &none())), (vec![], vec![bucket.name.clone()]));
        assert_eq!(repairs.trouble(bucket.partition, &key("k")).unwrap().next, at(11));
    }

    #[test]
    fn what_failed_because_the_origin_was_away_is_tried_when_it_is_back() {
        let (repairs, bucket) = (Repairs::default(), bucket());
        for (name, kind) in [("away", ErrorKind::OriginUnavailable), ("bad", ErrorKind::Corrupt)] {
            for _ in 0..5 {
                repairs.failed(&bucket, &key(name), &Error::new(kind, "x"), at(0));
            }
        }
        repairs.origin_is_back(Partition(8), at(2));
        assert_eq!(repairs.next_due(&none()), None);
        assert_eq!(repairs.troubled(), [bucket.partition]);
        repairs.origin_is_back(bucket.partition, at(2));
        let next = |name: &str| repairs.trouble(bucket.partition, &key(name)).unwrap().next;
        assert_eq!((next("away"), next("bad")), (at(2), at(16)));
        assert_eq!(repairs.take_due(at(2), &none()), std::slice::from_ref(&bucket.name));
        repairs.look_at(&bucket.name);
        let under_way = BTreeSet::from([bucket.name.clone()]);
        assert_eq!((repairs.take_due(at(2), &under_way), repairs.next_due(&under_way)), (vec![], None), "one pass at a time");
        repairs.forget(bucket.partition);
        assert_eq!(repairs.troubled(), []);
    }
}

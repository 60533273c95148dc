//! What waits to be delivered, in bounded memory.
//!
//! Lines of one bucket gather in a batch, which is sealed when it is large enough or old enough, and becomes one object. A batch counts
//! until it is delivered or given up: where there is no room a line is dropped and counted, and nobody waits for it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Notify;
use umbra_core::{ObjectKey, Timestamp};
use umbra_store::Bucket;

use super::{metrics::Metrics, names};
use crate::backoff;

/// Bytes of one object, but for its last line.
const BATCH_BYTES: usize = 1024 * 1024;
/// Bytes that one bucket's lines may take: a target that fails costs its own source's lines first.
const BUCKET_BYTES_MAX: usize = 4 * BATCH_BYTES;
/// Bytes that all lines may take.
const BYTES_MAX: usize = 64 * BATCH_BYTES;
/// What a batch takes beside its lines, about.
const BATCH_OVERHEAD: usize = 512;
/// The longest sleep.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Lines that become one object.
pub(super) struct Batch {
    /// The bucket that the requests were for, as it was when the first of them came.
    pub(super) source: Arc<Bucket>,
    /// When the first of them came.
    pub(super) event: Timestamp,
    /// When it was first written.
    since: Timestamp,
    pub(super) text: String,
    pub(super) lines: u64,
    /// The key it has, once it was tried: a second try is to write the same object.
    pub(super) key: Option<ObjectKey>,
    pub(super) failures: u32,
    due: Timestamp,
    /// What it counts for.
    held: usize,
}

/// Whose lines they are; of which day, where each has objects of its own.
type Stream = (u64, Option<i64>);

#[derive(Default)]
struct State {
    open: HashMap<Stream, Batch>,
    sealed: Vec<Batch>,
    /// Bytes by bucket.
    held: HashMap<u64, usize>,
    total: usize,
    is_dropping: bool,
}

/// Everything that waits.
pub(super) struct Buffer {
    state: Mutex<State>,
    bell: Notify,
    /// How long a line waits for others.
    interval: Duration,
    pub(super) metrics: Metrics,
}

impl Buffer {
    pub(super) fn new(interval: Duration) -> Self {
        Self { state: Mutex::default(), bell: Notify::new(), interval, metrics: Metrics::default() }
    }

    /// Adds a line of a request to `source` that came at `event`, or drops it.
    pub(super) fn add(&self, source: &Arc<Bucket>, event: Timestamp, line: &str, now: Timestamp) {
        let Some(logging) = &source.settings.extras.logging else { return };
        let (partition, stream) = (source.partition.0, (source.partition.0, names::day(logging, event)));
        let mut state = self.state.lock();
        let is_open = state.open.get(&stream).is_some_and(|batch| batch.source.settings.extras.logging.as_ref() == Some(logging));
        let held = line.len() + if is_open { 0 } else { BATCH_OVERHEAD };
        let of_bucket = state.held.get(&partition).copied().unwrap_or(0);
        if of_bucket + held > BUCKET_BYTES_MAX || state.total + held > BYTES_MAX {
            self.metrics.dropped.inc();
            if !std::mem::replace(&mut state.is_dropping, true) {
                tracing::warn!(bucket = %source.name, "lines of access logs are dropped: too many wait to be delivered");
            }
            return;
        }
        if !is_open {
            let earlier = state.open.remove(&stream);
            state.seal(earlier, now);
        }
        state.total += held;
        *state.held.entry(partition).or_default() += held;
        let batch = state.open.entry(stream).or_insert_with(|| Batch {
            source: Arc::clone(source),
            event,
            since: now,
            text: String::new(),
            lines: 0,
            key: None,
            failures: 0,
            due: now,
            held: 0,
        });
        batch.text.push_str(line);
        batch.lines += 1;
        batch.held += held;
        let (is_first, is_full) = (batch.lines == 1, batch.text.len() >= BATCH_BYTES);
        if is_full {
            let full = state.open.remove(&stream);
            state.seal(full, now);
        }
        if is_first || is_full || !is_open {
            self.bell.notify_one();
        }
    }

    /// Takes at most `room` batches whose time has come.
    pub(super) fn take(&self, now: Timestamp, room: usize) -> Vec<Batch> {
        let mut state = self.state.lock();
        let old: Vec<Stream> =
            state.open.iter().filter(|(_, batch)| batch.since.plus(self.interval) <= now).map(|(stream, _)| *stream).collect();
        for stream in old {
            let batch = state.open.remove(&stream);
            state.seal(batch, now);
        }
        state.sealed.extract_if(.., |batch| batch.due <= now).take(room).collect()
    }

    /// Takes everything, at the end.
    pub(super) fn take_all(&self) -> Vec<Batch> {
        let mut state = self.state.lock();
        let open: Vec<Batch> = state.open.drain().map(|(_, batch)| batch).collect();
        state.sealed.drain(..).chain(open).collect()
    }

    /// Has `batch`, which failed again, tried later.
    pub(super) fn put_back(&self, mut batch: Batch, now: Timestamp) {
        batch.failures = batch.failures.saturating_add(1);
        batch.due = now.plus(backoff::after(batch.failures));
        self.state.lock().sealed.push(batch);
    }

    /// Forgets `batch`, which is delivered or given up.
    pub(super) fn release(&self, batch: &Batch) {
        let partition = batch.source.partition.0;
        let mut state = self.state.lock();
        state.total -= batch.held;
        let left = state.held.get(&partition).map_or(0, |held| held - batch.held);
        if left == 0 {
            state.held.remove(&partition);
        } else {
            state.held.insert(partition, left);
        }
        state.is_dropping = false;
    }

    /// Waits until something may be due.
    pub(super) async fn wait(&self, now: Timestamp) {
        let next = {
            let state = self.state.lock();
            let open = state.open.values().map(|batch| batch.since.plus(self.interval));
            open.chain(state.sealed.iter().map(|batch| batch.due)).min()
        };
        let millis = next.map_or(i64::MAX, |at| at.as_millis().saturating_sub(now.as_millis()));
        let wait = Duration::from_millis(u64::try_from(millis).unwrap_or(0)).min(SLEEP_MAX);
        _ = tokio::time::timeout(wait, self.bell.notified()).await;
    }
}

impl State {
    fn seal(&mut self, batch: Option<Batch>, now: Timestamp) {
        self.sealed.extend(batch.map(|batch| Batch { due: now, ..batch }));
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use umbra_core::Timestamp;
    use umbra_store::{LogKeys, Logging};

    use super::{BATCH_BYTES, BUCKET_BYTES_MAX, BYTES_MAX, Buffer};
    use crate::access_log::tests::{source, source_of};

    const INTERVAL: Duration = Duration::from_secs(300);

    fn to(prefix: &str, keys: LogKeys) -> Logging {
        Logging { bucket: "logs".to_owned(), prefix: prefix.to_owned(), keys, grants: vec![] }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn lines_wait_for_others_until_their_time_has_come() {
        let (buffer, bucket) = (Buffer::new(INTERVAL), Arc::new(source(to("", LogKeys::Simple))));
        buffer.add(&bucket, at(0), "a\n", at(10));
        buffer.add(&bucket, at(5), "b\n", at(309));
        assert!(buffer.take(at(309), 9).is_empty());
        let mut taken = buffer.take(at(310), 9);
        assert_eq!((taken[0].text.as_str(), taken[0].lines, taken[0].event), ("a\nb\n", 2, at(0)));
        buffer.put_back(taken.remove(0), at(310));
        assert!(buffer.take(at(310), 9).is_empty(), "what failed waits");
        let taken = buffer.take(at(311), 9);
        assert_eq!((taken.len(), taken[0].failures), (1, 1));
        buffer.release(&taken[0]);
        assert_eq!(buffer.state.lock().total, 0);
        assert!(buffer.state.lock().held.is_empty());
    }

    #[test]
    fn another_target_and_another_day_are_another_object() {
        let buffer = Buffer::new(INTERVAL);
        let (first, second) = (Arc::new(source(to("a/", LogKeys::Simple))), Arc::new(source(to("b/", LogKeys::ByEventTime))));
        buffer.add(&first, at(0), "1\n", at(0));
        buffer.add(&second, at(86_399), "2\n", at(86_400));
        buffer.add(&second, at(86_400), "3\n", at(86_400));
        buffer.add(&second, at(86_399), "4\n", at(86_401));
        let mut taken: Vec<_> = buffer.take_all().into_iter().map(|batch| batch.text).collect();
        taken.sort_unstable();
        assert_eq!(taken, ["1\n", "2\n4\n", "3\n"]);
    }

    #[test]
    fn a_batch_is_full_and_a_bucket_may_hold_so_many() {
        let (buffer, bucket) = (Buffer::new(INTERVAL), Arc::new(source(to("", LogKeys::Simple))));
        let line = "x".repeat(BATCH_BYTES / 4);
        for _ in 0..100 {
            buffer.add(&bucket, at(0), &line, at(0));
        }
        let taken = buffer.take(at(0), 99);
        assert_eq!(taken.iter().map(|batch| batch.lines).collect::<Vec<_>>(), [4, 4, 4]);
        let held: usize = buffer.state.lock().held.values().sum();
        assert!(held <= BUCKET_BYTES_MAX && held > BUCKET_BYTES_MAX - 2 * line.len(), "{held}");
        let dropped = buffer.metrics.dropped.get();
        assert_eq!(dropped, 85);
        buffer.release(&taken[0]);
        buffer.add(&bucket, at(0), &line, at(0));
        assert_eq!(buffer.metrics.dropped.get(), dropped, "there is room again");
    }

    #[test]
    fn all_together_may_hold_so_many() {
        let (buffer, line) = (Buffer::new(INTERVAL), "x".repeat(BATCH_BYTES));
        for partition in 1..100 {
            buffer.add(&Arc::new(source_of(partition, to("", LogKeys::Simple))), at(0), &line, at(0));
        }
        assert!(buffer.state.lock().total <= BYTES_MAX);
        assert_eq!(buffer.metrics.dropped.get(), 99 - 63);
    }
}

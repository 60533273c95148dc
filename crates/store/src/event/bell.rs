//! The ear of whoever delivers events.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::Notify;
use umbra_core::{BucketName, Timestamp};

/// Buckets remembered at most. What rings past it is found when its bucket rings again, or at the next start.
const BUCKETS_MAX: usize = 65_536;

/// Tests remembered at most.
const TESTS_MAX: usize = 4096;

/// Rings when a bucket has something to tell. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct EventBell(Arc<Shared>);

#[derive(Default)]
struct Shared {
    rung: Mutex<HashSet<BucketName>>,
    /// The tests that receivers are to be sent, by bucket and receiver.
    tests: Mutex<HashMap<(BucketName, String), TestEvent>>,
    wake: Notify,
}

/// What a receiver is sent once it is set, to see whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestEvent {
    /// When it was set.
    pub at: Timestamp,
    /// The request that set it.
    pub request: String,
}

impl EventBell {
    /// Says that `bucket` has something to tell, or tells others now.
    pub fn ring(&self, bucket: &BucketName) {
        let mut rung = self.0.rung.lock();
        let is_new = rung.len() < BUCKETS_MAX && rung.insert(bucket.clone());
        drop(rung);
        if is_new {
            self.0.wake.notify_one();
        }
    }

    /// Has `receiver` of `bucket` sent a test, when the bucket rings next. It is remembered in memory, as long as there is room.
    pub fn add_test(&self, bucket: &BucketName, receiver: &str, test: TestEvent) {
        let mut tests = self.0.tests.lock();
        if tests.len() < TESTS_MAX {
            tests.insert((bucket.clone(), receiver.to_owned()), test);
        }
    }

    /// The test that `receiver` of `bucket` is to be sent.
    pub fn test(&self, bucket: &BucketName, receiver: &str) -> Option<TestEvent> {
        let tests = self.0.tests.lock();
        // Almost never is there any.
        if tests.is_empty() { None } else { tests.get(&(bucket.clone(), receiver.to_owned())).cloned() }
    }

    /// Ends `test`, which was sent or is too old.
    pub fn end_test(&self, bucket: &BucketName, receiver: &str, test: &TestEvent) {
        let place = (bucket.clone(), receiver.to_owned());
        let mut tests = self.0.tests.lock();
        if tests.get(&place) == Some(test) {
            tests.remove(&place);
        }
    }

    /// Forgets the tests of `bucket` that are for none of `receivers`.
    pub fn keep_tests(&self, bucket: &BucketName, receivers: &HashSet<String>) {
        self.0.tests.lock().retain(|(of, receiver), _| of != bucket || receivers.contains(receiver));
    }

    /// The buckets that rang since the last time.
    pub fn take(&self) -> HashSet<BucketName> {
        std::mem::take(&mut *self.0.rung.lock())
    }

    /// Waits for it to ring, at most `limit`.
    pub async fn wait(&self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.0.wake.notified()).await;
    }
}

impl fmt::Debug for EventBell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBell").field("rung", &self.0.rung.lock().len()).finish()
    }
}

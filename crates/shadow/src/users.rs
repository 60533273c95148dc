//! Requests of users that are under way: what the background yields to.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;
use umbra_core::ObjectKey;
use umbra_meta::Partition;

/// How long after its end a request still counts: somebody who sends one after the other is there all the time.
const LINGERS: Duration = Duration::from_millis(250);

type Key = (Partition, ObjectKey);

/// Requests to buckets with an origin. Those to others never come here.
#[derive(Debug, Default)]
pub(crate) struct Users(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    under_way: usize,
    last_end: Option<Instant>,
    /// How many requests each key has.
    keys: HashMap<Key, usize>,
}

/// A request under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct UserGuard {
    users: Arc<Users>,
    key: Option<Key>,
}

impl Users {
    /// A request begins, to a key if it is about one.
    pub(crate) fn enter(self: &Arc<Self>, partition: Partition, key: Option<&ObjectKey>) -> UserGuard {
        let key = key.map(|key| (partition, key.clone()));
        let mut state = self.0.lock();
        state.under_way += 1;
        if let Some(key) = &key {
            *state.keys.entry(key.clone()).or_default() += 1;
        }
        UserGuard { users: self.clone(), key }
    }

    /// How many there are; one, if the last one has just gone.
    pub(crate) fn active(&self) -> usize {
        let state = self.0.lock();
        let lingers = state.last_end.is_some_and(|end| end.elapsed() < LINGERS);
        state.under_way.max(usize::from(lingers))
    }

    /// Whether somebody waits for `key`.
    pub(crate) fn want(&self, partition: Partition, key: &ObjectKey) -> bool {
        self.0.lock().keys.contains_key(&(partition, key.clone()))
    }
}

impl Drop for UserGuard {
    fn drop(&mut self) {
        let mut state = self.users.0.lock();
        state.under_way -= 1;
        state.last_end = Some(Instant::now());
        if let Some(key) = self.key.take()
            && let Entry::Occupied(mut count) = state.keys.entry(key)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use umbra_core::ObjectKey;
    use umbra_meta::Partition;

    use super::Users;

    #[tokio::test(start_paused = true)]
    async fn requests_count_until_a_moment_after_their_end() {
        let users = Arc::new(Users::default());
        let key = ObjectKey::parse("k").unwrap();
        assert_eq!((users.active(), users.want(Partition(1), &key)), (0, false));
        let first = users.enter(Partition(1), Some(&key));
        let second = users.enter(Partition(1), Some(&key));
        assert_eq!((users.active(), users.want(Partition(1), &key), users.want(Partition(2), &key)), (2, true, false));
        drop(first);
        assert_eq!((users.active(), users.want(Partition(1), &key)), (1, true));
        drop(second);
        assert_eq!((users.active(), users.want(Partition(1), &key)), (1, false));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(users.active(), 0);
        assert!(users.0.lock().keys.is_empty());
    }
}

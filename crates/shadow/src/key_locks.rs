//! One lock per key: writes to one key reach the origin in the order in which they are applied here.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use umbra_core::ObjectKey;
use umbra_meta::Partition;

type Key = (Partition, ObjectKey);
type Lock = tokio::sync::Mutex<()>;

/// Locks by bucket and key, kept only while somebody holds or waits for them.
#[derive(Debug, Default)]
pub(crate) struct KeyLocks(Mutex<HashMap<Key, Weak<Lock>>>);

/// A held lock. Waiters are served in the order in which they came.
pub(crate) struct KeyGuard<'a> {
    locks: &'a KeyLocks,
    key: Key,
    guard: Option<OwnedMutexGuard<()>>,
}

impl KeyLocks {
    /// Waits for the lock of `key`.
    pub(crate) async fn lock(&self, partition: Partition, key: &ObjectKey) -> KeyGuard<'_> {
        let key = (partition, key.clone());
        let lock = {
            let mut locks = self.0.lock();
            locks.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
                let lock = Arc::new(Lock::default());
                locks.insert(key.clone(), Arc::downgrade(&lock));
                lock
            })
        };
        KeyGuard { locks: self, key, guard: Some(lock.lock_owned().await) }
    }
}

impl Drop for KeyGuard<'_> {
    fn drop(&mut self) {
        self.guard = None;
        let mut locks = self.locks.0.lock();
        if locks.get(&self.key).is_some_and(|lock| lock.strong_count() == 0) {
            locks.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use umbra_core::ObjectKey;
    use umbra_meta::Partition;

    use super::KeyLocks;

    #[tokio::test]
    async fn one_holder_at_a_time_and_nothing_left_behind() {
        let locks = Arc::new(KeyLocks::default());
        let inside = Arc::new(AtomicU32::new(0));
        let tasks = (0..50).map(|n| {
            let (locks, inside) = (locks.clone(), inside.clone());
            tokio::spawn(async move {
                let key = ObjectKey::parse(if n % 2 == 0 { "even" } else { "odd" }).unwrap();
                let _guard = locks.lock(Partition(n % 2 + 1), &key).await;
                let slot = if n % 2 == 0 { 1 } else { 1 << 16 };
                assert_eq!(inside.fetch_add(slot, Ordering::SeqCst) & (slot * 0xffff), 0);
                tokio::task::yield_now().await;
                inside.fetch_sub(slot, Ordering::SeqCst);
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert!(locks.0.lock().is_empty());
    }
}

//! Which blobs are being read, so that a delete waits for the last reader.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::Result;

/// The first pause before a delete that was left to the last reader is tried again; doubled each time.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// How often it is tried.
const ATTEMPTS: u32 = 10;

/// Blobs that are being read or freed, by what an engine tells them apart with.
#[derive(Debug)]
pub(crate) struct Pins<K>(Mutex<HashMap<K, Pin>>);

#[derive(Debug, Default)]
struct Pin {
    readers: usize,
    /// It is deleted: no new reader is let in, and it is freed when the last one has left.
    doomed: bool,
}

impl<K> Default for Pins<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Pins<K> {
    /// Lets a reader in; `false` if the blob is deleted.
    pub(crate) fn enter(&self, blob: K) -> bool {
        let mut pins = self.0.lock();
        let pin = pins.entry(blob).or_default();
        pin.readers += usize::from(!pin.doomed);
        !pin.doomed
    }

    /// Lets a reader out. `true` if the caller must now free the blob and then call [`Pins::forget`].
    pub(crate) fn leave(&self, blob: K) -> bool {
        let mut pins = self.0.lock();
        let Entry::Occupied(mut pin) = pins.entry(blob) else { return false };
        pin.get_mut().readers -= 1;
        let is_last = pin.get().readers == 0;
        if is_last && !pin.get().doomed {
            pin.remove();
            return false;
        }
        is_last
    }

    /// Shuts the blob to new readers. `true` if the caller must free it and then call [`Pins::forget`]; otherwise somebody else will.
    pub(crate) fn doom(&self, blob: K) -> bool {
        match self.0.lock().entry(blob) {
            Entry::Vacant(vacant) => {
                vacant.insert(Pin { readers: 0, doomed: true });
                true
            }
            Entry::Occupied(mut pin) => {
                pin.get_mut().doomed = true;
                false
            }
        }
    }

    /// Ends what [`Pins::doom`] or [`Pins::leave`] asked for.
    pub(crate) fn forget(&self, blob: K) {
        self.0.lock().remove(&blob);
    }
}

/// Deletes what was left to the last reader, patiently: nobody else will.
pub(crate) async fn delete_late<F: Future<Output = Result<()>>>(delete: impl Fn() -> F) {
    let mut pause = PAUSE_FIRST;
    for attempt in 1..=ATTEMPTS {
        match delete().await {
            Ok(()) => return,
            Err(error) if attempt == ATTEMPTS => tracing::warn!(%error, "a blob is not deleted after its last reader, and stays"),
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause *= 2;
    }
}

/// Runs `work` beside everything else. Without a runtime, at the very end of a process, it is not done.
pub(crate) fn in_background(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(work);
    }
}

#[cfg(test)]
mod tests {
    use super::Pins;

    const BLOB: u32 = 7;

    #[test]
    fn the_last_reader_frees_what_was_deleted() {
        let pins = Pins::default();
        assert!(pins.enter(BLOB) && pins.enter(BLOB));
        assert!(!pins.doom(BLOB), "two readers are in");
        assert!(!pins.enter(BLOB), "deleted");
        assert!(!pins.leave(BLOB), "one is left");
        assert!(pins.leave(BLOB));
        pins.forget(BLOB);
        assert!(pins.0.lock().is_empty());
    }

    #[test]
    fn a_blob_nobody_reads_is_freed_by_one_who_deletes() {
        let pins = Pins::default();
        assert!(pins.enter(BLOB));
        assert!(!pins.leave(BLOB), "nobody deleted it");
        assert!(pins.doom(BLOB));
        assert!(!pins.doom(BLOB), "the other one does it");
        assert!(!pins.enter(BLOB));
        pins.forget(BLOB);
        assert!(pins.0.lock().is_empty());
    }
}

//! Which regions take bytes now: what is remembered of those that did not, and a look before a body is taken that could be stored by one only.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use umbra_blob::{BlobStore, Error};
use umbra_core::Region;

/// For this long a region that answered is taken to answer still.
const UP_FOR: Duration = Duration::from_secs(2);
/// For this long one that did not is not asked again.
const DOWN_FOR: Duration = Duration::from_secs(3);
/// So often that is doubled for one that answers and does not take what it is given all the same.
const DOUBLINGS_MAX: u32 = 4;
/// How long a region may take to answer whether it is there.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// What is known of the regions.
#[derive(Debug)]
pub(super) struct Health {
    regions: BTreeMap<Region, Known>,
}

#[derive(Debug, Default)]
struct Known {
    last: parking_lot::Mutex<Option<(Instant, bool)>>,
    /// How often it did not take what it was given, as often as it was tried again, since it last did.
    failures: AtomicU32,
    /// Held while it is asked.
    asking: Mutex<()>,
}

impl Health {
    pub(super) fn new(regions: impl IntoIterator<Item = Region>) -> Self {
        Self { regions: regions.into_iter().map(|region| (region, Known::default())).collect() }
    }

    /// Whether `region` is to be tried: nothing is known against it, or it answers again.
    pub(super) async fn may_take(&self, region: &Region, store: &dyn BlobStore) -> bool {
        match self.last(region) {
            None | Some((_, true)) => true,
            Some((at, false)) if at.elapsed() < self.down_for(region) => false,
            Some(_) => self.ask(region, store).await,
        }
    }

    /// Whether `region` answers, as far as that can be told before it is given anything.
    pub(super) async fn answers(&self, region: &Region, store: &dyn BlobStore) -> bool {
        match self.last(region) {
            Some((at, is_up)) if at.elapsed() < if is_up { UP_FOR } else { self.down_for(region) } => is_up,
            _ => self.ask(region, store).await,
        }
    }

    /// Notes how storing something in `region` ended.
    pub(super) fn note<T>(&self, region: &Region, outcome: &Result<T, Error>) {
        if outcome.is_ok() {
            self.set(region, true);
            if let Some(known) = self.regions.get(region) {
                known.failures.store(0, Ordering::Relaxed);
            }
        }
        self.note_failure(region, outcome);
    }

    /// Notes that `region` did not take something. That it did says nothing yet: an engine may be given it later.
    pub(super) fn note_failure<T>(&self, region: &Region, outcome: &Result<T, Error>) {
        let has_failed = matches!(outcome, Err(Error::Io { .. } | Error::Full(_))) && self.set(region, false);
        if let Some(known) = self.regions.get(region).filter(|_| has_failed) {
            known.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn down_for(&self, region: &Region) -> Duration {
        let failures = self.regions.get(region).map_or(0, |known| known.failures.load(Ordering::Relaxed));
        DOWN_FOR * (1 << failures.saturating_sub(1).min(DOUBLINGS_MAX))
    }

    /// Asks `region`, once for all who want to know.
    async fn ask(&self, region: &Region, store: &dyn BlobStore) -> bool {
        let Some(known) = self.regions.get(region) else { return true };
        let began = Instant::now();
        let _asking = known.asking.lock().await;
        if let Some((_, is_up)) = self.last(region).filter(|(at, _)| *at > began) {
            return is_up;
        }
        let is_up = matches!(timeout(ANSWER_MAX, store.answers()).await, Ok(Ok(())));
        self.set(region, is_up);
        is_up
    }

    fn last(&self, region: &Region) -> Option<(Instant, bool)> {
        *self.regions.get(region)?.last.lock()
    }

    /// Tells whether it was up and is not any more.
    fn set(&self, region: &Region, is_up: bool) -> bool {
        let Some(known) = self.regions.get(region) else { return false };
        let before = known.last.lock().replace((Instant::now(), is_up));
        let has_failed = before.is_none_or(|(_, was_up)| was_up) && !is_up;
        if has_failed {
            tracing::warn!(%region, "a region does not take contents; they go to another one where they may");
        } else if before.is_some_and(|(_, was_up)| !was_up) && is_up {
            tracing::info!(%region, "a region takes contents again");
        }
        has_failed
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;
    use umbra_blob::MemoryBlobStore;

    use super::*;

    fn refused() -> Result<(), Error> {
        Err(Error::Full("it may not be written to".to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn who_answers_and_takes_nothing_is_tried_less_and_less_often() {
        let region = Region::parse("fra").unwrap();
        let (health, store) = (Health::new([region.clone()]), MemoryBlobStore::new());
        assert!(health.may_take(&region, &store).await);
        for secs in [3, 6, 12, 24, 48, 48] {
            // All that are under way fail at once.
            (0..5).for_each(|_| health.note(&region, &refused()));
            advance(Duration::from_millis(secs * 1000 - 1)).await;
            assert!(!health.may_take(&region, &store).await, "{secs}");
            advance(Duration::from_millis(1)).await;
            assert!(health.may_take(&region, &store).await, "{secs}");
        }
        health.note(&region, &Ok(()));
        health.note(&region, &refused());
        advance(DOWN_FOR).await;
        assert!(health.may_take(&region, &store).await, "it took something meanwhile");
    }
}

//! The workers: what every node does for its reads to count, and what the one that leads does with the counts.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};
use umbra_blob::Error;

use crate::placement::PlacedBlobStore;

/// The shortest pause between two looks.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// The pause between two pages of copies, and the longest between two passes through all of them.
const PAGE_PAUSE: Duration = Duration::from_secs(1);
const PASS_PAUSE_MAX: Duration = Duration::from_secs(3600);

/// Has a node's reads count, at every node.
#[derive(Debug)]
pub struct HomesCounter {
    store: PlacedBlobStore,
    stop: Stop,
}

/// Has homes follow those who read, and drops what nobody reads, at the node that leads.
#[derive(Debug)]
pub struct Homes {
    store: PlacedBlobStore,
    stop: Stop,
}

#[derive(Debug, Default)]
struct Stop {
    stopping: AtomicBool,
    wake: Notify,
}

impl Stop {
    fn is_asked(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn ask(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.wake.notify_waiters();
    }

    /// Waits, unless asked to stop.
    async fn pause(&self, pause: Duration) {
        let woken = self.wake.notified();
        if !self.is_asked() {
            let _stopped_or_over = timeout(pause, woken).await;
        }
    }
}

impl HomesCounter {
    /// The worker of this node.
    pub fn new(store: PlacedBlobStore) -> Self {
        Self { store, stop: Stop::default() }
    }

    /// Works until [`HomesCounter::stop`].
    pub async fn run(&self) {
        let shared = &self.store.shared;
        let mut failures = Failures::new("reads of this node do not count for homes for now");
        while shared.counter.is_on() && !self.stop.is_asked() {
            failures.note(shared.claim().await);
            // Soon enough that what is claimed is counted for all of the next window.
            self.stop.pause((shared.demand.window / 4).max(PAUSE_MIN)).await;
        }
    }

    /// Asks [`HomesCounter::run`] to return.
    pub fn stop(&self) {
        self.stop.ask();
    }
}

impl Homes {
    /// The worker of a node that may come to lead.
    pub fn new(store: PlacedBlobStore) -> Self {
        Self { store, stop: Stop::default() }
    }

    /// Works until [`Homes::stop`].
    pub async fn run(&self) {
        futures::join!(self.follow(), self.sweep());
    }

    /// Asks [`Homes::run`] to return.
    pub fn stop(&self) {
        self.stop.ask();
    }

    /// Looks once in each window, in its second half: all nodes have told what they read in the one before.
    async fn follow(&self) {
        let shared = &self.store.shared;
        let (mut failures, mut last) = (Failures::new("some homes do not follow their readers for now"), 0);
        while shared.counter.is_on() && !self.stop.is_asked() {
            let now = shared.clock.now();
            let half = shared.demand.window / 2;
            let (window, is_late) = (shared.demand.window_of(now), shared.demand.window_of(now.plus(half)));
            if window != last && is_late != window {
                last = window;
                failures.note(self.store.follow_demand().await.map(drop));
            }
            self.stop.pause((shared.demand.window / 8).clamp(PAUSE_MIN, Duration::from_secs(60))).await;
        }
    }

    /// Passes through all copies again and again.
    async fn sweep(&self) {
        let (mut failures, mut after) = (Failures::new("copies that are not read stay for now"), None);
        let limit = self.store.shared.demand.copy_idle;
        let between = if limit.is_zero() { PASS_PAUSE_MAX } else { (limit / 8).clamp(PAGE_PAUSE, PASS_PAUSE_MAX) };
        while !self.stop.is_asked() {
            let looked = self.store.drop_idle_copies(after.clone()).await;
            let pause = match &looked {
                Ok(None) => between,
                _ => PAGE_PAUSE,
            };
            if let Ok(next) = &looked {
                after.clone_from(next);
            }
            failures.note(looked.map(drop));
            self.stop.pause(pause).await;
        }
    }
}

/// Tells of the first failure in a row, and of its end.
struct Failures {
    what: &'static str,
    is_failing: bool,
}

impl Failures {
    const fn new(what: &'static str) -> Self {
        Self { what, is_failing: false }
    }

    fn note(&mut self, outcome: Result<(), Error>) {
        match &outcome {
            Ok(()) if self.is_failing => tracing::info!("no longer so: {}", self.what),
            Err(error) if !self.is_failing => {
                tracing::warn!(%error, cause = std::error::Error::source(error), "{}; trying again", self.what);
            }
            _ => {}
        }
        self.is_failing = outcome.is_err();
    }
}

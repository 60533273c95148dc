//! Delivers events to web hooks.
//!
//! # Delivery
//! Events wait in rows of their bucket, in order for each receiver ([`umbra_store::event`]). Each receiver of each bucket has a queue: what
//! waits in it is posted oldest first, a few at a time, and a row goes once its receiver has answered 2xx. So every event is delivered at least
//! once, and again where only the answer was lost; an event is not overtaken by a later one of its receiver.
//!
//! # Failures
//! A receiver that fails is tried again, later each time, and holds up no other. What is older than a day is dropped, and the oldest of what a
//! bucket has more than [`WAITING_MAX`] of; both are counted. Events of a receiver that is no longer set are dropped without a word.
//!
//! # Restarts
//! The rows are all there is. At the start every bucket that tells anybody of anything is looked at.

mod filter;
mod hooks;
mod metrics;
mod payload;
mod queue;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use umbra_client::{ClientSettings, EndpointGuard, GuardPolicy, Poster};
use umbra_core::{BucketName, Clock, Error, ErrorKind, Result, Timestamp};
use umbra_meta::MetaStore;
use umbra_store::{Catalog, EventBell};

pub(crate) use self::filter::Filter;
pub use hooks::WebHooks;

use self::metrics::Metrics;

/// Events of one bucket that wait at most.
const WAITING_MAX: i64 = 100_000;
/// How long an event waits at most.
const AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a receiver may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Receivers that are posted to at a time.
const AT_ONCE: usize = 32;
/// The first wait after a failure; it doubles up to the last.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_LAST: Duration = Duration::from_secs(300);
/// The longest sleep.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// Buckets asked for at once.
const PAGE: usize = 256;

/// What a [`EventDelivery`] is made of.
#[derive(Debug)]
pub struct EventDeliveryParts {
    /// Where events wait.
    pub meta: Arc<dyn MetaStore>,
    /// The buckets.
    pub catalog: Arc<Catalog>,
    /// Rings when there are events.
    pub bell: EventBell,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The web hooks of the operator's.
    pub hooks: WebHooks,
    /// The region this server says it is in.
    pub region: String,
    /// Where web hooks of users may point.
    pub policy: GuardPolicy,
}

/// The worker that delivers events.
pub struct EventDelivery {
    shared: Arc<Shared>,
    bell: EventBell,
    stop: CancellationToken,
}

struct Shared {
    meta: Arc<dyn MetaStore>,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    hooks: WebHooks,
    region: String,
    /// To where users say.
    guarded: Poster,
    /// To where the operator says.
    trusted: Poster,
    metrics: Metrics,
}

/// A receiver of a bucket.
type Queue = (BucketName, String);

/// How the queues stand.
#[derive(Default)]
struct Queues {
    /// Those that are to be looked at, and when.
    due: HashMap<Queue, Timestamp>,
    /// Those that are being worked on, and whether they rang meanwhile.
    running: HashMap<Queue, bool>,
    /// How often each failed in a row.
    failures: HashMap<Queue, u32>,
}

impl EventDelivery {
    /// Puts a worker together.
    pub fn new(parts: EventDeliveryParts) -> Result<Self> {
        let EventDeliveryParts { meta, catalog, bell, clock, hooks, region, policy } = parts;
        let settings = ClientSettings { response_timeout: ANSWER_TIMEOUT, ..ClientSettings::default() };
        let everywhere = ["0.0.0.0/0", "::/0"].map(|network| network.parse().expect("it is a network"));
        let anywhere = GuardPolicy { allow: everywhere.to_vec(), allow_loopback: true };
        let poster = |policy| {
            Poster::new(EndpointGuard::new(policy), settings.clone())
                .map_err(|error| Error::internal("web hooks cannot be called").because(error))
        };
        let (guarded, trusted) = (poster(policy)?, poster(anywhere)?);
        let shared = Shared { meta, catalog, clock, hooks, region, guarded, trusted, metrics: Metrics::default() };
        Ok(Self { shared: Arc::new(shared), bell, stop: CancellationToken::new() })
    }

    /// Adds what it counts to `registry`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.shared.metrics.register(registry);
    }

    /// Makes [`EventDelivery::run`] return after what is being posted.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Delivers until [`EventDelivery::stop`].
    pub async fn run(&self) {
        let (mut queues, mut tasks) = (Queues::default(), JoinSet::new());
        let mut is_known = false;
        while !self.stop.is_cancelled() {
            if !is_known {
                is_known = self.look_at_all().await;
            }
            for bucket in self.bell.take() {
                self.note(&mut queues, bucket).await;
            }
            let now = self.shared.clock.now();
            let mut due: Vec<_> = queues.due.iter().filter(|(_, at)| **at <= now).map(|(queue, _)| queue.clone()).collect();
            due.truncate(AT_ONCE.saturating_sub(tasks.len()));
            for queue in due {
                queues.due.remove(&queue);
                queues.running.insert(queue.clone(), false);
                let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
                tasks.spawn(async move {
                    let outcome = shared.deliver(&queue, &stop).await;
                    (queue, outcome)
                });
            }
            let wait = if is_known { queues.wait(now, tasks.len() >= AT_ONCE) } else { BACKOFF_FIRST };
            tokio::select! {
                () = self.stop.cancelled() => {}
                Some(ended) = tasks.join_next() => {
                    if let Ok((queue, outcome)) = ended {
                        self.settle(&mut queues, queue, outcome);
                    }
                }
                () = self.bell.wait(wait) => {}
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Has every bucket looked at that tells anybody of anything. Tells whether they could be listed.
    async fn look_at_all(&self) -> bool {
        let mut after: Option<String> = None;
        loop {
            match self.shared.catalog.buckets(None, after.as_deref(), PAGE).await {
                Ok(page) => {
                    page.iter().filter(|bucket| bucket.settings.extras.tells()).for_each(|bucket| self.bell.ring(&bucket.name));
                    match page.last() {
                        Some(last) if page.len() == PAGE => after = Some(last.name.to_string()),
                        _ => return true,
                    }
                }
                Err(error) => {
                    tracing::warn!(?error, "events cannot be delivered yet; trying again");
                    return false;
                }
            }
        }
    }

    /// Notes that a bucket has something to tell. What waits for receivers that it does not have any more goes.
    async fn note(&self, queues: &mut Queues, bucket: BucketName) {
        let now = self.shared.clock.now();
        let Ok(found) = self.shared.catalog.bucket(&bucket).await else { return };
        let receivers: HashSet<String> = self.shared.receivers(&found).collect();
        if let Err(error) = self.shared.drop_others(&found, &receivers).await {
            tracing::warn!(%bucket, ?error, "events for receivers that are no longer set stay behind");
        }
        for receiver in receivers {
            let queue = (bucket.clone(), receiver);
            match queues.running.get_mut(&queue) {
                Some(rang) => *rang = true,
                // One that failed keeps its time.
                None => _ = queues.due.entry(queue).or_insert(now),
            }
        }
    }

    fn settle(&self, queues: &mut Queues, queue: Queue, outcome: Result<()>) {
        let (now, rang) = (self.shared.clock.now(), queues.running.remove(&queue).unwrap_or(false));
        match outcome {
            Ok(()) => {
                if queues.failures.remove(&queue).is_some() {
                    tracing::info!(bucket = %queue.0, receiver = queue.1, "a receiver of events answers again");
                }
                if rang {
                    queues.due.insert(queue, now);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_) | ErrorKind::Cancelled) => {}
            Err(error) => {
                let failures = queues.failures.entry(queue.clone()).or_default();
                if *failures == 0 {
                    tracing::warn!(bucket = %queue.0, receiver = queue.1, ?error, "a receiver of events fails; trying again");
                }
                *failures = failures.saturating_add(1);
                let wait = BACKOFF_FIRST.saturating_mul(1 << (*failures - 1).min(16)).min(BACKOFF_LAST);
                queues.due.insert(queue, now.plus(wait));
            }
        }
    }
}

impl Queues {
    /// How long nothing is due.
    fn wait(&self, now: Timestamp, is_full: bool) -> Duration {
        let next = self.due.values().min().filter(|_| !is_full);
        let millis = next.map_or(i64::MAX, |at| at.as_millis().saturating_sub(now.as_millis()));
        Duration::from_millis(u64::try_from(millis).unwrap_or(0)).min(SLEEP_MAX)
    }
}

impl fmt::Debug for EventDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventDelivery").field("bell", &self.bell).finish_non_exhaustive()
    }
}

//! Delivers events to web hooks.
//!
//! # Delivery
//! Events wait in rows of their bucket, in order for each receiver ([`umbra_store::event`]). Each receiver of each bucket has a queue: what
//! waits in it is posted oldest first, a few at a time, and a row goes once its receiver has answered 2xx. So every event is delivered at least
//! once, and again where only the answer was lost; an event is not overtaken by a later one of its receiver.
//!
//! # Turns
//! Queues take turns of a few posts each, the longest due first, and an organization has the fewer at a time the fewer places are free: receivers
//! that are slow to answer slow down those of their own organization.
//!
//! # Failures
//! A receiver that fails is tried again, later each time, and holds up no other. What is older than a day is dropped, and where a bucket has more
//! than [`WAITING_MAX`], the oldest of whoever is furthest behind; both are counted, and both happen whether or not there is a web hook to call.
//! Events of a receiver that is no longer set are dropped without a word.
//!
//! # Restarts
//! The rows are all there is, but for the test that a receiver is sent when it is set: a restart forgets it. At the start, and now and then, every
//! bucket that tells anybody of anything is looked at: other processes may have written events, and ended before they said so.

mod filter;
mod hooks;
mod metrics;
mod payload;
mod queue;
mod queues;
mod waiting;

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use umbra_client::{ClientSettings, EndpointGuard, GuardPolicy, Poster};
use umbra_core::{BucketName, Clock, Error, ErrorKind, Result};
use umbra_meta::MetaStore;
use umbra_store::{Catalog, EventBell};

pub(crate) use self::filter::Filter;
pub use hooks::WebHooks;

use self::{
    metrics::Metrics,
    queue::Turn,
    queues::{Queue, Queues},
};
use crate::backoff;

/// Events of one bucket that wait at most.
const WAITING_MAX: u64 = 100_000;
/// How long an event waits at most, in milliseconds.
const AGE_MAX: u64 = 24 * 60 * 60 * 1000;
/// How long a receiver may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Receivers that are posted to at a time.
const AT_ONCE: usize = 64;
/// Receivers of one organization's that are posted to at a time.
const AT_ONCE_PER_ORGANIZATION: usize = 8;
/// How often every bucket is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(300);
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
    bell: EventBell,
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
        let shared = Shared { meta, catalog, clock, hooks, region, guarded, trusted, metrics: Metrics::default(), bell: bell.clone() };
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
        let (mut is_known, mut looked) = (false, Instant::now());
        while !self.stop.is_cancelled() {
            if !is_known || looked.elapsed() > LOOK_EVERY {
                (is_known, looked) = (self.look_at_all().await, Instant::now());
            }
            for bucket in self.bell.take() {
                self.note(&mut queues, bucket).await;
            }
            let now = self.shared.clock.now();
            for queue in queues.begin(now) {
                let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
                tasks.spawn(async move {
                    let outcome = shared.deliver(&queue, &stop).await;
                    (queue, outcome)
                });
            }
            let wait = if is_known { queues.wait(now) } else { backoff::FIRST };
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
        if let Err(error) = self.shared.waiting(&found).drop_others(&receivers).await {
            tracing::warn!(%bucket, ?error, "events for receivers that are no longer set stay behind");
        }
        queues.keep(&bucket, &receivers);
        self.bell.keep_tests(&bucket, &receivers);
        for receiver in receivers {
            queues.rang(Queue { bucket: bucket.clone(), receiver, organization: found.organization.clone() }, now);
        }
    }

    fn settle(&self, queues: &mut Queues, queue: Queue, outcome: Result<Turn>) {
        let (now, rang) = (self.shared.clock.now(), queues.end(&queue));
        match outcome {
            Ok(turn) => {
                if queues.failures.remove(&queue).is_some() {
                    tracing::info!(bucket = %queue.bucket, receiver = queue.receiver, "a receiver of events answers again");
                }
                if rang || turn == Turn::Over {
                    queues.put_off(queue, now);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_) | ErrorKind::Cancelled) => {
                queues.failures.remove(&queue);
                if let Some(test) = self.bell.test(&queue.bucket, &queue.receiver) {
                    self.bell.end_test(&queue.bucket, &queue.receiver, &test);
                }
            }
            Err(error) => {
                let failures = queues.failures.entry(queue.clone()).or_default();
                if *failures == 0 {
                    tracing::warn!(bucket = %queue.bucket, receiver = queue.receiver, ?error, "a receiver of events fails; trying again");
                }
                *failures = failures.saturating_add(1);
                let wait = backoff::after(*failures);
                queues.put_off(queue, now.plus(wait));
            }
        }
    }
}

impl fmt::Debug for EventDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventDelivery").field("bell", &self.bell).finish_non_exhaustive()
    }
}

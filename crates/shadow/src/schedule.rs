//! Hydrations that were ordered: a queue for each bucket, served in turn, a few at a time.
//!
//! An order changes nothing that a reader would see but what a read would change too: it goes through the same transfer. It has a row until it
//! is carried out, so that a restart forgets none (`kept.rs`). A copy that failed for good is remembered for a while, so that whoever waits
//! for it learns of it.

mod kept;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use umbra_core::{BucketName, Error, ErrorKind, ObjectInfo, ObjectKey, ReadSource, RequestContext, Result, Timestamp};
use umbra_meta::Partition;
use umbra_store::{Bucket, GetOptions, Objects};

pub(crate) use self::kept::generation_of;
use crate::Shadow;

/// Orders that are queued or carried out at most, over all buckets.
const ORDERS_MAX: usize = 16_384;
/// Orders carried out at once.
const COPIES_AT_ONCE: usize = 8;
/// How long an order waits for its place in the queue, when that is full, before its client is told to slow down.
const PLACE_WITHIN: Duration = Duration::from_secs(20);
/// How often an order is tried whose origin cannot answer.
const ATTEMPTS_MAX: u32 = 4;
/// The pause behind the first try; each next is twice as long.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// For how long a failure is remembered: Tigris's client looks three times, at least five seconds apart.
const FAILURE_KEPT_MS: i64 = 120_000;
/// Failures remembered at most; past it the oldest is forgotten.
const FAILURES_MAX: usize = 16_384;

/// A key of a bucket, in one generation: what was ordered of an earlier shadow says nothing of this one.
type Place = (Partition, u64, ObjectKey);

fn place_of(bucket: &Bucket, key: &ObjectKey) -> Place {
    (bucket.partition, bucket.settings.generation, key.clone())
}

/// What was ordered, and what became of it.
#[derive(Debug)]
pub(crate) struct Schedule {
    state: Mutex<State>,
    places: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    /// The buckets with orders, the one whose turn it is first.
    turns: VecDeque<Partition>,
    queues: HashMap<Partition, VecDeque<Order>>,
    /// Every order that is queued or being carried out.
    pending: HashSet<Place>,
    failures: HashMap<Place, (Error, Timestamp)>,
    failed_in_order: VecDeque<(Place, Timestamp)>,
    runners: usize,
}

/// One object to hydrate.
#[derive(Debug)]
struct Order {
    cx: RequestContext,
    bucket: BucketName,
    partition: Partition,
    generation: u64,
    key: ObjectKey,
    _place: OwnedSemaphorePermit,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { state: Mutex::default(), places: Arc::new(Semaphore::new(ORDERS_MAX)) }
    }
}

impl Schedule {
    /// Drops the orders of a bucket and what is remembered of it.
    pub(crate) fn forget(&self, partition: Partition) {
        let mut state = self.state.lock();
        let dropped = state.queues.remove(&partition).unwrap_or_default();
        state.turns.retain(|turn| *turn != partition);
        for order in dropped {
            state.pending.remove(&(partition, order.generation, order.key));
        }
        state.failures.retain(|(of, ..), _| *of != partition);
    }

    /// Why the last ordered copy of `key` failed, if that was lately.
    fn failure(&self, place: &Place, now: Timestamp) -> Option<Error> {
        let state = self.state.lock();
        let (error, at) = state.failures.get(place)?;
        (now.as_millis() - at.as_millis() < FAILURE_KEPT_MS).then(|| error.clone())
    }
}

impl State {
    /// Queues `order`, and says whether one more runner is wanted.
    fn add(&mut self, order: Order) -> bool {
        let queue = self.queues.entry(order.partition).or_default();
        if queue.is_empty() {
            self.turns.push_back(order.partition);
        }
        queue.push_back(order);
        let wanted = self.runners < COPIES_AT_ONCE;
        self.runners += usize::from(wanted);
        wanted
    }

    /// The next order: the oldest of the bucket whose turn it is.
    fn next(&mut self) -> Option<Order> {
        let partition = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&partition)?;
        let order = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&partition);
        } else {
            self.turns.push_back(partition);
        }
        order
    }

    fn fail(&mut self, place: Place, error: Error, now: Timestamp) {
        self.failures.insert(place.clone(), (error, now));
        self.failed_in_order.push_back((place, now));
        while let Some((place, at)) = self.failed_in_order.front() {
            let is_old = now.as_millis() - at.as_millis() >= FAILURE_KEPT_MS;
            if !is_old && self.failed_in_order.len() <= FAILURES_MAX {
                break;
            }
            // A newer failure of the same key has an entry of its own.
            if self.failures.get(place).is_some_and(|(_, failed)| failed == at) {
                self.failures.remove(place);
            }
            self.failed_in_order.pop_front();
        }
    }
}

impl Shadow {
    /// Tells what is known of an object, as [`Objects::head`] does, and orders its hydration when it is cold.
    ///
    /// Returns before anything is copied. Ordering again what is ordered changes nothing. Waits only while the queue is full, and fails as
    /// [`ErrorKind::Throttled`] when it stays so.
    pub async fn head_and_schedule(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        options: GetOptions,
    ) -> Result<ObjectInfo> {
        self.0.schedule.state.lock().failures.remove(&place_of(bucket, key));
        let info = self.head(cx, bucket, key, options).await?;
        if info.source == ReadSource::Origin {
            self.schedule(cx, bucket, key).await?;
        }
        Ok(info)
    }

    /// The failure of an ordered copy of `key`, for a HEAD that would else say for ever that the key is cold.
    pub(crate) fn refuse_failed_order(&self, bucket: &Bucket, key: &ObjectKey) -> Result<()> {
        match self.0.schedule.failure(&place_of(bucket, key), self.0.clock.now()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    async fn schedule(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey) -> Result<()> {
        let schedule = &self.0.schedule;
        if schedule.state.lock().pending.contains(&place_of(bucket, key)) {
            return Ok(());
        }
        let place = tokio::time::timeout(PLACE_WITHIN, schedule.places.clone().acquire_owned()).await;
        let place = place.map_err(|_| Error::new(ErrorKind::Throttled, "too many copies are waiting to be made; please try again"))?;
        self.keep_order(bucket, key).await?;
        self.enqueue(cx, bucket, key, place.expect("the places are never closed"));
        Ok(())
    }

    /// Queues an order that is kept.
    fn enqueue(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, place: OwnedSemaphorePermit) {
        let order = Order {
            cx: cx.clone(),
            bucket: bucket.name.clone(),
            partition: bucket.partition,
            generation: bucket.settings.generation,
            key: key.clone(),
            _place: place,
        };
        let mut state = self.0.schedule.state.lock();
        if state.pending.insert(place_of(bucket, key)) && state.add(order) {
            let shadow = self.clone();
            self.0.tasks.spawn(async move { shadow.carry_out_orders().await });
        }
    }

    /// Carries orders out until there are none.
    async fn carry_out_orders(&self) {
        while let Some(order) = self.next_order() {
            let (shadow, place) = (self.clone(), (order.partition, order.generation, order.key.clone()));
            // A task of its own, so that a panic ends one order and not the runner.
            let outcome = self.0.tasks.spawn(async move { shadow.carry_out(&order).await }).await;
            let outcome = outcome.unwrap_or_else(|error| Err(Error::internal("a hydration was cut short").because(error)));
            if outcome.is_ok() || !self.0.stopping.is_cancelled() {
                // Before the key may be ordered again: that order has a row of its own.
                self.forget_order(&place).await;
            }
            let mut state = self.0.schedule.state.lock();
            state.pending.remove(&place);
            // That there is no such object anywhere the next HEAD finds out itself, and whether it is still so.
            if let Err(error) = outcome
                && !matches!(error.kind(), ErrorKind::NotFound(_))
            {
                tracing::warn!(?error, key = %place.1, "an ordered hydration failed");
                state.fail(place, error, self.0.clock.now());
            }
        }
    }

    /// The next order for a runner; one that gets none ends.
    fn next_order(&self) -> Option<Order> {
        let mut state = self.0.schedule.state.lock();
        let order = if self.0.stopping.is_cancelled() { None } else { state.next() };
        state.runners -= usize::from(order.is_none());
        order
    }

    async fn carry_out(&self, order: &Order) -> Result<()> {
        let (mut attempt, mut delay) = (1, RETRY_DELAY);
        loop {
            let outcome = self.hydrate_ordered(order).await;
            if attempt == ATTEMPTS_MAX || !outcome.as_ref().is_err_and(|error| error.kind().is_retryable()) {
                return outcome;
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep(delay) => (attempt, delay) = (attempt + 1, delay * 2),
                () = self.0.stopping.cancelled() => return outcome,
            }
        }
    }

    /// Brings the object here, unless the bucket or its shadow is another by now.
    async fn hydrate_ordered(&self, order: &Order) -> Result<()> {
        let bucket = match self.0.catalog.bucket(&order.bucket).await {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => return Ok(()),
            found => found?,
        };
        if bucket.partition != order.partition || bucket.settings.generation != order.generation {
            return Ok(());
        }
        match self.origin(&bucket)? {
            Some(origin) => self.hydrate_now(&order.cx, &bucket, &order.key, &origin).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;
    use umbra_core::{BucketName, Error, ErrorKind, ObjectKey, RequestContext, Timestamp};
    use umbra_meta::Partition;

    use super::{COPIES_AT_ONCE, FAILURE_KEPT_MS, FAILURES_MAX, Order, Schedule, State};

    fn order(places: &Arc<Semaphore>, partition: u64, key: &str) -> Order {
        Order {
            cx: RequestContext::default(),
            bucket: BucketName::parse("bucket").unwrap(),
            partition: Partition(partition),
            generation: 1,
            key: ObjectKey::parse(key).unwrap(),
            _place: places.clone().try_acquire_owned().unwrap(),
        }
    }

    fn place(key: &str) -> super::Place {
        (Partition(1), 1, ObjectKey::parse(key).unwrap())
    }

    #[test]
    fn buckets_take_turns_and_keys_keep_their_order() {
        let places = Arc::new(Semaphore::new(100));
        let mut state = State::default();
        let wanted = ["a1", "a2", "a3", "a4"].map(|key| state.add(order(&places, 1, key)));
        assert_eq!(wanted, [true; 4]);
        for key in ["b1", "b2"] {
            state.add(order(&places, 2, key));
        }
        let mut served = Vec::new();
        while let Some(order) = state.next() {
            served.push(order.key.to_string());
        }
        assert_eq!(served, ["a1", "b1", "a2", "b2", "a3", "a4"]);
        assert_eq!((state.queues.len(), state.turns.len(), places.available_permits()), (0, 0, 100));
    }

    #[test]
    fn no_more_runners_than_copies_at_once() {
        let places = Arc::new(Semaphore::new(100));
        let mut state = State::default();
        let wanted = (0..2 * COPIES_AT_ONCE).filter(|key| state.add(order(&places, 1, &key.to_string()))).count();
        assert_eq!(wanted, COPIES_AT_ONCE);
    }

    #[test]
    fn failures_are_remembered_for_a_while_and_not_without_bound() {
        let schedule = Schedule::default();
        let failed = || Error::new(ErrorKind::OriginRefused, "no");
        let at = Timestamp::from_millis;
        schedule.state.lock().fail(place("a"), failed(), at(1000));
        assert!(schedule.failure(&place("a"), at(1000 + FAILURE_KEPT_MS - 1)).is_some());
        assert!(schedule.failure(&place("a"), at(1000 + FAILURE_KEPT_MS)).is_none());
        // Failed again meanwhile: the older entry must not take the newer with it.
        schedule.state.lock().fail(place("a"), failed(), at(2000));
        schedule.state.lock().fail(place("b"), failed(), at(1000 + FAILURE_KEPT_MS));
        assert!(schedule.failure(&place("a"), at(1000 + FAILURE_KEPT_MS)).is_some());
        for n in 0..=FAILURES_MAX {
            schedule.state.lock().fail(place(&n.to_string()), failed(), at(3000 + FAILURE_KEPT_MS));
        }
        let state = schedule.state.lock();
        assert!(state.failures.len() <= FAILURES_MAX && state.failed_in_order.len() <= FAILURES_MAX);
    }
}

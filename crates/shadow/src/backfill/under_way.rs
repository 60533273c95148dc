//! The objects of a backfill that are under way, in the order in which they were begun.

use std::{
    collections::VecDeque,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use umbra_core::{ObjectKey, Result};

use super::{
    STEP,
    flight::{Flight, Landed},
    pace::{Pace, PacedOrigin},
    source::{Source, Wanted},
};
use crate::jobs::JobContext;

/// Longer, once told to stop, so that what is about to land is counted. Shorter than the runner's patience.
const LAST_STEP: Duration = Duration::from_millis(1500);
/// Objects that may land in one step.
const LANDINGS_MAX: usize = 256;
/// How many may be begun behind one that is not settled: a large one must not keep the others waiting, and memory is bounded.
const BEGUN_MAX: usize = 8192;

/// What was begun. The cursor cannot pass what is not settled.
#[derive(Default)]
pub(super) struct UnderWay {
    /// Tasks of their own, so that none holds anything while this one waits for something else.
    flights: JoinSet<Landed>,
    begun: VecDeque<Begun>,
    next_number: u64,
}

/// An object that was begun.
struct Begun {
    number: u64,
    key: ObjectKey,
    size: u64,
    state: State,
    /// How often it was put off.
    put_off: u32,
    received: Arc<AtomicU64>,
    /// How much of what it received has been counted.
    counted: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Flying,
    /// To be begun once more.
    PutOff,
    /// It is done, and one before it is not.
    Settled,
}

/// Why nothing more can be begun.
pub(super) enum Stalled {
    /// There is nothing left in this phase.
    Nothing,
    /// The origin is still being listed, perhaps held up.
    Listing(Option<String>),
    /// Somebody has to do something about this.
    Stuck(String),
}

impl UnderWay {
    /// Whether everything that was begun is settled.
    pub(super) fn is_empty(&self) -> bool {
        self.begun.is_empty()
    }

    /// Begins objects until `width` are flying; tells why it cannot, when it cannot. `egress` bytes came that the job does not count yet.
    pub(super) async fn begin(
        &mut self,
        job: &JobContext,
        source: &mut Source,
        pace: &Arc<Pace>,
        width: usize,
        egress: u64,
    ) -> Result<Option<Stalled>> {
        while let Some(at) = self.begun.iter().position(|begun| begun.state == State::PutOff).filter(|_| self.flights.len() < width) {
            self.launch(job, pace, at);
        }
        while self.flights.len() < width && self.begun.len() < BEGUN_MAX {
            let (key, size) = match source.next(job).await? {
                Wanted::Object(key, size) => (key, size),
                Wanted::Listing(trouble) => return Ok(Some(Stalled::Listing(trouble))),
                Wanted::Later => return Ok(None),
                Wanted::Stuck(reason) => return Ok(Some(Stalled::Stuck(reason))),
                Wanted::Nothing => return Ok(Some(Stalled::Nothing)),
            };
            if let Some(reason) = self.over_budget(job, size, egress) {
                source.put_back((key, size));
                return Ok(Some(Stalled::Stuck(reason)));
            }
            let number = self.next_number;
            self.next_number += 1;
            self.begun.push_back(Begun { number, key, size, state: State::PutOff, put_off: 0, received: Arc::default(), counted: 0 });
            self.launch(job, pace, self.begun.len() - 1);
        }
        Ok(None)
    }

    fn launch(&mut self, job: &JobContext, pace: &Arc<Pace>, at: usize) {
        let begun = &mut self.begun[at];
        begun.state = State::Flying;
        let origin = PacedOrigin {
            inner: job.origin.clone(),
            pace: pace.clone(),
            received: begun.received.clone(),
            users: job.shadow.0.users.clone(),
            partition: job.bucket.partition,
        };
        let flight = Flight {
            number: begun.number,
            shadow: job.shadow.clone(),
            cx: job.cx.clone(),
            bucket: job.bucket.clone(),
            run: job.job.run,
            key: begun.key.clone(),
            put_off: begun.put_off,
            size: begun.size,
            origin: Arc::new(origin),
        };
        self.flights.spawn(flight.fly());
    }

    /// Why an object of `size` bytes is too much for the egress budget.
    fn over_budget(&self, job: &JobContext, size: u64, egress: u64) -> Option<String> {
        let budget = job.job.options.egress_bytes?;
        let promised =
            self.begun.iter().filter(|begun| begun.state != State::Settled).map(|begun| begun.size.saturating_sub(begun.counted));
        let spent = job.job.counts.bytes_egress.saturating_add(egress).saturating_add(promised.sum());
        let left = budget.saturating_sub(spent);
        (size > left).then(|| {
            format!("the egress budget of {budget} bytes has {left} left, and the next object has {size}; resume with a larger one")
        })
    }

    /// Waits a little for objects to land.
    pub(super) async fn land(&mut self, job: &JobContext, resting_until: Option<Instant>) -> Vec<Landed> {
        let mut landed = Vec::new();
        let begun = Instant::now();
        if self.flights.is_empty() {
            if let Some(until) = resting_until {
                tokio::select! {
                    biased;
                    () = sleep_until(until.min(begun + STEP)) => {}
                    () = job.stop.cancelled() => {}
                }
            }
            return landed;
        }
        while landed.len() < LANDINGS_MAX {
            let is_last = job.stop.is_cancelled();
            // What has landed is taken at once, so that others can be begun; what lands in the same moment comes along.
            let until = match (is_last, landed.is_empty()) {
                (true, _) => begun + LAST_STEP,
                (false, true) => begun + STEP,
                (false, false) => Instant::now(),
            };
            tokio::select! {
                biased;
                flight = self.flights.join_next() => match flight {
                    Some(Ok(flight)) => landed.push(flight),
                    Some(Err(error)) => resume_unwind(error.into_panic()),
                    None => break,
                },
                () = sleep_until(until) => {
                    if is_last || !job.stop.is_cancelled() {
                        break;
                    }
                }
            }
        }
        landed
    }

    /// Bytes that came since this was last asked.
    pub(super) fn count_received(&mut self) -> u64 {
        let mut sum = 0;
        for begun in self.begun.iter_mut().filter(|begun| begun.state != State::Settled) {
            let received = begun.received.load(Ordering::Relaxed);
            sum += received - begun.counted;
            begun.counted = received;
        }
        sum
    }

    /// An object is settled.
    pub(super) fn settle(&mut self, number: u64) {
        if let Some(begun) = self.find(number) {
            begun.state = State::Settled;
        }
    }

    /// An object is to be begun once more.
    pub(super) fn put_off(&mut self, number: u64) {
        if let Some(begun) = self.find(number) {
            begun.state = State::PutOff;
            begun.put_off += 1;
        }
    }

    fn find(&mut self, number: u64) -> Option<&mut Begun> {
        let at = self.begun.binary_search_by_key(&number, |begun| begun.number).ok()?;
        self.begun.get_mut(at)
    }

    /// Tells `source` up to where everything is settled.
    pub(super) fn pass_settled(&mut self, source: &mut Source) {
        while let Some(first) = self.begun.pop_front_if(|first| first.state == State::Settled) {
            source.settled(&first.key);
        }
    }
}

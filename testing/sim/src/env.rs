//! What a seed decides: chance, time, what goes wrong, and the moment of a crash.

use std::{future, num::NonZeroU64, time::Duration};

use futures::FutureExt;
use parking_lot::Mutex;
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};
use tokio::{sync::Notify, time::Instant};
use umbra_core::{Clock, Random, Timestamp};

use crate::mutation::Mutation;

/// Milliseconds between two lives of our side.
const REST_MS: i64 = 1_500;
/// The size of the largest object.
const BIG_MAX: usize = 6_000_000;
/// The size of the smallest that is brought in several pieces.
pub(crate) const BIG_MIN: usize = 1_200_000;
/// The usual size of a piece.
const PIECE_BYTES: NonZeroU64 = NonZeroU64::new(1024 * 1024).expect("it is not 0");
/// The most that arrives at once, in pieces of the usual size.
const CHUNK_MAX: usize = 200_000;
/// The largest object of a world whose objects are cut into many small pieces, at least, and into how many it is cut, at least.
const CUT_SMALL_MIN: usize = 6_000;
const CUT_SMALL_PIECES: u64 = 64;
/// When every world begins.
const BEGIN_MS: i64 = 1_700_000_000_000;

/// What kind of world a seed makes.
#[derive(Clone, Debug)]
pub(crate) struct Dials {
    pub(crate) keys: Vec<String>,
    /// Clients at once.
    pub(crate) clients: usize,
    /// Operations of each client in each life.
    pub(crate) operations: usize,
    /// How often our side crashes or stops.
    pub(crate) crashes: usize,
    pub(crate) write_through: bool,
    /// Whether shadows are attached, changed and detached meanwhile.
    pub(crate) admin: bool,
    /// Whether the origin's owner changes objects there, while writes do not go through.
    pub(crate) owner: bool,
    /// Reads only, so that every whole object leaves the origin once.
    pub(crate) reads_only: bool,
    pub(crate) size_max: usize,
    /// Of what the owner puts at the origin. What clients send is small: past 128 KiB it is hashed by other threads, whose pace no seed decides.
    pub(crate) origin_size_max: usize,
    /// Whether some of the origin's objects span several pieces.
    pub(crate) big: bool,
    /// The size of a piece. The first request for an object is for sixteen: with small ones, objects reach far behind that.
    pub(crate) piece_bytes: NonZeroU64,
    /// Whether a reader brings only what it asks for.
    pub(crate) touched: bool,
    /// Whether copies are held against the origin after a while.
    pub(crate) revalidates: bool,
    /// Whether jobs are started, paused and ended meanwhile.
    pub(crate) jobs: bool,
    /// Whether everything is copied back to the origin in the end.
    pub(crate) rolls_back: bool,
    /// Whether the bucket keeps versions, at times.
    pub(crate) versions: bool,
    pub(crate) origin_faults: f64,
    pub(crate) store_faults: f64,
    pub(crate) slow: f64,
    pub(crate) hides_length: bool,
    pub(crate) ignores_range: bool,
    /// Whether some reads go to a process first that does not keep the bucket.
    pub(crate) beside: bool,
    pub(crate) mutation: Option<Mutation>,
}

impl Dials {
    /// The kind of world that `seed` makes.
    pub(crate) fn of(seed: u64, mutation: Option<Mutation>) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x5eed_d1a1);
        let all = ["a", "b/1", "b/2", "b0", "c/x/1", "d"];
        let count = rng.random_range(2..=all.len());
        let rates = [0.0, 0.02, 0.1];
        let write_through = rng.random_bool(0.5);
        let sizes = [8, 100, 6_000, 40_000];
        let size_max = sizes[rng.random_range(0..sizes.len())];
        // What is lost of copies and pieces is looked for where they are, and where nobody writes so that they had to go.
        let (no_copies, no_pieces) = (mutation == Some(Mutation::RefuseCopies), mutation == Some(Mutation::ForgetPieces));
        let big = rng.random_bool(0.12) || no_pieces;
        let keeps_versions = mutation.is_some_and(Mutation::is_of_versions);
        Self {
            keys: all[..count].iter().map(|key| (*key).to_owned()).collect(),
            clients: rng.random_range(2..=5),
            operations: rng.random_range(8..=20),
            crashes: rng.random_range(0..=3),
            write_through,
            admin: rng.random_bool(0.3),
            owner: rng.random_bool(0.35),
            reads_only: rng.random_bool(0.15) || no_copies || no_pieces,
            size_max,
            origin_size_max: if big { BIG_MAX } else { size_max },
            big,
            touched: rng.random_bool(0.2) || no_pieces,
            revalidates: rng.random_bool(0.15),
            jobs: rng.random_bool(0.35),
            rolls_back: rng.random_bool(0.3),
            origin_faults: rates[rng.random_range(0..3)],
            store_faults: rates[rng.random_range(0..3)] / 2.0,
            slow: [0.05, 0.4][rng.random_range(0..2)],
            hides_length: rng.random_bool(0.1),
            ignores_range: rng.random_bool(0.1),
            versions: rng.random_bool(0.4) || keeps_versions,
            piece_bytes: piece_bytes(&mut rng, if big { BIG_MAX } else { size_max }),
            beside: rng.random_bool(0.3) || mutation == Some(Mutation::HideIntentsBeside),
            mutation,
        }
    }

    /// Whether the largest objects reach behind the first request for them.
    pub(crate) const fn is_cut_small(&self) -> bool {
        self.piece_bytes.get() < PIECE_BYTES.get()
    }

    /// The most that arrives at once of an object of `size` bytes.
    pub(crate) fn chunk_max(&self, size: usize) -> usize {
        let most = if size > 100_000 { CHUNK_MAX } else { 1 + size / 2 };
        most.min(usize::try_from(CHUNK_MAX as u64 * self.piece_bytes.get() / PIECE_BYTES).expect("it is no more than it was"))
    }
}

/// The size of pieces in a world whose objects have up to `size_max` bytes.
fn piece_bytes(rng: &mut StdRng, size_max: usize) -> NonZeroU64 {
    if !rng.random_bool(0.2) || size_max < CUT_SMALL_MIN {
        return PIECE_BYTES;
    }
    NonZeroU64::new(size_max as u64 / CUT_SMALL_PIECES).unwrap_or(NonZeroU64::MIN)
}

struct State {
    rng: StdRng,
    tick: u64,
    steps: u64,
    crash_at: Option<u64>,
    healed: bool,
    base_ms: i64,
    life: Option<Instant>,
    /// When something was made to fail at our side.
    faults: Vec<u64>,
    /// When an answer of our store was lost.
    lost_answers: Vec<u64>,
    /// Until when the origin refuses our credentials.
    refused_until_ms: i64,
}

/// The world's chance and time, shared by everything in it.
pub(crate) struct Env {
    pub(crate) dials: Dials,
    state: Mutex<State>,
    crash: Notify,
}

impl Env {
    pub(crate) fn new(seed: u64, dials: Dials) -> Self {
        let state = State {
            rng: StdRng::seed_from_u64(seed),
            tick: 0,
            steps: 0,
            crash_at: None,
            healed: false,
            base_ms: BEGIN_MS,
            life: None,
            faults: Vec::new(),
            lost_answers: Vec::new(),
            refused_until_ms: 0,
        };
        Self { dials, state: Mutex::new(state), crash: Notify::new() }
    }

    /// The next number in the order of everything that happens.
    pub(crate) fn tick(&self) -> u64 {
        let mut state = self.state.lock();
        state.tick += 1;
        state.tick
    }

    pub(crate) fn chance(&self, probability: f64) -> bool {
        self.state.lock().rng.random_bool(probability)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&self, bound: usize) -> usize {
        self.state.lock().rng.random_range(0..bound)
    }

    pub(crate) fn pick<'a, T>(&self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// Whether something goes wrong that does so with `probability`.
    pub(crate) fn goes_wrong(&self, probability: f64) -> bool {
        !self.state.lock().healed && self.chance(probability)
    }

    /// Like [`Env::goes_wrong`], at our side: remembered, since it excuses a second transfer.
    pub(crate) fn our_fault(&self, probability: f64) -> bool {
        let wrong = self.goes_wrong(probability);
        if wrong {
            let tick = self.tick();
            self.state.lock().faults.push(tick);
        }
        wrong
    }

    /// Like [`Env::goes_wrong`], of the answer to a commit: what is there can be looked up, so it excuses little.
    pub(crate) fn loses_answer(&self, probability: f64) -> bool {
        let wrong = self.goes_wrong(probability);
        if wrong {
            let tick = self.tick();
            self.state.lock().lost_answers.push(tick);
        }
        wrong
    }

    pub(crate) fn faults(&self) -> Vec<u64> {
        self.state.lock().faults.clone()
    }

    pub(crate) fn lost_answers(&self) -> Vec<u64> {
        self.state.lock().lost_answers.clone()
    }

    /// From now on nothing goes wrong.
    pub(crate) fn heal(&self) {
        let mut state = self.state.lock();
        state.healed = true;
        state.refused_until_ms = 0;
    }

    /// From now on things go wrong again.
    pub(crate) fn resume(&self) {
        self.state.lock().healed = false;
    }

    /// Whether the origin refuses our credentials now; it begins to now and then.
    pub(crate) fn refuses(&self) -> bool {
        let now = self.now().as_millis();
        if self.goes_wrong(self.dials.origin_faults / 40.0) {
            self.state.lock().refused_until_ms = now + 300;
        }
        now < self.state.lock().refused_until_ms
    }

    /// Begins a life of our side, which ends after `steps` steps if any are given. Called within its runtime.
    pub(crate) fn begin_life(&self, steps: Option<u64>) {
        // A crash that came as the life before had just ended is not one of this.
        let _ = self.crash.notified().now_or_never();
        let mut state = self.state.lock();
        state.crash_at = steps.map(|steps| state.steps + steps);
        state.life = Some(Instant::now());
    }

    /// Ends a life; gives the tick at which it did. Called within its runtime.
    pub(crate) fn end_life(&self) -> u64 {
        let now = self.now().as_millis();
        let mut state = self.state.lock();
        state.base_ms = now + REST_MS;
        (state.life, state.crash_at) = (None, None);
        state.tick += 1;
        state.tick
    }

    /// Waits for the crash.
    pub(crate) async fn crashed(&self) {
        self.crash.notified().await;
    }

    /// A point at which our side may crash, others may run and time may pass.
    pub(crate) async fn step(&self) {
        let crashes = {
            let mut state = self.state.lock();
            state.steps += 1;
            state.crash_at.is_some_and(|at| state.steps >= at)
        };
        if crashes {
            self.crash.notify_one();
            future::pending::<()>().await;
        }
        if !self.chance(self.dials.slow) {
            return;
        }
        match self.below(10) {
            0..=4 => tokio::task::yield_now().await,
            5..=8 => tokio::time::sleep(Duration::from_millis(1 + self.below(8) as u64)).await,
            _ => tokio::time::sleep(Duration::from_millis(20 + self.below(800) as u64)).await,
        }
    }
}

impl Clock for Env {
    fn now(&self) -> Timestamp {
        let state = self.state.lock();
        let passed = state.life.map_or(0, |life| i64::try_from(life.elapsed().as_millis()).unwrap_or(i64::MAX));
        Timestamp::from_millis(state.base_ms + passed)
    }
}

impl Random for Env {
    fn fill(&self, bytes: &mut [u8]) {
        self.state.lock().rng.fill_bytes(bytes);
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Env").field("dials", &self.dials).finish_non_exhaustive()
    }
}

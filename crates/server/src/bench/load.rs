//! Load: as many requests as so many connections carry, one after the other on each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{
    connection::{CallError, Connection},
    peer::Peer,
    task::Task,
};
use crate::cli::{Failure, Outcome};

/// After so many errors nothing is learned from more of them.
const ERRORS_MAX: u64 = 100;

/// Where requests come from; nothing when there are no more.
pub(super) type Source = Arc<dyn Fn() -> Option<Task> + Send + Sync>;

/// When to stop, if the source does not run dry before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// After which no request is begun.
    pub(super) time: Option<Duration>,
    /// How many bytes of content are sent or read.
    pub(super) bytes: u64,
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// How long each good request took, in nanoseconds.
    pub(super) nanos: Vec<u64>,
    /// The content of good requests.
    pub(super) bytes: u64,
    /// From the first request to the last answer.
    pub(super) elapsed: Duration,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
}

impl Tally {
    fn good(&mut self, started: Instant, bytes: u64) {
        self.nanos.push(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
        self.bytes += bytes;
    }

    fn bad(&mut self, peer: &Peer, task: Option<&Task>, error: &CallError) {
        self.errors += 1;
        let what = task.map_or_else(String::new, |task| format!("{} {}: ", task.method(), task.path()));
        self.first_error.get_or_insert_with(|| format!("{}: {what}{error}", peer.name));
    }

    fn add(&mut self, other: Self) {
        self.nanos.extend(other.nanos);
        self.bytes += other.bytes;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

/// Opens connections.
pub(super) async fn connect(peer: &Peer, count: usize) -> Outcome<Vec<Connection>> {
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        connections.push(peer.connect().await.map_err(|error| Failure::new(peer.name.clone()).because(&error))?);
    }
    Ok(connections)
}

/// Makes requests over `connections` until `limits` or the end of `source`. What is begun is finished.
pub(super) async fn run(peer: &Arc<Peer>, connections: Vec<Connection>, limits: Limits, source: &Source) -> Tally {
    let started = Instant::now();
    let gate = Arc::new(Gate {
        deadline: limits.time.map(|time| started + time),
        bytes_max: limits.bytes,
        bytes: AtomicU64::new(0),
        errors: AtomicU64::new(0),
    });
    let mut workers = JoinSet::new();
    for connection in connections {
        workers.spawn(work(Arc::clone(peer), connection, Arc::clone(&gate), Arc::clone(source)));
    }
    let mut tally = Tally::default();
    while let Some(done) = workers.join_next().await {
        tally.add(done.expect("a worker neither panics nor is cancelled"));
    }
    tally.elapsed = started.elapsed();
    tally
}

/// Does everything that `source` gives, and fails with the first error.
pub(super) async fn finish(peer: &Arc<Peer>, connections: usize, source: &Source) -> Outcome {
    let connections = connect(peer, connections).await?;
    let tally = run(peer, connections, Limits { time: None, bytes: u64::MAX }, source).await;
    tally.first_error.map_or(Ok(()), |error| Err(Failure::new(error)))
}

/// What all workers go by.
struct Gate {
    deadline: Option<Instant>,
    bytes_max: u64,
    bytes: AtomicU64,
    errors: AtomicU64,
}

impl Gate {
    fn is_open(&self) -> bool {
        self.deadline.is_none_or(|deadline| Instant::now() < deadline)
            && self.bytes.load(Ordering::Relaxed) < self.bytes_max
            && self.errors.load(Ordering::Relaxed) < ERRORS_MAX
    }
}

async fn work(peer: Arc<Peer>, mut connection: Connection, gate: Arc<Gate>, source: Source) -> Tally {
    let mut tally = Tally::default();
    while gate.is_open() {
        let Some(task) = source() else { break };
        gate.bytes.fetch_add(task.bytes(), Ordering::Relaxed);
        let started = Instant::now();
        match peer.call(&mut connection, &task).await {
            Ok(_) => tally.good(started, task.bytes()),
            Err(error) => {
                gate.errors.fetch_add(1, Ordering::Relaxed);
                tally.bad(&peer, Some(&task), &error);
                match peer.connect().await {
                    Ok(fresh) => connection = fresh,
                    Err(error) => {
                        tally.bad(&peer, None, &error);
                        break;
                    }
                }
            }
        }
    }
    tally
}

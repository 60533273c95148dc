//! The one thread that writes.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use parking_lot::{Mutex, RwLock};
use rusqlite::{Connection, hooks::Wal};
use tokio::sync::{mpsc, oneshot};

use super::{
    SqliteSettings,
    checkpoint::{self, Mode},
    failure::{is_io, translate},
    group::{self, Revisions},
    schema::{Lock, Opened, PAGE_BYTES},
};
use crate::{Batch, Committed, Error, Result};

/// How long the writer lets the log grow before it runs the checkpoint that lets the log start over.
///
/// The background one does the work, but can never finish while a writer goes on appending: between two groups nothing is appended.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(500);
/// The same, in pages of the log: 64 MiB.
const CHECKPOINT_EVERY_PAGES: u64 = (64 << 20) / PAGE_BYTES as u64;

/// What the writer is asked to do.
enum Job {
    Commit(Pending),
    /// Empty the log file, when nobody reads it.
    Truncate,
}

/// A batch, and who waits for it.
struct Pending {
    batch: Batch,
    reply: oneshot::Sender<Result<Committed>>,
}

/// The way to the writing thread.
pub(super) struct Writer {
    queue: RwLock<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    commits: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the thread on a connection that nobody else writes with.
    pub(super) fn start(opened: Opened, settings: &SqliteSettings) -> Result<Self> {
        let (queue, jobs) = mpsc::channel(settings.queue_batches_max.max(1));
        let commits = Arc::new(AtomicU64::new(0));
        let mut conn = opened.conn;
        let log_pages = observe_log(&mut conn).map_err(|error| translate(&error))?;
        let committer = Committer {
            conn,
            lock: opened.lock,
            revisions: Revisions::from_bound(opened.revision_bound),
            group_batches_max: settings.group_batches_max.max(1),
            commits: Arc::clone(&commits),
            poison: None,
            checkpointed: (Instant::now(), 0),
            log_pages,
        };
        let thread = thread::Builder::new()
            .name("meta-writer".to_owned())
            .spawn(move || committer.run(jobs))
            .map_err(|error| Error::Unavailable(format!("start the metadata writer: {error}")))?;
        Ok(Self { queue: RwLock::new(Some(queue)), thread: Mutex::new(Some(thread)), commits })
    }

    /// Queues `batch` and waits for its answer. Once queued, it is committed whether or not anybody waits.
    pub(super) async fn commit(&self, batch: Batch) -> Result<Committed> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Pending { batch, reply })?;
        answer.await.unwrap_or_else(|_| Err(shut_down()))
    }

    fn enqueue(&self, pending: Pending) -> Result<()> {
        let queue = self.queue.read();
        let queue = queue.as_ref().ok_or_else(shut_down)?;
        match queue.try_send(Job::Commit(pending)) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(shut_down()),
            Err(mpsc::error::TrySendError::Full(job)) => {
                let queue = queue.clone();
                // A task of its own, since the caller may go away while the batch waits for a place.
                tokio::spawn(async move { queue.send(job).await.is_ok() });
                Ok(())
            }
        }
    }

    /// Asks for the log file to be emptied; when the writer is busy, it is not the time.
    pub(super) fn truncate_log(&self) {
        if let Some(queue) = &*self.queue.read() {
            // A full queue means commits under way: then the log is in use.
            queue.try_send(Job::Truncate).ok();
        }
    }

    /// How many groups were committed so far.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Takes no more batches, waits for those queued, and closes the file.
    pub(super) fn stop(&self) {
        self.queue.write().take();
        // Held while joining, so that a second caller waits for the same end.
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the metadata writer panicked");
        }
    }
}

fn shut_down() -> Error {
    Error::Unavailable("the metadata store is shut down".to_owned())
}

/// Keeps count of the pages in the log.
fn observe_log(conn: &mut Connection) -> rusqlite::Result<Arc<AtomicU64>> {
    let log_pages = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&log_pages);
    conn.wal_hook(Some(move |_: &mut Wal, pages: i32| {
        count.store(u64::from(pages.unsigned_abs()), Ordering::Relaxed);
        Ok(())
    }))?;
    Ok(log_pages)
}

/// What the thread owns.
struct Committer {
    conn: Connection,
    /// Released after the file is closed.
    lock: Lock,
    revisions: Revisions,
    group_batches_max: usize,
    commits: Arc<AtomicU64>,
    /// Why nothing may be committed any more.
    poison: Option<String>,
    /// When the last checkpoint ran, and how many pages the log had then.
    checkpointed: (Instant, u64),
    log_pages: Arc<AtomicU64>,
}

impl Committer {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut group = VecDeque::with_capacity(self.group_batches_max);
        while let Some(job) = jobs.blocking_recv() {
            let mut wants_truncate = self.gather(job, &mut group);
            while group.len() < self.group_batches_max
                && let Ok(job) = jobs.try_recv()
            {
                wants_truncate |= self.gather(job, &mut group);
            }
            if !group.is_empty() {
                self.commit(&mut group);
                self.checkpoint_when_due();
            }
            if wants_truncate {
                checkpoint::run(&self.conn, Mode::Truncate);
            }
        }
        checkpoint::run(&self.conn, Mode::Truncate);
        drop(self.conn);
        drop(self.lock);
    }

    /// Adds a batch to the group; answers whether the job was something else.
    fn gather(&self, job: Job, group: &mut VecDeque<Pending>) -> bool {
        match job {
            Job::Commit(pending) => {
                group.push_back(pending);
                false
            }
            Job::Truncate => true,
        }
    }

    /// Commits a group and answers everybody in it, leaving it empty.
    fn commit(&mut self, group: &mut VecDeque<Pending>) {
        if let Some(why) = &self.poison {
            return refuse(group.drain(..), || Error::Unavailable(why.clone()));
        }
        let result = group::commit(&self.conn, &mut self.revisions, group.iter().map(|pending| &pending.batch));
        self.commits.fetch_add(1, Ordering::Relaxed);
        match result {
            Ok(answers) => {
                for (pending, answer) in group.drain(..).zip(answers) {
                    // Nobody waits any more: that changes nothing.
                    pending.reply.send(answer).ok();
                }
            }
            Err(abandoned) if !abandoned.is_undone => self.poisoned_by(&abandoned.error, group),
            // One batch may be to blame, or be small enough to fit where all together do not.
            Err(abandoned) if group.len() > 1 && !is_io(&abandoned.error) => {
                for pending in group.drain(..).collect::<Vec<_>>() {
                    self.commit(&mut VecDeque::from([pending]));
                }
            }
            Err(abandoned) => refuse(group.drain(..), || translate(&abandoned.error)),
        }
    }

    fn poisoned_by(&mut self, error: &rusqlite::Error, group: &mut VecDeque<Pending>) {
        tracing::error!(%error, "a metadata commit failed and cannot be undone for certain; commits are refused until a restart");
        let why = format!("a commit failed half-way, a restart is needed: {error}");
        // The log may hold the commit, and a restart may find it there.
        refuse(group.drain(..), || Error::Unknown(why.clone()));
        self.poison = Some(why);
    }

    fn checkpoint_when_due(&mut self) {
        let pages = self.log_pages.load(Ordering::Relaxed);
        let (when, before) = self.checkpointed;
        // Fewer pages than before: the log started over.
        let grown = pages.checked_sub(before).unwrap_or(pages);
        if when.elapsed() >= CHECKPOINT_EVERY || grown >= CHECKPOINT_EVERY_PAGES {
            checkpoint::run(&self.conn, Mode::Passive);
            self.checkpointed = (Instant::now(), pages);
        }
    }
}

fn refuse(group: impl Iterator<Item = Pending>, error: impl Fn() -> Error) {
    for pending in group {
        pending.reply.send(Err(error())).ok();
    }
}

#[cfg(test)]
mod tests;

//! A region's store, in memory, that counts, goes away, and waits where a test wants it to.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use parking_lot::Mutex;
use tokio::sync::watch;
use umbra_blob::{BlobId, BlobStore, BlobWriter, Error, MemoryBlobStore, Result, StoredBlob};
use umbra_core::ByteRange;

/// A store of a region. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub(super) struct Engine {
    blobs: MemoryBlobStore,
    state: Arc<State>,
    is_ungated: bool,
    is_stepping: bool,
}

#[derive(Debug, Default)]
struct State {
    reads: AtomicUsize,
    created: AtomicUsize,
    puts: AtomicUsize,
    away: AtomicBool,
    breaks_off: AtomicBool,
    cuts: AtomicUsize,
    denials: AtomicUsize,
    /// Where blobs are damaged.
    rotten: Mutex<HashMap<BlobId, u64>>,
    opening: Gate,
    writing: Gate,
    finishing: Gate,
    putting: Gate,
    written: Mutex<Vec<BlobId>>,
    /// How large everything is that was ever here, which identifiers of real engines tell.
    sizes: Mutex<HashMap<BlobId, u64>>,
}

/// A place where operations wait while it is shut.
#[derive(Debug, Default)]
pub(super) struct Gate {
    is_shut: watch::Sender<bool>,
    reached: watch::Sender<bool>,
}

impl Gate {
    pub(super) fn shut(&self) {
        self.is_shut.send_replace(true);
    }

    pub(super) fn open(&self) {
        self.is_shut.send_replace(false);
    }

    /// Waits until somebody waits.
    pub(super) async fn reached(&self) {
        self.reached.subscribe().wait_for(|reached| *reached).await.unwrap();
    }

    async fn pass(&self) {
        let mut shut = self.is_shut.subscribe();
        if *shut.borrow_and_update() {
            self.reached.send_replace(true);
        }
        shut.wait_for(|shut| !shut).await.unwrap();
    }
}

impl Engine {
    pub(super) fn len(&self) -> usize {
        self.blobs.len()
    }

    /// How many reads of content there were.
    pub(super) fn reads(&self) -> usize {
        self.state.reads.load(SeqCst)
    }

    /// How many writers there were.
    pub(super) fn created(&self) -> usize {
        self.state.created.load(SeqCst)
    }

    /// How often it was given content that was in memory.
    pub(super) fn puts(&self) -> usize {
        self.state.puts.load(SeqCst)
    }

    pub(super) fn go_away(&self, away: bool) {
        self.state.away.store(away, SeqCst);
    }

    /// Has streams end with an error behind their first chunk.
    pub(super) fn break_off(&self, breaks_off: bool) {
        self.state.breaks_off.store(breaks_off, SeqCst);
    }

    /// Where reads wait.
    pub(super) fn opening(&self) -> &Gate {
        &self.state.opening
    }

    /// Where writers wait that are given more.
    pub(super) fn writing(&self) -> &Gate {
        &self.state.writing
    }

    /// Where writers wait that have everything.
    pub(super) fn finishing(&self) -> &Gate {
        &self.state.finishing
    }

    /// Where content that was in memory waits once it is here.
    pub(super) fn putting(&self) -> &Gate {
        &self.state.putting
    }

    /// The same store, by a way without gates.
    pub(super) fn ungated(&self) -> Self {
        Self { is_ungated: true, ..self.clone() }
    }

    /// The same store, whose every operation others may come in before and after.
    pub(super) fn stepping(&self) -> Self {
        Self { is_stepping: true, ..self.clone() }
    }

    /// Has the next `reads` be answered that there is nothing.
    pub(super) fn deny(&self, reads: usize) {
        self.state.denials.store(reads, SeqCst);
    }

    /// Damages the byte `at` of everything that is here now.
    pub(super) fn rot(&self, at: u64) {
        let known: Vec<BlobId> = self.state.sizes.lock().keys().cloned().collect();
        self.state.rotten.lock().extend(known.into_iter().map(|id| (id, at)));
    }

    /// Has whoever reads now find out that what he reads is gone.
    pub(super) fn cut_readers(&self) {
        self.state.cuts.fetch_add(1, SeqCst);
    }

    fn note(&self, stored: &StoredBlob) {
        self.state.sizes.lock().insert(stored.id.clone(), stored.size);
    }

    async fn step(&self) {
        if self.is_stepping {
            tokio::task::yield_now().await;
        }
    }

    /// Loses everything that was streamed in.
    pub(super) async fn lose_all(&self) {
        let written: Vec<BlobId> = self.state.written.lock().drain(..).collect();
        for id in written {
            self.blobs.delete(&id).await.unwrap();
        }
    }

    /// Loses everything but what was streamed in.
    pub(super) async fn lose_puts(&self) {
        let known: Vec<BlobId> = self.state.sizes.lock().keys().cloned().collect();
        for id in known {
            if !self.state.written.lock().contains(&id) {
                self.blobs.delete(&id).await.unwrap();
            }
        }
    }

    fn check(&self) -> Result<()> {
        if self.state.away.load(SeqCst) { Err(gone()) } else { Ok(()) }
    }
}

fn gone() -> Error {
    Error::Io { doing: "reach the engine", source: std::io::ErrorKind::ConnectionRefused.into() }
}

#[async_trait]
impl BlobStore for Engine {
    async fn put(&self, content: Vec<Bytes>) -> Result<StoredBlob> {
        self.state.puts.fetch_add(1, SeqCst);
        self.check()?;
        let stored = self.blobs.put(content).await.inspect(|stored| self.note(stored));
        self.state.putting.pass().await;
        stored
    }

    async fn create(&self) -> Result<Box<dyn BlobWriter>> {
        self.check()?;
        self.state.created.fetch_add(1, SeqCst);
        Ok(Box::new(Writer { engine: self.clone(), inner: self.blobs.create().await? }))
    }

    async fn read(&self, id: &BlobId, range: ByteRange) -> Result<BoxStream<'static, Result<Bytes>>> {
        if !self.is_ungated {
            self.state.opening.pass().await;
        }
        self.check()?;
        self.state.reads.fetch_add(1, SeqCst);
        if self.state.denials.fetch_update(SeqCst, SeqCst, |denials| denials.checked_sub(1)).is_ok() {
            return Err(Error::NotFound(id.clone()));
        }
        let rotten = self.state.rotten.lock().get(id).copied().filter(|at| range.start <= *at && *at < range.end);
        if let Some(at) = rotten {
            let (before, id) = (self.blobs.read(id, ByteRange::new(range.start, at)).await?, id.clone());
            return Ok(before
                .chain(futures::stream::once(async move {
                    // As long as an answer takes.
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                    Err(Error::Corrupt { id, why: "a block is rotten".to_owned() })
                }))
                .boxed());
        }
        let content = self.blobs.read(id, range).await?;
        if self.state.breaks_off.load(SeqCst) {
            return Ok(content.take(1).chain(futures::stream::once(async { Err(gone()) })).boxed());
        }
        self.step().await;
        // Readers take turns with everybody else.
        let (state, id, cuts) = (Arc::clone(&self.state), id.clone(), self.state.cuts.load(SeqCst));
        let turns = content.and_then(move |chunk| {
            let (state, id) = (Arc::clone(&state), id.clone());
            async move {
                tokio::task::yield_now().await;
                if state.cuts.load(SeqCst) == cuts { Ok(chunk) } else { Err(Error::NotFound(id)) }
            }
        });
        Ok(turns.boxed())
    }

    async fn answers(&self) -> Result<()> {
        self.check()
    }

    fn size_of(&self, id: &BlobId) -> Option<u64> {
        self.state.sizes.lock().get(id).copied()
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        self.step().await;
        self.check()?;
        self.blobs.delete(id).await?;
        self.step().await;
        Ok(())
    }
}

struct Writer {
    engine: Engine,
    inner: Box<dyn BlobWriter>,
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.engine.state.writing.pass().await;
        self.engine.check()?;
        self.inner.write(chunk).await
    }

    async fn finish(self: Box<Self>) -> Result<StoredBlob> {
        if !self.engine.is_ungated {
            self.engine.state.finishing.pass().await;
        }
        self.engine.check()?;
        let stored = self.inner.finish().await?;
        self.engine.note(&stored);
        self.engine.state.written.lock().push(stored.id.clone());
        Ok(stored)
    }
}

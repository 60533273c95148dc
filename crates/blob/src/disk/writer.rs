//! A blob that streams in.
//!
//! Chunks are gathered up to the stream buffer. A blob that ends within it becomes a record in a segment; one that outgrows it gets a
//! file of its own, to which one buffer is written on a blocking thread while the next is gathered: never more than two are in memory, chunks of up to a
//! quarter of one included.

use std::{mem, sync::Arc};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, spawn_blocking},
};

use super::{
    engine::{Engine, Unclaimed},
    file::in_background,
    large::LargeFile,
    segment::Packing,
};
use crate::{BlobWriter, Error, Result, StoredBlob};

/// Chunks shorter than this are copied together, lest the bookkeeping outweigh the bytes.
const CHUNK_BYTES_MIN: usize = 16 * 1024;

/// A blob that streams in.
pub(super) struct DiskWriter {
    engine: Arc<Engine>,
    gathered: Gathered,
    state: State,
}

enum State {
    /// Everything is in memory.
    Small,
    /// The file waits for the next buffer.
    Idle(Box<LargeFile>),
    /// A buffer is being written.
    Writing(JoinHandle<Result<Box<LargeFile>>>),
    /// A write failed.
    Failed,
}

/// Chunks that wait to be written.
#[derive(Default)]
struct Gathered {
    chunks: Vec<Bytes>,
    /// Short chunks, copied together; they come after `chunks`.
    short: BytesMut,
    len: u64,
}

impl DiskWriter {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, gathered: Gathered::default(), state: State::Small }
    }

    /// How much is gathered at most: the whole buffer while that decides where the blob lies, then less, so that with the chunk in the
    /// caller's hand no more than twice the buffer is in memory.
    fn buffer_bytes(&self) -> u64 {
        let whole = self.engine.settings.stream_buffer_bytes;
        if matches!(self.state, State::Small) { whole } else { whole / 4 * 3 }
    }

    /// Has what was gathered written, once what was handed over before it is.
    async fn hand_over(&mut self) -> Result<()> {
        let file = self.take_file().await?;
        let (engine, content) = (Arc::clone(&self.engine), self.gathered.take());
        self.state = State::Writing(spawn_blocking(move || {
            let mut file = file.map_or_else(|| LargeFile::create(engine).map(Box::new), Ok)?;
            file.append(&content)?;
            Ok(file)
        }));
        Ok(())
    }

    /// Takes the file out, when it is no longer written to; `None` if there is none yet. The state is then [`State::Failed`].
    async fn take_file(&mut self) -> Result<Option<Box<LargeFile>>> {
        if let State::Writing(writing) = &mut self.state {
            let outcome = writing.await;
            self.state = State::Failed;
            self.state = State::Idle(outcome.unwrap_or_else(|_| Err(stopped()))?);
        }
        match mem::replace(&mut self.state, State::Failed) {
            State::Small => Ok(None),
            State::Idle(file) => Ok(Some(file)),
            State::Writing(_) | State::Failed => {
                Err(Error::from_io("continue a blob")(std::io::Error::other("an earlier write of it failed")))
            }
        }
    }
}

#[async_trait]
impl BlobWriter for DiskWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        let limit = self.buffer_bytes();
        if self.gathered.len > 0 && self.gathered.len + chunk.len() as u64 > limit {
            self.hand_over().await?;
        }
        self.gathered.push(chunk);
        if self.gathered.len > limit || matches!(self.state, State::Failed) {
            self.hand_over().await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<StoredBlob> {
        let file = self.take_file().await?;
        let content = self.gathered.take();
        let Some(mut file) = file else { return put_record(&self.engine, content, Packing::Dense).await };
        let finished = spawn_blocking(move || {
            file.append(&content)?;
            file.finish()
        });
        Ok(finished.await.unwrap_or_else(|_| Err(stopped()))?.claim())
    }
}

impl Drop for DiskWriter {
    fn drop(&mut self) {
        // A file that is being written to is dropped by its task.
        if let State::Idle(file) = mem::replace(&mut self.state, State::Failed) {
            in_background(move || drop(file));
        }
    }
}

impl Gathered {
    fn push(&mut self, chunk: Bytes) {
        self.len += chunk.len() as u64;
        if chunk.len() < CHUNK_BYTES_MIN {
            self.short.extend_from_slice(&chunk);
        } else {
            self.flush_short();
            self.chunks.push(chunk);
        }
    }

    fn take(&mut self) -> Vec<Bytes> {
        self.flush_short();
        self.len = 0;
        mem::take(&mut self.chunks)
    }

    fn flush_short(&mut self) {
        if !self.short.is_empty() {
            self.chunks.push(self.short.split().freeze());
        }
    }
}

/// Stores `content` in a segment.
pub(super) async fn put_record(engine: &Arc<Engine>, content: Vec<Bytes>, packing: Packing) -> Result<StoredBlob> {
    let (done, durable) = oneshot::channel::<Result<Unclaimed>>();
    let engine = Arc::clone(engine);
    // Whoever writes leads the flush if nobody does, so that one hop to a blocking thread serves both.
    drop(spawn_blocking(move || engine.append(&content, packing, done)));
    Ok(durable.await.unwrap_or_else(|_| Err(stopped()))?.claim())
}

/// The blocking thread went away without an answer: the process is stopping.
pub(super) fn stopped() -> Error {
    Error::from_io("go on while the process stops")(std::io::ErrorKind::Interrupted.into())
}

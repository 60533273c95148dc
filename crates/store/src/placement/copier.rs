//! Keeps copies of blobs of other regions while they are read.
//!
//! A blob that is read whole is read once, for its reader and for the copy. Beside a range the whole is fetched. Each blob has one copy made
//! at a time, and there is a limit for all together: whoever finds it reached reads without one. A reader that goes away does not stop
//! the copy; a copy that fails does not disturb the reader.

use std::{collections::HashSet, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use umbra_blob::{BlobId, BlobStore, Error, Result, StoredBlob};
use umbra_core::ByteRange;

use super::{
    Content,
    index::{Coming, CopyIndex},
    metrics::PlacementMetrics,
};

/// Copies that are made at once. Each holds [`CHUNKS_MAX`] chunks and what a writer of this region's store holds.
const COPIES_MAX: usize = 32;
/// Chunks, of at most 256 KiB, that a copy may be ahead of its reader.
const CHUNKS_MAX: usize = 4;
/// How often it is tried to delete a copy that is not kept, and the first wait, which doubles.
const DELETES_MAX: u32 = 6;
const DELETE_PAUSE: Duration = Duration::from_millis(500);

/// Makes copies in this region.
pub(super) struct Copier {
    own: Arc<dyn BlobStore>,
    index: Arc<CopyIndex>,
    metrics: PlacementMetrics,
    /// Blobs whose copies are being made.
    under_way: Mutex<HashSet<BlobId>>,
    slots: Arc<Semaphore>,
}

/// The right to make a copy of a blob.
pub(super) struct Ticket {
    copier: Arc<Copier>,
    id: BlobId,
    _slot: OwnedSemaphorePermit,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.copier.under_way.lock().remove(&self.id);
    }
}

impl Copier {
    pub(super) fn new(own: Arc<dyn BlobStore>, index: Arc<CopyIndex>, metrics: PlacementMetrics) -> Self {
        Self { own, index, metrics, under_way: Mutex::default(), slots: Arc::new(Semaphore::new(COPIES_MAX)) }
    }

    /// Lets a copy of `id` be made, unless one is being made or there are too many.
    pub(super) fn admit(self: &Arc<Self>, id: &BlobId) -> Option<Ticket> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        let is_first = self.under_way.lock().insert(id.clone());
        is_first.then(|| Ticket { copier: Arc::clone(self), id: id.clone(), _slot: slot })
    }

    /// Whether no copy is being made.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.lock().is_empty()
    }
}

impl Ticket {
    /// Reads the blob that `home` calls `inner`, all its `size` bytes, and keeps a copy.
    pub(super) async fn read(self, home: Arc<dyn BlobStore>, inner: BlobId, size: u64) -> Result<Content> {
        let (answer, opened) = oneshot::channel();
        tokio::spawn(self.run(home, inner, size, Some(answer)));
        opened.await.unwrap_or_else(|_| Err(cut_short()))
    }

    /// Fetches the blob that `home` calls `inner`, all its `size` bytes, in the background.
    pub(super) fn copy(self, home: Arc<dyn BlobStore>, inner: BlobId, size: u64) {
        tokio::spawn(self.run(home, inner, size, None));
    }

    async fn run(self, home: Arc<dyn BlobStore>, inner: BlobId, size: u64, answer: Option<oneshot::Sender<Result<Content>>>) {
        // Before the blob is opened: see the module's head on deletes.
        let coming = self.copier.index.begin(&self.id).await;
        if coming.is_none() && answer.is_none() {
            return;
        }
        let content = home.read(&inner, ByteRange::new(0, size)).await.map(|content| self.counted(content));
        match (content, coming) {
            (Ok(content), Some(coming)) => {
                let reader = answer.and_then(|answer| {
                    let (reader, chunks) = mpsc::channel(CHUNKS_MAX);
                    answer.send(Ok(received(chunks, size))).is_ok().then_some(reader)
                });
                let stored = self.store(content, reader).await;
                self.keep(coming, stored).await;
            }
            (content, coming) => {
                if let Some(coming) = coming {
                    self.copier.index.abandon(&self.id, coming).await;
                }
                // Nobody may be there to hear it.
                let _gone = answer.map(|answer| answer.send(content));
            }
        }
    }

    fn counted(&self, content: Content) -> Content {
        let metrics = self.copier.metrics.clone();
        content.inspect(move |chunk| metrics.count_fetched(chunk.as_ref().map_or(0, Bytes::len))).boxed()
    }

    /// Stores `content` while its reader reads it. `None` where nothing is stored.
    async fn store(&self, mut content: Content, mut reader: Option<mpsc::Sender<Result<Bytes>>>) -> Option<StoredBlob> {
        let mut writer = self.copier.own.create().await.map_err(|error| note(&error)).ok();
        while let Some(chunk) = content.next().await {
            let chunk = match (chunk, &reader) {
                (Ok(chunk), _) => chunk,
                (Err(error), Some(reader)) => return reader.send(Err(error)).await.err().and(None),
                (Err(_), None) => return None,
            };
            let told = async { if let Some(reader) = &reader { reader.send(Ok(chunk.clone())).await.is_ok() } else { false } };
            let written = async {
                let writer = writer.as_mut()?;
                writer.write(chunk.clone()).await.map_err(|error| note(&error)).ok()
            };
            let (is_told, is_written) = futures::join!(told, written);
            reader = reader.filter(|_| is_told);
            writer = writer.filter(|_| is_written.is_some());
            if reader.is_none() && writer.is_none() {
                return None;
            }
        }
        // It has everything: it need not wait for the copy.
        drop(reader);
        writer?.finish().await.map_err(|error| note(&error)).ok()
    }

    async fn keep(&self, coming: Coming, stored: Option<StoredBlob>) {
        let Copier { own, index, metrics, .. } = &*self.copier;
        let Some(stored) = stored else { return index.abandon(&self.id, coming).await };
        match index.keep(&self.id, coming, stored.id.clone()).await {
            Ok(()) => metrics.count_copy(),
            Err(error) => {
                tracing::debug!(%error, "a copy of a blob of another region is not kept");
                // If the row says otherwise all the same, the copy is found lost and fetched again.
                delete(own.as_ref(), &stored.id).await;
                index.abandon(&self.id, coming).await;
            }
        }
    }
}

/// What a copy hands on to its reader. Ends early with an error if the copy does.
fn received(chunks: mpsc::Receiver<Result<Bytes>>, size: u64) -> Content {
    let next = |state: Option<(mpsc::Receiver<Result<Bytes>>, u64)>| async move {
        let (mut chunks, left) = state?;
        match chunks.recv().await {
            Some(Ok(chunk)) => {
                let left = left.saturating_sub(chunk.len() as u64);
                Some((Ok(chunk), Some((chunks, left))))
            }
            Some(Err(error)) => Some((Err(error), None)),
            None => (left > 0).then(|| (Err(cut_short()), None)),
        }
    };
    stream::unfold(Some((chunks, size)), next).boxed()
}

/// Deletes a copy that is not kept, however long that takes.
pub(super) async fn delete(own: &dyn BlobStore, blob: &BlobId) {
    let mut pause = DELETE_PAUSE;
    for _ in 1..DELETES_MAX {
        match own.delete(blob).await {
            Ok(()) => return,
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause *= 2;
    }
    if let Err(error) = own.delete(blob).await {
        tracing::warn!(%error, ?blob, "a copy that is not kept cannot be deleted; it takes space");
    }
}

fn note(error: &Error) {
    tracing::warn!(%error, cause = std::error::Error::source(error), "a copy of a blob of another region cannot be stored");
}

fn cut_short() -> Error {
    Error::Io { doing: "fetch a blob of another region", source: io::ErrorKind::Interrupted.into() }
}

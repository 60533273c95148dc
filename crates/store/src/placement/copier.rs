//! Keeps copies of blobs of other regions while they are read.
//!
//! A blob that is read whole is read once, for its reader and for the copy. Beside a range the whole is fetched. Each blob has one copy made
//! at a time, and there is a limit for all together: whoever finds it reached reads without one. A reader that goes away does not stop
//! the copy; a copy that fails does not disturb the reader.
//!
//! Once the row of the copy is there the bucket is asked whether it may be, for where bytes may be can be another by now (`subject.rs`). While it may
//! not its reader reads without one.
//!
//! Readers who find the copy of a small blob being made wait for it, so that many who ask at once cost the home one read.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::timeout,
};
use umbra_blob::{BlobId, BlobStore, Error, Result, StoredBlob};

use super::{
    index::{Begin, Coming, Copy, CopyIndex},
    metrics::PlacementMetrics,
    silence::{ANSWER_MAX, Silence, silent},
};

/// Copies that are made at once. Each holds [`CHUNKS_MAX`] chunks and what a writer of this region's store holds.
const COPIES_MAX: usize = 32;
/// Chunks, of at most 256 KiB, that a copy may be ahead of its reader.
const CHUNKS_MAX: usize = 4;
/// How many bytes copies that are waited for may be ahead of their readers, all together: a slow reader is not to hold up the others.
const AHEAD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Chunks are hardly ever smaller.
const CHUNK_BYTES_MIN: usize = 4096;
/// The largest blob whose copy is waited for, and for how long.
const WAITED_BYTES_MAX: u64 = 8 * 1024 * 1024;
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How often it is tried to delete a copy that is not kept, and the first wait, which doubles.
const DELETES_MAX: u32 = 6;
const DELETE_PAUSE: Duration = Duration::from_millis(500);

pub(super) type Content = BoxStream<'static, Result<Bytes>>;
/// Opens a whole blob where it is.
pub(super) type Open = BoxFuture<'static, Result<Content>>;

/// What a copy is made of.
pub(super) struct Source {
    pub(super) open: Open,
    /// Tells whether a copy may be kept. Asked once a row says that it is coming.
    pub(super) may_be_here: BoxFuture<'static, bool>,
}

/// Makes copies in this region.
pub(super) struct Copier {
    own: Arc<dyn BlobStore>,
    index: Arc<CopyIndex>,
    silence: Arc<Silence>,
    metrics: PlacementMetrics,
    /// Blobs whose copies are being made, and who waits for them: they hear that what they listen to is closed.
    under_way: Mutex<HashMap<BlobId, watch::Sender<()>>>,
    slots: Arc<Semaphore>,
    ahead: Arc<Semaphore>,
}

/// Whether a copy may be made.
pub(super) enum Admission {
    Ticket(Ticket),
    /// One is being made.
    UnderWay(Waiter),
    /// There are too many.
    Full,
}

/// Listens for the end of a copy.
pub(super) struct Waiter(watch::Receiver<()>);

/// The right to make a copy of a blob.
pub(super) struct Ticket {
    copier: Arc<Copier>,
    id: BlobId,
    size: u64,
    /// The copy that could not be read and that is to be replaced.
    lost: Option<Copy>,
    _slot: OwnedSemaphorePermit,
}

/// What a reader is answered whose blob may be copied meanwhile.
pub(super) enum Opened {
    Content(Result<Content>),
    /// It may be here by now.
    PerhapsHere,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.copier.under_way.lock().remove(&self.id);
    }
}

impl Waiter {
    /// Waits until the copy is there, or does not come, or has taken too long.
    pub(super) async fn wait(mut self) {
        // Nothing is ever sent.
        let _ended_or_late = timeout(WAIT_MAX, self.0.changed()).await;
    }
}

impl Copier {
    pub(super) fn new(own: Arc<dyn BlobStore>, index: Arc<CopyIndex>, silence: Arc<Silence>, metrics: PlacementMetrics) -> Self {
        let [slots, ahead] = [COPIES_MAX, AHEAD_BYTES_MAX].map(|permits| Arc::new(Semaphore::new(permits)));
        Self { own, index, silence, metrics, under_way: Mutex::default(), slots, ahead }
    }

    /// Lets a copy of `id`, of `size` bytes, be made, in the place of one that is `lost` if there is such. Not while one is being made, or there are
    /// too many.
    pub(super) fn admit(self: &Arc<Self>, id: &BlobId, size: u64, lost: Option<&Copy>) -> Admission {
        let mut under_way = self.under_way.lock();
        if let Some(copy) = under_way.get(id) {
            return if is_waited_for(size) { Admission::UnderWay(Waiter(copy.subscribe())) } else { Admission::Full };
        }
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { return Admission::Full };
        under_way.insert(id.clone(), watch::Sender::new(()));
        Admission::Ticket(Ticket { copier: Arc::clone(self), id: id.clone(), size, lost: lost.cloned(), _slot: slot })
    }

    /// Whether no copy is being made.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.lock().is_empty()
    }
}

impl Ticket {
    /// Reads the whole blob of `source`, and keeps a copy.
    pub(super) async fn read(self, source: Source) -> Opened {
        let (answer, opened) = oneshot::channel();
        tokio::spawn(self.run(source, answer));
        opened.await.unwrap_or_else(|_| Opened::Content(Err(cut_short())))
    }

    /// Fetches the whole blob in the background. Tells whether that is needless, as it may be here by now.
    pub(super) async fn copy(self, source: Source) -> bool {
        let is_waited_for = is_waited_for(self.size);
        let (begun, is_begun) = oneshot::channel();
        tokio::spawn(async move {
            match self.begin().await {
                Begin::Coming(coming) => {
                    drop(begun);
                    self.bring(source, coming, None).await;
                }
                Begin::There | Begin::Elsewhere => {
                    drop(self);
                    let _gone = begun.send(());
                }
                Begin::No => {}
            }
        });
        is_waited_for && is_begun.await.is_ok()
    }

    /// Says that the copy is coming; if another node makes it, waits for that.
    async fn begin(&self) -> Begin {
        // Before the blob is opened: see the module's head on deletes.
        let index = &self.copier.index;
        let again = match &self.lost {
            Some(lost) => index.begin_again(&self.id, lost).await,
            None => Ok(None),
        };
        let begin = match again {
            Ok(Some(coming)) => Begin::Coming(coming),
            Ok(None) => index.begin(&self.id).await,
            Err(_) => Begin::No,
        };
        match begin {
            Begin::Elsewhere if is_waited_for(self.size) => self.copier.index.wait(&self.id).await,
            Begin::Elsewhere => return Begin::No,
            _ => {}
        }
        begin
    }

    async fn run(self, source: Source, answer: oneshot::Sender<Opened>) {
        let opened = match self.begin().await {
            Begin::Coming(coming) => return self.bring(source, coming, Some(answer)).await,
            Begin::There | Begin::Elsewhere => Opened::PerhapsHere,
            Begin::No => Opened::Content(source.open.await.map(|content| self.counted(content))),
        };
        drop(self);
        // Nobody may be there to hear it.
        let _gone = answer.send(opened);
    }

    async fn bring(self, source: Source, coming: Coming, answer: Option<oneshot::Sender<Opened>>) {
        // Side by side: the reader waits for neither longer than for the other.
        let (opened, may_be_here) = futures::join!(source.open, source.may_be_here);
        match opened.map(|content| self.counted(content)) {
            Ok(content) if may_be_here => {
                let reader = answer.and_then(|answer| {
                    let (reader, content) = self.follow();
                    answer.send(Opened::Content(Ok(content))).is_ok().then_some(reader)
                });
                let stored = self.store(content, reader).await;
                self.keep(coming, stored).await;
            }
            opened => {
                self.copier.index.abandon(&self.id, &coming).await;
                let _gone = answer.map(|answer| answer.send(Opened::Content(opened)));
            }
        }
    }

    /// What the copy hands on to its reader, and where the reader gets it.
    fn follow(&self) -> (mpsc::Sender<Result<Bytes>>, Content) {
        let size = usize::try_from(self.size).ok().filter(|_| is_waited_for(self.size));
        let ahead = size.and_then(|size| {
            let permits = u32::try_from(size).ok()?;
            Some((size / CHUNK_BYTES_MIN, Arc::clone(&self.copier.ahead).try_acquire_many_owned(permits).ok()?))
        });
        let (chunks_max, permit) = ahead.map_or((0, None), |(chunks, permit)| (chunks, Some(permit)));
        let (reader, chunks) = mpsc::channel(CHUNKS_MAX + chunks_max);
        (reader, received(chunks, self.size, permit))
    }

    fn counted(&self, content: Content) -> Content {
        let metrics = self.copier.metrics.clone();
        content.inspect(move |chunk| metrics.count_fetched(chunk.as_ref().map_or(0, Bytes::len))).boxed()
    }

    /// Stores `content` while its reader reads it, who waits for the engine to take bytes no longer than for an answer. `None` where nothing is stored.
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
                let write = writer.as_mut()?.write(chunk.clone());
                let outcome = if reader.is_some() { self.in_time(write).await } else { write.await };
                outcome.map_err(|error| note(&error)).ok()
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

    /// What becomes of a write, unless it takes too long. Then it is found out whether the engine answers at all.
    async fn in_time(&self, write: impl Future<Output = Result<()>>) -> Result<()> {
        if let Ok(outcome) = timeout(ANSWER_MAX, write).await {
            return outcome;
        }
        let copier = Arc::clone(&self.copier);
        tokio::spawn(async move { copier.silence.answered(copier.index.region(), copier.own.answers()).await });
        Err(silent(self.copier.index.region()))
    }

    async fn keep(&self, coming: Coming, stored: Option<StoredBlob>) {
        let Copier { own, index, metrics, .. } = &*self.copier;
        let Some(stored) = stored else { return index.abandon(&self.id, &coming).await };
        match index.keep(&self.id, coming.clone(), stored.id.clone()).await {
            Ok(()) => {
                metrics.count_copy();
                if self.lost.is_some() {
                    tracing::warn!(blob = ?self.id, "the copy of a blob of another region could not be read; another is in its place");
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a copy of a blob of another region is not kept");
                if !index.may_name(&self.id, &stored.id, &error).await {
                    delete(own.as_ref(), &stored.id).await;
                    index.abandon(&self.id, &coming).await;
                }
            }
        }
    }
}

/// What a copy hands on to its reader, `ahead` of it as far as that lets it. Ends early with an error if the copy does.
fn received(chunks: mpsc::Receiver<Result<Bytes>>, size: u64, ahead: Option<OwnedSemaphorePermit>) -> Content {
    let next = |state: Option<(mpsc::Receiver<Result<Bytes>>, u64, Option<OwnedSemaphorePermit>)>| async move {
        let (mut chunks, left, ahead) = state?;
        match chunks.recv().await {
            Some(Ok(chunk)) => {
                let left = left.saturating_sub(chunk.len() as u64);
                Some((Ok(chunk), Some((chunks, left, ahead))))
            }
            Some(Err(error)) => Some((Err(error), None)),
            None => (left > 0).then(|| (Err(cut_short()), None)),
        }
    };
    stream::unfold(Some((chunks, size, ahead)), next).boxed()
}

const fn is_waited_for(size: u64) -> bool {
    size <= WAITED_BYTES_MAX
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

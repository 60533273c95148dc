//! One transfer of a cold object, shared by all its readers.
//!
//! The hydration (see [`crate::hydrate`]) appends bytes as they arrive and stores them piece by piece; readers follow at their own pace,
//! from memory while the bytes are fresh, from the stored pieces when they lag. A reader that leaves changes nothing. The last bytes are
//! shown to readers only once the whole has been verified, so nobody takes a damaged object for a complete one.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, future::BoxFuture, stream, stream::BoxStream};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use umbra_blob::{BlobId, BlobStore};
use umbra_core::{ByteRange, Error, ObjectInfo, Result};

use crate::news::{Follower, News};

/// How long a reader of a far range waits for the transfer before it asks the origin itself: half a second brings 60 MB over a gigabit line.
const PATIENCE: Duration = Duration::from_millis(500);
/// A transfer that brings nothing for so long is not waited for.
const STANDSTILL: Duration = Duration::from_millis(100);

/// How a transfer ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// Every byte arrived and was verified; the copy is committed or was thrown away for a newer write.
    Complete,
    /// The key is not cold any more, so nothing was asked of the origin: look here again.
    Superseded,
    /// It broke off.
    Failed(Error),
}

/// A piece of the object in the blob store.
#[derive(Clone, Debug)]
pub(crate) struct StoredPiece {
    /// Where it begins within the object.
    pub(crate) offset: u64,
    /// Bytes of content.
    pub(crate) size: u64,
    /// Where it is.
    pub(crate) blob: BlobId,
}

#[derive(Debug, Default)]
struct State {
    info: Option<Arc<ObjectInfo>>,
    /// Contiguous from 0.
    stored: Vec<StoredPiece>,
    /// Contiguous up to `arrived`; reaches back at least to the end of `stored`.
    recent: VecDeque<(u64, Bytes)>,
    arrived: u64,
    end: Option<End>,
}

impl State {
    /// Drops from memory what is stored.
    fn trim(&mut self) {
        let end = self.stored.last().map_or(0, |piece| piece.offset + piece.size);
        while self.recent.front().is_some_and(|(offset, bytes)| offset + bytes.len() as u64 <= end) {
            self.recent.pop_front();
        }
    }
}

/// Blobs that did not become an object: deleted when the last reader of the transfer is gone.
pub(crate) struct Leftovers(pub(crate) Option<BoxFuture<'static, ()>>);

impl fmt::Debug for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leftovers")
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        if let (Some(clean_up), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(clean_up);
        }
    }
}

/// The shared state of one transfer.
#[derive(Debug)]
pub(crate) struct Transfer {
    state: Mutex<State>,
    leftovers: Mutex<Option<Leftovers>>,
    changed: News,
    /// Stops the transfer, whoever reads: its shadow was cleared.
    pub(crate) cancel: CancellationToken,
}

/// What a reader finds at its position.
enum At {
    Bytes(Bytes),
    Stored(StoredPiece),
    NotYet,
    Failed(Error),
}

impl Transfer {
    pub(crate) fn new(cancel: CancellationToken) -> Self {
        Self { state: Mutex::default(), leftovers: Mutex::default(), changed: News::default(), cancel }
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.tell();
    }

    /// Tells readers what the object is.
    pub(crate) fn announce(&self, info: ObjectInfo) {
        self.update(|state| state.info = Some(Arc::new(info)));
    }

    /// Shows readers the next bytes.
    pub(crate) fn append(&self, bytes: Bytes) {
        self.update(|state| {
            let offset = state.arrived;
            state.arrived += bytes.len() as u64;
            state.recent.push_back((offset, bytes));
            state.trim();
        });
    }

    /// Tells that the bytes up to the end of `piece` are stored and need not be kept in memory.
    pub(crate) fn store(&self, piece: StoredPiece) {
        self.update(|state| {
            state.stored.push(piece);
            state.trim();
        });
    }

    /// Ends the transfer. The first end counts.
    pub(crate) fn finish(&self, end: End) {
        self.update(|state| {
            state.end.get_or_insert(end);
        });
    }

    /// Keeps what did not become an object until the last reader is gone.
    pub(crate) fn keep(&self, leftovers: Leftovers) {
        *self.leftovers.lock() = Some(leftovers);
    }

    /// How many bytes have arrived from the beginning.
    pub(crate) fn arrived(&self) -> u64 {
        self.state.lock().arrived
    }

    /// Waits until it is known what the object is; `None` when the key is not cold any more.
    pub(crate) async fn info(&self) -> Result<Option<Arc<ObjectInfo>>> {
        self.wait(|state| match (&state.info, &state.end) {
            (Some(info), _) => Some(Ok(Some(info.clone()))),
            (None, Some(End::Failed(error))) => Some(Err(error.clone())),
            (None, Some(End::Complete | End::Superseded)) => Some(Ok(None)),
            (None, None) => None,
        })
        .await
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) -> End {
        self.wait(|state| state.end.clone()).await
    }

    async fn wait<T>(&self, look: impl Fn(&State) -> Option<T>) -> T {
        let mut changed = self.changed.follow();
        loop {
            if let Some(found) = look(&self.state.lock()) {
                return found;
            }
            changed.changed().await;
        }
    }

    /// Waits a little for the transfer to come to `position`; false when it will not be there soon, because it is slow or stands still.
    ///
    /// Clients fetch large objects in parallel ranges. Asking the origin for each of them besides the transfer would pay for most bytes twice.
    pub(crate) async fn comes_near(&self, position: u64) -> bool {
        let mut changed = self.changed.follow();
        let deadline = Instant::now() + PATIENCE;
        while self.arrived() < position && self.state.lock().end.is_none() {
            let wait = STANDSTILL.min(deadline.saturating_duration_since(Instant::now()));
            if wait.is_zero() || timeout(wait, changed.changed()).await.is_err() {
                return false;
            }
        }
        true
    }

    fn at(&self, position: u64) -> At {
        let state = self.state.lock();
        if position < state.arrived {
            if let Some((offset, bytes)) = state.recent.iter().rev().find(|(offset, _)| *offset <= position)
                && position < offset + bytes.len() as u64
            {
                let skip = usize::try_from(position - offset).expect("an offset within a chunk fits");
                return At::Bytes(bytes.slice(skip..));
            }
            let index = state.stored.partition_point(|piece| piece.offset + piece.size <= position);
            let mut piece = state.stored[index].clone();
            piece.size = piece.size.min(state.arrived - piece.offset);
            return At::Stored(piece);
        }
        match &state.end {
            None => At::NotYet,
            Some(End::Failed(error)) => At::Failed(error.clone()),
            Some(End::Complete | End::Superseded) => At::Failed(Error::internal("a transfer ended before its last byte")),
        }
    }

    /// The bytes of `range`, as they arrive.
    pub(crate) fn read(self: &Arc<Self>, blobs: Arc<dyn BlobStore>, range: ByteRange) -> impl Stream<Item = Result<Bytes>> + Send + use<> {
        let reader = Reader { transfer: self.clone(), changed: self.changed.follow(), blobs, range, piece: None };
        stream::try_unfold(reader, |mut reader| async move { Ok(reader.next().await?.map(|bytes| (bytes, reader))) })
    }
}

struct Reader {
    transfer: Arc<Transfer>,
    changed: Follower,
    blobs: Arc<dyn BlobStore>,
    /// What is still to be read.
    range: ByteRange,
    piece: Option<BoxStream<'static, umbra_blob::Result<Bytes>>>,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.range.is_empty() {
            if let Some(piece) = &mut self.piece {
                match piece.next().await {
                    Some(bytes) => return Ok(Some(self.take(bytes?))),
                    None => self.piece = None,
                }
                continue;
            }
            match self.transfer.at(self.range.start) {
                At::Bytes(bytes) => return Ok(Some(self.take(bytes))),
                At::Stored(piece) => {
                    let end = (piece.offset + piece.size).min(self.range.end);
                    let within = ByteRange::new(self.range.start - piece.offset, end - piece.offset);
                    self.piece = Some(self.blobs.read(&piece.blob, within).await?);
                }
                At::NotYet => self.changed.changed().await,
                At::Failed(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn take(&mut self, mut bytes: Bytes) -> Bytes {
        bytes.truncate(usize::try_from(self.range.len()).unwrap_or(usize::MAX));
        self.range.start += bytes.len() as u64;
        bytes
    }
}

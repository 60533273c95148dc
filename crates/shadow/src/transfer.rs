//! One cold object on its way here, shared by all its readers.
//!
//! Its bytes come by *fetches*, requests to the origin each of which owns a range; no byte is owned by two, so that none leaves the origin
//! twice. A reader names what it needs ([`Transfer::demand`]); what nobody is bringing yet is claimed and queued for the hydration (see
//! [`crate::hydrate`]), which runs the fetches. Bytes are kept in memory until they are stored, then read from the blob store. A reader that
//! leaves changes nothing.

mod sizes;
mod state;
mod stored_piece;

use std::{
    fmt,
    future::Future,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use umbra_core::{ByteRange, Error, ErrorKind, ObjectInfo, Result};
use umbra_store::SealedBlobs;

use crate::{
    hashes::{Hashes, Sums},
    news::{Follower, News},
    reader::{At, Reader},
};
pub(crate) use sizes::Sizes;
use state::State;
pub(crate) use stored_piece::StoredPiece;

/// How a transfer ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// Every byte arrived and was verified; the copy was kept, or thrown away for a newer write.
    Complete {
        /// Whether the copy is the object now.
        kept: bool,
    },
    /// The key is not cold any more, its origin's object changed, or nobody needed more of it: look here again.
    Superseded,
    /// It broke off. What had arrived stays.
    Failed(Error),
}

/// What the hydration is to do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Run these fetches.
    Fetch(Vec<(u64, ByteRange)>),
    /// Bring more in the background: see [`Transfer::claim_next`].
    Fill,
    /// Every byte is here.
    Complete,
    /// Nobody needs more: the transfer has ended as [`End::Superseded`].
    Park,
}

/// What is to be done about pieces once nobody reads them any more: when the last of the transfers is gone that have it.
pub(crate) struct Leftovers(Mutex<Option<BoxFuture<'static, ()>>>);

impl Leftovers {
    /// Runs `clean_up` then.
    pub(crate) fn new(clean_up: impl Future<Output = ()> + Send + 'static) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(clean_up.boxed()))))
    }
}

impl fmt::Debug for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leftovers")
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        if let (Some(clean_up), Ok(runtime)) = (self.0.get_mut().take(), Handle::try_current()) {
            runtime.spawn(clean_up);
        }
    }
}

/// Somebody's presence at a transfer, which does not end for want of readers meanwhile.
#[derive(Debug)]
pub(crate) struct Visit(Arc<Transfer>);

impl Visit {
    /// Begins to read `range`.
    pub(crate) fn read(self, blobs: SealedBlobs, range: ByteRange) -> Reader {
        let is_whole = {
            let mut state = self.0.state.lock();
            state.is_read = true;
            range.start == 0 && state.size == Some(range.end)
        };
        let changed = self.0.follow();
        Reader::new(self, changed, blobs, range, is_whole)
    }
}

impl Deref for Visit {
    type Target = Arc<Transfer>;

    fn deref(&self) -> &Arc<Transfer> {
        &self.0
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.update(|state| state.readers -= 1);
    }
}

/// The shared state of one transfer.
#[derive(Debug)]
pub(crate) struct Transfer {
    state: Mutex<State>,
    leftovers: Mutex<Vec<Arc<Leftovers>>>,
    changed: News,
    /// Stops the transfer, whoever reads: its shadow was cleared, or the server stops.
    pub(crate) cancel: CancellationToken,
    /// Whether its pieces have rows, so that another transfer can go on with them.
    pub(crate) is_kept: bool,
    /// How its object is cut.
    pub(crate) sizes: Sizes,
    /// Whether the origin has been asked for the object: what it answers may be from then.
    has_asked: AtomicBool,
    /// Whether its pieces are about to belong to no hydration, though they may be read.
    is_leaving: AtomicBool,
    /// Told when it has ended and nothing of it is under way any more.
    pub(crate) landed: CancellationToken,
}

impl Transfer {
    pub(crate) fn new(cancel: CancellationToken, is_kept: bool, sizes: Sizes) -> Self {
        Self {
            state: Mutex::new(State::new(sizes)),
            leftovers: Mutex::default(),
            changed: News::default(),
            cancel,
            is_kept,
            sizes,
            has_asked: AtomicBool::new(false),
            is_leaving: AtomicBool::new(false),
            landed: CancellationToken::new(),
        }
    }

    fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state.lock());
        self.changed.tell();
        changed
    }

    // === What the hydration tells ===

    /// Tells that the origin is about to be asked for the object.
    pub(crate) fn asks(&self) {
        self.has_asked.store(true, Ordering::SeqCst);
    }

    /// Tells readers what the object is, as the origin just said.
    pub(crate) fn announce(&self, info: ObjectInfo) {
        self.update(|state| {
            state.answered = true;
            state.size = Some(info.size);
            state.info = Some(Arc::new(info));
        });
    }

    /// Takes over what an earlier transfer stored, and tells readers what it knew of the object.
    pub(crate) fn adopt(&self, info: ObjectInfo, pieces: Vec<StoredPiece>) {
        self.update(|state| {
            pieces.into_iter().for_each(|piece| state.store(piece));
            state.size = Some(info.size);
            state.info = Some(Arc::new(info));
        });
    }

    /// Claims `range` for a fetch that runs already.
    pub(crate) fn begin(&self, range: ByteRange) -> u64 {
        self.state.lock().claim(range)
    }

    /// Gives the hashes of the content up to where they have come; they begin at 0.
    pub(crate) fn put_hashes(&self, hashes: Hashes) {
        self.state.lock().hashes = Some(hashes);
    }

    /// Takes the hashes, if they have come to `position`.
    pub(crate) fn take_hashes(&self, position: u64) -> Option<Hashes> {
        self.state.lock().hashes.take_if(|hashes| hashes.position() == position)
    }

    /// Takes the hashes, wherever they are.
    pub(crate) fn last_hashes(&self) -> Option<Hashes> {
        self.state.lock().hashes.take()
    }

    /// Keeps what the hashes of the whole came to.
    pub(crate) fn put_sums(&self, sums: Result<Sums>) {
        self.state.lock().sums = Some(sums);
    }

    /// Takes what the hashes of the whole came to, if they are done.
    pub(crate) fn take_sums(&self) -> Option<Result<Sums>> {
        self.state.lock().sums.take()
    }

    /// Shows readers the next bytes of a fetch; gives how many of them it still owns.
    pub(crate) fn append(&self, fetch: u64, bytes: Bytes) -> usize {
        self.update(|state| {
            state.answered = true;
            state.fetch(fetch).map_or(0, |fetch| fetch.append(bytes))
        })
    }

    /// Where a fetch is, and up to where it owns the bytes.
    pub(crate) fn place(&self, fetch: u64) -> ByteRange {
        self.state.lock().fetch(fetch).map_or(ByteRange::new(0, 0), |fetch| ByteRange::new(fetch.arrived, fetch.end))
    }

    /// Learns that the origin answers a request for a range with the whole: nothing is asked of it in the background besides that any more.
    pub(crate) fn learn_that_ranges_are_ignored(&self) {
        self.state.lock().ignores_ranges = true;
    }

    /// Learns the same by the answer to a fetch, which goes on to the end.
    pub(crate) fn take_the_whole(&self, fetch: u64) {
        self.update(|state| {
            state.ignores_ranges = true;
            state.extend(fetch);
        });
    }

    /// Tells that the bytes of `piece`, which a fetch brought, are stored and need not be kept in memory.
    pub(crate) fn store(&self, fetch: u64, piece: StoredPiece) {
        self.update(|state| state.store_of(fetch, piece));
    }

    /// Tells that a fetch brought the whole of a small object, which stays in memory.
    pub(crate) fn keep_in_memory(&self, fetch: u64) {
        self.update(|state| {
            let bytes = state.fetch(fetch).map(|fetch| fetch.recent.iter().cloned().collect());
            state.small = bytes;
        });
    }

    /// Ends a fetch that brought what it was to bring.
    pub(crate) fn retire(&self, fetch: u64) {
        self.update(|state| {
            if state.small.is_none() {
                state.fetches.retain(|other| other.id != fetch);
            }
        });
    }

    /// Ends work in the background.
    pub(crate) fn fill_ended(&self) {
        self.update(|state| state.fillers -= 1);
    }

    /// Stops bringing what nobody asks for.
    pub(crate) fn stop_filling(&self) {
        self.update(|state| state.wants_whole = false);
    }

    /// Lets readers of the whole have its last bytes.
    pub(crate) fn verified(&self) {
        self.update(|state| state.verified = true);
    }

    /// Ends the transfer. The first end counts.
    pub(crate) fn finish(&self, end: End) {
        self.update(|state| {
            state.end.get_or_insert(end);
        });
    }

    /// Puts `leftovers` off until the last reader is gone.
    pub(crate) fn keep_until_unread(&self, leftovers: Arc<Leftovers>) {
        self.leftovers.lock().push(leftovers);
    }

    /// Tells that its pieces are about to belong to no hydration.
    pub(crate) fn leaves(&self) {
        self.is_leaving.store(true, Ordering::SeqCst);
    }

    /// Whether its pieces are about to belong to no hydration, or belong to none any more.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::SeqCst)
    }

    /// Whether anybody is there.
    pub(crate) fn has_readers(&self) -> bool {
        self.state.lock().readers > 0
    }

    /// Waits for something to do.
    pub(crate) async fn step(&self) -> Step {
        self.wait_mut(State::step).await
    }

    /// Claims the first bytes that nobody is bringing.
    pub(crate) fn claim_next(&self) -> Option<(u64, ByteRange)> {
        self.update(State::claim_next)
    }

    /// The whole content, once it is complete: in memory, or in pieces in their order.
    pub(crate) fn content(&self) -> std::result::Result<Vec<Bytes>, Vec<StoredPiece>> {
        let state = self.state.lock();
        state.small.clone().ok_or_else(|| state.stored.values().cloned().collect())
    }

    // === What readers ask ===

    /// Waits until it is known what the object is; `None` when it is to be looked for here again.
    pub(crate) async fn info(&self) -> Result<Option<Arc<ObjectInfo>>> {
        self.wait_mut(|state| match (&state.info, &state.end) {
            (_, Some(End::Superseded)) => Some(Ok(None)),
            (Some(info), _) => Some(Ok(Some(info.clone()))),
            (None, Some(End::Failed(error))) => Some(Err(error.clone())),
            (None, Some(End::Complete { .. })) => Some(Ok(None)),
            (None, None) => None,
        })
        .await
    }

    /// Keeps the transfer from ending for want of readers; `None` when it has ended already.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Visit> {
        let mut state = self.state.lock();
        if state.end.is_some() {
            return None;
        }
        state.readers += 1;
        Some(Visit(self.clone()))
    }

    /// Whether anybody has begun to read it: then others may soon.
    pub(crate) fn is_read(&self) -> bool {
        self.state.lock().is_read
    }

    /// Asks for every byte, whether or not anybody reads them.
    pub(crate) fn want_whole(&self) {
        self.update(|state| state.wants_whole = true);
    }

    /// Whether what it brings may be what the origin held before now.
    pub(crate) fn has_asked(&self) -> bool {
        self.has_asked.load(Ordering::SeqCst)
    }

    /// Whether it has ended or been stopped, though it may not have landed.
    pub(crate) fn brings_no_more(&self) -> bool {
        self.cancel.is_cancelled() || self.state.lock().end.is_some()
    }

    /// Whether it ended without a failure: the object is to be looked for here again.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state.lock().end, Some(End::Superseded | End::Complete { .. }))
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) -> End {
        self.wait_mut(|state| state.end.clone()).await
    }

    /// Sees to it that the bytes of `range` are on their way: what nobody is bringing is claimed and queued.
    pub(crate) fn demand(&self, range: ByteRange) {
        let mut state = self.state.lock();
        let before = state.queue.len();
        state.demand(range);
        let grown = state.queue.len() > before;
        drop(state);
        if grown {
            self.changed.tell();
        }
    }

    /// Waits until the bytes of `range` that are missing can be had: an origin that cannot answer, or holds another object by now, is noticed
    /// before anything of what an earlier transfer stored is shown.
    pub(crate) async fn assure(&self, range: ByteRange) -> Result<()> {
        let missing = self.state.lock().not_stored(range);
        if let Some(missing) = missing {
            self.demand(ByteRange::new(missing, missing + 1));
            self.wait_mut(|state| match &state.end {
                _ if state.answered => Some(Ok(())),
                Some(End::Failed(error)) => Some(Err(error.clone())),
                Some(End::Superseded) => Some(Err(changed())),
                Some(End::Complete { .. }) => Some(Ok(())),
                None => None,
            })
            .await?;
        }
        Ok(())
    }

    /// Follows whatever changes from now on.
    pub(crate) fn follow(&self) -> Follower {
        self.changed.follow()
    }

    /// What a reader at `position` finds.
    pub(crate) fn at(&self, position: u64, is_last: impl FnOnce(u64) -> bool) -> At {
        self.state.lock().at(position, is_last)
    }

    async fn wait_mut<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut changed = self.changed.follow();
        loop {
            if let Some(found) = look(&mut self.state.lock()) {
                return found;
            }
            changed.changed().await;
        }
    }
}

/// What readers are told whose transfer was stopped with its shadow.
pub(crate) fn cut_off() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the bucket's shadow was cleared or changed while the object came in from its origin; please try again",
    )
}

/// The object changed at the origin, or a newer one took its place here, and this reader had begun.
fn changed() -> Error {
    Error::new(ErrorKind::OriginUnavailable, "the object changed at the origin while it was read; please try again")
}

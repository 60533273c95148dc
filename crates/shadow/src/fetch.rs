//! One fetch: brings a range of a cold object from the origin into the blob store, while readers follow.

use std::{mem, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};
use umbra_core::{Body, ByteRange, Error, ErrorKind, Result};

use crate::{
    hashes::Hashes,
    hydrate::{Hydration, HydrationParts},
    transfer::{Sizes, StoredPiece, Transfer},
};

/// How many pieces of one answer are being stored at a time, memory permitting: their flushes are shared, and the origin's bytes need not
/// wait for each. All of them are lost in a crash.
const STORES_MAX: usize = 3;
/// How often the origin is asked again for the rest of a range without getting a byte of it.
const STUMBLES_MAX: u32 = 3;
/// How long to wait before that, times the number of stumbles.
const STUMBLE_DELAY: Duration = Duration::from_millis(100);

/// Why a fetch did not bring its range.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The origin's object is not the one the transfer began with.
    Changed,
    /// Anything else.
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// A fetch at work.
pub(crate) struct Fetch {
    hydration: Arc<Hydration>,
    transfer: Arc<Transfer>,
    id: u64,
    /// Whether it brings a whole object that needs no piece of its own.
    is_small: bool,
    /// Bytes that are stored at once. Of short answers every piece, so that a crash costs little.
    store_bytes: u64,
    hashes: Option<Hashes>,
    /// Whether its bytes are hashed as they come; those of others are read once more for that.
    is_hashed: bool,
    /// Arrived, not yet handed to the blob store.
    gathered: Vec<Bytes>,
    gathered_size: u64,
    /// Where what was gathered begins.
    gathered_start: u64,
    /// The last piece that is being stored; it ends after those before it.
    storing: Option<JoinHandle<Result<()>>>,
    /// The places for pieces that are being stored.
    stores: Arc<Semaphore>,
    /// For a piece being gathered and one being stored.
    memory: Option<OwnedSemaphorePermit>,
    /// For ranges, held until the last byte is stored.
    _lane: Option<OwnedSemaphorePermit>,
}

/// An answer of the origin that a transfer begins with.
pub(crate) struct Opened {
    pub(crate) body: Body,
    /// The place it takes, if it is to a request for a range.
    pub(crate) lane: Option<OwnedSemaphorePermit>,
}

impl Fetch {
    /// Brings `range`, which the transfer claimed as fetch `id`. `first` is an answer of the origin that begins there.
    pub(crate) async fn run(
        hydration: Arc<Hydration>,
        transfer: Arc<Transfer>,
        (id, range): (u64, ByteRange),
        first: Option<Opened>,
    ) -> Result<(), Failure> {
        let (first, lane) = match first {
            Some(Opened { body, lane }) => (Some(body), lane),
            None => (None, hydration.lane().await),
        };
        let Sizes { piece, fetch, store, small_max, .. } = transfer.sizes;
        let is_long = range.len() > fetch;
        // The first answer's alone: whoever hashes along waits for what the others bring, and may hold nothing that they need.
        let hashes = first.is_some().then(|| transfer.take_hashes(range.start)).flatten();
        let is_hashed = hashes.is_some();
        let this = Self {
            is_small: range.start == 0 && range.end <= small_max && hydration.size() == Some(range.end),
            store_bytes: if is_long { store } else { piece },
            hashes,
            is_hashed,
            gathered: Vec::new(),
            gathered_size: 0,
            gathered_start: range.start,
            storing: None,
            stores: Arc::new(Semaphore::new(if is_long { STORES_MAX } else { 1 })),
            memory: None,
            _lane: lane,
            hydration: hydration.clone(),
            transfer: transfer.clone(),
            id,
        };
        // One that fails takes the transfer along, and owns its bytes until that ends: for the next one a row of them may be there.
        this.bring(first).await?;
        transfer.retire(id);
        if is_hashed {
            hydration.hash_along(&transfer, range.end).await;
        }
        Ok(())
    }

    async fn bring(mut self, first: Option<Body>) -> Result<(), Failure> {
        let outcome = self.take_all(first).await;
        let hashes = self.hashes.take();
        match outcome {
            Ok(()) if self.is_small => {
                hashes.into_iter().for_each(|hashes| self.transfer.put_hashes(hashes));
                self.transfer.keep_in_memory(self.id);
            }
            Ok(()) => {
                self.store_gathered().await?;
                if let Some(hashes) = hashes {
                    // Readers wait for this, and not for the disk.
                    self.hydration.verify_early(&self.transfer, hashes).await;
                }
                self.finish_storing().await?;
            }
            Err(failure) => {
                hashes.into_iter().for_each(|hashes| self.transfer.put_hashes(hashes));
                if self.is_small || self.gathered_size < self.transfer.sizes.rest_min {
                    self.gathered.clear();
                }
                if let Err(error) = self.store_rest().await {
                    tracing::debug!(error = ?error, "what a broken transfer brought could not be kept");
                }
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Takes every byte of the range, asking again for the rest when the origin breaks off.
    async fn take_all(&mut self, first: Option<Body>) -> Result<(), Failure> {
        let mut body = first.map(|body| (body, 0));
        let mut stumbles = 0;
        loop {
            let before = self.transfer.place(self.id).start;
            let outcome = match body.take() {
                Some((body, skip)) => self.take_body(body, skip).await,
                None => match self.ask().await {
                    Ok((body, skip)) => self.take_body(body, skip).await,
                    Err(failure) => Err(failure),
                },
            };
            let place = self.transfer.place(self.id);
            let error = match outcome {
                Ok(()) => return Ok(()),
                Err(Failure::Other(error)) if error.kind() == ErrorKind::OriginUnavailable && self.hydration.size().is_some() => error,
                Err(failure) => return Err(failure),
            };
            stumbles = if place.start > before { 1 } else { stumbles + 1 };
            if stumbles > STUMBLES_MAX {
                return Err(error.into());
            }
            tokio::select! {
                biased;
                () = self.transfer.cancel.cancelled() => return Err(cancelled().into()),
                () = tokio::time::sleep(STUMBLE_DELAY * stumbles) => {}
            }
        }
    }

    /// Asks for the rest of the range; gives how many bytes of the answer are to be skipped, where the origin sends the whole.
    async fn ask(&self) -> Result<(Body, u64), Failure> {
        let HydrationParts { origin, path, key, .. } = &**self.hydration;
        let place = self.transfer.place(self.id);
        let etag = self.hydration.etag();
        let object = tokio::select! {
            biased;
            () = self.transfer.cancel.cancelled() => return Err(cancelled().into()),
            answer = origin.get(path, key, Some(place), Some(etag)) => answer.map_err(failure_of)?,
        };
        if object.info.etag != *etag {
            return Err(Failure::Changed);
        }
        match object.range {
            Some(range) if range == place => Ok((object.body, 0)),
            Some(_) => Err(Error::new(ErrorKind::OriginUnavailable, "the origin sent another range than was asked for").into()),
            None => {
                self.transfer.take_the_whole(self.id);
                Ok((object.body, place.start))
            }
        }
    }

    async fn take_body(&mut self, body: Body, mut skip: u64) -> Result<(), Failure> {
        if self.memory.is_none() {
            self.memory = self.hydration.memory_for(&self.transfer, self.transfer.place(self.id)).await;
        }
        let mut stream = body.into_stream();
        loop {
            let chunk = tokio::select! {
                biased;
                () = self.transfer.cancel.cancelled() => return Err(cancelled().into()),
                chunk = stream.next() => chunk.transpose()?,
            };
            let Some(mut chunk) = chunk else { break };
            let skipped = chunk.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
            skip -= skipped as u64;
            let _ = chunk.split_to(skipped);
            if !chunk.is_empty() && !self.take(chunk).await? {
                return Ok(());
            }
        }
        self.hydration.learn_size(&self.transfer, self.transfer.place(self.id).start);
        let place = self.transfer.place(self.id);
        if place.is_empty() || self.hydration.size() == Some(place.start) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::OriginUnavailable, "the origin broke off; please try again").into())
    }

    /// Takes one chunk. False when the range came to its end before the origin's answer did.
    async fn take(&mut self, mut chunk: Bytes) -> Result<bool> {
        let all = chunk.len();
        chunk.truncate(self.transfer.append(self.id, chunk.clone()));
        let taken = chunk.len();
        if taken == 0 {
            return Ok(false);
        }
        if let Some(hashes) = &mut self.hashes {
            // Readers first: their tasks wait behind this one, which would else go on for as long as the origin's bytes keep coming.
            tokio::task::yield_now().await;
            hashes.update(&chunk).await;
        }
        self.gathered_size += taken as u64;
        self.gathered.push(chunk);
        if self.gathered_size >= self.store_bytes && !self.is_small {
            self.store_gathered().await?;
        }
        Ok(taken == all)
    }

    /// Has what was gathered stored, and goes on meanwhile.
    async fn store_gathered(&mut self) -> Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let room = self.room().await?;
        let (pieces, start) = (mem::take(&mut self.gathered), self.gathered_start);
        self.gathered_start += mem::take(&mut self.gathered_size);
        let (hydration, transfer, id, before) = (self.hydration.clone(), self.transfer.clone(), self.id, self.storing.take());
        let is_hashed = self.is_hashed;
        self.storing = Some(tokio::spawn(async move {
            let stored = async {
                let extent = hydration.store(pieces, !is_hashed || transfer.is_read()).await?;
                hydration.record_piece(&transfer, start, &extent).await?;
                Ok::<_, Error>(StoredPiece::new(start, extent))
            };
            let stored = stored.await;
            if let Some(before) = before
                && let Err(error) = ended(before).await
            {
                // The fetch owns its bytes until it ends, and the transfer with it. What has a row is there for the next one.
                if let Ok(piece) = stored {
                    hydration.drop_unless_kept(&transfer, &piece).await;
                }
                return Err(error);
            }
            transfer.store(id, stored?);
            drop(room);
            Ok(())
        }));
        Ok(())
    }

    /// Waits for room to store what was gathered: a place, and memory besides that of the fetch while another piece is being stored.
    async fn room(&mut self) -> Result<(Option<OwnedSemaphorePermit>, Option<OwnedSemaphorePermit>)> {
        let place = self.stores.clone().acquire_owned().await.ok();
        let is_idle = self.storing.as_ref().is_none_or(JoinHandle::is_finished);
        let spare = if is_idle { None } else { self.hydration.spare_memory(self.gathered_size) };
        if spare.is_none() {
            self.finish_storing().await?;
        }
        Ok((place, spare))
    }

    async fn finish_storing(&mut self) -> Result<()> {
        match self.storing.take() {
            Some(storing) => ended(storing).await,
            None => Ok(()),
        }
    }

    async fn store_rest(&mut self) -> Result<()> {
        self.store_gathered().await?;
        self.finish_storing().await
    }
}

async fn ended(storing: JoinHandle<Result<()>>) -> Result<()> {
    storing.await.map_err(|error| Error::internal("a piece could not be stored").because(error))?
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the shadow was cleared")
}

/// What a failed request for a range of a known object means.
pub(crate) fn failure_of(error: crate::origin::OriginError) -> Failure {
    match error.error.kind() {
        ErrorKind::Precondition | ErrorKind::NotFound(_) => Failure::Changed,
        _ => Failure::Other(error.into()),
    }
}

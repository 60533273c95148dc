//! Hydration: brings one object here because it was asked for.
//!
//! The first request to the origin serves the first reader and tells what the object is; from then on everything is pinned to its ETag. Ranges
//! that readers name come first, the rest in the background if the bucket's policy has it so. Every piece is durable with a row of its own, so
//! that a later transfer, also of another process, goes on from there (`partial.rs`). When the last byte is here and the whole is verified
//! (`finish.rs`), the copy becomes the object by compare-and-set: only if the key holds exactly what it held before the origin was asked, in
//! the same generation. A newer PUT or DELETE always wins and the copy is thrown away.

mod hashing;
mod leave;
mod open;
mod pieces;

use std::{
    ops::Deref,
    sync::{Arc, OnceLock, Weak, atomic::AtomicU64},
    time::Duration,
};

use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use umbra_core::{ByteRange, ETag, Error, ErrorKind, ObjectInfo, ObjectKey, PartNumber, RangeSpec, Result};
use umbra_meta::Revision;
use umbra_store::{Bucket, Catalog, Native};

use crate::{
    fetch::{Failure, Fetch},
    origin::{Origin, ShadowPath},
    stats::Stats,
    transfer::{End, Sizes, Step, Transfer, cut_off},
    uncarried::Notes,
    view::{Base, View},
};

/// The unit in which hydrations share their memory budget.
pub(crate) const PERMIT_BYTES: u64 = 64 * 1024;

/// How long an origin may take to tell of an object whose bytes are here or will be asked for with its ETag: who reads it waits for the answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What the request that begins a transfer is to bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Everything.
    Whole,
    /// Everything; the object has so many bytes, as far as is known.
    WholeOf(u64),
    /// A range first.
    Range(RangeSpec),
}

/// All that one hydration works with: what it was given, and what it learns.
#[derive(Debug)]
pub(crate) struct Hydration {
    given: HydrationParts,
    /// What the origin told when it was first asked.
    pub(crate) pinned: OnceLock<Pinned>,
    /// Bytes of the whole, where that is told only by the end.
    late_size: OnceLock<u64>,
    first_piece: OnceLock<u64>,
    pieces: AtomicU64,
    /// The revision of the hydration's first row, once it is written.
    pub(crate) row: Mutex<Option<Revision>>,
}

impl Deref for Hydration {
    type Target = HydrationParts;

    fn deref(&self) -> &HydrationParts {
        &self.given
    }
}

/// What a hydration is pinned to.
#[derive(Debug)]
pub(crate) struct Pinned {
    pub(crate) info: ObjectInfo,
    /// Bytes of the whole; `None` when the origin does not tell.
    size: Option<u64>,
    pub(crate) tags_known: bool,
    pub(crate) etag_is_md5: bool,
    /// Whether it was told of the whole: of a range origins do not tell the checksums.
    pub(crate) is_whole: bool,
}

/// How a transfer came to its end.
enum Done {
    Complete,
    Parked,
}

/// What a hydration is given.
#[derive(Debug)]
pub(crate) struct HydrationParts {
    pub(crate) native: Native,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) origin: Arc<dyn Origin>,
    pub(crate) bucket: Bucket,
    pub(crate) key: ObjectKey,
    pub(crate) base: Base,
    /// Whether the origin has it from a write of ours that was left half done.
    pub(crate) is_written: bool,
    pub(crate) path: ShadowPath,
    pub(crate) stats: Arc<Stats>,
    /// Where what cannot be carried over is noted.
    pub(crate) notes: Notes,
    /// The memory budget of all hydrations, in [`PERMIT_BYTES`].
    pub(crate) memory: Arc<Semaphore>,
    /// How many requests all hydrations together may have under way in the background.
    pub(crate) background: Arc<Semaphore>,
    /// How many requests for ranges of this bucket's objects may be under way: what they have brought and not stored is lost in a crash.
    pub(crate) lanes: Arc<Semaphore>,
    /// Earlier transfers whose readers may yet want the pieces that they left.
    pub(crate) outlived: Vec<Weak<Transfer>>,
    /// The server stops: what has arrived is for the next one.
    pub(crate) stopping: CancellationToken,
}

impl Hydration {
    pub(crate) fn new(given: HydrationParts) -> Arc<Self> {
        Arc::new(Self {
            given,
            pinned: OnceLock::new(),
            late_size: OnceLock::new(),
            first_piece: OnceLock::new(),
            pieces: AtomicU64::new(0),
            row: Mutex::default(),
        })
    }

    /// Runs the transfer to its end. Never fails: the transfer holds the outcome.
    pub(crate) async fn run(self: Arc<Self>, transfer: &Arc<Transfer>, wanted: Wanted) {
        let mut fetches = JoinSet::new();
        let done = self.drive(transfer, wanted, &mut fetches).await;
        // The origin says that it is closed, or the transfer that it is cancelled: whichever is seen first, it is over.
        let is_cut_off = transfer.cancel.is_cancelled() && !self.stopping.is_cancelled();
        // What is still under way is not needed, or is stored as far as it came before it is decided what becomes of it.
        transfer.cancel.cancel();
        while fetches.join_next().await.is_some() {}
        match done {
            Ok(Done::Complete) => self.finish(transfer).await,
            Ok(Done::Parked) => self.drop_if_outdated(transfer).await,
            Err(Failure::Changed) => {
                self.leave(transfer, "it changed at the origin").await;
                transfer.finish(End::Superseded);
            }
            Err(Failure::Other(error)) => {
                if is_cut_off {
                    self.leave(transfer, "the shadow was cleared").await;
                    return transfer.finish(End::Failed(cut_off()));
                }
                self.drop_if_outdated(transfer).await;
                transfer.finish(End::Failed(error));
            }
        }
    }

    async fn drive(
        self: &Arc<Self>,
        transfer: &Arc<Transfer>,
        wanted: Wanted,
        fetches: &mut JoinSet<Result<(), Failure>>,
    ) -> Result<Done, Failure> {
        let opened = tokio::select! {
            biased;
            () = transfer.cancel.cancelled() => return Err(cleared().into()),
            opened = self.open(transfer, wanted) => opened?,
        };
        let fetch = |place, first| Fetch::run(self.clone(), transfer.clone(), place, first);
        if let Some((place, opened)) = opened {
            fetches.spawn(fetch(place, Some(opened)));
        }
        loop {
            let step = tokio::select! {
                biased;
                () = transfer.cancel.cancelled() => return Err(cleared().into()),
                Some(ended) = fetches.join_next() => {
                    ended.map_err(|error| Error::internal("a transfer ended abruptly").because(error))??;
                    continue;
                }
                step = transfer.step() => step,
            };
            match step {
                Step::Fetch(places) => places.into_iter().for_each(|place| drop(fetches.spawn(fetch(place, None)))),
                Step::Fill => drop(fetches.spawn(self.clone().fill(transfer.clone()))),
                Step::Complete => return Ok(Done::Complete),
                Step::Park => return Ok(Done::Parked),
            }
        }
    }

    /// Brings more in the background, if the key is still cold.
    async fn fill(self: Arc<Self>, transfer: Arc<Transfer>) -> Result<(), Failure> {
        let filled = async {
            let _permit = tokio::select! {
                biased;
                () = transfer.cancel.cancelled() => return Ok(()),
                permit = self.background.clone().acquire_owned() => permit,
            };
            if !self.is_still_wanted().await? {
                transfer.stop_filling();
                return Ok(());
            }
            match transfer.claim_next() {
                Some(place) => Fetch::run(self.clone(), transfer.clone(), place, None).await,
                None => Ok(()),
            }
        };
        let filled = filled.await;
        transfer.fill_ended();
        filled
    }

    /// Whether the copy could still become the object.
    async fn is_still_wanted(&self) -> Result<bool> {
        let current = self.catalog.refresh(&self.bucket.name).await?;
        let view = View::read(&**self.native.meta(), &self.bucket, &self.key).await?;
        let Base { object, tombstone, .. } = view.base;
        Ok(same_shadow(&self.bucket, &current) && (object, tombstone) == (self.base.object, self.base.tombstone))
    }

    pub(crate) fn pinned(&self) -> &Pinned {
        self.pinned.get().expect("an opened hydration is pinned")
    }

    /// The ETag that everything is pinned to.
    pub(crate) fn etag(&self) -> &ETag {
        &self.pinned().info.etag
    }

    /// Bytes of the whole, once known.
    pub(crate) fn size(&self) -> Option<u64> {
        self.pinned().size.or(self.late_size.get().copied())
    }

    /// The end of an answer without a length: `size` bytes came.
    pub(crate) fn learn_size(&self, transfer: &Transfer, size: u64) {
        if self.size().is_none() {
            let size = *self.late_size.get_or_init(|| size);
            transfer.announce(ObjectInfo { size, ..self.pinned().info.clone() });
        }
    }

    // === What fetches need ===

    /// The share of the memory budget for bringing `range`: a piece being gathered and one being stored.
    pub(crate) async fn memory_for(&self, transfer: &Transfer, range: ByteRange) -> Option<OwnedSemaphorePermit> {
        let permits = permits_for(range.len()).min(permits_min(transfer.sizes));
        self.memory.clone().acquire_many_owned(u32::try_from(permits).expect("two pieces are few permits")).await.ok()
    }

    /// Memory for `size` bytes more, if there is some to spare.
    pub(crate) fn spare_memory(&self, size: u64) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(permits_for(size)).ok()?;
        self.memory.clone().try_acquire_many_owned(permits).ok()
    }

    /// A place among the requests for ranges of this bucket's objects.
    pub(crate) async fn lane(&self) -> Option<OwnedSemaphorePermit> {
        self.lanes.clone().acquire_owned().await.ok()
    }

    /// Asks for the size of the first part in the background: nobody waits for it before the first byte.
    pub(crate) fn ask_first_part(&self) -> JoinHandle<Option<u64>> {
        let (origin, path, key, etag) = (self.origin.clone(), self.path.clone(), self.key.clone(), self.etag().clone());
        let first = PartNumber::new(1).expect("1 is a part number");
        tokio::spawn(async move { timeout(PATIENCE, origin.part_size(&path, &key, &etag, first)).await.ok()?.ok().flatten() })
    }
}

/// What the largest request takes of the memory budget: with less, nothing would ever begin.
pub(crate) const fn permits_min(sizes: Sizes) -> u64 {
    permits_for(2 * sizes.store)
}

const fn permits_for(bytes: u64) -> u64 {
    bytes.div_ceil(PERMIT_BYTES)
}

fn cleared() -> Error {
    Error::new(ErrorKind::Cancelled, "the shadow was cleared")
}

/// Whether a copy begun under `then` still belongs here `now`: the same origin, in the same generation.
pub(crate) fn same_shadow(then: &Bucket, now: &Bucket) -> bool {
    let place = |bucket: &Bucket| {
        let shadow = bucket.settings.shadow.as_ref();
        (bucket.partition, bucket.settings.generation, shadow.map(|shadow| (shadow.endpoint.clone(), shadow.bucket.clone())))
    };
    now.settings.shadow.is_some() && place(then) == place(now)
}

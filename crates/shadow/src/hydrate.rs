//! Hydration: brings one object here because it was asked for.
//!
//! The first request to the origin serves the first reader and tells what the object is; from then on everything is pinned to its ETag. Ranges
//! that readers name come first, the rest in the background if the bucket's policy has it so. Every piece is durable with a row of its own, so
//! that a later transfer, also of another process, goes on from there (`partial.rs`). When the last byte is here and the whole is verified
//! (`finish.rs`), the copy becomes the object by compare-and-set: only if the key holds exactly what it held before the origin was asked, in
//! the same generation. A newer PUT or DELETE always wins and the copy is thrown away.

use std::{
    ops::Deref,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use umbra_core::{
    ByteRange, ETag, Error, ErrorKind, Fault, ObjectInfo, ObjectKey, PartNumber, RangeSpec, ReadSource, Result, SystemHeaders, Timestamp,
    UserMetadata, limits,
};
use umbra_meta::{Expect, Revision, is_outcome_unknown, key};
use umbra_store::{Bucket, Catalog, Extent, Native};

use crate::{
    fetch::{Failure, Fetch, Opened, STORE_BYTES},
    hashes::Hashes,
    origin::{Origin, OriginObject, ShadowPath},
    partial::{self, Partial},
    record::Hydrating,
    shadow::scope_of,
    stats::Stats,
    transfer::{End, FETCH_BYTES, PIECE_BYTES, Step, Transfer, WHOLE_BYTES_MAX, cut_off},
    uncarried::Notes,
    view::{Base, View},
};

/// The unit in which hydrations share their memory budget.
pub(crate) const PERMIT_BYTES: u64 = 64 * 1024;
/// What the largest request takes of it: with less, nothing would ever begin.
pub(crate) const PERMITS_MIN: usize = (2 * STORE_BYTES / PERMIT_BYTES) as usize;

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

    // === Beginning ===

    /// Goes on with what an earlier transfer left, or asks the origin. Gives the answer and the range it begins to bring, if there is one.
    async fn open(&self, transfer: &Transfer, wanted: Wanted) -> Result<Option<((u64, ByteRange), Opened)>, Failure> {
        if self.resume(transfer).await? {
            return Ok(None);
        }
        match wanted {
            Wanted::Range(RangeSpec::From { first, last }) => {
                let start = first - first % PIECE_BYTES;
                let end = last.map_or(u64::MAX, |last| last.saturating_add(1)).min(start.saturating_add(FETCH_BYTES));
                if first >= limits::OBJECT_BYTES_MAX {
                    // No object reaches so far: its headers tell.
                    return self.open_by_head(transfer).await;
                }
                let end = end.max(first + 1).div_ceil(PIECE_BYTES) * PIECE_BYTES;
                self.open_range(transfer, ByteRange::new(start, end)).await
            }
            Wanted::Range(RangeSpec::Suffix { .. }) => self.open_by_head(transfer).await,
            Wanted::WholeOf(size) if size > WHOLE_BYTES_MAX => self.open_range(transfer, ByteRange::new(0, FETCH_BYTES)).await,
            Wanted::Whole | Wanted::WholeOf(_) => self.open_whole(transfer).await,
        }
    }

    /// Takes over a hydration that did not come to its end, or drops it when it is of another time.
    async fn resume(&self, transfer: &Transfer) -> Result<bool> {
        if !transfer.is_kept {
            return Ok(false);
        }
        let Some(partial) = partial::load(&self.native, &self.bucket, &self.key).await? else { return Ok(false) };
        let is_sound = partial.record.is_of(&self.bucket, &self.base) && partial.is_sound();
        let Partial { record, revision, pieces } = partial;
        if !is_sound || self.has_changed(&record).await? {
            partial::drop_hydration(&self.native, &self.bucket, &self.key, revision, pieces).await?;
            return Ok(false);
        }
        self.first_piece.get_or_init(|| record.first_piece);
        let last = pieces.iter().filter_map(|(_, row)| key::parse_piece(row)).map(|(_, number)| number - record.first_piece).max();
        self.pieces.store(last.map_or(0, |last| last + 1), Ordering::Relaxed);
        *self.row.lock().await = Some(revision);
        let (info, etag_is_md5) = (record.info(), record.etag_is_md5);
        let pinned = Pinned { size: Some(info.size), tags_known: record.tag_count.is_some(), etag_is_md5, is_whole: false, info };
        transfer.adopt(self.pin(pinned).info.clone(), pieces.into_iter().map(|(piece, _)| piece).collect());
        Ok(true)
    }

    /// Whether the origin says that it holds another object by now, or none. One that cannot be asked says nothing.
    async fn has_changed(&self, record: &Hydrating) -> Result<bool> {
        match self.origin.is_unchanged(&self.path, &self.key, &ETag::parse(&record.etag)).await {
            Ok(is_unchanged) => Ok(!is_unchanged),
            Err(error) if error.is_not_found() => Ok(true),
            Err(error) if matches!(error.error.kind(), ErrorKind::OriginUnavailable | ErrorKind::OriginRefused) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn open_whole(&self, transfer: &Transfer) -> Result<Option<((u64, ByteRange), Opened)>, Failure> {
        let object = self.origin.get(&self.path, &self.key, None, None).await.map_err(Error::from)?;
        self.begin_whole(transfer, object).map(Some)
    }

    fn begin_whole(&self, transfer: &Transfer, object: OriginObject) -> Result<((u64, ByteRange), Opened), Failure> {
        let OriginObject { info, size, tags_known, etag_is_md5, body, .. } = object;
        check_size(size.unwrap_or(0))?;
        let pinned = self.pin(Pinned { info, size, tags_known, etag_is_md5, is_whole: true });
        let asking = pinned.info.etag.part_count().map(|_| self.ask_first_part());
        transfer.put_hashes(Hashes::new(&pinned.info, etag_is_md5, asking));
        let range = ByteRange::new(0, size.unwrap_or(u64::MAX));
        // Claimed before readers learn of the object and claim for themselves.
        let id = transfer.begin(range);
        if size.is_some() {
            transfer.announce(pinned.info.clone());
        }
        Ok(((id, range), Opened { body, lane: None }))
    }

    async fn open_range(&self, transfer: &Transfer, range: ByteRange) -> Result<Option<((u64, ByteRange), Opened)>, Failure> {
        let lane = self.lane().await;
        let object = match self.origin.get(&self.path, &self.key, Some(range), None).await {
            Ok(object) => object,
            // Behind the end, or the object is empty: its headers tell.
            Err(error) if error.error.kind() == ErrorKind::Invalid(Fault::InvalidRange) => return self.open_by_head(transfer).await,
            Err(error) => return Err(Error::from(error).into()),
        };
        let (Some(brought), Some(size)) = (object.range, object.size) else {
            if object.range.is_none() {
                transfer.learn_that_ranges_are_ignored();
                return self.begin_whole(transfer, object).map(Some);
            }
            return self.open_whole(transfer).await;
        };
        check_size(size)?;
        let OriginObject { info, tags_known, etag_is_md5, body, .. } = object;
        let pinned = self.pin(Pinned { info, size: Some(size), tags_known, etag_is_md5, is_whole: false });
        // Claimed before readers learn of the object and claim for themselves.
        let id = transfer.begin(brought);
        transfer.announce(pinned.info.clone());
        Ok(Some(((id, brought), Opened { body, lane })))
    }

    async fn open_by_head(&self, transfer: &Transfer) -> Result<Option<((u64, ByteRange), Opened)>, Failure> {
        let info = self.origin.head(&self.path, &self.key).await.map_err(Error::from)?.info;
        check_size(info.size)?;
        if info.size == 0 {
            return self.open_whole(transfer).await;
        }
        // Whether the ETag is an MD5 and whether there are tags is told by a GET alone.
        let pinned = self.pin(Pinned { size: Some(info.size), tags_known: false, etag_is_md5: false, is_whole: false, info });
        transfer.announce(pinned.info.clone());
        Ok(None)
    }

    fn pin(&self, mut pinned: Pinned) -> &Pinned {
        pinned.info.source = ReadSource::Origin;
        if let Some(size) = pinned.size {
            pinned.info.size = size;
        }
        self.pinned.get_or_init(|| pinned)
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
    pub(crate) async fn memory_for(&self, range: ByteRange) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(range.len().min(2 * STORE_BYTES).div_ceil(PERMIT_BYTES)).expect("two pieces are few permits");
        self.memory.clone().acquire_many_owned(permits).await.ok()
    }

    /// Memory for `size` bytes more, if there is some to spare.
    pub(crate) fn spare_memory(&self, size: u64) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(size.div_ceil(PERMIT_BYTES)).ok()?;
        self.memory.clone().try_acquire_many_owned(permits).ok()
    }

    /// A place among the requests for ranges of this bucket's objects.
    pub(crate) async fn lane(&self) -> Option<OwnedSemaphorePermit> {
        self.lanes.clone().acquire_owned().await.ok()
    }

    /// Gives a stored piece its row, by which it is found whatever happens. A piece that gets none is deleted.
    pub(crate) async fn record_piece(&self, transfer: &Transfer, offset: u64, extent: &Extent) -> Result<()> {
        if !transfer.is_kept {
            self.stats.moved_bytes.add(extent.size);
            return Ok(());
        }
        let Err(error) = self.commit_piece(offset, extent).await else {
            self.stats.moved_bytes.add(extent.size);
            return Ok(());
        };
        if !is_outcome_unknown(&error)
            && let Err(error) = self.native.blobs().delete(&extent.blob).await
        {
            tracing::warn!(blob = ?extent.blob, error = ?error, "a piece without a row stays behind");
        }
        Err(error)
    }

    async fn commit_piece(&self, offset: u64, extent: &Extent) -> Result<()> {
        let first = *self.first_piece.get_or_init(|| partial::first_piece(u64::from_le_bytes(self.native.random().array())));
        let row = partial::piece_row(&self.key, first, self.pieces.fetch_add(1, Ordering::Relaxed))
            .ok_or_else(|| Error::new(ErrorKind::Unsupported, "the object has too many pieces"))?;
        let batch = partial::put_piece(&self.bucket, row, extent, offset);
        let mut begun = self.row.lock().await;
        if let Some(revision) = *begun {
            drop(begun);
            self.native.meta().commit(batch.check(key::hydration(&self.key), Expect::Revision(revision))).await?;
        } else {
            let committed = self.native.meta().commit(partial::begin(batch, &self.key, &self.record(first))).await?;
            *begun = Some(committed.revision);
        }
        Ok(())
    }

    fn record(&self, first_piece: u64) -> Hydrating {
        let Pinned { info, tags_known, etag_is_md5, .. } = self.pinned();
        Hydrating {
            generation: self.bucket.settings.generation,
            base: self.base.numbers(),
            first_piece,
            etag: info.etag.as_str().to_owned(),
            size: self.size().unwrap_or(Hydrating::SIZE_UNKNOWN),
            last_modified: info.last_modified.as_millis(),
            headers: headers_in_order(&info.headers),
            metadata: info.metadata.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            tag_count: tags_known.then_some(info.tag_count as u64),
            etag_is_md5: *etag_is_md5,
            scope: scope_of(&self.bucket),
        }
    }

    // === Parts ===

    /// Asks for the size of the first part in the background: nobody waits for it before the first byte.
    pub(crate) fn ask_first_part(&self) -> JoinHandle<Option<u64>> {
        let (origin, path, key, etag) = (self.origin.clone(), self.path.clone(), self.key.clone(), self.etag().clone());
        let first = PartNumber::new(1).expect("1 is a part number");
        tokio::spawn(async move { origin.part_size(&path, &key, &etag, first).await.ok().flatten() })
    }

    // === What is left ===

    /// Everything that this hydration has stored, with the rows that hold it.
    async fn left(&self) -> Result<Option<Partial>> {
        let Some(revision) = *self.row.lock().await else { return Ok(None) };
        let partial = partial::load(&self.native, &self.bucket, &self.key).await?;
        Ok(partial.filter(|partial| partial.revision == revision))
    }

    /// Drops what is stored. No later transfer finds it; the bytes go once the last reader of this one is gone.
    pub(crate) async fn leave(&self, transfer: &Transfer, why: &str) {
        tracing::debug!(bucket = %self.bucket.name, key = %self.key, why, "what was brought of an object is dropped");
        if let Err(error) = self.try_leave(transfer).await {
            tracing::warn!(bucket = %self.bucket.name, key = %self.key, error = ?error, "an abandoned copy stays until it is swept");
        }
    }

    async fn try_leave(&self, transfer: &Transfer) -> Result<()> {
        if !transfer.is_kept {
            self.drop_unkept(transfer);
            return Ok(());
        }
        let Some(Partial { revision, pieces, .. }) = self.left().await? else { return Ok(()) };
        if !partial::forget(&self.native, &self.bucket, &self.key, revision).await? {
            return Ok(());
        }
        let (native, bucket, key) = (self.native.clone(), self.bucket.clone(), self.key.clone());
        // Readers that have begun keep what they began to read.
        transfer.keep_until_unread(async move {
            if let Err(error) = partial::drop_pieces(&native, &bucket, pieces).await {
                tracing::warn!(bucket = %bucket.name, %key, error = ?error, "the pieces of an abandoned copy stay until they are swept");
            }
        });
        Ok(())
    }

    /// Deletes pieces that no row names, once nobody reads them any more.
    fn drop_unkept(&self, transfer: &Transfer) {
        let (native, pieces) = (self.native.clone(), transfer.content().err().unwrap_or_default());
        transfer.keep_until_unread(async move {
            for piece in pieces {
                if let Err(error) = native.blobs().delete(&piece.blob).await {
                    tracing::warn!(blob = ?piece.blob, error = ?error, "the blob of an abandoned copy stays behind");
                }
            }
        });
    }

    /// Drops what is stored if it could not become the object any more; otherwise it waits for the next reader.
    async fn drop_if_outdated(&self, transfer: &Transfer) {
        if !transfer.is_kept {
            return self.drop_unkept(transfer);
        }
        match self.is_still_wanted().await {
            Ok(true) => {}
            Ok(false) => self.leave(transfer, "the key was written here").await,
            Err(error) => tracing::debug!(bucket = %self.bucket.name, key = %self.key, error = ?error, "a copy waits to be swept"),
        }
    }
}

impl Hydrating {
    /// Whether it is of what the bucket shadows now, and its key held the same here when it began.
    pub(crate) fn is_of(&self, bucket: &Bucket, base: &Base) -> bool {
        (self.generation, self.scope, self.base) == (bucket.settings.generation, scope_of(bucket), base.numbers())
    }

    /// The origin did not tell the size: there is no going on with it.
    pub(crate) const SIZE_UNKNOWN: u64 = u64::MAX;

    /// What it tells of the origin's object.
    fn info(&self) -> ObjectInfo {
        let mut headers = self.headers.iter().cloned();
        let mut next = || headers.next().flatten();
        ObjectInfo {
            size: self.size,
            etag: ETag::parse(&self.etag),
            last_modified: Timestamp::from_millis(self.last_modified),
            headers: SystemHeaders {
                content_type: next(),
                cache_control: next(),
                content_disposition: next(),
                content_encoding: next(),
                content_language: next(),
                expires: next(),
                website_redirect_location: next(),
                storage_class: next(),
            },
            metadata: UserMetadata::new(self.metadata.iter().cloned()),
            checksums: Vec::new(),
            parts: Vec::new(),
            tag_count: self.tag_count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0),
            source: ReadSource::Origin,
        }
    }
}

fn headers_in_order(headers: &SystemHeaders) -> Vec<Option<String>> {
    let SystemHeaders {
        content_type,
        cache_control,
        content_disposition,
        content_encoding,
        content_language,
        expires,
        website_redirect_location,
        storage_class,
    } = headers.clone();
    vec![
        content_type,
        cache_control,
        content_disposition,
        content_encoding,
        content_language,
        expires,
        website_redirect_location,
        storage_class,
    ]
}

/// An origin that tells of more than any object can hold is not believed.
fn check_size(size: u64) -> Result<()> {
    if size <= limits::OBJECT_BYTES_MAX {
        return Ok(());
    }
    Err(Error::new(ErrorKind::OriginUnavailable, format!("the origin tells of an object of {size} bytes, which none can have")))
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

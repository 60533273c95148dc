//! Hydration: brings one object here because it was asked for.
//!
//! The origin's answer is taken piece by piece into the blob store while readers follow the [`Transfer`]. When the last byte is here and the
//! whole is verified, the copy becomes the object by compare-and-set: only if the key holds exactly what it held before the origin was asked,
//! in the same generation. A newer PUT or DELETE always wins and the copy is thrown away.

use std::{mem, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use md5::{Digest, Md5};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};
use umbra_blob::StoredBlob;
use umbra_core::{
    Body, Checksum, ChecksumAlgorithm, ChecksumHasher, ChecksumType, Error, ErrorKind, ObjectInfo, ObjectKey, PartInfo, PartNumber,
    ReadSource, Result, Tags, limits,
};
use umbra_meta::{Batch, Check, Expect, Write, is_outcome_unknown, key};
use umbra_store::{Bucket, Catalog, Content, Extent, Identity, Integrity, Native, Terms, encode_piece};

use crate::{
    inventory,
    origin::{Origin, OriginObject, ShadowPath},
    parts::PartHashes,
    stats::Stats,
    transfer::{End, Leftovers, StoredPiece, Transfer},
    view::Base,
};

/// Bytes of one stored piece. Large enough that a flush per piece costs little, small enough that a hundred transfers fit into the memory
/// budget: each holds at most two pieces, the one being gathered and the one being stored.
pub(crate) const PIECE_BYTES: u64 = 4 * 1024 * 1024;

/// Of how many parts an origin is asked the size of each.
const PARTS_ASKED_MAX: u16 = 100;

/// The unit in which hydrations share their memory budget.
pub(crate) const PERMIT_BYTES: u64 = 1024 * 1024;

/// All that one hydration works with.
#[derive(Debug)]
pub(crate) struct Hydration {
    pub(crate) native: Native,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) origin: Arc<dyn Origin>,
    pub(crate) bucket: Bucket,
    pub(crate) key: ObjectKey,
    pub(crate) base: Base,
    pub(crate) path: ShadowPath,
    pub(crate) stats: Arc<Stats>,
    /// The memory budget of all hydrations, in [`PERMIT_BYTES`].
    pub(crate) memory: Arc<Semaphore>,
}

/// Pieces that one transfer may number. Each transfer begins at a random multiple of it, so that two of one key do not share rows.
const PIECES_PER_TRANSFER: u32 = 1 << 20;

/// What has been taken so far.
struct Taken<'a> {
    hydration: &'a Hydration,
    transfer: &'a Transfer,
    /// The latest chunk, not yet shown to readers.
    held: Option<Bytes>,
    /// Arrived, not yet handed to the blob store.
    gathered: Vec<Bytes>,
    gathered_size: u64,
    storing: Option<JoinHandle<umbra_blob::Result<StoredBlob>>>,
    stored: Vec<Extent>,
    /// The rows of the pieces that have one.
    rows: Vec<Vec<u8>>,
    /// The number of the first piece.
    first_piece: u32,
    size: u64,
    hashes: Hashes,
}

/// What is known of an object whose every byte has arrived.
struct Fetched {
    info: ObjectInfo,
    tags_known: bool,
    md5: [u8; 16],
    crc: Checksum,
    _memory: Option<OwnedSemaphorePermit>,
}

struct Hashes {
    md5: Md5,
    crc: ChecksumHasher,
    /// The checksum the origin announced over the whole, when it did.
    announced: Option<(Checksum, ChecksumHasher)>,
    /// Of the parts, where their boundaries can be guessed.
    parts: Option<PartHashes>,
}

/// What the hashes of the whole came to.
struct Sums {
    md5: [u8; 16],
    crc: Checksum,
    parts: Vec<PartInfo>,
}

impl Hashes {
    fn new(info: Option<&ObjectInfo>, part_size: Option<u64>) -> Self {
        let full = info.and_then(|info| info.checksums.iter().find(|checksum| checksum.kind == ChecksumType::FullObject));
        Self {
            md5: Md5::new(),
            crc: ChecksumHasher::new(ChecksumAlgorithm::Crc64Nvme),
            parts: part_size.and_then(PartHashes::new),
            announced: full.map(|checksum| (checksum.clone(), ChecksumHasher::new(checksum.algorithm))),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.crc.update(bytes);
        if let Some((_, hasher)) = &mut self.announced {
            hasher.update(bytes);
        }
        if let Some(parts) = &mut self.parts {
            parts.update(bytes);
        }
    }

    /// Compares with what the origin announced.
    fn verify(self, info: &ObjectInfo, md5_is_etag: bool) -> Result<Sums> {
        let damaged = |what: &str| {
            Error::new(ErrorKind::OriginUnavailable, format!("the origin's bytes do not match its own {what}; please try again"))
        };
        let md5: [u8; 16] = self.md5.finalize().into();
        if let Some((announced, hasher)) = self.announced
            && hasher.finish() != announced
        {
            return Err(damaged("checksum"));
        }
        if md5_is_etag && info.etag.as_md5().is_some_and(|etag| etag != md5) {
            return Err(damaged("ETag"));
        }
        let parts = self.parts.and_then(|parts| parts.matching(&info.etag)).unwrap_or_default();
        Ok(Sums { md5, crc: self.crc.finish(), parts })
    }
}

impl Hydration {
    /// Runs the transfer to its end. Never fails: the transfer holds the outcome.
    pub(crate) async fn run(self, transfer: &Transfer) {
        let mut taken = Taken::new(&self, transfer);
        // Only the fetch can be cancelled: a commit that has begun may land, and then the pieces are the object's.
        let fetched = tokio::select! {
            biased;
            () = transfer.cancel.cancelled() => Err(Error::new(ErrorKind::Cancelled, "the shadow was cleared")),
            fetched = taken.fetch() => fetched,
        };
        let end = match fetched {
            Ok(fetched) => {
                taken.keep_or_leave(fetched).await;
                End::Complete
            }
            Err(error) => {
                taken.leave().await;
                End::Failed(error)
            }
        };
        transfer.finish(end);
    }

    /// The size of a part of a multipart object, as far as the origin tells. That it does not costs only the boundaries.
    async fn part_size(&self, info: &ObjectInfo, part: u16) -> Option<u64> {
        info.etag.part_count()?;
        let part = PartNumber::new(part.into()).ok()?;
        match self.origin.part_size(&self.path, &self.key, &info.etag, part).await {
            Ok(size) => size,
            Err(error) => {
                tracing::debug!(bucket = %self.bucket.name, key = %self.key, error = ?error.error, "the origin does not tell the size of a part");
                None
            }
        }
    }

    /// The sizes of parts that are not all alike, asked for one by one; none if they do not make up the whole.
    async fn part_sizes(&self, info: &ObjectInfo, first: Option<u64>) -> Vec<PartInfo> {
        let (Some(first), Some(count)) = (first, info.etag.part_count().filter(|count| *count <= PARTS_ASKED_MAX)) else {
            return Vec::new();
        };
        let mut parts = vec![PartInfo { number: 1, size: first, checksums: Vec::new() }];
        for number in 2..=count {
            let Some(size) = self.part_size(info, number).await else { return Vec::new() };
            parts.push(PartInfo { number, size, checksums: Vec::new() });
        }
        if parts.iter().map(|part| part.size).sum::<u64>() == info.size { parts } else { Vec::new() }
    }

    async fn memory_for(&self, size: Option<u64>) -> Option<OwnedSemaphorePermit> {
        let bytes = size.unwrap_or(u64::MAX).min(2 * PIECE_BYTES);
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).expect("two pieces are few permits");
        self.memory.clone().acquire_many_owned(permits).await.ok()
    }

    /// The origin's tags; an origin that does not know tags, or does not let us see them, has none to carry over.
    async fn tags(&self) -> Result<Tags> {
        match self.origin.tags(&self.path, &self.key).await {
            Ok(tags) => Ok(tags),
            Err(error) if matches!(error.error.kind(), ErrorKind::Unsupported | ErrorKind::OriginRefused | ErrorKind::NotFound(_)) => {
                Ok(Tags::default())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The batch terms under which the copy becomes the object: nothing of the key has changed since the origin was asked.
    fn terms(&self, rows: &[Vec<u8>]) -> Terms {
        let checks = vec![self.base.tombstone_unchanged(&self.key), self.base.intent_unchanged(&self.key)];
        let mut writes: Vec<Write> = rows.iter().cloned().map(|key| Write::Delete { key }).collect();
        for (row, revision) in [(key::tombstone(&self.key), self.base.tombstone), (key::write_intent(&self.key), self.base.intent)] {
            if revision.is_some() {
                writes.push(Write::Delete { key: row });
            }
        }
        Terms { checks, writes, removal: Some(inventory::removal(&self.key)), ..Terms::default() }
    }
}

impl<'a> Taken<'a> {
    fn new(hydration: &'a Hydration, transfer: &'a Transfer) -> Self {
        Self {
            hydration,
            transfer,
            held: None,
            gathered: Vec::new(),
            gathered_size: 0,
            storing: None,
            stored: Vec::new(),
            rows: Vec::new(),
            first_piece: u32::from_le_bytes(hydration.native.random().array()) & !(PIECES_PER_TRANSFER - 1),
            size: 0,
            hashes: Hashes::new(None, None),
        }
    }

    /// Takes the object from the origin and verifies it.
    async fn fetch(&mut self) -> Result<Fetched> {
        let Hydration { origin, path, key, .. } = self.hydration;
        let OriginObject { mut info, size, tags_known, etag_is_md5, body, .. } = origin.get(path, key, None, None).await?;
        info.source = ReadSource::Origin;
        let permit = self.hydration.memory_for(size).await;
        let part_size = self.hydration.part_size(&info, 1).await;
        self.hashes = Hashes::new(Some(&info), part_size);
        if size.is_some() {
            self.transfer.announce(info.clone());
        }
        self.body(body, size).await?;
        let Sums { md5, crc, parts } = mem::replace(&mut self.hashes, Hashes::new(None, None)).verify(&info, etag_is_md5)?;
        if size.is_none() {
            info.size = self.size;
            self.transfer.announce(info.clone());
        }
        if let Some(last) = self.held.take() {
            self.transfer.append(last);
        }
        info.parts = if parts.is_empty() { self.hydration.part_sizes(&info, part_size).await } else { parts };
        Ok(Fetched { info, tags_known, md5, crc, _memory: permit })
    }

    /// Makes the copy the object. Every reader has all it needs: what fails here costs only the copy.
    async fn keep_or_leave(&mut self, fetched: Fetched) {
        let Err(error) = self.keep(fetched).await else { return };
        let Hydration { bucket, key, stats, .. } = self.hydration;
        stats.discarded_copies.add(1);
        if error.kind() != ErrorKind::Conflict {
            tracing::warn!(bucket = %bucket.name, %key, error = ?error, "a copy could not be kept");
        }
        if is_outcome_unknown(&error) {
            // The commit may have landed: then the pieces are the object's. If not, their rows lead the next start to them.
            return;
        }
        self.leave().await;
    }

    async fn body(&mut self, body: Body, announced: Option<u64>) -> Result<()> {
        let mut stream = body.into_stream();
        while let Some(chunk) = stream.next().await.transpose()? {
            if chunk.is_empty() {
                continue;
            }
            self.size += chunk.len() as u64;
            self.gathered_size += chunk.len() as u64;
            self.hashes.update(&chunk);
            self.gathered.push(chunk.clone());
            if let Some(earlier) = self.held.replace(chunk) {
                self.transfer.append(earlier);
            }
            if self.gathered_size >= PIECE_BYTES {
                self.store_gathered().await?;
            }
        }
        match announced {
            Some(announced) if announced != self.size => {
                Err(Error::new(ErrorKind::OriginUnavailable, "the origin broke off; please try again"))
            }
            _ => Ok(()),
        }
    }

    /// Hands what was gathered to the blob store, and goes on while it is written.
    async fn store_gathered(&mut self) -> Result<()> {
        self.finish_storing().await?;
        let (pieces, blobs) = (mem::take(&mut self.gathered), self.hydration.native.blobs().clone());
        self.gathered_size = 0;
        self.storing = Some(tokio::spawn(async move { blobs.put(pieces).await }));
        Ok(())
    }

    /// Waits for the piece being stored. Its row lets a restart find it when we do not come to the end.
    async fn finish_storing(&mut self) -> Result<()> {
        let Some(storing) = &mut self.storing else { return Ok(()) };
        let blob = storing.await.map_err(|error| Error::internal("a piece could not be stored").because(error))?;
        self.storing = None;
        let blob = blob?;
        let Hydration { native, bucket, key, .. } = self.hydration;
        let piece = u32::try_from(self.rows.len()).ok().filter(|piece| *piece < PIECES_PER_TRANSFER);
        let piece = self.first_piece + piece.ok_or_else(|| Error::new(ErrorKind::Unsupported, "the object has too many pieces"))?;
        let row = key::piece(key, piece);
        let record = encode_piece(&Extent { blob: blob.id.clone(), size: blob.size });
        let offset = self.add(blob);
        let batch = Batch::new(bucket.partition).check(key::settings(), Expect::Exists).put(row.clone(), Bytes::new(), record);
        self.rows.push(row);
        native.meta().commit(batch).await?;
        self.show(offset);
        Ok(())
    }

    /// Takes the next piece into the content; gives where it begins.
    fn add(&mut self, blob: StoredBlob) -> u64 {
        let offset = self.stored.iter().map(|extent| extent.size).sum();
        self.stored.push(Extent { blob: blob.id, size: blob.size });
        offset
    }

    /// Lets readers have the latest piece from the blob store.
    fn show(&self, offset: u64) {
        if let Some(Extent { blob, size }) = self.stored.last().cloned() {
            self.transfer.store(StoredPiece { offset, size, blob });
        }
    }

    async fn keep(&mut self, fetched: Fetched) -> Result<()> {
        let Fetched { mut info, tags_known, md5, crc, _memory } = fetched;
        let tags = if tags_known && info.tag_count == 0 { Tags::default() } else { self.hydration.tags().await? };
        let content = self.content(md5, &crc).await?;
        if info.checksums.is_empty() {
            info.checksums.push(crc);
        }
        info.tag_count = tags.len();
        info.source = ReadSource::Local;
        let Hydration { native, catalog, bucket, key, stats, .. } = self.hydration;
        let identity = Identity { info, tags, hydrated: native.clock().now() };
        let current = catalog.refresh(&bucket.name).await?;
        if !same_shadow(bucket, &current) {
            return Err(Error::new(ErrorKind::Conflict, "the shadow changed"));
        }
        let mut terms = self.hydration.terms(&self.rows);
        terms.checks.push(Check { key: key::settings(), expect: Expect::Revision(current.revision) });
        native.publish_copy(&current, key, content, identity, self.hydration.base.object, terms).await?;
        stats.hydrated_objects.add(1);
        stats.hydrated_bytes.add(self.size);
        Ok(())
    }

    /// The whole content, durable. A small object needs no row for its piece: there is nothing to resume or to find.
    async fn content(&mut self, md5: [u8; 16], crc: &Checksum) -> Result<Content> {
        let native = &self.hydration.native;
        if self.stored.is_empty() && self.storing.is_none() {
            let gathered = mem::take(&mut self.gathered);
            if self.size <= limits::INLINE_BYTES_MAX as u64 {
                return native.ingest(Body::from_bytes(gathered.concat()), Integrity::default()).await;
            }
            let blob = native.blobs().put(gathered).await?;
            let offset = self.add(blob);
            self.show(offset);
        } else {
            if !self.gathered.is_empty() {
                self.store_gathered().await?;
            }
            self.finish_storing().await?;
        }
        Ok(Content::assembled(self.stored.clone(), md5, vec![crc.clone()]))
    }

    /// Leaves what was stored to be deleted once the last reader is gone.
    async fn leave(&mut self) {
        if let Some(storing) = self.storing.take()
            && let Ok(Ok(blob)) = storing.await
        {
            self.add(blob);
        }
        if self.stored.is_empty() {
            return;
        }
        let rows = mem::take(&mut self.rows);
        let (native, bucket, stored) = (self.hydration.native.clone(), self.hydration.bucket.clone(), mem::take(&mut self.stored));
        let clean_up = async move {
            if let Err(error) = drop_pieces(&native, &bucket, stored, rows).await {
                tracing::warn!(bucket = %bucket.name, error = ?error, "an abandoned copy stays until the next start");
            }
        };
        self.transfer.keep(Leftovers(Some(clean_up.boxed())));
    }
}

/// Whether a copy begun under `then` still belongs here `now`: the same origin, in the same generation.
pub(crate) fn same_shadow(then: &Bucket, now: &Bucket) -> bool {
    let place = |bucket: &Bucket| {
        let shadow = bucket.settings.shadow.as_ref();
        (bucket.partition, bucket.settings.generation, shadow.map(|shadow| (shadow.endpoint.clone(), shadow.bucket.clone())))
    };
    now.settings.shadow.is_some() && place(then) == place(now)
}

/// Deletes pieces that did not become an object, then their rows. A row outlives a blob that could not be deleted, for the next try.
pub(crate) async fn drop_pieces(native: &Native, bucket: &Bucket, stored: Vec<Extent>, rows: Vec<Vec<u8>>) -> Result<()> {
    for extent in stored {
        native.blobs().delete(&extent.blob).await?;
    }
    native.meta().commit(rows.into_iter().fold(Batch::new(bucket.partition), Batch::delete)).await?;
    Ok(())
}

//! How a hydration begins: it goes on with what an earlier one left, or asks the origin what the object is.

use std::sync::atomic::Ordering;

use umbra_core::{ByteRange, ETag, Error, ErrorKind, Fault, RangeSpec, ReadSource, Result, limits};
use umbra_meta::key;

use super::{Hydration, Pinned, Wanted};
use crate::{
    fetch::{Failure, Opened},
    hashes::Hashes,
    origin::OriginObject,
    partial::{self, Partial},
    record::Hydrating,
    transfer::{FETCH_BYTES, PIECE_BYTES, Transfer, WHOLE_BYTES_MAX},
};

impl Hydration {
    /// Goes on with what an earlier transfer left, or asks the origin. Gives the answer and the range it begins to bring, if there is one.
    pub(super) async fn open(&self, transfer: &Transfer, wanted: Wanted) -> Result<Option<((u64, ByteRange), Opened)>, Failure> {
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
        if self.origin.ignores_ranges() {
            transfer.learn_that_ranges_are_ignored();
        }
        let pinned = self.pin(Pinned { info, size, tags_known, etag_is_md5, is_whole: true });
        let asking = pinned.info.etag.part_count().map(|_| self.ask_first_part());
        transfer.put_hashes(Hashes::new(&pinned.info, etag_is_md5, self.native.md5s(), asking));
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
}

/// An origin that tells of more than any object can hold is not believed.
fn check_size(size: u64) -> Result<()> {
    if size <= limits::OBJECT_BYTES_MAX {
        return Ok(());
    }
    Err(Error::new(ErrorKind::OriginUnavailable, format!("the origin tells of an object of {size} bytes, which none can have")))
}

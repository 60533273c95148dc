//! How a hydration begins: it goes on with what an earlier one left, or asks the origin what the object is.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::{sync::OwnedSemaphorePermit, task::JoinHandle, time::timeout};
use umbra_core::{ByteRange, ETag, Error, ErrorKind, Fault, ObjectInfo, RangeSpec, ReadSource, Result, limits};
use umbra_meta::key;

use super::{Hydration, PATIENCE, Pinned, Wanted};
use crate::{
    fetch::{Failure, Opened},
    hashes::Hashes,
    inventory,
    origin::{OriginError, OriginObject},
    partial::{self, Partial},
    record::Hydrating,
    transfer::{Sizes, Transfer},
};

/// How long the headers of the whole are waited for once the first bytes are there. They are asked for at the same time; an origin that does not
/// tell them so soon is asked once more at the end.
const HEADERS_PATIENCE: Duration = Duration::from_secs(2);

/// The first answer, and the range it brings.
type Begun = ((u64, ByteRange), Opened);

impl Hydration {
    /// Goes on with what an earlier transfer left, or asks the origin. Gives the answer and the range it begins to bring, if there is one.
    pub(super) async fn open(&self, transfer: &Transfer, wanted: Wanted) -> Result<Option<Begun>, Failure> {
        if self.resume(transfer).await? {
            return Ok(None);
        }
        let wanted = match wanted {
            Wanted::Whole => inventory::listed_size(&self.native, &self.bucket, &self.key).await?.map_or(wanted, Wanted::WholeOf),
            Wanted::WholeOf(_) | Wanted::Range(_) => wanted,
        };
        let Sizes { piece, fetch, whole_max, .. } = transfer.sizes;
        transfer.asks();
        match wanted {
            Wanted::Range(RangeSpec::From { first, last }) => {
                let start = first - first % piece;
                let end = last.map_or(u64::MAX, |last| last.saturating_add(1)).min(start.saturating_add(fetch));
                if first >= limits::OBJECT_BYTES_MAX {
                    // No object reaches so far: its headers tell.
                    return self.open_by_head(transfer).await;
                }
                let end = end.max(first + 1).div_ceil(piece) * piece;
                self.open_range(transfer, ByteRange::new(start, end)).await
            }
            Wanted::Range(RangeSpec::Suffix { .. }) => self.open_by_head(transfer).await,
            Wanted::WholeOf(size) if size <= whole_max => self.open_whole(transfer).await,
            Wanted::WholeOf(_) => self.open_beginning(transfer, fetch).await,
            Wanted::Whole => self.open_beginning(transfer, whole_max).await,
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
        transfer.asks();
        if !is_sound || self.has_changed(&record).await? {
            if partial::forget(&self.native, &self.bucket, &self.key, revision).await? {
                self.drop_earlier(pieces);
            }
            return Ok(false);
        }
        self.first_piece.get_or_init(|| record.first_piece);
        let last = pieces.iter().filter_map(|(_, row)| key::parse_piece(row)).map(|(_, number)| number - record.first_piece).max();
        self.pieces.store(last.map_or(0, |last| last + 1), Ordering::Relaxed);
        *self.row.lock().await = Some(revision);
        let (info, etag_is_md5) = (record.info(), record.etag_is_md5);
        let pinned = Pinned { size: Some(info.size), tags_known: record.tag_count.is_some(), etag_is_md5, is_whole: false, info };
        if self.origin.ignores_ranges() {
            transfer.learn_that_ranges_are_ignored();
        }
        transfer.adopt(self.pin(pinned).info.clone(), pieces.into_iter().map(|(piece, _)| piece).collect());
        Ok(true)
    }

    /// Whether the origin says that it holds another object by now, or none. One that cannot be asked, or does not answer soon, says nothing.
    async fn has_changed(&self, record: &Hydrating) -> Result<bool> {
        let etag = ETag::parse(&record.etag);
        let Ok(answer) = timeout(PATIENCE, self.origin.is_unchanged(&self.path, &self.key, &etag)).await else { return Ok(false) };
        match answer {
            Ok(is_unchanged) => Ok(!is_unchanged),
            Err(error) if error.is_not_found() => Ok(true),
            Err(error) if matches!(error.error.kind(), ErrorKind::OriginUnavailable | ErrorKind::OriginRefused) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks for the whole by one plain request.
    async fn open_whole(&self, transfer: &Transfer) -> Result<Option<Begun>, Failure> {
        let object = self.origin.get(&self.path, &self.key, None, None).await.map_err(Error::from)?;
        if self.origin.ignores_ranges() {
            transfer.learn_that_ranges_are_ignored();
        }
        self.begin(transfer, object, true, None).map(Some)
    }

    /// Asks for the first bytes of an object that is wanted as a whole, and at the same time for the headers of the whole: the answer to a range
    /// does not tell the checksums.
    async fn open_beginning(&self, transfer: &Transfer, bytes: u64) -> Result<Option<Begun>, Failure> {
        if self.origin.ignores_ranges() {
            return self.open_whole(transfer).await;
        }
        let headers = self.ask_headers();
        let mut object = match self.origin.get(&self.path, &self.key, Some(ByteRange::new(0, bytes)), None).await {
            Ok(object) => object,
            // There is no first byte, or the origin wants no request for a range.
            Err(error) if is_beyond(&error) || says_nothing_of_the_whole(&error) => return self.open_whole(transfer).await,
            Err(error) => return Err(Error::from(error).into()),
        };
        let mut told = in_time(headers).await;
        let differs = |told: &ObjectInfo| told.etag != object.info.etag;
        if told.as_ref().is_some_and(differs) {
            // One of the two was answered before the object changed, the other after.
            told = in_time(self.ask_headers()).await;
        }
        if told.as_ref().is_some_and(differs) {
            drop(object);
            return self.open_whole(transfer).await;
        }
        if object.range.is_none() {
            // Its own end tells where it ends, if its length does not.
            transfer.learn_that_ranges_are_ignored();
        } else {
            object.size = object.size.or(told.as_ref().map(|told| told.size).filter(|size| *size > 0));
            if object.size.is_none() {
                return self.open_whole(transfer).await;
            }
        }
        let is_whole = told.is_some();
        if let Some(told) = told {
            object.info = ObjectInfo { tag_count: object.info.tag_count, ..told };
        }
        self.begin(transfer, object, is_whole, None).map(Some)
    }

    /// Asks for the headers of the whole beside another request, whose answer decides: this one may fail.
    fn ask_headers(&self) -> JoinHandle<Option<ObjectInfo>> {
        let (origin, path, key) = (self.origin.clone(), self.path.clone(), self.key.clone());
        // A request that nobody waits for any more ends well all the same, and its connection stays.
        tokio::spawn(async move { origin.head_alone(&path, &key).await.ok() })
    }

    async fn open_range(&self, transfer: &Transfer, range: ByteRange) -> Result<Option<Begun>, Failure> {
        let lane = self.lane().await;
        let object = match self.origin.get(&self.path, &self.key, Some(range), None).await {
            Ok(object) => object,
            // Behind the end, or the object is empty: its headers tell.
            Err(error) if is_beyond(&error) => return self.open_by_head(transfer).await,
            Err(error) => return Err(Error::from(error).into()),
        };
        match (object.range, object.size) {
            (Some(_), None) => return self.open_whole(transfer).await,
            (None, _) => transfer.learn_that_ranges_are_ignored(),
            (Some(_), Some(_)) => {}
        }
        self.begin(transfer, object, false, lane).map(Some)
    }

    async fn open_by_head(&self, transfer: &Transfer) -> Result<Option<Begun>, Failure> {
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

    /// Begins with an answer of the origin. `is_whole` says whether what it tells is of the whole.
    fn begin(
        &self,
        transfer: &Transfer,
        object: OriginObject,
        is_whole: bool,
        lane: Option<OwnedSemaphorePermit>,
    ) -> Result<Begun, Failure> {
        let OriginObject { info, size, tags_known, etag_is_md5, range, body, .. } = object;
        check_size(size.unwrap_or(0))?;
        let pinned = self.pin(Pinned { info, size, tags_known, etag_is_md5, is_whole });
        if is_whole {
            let asking = pinned.info.etag.part_count().map(|_| self.ask_first_part());
            transfer.put_hashes(Hashes::new(&pinned.info, etag_is_md5, self.native.md5s(), asking));
        }
        let brought = range.unwrap_or(ByteRange::new(0, size.unwrap_or(u64::MAX)));
        // Claimed before readers learn of the object and claim for themselves.
        let id = transfer.begin(brought);
        if size.is_some() {
            transfer.announce(pinned.info.clone());
        }
        Ok(((id, brought), Opened { body, lane }))
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

/// The headers of the whole, if they come soon.
async fn in_time(headers: JoinHandle<Option<ObjectInfo>>) -> Option<ObjectInfo> {
    timeout(HEADERS_PATIENCE, headers).await.ok()?.ok().flatten()
}

/// Whether the origin says that no byte of the range that was asked for exists.
fn is_beyond(error: &OriginError) -> bool {
    error.error.kind() == ErrorKind::Invalid(Fault::InvalidRange)
}

/// Whether the answer to a request for a range says nothing of the whole: the origin does not take such requests, or answers them in a way that
/// nobody understands.
fn says_nothing_of_the_whole(error: &OriginError) -> bool {
    match std::error::Error::source(&error.error).and_then(|cause| cause.downcast_ref()) {
        Some(umbra_client::Error::BadResponse { .. }) => true,
        Some(told @ umbra_client::Error::S3(_)) => told.s3().is_some_and(|told| matches!(told.status, 400 | 405 | 501)),
        _ => false,
    }
}

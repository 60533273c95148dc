//! The content of an object as a stream over its extents.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinHandle;
use umbra_core::{Body, BodyStream, ByteRange, Error, ErrorKind, Result};

use super::{Extent, Pieces, SealedBlobs, sealed::within};
use crate::{ReclaimHandle, reclaim::Pin};

/// Opens `range` of a content. The first extent is opened before this returns, so that a blob that is gone, the inner error, is noticed
/// before anything is answered, and so is a key that does not fit; of the others one is opened ahead.
///
/// The others are pinned, so that even a slow reader of an object that is overwritten meanwhile gets all of it.
pub(super) async fn open(
    blobs: &SealedBlobs,
    reclaimer: &ReclaimHandle,
    pieces: &Pieces,
    range: ByteRange,
) -> Result<umbra_blob::Result<BodyStream>> {
    let extents = match pieces {
        Pieces::Inline(bytes) => return Ok(Ok(Body::from_bytes(within(bytes, range)).into_stream())),
        Pieces::SealedInline(bytes, seal) => return blobs.open(bytes, seal, pieces.size(), range).map(Ok),
        Pieces::Extents(extents) => extents,
    };
    let mut wanted = wanted(extents, range);
    let Some((first, first_range)) = wanted.pop_front() else { return Ok(Ok(stream::empty().boxed())) };
    let pin = (!wanted.is_empty()).then(|| reclaimer.pin(wanted.iter().map(|(extent, _)| extent.blob.clone()).collect()));
    let current = match blobs.read(&first, first_range).await? {
        Ok(current) => current,
        Err(error) => return Ok(Err(error)),
    };
    let Some(pin) = pin else { return Ok(Ok(current)) };
    let mut reader = Reader { blobs: Arc::new(blobs.clone()), current, wanted, ahead: None, _pin: pin };
    reader.open_ahead();
    Ok(Ok(stream::try_unfold(reader, Reader::next).boxed()))
}

/// The extents that hold `range`, each with the range that is wanted of it.
fn wanted(extents: &[Extent], range: ByteRange) -> VecDeque<(Extent, ByteRange)> {
    let mut start = 0;
    let mut wanted = VecDeque::new();
    for extent in extents {
        let end = start + extent.size;
        let overlap = range.start.max(start)..range.end.min(end);
        if !overlap.is_empty() {
            wanted.push_back((extent.clone(), ByteRange::new(overlap.start - start, overlap.end - start)));
        }
        start = end;
    }
    wanted
}

/// Reads extents one after the other.
struct Reader {
    blobs: Arc<SealedBlobs>,
    current: BodyStream,
    wanted: VecDeque<(Extent, ByteRange)>,
    ahead: Option<JoinHandle<Result<BodyStream>>>,
    _pin: Pin,
}

impl Reader {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        loop {
            if let Some(chunk) = self.current.try_next().await? {
                return Ok(Some((chunk, self)));
            }
            let Some(ahead) = self.ahead.take() else { return Ok(None) };
            let opened = ahead.await.map_err(|error| Error::new(ErrorKind::Cancelled, "the server is stopping").because(error))?;
            self.current = opened?;
            self.open_ahead();
        }
    }

    /// Opens the next extent while the current one is read.
    fn open_ahead(&mut self) {
        self.ahead = self.wanted.pop_front().map(|(extent, range)| {
            let blobs = Arc::clone(&self.blobs);
            tokio::spawn(async move { Ok(blobs.read(&extent, range).await??) })
        });
    }
}

#[cfg(test)]
mod tests {
    use umbra_blob::BlobId;
    use umbra_core::ByteRange;

    use super::{Extent, wanted};

    #[test]
    fn a_range_touches_only_the_extents_it_overlaps() {
        let extents = [(b"a", 10), (b"b", 5), (b"c", 20)].map(|(id, size)| Extent::plain(BlobId::from_bytes(id), size));
        let extent = |id: &[u8]| extents.iter().find(|extent| extent.blob.as_bytes() == id).unwrap().clone();
        let part = |id: &[u8], start, end| (extent(id), ByteRange::new(start, end));
        let cases = [
            (0, 35, vec![part(b"a", 0, 10), part(b"b", 0, 5), part(b"c", 0, 20)]),
            (0, 10, vec![part(b"a", 0, 10)]),
            (10, 11, vec![part(b"b", 0, 1)]),
            (9, 16, vec![part(b"a", 9, 10), part(b"b", 0, 5), part(b"c", 0, 1)]),
            (34, 35, vec![part(b"c", 19, 20)]),
            (7, 7, vec![]),
        ];
        for (start, end, expected) in cases {
            assert_eq!(wanted(&extents, ByteRange::new(start, end)), expected, "{start}..{end}");
        }
    }
}

//! A reader of a cold object that follows its transfer at its own pace.

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use umbra_core::{Body, BodyStream, ByteRange, Error, Result};
use umbra_store::SealedBlobs;

use crate::{
    news::Follower,
    transfer::{StoredPiece, Visit, cut_off},
};

/// How many requests ahead of itself a reader has bytes brought: some are on their way while others arrive.
const AHEAD_FETCHES: u64 = 4;

/// What a reader finds at its position.
pub(crate) enum At {
    Bytes(Bytes),
    Stored(StoredPiece),
    /// It is on its way, or withheld until the whole is verified.
    NotYet,
    /// Nobody is bringing it.
    Missing,
    Failed(Error),
}

/// A reader. While it lives its transfer goes on.
pub(crate) struct Reader {
    transfer: Visit,
    changed: Follower,
    blobs: SealedBlobs,
    /// What is still to be read.
    range: ByteRange,
    /// Up to where bytes have been asked for.
    demanded: u64,
    /// Whether it reads the whole: then its last bytes wait until the whole is verified, so that it takes no damaged object for a sound one.
    is_whole: bool,
    piece: Option<BodyStream>,
    first: Option<Bytes>,
}

impl Reader {
    pub(crate) fn new(transfer: Visit, changed: Follower, blobs: SealedBlobs, range: ByteRange, is_whole: bool) -> Self {
        Self { transfer, changed, blobs, range, demanded: range.start, is_whole, piece: None, first: None }
    }

    /// Waits for the first bytes: what goes wrong before them can still be answered properly.
    pub(crate) async fn prime(&mut self) -> Result<()> {
        self.transfer.assure(self.range).await?;
        self.first = self.next().await?;
        Ok(())
    }

    /// Whether the transfer ended without a failure: the object is to be looked for here again.
    pub(crate) fn is_over(&self) -> bool {
        self.transfer.is_over()
    }

    /// The bytes, as they arrive.
    pub(crate) fn into_body(self) -> Body {
        let size = self.range.len() + self.first.as_ref().map_or(0, |first| first.len() as u64);
        Body::new(Some(size), self.into_stream())
    }

    fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send {
        stream::try_unfold(self, |mut reader| async move {
            let bytes = match reader.first.take() {
                Some(first) => Some(first),
                None => reader.next().await?,
            };
            Ok(bytes.map(|bytes| (bytes, reader)))
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.range.is_empty() {
            if let Some(piece) = &mut self.piece {
                match piece.next().await {
                    Some(bytes) => {
                        let bytes = bytes?;
                        return Ok(Some(self.take(bytes)));
                    }
                    None => self.piece = None,
                }
                continue;
            }
            self.demand();
            // Seen before the look, so that what changes after it is not slept through.
            self.changed.catch_up();
            let (end, is_whole) = (self.range.end, self.is_whole);
            match self.transfer.at(self.range.start, |upto| is_whole && upto >= end) {
                At::Bytes(bytes) => return Ok(Some(self.take(bytes))),
                At::Stored(piece) => {
                    let end = (piece.offset + piece.size).min(self.range.end);
                    let within = ByteRange::new(self.range.start - piece.offset, end - piece.offset);
                    self.piece = Some(self.blobs.read(&piece.extent(), within).await?.map_err(unread)?);
                }
                At::NotYet => self.wait().await,
                At::Missing => {
                    self.demanded = self.range.start;
                    self.demand();
                    self.wait().await;
                }
                At::Failed(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn wait(&mut self) {
        self.changed.changed().await;
    }

    /// Has the next bytes brought, a good way ahead.
    fn demand(&mut self) {
        // To where whole requests end, so that none is for less.
        let fetch = self.transfer.sizes.fetch;
        let ahead = self.range.start.saturating_add(AHEAD_FETCHES * fetch);
        let wanted = self.range.end.min(ahead - ahead % fetch);
        let is_little = self.demanded.saturating_sub(self.range.start) < (AHEAD_FETCHES - 1) * fetch;
        if self.demanded <= self.range.start || (self.demanded < wanted && is_little) {
            self.transfer.demand(ByteRange::new(self.range.start, wanted));
            self.demanded = wanted;
        }
    }

    fn take(&mut self, mut bytes: Bytes) -> Bytes {
        bytes.truncate(usize::try_from(self.range.len()).unwrap_or(usize::MAX));
        self.range.start += bytes.len() as u64;
        bytes
    }
}

/// A piece that is gone went with its shadow: nothing else takes the pieces of a transfer away that is read.
fn unread(error: umbra_blob::Error) -> Error {
    if matches!(error, umbra_blob::Error::NotFound(_)) { cut_off() } else { error.into() }
}

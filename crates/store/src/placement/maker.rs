//! Makes copies that have to be, in any region.
//!
//! The order is that of the copies that readers leave (`copier.rs`): the row first, then the bytes, then the row says where they are.
//! Whoever makes such a copy says again and again that it still does, so that one whose maker died is soon made by another.
//!
//! Of a copy that is there and cannot be read the row stays, and so do the bytes, until others are in their place.

use std::{future::Future, sync::Arc, time::Duration};

use futures::TryStreamExt;
use tokio::time::sleep;
use umbra_blob::{BlobId, BlobStore, Error, Result};
use umbra_core::ByteRange;

use super::{
    PlacedBlobStore, PlacementMetrics, Shared,
    address::Address,
    copier::{Content, delete},
    index::{Claim, Coming, Copy, CopyIndex, CopyRow, Place, failed},
    moving::home_of,
    reading::is_lost,
    subject::Subject,
};

/// For how long a copy is taken to be coming whose maker says nothing, and how often it says something.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const RENEW_EVERY: Duration = Duration::from_secs(15);
/// How often rows are asked where bytes are that were not where the rows said.
const LOOKS_MAX: usize = 3;

/// How it went with a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// It was made.
    Now,
    /// It was there, or the region is the blob's home.
    Before,
    /// Somebody else is making it.
    Coming,
    /// There is no blob any more to make one of, or none may be there.
    Gone,
}

/// Why a copy could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(super) struct MakeError {
    /// Whether the region where it was to be made is to blame, and not that of the blob.
    pub(super) is_there: bool,
    #[source]
    pub(super) error: Error,
}

fn here(error: Error) -> MakeError {
    MakeError { is_there: false, error }
}

fn there(error: Error) -> MakeError {
    MakeError { is_there: true, error }
}

impl PlacedBlobStore {
    /// Makes the copy of `id`, which is of `subject`, in `region`, unless it is there and answers, or may not be there.
    pub(super) async fn make_copy(&self, region: &str, id: &BlobId, subject: &Subject) -> std::result::Result<Made, MakeError> {
        self.make(region, id, subject, false).await
    }

    /// The same, unless it is there and whole: it is to be the home.
    pub(super) async fn make_home(&self, region: &str, id: &BlobId, subject: &Subject) -> std::result::Result<Made, MakeError> {
        self.make(region, id, subject, true).await
    }

    async fn make(&self, region: &str, id: &BlobId, subject: &Subject, is_home: bool) -> std::result::Result<Made, MakeError> {
        let shared = &self.shared;
        let Some(address) = shared.address(id) else { return Ok(Made::Gone) };
        // Its home, unless that has moved.
        if address.region.as_str() == region && home_of(&shared.index.all(id).await.map_err(here)?).is_none() {
            return Ok(Made::Before);
        }
        let (target, index) = (shared.store(region).map_err(there)?, shared.index_of(region));
        let coming = loop {
            match index.claim(id, SILENCE_MAX).await.map_err(here)? {
                Claim::There { copy, record } => {
                    let place = Place { region: region.to_owned(), blob: copy.blob.clone() };
                    // What nobody relied on yet may be what was left of a home that was found damaged.
                    if self.is_there(id, place, is_home || !record.is_required).await.map_err(there)? {
                        index.require(id, &copy, record).await.map_err(here)?;
                        return Ok(Made::Before);
                    }
                    if let Some(coming) = again(&index, id, &copy).await? {
                        break coming.required();
                    }
                }
                Claim::Taken => return Ok(Made::Coming),
                Claim::Ours(coming) => break coming,
            }
        };
        // Behind the row: see the head of `subject.rs`.
        match shared.may_be_in(region, subject).await {
            Ok(Some(true)) => Making { target, index: &index, id }.run(shared, &address, coming).await,
            refused => {
                index.abandon(id, &coming).await;
                refused.map(|_| Made::Gone).map_err(|error| here(failed(error)))
            }
        }
    }

    async fn is_there(&self, id: &BlobId, copy: Place, has_to_be_whole: bool) -> Result<bool> {
        match self.born(id).filter(|_| has_to_be_whole) {
            Some(born) => self.shared.reads_whole(&born, &copy).await,
            None => answers(self.shared.engine(&copy.region)?.as_ref(), &copy.blob).await,
        }
    }

    /// Whether the bytes of a copy answer. Where that cannot be told, that is an error.
    pub(super) async fn answers_in(&self, copy: &CopyRow) -> Result<bool> {
        match copy.place() {
            Some(place) => self.answer_at(&place).await,
            None => Ok(false),
        }
    }

    /// The same of bytes that are said to be somewhere.
    pub(super) async fn answer_at(&self, place: &Place) -> Result<bool> {
        self.shared.silence.heard(&place.region, answers(self.shared.engine(&place.region)?.as_ref(), &place.blob)).await
    }

    /// Where the identifier says that a blob is.
    pub(super) fn born(&self, id: &BlobId) -> Option<Place> {
        self.shared.born(id)
    }

    /// What is counted.
    pub(super) fn metrics(&self) -> &PlacementMetrics {
        &self.shared.metrics
    }

    /// The copies of a blob in all regions, and those that are coming.
    pub(super) async fn copies(&self, id: &BlobId) -> Result<Vec<CopyRow>> {
        self.shared.index.all(id).await
    }

    /// The same of several blobs, in their order.
    pub(super) async fn copies_of_all(&self, ids: &[&BlobId]) -> Result<Vec<Vec<CopyRow>>> {
        self.shared.index.all_of(ids).await
    }

    /// Says that a copy need not be there any more, unless it was changed.
    pub(super) async fn release_copy(&self, id: &BlobId, copy: &CopyRow) -> Result<()> {
        self.shared.index.release(id, copy).await
    }
}

impl Shared {
    /// The index of the copies in `region`.
    pub(super) fn index_of(&self, region: &str) -> Arc<CopyIndex> {
        if region == self.region.as_str() { Arc::clone(&self.index) } else { Arc::new(self.index.of_region(region)) }
    }

    /// Opens all bytes of a blob where they belong to it, at its home rather than elsewhere, and not in `target`, whose copy is to be made. `None`
    /// where they are nowhere.
    ///
    /// Bytes that the blob has left may outlive it, and their copy must not: where it is rows say, unless none does.
    async fn open_all(self: &Arc<Self>, id: &BlobId, address: &Address, target: &str) -> Result<Option<Content>> {
        let born = Place { region: address.region.to_string(), blob: address.inner.clone() };
        let size = self.store(&born.region)?.size_of(&born.blob);
        // Of what is gone some do not know how long it was.
        let range = ByteRange::new(0, size.unwrap_or(1));
        let mut failure = None;
        for _ in 0..LOOKS_MAX {
            let mut rows = self.index.all(id).await?;
            rows.sort_by_key(|row| row.record.home.is_none());
            let first = home_of(&rows).is_none().then(|| born.clone());
            let copies: Vec<_> = rows.iter().filter(|row| row.region != target).filter_map(CopyRow::place).collect();
            // What a row tells of may have moved meanwhile.
            let is_sure = copies.is_empty();
            for place in first.into_iter().chain(copies) {
                match self.silence.heard(&place.region, self.open_at(&place, range)).await {
                    Ok(content) if size.is_some() => return Ok(Some(self.going_on(id, range, Some(place.region), content))),
                    Ok(_) => return Err(Error::Corrupt { id: id.clone(), why: "its identifier does not say how long it is".to_owned() }),
                    Err(Error::NotFound(_)) => {}
                    Err(error) => failure = Some(error),
                }
            }
            if is_sure || failure.is_some() {
                break;
            }
        }
        failure.map_or(Ok(None), Err)
    }
}

/// A copy being made.
struct Making<'a> {
    target: &'a Arc<dyn BlobStore>,
    index: &'a CopyIndex,
    id: &'a BlobId,
}

impl Making<'_> {
    async fn run(&self, shared: &Arc<Shared>, address: &Address, mut coming: Coming) -> std::result::Result<Made, MakeError> {
        let stored = match shared.open_all(self.id, address, self.index.region()).await {
            Ok(Some(content)) => self.renewing(&mut coming, self.store(shared, content)).await,
            Ok(None) => {
                self.index.abandon(self.id, &coming).await;
                return Ok(Made::Gone);
            }
            Err(error) => Err(here(error)),
        };
        let blob = match stored {
            Ok(blob) => blob,
            Err(error) => {
                self.index.abandon(self.id, &coming).await;
                return Err(error);
            }
        };
        match self.index.keep(self.id, coming.clone(), blob.clone()).await {
            Ok(()) => {
                shared.metrics.count_copy();
                Ok(Made::Now)
            }
            Err(error) => {
                // It was deleted meanwhile, or somebody took it over.
                if !self.index.may_name(self.id, &blob, &error).await {
                    delete(self.target.as_ref(), &blob).await;
                    self.index.abandon(self.id, &coming).await;
                }
                Err(here(Error::Io { doing: "note where a copy is", source: std::io::Error::other(error) }))
            }
        }
    }

    async fn store(&self, shared: &Shared, mut content: Content) -> std::result::Result<BlobId, MakeError> {
        let mut writer = self.target.create().await.map_err(there)?;
        while let Some(chunk) = content.try_next().await.map_err(here)? {
            shared.metrics.count_fetched(chunk.len());
            writer.write(chunk).await.map_err(there)?;
        }
        Ok(writer.finish().await.map_err(there)?.id)
    }

    /// Says that the copy is coming for as long as `work` takes.
    async fn renewing<T>(&self, coming: &mut Coming, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep(RENEW_EVERY) => {}
            }
            // Should somebody have taken it over, that is found out at the end.
            if let Err(error) = self.index.renew(self.id, coming, SILENCE_MAX).await {
                tracing::debug!(%error, "it cannot be said that a copy is still coming");
            }
        }
    }
}

/// Has a copy come in the place of one that cannot be read. `None`: it is another by now.
async fn again(index: &CopyIndex, id: &BlobId, lost: &Copy) -> std::result::Result<Option<Coming>, MakeError> {
    let coming = index.begin_again(id, lost).await.map_err(here)?;
    if coming.is_some() {
        tracing::warn!(blob = ?id, region = index.region(), "a copy that has to be there cannot be read; it is made again");
    }
    Ok(coming)
}

/// Whether the first byte of a copy can be read. It is lost where it is known not to be.
async fn answers(store: &dyn BlobStore, blob: &BlobId) -> Result<bool> {
    let read = async { store.read(blob, ByteRange::new(0, 1)).await?.try_for_each(|_| std::future::ready(Ok(()))).await };
    match read.await {
        Ok(()) => Ok(true),
        Err(error) if is_lost(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

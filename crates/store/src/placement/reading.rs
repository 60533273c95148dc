//! Reads: from the copy here, else from where the bytes are.
//!
//! Where they are is in the identifier, unless the rows of copies say otherwise; those are asked when the region in the identifier
//! does not have the bytes or does not answer. A blob is absent only if neither it nor any row tells of bytes.

use std::sync::Arc;

use futures::{FutureExt, StreamExt, TryStreamExt};
use umbra_blob::{BlobId, Error, Result};
use umbra_core::ByteRange;

use super::{
    Shared,
    address::Address,
    copier::{Admission, Content, Open, Opened},
    index::{Copy, Place},
    rename,
};

/// How often rows are asked where bytes are that were not where the rows said: they may move meanwhile.
const LOOKS_MAX: usize = 3;

impl Shared {
    /// Reads a range of `id`. Where it is not, a copy is kept if it `keeps` any.
    pub(super) async fn read(self: &Arc<Self>, id: &BlobId, range: ByteRange, keeps: bool) -> Result<Content> {
        let address = self.address(id).ok_or_else(|| Error::NotFound(id.clone()))?;
        let content = self.read_anywhere(id, &address, range, keeps).await;
        content.map(|content| renamed(id, content)).map_err(|error| rename(id, error))
    }

    async fn read_anywhere(self: &Arc<Self>, id: &BlobId, address: &Address, range: ByteRange, keeps: bool) -> Result<Content> {
        let born = Place { region: address.region.to_string(), blob: address.inner.clone() };
        let size = self.store(&born.region).ok().and_then(|store| store.size_of(&born.blob));
        let is_within = size.is_none_or(|size| range.end <= size);
        if born.region == self.region.as_str() && !self.index.has_left(id) {
            match self.own.read(&born.blob, range).await {
                // It may have moved away.
                Err(Error::NotFound(_)) if is_within && !self.index.all(id).await?.is_empty() => {}
                Err(error) if is_within && !matches!(error, Error::NotFound(_)) => {
                    return self.read_any_copy(id, range, error).await.map(|content| self.counted(content));
                }
                outcome => return outcome,
            }
        }
        // What is wrong with a range the home knows to say.
        let copy = if is_within { self.read_copy(id, range).await } else { None };
        if let Some(content) = copy {
            return Ok(content);
        }
        self.metrics.count_home_read();
        match size.filter(|_| keeps && !range.is_empty() && is_within) {
            Some(size) => self.read_and_copy(id, born, range, size).await,
            None => self.open(id, &born, range).await.map(|content| self.counted(content)),
        }
    }

    /// Reads the copy that is here, if there is one of any use.
    async fn read_copy(self: &Arc<Self>, id: &BlobId, range: ByteRange) -> Option<Content> {
        let copy = self.index.find(id).await?;
        match self.own.read(&copy.blob, range).await {
            Ok(content) => {
                self.metrics.count_copy_read();
                let (shared, watched) = (Arc::clone(self), id.clone());
                let content = content.inspect_err(move |error| {
                    if is_lost(error) {
                        let (shared, id, copy) = (Arc::clone(&shared), watched.clone(), copy.clone());
                        tokio::spawn(async move { shared.drop_copy(&id, &copy).await });
                    }
                });
                Some(content.boxed())
            }
            Err(error) => {
                if is_lost(&error) {
                    self.drop_copy(id, &copy).await;
                }
                None
            }
        }
    }

    /// Reads from where the bytes are, and has a copy made if none is being made.
    async fn read_and_copy(self: &Arc<Self>, id: &BlobId, born: Place, range: ByteRange, size: u64) -> Result<Content> {
        let whole = ByteRange::new(0, size);
        let is_perhaps_here = match self.copier.admit(id, size) {
            Admission::Ticket(ticket) if range == whole => match ticket.read(self.opening(id, &born, whole)).await {
                Opened::Content(content) => return content,
                Opened::PerhapsHere => true,
            },
            Admission::Ticket(ticket) => ticket.copy(self.opening(id, &born, whole)).await,
            Admission::UnderWay(copy) => {
                copy.wait().await;
                true
            }
            Admission::Full => false,
        };
        if is_perhaps_here && let Some(content) = self.read_copy(id, range).await {
            return Ok(content);
        }
        self.open(id, &born, range).await.map(|content| self.counted(content))
    }

    fn opening(self: &Arc<Self>, id: &BlobId, born: &Place, range: ByteRange) -> Open {
        let (shared, id, born) = (Arc::clone(self), id.clone(), born.clone());
        async move { shared.open(&id, &born, range).await }.boxed()
    }

    /// Opens `id`, which was `born` there, where its bytes are now.
    async fn open(&self, id: &BlobId, born: &Place, range: ByteRange) -> Result<Content> {
        let moved = self.index.moved(id);
        let failure = match self.open_at(moved.as_ref().unwrap_or(born), range).await {
            Err(error) => error,
            content => return content,
        };
        self.index.note_moved(id, None);
        match (&failure, moved) {
            // It has moved on: it may be back, too.
            (_, Some(_)) => match self.open_at(born, range).await {
                Err(error) => self.read_any_copy(id, range, error).await,
                content => content,
            },
            (_, None) => self.read_any_copy(id, range, failure).await,
        }
    }

    /// Opens any bytes of `id` that a row tells of, its home's before others. Else it is as the `failure` of the region in its identifier says.
    async fn read_any_copy(&self, id: &BlobId, range: ByteRange, mut failure: Error) -> Result<Content> {
        for _ in 0..LOOKS_MAX {
            let places = match self.places(id).await {
                Ok(places) if places.is_empty() => break,
                Ok(places) => places,
                // Without rows a region that has not got it says nothing of others.
                Err(error) if is_lost(&failure) => return Err(error),
                Err(_) => break,
            };
            let mut is_unsure = false;
            for place in places {
                match self.open_at(&place, range).await {
                    Ok(content) => {
                        self.index.note_moved(id, Some(&place));
                        return Ok(content);
                    }
                    Err(error) if is_lost(&error) => is_unsure = true,
                    Err(error) => failure = error,
                }
            }
            if !is_unsure {
                break;
            }
        }
        Err(failure)
    }

    /// Where rows say that bytes of `id` are, but for this region: first its home.
    async fn places(&self, id: &BlobId) -> Result<Vec<Place>> {
        let mut rows = self.index.all(id).await?;
        rows.sort_by_key(|row| row.record.home.is_none());
        Ok(rows.iter().filter(|row| row.region != self.region.as_str()).filter_map(super::index::CopyRow::place).collect())
    }

    async fn open_at(&self, place: &Place, range: ByteRange) -> Result<Content> {
        self.store(&place.region)?.read(&place.blob, range).await
    }

    fn counted(&self, content: Content) -> Content {
        let metrics = self.metrics.clone();
        content.inspect_ok(move |chunk| metrics.count_fetched(chunk.len())).boxed()
    }

    /// Drops a copy that cannot be read, so that the blob is fetched again. The home's bytes stay, whatever is wrong with them.
    async fn drop_copy(&self, id: &BlobId, copy: &Copy) {
        let Some(doomed) = self.index.doom(id, copy).await else { return };
        tracing::warn!(blob = ?id, "the copy of a blob of another region is lost; it is fetched again");
        if let Err(error) = self.own.delete(&copy.blob).await {
            return tracing::debug!(%error, "what is left of a lost copy stays for a while");
        }
        if let Err(error) = self.index.remove(id, self.region.as_str(), doomed).await {
            tracing::debug!(%error, "the row of a lost copy stays for a while");
        }
    }
}

/// Whether the bytes are not there, or not what they were.
const fn is_lost(error: &Error) -> bool {
    matches!(error, Error::NotFound(_) | Error::Corrupt { .. })
}

fn renamed(id: &BlobId, content: Content) -> Content {
    let id = id.clone();
    content.map_err(move |error| rename(&id, error)).boxed()
}

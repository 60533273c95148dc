//! Reads: from the copy here, else from where the bytes are.
//!
//! Where they are is in the identifier, unless the rows of copies say otherwise; those are asked when the region in the identifier
//! does not have the bytes or does not answer. A blob is absent only if neither it nor any row tells of bytes.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use umbra_blob::{BlobId, Error, Result};
use umbra_core::ByteRange;

use super::{
    Shared,
    copier::{Admission, Content, Open, Opened, Source},
    index::{Copy, Place},
    rename,
    subject::Subject,
};

/// How often rows are asked where bytes are that were not where the rows said: they may move meanwhile.
const LOOKS_MAX: usize = 3;

impl Shared {
    /// Reads a range of `id`. Where it is not, a copy is kept of what is `kept`, if its bucket allows it still.
    pub(super) async fn read(self: &Arc<Self>, id: &BlobId, range: ByteRange, kept: Option<&Arc<Subject>>) -> Result<Content> {
        let born = self.born(id).ok_or_else(|| Error::NotFound(id.clone()))?;
        match self.read_anywhere(id, born, range, kept).await {
            Ok(content) => {
                let (shared, kept) = (Arc::clone(self), kept.cloned());
                Ok(Reading { shared, id: id.clone(), content, rest: range, kept, may_go_on: true }.into_content())
            }
            Err(error) => Err(rename(id, error)),
        }
    }

    async fn read_anywhere(self: &Arc<Self>, id: &BlobId, born: Place, range: ByteRange, kept: Option<&Arc<Subject>>) -> Result<Content> {
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
        match size.zip(kept).filter(|_| !range.is_empty() && is_within) {
            Some((size, kept)) => self.read_and_copy(id, born, range, size, kept).await,
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
    async fn read_and_copy(
        self: &Arc<Self>,
        id: &BlobId,
        born: Place,
        range: ByteRange,
        size: u64,
        kept: &Arc<Subject>,
    ) -> Result<Content> {
        let whole = ByteRange::new(0, size);
        let source = || Source { open: self.opening(id, &born, whole), may_be_here: self.asking(kept) };
        let is_perhaps_here = match self.copier.admit(id, size) {
            Admission::Ticket(ticket) if range == whole => match ticket.read(source()).await {
                Opened::Content(content) => return content,
                Opened::PerhapsHere => true,
            },
            Admission::Ticket(ticket) => ticket.copy(source()).await,
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
        async move { shared.open_to_copy(&id, &born, range).await }.boxed()
    }

    fn asking(self: &Arc<Self>, kept: &Arc<Subject>) -> BoxFuture<'static, bool> {
        let (shared, kept) = (Arc::clone(self), Arc::clone(kept));
        async move { shared.may_be_here(&kept).await }.boxed()
    }

    /// Opens `id` to copy it: only bytes that belong to it now. Those that it has left may outlive it, and its copy must not.
    pub(super) async fn open_to_copy(&self, id: &BlobId, born: &Place, range: ByteRange) -> Result<Content> {
        let is_elsewhere = self.index.moved(id).is_some();
        if is_elsewhere && let Ok(content) = self.read_any_copy(id, range, Error::NotFound(id.clone())).await {
            return Ok(content);
        }
        match self.open_first_at(id, born, range).await {
            Err(error) => self.read_any_copy(id, range, error).await,
            content => content,
        }
    }

    /// Opens `id`, which was `born` there, where its bytes are now.
    pub(super) async fn open(&self, id: &BlobId, born: &Place, range: ByteRange) -> Result<Content> {
        let moved = self.index.moved(id);
        let failure = match self.open_first_at(id, moved.as_ref().unwrap_or(born), range).await {
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

    /// Where rows say that bytes of `id` are, first its home. This region, too: that its copy was not read says nothing of whether it is gone.
    async fn places(&self, id: &BlobId) -> Result<Vec<Place>> {
        let mut rows = self.index.all(id).await?;
        rows.sort_by_key(|row| row.record.home.is_none());
        Ok(rows.iter().filter_map(super::index::CopyRow::place).collect())
    }

    /// Opens bytes of `id` at `place`. While its region does not answer, others are asked before it.
    async fn open_first_at(&self, id: &BlobId, place: &Place, range: ByteRange) -> Result<Content> {
        let others = if self.is_silent(&place.region) { self.places(id).await.unwrap_or_default() } else { Vec::new() };
        for other in others.iter().filter(|other| !self.is_silent(&other.region)) {
            if let Ok(content) = self.open_at(other, range).await {
                return Ok(content);
            }
        }
        self.open_at(place, range).await
    }

    pub(super) async fn open_at(&self, place: &Place, range: ByteRange) -> Result<Content> {
        let read = self.store(&place.region)?.read(&place.blob, range);
        if place.region == self.region.as_str() { read.await } else { self.answered(&place.region, read).await }
    }

    fn counted(&self, content: Content) -> Content {
        let metrics = self.metrics.clone();
        content.inspect_ok(move |chunk| metrics.count_fetched(chunk.len())).boxed()
    }

    /// Drops a copy that cannot be read, so that the blob is fetched again. The home's bytes stay, whatever is wrong with them.
    async fn drop_copy(&self, id: &BlobId, copy: &Copy) {
        match self.index.drop_copy(id, copy).await {
            Ok(true) => tracing::warn!(blob = ?id, "the copy of a blob of another region is lost; it is fetched again"),
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "the row of a lost copy stays until it is found again"),
        }
    }
}

/// Whether the bytes are not there, or not what they were.
pub(super) const fn is_lost(error: &Error) -> bool {
    matches!(error, Error::NotFound(_) | Error::Corrupt { .. })
}

/// A range that is being read.
struct Reading {
    shared: Arc<Shared>,
    id: BlobId,
    content: Content,
    rest: ByteRange,
    /// What it is, if a copy of it may be kept.
    kept: Option<Arc<Subject>>,
    /// Whether it may be read on elsewhere, should its bytes go.
    may_go_on: bool,
}

impl Reading {
    fn into_content(self) -> Content {
        stream::unfold(Some(self), |reading| async {
            let mut reading = reading?;
            match reading.next().await? {
                Ok(chunk) => Some((Ok(chunk), Some(reading))),
                Err(error) => Some((Err(rename(&reading.id, error)), None)),
            }
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            match self.content.next().await? {
                Ok(chunk) => {
                    self.rest.start = self.rest.end.min(self.rest.start + chunk.len() as u64);
                    return Some(Ok(chunk));
                }
                Err(Error::NotFound(_)) if self.may_go_on => self.may_go_on = false,
                Err(error) => return Some(Err(error)),
            }
            // A slow reader of bytes whose blob has moved.
            let born = self.shared.born(&self.id)?;
            match self.shared.read_anywhere(&self.id, born, self.rest, self.kept.as_ref()).await {
                Ok(content) => self.content = content,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

//! Reads: from the copy here, else from where the bytes are.
//!
//! Where they are is in the identifier, unless the rows of copies say otherwise; those are asked when the region in the identifier
//! does not have the bytes or does not answer. A blob is absent only if neither it nor any row tells of bytes.
//!
//! # Copies that cannot be read
//! That a copy is not found, or a block of it is damaged, says nothing of its other bytes, nor of the next answer: it may be all that can be read.
//! So it stays, row and bytes, until the whole blob has been fetched from elsewhere and is in its place. The read goes on elsewhere meanwhile,
//! and asks the copy once more if nobody else answers.

use std::{future::ready, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use tokio::time::timeout;
use umbra_blob::{BlobId, Error, Result};
use umbra_core::ByteRange;

use super::{
    Shared,
    copier::{Admission, Content, Open, Opened, Source},
    index::{Copy, CopyRow, Place},
    rename,
    silence::{ANSWER_MAX, silent},
    subject::Subject,
};

/// What became of a read in this region.
enum Asked {
    Answered(Result<Content>),
    /// Its engine does not answer, or did not lately. The read goes on once it is awaited.
    Silent(Open),
}

/// What became of a read of the copy in this region.
enum Here {
    Content(Content),
    /// It cannot be read now.
    Lost(Copy),
    /// The engine does not answer.
    Silent(Open),
    /// There is none of any use.
    Nothing,
}

/// How often rows are asked where bytes are that were not where the rows said: they may move meanwhile.
const LOOKS_MAX: usize = 3;

impl Shared {
    /// Reads a range of `id`. Where it is not, a copy is kept of what is `kept`, if its bucket allows it still.
    pub(super) async fn read(self: &Arc<Self>, id: &BlobId, range: ByteRange, kept: Option<&Arc<Subject>>) -> Result<Content> {
        let born = self.born(id).ok_or_else(|| Error::NotFound(id.clone()))?;
        match self.read_anywhere(id, born, range, kept).await {
            Ok(content) => {
                let (shared, behind) = (Arc::clone(self), Behind::Anywhere(kept.cloned()));
                Ok(Reading { shared, id: id.clone(), content, rest: range, behind, may_go_on: true }.into_content())
            }
            Err(error) => Err(rename(id, error)),
        }
    }

    async fn read_anywhere(self: &Arc<Self>, id: &BlobId, born: Place, range: ByteRange, kept: Option<&Arc<Subject>>) -> Result<Content> {
        let size = self.store(&born.region).ok().and_then(|store| store.size_of(&born.blob));
        let is_within = size.is_none_or(|size| range.end <= size);
        if born.region == self.region.as_str() && !self.index.has_left(id) {
            match self.read_own(id, &born.blob, range).await {
                // It may have moved away.
                Err(Error::NotFound(_)) if is_within && !self.index.all(id).await?.is_empty() => {}
                Err(error) if is_within && !matches!(error, Error::NotFound(_)) => {
                    return self.read_any_copy(id, range, error).await.map(|content| self.counted(content));
                }
                outcome => return outcome,
            }
        }
        // What is wrong with a range the home knows to say.
        let here = if is_within { self.read_copy(id, range, kept).await } else { Here::Nothing };
        let lost = match here {
            Here::Content(content) => return Ok(content),
            Here::Lost(copy) => Some(copy),
            Here::Nothing => None,
            Here::Silent(read) => return self.read_past_copy(id, &born, range, read).await,
        };
        self.metrics.count_home_read();
        let may_copy = !range.is_empty() && is_within && !self.silence.is_of(self.region.as_str());
        match size.zip(kept).filter(|_| may_copy) {
            Some((size, kept)) => self.read_and_copy(id, born, range, (size, lost), kept).await,
            None => self.open(id, &born, range).await.map(|content| self.counted(content)),
        }
    }

    /// Reads a blob that is at home here. While the engine of this region does not answer others are asked before it, and it again if they have nothing.
    async fn read_own(&self, id: &BlobId, blob: &BlobId, range: ByteRange) -> Result<Content> {
        match self.ask_own(blob, range).await {
            Asked::Answered(answer) => answer,
            Asked::Silent(read) => match self.read_any_copy(id, range, silent(self.region.as_str())).await {
                Ok(content) => Ok(self.counted(content)),
                Err(_) => read.await,
            },
        }
    }

    /// Reads elsewhere a blob whose copy here does not answer, and waits for that `read` if nobody else has it.
    async fn read_past_copy(&self, id: &BlobId, born: &Place, range: ByteRange, read: Open) -> Result<Content> {
        self.metrics.count_home_read();
        let failure = match self.open(id, born, range).await {
            Ok(content) => return Ok(self.counted(content)),
            Err(failure) => failure,
        };
        match read.await {
            Ok(content) => {
                self.metrics.count_copy_read();
                Ok(content)
            }
            // That says nothing of the others.
            Err(error) if is_lost(&error) => Err(failure),
            Err(error) => Err(error),
        }
    }

    /// Asks the engine of this region, unless it did not answer lately, and waits as long as an answer may take.
    async fn ask_own(&self, blob: &BlobId, range: ByteRange) -> Asked {
        let (here, own, blob) = (self.region.as_str(), Arc::clone(&self.own), blob.clone());
        let mut read = async move { own.read(&blob, range).await }.boxed();
        // That it answers says nothing of its engine: there may be a cache.
        if self.silence.is_of(here) {
            return Asked::Silent(read);
        }
        if let Ok(answer) = timeout(ANSWER_MAX, &mut read).await {
            return Asked::Answered(answer);
        }
        self.silence.note(here);
        Asked::Silent(read)
    }

    /// Reads the copy that is here. If it breaks off another is made, of what is `kept`.
    async fn read_copy(self: &Arc<Self>, id: &BlobId, range: ByteRange, kept: Option<&Arc<Subject>>) -> Here {
        let Some(copy) = self.index.find(id).await else { return Here::Nothing };
        let answer = match self.ask_own(&copy.blob, range).await {
            Asked::Answered(answer) => answer,
            Asked::Silent(read) => return Here::Silent(read),
        };
        match answer {
            Ok(content) => {
                self.metrics.count_copy_read();
                let (shared, id, kept) = (Arc::clone(self), id.clone(), kept.cloned());
                let watched = content.inspect_err(move |error| {
                    if is_lost(error) {
                        shared.index.forget(&id, &copy);
                        if let Some(kept) = kept.clone() {
                            let (shared, id, copy) = (Arc::clone(&shared), id.clone(), copy.clone());
                            tokio::spawn(async move { shared.replace(&id, copy, &kept).await });
                        }
                    }
                });
                Here::Content(watched.boxed())
            }
            Err(error) if is_lost(&error) => {
                self.index.forget(id, &copy);
                Here::Lost(copy)
            }
            Err(_) => Here::Nothing,
        }
    }

    /// Has a copy be made in the place of one that is `lost`, unless one is being made.
    async fn replace(self: &Arc<Self>, id: &BlobId, lost: Copy, kept: &Arc<Subject>) {
        let Some(born) = self.born(id) else { return };
        let Some(size) = self.store(&born.region).ok().and_then(|store| store.size_of(&born.blob)) else { return };
        if let Admission::Ticket(ticket) = self.copier.admit(id, size, Some(&lost)) {
            ticket.copy(self.source(id, &born, ByteRange::new(0, size), true, kept)).await;
        }
    }

    /// Reads from where the bytes are, and has a copy made if none is being made, in the place of one that is `lost`.
    async fn read_and_copy(
        self: &Arc<Self>,
        id: &BlobId,
        born: Place,
        range: ByteRange,
        (size, lost): (u64, Option<Copy>),
        kept: &Arc<Subject>,
    ) -> Result<Content> {
        let whole = ByteRange::new(0, size);
        let source = || self.source(id, &born, whole, lost.is_some(), kept);
        let is_perhaps_here = match self.copier.admit(id, size, lost.as_ref()) {
            Admission::Ticket(ticket) if range == whole => match ticket.read(source()).await {
                // Where nobody else has it what is here is asked again.
                Opened::Content(Err(_)) if lost.is_some() => false,
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
        if is_perhaps_here && let Here::Content(content) = self.read_copy(id, range, Some(kept)).await {
            return Ok(content);
        }
        self.open(id, &born, range).await.map(|content| self.counted(content))
    }

    /// How to open `id` to copy it, elsewhere than here if what `is_lost` is the copy here.
    fn opening(self: &Arc<Self>, id: &BlobId, born: &Place, range: ByteRange, is_lost: bool) -> Open {
        let (shared, id, born) = (Arc::clone(self), id.clone(), born.clone());
        async move {
            let opened =
                if is_lost { shared.open_elsewhere(&id, &born, range).await } else { shared.open_to_copy(&id, &born, range).await };
            opened.map(|content| shared.going_on(&id, range, None, content))
        }
        .boxed()
    }

    /// The `content` of a range of `id` that is to be copied, out of the region `from` if that is told, which is waited for no longer than an answer
    /// may take then. Where it is damaged it is read on in another.
    pub(super) fn going_on(self: &Arc<Self>, id: &BlobId, range: ByteRange, from: Option<String>, content: Content) -> Content {
        let (shared, behind) = (Arc::clone(self), Behind::Copied { from });
        Reading { shared, id: id.clone(), content, rest: range, behind, may_go_on: true }.into_content()
    }

    /// Opens bytes that belong to `id` now, in any region but this.
    async fn open_elsewhere(&self, id: &BlobId, born: &Place, range: ByteRange) -> Result<Content> {
        let mut failure = Error::NotFound(id.clone());
        for place in self.all_places(id, born).await?.iter().filter(|place| place.region != self.region.as_str()) {
            match self.silence.heard(&place.region, self.open_at(place, range)).await {
                Ok(content) => return Ok(content),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The same, for a copy of what is `kept`.
    fn source(self: &Arc<Self>, id: &BlobId, born: &Place, range: ByteRange, is_lost: bool, kept: &Arc<Subject>) -> Source {
        Source { open: self.opening(id, born, range, is_lost), may_be_here: self.asking(kept) }
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
        // What is at home here, and cannot be asked now, is here still: it needs no copy beside it.
        let is_born_here = self.born(id).is_some_and(|born| born.region == self.region.as_str());
        let is_elsewhere = !is_born_here || is_lost(&failure);
        for look in 0..LOOKS_MAX {
            let mut places = match self.places(id).await {
                Ok(places) if places.is_empty() => break,
                Ok(places) => places,
                // Without rows a region that has not got it says nothing of others.
                Err(error) if is_lost(&failure) => return Err(error),
                Err(_) => break,
            };
            let mut is_unsure = false;
            // Those that did not answer lately may be all there are.
            places.sort_by_key(|place| self.silence.is_of(&place.region));
            for place in places {
                // A region that has just let somebody wait in vain is not waited for again. It may have them.
                if look > 0 && self.silence.is_of(&place.region) {
                    if is_lost(&failure) {
                        failure = silent(&place.region);
                    }
                    continue;
                }
                match self.open_at(&place, range).await {
                    Ok(content) => {
                        if is_elsewhere {
                            self.index.note_moved(id, Some(&place));
                        }
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

    /// Opens what is left of a read whose bytes turned out to be damaged, where the next of them can be read. Tells the region.
    async fn open_behind(&self, id: &BlobId, range: ByteRange, mut failure: Error) -> Result<(String, Content)> {
        let Some(born) = self.born(id) else { return Err(failure) };
        for place in self.all_places(id, &born).await.unwrap_or_else(|_| vec![born.clone()]) {
            let first = async {
                let mut content = self.open_at(&place, range).await?;
                Ok(content.next().await.transpose()?.map(|first| (first, content)))
            };
            match self.silence.heard(&place.region, first).await {
                Ok(Some((first, content))) => {
                    let content = stream::once(ready(Ok(first))).chain(content).boxed();
                    return Ok((place.region, content));
                }
                // It is damaged for sure only where everybody says so.
                Err(error) if !is_lost(&error) => failure = error,
                Ok(None) | Err(_) => {}
            }
        }
        Err(failure)
    }

    /// Where bytes of `id` are, by its rows and by its identifier, first its home.
    async fn all_places(&self, id: &BlobId, born: &Place) -> Result<Vec<Place>> {
        let rows = self.index.all(id).await?;
        let (first, others) = rows.iter().partition::<Vec<_>, _>(|row| row.record.home.is_some());
        let first = first.into_iter().filter_map(CopyRow::place).next().unwrap_or_else(|| born.clone());
        Ok(std::iter::once(first).chain(others.into_iter().filter_map(CopyRow::place)).collect())
    }

    /// Where rows say that bytes of `id` are, first its home. This region, too: that its copy was not read says nothing of whether it is gone.
    async fn places(&self, id: &BlobId) -> Result<Vec<Place>> {
        let mut rows = self.index.all(id).await?;
        rows.sort_by_key(|row| row.record.home.is_none());
        Ok(rows.iter().filter_map(CopyRow::place).collect())
    }

    /// Opens bytes of `id` at `place`. While its region does not answer, others are asked before it.
    async fn open_first_at(&self, id: &BlobId, place: &Place, range: ByteRange) -> Result<Content> {
        let others = if self.silence.is_of(&place.region) { self.places(id).await.unwrap_or_default() } else { Vec::new() };
        for other in others.iter().filter(|other| !self.silence.is_of(&other.region)) {
            if let Ok(content) = self.open_at(other, range).await {
                return Ok(content);
            }
        }
        self.open_at(place, range).await
    }

    pub(super) async fn open_at(&self, place: &Place, range: ByteRange) -> Result<Content> {
        let read = self.store(&place.region)?.read(&place.blob, range);
        if place.region == self.region.as_str() { read.await } else { self.silence.answered(&place.region, read).await }
    }

    fn counted(&self, content: Content) -> Content {
        let metrics = self.metrics.clone();
        content.inspect_ok(move |chunk| metrics.count_fetched(chunk.len())).boxed()
    }
}

/// Whether the bytes are not there, or not what they were.
pub(super) const fn is_lost(error: &Error) -> bool {
    matches!(error, Error::NotFound(_) | Error::Corrupt { .. })
}

/// Who reads on behind bytes that are damaged or gone.
enum Behind {
    /// A reader, wherever the bytes are by then. A copy of them may be kept of what is told.
    Anywhere(Option<Arc<Subject>>),
    /// Whoever makes a copy, and counts what he fetches; out of this region, as far as that is known.
    Copied { from: Option<String> },
}

/// A range that is being read.
struct Reading {
    shared: Arc<Shared>,
    id: BlobId,
    content: Content,
    rest: ByteRange,
    behind: Behind,
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
            let failure = match self.chunk().await.transpose()? {
                Ok(chunk) => {
                    self.rest.start = self.rest.end.min(self.rest.start + chunk.len() as u64);
                    // Each time it is brought on: so it comes to an end.
                    self.may_go_on |= !chunk.is_empty();
                    return Some(Ok(chunk));
                }
                Err(error) if self.may_go_on && is_lost(&error) => error,
                Err(error) => return Some(Err(error)),
            };
            self.may_go_on = false;
            match self.go_on(failure).await {
                Ok(content) => self.content = content,
                Err(error) => return Some(Err(error)),
            }
        }
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        match &self.behind {
            Behind::Copied { from: Some(region) } => self.shared.silence.answered(region, self.content.try_next()).await,
            _ => self.content.try_next().await,
        }
    }

    async fn go_on(&mut self, failure: Error) -> Result<Content> {
        let Self { shared, id, rest, behind, .. } = self;
        if let (Behind::Anywhere(kept), Error::NotFound(_), Some(born)) = (&*behind, &failure, shared.born(id)) {
            // A slow reader of bytes whose blob has moved.
            return shared.read_anywhere(id, born, *rest, kept.as_ref()).await;
        }
        let (region, content) = shared.open_behind(id, *rest, failure).await?;
        match behind {
            Behind::Anywhere(_) if region != shared.region.as_str() => Ok(shared.counted(content)),
            Behind::Anywhere(_) => Ok(content),
            Behind::Copied { from } => {
                *from = Some(region);
                Ok(content)
            }
        }
    }
}

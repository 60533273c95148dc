//! The bucket elsewhere: it keeps what it is told, fails as the seed wants, and remembers every request and every byte that left it.

use std::{collections::BTreeMap, fmt, ops::Bound, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, stream};
use parking_lot::Mutex;
use umbra_core::{
    Body, ByteRange, Clock, ETag, Entity, Error, ErrorKind, ObjectInfo, ObjectKey, PartInfo, PartNumber, ReadSource, ShadowSettings, Tags,
    Timestamp,
};
use umbra_shadow::{
    OriginFactory, PROBE_KEY_PREFIX,
    origin::{
        Origin, OriginAttributes, OriginError, OriginHead, OriginList, OriginObject, OriginPage, OriginPart, PartRange, PutConditions,
        Result, ShadowPath,
    },
};
use umbra_store::{ListedObject, Secret};

use crate::{
    env::Env,
    mutation::Mutation,
    reference::Value,
    writes::{self, TagsId, WriteId, md5},
};

/// An object there.
#[derive(Clone, Debug)]
struct Held {
    content: Bytes,
    info: ObjectInfo,
    tags: Tags,
    part_sizes: Vec<u64>,
}

/// An upload there.
#[derive(Clone, Debug)]
struct Upload {
    attributes: OriginAttributes,
    parts: BTreeMap<PartNumber, Bytes>,
}

/// A change of what the origin holds.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) tick: u64,
    /// When the request began.
    pub(crate) begun: u64,
    pub(crate) key: String,
    /// What it holds from then on.
    pub(crate) now: Option<Value>,
    pub(crate) doing: &'static str,
    /// Whether it was us, not the owner.
    pub(crate) ours: bool,
}

/// How a read of a body went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Not to its end, because whoever read it stopped or crashed.
    Dropped,
    /// Broken off by a fault of the origin.
    Broken,
    /// Every byte was sent.
    Complete,
}

/// A read of a body.
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    pub(crate) begun: u64,
    pub(crate) ended: Option<u64>,
    pub(crate) key: String,
    pub(crate) write: WriteId,
    /// The change that put there what was read.
    pub(crate) version: u64,
    pub(crate) range: Option<ByteRange>,
    /// Bytes of the whole.
    pub(crate) size: u64,
    /// The first byte, and one past the last, that left.
    pub(crate) sent: (u64, u64),
    pub(crate) ending: Ending,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Held>,
    uploads: BTreeMap<String, Upload>,
    changes: Vec<Change>,
    fetches: Vec<Fetch>,
    /// Every request: when it began, what it was.
    requests: Vec<(u64, &'static str, String)>,
    /// Requests that failed.
    failures: Vec<Failed>,
    /// Whether what is sent from now on is for those who look at the world from outside.
    is_looked_at: bool,
}

/// A request that failed.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) tick: u64,
    pub(crate) key: String,
    /// Whether the origin refused it, rather than being away.
    pub(crate) refused: bool,
}

/// The origin of a world. It outlives every life of our side.
pub(crate) struct FaultyOrigin {
    env: Arc<Env>,
    state: Arc<Mutex<State>>,
}

fn unavailable() -> Error {
    Error::new(ErrorKind::OriginUnavailable, "the origin cannot answer now; please try again")
}

fn not_found(entity: Entity) -> OriginError {
    OriginError::certain(Error::not_found(entity))
}

/// What may go wrong with a write once it was received.
enum Fate {
    Fine,
    AnswerLost,
    RequestLost,
}

impl FaultyOrigin {
    pub(crate) fn new(env: Arc<Env>) -> Self {
        Self { env, state: Arc::default() }
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn changes(&self) -> Vec<Change> {
        self.lock().changes.clone()
    }

    pub(crate) fn fetches(&self) -> Vec<Fetch> {
        self.lock().fetches.clone()
    }

    pub(crate) fn requests(&self) -> Vec<(u64, &'static str, String)> {
        self.lock().requests.clone()
    }

    /// The ETag of what the origin holds.
    pub(crate) fn etag(&self, key: &str) -> Option<ETag> {
        self.lock().objects.get(key).map(|held| held.info.etag.clone())
    }

    /// Puts an object there, as its owner would; tells when it got there.
    pub(crate) fn insert(&self, key: &str, write: WriteId, content: Bytes, tags: TagsId) -> Timestamp {
        let attributes = OriginAttributes { headers: writes::headers(write), metadata: writes::metadata(write), tags: writes::tags(tags) };
        let etag = ETag::from_md5(md5(&content));
        let held = self.held(content, &attributes, etag, Vec::new());
        let date = held.info.last_modified;
        let begun = self.env.tick();
        self.store(key, "put", begun, Some(held), false);
        date
    }

    /// Takes an object away, as its owner would.
    pub(crate) fn remove(&self, key: &str) {
        let begun = self.env.tick();
        self.store(key, "delete", begun, None, false);
    }

    fn held(&self, content: Bytes, attributes: &OriginAttributes, etag: ETag, part_sizes: Vec<u64>) -> Held {
        let info = ObjectInfo {
            size: content.len() as u64,
            etag,
            // Whole seconds, as the wire has it.
            last_modified: Timestamp::from_millis(self.env.now().as_secs() * 1000),
            headers: attributes.headers.clone(),
            metadata: attributes.metadata.clone(),
            checksums: Vec::new(),
            parts: Vec::new(),
            tag_count: attributes.tags.len(),
            tags: None,
            attributes: umbra_core::Attributes::default(),
            version: umbra_core::VersionId::Null,
            source: ReadSource::Origin,
        };
        Held { content, info, tags: attributes.tags.clone(), part_sizes }
    }

    fn store(&self, key: &str, doing: &'static str, begun: u64, held: Option<Held>, ours: bool) {
        let now = held.as_ref().and_then(value_of);
        let mut state = self.lock();
        match held {
            Some(held) => state.objects.insert(key.to_owned(), held),
            None => state.objects.remove(key),
        };
        if !key.starts_with(PROBE_KEY_PREFIX) {
            state.changes.push(Change { tick: self.env.tick(), begun, key: key.to_owned(), now, doing, ours });
        }
    }

    /// A request arrives: it may be refused, or fail at once.
    async fn arrive(&self, doing: &'static str, key: &str) -> Result<u64> {
        if self.env.refuses() {
            let tick = self.env.tick();
            self.lock().requests.push((tick, doing, key.to_owned()));
            self.note_failure(key, true);
            return Err(OriginError::certain(Error::new(ErrorKind::OriginRefused, "the origin refuses the request")));
        }
        self.arrive_unrefused(doing, key).await
    }

    async fn arrive_unrefused(&self, doing: &'static str, key: &str) -> Result<u64> {
        let begun = self.env.tick();
        self.lock().requests.push((begun, doing, key.to_owned()));
        self.env.step().await;
        if self.env.goes_wrong(self.env.dials.origin_faults) {
            self.note_failure(key, false);
            let lies = self.env.dials.mutation == Some(Mutation::GuessAbsence);
            return Err(if lies { not_found(Entity::Object) } else { OriginError::certain(unavailable()) });
        }
        Ok(begun)
    }

    fn note_failure(&self, key: &str, refused: bool) {
        let tick = self.env.tick();
        self.lock().failures.push(Failed { tick, key: key.to_owned(), refused });
    }

    /// The requests that failed.
    pub(crate) fn failures(&self) -> Vec<Failed> {
        self.lock().failures.clone()
    }

    /// What it holds of a key, for those who look from outside.
    pub(crate) fn look(&self, key: &str) -> Option<(ObjectInfo, Tags, Bytes)> {
        self.lock().objects.get(key).map(|held| (held.info.clone(), held.tags.clone(), held.content.clone()))
    }

    /// From now on nothing that is sent counts.
    pub(crate) fn is_looked_at(&self) {
        self.lock().is_looked_at = true;
    }

    fn fate(&self) -> Fate {
        match self.env.goes_wrong(self.env.dials.origin_faults) {
            false => Fate::Fine,
            true if self.env.chance(0.5) => Fate::AnswerLost,
            true => Fate::RequestLost,
        }
    }

    /// Carries out a write that was received whole, answers it, or loses either.
    async fn write<T>(&self, apply: impl FnOnce() -> Result<T>) -> Result<T> {
        self.env.step().await;
        let lost = || OriginError { error: unavailable(), outcome_unknown: true };
        let fate = self.fate();
        if matches!(fate, Fate::RequestLost) {
            return Err(lost());
        }
        let answer = apply()?;
        self.env.step().await;
        if matches!(fate, Fate::AnswerLost) { Err(lost()) } else { Ok(answer) }
    }

    fn find(&self, key: &ObjectKey) -> Result<Held> {
        self.lock().objects.get(key.as_str()).cloned().ok_or_else(|| not_found(Entity::Object))
    }

    /// The content on its way out, chunk by chunk.
    fn send(
        &self,
        key: &ObjectKey,
        held: &Held,
        begun: u64,
        range: Option<ByteRange>,
    ) -> impl Stream<Item = umbra_core::Result<Bytes>> + use<> {
        let wanted = range.unwrap_or(ByteRange::new(0, held.info.size));
        let number = {
            let mut state = self.lock();
            let keep = !state.is_looked_at;
            let version = state.changes.iter().rev().find(|change| change.key == key.as_str()).map_or(0, |change| change.tick);
            let fetch = Fetch {
                begun,
                ended: None,
                key: key.as_str().to_owned(),
                write: writes::named(&held.info.metadata).unwrap_or_default(),
                version,
                range,
                size: held.info.size,
                sent: (wanted.start, wanted.start),
                ending: Ending::Dropped,
            };
            state.fetches.extend(keep.then_some(fetch));
            keep.then(|| state.fetches.len() - 1)
        };
        let breaks_at =
            self.env.goes_wrong(self.env.dials.origin_faults).then(|| wanted.start + self.env.below(held.content.len() + 1) as u64);
        let sending =
            Sending { env: self.env.clone(), state: self.state.clone(), content: held.content.clone(), wanted, breaks_at, number };
        stream::unfold(sending, Sending::next)
    }
}

/// A body being sent.
struct Sending {
    env: Arc<Env>,
    state: Arc<Mutex<State>>,
    content: Bytes,
    /// What is still to be sent.
    wanted: ByteRange,
    /// Where the connection breaks.
    breaks_at: Option<u64>,
    /// Which fetch this is, if it counts.
    number: Option<usize>,
}

impl Sending {
    async fn next(mut self) -> Option<(umbra_core::Result<Bytes>, Self)> {
        self.env.step().await;
        if self.breaks_at.is_some_and(|at| self.wanted.start >= at) && !self.wanted.is_empty() {
            self.end(Ending::Broken);
            self.wanted.start = self.wanted.end;
            return Some((Err(unavailable()), self));
        }
        if self.wanted.is_empty() {
            self.end(Ending::Complete);
            return None;
        }
        let most = self.env.dials.chunk_max(self.content.len());
        let size = (1 + self.env.below(most) as u64).min(self.wanted.len());
        let position = |at: u64| usize::try_from(at).expect("content is in memory");
        let chunk = self.content.slice(position(self.wanted.start)..position(self.wanted.start + size));
        self.wanted.start += size;
        if let Some(number) = self.number {
            self.state.lock().fetches[number].sent.1 = self.wanted.start;
        }
        if self.wanted.is_empty() {
            self.end(Ending::Complete);
        }
        Some((Ok(chunk), self))
    }

    fn end(&self, ending: Ending) {
        let tick = self.env.tick();
        let Some(number) = self.number else { return };
        let fetch = &mut self.state.lock().fetches[number];
        if fetch.ended.is_none() {
            (fetch.ended, fetch.ending) = (Some(tick), ending);
        }
    }
}

fn value_of(held: &Held) -> Option<Value> {
    Some(Value { write: writes::named(&held.info.metadata)?, tags: writes::tags_named(&held.tags)? })
}

async fn receive(size: u64, body: Body) -> Result<Bytes> {
    let content = body.collect(usize::MAX).await.map_err(OriginError::certain)?;
    if content.len() as u64 == size { Ok(content) } else { Err(OriginError::certain(unavailable())) }
}

#[async_trait]
impl Origin for FaultyOrigin {
    async fn get(&self, path: &ShadowPath, key: &ObjectKey, range: Option<ByteRange>, if_match: Option<&ETag>) -> Result<OriginObject> {
        let begun = self.arrive("get", key.as_str()).await?;
        let mut held = self.find(key)?;
        if if_match.is_some_and(|etag| *etag != held.info.etag) {
            return Err(OriginError::certain(Error::new(ErrorKind::Precondition, "the object changed")));
        }
        if range.is_some_and(|range| range.start >= held.info.size) {
            return Err(OriginError::certain(Error::invalid(umbra_core::Fault::InvalidRange, "no such range")));
        }
        let range = range.map(|range| ByteRange::new(range.start, range.end.min(held.info.size)));
        self.break_read(path, key, &mut held).await?;
        let range = range.filter(|_| !self.env.dials.ignores_range);
        let body = self.send(key, &held, begun, range);
        let size = (!self.env.dials.hides_length).then_some(held.info.size);
        let body_size = size.map(|size| range.map_or(size, ByteRange::len));
        let mut info = held.info.clone();
        if size.is_none() {
            info.size = 0;
        }
        let answer = OriginObject {
            info,
            size,
            etag_is_md5: true,
            tags_known: true,
            range,
            uncarried: Vec::new(),
            body: Body::new(body_size, body),
        };
        self.env.step().await;
        Ok(answer)
    }

    async fn head(&self, _: &ShadowPath, key: &ObjectKey) -> Result<OriginHead> {
        self.arrive("head", key.as_str()).await?;
        let info = self.find(key)?.info;
        self.env.step().await;
        Ok(OriginHead { info, uncarried: Vec::new() })
    }

    async fn is_unchanged(&self, _: &ShadowPath, key: &ObjectKey, etag: &ETag) -> Result<bool> {
        self.arrive("revalidate", key.as_str()).await?;
        Ok(self.find(key)?.info.etag == *etag)
    }

    async fn part_range(&self, _: &ShadowPath, _: &ObjectKey, _: &ETag, _: PartNumber) -> Result<Option<PartRange>> {
        Ok(None)
    }

    async fn object_parts(&self, _: &ShadowPath, _: &ObjectKey, _: &ETag) -> Result<Option<Vec<PartInfo>>> {
        Ok(None)
    }

    async fn judges_conditions(&self, _: &ShadowPath) -> Result<bool> {
        Ok(true)
    }

    async fn part_size(&self, _: &ShadowPath, key: &ObjectKey, etag: &ETag, part: PartNumber) -> Result<Option<u64>> {
        self.arrive("head a part", key.as_str()).await?;
        let held = self.find(key)?;
        Ok(held.part_sizes.get(usize::from(part.get()) - 1).copied().filter(|_| held.info.etag == *etag))
    }

    async fn put(
        &self,
        _: &ShadowPath,
        key: &ObjectKey,
        size: u64,
        body: Body,
        attributes: &OriginAttributes,
        conditions: &PutConditions,
    ) -> Result<ETag> {
        let begun = self.arrive("put", key.as_str()).await?;
        let content = receive(size, body).await?;
        let etag = ETag::from_md5(md5(&content));
        let held = self.find(key).ok().map(|held| held.info.etag);
        let holds =
            !(conditions.if_absent && held.is_some()) && conditions.if_match.as_ref().is_none_or(|etag| held.as_ref() == Some(etag));
        if !holds {
            return Err(OriginError::certain(Error::new(ErrorKind::Precondition, "the condition does not hold")));
        }
        self.write(|| {
            if self.env.dials.mutation != Some(Mutation::LoseAtOrigin) || key.as_str().starts_with(PROBE_KEY_PREFIX) {
                self.store(key.as_str(), "put", begun, Some(self.held(content, attributes, etag.clone(), Vec::new())), true);
            }
            Ok(etag)
        })
        .await
    }

    async fn delete(&self, _: &ShadowPath, key: &ObjectKey) -> Result<()> {
        let begun = self.arrive("delete", key.as_str()).await?;
        self.write(|| {
            self.store(key.as_str(), "delete", begun, None, true);
            Ok(())
        })
        .await
    }

    async fn list(&self, _: &ShadowPath, list: &OriginList) -> Result<OriginPage> {
        self.arrive("list", "").await?;
        let mut page = list_page(&self.lock().objects, list);
        if self.env.dials.mutation == Some(Mutation::ShortListings) {
            page.objects.pop();
        }
        self.env.step().await;
        Ok(page)
    }

    async fn tags(&self, _: &ShadowPath, key: &ObjectKey) -> Result<Tags> {
        // Never refused alone: whoever may read an object and not its tags has none of them.
        self.arrive_unrefused("tags", key.as_str()).await?;
        let tags = self.find(key)?.tags;
        self.env.step().await;
        Ok(tags)
    }

    async fn put_tags(&self, _: &ShadowPath, key: &ObjectKey, tags: &Tags) -> Result<()> {
        let begun = self.arrive("put tags", key.as_str()).await?;
        self.write(|| {
            let mut held = self.find(key)?;
            (held.info.tag_count, held.tags) = (tags.len(), tags.clone());
            self.store(key.as_str(), "put tags", begun, Some(held), true);
            Ok(())
        })
        .await
    }

    async fn create_upload(&self, _: &ShadowPath, key: &ObjectKey, attributes: &OriginAttributes) -> Result<String> {
        self.arrive("create upload", key.as_str()).await?;
        self.write(|| {
            let upload = format!("{key}-{}", self.env.tick());
            self.lock().uploads.insert(upload.clone(), Upload { attributes: attributes.clone(), parts: BTreeMap::new() });
            Ok(upload)
        })
        .await
    }

    async fn put_part(&self, _: &ShadowPath, key: &ObjectKey, upload: &str, number: PartNumber, size: u64, body: Body) -> Result<ETag> {
        self.arrive("put part", key.as_str()).await?;
        let content = receive(size, body).await?;
        let etag = ETag::from_md5(md5(&content));
        self.write(|| {
            let mut state = self.lock();
            let upload = state.uploads.get_mut(upload).ok_or_else(|| not_found(Entity::Upload))?;
            upload.parts.insert(number, content);
            Ok(etag)
        })
        .await
    }

    async fn parts(&self, _: &ShadowPath, key: &ObjectKey, upload: &str) -> Result<Vec<OriginPart>> {
        self.arrive("parts", key.as_str()).await?;
        let state = self.lock();
        let upload = state.uploads.get(upload).ok_or_else(|| not_found(Entity::Upload))?;
        let part = |(number, content): (&PartNumber, &Bytes)| OriginPart {
            number: *number,
            etag: ETag::from_md5(md5(content)),
            size: content.len() as u64,
        };
        Ok(upload.parts.iter().map(part).collect())
    }

    async fn complete_upload(&self, _: &ShadowPath, key: &ObjectKey, upload: &str, named: &[(PartNumber, ETag)]) -> Result<ETag> {
        let begun = self.arrive("complete", key.as_str()).await?;
        self.write(|| {
            let Upload { attributes, parts } = self.lock().uploads.get(upload).cloned().ok_or_else(|| not_found(Entity::Upload))?;
            let of = |(number, etag): &(PartNumber, ETag)| parts.get(number).filter(|part| ETag::from_md5(md5(part)) == *etag).cloned();
            let invalid = || OriginError::certain(Error::invalid(umbra_core::Fault::InvalidPart, "no such part"));
            let chosen: Vec<Bytes> = named.iter().map(of).collect::<Option<_>>().ok_or_else(invalid)?;
            let digests: Vec<u8> = chosen.iter().flat_map(|content| md5(content)).collect();
            let etag = ETag::from_parts(md5(&digests), chosen.len());
            let sizes = chosen.iter().map(|part| part.len() as u64).collect();
            self.lock().uploads.remove(upload);
            self.store(key.as_str(), "complete", begun, Some(self.held(chosen.concat().into(), &attributes, etag.clone(), sizes)), true);
            Ok(etag)
        })
        .await
    }

    async fn abort_upload(&self, _: &ShadowPath, key: &ObjectKey, upload: &str) -> Result<()> {
        self.arrive("abort", key.as_str()).await?;
        self.write(|| {
            self.lock().uploads.remove(upload);
            Ok(())
        })
        .await
    }
}

impl FaultyOrigin {
    /// What mutations do to a read.
    async fn break_read(&self, path: &ShadowPath, key: &ObjectKey, held: &mut Held) -> Result<()> {
        match self.env.dials.mutation {
            Some(Mutation::MixContents) => {
                let other = writes::content(0, held.content.len());
                let half = held.content.len() / 2;
                held.content = [&held.content[..half], &other[half..]].concat().into();
                held.info.etag = ETag::from_md5(md5(&held.content));
            }
            Some(Mutation::LoseMetadata) => held.info.metadata = umbra_core::UserMetadata::default(),
            Some(Mutation::WriteOnRead) => {
                let attributes =
                    OriginAttributes { headers: held.info.headers.clone(), metadata: held.info.metadata.clone(), tags: held.tags.clone() };
                self.put(path, key, held.info.size, Body::from_bytes(held.content.clone()), &attributes, &PutConditions::default()).await?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn list_page(objects: &BTreeMap<String, Held>, list: &OriginList) -> OriginPage {
    let after = list.token.clone().or_else(|| list.after.clone()).unwrap_or_default();
    let mut page = OriginPage::default();
    let mut last = String::new();
    for (key, held) in objects.range::<str, _>((Bound::Excluded(after.as_str()), Bound::Unbounded)) {
        let Some(rest) = key.strip_prefix(&list.prefix) else { continue };
        let find = |delimiter: &String| rest.find(delimiter.as_str()).map(|at| at + delimiter.len());
        let cut = Some(&list.delimiter).filter(|delimiter| !delimiter.is_empty()).and_then(find);
        let name = cut.map_or(key.as_str(), |cut| &key[..list.prefix.len() + cut]);
        let is_repeated = page.common_prefixes.last().is_some_and(|prefix| prefix == name) || (cut.is_some() && name <= after.as_str());
        if !is_repeated {
            if page.objects.len() + page.common_prefixes.len() == list.limit {
                page.next = Some(last);
                break;
            }
            if cut.is_some() {
                page.common_prefixes.push(name.to_owned());
            } else if let Ok(key) = ObjectKey::parse(key) {
                let ObjectInfo { size, etag, last_modified, .. } = held.info.clone();
                page.objects.push(ListedObject { key, size, etag, last_modified, storage_class: None });
            }
        }
        last = key.clone();
    }
    page
}

impl fmt::Debug for FaultyOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyOrigin").field("objects", &self.lock().objects.len()).finish_non_exhaustive()
    }
}

/// Gives every bucket the world's origin.
#[derive(Debug)]
pub(crate) struct TheOrigin(pub(crate) Arc<FaultyOrigin>);

impl OriginFactory for TheOrigin {
    fn origin(&self, _: &ShadowSettings, _: &Secret) -> umbra_core::Result<Arc<dyn Origin>> {
        Ok(self.0.clone())
    }
}

//! An origin in memory whose faults a test sets.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use md5::{Digest, Md5};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use umbra_core::{
    Body, ByteRange, ETag, Entity, Error, ErrorKind, ObjectInfo, ObjectKey, PartNumber, ReadSource, ShadowSettings, Tags, Timestamp,
};
use umbra_store::{ListedObject, Secret};

use super::{Origin, OriginAttributes, OriginError, OriginList, OriginObject, OriginPage, OriginPart, Result, ShadowPath};
use crate::origins::OriginFactory;

/// Bytes of one chunk of a body: small, so that a test can stop a transfer between two.
const CHUNK: usize = 64 * 1024;

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The origin cannot be reached.
    Unavailable,
    /// The origin refuses our credentials.
    Refused,
    /// The body of a read breaks off after so many bytes.
    Truncate(usize),
    /// A write is applied, and its answer is lost.
    LoseAnswer,
    /// A write breaks off before it is applied, in a way that does not tell.
    LoseRequest,
}

#[derive(Clone, Debug)]
struct Held {
    content: Bytes,
    part_sizes: Vec<u64>,
    info: ObjectInfo,
    tags: Tags,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Held>,
    uploads: BTreeMap<String, (OriginAttributes, BTreeMap<PartNumber, Bytes>)>,
    faults: BTreeMap<&'static str, VecDeque<Fault>>,
    refused: BTreeSet<String>,
    writes: Vec<String>,
}

/// A bucket in memory.
#[derive(Debug, Default)]
pub struct MemoryOrigin {
    state: Mutex<State>,
    /// When set, every chunk of a body waits for a permit.
    slow: Mutex<Option<Arc<Semaphore>>>,
    /// When set, every put of an object or a part waits for a permit once it has its body.
    held_puts: Mutex<Option<Arc<Semaphore>>>,
    /// When set, every listing waits for a permit.
    held_lists: Mutex<Option<Arc<Semaphore>>>,
    /// Whether answers keep their length to themselves.
    hides_length: std::sync::atomic::AtomicBool,
    /// Whether the ETags of what is written are no MD5s.
    has_odd_etags: std::sync::atomic::AtomicBool,
    gets: AtomicU64,
    bytes: Arc<AtomicU64>,
    requests: AtomicU64,
}

fn held(key: &ObjectKey, content: Bytes, attributes: &OriginAttributes, etag: ETag) -> Held {
    let info = ObjectInfo {
        size: content.len() as u64,
        etag,
        // A date of its own, so that tests can tell it from ours; whole seconds, as the wire has it.
        last_modified: Timestamp::from_millis(1_000_000_000_000 + 1000 * key.as_bytes().len() as i64),
        headers: attributes.headers.clone(),
        metadata: attributes.metadata.clone(),
        checksums: vec![],
        parts: vec![],
        tag_count: attributes.tags.len(),
        source: ReadSource::Origin,
    };
    Held { content, part_sizes: Vec::new(), info, tags: attributes.tags.clone() }
}

fn md5(content: &[u8]) -> [u8; 16] {
    Md5::digest(content).into()
}

impl MemoryOrigin {
    /// Puts an object there, as its owner would.
    pub fn insert(&self, key: &str, content: impl Into<Bytes>, attributes: &OriginAttributes) {
        let (key, content) = (ObjectKey::parse(key).expect("a valid key"), content.into());
        let etag = ETag::from_md5(md5(&content));
        self.state.lock().objects.insert(key.as_str().to_owned(), held(&key, content, attributes, etag));
    }

    /// Gives an object an ETag that is no MD5.
    pub fn set_etag(&self, key: &str, etag: &str) {
        self.state.lock().objects.get_mut(key).expect("an object").info.etag = ETag::parse(etag);
    }

    /// Changes what the origin tells of an object.
    pub fn alter(&self, key: &str, change: impl FnOnce(&mut ObjectInfo)) {
        change(&mut self.state.lock().objects.get_mut(key).expect("an object").info);
    }

    /// Changes the bytes of an object and nothing else: not even its ETag.
    pub fn damage(&self, key: &str, content: impl Into<Bytes>) {
        self.state.lock().objects.get_mut(key).expect("an object").content = content.into();
    }

    /// From now on an object cannot be put.
    pub fn refuse_puts(&self, key: &str) {
        self.state.lock().refused.insert(key.to_owned());
    }

    /// From now on the ETags of what is written are no MD5s.
    pub fn use_odd_etags(&self) {
        self.has_odd_etags.store(true, Ordering::SeqCst);
    }

    /// What the origin tells of an object, and its tags.
    pub fn info(&self, key: &str) -> Option<(ObjectInfo, Tags)> {
        self.state.lock().objects.get(key).map(|held| (held.info.clone(), held.tags.clone()))
    }

    /// Every key, in order.
    pub fn keys(&self) -> Vec<String> {
        self.state.lock().objects.keys().cloned().collect()
    }

    /// Takes an object away, as its owner would.
    pub fn remove(&self, key: &str) {
        self.state.lock().objects.remove(key);
    }

    /// The content of an object.
    pub fn content(&self, key: &str) -> Option<Bytes> {
        self.state.lock().objects.get(key).map(|held| held.content.clone())
    }

    /// The ETag of an object.
    pub fn etag(&self, key: &str) -> Option<ETag> {
        self.state.lock().objects.get(key).map(|held| held.info.etag.clone())
    }

    /// Uploads that were begun and neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.state.lock().uploads.len()
    }

    /// The next request called `doing` (`get`, `head`, `put`, `delete`, `list`, `complete`, …) meets `fault`.
    pub fn fail_next(&self, doing: &'static str, fault: Fault) {
        self.state.lock().faults.entry(doing).or_default().push_back(fault);
    }

    /// From now on every chunk of a body waits for a permit of the semaphore this gives.
    pub fn slow_down(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.slow.lock() = Some(gate.clone());
        gate
    }

    /// From now on every put of an object or a part waits, its body received and not yet applied, for a permit of the semaphore this gives.
    pub fn hold_puts(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.held_puts.lock() = Some(gate.clone());
        gate
    }

    /// From now on every listing waits for a permit of the semaphore this gives, once it was taken down.
    pub fn hold_lists(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.held_lists.lock() = Some(gate.clone());
        gate
    }

    /// From now on answers do not tell their length.
    pub fn hide_length(&self) {
        self.hides_length.store(true, Ordering::SeqCst);
    }

    /// Reads of bodies so far.
    pub fn gets(&self) -> u64 {
        self.gets.load(Ordering::SeqCst)
    }

    /// Bytes of bodies that left so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// The writes that were applied, in their order: `put KEY`, `delete KEY`; a probe's are left out.
    pub fn writes(&self) -> Vec<String> {
        self.state.lock().writes.iter().filter(|write| !write.contains(crate::PROBE_KEY_PREFIX)).cloned().collect()
    }

    async fn pass_gate(&self) {
        let gate = self.held_puts.lock().clone();
        if let Some(gate) = gate {
            gate.acquire().await.expect("the gate stays").forget();
        }
    }

    fn fault(&self, doing: &'static str) -> Result<Option<Fault>> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let fault = self.state.lock().faults.get_mut(doing).and_then(VecDeque::pop_front);
        match fault {
            Some(Fault::Unavailable) => Err(OriginError::certain(unavailable())),
            Some(Fault::Refused) => Err(OriginError::certain(refused())),
            Some(Fault::LoseRequest) => Err(OriginError { error: unavailable(), outcome_unknown: true }),
            fault => Ok(fault),
        }
    }

    /// One page of a listing, as the bucket stands.
    fn page(&self, list: &OriginList) -> Result<OriginPage> {
        let after = list.token.clone().or_else(|| list.after.clone()).unwrap_or_default();
        let state = self.state.lock();
        let mut page = OriginPage::default();
        let mut last = String::new();
        for (key, held) in state.objects.range::<str, _>((Bound::Excluded(after.as_str()), Bound::Unbounded)) {
            let Some(rest) = key.strip_prefix(&list.prefix) else { continue };
            let cut = Some(&list.delimiter)
                .filter(|delimiter| !delimiter.is_empty())
                .and_then(|delimiter| Some(rest.find(delimiter.as_str())? + delimiter.len()));
            let name = cut.map_or(key.as_str(), |cut| &key[..list.prefix.len() + cut]);
            if page.common_prefixes.last().is_some_and(|prefix| prefix == name) || (cut.is_some() && name <= after.as_str()) {
                last = key.clone();
                continue;
            }
            if page.objects.len() + page.common_prefixes.len() == list.limit {
                page.next = Some(last);
                break;
            }
            if cut.is_some() {
                page.common_prefixes.push(name.to_owned());
            } else {
                let key = ObjectKey::parse(key).map_err(OriginError::certain)?;
                let ObjectInfo { size, etag, last_modified, .. } = held.info.clone();
                page.objects.push(ListedObject { key, size, etag, last_modified, storage_class: None });
            }
            last = key.clone();
        }
        Ok(page)
    }

    fn find(&self, key: &ObjectKey) -> Result<Held> {
        self.state.lock().objects.get(key.as_str()).cloned().ok_or_else(|| OriginError::certain(Error::not_found(Entity::Object)))
    }

    fn body(&self, content: Bytes, fault: Option<Fault>) -> Body {
        let (size, slow) = (content.len(), self.slow.lock().clone());
        let keep = match fault {
            Some(Fault::Truncate(keep)) => keep.min(size),
            _ => size,
        };
        let chunks: Vec<_> = (0..keep).step_by(CHUNK).map(|at| Ok(content.slice(at..keep.min(at + CHUNK)))).collect();
        let broken = (keep < size).then(|| Err(unavailable()));
        let sent = self.bytes.clone();
        let stream = stream::iter(chunks.into_iter().chain(broken)).then(move |chunk: umbra_core::Result<Bytes>| {
            let (slow, sent) = (slow.clone(), sent.clone());
            async move {
                if let Some(gate) = slow {
                    gate.acquire().await.expect("the gate stays").forget();
                }
                sent.fetch_add(chunk.as_ref().map_or(0, |bytes| bytes.len() as u64), Ordering::SeqCst);
                chunk
            }
        });
        let announced = (!self.hides_length.load(Ordering::SeqCst)).then_some(size as u64);
        Body::new(announced, stream)
    }
}

fn refused() -> Error {
    Error::new(ErrorKind::OriginRefused, "the origin refuses the request")
}

fn unavailable() -> Error {
    Error::new(ErrorKind::OriginUnavailable, "the origin cannot answer now; please try again")
}

/// After a write was applied: the answer, or its loss.
fn answer<T>(fault: Option<Fault>, answer: T) -> Result<T> {
    match fault {
        Some(Fault::LoseAnswer) => Err(OriginError { error: unavailable(), outcome_unknown: true }),
        _ => Ok(answer),
    }
}

async fn collect(body: Body) -> Result<Bytes> {
    let announced = body.size();
    let content = body.collect(usize::MAX).await.map_err(OriginError::certain)?;
    assert!(announced.is_none_or(|size| size == content.len() as u64), "a body is as long as announced");
    Ok(content)
}

#[async_trait]
impl Origin for MemoryOrigin {
    async fn get(&self, _: &ShadowPath, key: &ObjectKey, range: Option<ByteRange>, if_match: Option<&ETag>) -> Result<OriginObject> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        let fault = self.fault("get")?;
        let held = self.find(key)?;
        if if_match.is_some_and(|etag| *etag != held.info.etag) {
            return Err(OriginError::certain(Error::new(ErrorKind::Precondition, "changed")));
        }
        let size = held.info.size;
        if range.is_some_and(|range| range.start >= size) {
            return Err(OriginError::certain(Error::invalid(umbra_core::Fault::InvalidRange, "the range is not satisfiable")));
        }
        let range = range.map(|range| ByteRange::new(range.start, range.end.min(size)));
        let wanted = range.unwrap_or(ByteRange::new(0, size));
        let position = |at: u64| usize::try_from(at).expect("fits");
        let content = held.content.slice(position(wanted.start)..position(wanted.end));
        let body = self.body(content, fault);
        let size = body.size().map(|_| held.info.size);
        Ok(OriginObject { etag_is_md5: true, tags_known: true, info: held.info, size, range, body })
    }

    async fn head(&self, _: &ShadowPath, key: &ObjectKey) -> Result<ObjectInfo> {
        self.fault("head")?;
        Ok(self.find(key)?.info)
    }

    async fn part_size(&self, _: &ShadowPath, key: &ObjectKey, _: &ETag, part: PartNumber) -> Result<Option<u64>> {
        self.fault("part")?;
        Ok(self.find(key)?.part_sizes.get(usize::from(part.get()) - 1).copied())
    }

    async fn put(&self, _: &ShadowPath, key: &ObjectKey, _: u64, body: Body, attributes: &OriginAttributes) -> Result<ETag> {
        let fault = self.fault("put")?;
        let content = collect(body).await?;
        self.pass_gate().await;
        if self.state.lock().refused.contains(key.as_str()) {
            return Err(OriginError::certain(refused()));
        }
        let etag = ETag::from_md5(md5(&content));
        let etag = if self.has_odd_etags.load(Ordering::SeqCst) { ETag::parse(&format!("odd-{etag}")) } else { etag };
        let mut state = self.state.lock();
        state.objects.insert(key.as_str().to_owned(), held(key, content, attributes, etag.clone()));
        state.writes.push(format!("put {key}"));
        answer(fault, etag)
    }

    async fn delete(&self, _: &ShadowPath, key: &ObjectKey) -> Result<()> {
        let fault = self.fault("delete")?;
        let mut state = self.state.lock();
        state.objects.remove(key.as_str());
        state.writes.push(format!("delete {key}"));
        answer(fault, ())
    }

    async fn list(&self, _: &ShadowPath, list: &OriginList) -> Result<OriginPage> {
        self.fault("list")?;
        let page = self.page(list)?;
        let gate = self.held_lists.lock().clone();
        if let Some(gate) = gate {
            gate.acquire().await.expect("the gate stays").forget();
        }
        Ok(page)
    }

    async fn tags(&self, _: &ShadowPath, key: &ObjectKey) -> Result<Tags> {
        self.fault("tags")?;
        Ok(self.find(key)?.tags)
    }

    async fn put_tags(&self, _: &ShadowPath, key: &ObjectKey, tags: &Tags) -> Result<()> {
        let fault = self.fault("put_tags")?;
        let mut held = self.find(key)?;
        held.info.tag_count = tags.len();
        held.tags = tags.clone();
        self.state.lock().objects.insert(key.as_str().to_owned(), held);
        answer(fault, ())
    }

    async fn create_upload(&self, _: &ShadowPath, key: &ObjectKey, attributes: &OriginAttributes) -> Result<String> {
        self.fault("create")?;
        let mut state = self.state.lock();
        let upload = format!("{key}-{}", self.requests());
        state.uploads.insert(upload.clone(), (attributes.clone(), BTreeMap::new()));
        Ok(upload)
    }

    async fn put_part(&self, _: &ShadowPath, _: &ObjectKey, upload: &str, number: PartNumber, _: u64, body: Body) -> Result<ETag> {
        let fault = self.fault("put_part")?;
        let content = collect(body).await?;
        self.pass_gate().await;
        let etag = ETag::from_md5(md5(&content));
        let mut state = self.state.lock();
        let (_, parts) = state.uploads.get_mut(upload).ok_or_else(no_upload)?;
        parts.insert(number, content);
        answer(fault, etag)
    }

    async fn parts(&self, _: &ShadowPath, _: &ObjectKey, upload: &str) -> Result<Vec<OriginPart>> {
        self.fault("parts")?;
        let state = self.state.lock();
        let (_, parts) = state.uploads.get(upload).ok_or_else(no_upload)?;
        let part = |(number, content): (&PartNumber, &Bytes)| OriginPart {
            number: *number,
            etag: ETag::from_md5(md5(content)),
            size: content.len() as u64,
        };
        Ok(parts.iter().map(part).collect())
    }

    async fn complete_upload(&self, _: &ShadowPath, key: &ObjectKey, upload: &str, named: &[(PartNumber, ETag)]) -> Result<ETag> {
        let fault = self.fault("complete")?;
        let mut state = self.state.lock();
        let (attributes, parts) = state.uploads.remove(upload).ok_or_else(no_upload)?;
        let chosen: Vec<_> = named.iter().map(|(number, _)| parts[number].clone()).collect();
        let digests: Vec<u8> = chosen.iter().flat_map(|content| md5(content)).collect();
        let etag = ETag::from_parts(md5(&digests), chosen.len());
        let whole = held(key, chosen.concat().into(), &attributes, etag.clone());
        let part_sizes = chosen.iter().map(|part| part.len() as u64).collect();
        state.objects.insert(key.as_str().to_owned(), Held { part_sizes, ..whole });
        state.writes.push(format!("put {key}"));
        answer(fault, etag)
    }

    async fn abort_upload(&self, _: &ShadowPath, _: &ObjectKey, upload: &str) -> Result<()> {
        self.fault("abort")?;
        self.state.lock().uploads.remove(upload);
        Ok(())
    }
}

fn no_upload() -> OriginError {
    OriginError::certain(Error::not_found(Entity::Upload))
}

/// Gives every bucket the same origin.
#[derive(Debug)]
pub struct OneOrigin(pub Arc<MemoryOrigin>);

impl OriginFactory for OneOrigin {
    fn origin(&self, _: &ShadowSettings, _: &Secret) -> umbra_core::Result<Arc<dyn Origin>> {
        Ok(self.0.clone())
    }
}

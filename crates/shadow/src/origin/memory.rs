//! An origin in memory whose faults a test sets.

mod listing;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use md5::{Digest, Md5};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use umbra_core::{
    Body, ByteRange, ETag, Entity, Error, ErrorKind, ObjectInfo, ObjectKey, PartInfo, PartNumber, ReadSource, ShadowSettings, Tags,
    Timestamp,
};
use umbra_store::Secret;

use super::{
    ListOrder, Origin, OriginAttributes, OriginError, OriginHead, OriginList, OriginObject, OriginPage, OriginPart, PartRange,
    PutConditions, Result, ShadowPath, Uncarried,
};
use crate::origins::OriginFactory;
pub use listing::Listing;

/// Bytes of one chunk of a body: small, so that a test can stop a transfer between two.
const CHUNK: usize = 64 * 1024;

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The origin cannot be reached.
    Unavailable,
    /// The origin refuses our credentials.
    Refused,
    /// The object is archived.
    Archived,
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
    uncarried: Vec<Uncarried>,
}

#[derive(Debug)]
struct Upload {
    key: String,
    attributes: OriginAttributes,
    parts: BTreeMap<PartNumber, Bytes>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Held>,
    uploads: BTreeMap<String, Upload>,
    faults: BTreeMap<&'static str, VecDeque<Fault>>,
    refused: BTreeSet<String>,
    lasting: BTreeMap<(&'static str, String), Fault>,
    failures: BTreeMap<(&'static str, String), u64>,
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
    /// A put of one of these keys waits like that.
    held_keys: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    /// Requests of these kinds wait for a permit.
    held_requests: Mutex<BTreeMap<&'static str, Arc<Semaphore>>>,
    /// Whether `a//b` is taken for `a/b`.
    folds_paths: AtomicBool,
    /// Other origins, by the endpoint that leads there.
    elsewhere: Mutex<BTreeMap<String, Arc<MemoryOrigin>>>,
    /// How many of them wait.
    waiting: AtomicU64,
    /// Whether conditions of a put are taken no notice of.
    ignores_conditions: AtomicBool,
    /// When set, every listing waits for a permit once it is made.
    held_lists: Mutex<Option<Arc<Semaphore>>>,
    /// When set, every read waits for a permit before it is answered.
    held_gets: Mutex<Option<Arc<Semaphore>>>,
    /// The hop that no read may have passed.
    refused_hop: Mutex<Option<String>>,
    /// Whether the ETags of what is written are no MD5s.
    has_odd_etags: AtomicBool,
    /// Whether answers keep their length to themselves.
    hides_length: AtomicBool,
    /// Whether GetObjectAttributes is not known here.
    hides_parts: AtomicBool,
    listing: Mutex<Listing>,
    /// How often writes let other tasks go first, at most.
    jitter: AtomicU64,
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
    Held { content, part_sizes: Vec::new(), info, tags: attributes.tags.clone(), uncarried: Vec::new() }
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

    /// Gives an object something that cannot be brought here.
    pub fn set_uncarried(&self, key: &str, uncarried: Vec<Uncarried>) {
        self.state.lock().objects.get_mut(key).expect("an object").uncarried = uncarried;
    }

    /// From now on it lists in this way.
    pub fn list_as(&self, listing: Listing) {
        *self.listing.lock() = listing;
    }

    /// From now on nothing tells the parts of an object but a HEAD of each.
    pub fn hide_parts(&self) {
        self.hides_parts.store(true, Ordering::SeqCst);
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

    /// The tags of an object.
    pub fn tags_of(&self, key: &str) -> Tags {
        self.state.lock().objects.get(key).map(|held| held.tags.clone()).unwrap_or_default()
    }

    /// Forgets the faults that are still to come.
    pub fn forgive(&self) {
        let mut state = self.state.lock();
        state.faults.clear();
        state.lasting.clear();
    }

    /// Uploads that were begun and neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.state.lock().uploads.len()
    }

    /// What is uploaded so far, by the key of the upload, with its parts' sizes.
    pub fn uploads(&self) -> Vec<(String, Vec<(u16, usize)>)> {
        let state = self.state.lock();
        let parts = |parts: &BTreeMap<PartNumber, Bytes>| parts.iter().map(|(number, part)| (number.get(), part.len())).collect();
        state.uploads.values().map(|upload| (upload.key.clone(), parts(&upload.parts))).collect()
    }

    /// Ends every open upload, as the origin's own rules may.
    pub fn expire_uploads(&self) {
        self.state.lock().uploads.clear();
    }

    /// From now on every request called `doing` that is for `key` meets `fault`; `None` ends that.
    pub fn fail_always(&self, doing: &'static str, key: &str, fault: Option<Fault>) {
        let at = (doing, key.to_owned());
        let mut state = self.state.lock();
        match fault {
            Some(fault) => drop(state.lasting.insert(at, fault)),
            None => drop(state.lasting.remove(&at)),
        }
    }

    /// The requests called `doing` that met a lasting fault for `key`.
    pub fn failed(&self, doing: &'static str, key: &str) -> u64 {
        self.state.lock().failures.get(&(doing, key.to_owned())).copied().unwrap_or(0)
    }

    /// From now on every write waits, up to so many times for another task to go first, before and after it is applied.
    pub fn jitter(&self, most: u64) {
        self.jitter.store(most, Ordering::SeqCst);
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

    /// The same of the puts of one key.
    pub fn hold_put(&self, key: &str) -> Arc<Semaphore> {
        self.held_keys.lock().entry(key.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(0))).clone()
    }

    /// From now on every listing waits, made and not yet answered, for a permit of the semaphore this gives.
    pub fn hold_lists(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.held_lists.lock() = Some(gate.clone());
        gate
    }

    /// From now on every read waits for a permit.
    pub fn hold_gets(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.held_gets.lock() = Some(gate.clone());
        gate
    }

    /// From now on reads are refused that have passed `hop`.
    pub fn refuse_hop(&self, hop: &str) {
        *self.refused_hop.lock() = Some(hop.to_owned());
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

    /// From now on `a//b` is taken for `a/b`.
    pub fn fold_paths(&self) {
        self.folds_paths.store(true, Ordering::SeqCst);
    }

    /// From now on `endpoint` leads to another origin.
    pub fn lead_elsewhere(&self, endpoint: &str, other: &Arc<Self>) {
        self.elsewhere.lock().insert(endpoint.to_owned(), other.clone());
    }

    fn place(&self, key: &ObjectKey) -> String {
        let name = key.as_str();
        if self.folds_paths.load(Ordering::SeqCst) { name.replace("//", "/") } else { name.to_owned() }
    }

    /// From now on it takes no notice of the conditions of a put.
    pub fn ignore_conditions(&self) {
        self.ignores_conditions.store(true, Ordering::SeqCst);
    }

    /// How many requests wait for a permit of [`MemoryOrigin::hold`].
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::SeqCst)
    }

    /// From now on each `get` or `head` waits for a permit once it has looked, or each `tags` before it looks.
    pub fn hold(&self, doing: &'static str) -> Arc<Semaphore> {
        self.held_requests.lock().entry(doing).or_insert_with(|| Arc::new(Semaphore::new(0))).clone()
    }

    async fn pass(&self, doing: &'static str) {
        let gate = self.held_requests.lock().get(doing).cloned();
        if let Some(gate) = gate {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.expect("the gate stays").forget();
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    async fn pass_gate(&self, key: &ObjectKey) {
        let gates = [self.held_puts.lock().clone(), self.held_keys.lock().get(key.as_str()).cloned()];
        for gate in gates.into_iter().flatten() {
            gate.acquire().await.expect("the gate stays").forget();
        }
    }

    fn fault(&self, doing: &'static str, key: &ObjectKey) -> Result<Option<Fault>> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let mut state = self.state.lock();
        let at = (doing, key.as_str().to_owned());
        let lasting = state.lasting.get(&at).cloned();
        if lasting.is_some() {
            *state.failures.entry(at).or_default() += 1;
        }
        let fault = lasting.or_else(|| state.faults.get_mut(doing).and_then(VecDeque::pop_front));
        drop(state);
        match fault {
            Some(Fault::Unavailable) => Err(OriginError::certain(unavailable())),
            Some(Fault::Refused) => Err(OriginError::certain(refused())),
            Some(Fault::Archived) => {
                Err(OriginError::certain(Error::invalid(umbra_core::Fault::InvalidObjectState, "the object is archived")))
            }
            Some(Fault::LoseRequest) => Err(OriginError { error: unavailable(), outcome_unknown: true }),
            fault => Ok(fault),
        }
    }

    /// Lets other tasks go first, as often as chance has it.
    async fn dawdle(&self) {
        let most = self.jitter.load(Ordering::SeqCst);
        if most > 0 {
            let turns = self.requests.load(Ordering::SeqCst).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            for _ in 0..turns % most {
                tokio::task::yield_now().await;
            }
        }
    }

    fn find(&self, key: &ObjectKey) -> Result<Held> {
        self.state.lock().objects.get(&self.place(key)).cloned().ok_or_else(|| OriginError::certain(Error::not_found(Entity::Object)))
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
    async fn get(&self, path: &ShadowPath, key: &ObjectKey, range: Option<ByteRange>, if_match: Option<&ETag>) -> Result<OriginObject> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        let gate = self.held_gets.lock().clone();
        if let Some(gate) = gate {
            gate.acquire().await.expect("the gate stays").forget();
        }
        if self.refused_hop.lock().as_ref().is_some_and(|hop| path.0.contains(hop)) {
            return Err(OriginError::certain(Error::new(ErrorKind::OriginRefused, "shadow loop")));
        }
        let fault = self.fault("get", key)?;
        let found = self.find(key);
        self.pass("get").await;
        let held = found?;
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
        Ok(OriginObject { etag_is_md5: true, tags_known: true, info: held.info, size, range, uncarried: held.uncarried, body })
    }

    async fn head(&self, _: &ShadowPath, key: &ObjectKey) -> Result<OriginHead> {
        self.fault("head", key)?;
        let found = self.find(key);
        self.pass("head").await;
        let Held { info, uncarried, .. } = found?;
        Ok(OriginHead { info, uncarried })
    }

    async fn is_unchanged(&self, _: &ShadowPath, key: &ObjectKey, etag: &ETag) -> Result<bool> {
        self.fault("revalidate", key)?;
        Ok(self.find(key)?.info.etag == *etag)
    }

    async fn part_size(&self, _: &ShadowPath, key: &ObjectKey, _: &ETag, part: PartNumber) -> Result<Option<u64>> {
        self.fault("part", key)?;
        Ok(self.find(key)?.part_sizes.get(usize::from(part.get()) - 1).copied())
    }

    async fn part_range(&self, _: &ShadowPath, key: &ObjectKey, etag: &ETag, part: PartNumber) -> Result<Option<PartRange>> {
        self.fault("part", key)?;
        let Held { part_sizes, info, .. } = self.find(key)?;
        let index = usize::from(part.get()) - 1;
        let start: u64 = part_sizes.iter().take(index).sum();
        let size = part_sizes.get(index).filter(|_| info.etag == *etag);
        let range = size.map(|size| ByteRange::new(start, start + size));
        Ok(range.map(|range| PartRange { range, size: info.size, count: u16::try_from(part_sizes.len()).ok() }))
    }

    async fn object_parts(&self, _: &ShadowPath, key: &ObjectKey, etag: &ETag) -> Result<Option<Vec<PartInfo>>> {
        self.fault("parts_of", key)?;
        let Held { part_sizes, info, .. } = self.find(key)?;
        if self.hides_parts.load(Ordering::SeqCst) || part_sizes.is_empty() || info.etag != *etag {
            return Ok(None);
        }
        let part = |(size, number)| PartInfo { number, size, checksums: Vec::new() };
        Ok(Some(part_sizes.into_iter().zip(1..).map(part).collect()))
    }

    async fn judges_conditions(&self, _: &ShadowPath) -> Result<bool> {
        Ok(!self.ignores_conditions.load(Ordering::SeqCst))
    }

    fn order(&self) -> ListOrder {
        self.listing.lock().known
    }

    async fn put(
        &self,
        _: &ShadowPath,
        key: &ObjectKey,
        _: u64,
        body: Body,
        attributes: &OriginAttributes,
        conditions: &PutConditions,
    ) -> Result<ETag> {
        let fault = self.fault("put", key)?;
        let content = collect(body).await?;
        self.pass_gate(key).await;
        if self.state.lock().refused.contains(key.as_str()) {
            return Err(OriginError::certain(refused()));
        }
        self.dawdle().await;
        let etag = ETag::from_md5(md5(&content));
        let etag = if self.has_odd_etags.load(Ordering::SeqCst) { ETag::parse(&format!("odd-{etag}")) } else { etag };
        {
            let mut state = self.state.lock();
            let now = state.objects.get(key.as_str()).map(|held| &held.info.etag);
            if (conditions.if_absent && now.is_some()) || (conditions.if_match.is_some() && conditions.if_match.as_ref() != now) {
                return Err(OriginError::certain(Error::new(ErrorKind::Precondition, "a condition of the write does not hold")));
            }
            state.objects.insert(self.place(key), held(key, content, attributes, etag.clone()));
            state.writes.push(format!("put {key}"));
        }
        self.dawdle().await;
        answer(fault, etag)
    }

    async fn delete(&self, _: &ShadowPath, key: &ObjectKey) -> Result<()> {
        let fault = self.fault("delete", key)?;
        self.dawdle().await;
        {
            let mut state = self.state.lock();
            state.objects.remove(&self.place(key));
            state.writes.push(format!("delete {key}"));
        }
        self.dawdle().await;
        answer(fault, ())
    }

    async fn list(&self, _: &ShadowPath, list: &OriginList) -> Result<OriginPage> {
        self.fault("list", &ObjectKey::parse("list").expect("a valid key"))?;
        let listing = *self.listing.lock();
        let page = listing.page(&self.state.lock().objects, list)?;
        let gate = self.held_lists.lock().clone();
        if let Some(gate) = gate {
            gate.acquire().await.expect("the gate stays").forget();
        }
        Ok(page)
    }

    async fn tags(&self, _: &ShadowPath, key: &ObjectKey) -> Result<Tags> {
        self.fault("tags", key)?;
        self.pass("tags").await;
        Ok(self.find(key)?.tags)
    }

    async fn put_tags(&self, _: &ShadowPath, key: &ObjectKey, tags: &Tags) -> Result<()> {
        let fault = self.fault("put_tags", key)?;
        self.dawdle().await;
        let mut held = self.find(key)?;
        held.info.tag_count = tags.len();
        held.tags = tags.clone();
        self.state.lock().objects.insert(key.as_str().to_owned(), held);
        self.dawdle().await;
        answer(fault, ())
    }

    async fn create_upload(&self, _: &ShadowPath, key: &ObjectKey, attributes: &OriginAttributes) -> Result<String> {
        self.fault("create", key)?;
        let mut state = self.state.lock();
        let upload = format!("{key}-{}", self.requests());
        let begun = Upload { key: key.as_str().to_owned(), attributes: attributes.clone(), parts: BTreeMap::new() };
        state.uploads.insert(upload.clone(), begun);
        Ok(upload)
    }

    async fn put_part(&self, _: &ShadowPath, key: &ObjectKey, upload: &str, number: PartNumber, _: u64, body: Body) -> Result<ETag> {
        let fault = self.fault("put_part", key)?;
        let content = collect(body).await?;
        self.pass_gate(key).await;
        let etag = ETag::from_md5(md5(&content));
        let mut state = self.state.lock();
        state.uploads.get_mut(upload).ok_or_else(no_upload)?.parts.insert(number, content);
        answer(fault, etag)
    }

    async fn parts(&self, _: &ShadowPath, key: &ObjectKey, upload: &str) -> Result<Vec<OriginPart>> {
        self.fault("parts", key)?;
        let state = self.state.lock();
        let parts = &state.uploads.get(upload).ok_or_else(no_upload)?.parts;
        let part = |(number, content): (&PartNumber, &Bytes)| OriginPart {
            number: *number,
            etag: ETag::from_md5(md5(content)),
            size: content.len() as u64,
        };
        Ok(parts.iter().map(part).collect())
    }

    async fn complete_upload(&self, _: &ShadowPath, key: &ObjectKey, upload: &str, named: &[(PartNumber, ETag)]) -> Result<ETag> {
        let fault = self.fault("complete", key)?;
        self.dawdle().await;
        let mut state = self.state.lock();
        let Upload { attributes, parts, .. } = state.uploads.remove(upload).ok_or_else(no_upload)?;
        let chosen: Vec<_> = named.iter().map(|(number, _)| parts[number].clone()).collect();
        let digests: Vec<u8> = chosen.iter().flat_map(|content| md5(content)).collect();
        let etag = ETag::from_parts(md5(&digests), chosen.len());
        let whole = held(key, chosen.concat().into(), &attributes, etag.clone());
        let part_sizes = chosen.iter().map(|part| part.len() as u64).collect();
        state.objects.insert(key.as_str().to_owned(), Held { part_sizes, ..whole });
        state.writes.push(format!("put {key}"));
        answer(fault, etag)
    }

    async fn abort_upload(&self, _: &ShadowPath, key: &ObjectKey, upload: &str) -> Result<()> {
        self.fault("abort", key)?;
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
    fn origin(&self, settings: &ShadowSettings, _: &Secret) -> umbra_core::Result<Arc<dyn Origin>> {
        let elsewhere = self.0.elsewhere.lock().get(&settings.endpoint).cloned();
        Ok(elsewhere.unwrap_or_else(|| self.0.clone()))
    }
}

//! An origin in memory whose faults a test sets.

mod listing;
mod requests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use md5::{Digest, Md5};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use umbra_core::{ETag, ObjectInfo, ObjectKey, PartNumber, ReadSource, ShadowSettings, Tags, Timestamp};
use umbra_store::Secret;

use super::{Origin, OriginAttributes, Uncarried};
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
    /// Whether a request for a range is answered with the whole.
    ignores_ranges: AtomicBool,
    /// Whether that is known before any is sent.
    is_known_to_ignore_ranges: AtomicBool,
    /// What a HEAD tells of a key, where that is not what it has.
    told_by_head: Mutex<BTreeMap<String, ObjectInfo>>,
    /// Whether GetObjectAttributes is not known here.
    hides_parts: AtomicBool,
    listing: Mutex<Listing>,
    /// When set, listings show nothing behind this key and do not end; their tokens repeat after so many.
    stalled: Mutex<Option<(String, u64)>>,
    /// How often writes let other tasks go first, at most.
    jitter: AtomicU64,
    gets: AtomicU64,
    heads: AtomicU64,
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
        tags: None,
        attributes: umbra_core::Attributes::default(),
        version: umbra_core::VersionId::Null,
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

    /// From now on a HEAD tells something else of an object than a GET does.
    pub fn alter_head(&self, key: &str, change: impl FnOnce(&mut ObjectInfo)) {
        let mut info = self.info(key).expect("an object").0;
        change(&mut info);
        self.told_by_head.lock().insert(key.to_owned(), info);
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

    /// From now on listings show nothing behind `key` and do not end: page after page has nothing on it, and leads to one of `tokens` others.
    pub fn stall_lists(&self, key: &str, tokens: u64) {
        *self.stalled.lock() = Some((key.to_owned(), tokens));
    }

    /// From now on listings end again.
    pub fn unstall_lists(&self) {
        *self.stalled.lock() = None;
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

    /// Answers requests for ranges with the whole from now on, as is known of it.
    pub fn ignore_ranges(&self) {
        self.ignore_ranges_silently();
        self.is_known_to_ignore_ranges.store(true, Ordering::SeqCst);
    }

    /// Answers requests for ranges with the whole from now on, and nobody knows before.
    pub fn ignore_ranges_silently(&self) {
        self.ignores_ranges.store(true, Ordering::SeqCst);
    }

    /// Reads of bodies so far.
    pub fn gets(&self) -> u64 {
        self.gets.load(Ordering::SeqCst)
    }

    /// Requests for headers so far; a probe's are left out.
    pub fn heads(&self) -> u64 {
        self.heads.load(Ordering::SeqCst)
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

    /// From now on each `get`, `head` or `part` waits for a permit once it has looked, or each `tags` before it looks.
    pub fn hold(&self, doing: &'static str) -> Arc<Semaphore> {
        self.held_requests.lock().entry(doing).or_insert_with(|| Arc::new(Semaphore::new(0))).clone()
    }
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

//! Every write there ever was, and what an object that came of it must look like.
//!
//! User metadata names the write, and every eight bytes of content name what was sent: nothing mixed passes unnoticed.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use md5::{Digest, Md5};
use parking_lot::Mutex;
use umbra_core::{ByteRange, ETag, ObjectInfo, SystemHeaders, Tags, Timestamp, UserMetadata, VersionId};

use crate::reference::Name;

/// Names a write.
pub(crate) type WriteId = u32;
/// Names a set of tags.
pub(crate) type TagsId = u32;

/// One write, whatever became of it.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) key: String,
    /// What it stores; not known of a copy until it is seen.
    pub(crate) content: Option<Bytes>,
    pub(crate) etag: Option<ETag>,
    /// The date at the origin, of an object that its owner put there.
    pub(crate) date: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct State {
    writes: BTreeMap<WriteId, Written>,
    issued: u32,
    /// What is known of which versions there are, or were.
    versions: HashMap<VersionId, Name>,
    /// Those of each key, as they became known.
    by_key: BTreeMap<String, Vec<(VersionId, Name)>>,
}

/// The register of writes.
#[derive(Debug, Default)]
pub(crate) struct Writes(Mutex<State>);

/// Content of `size` bytes that names `id` everywhere.
pub(crate) fn content(id: u32, size: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(size + 8);
    for block in 0..size.div_ceil(8) {
        bytes.extend_from_slice(&(u64::from(id) << 32 | block as u64).to_be_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

pub(crate) fn md5(content: &[u8]) -> [u8; 16] {
    Md5::digest(content).into()
}

/// The headers that write `id` carries.
pub(crate) fn headers(id: WriteId) -> SystemHeaders {
    SystemHeaders { content_type: Some(format!("sim/{id}")), cache_control: Some(format!("max-age={id}")), ..SystemHeaders::default() }
}

/// The metadata that write `id` carries.
pub(crate) fn metadata(id: WriteId) -> UserMetadata {
    UserMetadata::new([("write".to_owned(), id.to_string()), ("größe".to_owned(), "übergroß".to_owned())])
}

/// Which write an object says it came of.
pub(crate) fn named(metadata: &UserMetadata) -> Option<WriteId> {
    metadata.iter().find(|(name, _)| *name == "write").and_then(|(_, id)| id.parse().ok())
}

/// The tags that `id` names; none at all for 0.
pub(crate) fn tags(id: TagsId) -> Tags {
    Tags::new((id != 0).then(|| ("tags".to_owned(), id.to_string())))
}

/// Which tags these are.
pub(crate) fn tags_named(tags: &Tags) -> Option<TagsId> {
    match tags.iter().next() {
        None => Some(0),
        Some((_, id)) => id.parse().ok(),
    }
}

impl Writes {
    /// A number that nothing had before.
    pub(crate) fn issue(&self) -> u32 {
        let mut state = self.0.lock();
        state.issued += 1;
        state.issued
    }

    /// Registers a write that stores `content`; `None` for a copy.
    pub(crate) fn add(&self, key: &str, content: Option<Bytes>) -> WriteId {
        let id = self.issue();
        let etag = content.as_ref().map(|content| ETag::from_md5(md5(content)));
        self.0.lock().writes.insert(id, Written { key: key.to_owned(), content, etag, date: None });
        id
    }

    pub(crate) fn get(&self, id: WriteId) -> Option<Written> {
        self.0.lock().writes.get(&id).cloned()
    }

    pub(crate) fn change(&self, id: WriteId, change: impl FnOnce(&mut Written)) {
        self.0.lock().writes.get_mut(&id).map(change);
    }

    /// Learns that `name` of `key` is called `id`: each has one name for ever.
    pub(crate) fn learn(&self, key: &str, id: VersionId, name: Name) -> Result<(), String> {
        let mut state = self.0.lock();
        if id == VersionId::Null || state.versions.get(&id) == Some(&name) {
            return Ok(());
        }
        let of_key = state.by_key.entry(key.to_owned()).or_default();
        if let Some((other, _)) = of_key.iter().find(|(_, of)| *of == name) {
            return Err(format!("{name:?} is version {other} and version {id}"));
        }
        of_key.push((id, name));
        match state.versions.insert(id, name) {
            None => Ok(()),
            Some(other) => Err(format!("version {id} is {other:?} and {name:?}")),
        }
    }

    /// What is called `id`, if that is known.
    pub(crate) fn version(&self, id: VersionId) -> Option<Name> {
        self.0.lock().versions.get(&id).copied()
    }

    /// The versions that are known of `key`, or were there once.
    pub(crate) fn versions_of(&self, key: &str) -> Vec<(VersionId, Name)> {
        self.0.lock().by_key.get(key).cloned().unwrap_or_default()
    }

    /// The content that has this MD5.
    pub(crate) fn content_of(&self, etag: &ETag) -> Option<Bytes> {
        let state = self.0.lock();
        // Most are told apart by the ETag that is known of them.
        let known = state.writes.values().find(|written| written.etag.as_ref() == Some(etag)).and_then(|written| written.content.clone());
        let same = |content: &&Bytes| ETag::from_md5(md5(content)) == *etag;
        known.or_else(|| state.writes.values().filter_map(|written| written.content.as_ref()).find(same).cloned())
    }

    /// Learns what a copy holds whose content has this MD5.
    pub(crate) fn resolve(&self, id: WriteId, etag: &ETag) {
        if self.get(id).is_none_or(|copy| copy.content.is_some()) {
            return;
        }
        let content = self.content_of(etag);
        let mut state = self.0.lock();
        if let (Some(content), Some(copy)) = (content, state.writes.get_mut(&id))
            && copy.content.is_none()
        {
            (copy.content, copy.etag) = (Some(content), Some(etag.clone()));
        }
    }

    /// Which write `info`, and `body` where it was read, are of; what is wrong with them otherwise.
    pub(crate) fn identify(&self, key: &str, info: &ObjectInfo, range: Option<ByteRange>, body: Option<&[u8]>) -> Result<WriteId, String> {
        let id = named(&info.metadata).ok_or("an object without the metadata it was written with")?;
        self.resolve(id, &info.etag);
        let written = self.get(id).filter(|written| written.key == key).ok_or_else(|| format!("write {id} was of another key"))?;
        let (Some(content), Some(etag)) = (written.content, written.etag) else {
            return Err(format!("copy {id} holds what no write stored (ETag {})", info.etag));
        };
        let mismatch = |what: &str| Err(format!("{what} of write {id} is not as written"));
        if info.etag != etag {
            return mismatch(&format!("the ETag ({} instead of {etag})", info.etag));
        }
        if info.size != content.len() as u64 {
            return mismatch("the size");
        }
        if info.headers != headers(id) || info.metadata != metadata(id) {
            return mismatch("the headers or metadata");
        }
        if written.date.is_some_and(|date| date.as_secs() != info.last_modified.as_secs()) {
            return mismatch("the date");
        }
        let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(content.len());
        let wanted = range.map_or(&content[..], |range| &content[within(range.start)..within(range.end)]);
        if body.is_some_and(|body| body != wanted) {
            return mismatch(&describe(body.unwrap_or_default(), wanted));
        }
        Ok(id)
    }
}

/// How two contents differ.
fn describe(got: &[u8], wanted: &[u8]) -> String {
    let at = got.iter().zip(wanted).position(|(got, wanted)| got != wanted).unwrap_or(got.len().min(wanted.len()));
    format!("the content ({} bytes, {} expected, different from byte {at} on)", got.len(), wanted.len())
}

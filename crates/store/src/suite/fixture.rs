//! A bucket under test, and what the checks do to it.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use umbra_core::{
    Body, Checksum, ChecksumAlgorithm, ChecksumHasher, Entity, Error, ErrorKind, Fault, ObjectInfo, ObjectKey, PartNumber, Preconditions,
    RequestContext, Result, UploadId,
};

use crate::{
    Bucket, CompleteUpload, CompletedPart, CreateUpload, DeleteOptions, GetObject, GetOptions, Integrity, ListOptions, ListPage,
    ListSource, ListStart, Objects, PartAddress, PutObject, PutOptions,
};

/// The size of a part that is not the last.
pub(super) const PART: usize = 5 * 1024 * 1024;

pub(super) struct Fixture {
    pub(super) objects: Arc<dyn Objects>,
    pub(super) bucket: Bucket,
    pub(super) cx: RequestContext,
}

pub(super) fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).expect("the key is valid")
}

pub(super) fn number(number: i64) -> PartNumber {
    PartNumber::new(number).expect("the number is valid")
}

/// `size` bytes that differ by position and by `seed`.
pub(super) fn content(size: usize, seed: u8) -> Bytes {
    let mut state = u32::from(seed).wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

/// A body of unknown size that arrives in chunks of `chunk` bytes.
pub(super) fn chunked(content: &Bytes, chunk: usize) -> Body {
    let chunks: Vec<_> = content.chunks(chunk).map(|chunk| Ok(content.slice_ref(chunk))).collect();
    Body::new(None, stream::iter(chunks))
}

pub(super) fn checksum(algorithm: ChecksumAlgorithm, content: &[u8]) -> Checksum {
    let mut hasher = ChecksumHasher::new(algorithm);
    hasher.update(content);
    hasher.finish()
}

/// The kind of the error that `result` must be.
pub(super) fn kind<T: std::fmt::Debug>(what: &str, result: Result<T>) -> ErrorKind {
    match result {
        Err(error) => error.kind(),
        Ok(value) => panic!("{what}: expected an error, not {value:?}"),
    }
}

pub(super) fn good<T>(what: &str, result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error:?}"))
}

pub(super) const NO_OBJECT: ErrorKind = ErrorKind::NotFound(Entity::Object);
pub(super) const NO_UPLOAD: ErrorKind = ErrorKind::NotFound(Entity::Upload);

pub(super) const fn invalid(fault: Fault) -> ErrorKind {
    ErrorKind::Invalid(fault)
}

impl Fixture {
    pub(super) fn new(objects: Arc<dyn Objects>, bucket: Bucket) -> Self {
        Self { objects, bucket, cx: RequestContext::default() }
    }

    pub(super) async fn try_put(&self, name: &str, body: impl Into<Body>, options: PutOptions) -> Result<PutObject> {
        self.objects.put(&self.cx, &self.bucket, &key(name), body.into(), options).await
    }

    pub(super) async fn put(&self, name: &str, content: impl Into<Bytes>) -> PutObject {
        good(name, self.try_put(name, Body::from_bytes(content), PutOptions::default()).await)
    }

    pub(super) async fn put_if(&self, name: &str, content: &'static str, preconditions: Preconditions) -> Result<PutObject> {
        self.try_put(name, Body::from_bytes(content), PutOptions { preconditions, ..PutOptions::default() }).await
    }

    pub(super) async fn try_get(&self, name: &str, options: GetOptions) -> Result<GetObject> {
        self.objects.get(&self.cx, &self.bucket, &key(name), options).await
    }

    /// Reads and gathers; the announced size must be the true one.
    pub(super) async fn read(&self, name: &str, options: GetOptions) -> Result<(ObjectInfo, Bytes)> {
        let GetObject { info, range, body } = self.try_get(name, options).await?;
        let announced = body.size().expect("the size is announced");
        assert_eq!(announced, range.map_or(info.size, umbra_core::ByteRange::len), "{name}: the announced size");
        let content = body.collect(usize::MAX).await?;
        assert_eq!(announced, content.len() as u64, "{name}: bytes that came");
        Ok((info, content))
    }

    pub(super) async fn get(&self, name: &str) -> Bytes {
        good(name, self.read(name, GetOptions::default()).await).1
    }

    pub(super) async fn head(&self, name: &str) -> Result<ObjectInfo> {
        self.objects.head(&self.cx, &self.bucket, &key(name), GetOptions::default()).await
    }

    pub(super) async fn assert_absent(&self, name: &str) {
        assert_eq!(kind(name, self.try_get(name, GetOptions::default()).await), NO_OBJECT, "{name}");
        assert_eq!(kind(name, self.head(name).await), NO_OBJECT, "{name}");
        let page = self.list(name, "", ListStart::First, 10).await;
        assert!(page.objects.iter().all(|object| object.key.as_str() != name), "{name} is listed");
    }

    pub(super) async fn delete(&self, name: &str) {
        good(name, self.delete_if(name, Preconditions::default()).await);
    }

    pub(super) async fn delete_if(&self, name: &str, preconditions: Preconditions) -> Result<()> {
        self.objects.delete(&self.cx, &self.bucket, &key(name), DeleteOptions { preconditions, ..DeleteOptions::default() }).await.map(drop)
    }

    pub(super) async fn try_list(&self, options: ListOptions) -> Result<ListPage> {
        self.objects.list(&self.cx, &self.bucket, options).await
    }

    pub(super) async fn list(&self, prefix: &str, delimiter: &str, start: ListStart, limit: usize) -> ListPage {
        let (prefix, delimiter) = (prefix.to_owned(), delimiter.to_owned());
        good("list", self.try_list(ListOptions { prefix, delimiter, start, limit, source: ListSource::Merged }).await)
    }

    pub(super) async fn begin(&self, name: &str, options: CreateUpload) -> UploadId {
        good(name, self.objects.create_upload(&self.cx, &self.bucket, &key(name), options).await)
    }

    pub(super) async fn try_part(
        &self,
        name: &str,
        upload: &UploadId,
        part: i64,
        content: &Bytes,
        integrity: Integrity,
    ) -> Result<PutObject> {
        let key = key(name);
        let part = PartAddress { key: &key, upload, number: number(part) };
        self.objects.put_part(&self.cx, &self.bucket, part, Body::from_bytes(content.clone()), integrity).await
    }

    /// Stores a part and names it as a completion does.
    pub(super) async fn part(&self, name: &str, upload: &UploadId, part: i64, content: &Bytes) -> CompletedPart {
        let stored = good(name, self.try_part(name, upload, part, content, Integrity::default()).await);
        CompletedPart { number: number(part), etag: stored.etag, checksum: None }
    }

    pub(super) async fn try_complete(&self, name: &str, upload: &UploadId, options: CompleteUpload) -> Result<PutObject> {
        self.objects.complete_upload(&self.cx, &self.bucket, &key(name), upload, options).await
    }

    pub(super) async fn complete(&self, name: &str, upload: &UploadId, parts: &[CompletedPart]) -> Result<PutObject> {
        self.try_complete(name, upload, CompleteUpload { parts: parts.to_vec(), ..CompleteUpload::default() }).await
    }

    pub(super) async fn abort(&self, name: &str, upload: &UploadId) -> Result<()> {
        self.objects.abort_upload(&self.cx, &self.bucket, &key(name), upload).await
    }
}

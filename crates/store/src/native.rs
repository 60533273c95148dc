//! Objects kept here: joins a record in the metadata store to its bytes in the blob store.
//!
//! # Writing
//! Bytes are durable before the record that names them is committed, and the record is durable before a write returns. Every batch
//! checks the bucket's fence, so that nothing is written to a bucket that is being deleted (`commit.rs`). Whatever drops the last
//! reference to a blob enqueues its reclamation in the same batch; [`crate::Reclaimer`] deletes it after a grace period.
//!
//! # Reading
//! A read takes the record and then opens the content. An object that is overwritten in between stays readable for the grace
//! period; when even that is over, the read begins anew with the record.
//!
//! Requests that only read may find records by another handle ([`Native::reading_nearby`]), which may be as old as its store lets it be. The
//! content of a record that is gone is looked for with the record as it is now.
//!
//! # Cancellation
//! Any future may be dropped at any point. From the moment content is to be published a task of its own sees it through, so that a
//! client that goes away leaves either the object or nothing (`ingest.rs`, [`detached`]).

mod cipher;
mod commit;
mod complete;
mod content;
mod content_stream;
mod delete;
mod digester;
mod get;
mod ingest;
mod intake;
mod list;
mod list_token;
mod list_uploads;
mod list_versions;
mod lock;
mod note;
mod part;
mod places;
mod plan;
mod publish;
mod publish_copy;
mod remove_version;
mod sealed;
mod stored;
mod tags;
mod upload;
mod versions;

use std::{borrow::Cow, fmt, future::Future, sync::Arc};

use async_trait::async_trait;
use tracing::Instrument as _;
use umbra_blob::{BlobId, BlobStore};
use umbra_core::{
    Acl, Body, Clock, Error, ErrorKind, ObjectInfo, ObjectKey, PartNumber, Random, RequestContext, Result, Tags, UploadId, VersionId,
    check_write,
};
use umbra_meta::{MetaStore, key};

pub(crate) use self::versions::History;
pub use self::{
    content::{Content, Extent, Pieces},
    list::VersionRow,
    list_uploads::decode_upload_index,
    note::{PartNoting, StoredPart},
    plan::CompletionPlan,
    publish::NewObject,
    remove_version::RemoveVersion,
    sealed::SealedBlobs,
    stored::{Completion, ObjectRecord, Stored, Version},
    upload::{part_integrity, upload_initiated},
};
use crate::{
    AclChange, Bucket, CompleteUpload, CreateUpload, DeleteOptions, Deleted, DuePointers, EventBell, EventKind, GetObject, GetOptions,
    Integrity, Keyring, ListOptions, ListPage, ListUploads, ListVersions, LockChange, Md5Pool, Objects, PartAddress, PartsPage, Pin,
    PlacedBlobStore, PutObject, PutOptions, ReclaimHandle, Terms, UploadsPage, VersionsPage,
    event::{EventOrder, Telling},
};

/// What a [`Native`] is made of.
#[derive(Clone, Debug)]
pub struct NativeParts {
    /// Where records are.
    pub meta: Arc<dyn MetaStore>,
    /// Where bytes are.
    pub blobs: Arc<dyn BlobStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for upload identifiers.
    pub random: Arc<dyn Random>,
    /// Whom to tell that a blob is to be reclaimed.
    pub reclaimer: ReclaimHandle,
    /// What content is encrypted with.
    pub keys: Arc<Keyring>,
}

/// Objects kept here. Cheap to clone.
#[derive(Clone)]
pub struct Native {
    parts: Arc<NativeParts>,
    placed: Option<PlacedBlobStore>,
    due: DuePointers,
    /// The same parts for requests that only read, where these find records elsewhere.
    nearby: Option<Arc<NativeParts>>,
    bell: EventBell,
    order: EventOrder,
    md5s: Md5Pool,
}

impl Native {
    /// Puts a `Native` together.
    pub fn new(parts: NativeParts) -> Self {
        let order = EventOrder::new(Arc::clone(&parts.clock), Arc::clone(&parts.random));
        Self {
            parts: Arc::new(parts),
            placed: None,
            nearby: None,
            due: DuePointers::default(),
            bell: EventBell::default(),
            order,
            md5s: Md5Pool::default(),
        }
    }

    /// Has requests that only read find records in `meta`, and copies of contents be looked for there, where that is not the same.
    #[must_use]
    pub fn reading_nearby(self, meta: Option<Arc<dyn MetaStore>>) -> Self {
        if let (Some(placed), Some(meta)) = (&self.placed, &meta) {
            placed.look_nearby(Arc::clone(meta));
        }
        let nearby = meta.map(|meta| Arc::new(NativeParts { meta, ..NativeParts::clone(&self.parts) }));
        Self { nearby, ..self }
    }

    /// This, as the request `cx` finds records of `bucket`. Those of a bucket with an origin go together with what its writes know.
    fn of_request(&self, cx: &RequestContext, bucket: &Bucket) -> Cow<'_, Self> {
        match &self.nearby {
            Some(nearby) if cx.reads_nearby && bucket.settings.shadow.is_none() => {
                Cow::Owned(Self { parts: Arc::clone(nearby), ..self.clone() })
            }
            _ => Cow::Borrowed(self),
        }
    }

    /// Where records are.
    pub fn meta(&self) -> &Arc<dyn MetaStore> {
        &self.parts.meta
    }

    /// The same, in a store with regions, if it has some: contents go where buckets want them.
    #[must_use]
    pub fn in_regions(self, placed: Option<PlacedBlobStore>) -> Self {
        Self { placed, ..self }
    }

    /// Where bytes are, for whoever deletes them. What is read and written goes by [`Native::blobs_of`].
    pub fn blobs(&self) -> &Arc<dyn BlobStore> {
        &self.parts.blobs
    }

    /// Keeps `blobs` from being reclaimed while the pin lives: they are being read, whatever becomes of the object that names them.
    pub fn pin(&self, blobs: Vec<BlobId>) -> Pin {
        self.reclaimer().pin(blobs)
    }

    /// The time.
    pub fn clock(&self) -> &dyn Clock {
        &*self.parts.clock
    }

    /// The same, to be kept.
    pub fn shared_clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.parts.clock)
    }

    /// Randomness.
    pub fn random(&self) -> &dyn Random {
        &*self.parts.random
    }

    /// Where the MD5 of what comes in is computed.
    pub const fn md5s(&self) -> &Md5Pool {
        &self.md5s
    }

    /// Rings when a bucket has something to tell.
    pub fn event_bell(&self) -> &EventBell {
        &self.bell
    }

    /// Whom to tell of copies that have to be made in other regions.
    pub const fn due_pointers(&self) -> &DuePointers {
        &self.due
    }

    /// Whom to tell of a change that is called `created` when it puts an object, and `removed` when it deletes one.
    fn telling(&self, bucket: &Bucket, key: &ObjectKey, created: EventKind, removed: EventKind) -> Option<Telling> {
        Telling::of(bucket, key, created, removed, &self.order)
    }

    /// Whom to tell that a version is removed, by a lifecycle rule that `expires` it or by a user.
    fn telling_of_version(&self, bucket: &Bucket, key: &ObjectKey, version: VersionId, expires: bool) -> Option<Telling> {
        let removed = if expires { EventKind::Expired } else { EventKind::Delete };
        self.telling(bucket, key, removed, removed).map(|telling| telling.of_version(version))
    }

    /// The object of `key`, as it is stored.
    pub async fn find(&self, bucket: &Bucket, key: &ObjectKey) -> Result<Option<Stored>> {
        self.meta().get(bucket.partition, &key::object(key)).await?.as_ref().map(Stored::decode).transpose()
    }

    /// What content is encrypted with.
    pub fn keys(&self) -> &Arc<Keyring> {
        &self.parts.keys
    }

    fn reclaimer(&self) -> &ReclaimHandle {
        &self.parts.reclaimer
    }
}

impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Native").field("meta", self.meta()).field("blobs", self.blobs()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Objects for Native {
    async fn get(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, options: GetOptions) -> Result<GetObject> {
        let stored = self.of_request(cx, bucket).find_version(bucket, key, options.version).await?;
        self.open_current(bucket, key, stored, &options).await
    }

    async fn head(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, options: GetOptions) -> Result<ObjectInfo> {
        self.of_request(cx, bucket).find_version(bucket, key, options.version).await?.judge(&options)
    }

    async fn put(&self, _: &RequestContext, bucket: &Bucket, key: &ObjectKey, body: Body, options: PutOptions) -> Result<PutObject> {
        let PutOptions { headers, metadata, tags, attributes, preconditions, integrity, cause } = options;
        if !preconditions.is_empty() {
            let current = self.find(bucket, key).await?;
            check_write(&preconditions, current.as_ref().map(|stored| &stored.object.etag))?;
        }
        let content = self.ingest(bucket, attributes.narrowed.as_ref(), body, integrity).await?;
        self.publish(bucket, key, content, NewObject { headers, metadata, tags, attributes, cause }, &preconditions, Terms::default()).await
    }

    async fn delete(&self, _: &RequestContext, bucket: &Bucket, key: &ObjectKey, options: DeleteOptions) -> Result<Deleted> {
        let DeleteOptions { version, bypass_governance, preconditions: conditions } = options;
        match version {
            None => self.remove(bucket, key, &conditions, Terms::default()).await,
            Some(version) => {
                let options = RemoveVersion { conditions, bypass_governance, ..RemoveVersion::default() };
                self.remove_version(bucket, key, version, options).await
            }
        }
    }

    async fn list(&self, cx: &RequestContext, bucket: &Bucket, options: ListOptions) -> Result<ListPage> {
        self.of_request(cx, bucket).list_objects(bucket, options).await
    }

    async fn list_versions(&self, cx: &RequestContext, bucket: &Bucket, options: ListVersions) -> Result<VersionsPage> {
        self.of_request(cx, bucket).page_of_versions(bucket, options).await
    }

    async fn tags(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, version: Option<VersionId>) -> Result<(Tags, VersionId)> {
        let object = self.of_request(cx, bucket).find_version(bucket, key, version).await?.object;
        Ok((object.tags, object.version.id()))
    }

    async fn put_tags(
        &self,
        _: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        tags: Tags,
    ) -> Result<VersionId> {
        self.replace_tags_here(bucket, key, version, tags, Terms::default()).await
    }

    async fn put_lock(
        &self,
        _: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        change: LockChange,
    ) -> Result<()> {
        self.change_lock(bucket, key, version, change).await
    }

    async fn acl(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, version: Option<VersionId>) -> Result<Option<Acl>> {
        let here = self.of_request(cx, bucket);
        let stored = match version {
            None => here.find(bucket, key).await?,
            Some(version) => here.locate(commit::Fence::from(bucket), key, version).await?.map(|place| place.stored),
        };
        Ok(stored.and_then(|stored| stored.object.attributes.acl))
    }

    async fn put_acl(
        &self,
        _: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        change: AclChange,
    ) -> Result<()> {
        self.replace_acl(bucket, key, version, change).await
    }

    async fn create_upload(&self, _: &RequestContext, bucket: &Bucket, key: &ObjectKey, options: CreateUpload) -> Result<UploadId> {
        self.create_upload_noted(bucket, key, options, None, |_| Vec::new()).await
    }

    async fn upload(&self, _: &RequestContext, bucket: &Bucket, key: &ObjectKey, upload: &UploadId) -> Result<CreateUpload> {
        Ok(self.find_upload(bucket, key, upload).await?.record.options)
    }

    async fn put_part(
        &self,
        _: &RequestContext,
        bucket: &Bucket,
        part: PartAddress<'_>,
        body: Body,
        integrity: Integrity,
    ) -> Result<PutObject> {
        let upload = self.find_upload(bucket, part.key, part.upload).await?;
        let integrity = part_integrity(&upload.record.options, integrity)?;
        let narrowed = upload.record.options.attributes.narrowed.as_ref();
        self.check_homes(bucket, narrowed)?;
        let content = self.ingest_inlining(self.blobs_of(bucket, narrowed), body, integrity, 0).await?;
        self.publish_part(bucket, part, content).await
    }

    async fn complete_upload(
        &self,
        _: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: &UploadId,
        options: CompleteUpload,
    ) -> Result<PutObject> {
        let plan = self.plan_completion(bucket, key, upload, &options).await?;
        self.commit_completion(bucket, key, plan, &options.preconditions, Terms::default()).await
    }

    async fn abort_upload(&self, _: &RequestContext, bucket: &Bucket, key: &ObjectKey, upload: &UploadId) -> Result<()> {
        self.abort_upload_noted(bucket, key, upload).await
    }

    async fn list_parts(
        &self,
        _: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: &UploadId,
        after: Option<PartNumber>,
        limit: usize,
    ) -> Result<PartsPage> {
        self.page_of_parts(bucket, key, upload, after, limit).await
    }

    async fn list_uploads(&self, _: &RequestContext, bucket: &Bucket, options: ListUploads) -> Result<UploadsPage> {
        self.page_of_uploads(bucket, options).await
    }
}

/// Runs `work` to its end, whether or not anyone still waits for it.
async fn detached<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    match tokio::spawn(work.in_current_span()).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::new(ErrorKind::Cancelled, "the server is stopping").because(error)),
    }
}

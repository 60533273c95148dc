//! The decorator: [`Objects`] here and at an origin, as one.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::TryStreamExt;
use md5::{Digest, Md5};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use umbra_core::{
    Acl, Body, Clock, Error, ErrorKind, ObjectInfo, ObjectKey, PartNumber, ReadSource, RequestContext, Result, Tags, UploadId, VersionId,
};
use umbra_meta::Partition;
use umbra_store::{
    AclChange, Bucket, Catalog, CompleteUpload, CreateUpload, DeleteOptions, Deleted, EventBell, GetObject, GetOptions, Integrity,
    ListOptions, ListPage, ListSource, ListUploads, ListVersions, LockChange, Native, Objects, PartAddress, PartsPage, PutObject,
    PutOptions, UploadsPage, VersionsPage,
};

use crate::{
    flights::Flights,
    hydrate::{PERMIT_BYTES, permits_min},
    intent::{Live, LiveIntents},
    jobs::Jobs,
    key_locks::KeyLocks,
    lifecycle::LifecycleHandle,
    limits::ShadowLimits,
    origin::{Origin, ShadowPath},
    origins::{OriginFactory, Origins},
    repairs::Repairs,
    revalidate::Revalidations,
    schedule::Schedule,
    stats::{Stats, StatsByBucket},
    transfer::Sizes,
    users::{UserGuard, Users},
    versions::{named, refuse_other},
    view::View,
    write_through::switched,
};

/// How many requests all hydrations together have under way for bytes that nobody waits for.
const BACKGROUND_FETCHES: usize = 4;

/// What a [`Shadow`] is made of.
#[derive(Debug)]
pub struct ShadowParts {
    /// The objects here.
    pub native: Native,
    /// The buckets.
    pub catalog: Arc<Catalog>,
    /// Makes origins.
    pub origins: Arc<dyn OriginFactory>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What an operator can set.
    pub settings: ShadowLimits,
}

/// Objects of buckets that may have an origin. A bucket without one goes straight to [`Native`].
#[derive(Clone)]
pub struct Shadow(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) native: Native,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) origins: Origins,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) flights: Flights,
    pub(crate) locks: KeyLocks,
    /// One lock per part of a mirrored upload, by `upload/number`.
    pub(crate) part_locks: KeyLocks,
    /// Keys whose intent belongs to a write of this process that is still under way.
    pub(crate) live_intents: Mutex<LiveIntents>,
    /// Keys whose intent belongs to a copy back to the origin that is still under way. Kept apart, for a write may overtake it.
    pub(crate) live_copies: Mutex<LiveIntents>,
    /// Buckets whose writes to the origin are held back, and how often.
    pub(crate) held_back: Mutex<HashMap<Partition, usize>>,
    pub(crate) stats: StatsByBucket,
    /// Up to which generation of a bucket's shadow this process has dropped what earlier ones left.
    pub(crate) cleaned: Mutex<HashMap<Partition, u64>>,
    pub(crate) hydration_memory: Arc<Semaphore>,
    /// Requests to origins that nobody waits for.
    pub(crate) background: Arc<Semaphore>,
    pub(crate) repairs: Repairs,
    pub(crate) jobs: Jobs,
    pub(crate) lifecycle: LifecycleHandle,
    pub(crate) users: Arc<Users>,
    pub(crate) job_retry_delay: Duration,
    /// Whether buckets with an origin are kept here.
    pub(crate) keeps: AtomicBool,
    /// Whether what is counted here is saved in the background.
    pub(crate) saves: AtomicBool,
    pub(crate) schedule: Schedule,
    pub(crate) revalidations: Revalidations,
    /// Everything that outlives a request: hydrations, writes in progress, repairs.
    pub(crate) tasks: TaskTracker,
    pub(crate) stopping: CancellationToken,
}

impl Shadow {
    /// Puts a shadow together. Nothing runs before [`Shadow::start`].
    pub fn new(parts: ShadowParts) -> Self {
        let ShadowParts { native, catalog, origins, clock, settings } = parts;
        let sizes = Sizes::of_piece(settings.piece_bytes.get());
        let permits = (settings.hydration_memory_bytes / PERMIT_BYTES).max(permits_min(sizes));
        Self(Arc::new(Inner {
            jobs: Jobs::new(&settings.node, native.random().array()),
            job_retry_delay: settings.job_retry_delay,
            keeps: AtomicBool::new(!settings.is_shared),
            saves: AtomicBool::default(),
            users: Arc::default(),
            native,
            origins: Origins::new(origins, catalog.clone()),
            catalog,
            clock,
            flights: Flights::new(sizes),
            locks: KeyLocks::default(),
            part_locks: KeyLocks::default(),
            live_intents: Mutex::default(),
            live_copies: Mutex::default(),
            held_back: Mutex::default(),
            stats: StatsByBucket::default(),
            cleaned: Mutex::default(),
            hydration_memory: Arc::new(Semaphore::new(usize::try_from(permits).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS))),
            background: Arc::new(Semaphore::new(BACKGROUND_FETCHES)),
            repairs: Repairs::default(),
            lifecycle: LifecycleHandle::default(),
            schedule: Schedule::default(),
            revalidations: Revalidations::default(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }))
    }

    /// Stops the workers, waits for writes in progress and saves what was counted; hydrations stop, and the next start goes on with what they
    /// have brought.
    pub async fn shutdown(&self) {
        self.0.stopping.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.save_counts().await;
    }

    /// Rings when a bucket has something to tell.
    pub fn event_bell(&self) -> &EventBell {
        self.native().event_bell()
    }

    pub(crate) fn native(&self) -> &Native {
        &self.0.native
    }

    pub(crate) fn stats(&self, bucket: &Bucket) -> Arc<Stats> {
        self.0.stats.of(bucket)
    }

    /// The origin of a bucket that has one, for a request for `key`: if its repair rests, it is tried at once.
    fn origin_for(&self, bucket: &Bucket, key: &ObjectKey) -> Result<Option<Arc<dyn Origin>>> {
        let origin = self.origin(bucket)?;
        if origin.is_some() {
            self.0.repairs.touch(bucket.partition, key, self.now());
        }
        Ok(origin)
    }

    /// The origin of a bucket that has one.
    pub(crate) fn origin(&self, bucket: &Bucket) -> Result<Option<Arc<dyn Origin>>> {
        match &bucket.settings.shadow {
            Some(_) if !self.0.keeps.load(Ordering::SeqCst) => Err(kept_elsewhere()),
            // A request that comes too late counts for nobody.
            Some(_) if self.0.origins.is_cleared(bucket) => Err(switched()),
            Some(settings) => self.0.origins.of(bucket, settings, self.notes(bucket)).map(Some),
            None => Ok(None),
        }
    }

    /// Counts a request to a bucket with an origin among those under way, until it is dropped.
    fn user(&self, bucket: &Bucket, key: Option<&ObjectKey>) -> Option<UserGuard> {
        bucket.settings.shadow.as_ref().map(|_| self.0.users.enter(bucket.partition, key))
    }

    /// The path of shadows a request to the origin has passed.
    pub(crate) fn path(&self, cx: &RequestContext, bucket: &Bucket) -> ShadowPath {
        let mut path = cx.shadow_path.clone();
        path.push(format!("{}/{}", self.0.catalog.store_id(), bucket.name));
        ShadowPath(path)
    }

    /// Counts what of an object is sent, as it is sent.
    pub(crate) fn counted(&self, bucket: &Bucket, mut object: GetObject) -> GetObject {
        let (stats, source) = (self.stats(bucket), object.info.source);
        object.body = object.body.map_stream(|stream| {
            stream.inspect_ok(move |chunk| {
                let sent = if source == ReadSource::Local { &stats.local_bytes } else { &stats.cold_bytes };
                sent.add(chunk.len() as u64);
            })
        });
        object
    }

    /// The rows of a key, and whether its intent is dead.
    pub(crate) async fn view(&self, bucket: &Bucket, key: &ObjectKey) -> Result<View> {
        let mut view = View::read(&**self.native().meta(), bucket, key).await?;
        loop {
            let Some(revision) = view.base.intent.filter(|_| view.intent.is_some()) else { return Ok(view) };
            let live = self.0.live_intents.lock().get(&(bucket.partition, key.clone())).copied();
            if live == Some(Live::Begun(revision)) {
                return Ok(view);
            }
            // The row may be gone by now, and another's intent on its way. What was looked up is true of one that was there before and after.
            let again = View::read(&**self.native().meta(), bucket, key).await?;
            if again.base.intent == view.base.intent {
                return Ok(View { is_dead: !live.is_some_and(|live| live.owns(revision)), ..again });
            }
            view = again;
        }
    }
}

impl fmt::Debug for Shadow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shadow").field("native", &self.0.native).finish_non_exhaustive()
    }
}

#[async_trait]
impl Objects for Shadow {
    async fn get(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, options: GetOptions) -> Result<GetObject> {
        if self.is_beside(bucket) {
            return self.get_beside(cx, bucket, key, options).await;
        }
        match self.origin_for(bucket, key)? {
            Some(_) if self.is_version_here(bucket, key, options.version).await? => self.native().get(cx, bucket, key, options).await,
            None => self.native().get(cx, bucket, key, options).await,
            Some(origin) => {
                let user = self.user(bucket, Some(key));
                let (version, of_null) = (options.version, options.version.map(|_| options.clone()));
                let read = self.read_fresh(cx, bucket, key, GetOptions { version: None, ..options }, origin.clone()).await;
                let found = read.as_ref().ok().map(|object| object.info.version);
                if let Some(of_null) = of_null
                    && self.is_no_answer_for_null(bucket, key, found).await?
                {
                    return self.native().get(cx, bucket, key, of_null).await;
                }
                let mut object = self.note_absence(cx, bucket, key, &*origin, read).await?;
                refuse_other(version, object.info.version)?;
                // The user is there until the last byte is read.
                object.body = object.body.map_stream(move |stream| {
                    stream.inspect_ok(move |_| {
                        let _ = &user;
                    })
                });
                Ok(self.counted(bucket, object))
            }
        }
    }

    async fn head(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, options: GetOptions) -> Result<ObjectInfo> {
        if self.is_beside(bucket) {
            return self.head_beside(cx, bucket, key, options).await;
        }
        match self.origin_for(bucket, key)? {
            Some(_) if self.is_version_here(bucket, key, options.version).await? => self.native().head(cx, bucket, key, options).await,
            None => self.native().head(cx, bucket, key, options).await,
            Some(origin) => {
                let _user = self.user(bucket, Some(key));
                let (version, of_null) = (options.version, options.version.map(|_| options.clone()));
                let read = self.head_fresh(cx, bucket, key, GetOptions { version: None, ..options }, origin.clone()).await;
                let found = read.as_ref().ok().map(|info| info.version);
                if let Some(of_null) = of_null
                    && self.is_no_answer_for_null(bucket, key, found).await?
                {
                    return self.native().head(cx, bucket, key, of_null).await;
                }
                let info = self.note_absence(cx, bucket, key, &*origin, read).await?;
                refuse_other(version, info.version)?;
                if info.source == ReadSource::Origin {
                    self.refuse_failed_order(bucket, key)?;
                }
                Ok(info)
            }
        }
    }

    async fn put(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, body: Body, options: PutOptions) -> Result<PutObject> {
        let _user = self.user(bucket, Some(key));
        match self.origin_for(bucket, key)? {
            None => self.native().put(cx, bucket, key, body, options).await,
            Some(origin) if writes_through(bucket) => self.put_through(cx, bucket, key, body, options, origin).await,
            Some(origin) => self.put_here(cx, bucket, key, body, options, &*origin).await,
        }
    }

    async fn delete(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, options: DeleteOptions) -> Result<Deleted> {
        let _user = self.user(bucket, Some(key));
        match self.origin_for(bucket, key)? {
            None => self.native().delete(cx, bucket, key, options).await,
            Some(origin) if named(bucket, options.version).is_some() => self.delete_version(cx, bucket, key, options, &*origin).await,
            Some(origin) if writes_through(bucket) => self.delete_through(cx, bucket, key, options, origin).await,
            Some(origin) => self.delete_here(cx, bucket, key, options, &*origin).await,
        }
    }

    async fn list(&self, cx: &RequestContext, bucket: &Bucket, options: ListOptions) -> Result<ListPage> {
        let _user = self.user(bucket, None);
        match self.origin(bucket)? {
            Some(origin) if options.source != ListSource::Local => self.list_merged(cx, bucket, options, &*origin).await,
            _ => self.native().list(cx, bucket, options).await,
        }
    }

    async fn list_versions(&self, cx: &RequestContext, bucket: &Bucket, options: ListVersions) -> Result<VersionsPage> {
        let _user = self.user(bucket, None);
        match self.origin(bucket)? {
            Some(origin) => self.list_versions_merged(cx, bucket, options, &*origin).await,
            None => self.native().list_versions(cx, bucket, options).await,
        }
    }

    async fn tags(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, version: Option<VersionId>) -> Result<(Tags, VersionId)> {
        if self.is_beside(bucket) {
            return self.tags_beside(cx, bucket, key, version).await;
        }
        let _user = self.user(bucket, Some(key));
        match self.origin_for(bucket, key)? {
            Some(origin) if !self.is_version_here(bucket, key, version).await? => {
                let read = self.tags_through(cx, bucket, key, &*origin).await;
                let found = read.as_ref().ok().map(|(_, version)| *version);
                if version.is_some() && self.is_no_answer_for_null(bucket, key, found).await? {
                    return self.native().tags(cx, bucket, key, version).await;
                }
                let (tags, found) = read?;
                refuse_other(version, found)?;
                Ok((tags, found))
            }
            _ => self.native().tags(cx, bucket, key, version).await,
        }
    }

    async fn put_tags(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        tags: Tags,
    ) -> Result<VersionId> {
        let _user = self.user(bucket, Some(key));
        match self.origin_for(bucket, key)? {
            None => self.native().put_tags(cx, bucket, key, version, tags).await,
            Some(origin) => match version {
                None => self.put_tags_through(cx, bucket, key, None, tags, origin).await,
                Some(version) => self.put_tags_of_version(cx, bucket, key, version, tags, origin).await,
            },
        }
    }

    async fn put_lock(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        change: LockChange,
    ) -> Result<()> {
        let _user = self.user(bucket, Some(key));
        if let Some(origin) = self.origin_for(bucket, key)? {
            self.hydrate_version(cx, bucket, key, version, &origin).await?;
        }
        self.native().put_lock(cx, bucket, key, version, change).await
    }

    async fn acl(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, version: Option<VersionId>) -> Result<Option<Acl>> {
        if self.is_beside(bucket) {
            return self.acl_beside(cx, bucket, key, version).await;
        }
        let acl = self.native().acl(cx, bucket, key, version).await?;
        // After a write whose end only the origin knows, the ACL here may be another object's.
        let is_of_key = acl.is_some() && !matches!(version, Some(VersionId::Named { .. }));
        if is_of_key && bucket.settings.shadow.is_some() && self.view(bucket, key).await?.unsettled().is_some() {
            return Ok(None);
        }
        Ok(acl)
    }

    async fn put_acl(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        change: AclChange,
    ) -> Result<()> {
        let _user = self.user(bucket, Some(key));
        if let Some(origin) = self.origin_for(bucket, key)? {
            self.hydrate_version(cx, bucket, key, version, &origin).await?;
        }
        self.native().put_acl(cx, bucket, key, version, change).await
    }

    async fn create_upload(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, options: CreateUpload) -> Result<UploadId> {
        match self.origin_for(bucket, key)? {
            Some(origin) if writes_through(bucket) => self.create_mirrored_upload(cx, bucket, key, options, &*origin).await,
            _ => self.native().create_upload(cx, bucket, key, options).await,
        }
    }

    async fn upload(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, upload: &UploadId) -> Result<CreateUpload> {
        self.native().upload(cx, bucket, key, upload).await
    }

    async fn put_part(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        part: PartAddress<'_>,
        body: Body,
        integrity: Integrity,
    ) -> Result<PutObject> {
        let _user = self.user(bucket, Some(part.key));
        match self.origin(bucket)? {
            Some(origin) if writes_through(bucket) => self.put_mirrored_part(cx, bucket, part, body, integrity, origin).await,
            _ => self.native().put_part(cx, bucket, part, body, integrity).await,
        }
    }

    async fn complete_upload(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: &UploadId,
        options: CompleteUpload,
    ) -> Result<PutObject> {
        let _user = self.user(bucket, Some(key));
        match self.origin_for(bucket, key)? {
            None => self.native().complete_upload(cx, bucket, key, upload, options).await,
            Some(origin) if writes_through(bucket) => self.complete_mirrored_upload(cx, bucket, key, upload, options, origin).await,
            Some(origin) => self.complete_upload_here(cx, bucket, key, upload, options, &*origin).await,
        }
    }

    async fn abort_upload(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, upload: &UploadId) -> Result<()> {
        match self.origin_for(bucket, key)? {
            Some(origin) if writes_through(bucket) => self.abort_mirrored_upload(cx, bucket, key, upload, &*origin).await,
            Some(_) => {
                self.native().abort_upload(cx, bucket, key, upload).await?;
                self.end_mirror_of(bucket, upload).await
            }
            None => self.native().abort_upload(cx, bucket, key, upload).await,
        }
    }

    async fn list_parts(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: &UploadId,
        after: Option<PartNumber>,
        limit: usize,
    ) -> Result<PartsPage> {
        self.native().list_parts(cx, bucket, key, upload, after, limit).await
    }

    async fn list_uploads(&self, cx: &RequestContext, bucket: &Bucket, options: ListUploads) -> Result<UploadsPage> {
        self.native().list_uploads(cx, bucket, options).await
    }
}

/// The error of a node that must not touch a bucket with an origin, because another one keeps it.
pub(crate) fn kept_elsewhere() -> Error {
    Error::new(ErrorKind::Unavailable, "another node answers for this bucket; please try again")
}

/// Tells what is known of an origin at one address, in one generation, from what is known at another: its address may be changed in place.
pub(crate) fn scope_of(bucket: &Bucket) -> u64 {
    let place = bucket.settings.shadow.as_ref().map(|shadow| format!("{}\n{}", shadow.endpoint, shadow.bucket));
    let digest = Md5::digest(format!("{}\n{}", bucket.settings.generation, place.unwrap_or_default()));
    digest.iter().take(8).fold(0, |scope, byte| scope << 8 | u64::from(*byte))
}

/// Whether writes go to the origin first.
pub(crate) fn writes_through(bucket: &Bucket) -> bool {
    bucket.settings.shadow.as_ref().is_some_and(|shadow| shadow.write_through)
}

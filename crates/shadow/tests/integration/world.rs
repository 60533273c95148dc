//! A store with one bucket that shadows an origin in memory. It can be restarted.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt;
use tokio::task::JoinHandle;
use umbra_blob::MemoryBlobStore;
use umbra_core::{Body, BucketName, Clock, ObjectKey, RangeSpec, RequestContext, Result, SystemClock, SystemRandom};
use umbra_meta::{FailingMetaStore, MemoryMetaStore, MetaStore, Projection, key};
use umbra_shadow::{
    AttachRequest, Job, JobKind, JobOptions, JobRequest, JobState, Note, Shadow, ShadowLimits, ShadowParts,
    origin::memory::{MemoryOrigin, OneOrigin},
};
use umbra_store::{
    Bucket, BucketSettings, Catalog, DeleteOptions, GetOptions, ListOptions, ListSource, ListStart, Native, NativeParts, Objects,
    PutObject, PutOptions, ReclaimHandle, Reclaimer, Sealer, Secret,
};

pub(crate) struct World {
    pub(crate) origin: Arc<MemoryOrigin>,
    pub(crate) meta: Arc<FailingMetaStore>,
    pub(crate) blobs: Arc<MemoryBlobStore>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) native: Native,
    pub(crate) shadow: Shadow,
    pub(crate) cx: RequestContext,
    reclaim: ReclaimHandle,
}

pub(crate) fn k(key: &str) -> ObjectKey {
    ObjectKey::parse(key).unwrap()
}

pub(crate) fn name() -> BucketName {
    BucketName::parse("bucket").unwrap()
}

pub(crate) fn request(write_through: bool) -> AttachRequest {
    AttachRequest {
        endpoint: Some("https://old.example".into()),
        access_key: Some("key".into()),
        secret_key: Some(Secret::new("secret")),
        write_through: Some(write_through),
        ..AttachRequest::default()
    }
}

fn limits(node: &str) -> ShadowLimits {
    ShadowLimits { node: node.to_owned(), job_retry_delay: Duration::from_millis(10), ..ShadowLimits::default() }
}

impl World {
    /// A bucket without a shadow.
    pub(crate) async fn bare() -> Self {
        Self::bare_over(Arc::new(MemoryMetaStore::new())).await
    }

    /// A bucket without a shadow, its records in `meta`.
    pub(crate) async fn bare_over(meta: Arc<dyn MetaStore>) -> Self {
        let meta = Arc::new(FailingMetaStore::new(meta));
        let world = Self::over(meta, Arc::new(MemoryBlobStore::new()), Arc::new(MemoryOrigin::default())).await;
        world.catalog.ensure_organization("org").await.unwrap();
        world.catalog.create_bucket(&name(), "org", BucketSettings::default()).await.unwrap();
        world
    }

    /// A bucket with a shadow.
    pub(crate) async fn attached(write_through: bool) -> Self {
        let world = Self::bare().await;
        world.attach(write_through).await;
        world
    }

    /// A bucket with a shadow, by a clock of the test's.
    pub(crate) async fn attached_by(clock: Arc<dyn Clock>) -> Self {
        let meta = Arc::new(FailingMetaStore::new(Arc::new(MemoryMetaStore::new())));
        let world = Self::on(limits("local"), meta, Arc::new(MemoryBlobStore::new()), Arc::new(MemoryOrigin::default()), clock).await;
        world.catalog.ensure_organization("org").await.unwrap();
        world.catalog.create_bucket(&name(), "org", BucketSettings::default()).await.unwrap();
        world.attach(false).await;
        world
    }

    async fn over(meta: Arc<FailingMetaStore>, blobs: Arc<MemoryBlobStore>, origin: Arc<MemoryOrigin>) -> Self {
        Self::on(limits("local"), meta, blobs, origin, Arc::new(SystemClock)).await
    }

    /// A process of those that share the store.
    async fn on(
        settings: ShadowLimits,
        meta: Arc<FailingMetaStore>,
        blobs: Arc<MemoryBlobStore>,
        origin: Arc<MemoryOrigin>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let random = Arc::new(SystemRandom);
        let sealer = Arc::new(Sealer::new([7; 32], random.clone()));
        let as_meta: Arc<dyn MetaStore> = meta.clone();
        let catalog = match settings.is_shared {
            true => Catalog::open_shared(as_meta.clone(), sealer, clock.clone(), random.clone(), None).await,
            false => Catalog::open(as_meta.clone(), sealer, clock.clone(), random.clone()).await,
        };
        let catalog = Arc::new(catalog.unwrap());
        let reclaim = ReclaimHandle::new(Duration::ZERO);
        let native = Native::new(NativeParts {
            meta: as_meta,
            blobs: blobs.clone(),
            clock: clock.clone(),
            random: random.clone(),
            reclaimer: reclaim.clone(),
            keys: Arc::new(umbra_store::Keyring::new([7; 32], [], random)),
        });
        let shadow = Shadow::new(ShadowParts {
            native: native.clone(),
            catalog: catalog.clone(),
            origins: Arc::new(OneOrigin(origin.clone())),
            clock,
            settings,
        });
        Self { origin, meta, blobs, catalog, native, shadow, cx: RequestContext::default(), reclaim }
    }

    /// The same store in a new process: nothing that was only in memory is left.
    pub(crate) async fn restarted(&self) -> Self {
        let world = Self::over(self.meta.clone(), self.blobs.clone(), self.origin.clone()).await;
        world.shadow.start().await.unwrap();
        world
    }

    /// The same store in a process that cuts cold objects into pieces of so many bytes: of sixteen is the first request for one.
    pub(crate) async fn in_pieces_of(&self, bytes: u64) -> Self {
        let settings = ShadowLimits { piece_bytes: bytes.try_into().unwrap(), ..limits("local") };
        Self::on(settings, self.meta.clone(), self.blobs.clone(), self.origin.clone(), Arc::new(SystemClock)).await
    }

    /// Another node over the same store, while this one goes on.
    pub(crate) async fn beside(&self, node: &str) -> Self {
        Self::on(limits(node), self.meta.clone(), self.blobs.clone(), self.origin.clone(), Arc::new(SystemClock)).await
    }

    /// Another node over the same store, which does not keep buckets with an origin: this one does.
    pub(crate) async fn follower(&self, clock: Arc<dyn Clock>) -> Self {
        let settings = ShadowLimits { is_shared: true, ..limits("follower") };
        Self::on(settings, self.meta.clone(), self.blobs.clone(), self.origin.clone(), clock).await
    }

    /// Starts a job over all keys.
    pub(crate) async fn start(&self, kind: JobKind) -> Job {
        self.start_with(kind, "", JobOptions::default()).await
    }

    pub(crate) async fn start_with(&self, kind: JobKind, prefix: &str, options: JobOptions) -> Job {
        let request = JobRequest { kind, prefix: prefix.to_owned(), options };
        self.shadow.start_job(&*self.bucket().await, request).await.unwrap()
    }

    pub(crate) async fn job(&self, kind: JobKind) -> Job {
        self.shadow.job(&*self.bucket().await, kind).await.unwrap().unwrap()
    }

    /// Waits until a job is in `state`.
    pub(crate) async fn job_is(&self, kind: JobKind, state: JobState) -> Job {
        self.eventually(async || Some(self.job(kind).await).filter(|job| job.state == state)).await
    }

    /// Runs a job over all keys to its end.
    pub(crate) async fn run(&self, kind: JobKind) -> Job {
        self.start(kind).await;
        self.job_is(kind, JobState::Done).await
    }

    /// What the inventory says is left.
    pub(crate) async fn cold(&self) -> (u64, u64) {
        let totals = self.shadow.cold_totals(&*self.bucket().await).await.unwrap();
        (totals.objects, totals.bytes)
    }

    /// The keys in the inventory, of whatever scope.
    pub(crate) async fn inventory(&self) -> Vec<String> {
        let rows = self.meta.scan(self.bucket().await.partition, key::inventory_range(""), 100_000, Projection::Head).await.unwrap();
        rows.iter().map(|row| key::parse_inventory(&row.key).unwrap().to_owned()).collect()
    }

    pub(crate) async fn attach(&self, write_through: bool) {
        self.shadow.attach(&self.cx, &*self.bucket().await, request(write_through)).await.unwrap();
    }

    pub(crate) async fn bucket(&self) -> Arc<Bucket> {
        self.catalog.bucket(&name()).await.unwrap()
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Bytes> {
        self.get_with(key, GetOptions::default()).await
    }

    /// Begins to read `key`, whole, and returns once the origin has been asked.
    pub(crate) async fn begin_get(self: &Arc<Self>, key: &'static str) -> JoinHandle<Result<Bytes>> {
        let (world, gets) = (self.clone(), self.origin.gets());
        let reader = tokio::spawn(async move { world.get(key).await });
        self.eventually(async || (self.origin.gets() > gets).then_some(())).await;
        reader
    }

    pub(crate) async fn get_range(&self, key: &str, first: u64, last: u64) -> Result<Bytes> {
        self.get_with(key, GetOptions { range: Some(RangeSpec::From { first, last: Some(last) }), ..GetOptions::default() }).await
    }

    pub(crate) async fn get_with(&self, key: &str, options: GetOptions) -> Result<Bytes> {
        let object = self.shadow.get(&self.cx, &*self.bucket().await, &k(key), options).await?;
        object.body.collect(usize::MAX).await
    }

    pub(crate) async fn put(&self, key: &str, content: impl Into<Bytes>) -> Result<PutObject> {
        self.put_with(key, content, PutOptions::default()).await
    }

    pub(crate) async fn put_with(&self, key: &str, content: impl Into<Bytes>, options: PutOptions) -> Result<PutObject> {
        self.shadow.put(&self.cx, &*self.bucket().await, &k(key), Body::from_bytes(content), options).await
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        self.shadow.delete(&self.cx, &*self.bucket().await, &k(key), DeleteOptions::default()).await.map(drop)
    }

    /// What is here, whatever the origin holds.
    pub(crate) async fn here(&self, key: &str) -> Option<Bytes> {
        let object = self.native.get(&self.cx, &*self.bucket().await, &k(key), GetOptions::default()).await.ok()?;
        Some(object.body.collect(usize::MAX).await.unwrap())
    }

    /// Waits until the key is here.
    pub(crate) async fn hydrated(&self, key: &str) -> Bytes {
        self.eventually(async || self.here(key).await).await
    }

    /// Reads a key, which brings it here.
    pub(crate) async fn hydrated_by_reading(&self, key: &str) -> Bytes {
        self.get(key).await.unwrap();
        self.hydrated(key).await
    }

    /// Waits for `look` to find something.
    pub(crate) async fn eventually<T>(&self, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        for _ in 0..2000 {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it did not come to pass");
    }

    /// Deletes the contents that nothing names any more and nobody reads.
    pub(crate) async fn reclaim(&self) {
        let partition = self.bucket().await.partition;
        let partitions = Box::new(move || std::future::ready(Ok(vec![partition])).boxed());
        let reclaimer = Reclaimer::new(self.meta.clone(), self.blobs.clone(), Arc::new(SystemClock), self.reclaim.clone(), partitions);
        assert!(reclaimer.learn_partitions().await);
        reclaimer.reclaim_due().await;
    }

    /// Keys and common prefixes of a whole listing, page by page, in the order shown.
    pub(crate) async fn list(&self, prefix: &str, delimiter: &str, limit: usize, source: ListSource) -> Result<Vec<String>> {
        self.list_from(ListStart::First, prefix, delimiter, limit, source).await
    }

    /// The same of the whole bucket, behind a name.
    pub(crate) async fn list_after(&self, after: &str, delimiter: &str, limit: usize) -> Result<Vec<String>> {
        self.list_from(ListStart::After(after.into()), "", delimiter, limit, ListSource::Merged).await
    }

    async fn list_from(
        &self,
        mut start: ListStart,
        prefix: &str,
        delimiter: &str,
        limit: usize,
        source: ListSource,
    ) -> Result<Vec<String>> {
        let mut names = Vec::new();
        loop {
            let options = ListOptions { prefix: prefix.into(), delimiter: delimiter.into(), start, limit, source };
            let page = self.shadow.list(&self.cx, &*self.bucket().await, options).await?;
            let mut shown: Vec<String> = page.objects.iter().map(|object| object.key.to_string()).collect();
            shown.extend(page.common_prefixes);
            shown.sort();
            assert!(shown.len() <= limit);
            assert!(page.next.is_none() || shown.len() == limit, "a page that is not the last is full");
            assert_eq!(page.last, shown.last().cloned());
            names.extend(shown);
            match page.next {
                Some(next) => start = ListStart::Continue(next),
                None => return Ok(names),
            }
        }
    }

    /// Waits until a job does not go on.
    pub(crate) async fn end(&self, kind: JobKind) -> Job {
        let bucket = self.bucket().await;
        self.eventually(async || self.shadow.job(&bucket, kind).await.unwrap().filter(|job| !job.is_active())).await
    }

    /// Runs a job to its end, however it ends.
    pub(crate) async fn run_with(&self, kind: JobKind, options: JobOptions) -> Job {
        self.start_with(kind, "", options).await;
        self.end(kind).await
    }

    /// All that the latest run of a job noted.
    pub(crate) async fn notes(&self, kind: JobKind) -> Vec<(String, Note)> {
        let page = self.shadow.job_notes(&*self.bucket().await, kind, None, 100_000).await.unwrap();
        page.notes.into_iter().map(|(key, note)| (key.to_string(), note)).collect()
    }

    /// How many rows a family has.
    pub(crate) async fn rows(&self, range: umbra_meta::KeyRange) -> usize {
        self.meta.scan(self.bucket().await.partition, range, 10_000, Projection::Head).await.unwrap().len()
    }

    pub(crate) async fn intents(&self) -> usize {
        self.rows(key::write_intent_range("")).await
    }
}

/// Content that differs everywhere.
pub(crate) fn content(size: usize) -> Bytes {
    // Blocks that name their place: quick to make also without optimisation.
    let blocks = (0..size.div_ceil(1024)).flat_map(|block| [(block as u64).to_le_bytes().as_slice(), &[block as u8; 1016]].concat());
    blocks.take(size).collect::<Vec<_>>().into()
}

pub(crate) fn kind<T>(result: Result<T>) -> umbra_core::ErrorKind {
    match result {
        Ok(_) => panic!("it does not fail"),
        Err(error) => error.kind(),
    }
}

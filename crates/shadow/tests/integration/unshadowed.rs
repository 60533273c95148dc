//! semantics.md: "A bucket without a shadow pays nothing for the feature."

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use umbra_core::{Body, ErrorKind, PartNumber, Tags};
use umbra_meta::{Batch, Committed, DelimPage, Entry, KeyRange, MemoryMetaStore, MetaStore, Partition, Projection, Result, ScanDelim};
use umbra_store::{
    CompleteUpload, CompletedPart, CreateUpload, DeleteOptions, GetOptions, Integrity, ListOptions, ListSource, ListStart, Objects,
    PartAddress, PutOptions,
};

use crate::world::{World, k};

/// Counts rows asked for, and checks and writes committed.
#[derive(Debug)]
struct Counting {
    inner: MemoryMetaStore,
    cost: AtomicU64,
}

impl Counting {
    fn pay(&self, rows: usize) {
        self.cost.fetch_add(rows as u64, Ordering::SeqCst);
    }
}

#[async_trait]
impl MetaStore for Counting {
    async fn multi_get(&self, partition: Partition, keys: &[&[u8]]) -> Result<Vec<Option<Entry>>> {
        self.pay(keys.len());
        self.inner.multi_get(partition, keys).await
    }

    async fn multi_scan(&self, partition: Partition, ranges: Vec<(KeyRange, usize)>, projection: Projection) -> Result<Vec<Vec<Entry>>> {
        self.pay(ranges.len());
        self.inner.multi_scan(partition, ranges, projection).await
    }

    async fn scan_delim(&self, partition: Partition, scan: ScanDelim) -> Result<DelimPage> {
        self.pay(1);
        self.inner.scan_delim(partition, scan).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        self.pay(1000 + batch.checks.len() + batch.writes.len());
        self.inner.commit(batch).await
    }
}

/// Uses everything there is to use on objects; gives what each step cost.
async fn use_everything(world: &World, objects: &dyn Objects, meta: &Counting) -> Vec<(&'static str, u64)> {
    let (cx, bucket) = (&world.cx, &*world.bucket().await);
    let (key, gone, big) = (&k("dir/key"), &k("gone"), &k("big"));
    let mut costs = Vec::new();
    let mut before = meta.cost.load(Ordering::SeqCst);
    let mut step = |name| {
        let now = meta.cost.load(Ordering::SeqCst);
        costs.push((name, now - before));
        before = now;
    };
    objects.put(cx, bucket, key, Body::from_bytes("content"), PutOptions::default()).await.unwrap();
    step("put");
    let object = objects.get(cx, bucket, key, GetOptions::default()).await.unwrap();
    assert_eq!(object.body.collect(100).await.unwrap(), "content");
    step("get");
    objects.head(cx, bucket, key, GetOptions::default()).await.unwrap();
    step("head");
    let absent = objects.get(cx, bucket, gone, GetOptions::default()).await.unwrap_err();
    assert!(matches!(absent.kind(), ErrorKind::NotFound(_)));
    step("get what is absent");
    objects.put_tags(cx, bucket, key, None, Tags::default()).await.unwrap();
    objects.tags(cx, bucket, key, None).await.unwrap();
    step("tags");
    let options = |delimiter: &str| ListOptions {
        prefix: String::new(),
        delimiter: delimiter.into(),
        start: ListStart::First,
        limit: 10,
        source: ListSource::Merged,
    };
    objects.list(cx, bucket, options("")).await.unwrap();
    objects.list(cx, bucket, options("/")).await.unwrap();
    step("list");
    let upload = objects.create_upload(cx, bucket, big, CreateUpload::default()).await.unwrap();
    let number = PartNumber::new(1).unwrap();
    let part = PartAddress { key: big, upload: &upload, number };
    let part = objects.put_part(cx, bucket, part, Body::from_bytes("part"), Integrity::default()).await.unwrap();
    let parts = vec![CompletedPart { number, etag: part.etag, checksum: None }];
    objects.complete_upload(cx, bucket, big, &upload, CompleteUpload { parts, ..CompleteUpload::default() }).await.unwrap();
    step("upload");
    for key in [key, gone, big] {
        objects.delete(cx, bucket, key, DeleteOptions::default()).await.unwrap();
    }
    step("delete");
    costs
}

#[tokio::test]
async fn every_request_costs_what_it_costs_without_the_feature() {
    let meta = Arc::new(Counting { inner: MemoryMetaStore::new(), cost: AtomicU64::new(0) });
    let world = World::bare_over(meta.clone()).await;
    let plain = use_everything(&world, &world.native, &meta).await;
    let shadowed = use_everything(&world, &world.shadow, &meta).await;
    assert_eq!(plain, shadowed);
    assert!(plain.iter().all(|(_, cost)| *cost > 0), "{plain:?}");
    let before = meta.cost.load(Ordering::SeqCst);
    world.shadow.save_counts().await;
    assert_eq!(meta.cost.load(Ordering::SeqCst), before, "nothing was counted that would have to be saved");
    assert_eq!(world.origin.requests(), 0);

    // With a shadow it does cost something: the measure measures.
    world.attach(false).await;
    let with = use_everything(&world, &world.shadow, &meta).await;
    assert!(with.iter().zip(&plain).any(|((_, with), (_, plain))| with > plain), "{with:?}");
}

//! Engines that take their time: each operation lets others run first, for a random while.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use umbra_blob::{BlobId, BlobStore, BlobWriter, StoredBlob};
use umbra_core::{ByteRange, Random, SeededRandom};
use umbra_meta::{Batch, Committed, DelimPage, Entry, KeyRange, MetaStore, Partition, Projection, ScanDelim};

/// A random number below `bound`.
pub(crate) fn below(random: &SeededRandom, bound: usize) -> usize {
    usize::from(u16::from_le_bytes((random as &dyn Random).array())) % bound
}

#[derive(Debug)]
pub(crate) struct Slow<T: ?Sized> {
    random: Arc<SeededRandom>,
    inner: Arc<T>,
}

impl<T: ?Sized> Slow<T> {
    pub(crate) fn new(inner: Arc<T>, random: &Arc<SeededRandom>) -> Self {
        Self { random: Arc::clone(random), inner }
    }

    async fn dawdle(&self) {
        for _ in 0..below(&self.random, 4) {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl MetaStore for Slow<dyn MetaStore> {
    async fn multi_get(&self, partition: Partition, keys: &[&[u8]]) -> umbra_meta::Result<Vec<Option<Entry>>> {
        self.dawdle().await;
        self.inner.multi_get(partition, keys).await
    }

    async fn multi_scan(
        &self,
        partition: Partition,
        ranges: Vec<(KeyRange, usize)>,
        projection: Projection,
    ) -> umbra_meta::Result<Vec<Vec<Entry>>> {
        self.dawdle().await;
        self.inner.multi_scan(partition, ranges, projection).await
    }

    async fn scan_delim(&self, partition: Partition, scan: ScanDelim) -> umbra_meta::Result<DelimPage> {
        self.dawdle().await;
        self.inner.scan_delim(partition, scan).await
    }

    /// Like every engine it runs a commit to its end, and answers later.
    async fn commit(&self, batch: Batch) -> umbra_meta::Result<Committed> {
        let inner = Arc::clone(&self.inner);
        let committed = tokio::spawn(async move { inner.commit(batch).await }).await.unwrap();
        self.dawdle().await;
        committed
    }
}

#[async_trait]
impl BlobStore for Slow<dyn BlobStore> {
    async fn put(&self, content: Vec<Bytes>) -> umbra_blob::Result<StoredBlob> {
        self.dawdle().await;
        let stored = self.inner.put(content).await;
        self.dawdle().await;
        stored
    }

    async fn create(&self) -> umbra_blob::Result<Box<dyn BlobWriter>> {
        self.dawdle().await;
        let inner = self.inner.create().await?;
        Ok(Box::new(SlowWriter { random: Arc::clone(&self.random), inner }))
    }

    async fn read(&self, id: &BlobId, range: ByteRange) -> umbra_blob::Result<BoxStream<'static, umbra_blob::Result<Bytes>>> {
        self.dawdle().await;
        self.inner.read(id, range).await
    }

    async fn delete(&self, id: &BlobId) -> umbra_blob::Result<()> {
        self.dawdle().await;
        self.inner.delete(id).await
    }
}

struct SlowWriter {
    random: Arc<SeededRandom>,
    inner: Box<dyn BlobWriter>,
}

#[async_trait]
impl BlobWriter for SlowWriter {
    async fn write(&mut self, chunk: Bytes) -> umbra_blob::Result<()> {
        for _ in 0..below(&self.random, 3) {
            tokio::task::yield_now().await;
        }
        self.inner.write(chunk).await
    }

    async fn finish(self: Box<Self>) -> umbra_blob::Result<StoredBlob> {
        let stored = self.inner.finish().await;
        for _ in 0..below(&self.random, 3) {
            tokio::task::yield_now().await;
        }
        stored
    }
}

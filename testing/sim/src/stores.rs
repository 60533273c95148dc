//! Our own stores as the simulation sees them: slow, failing, crashing. What they hold outlives every crash.

use std::{collections::BTreeMap, fmt, io, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use umbra_blob::{BlobId, BlobOperation, BlobStore, BlobWriter, FailingBlobStore, MemoryBlobStore, StoredBlob};
use umbra_core::ByteRange;
use umbra_meta::{
    Batch, CommitFault, Committed, DelimPage, Entry, FailingMetaStore, KeyRange, MemoryMetaStore, MetaStore, Partition, Projection,
    ScanDelim,
};

use crate::{env::Env, mutation::Mutation};

/// The metadata store of a world.
#[derive(Debug)]
pub(crate) struct SimMeta {
    env: Arc<Env>,
    inner: Arc<FailingMetaStore>,
    /// The store itself, for those who look at it from outside.
    pub(crate) truth: Arc<MemoryMetaStore>,
    hides_intents: bool,
}

impl SimMeta {
    pub(crate) fn new(env: Arc<Env>) -> Self {
        let truth = Arc::new(MemoryMetaStore::new());
        let inner = Arc::new(FailingMetaStore::new(truth.clone()));
        let chance = env.clone();
        inner.set(move |_, _| {
            let rate = chance.dials.store_faults;
            if chance.our_fault(rate) {
                return if chance.chance(0.9) { CommitFault::Unavailable } else { CommitFault::Full };
            }
            if chance.loses_answer(rate) { CommitFault::LostAcknowledgement } else { CommitFault::None }
        });
        Self { env, inner, truth, hides_intents: false }
    }

    /// The same store, for a process that does not keep the bucket.
    pub(crate) fn beside(&self) -> Self {
        let hides_intents = self.env.dials.mutation == Some(Mutation::HideIntentsBeside);
        Self { env: self.env.clone(), inner: self.inner.clone(), truth: self.truth.clone(), hides_intents }
    }
}

#[async_trait]
impl MetaStore for SimMeta {
    async fn multi_get(&self, partition: Partition, keys: &[&[u8]]) -> umbra_meta::Result<Vec<Option<Entry>>> {
        self.env.step().await;
        let mut found = self.inner.multi_get(partition, keys).await;
        if let Ok(found) = &mut found
            && self.hides_intents
        {
            keys.iter().zip(found).filter(|(key, _)| key.starts_with(b"w/")).for_each(|(_, row)| *row = None);
        }
        self.env.step().await;
        found
    }

    async fn multi_scan(
        &self,
        partition: Partition,
        ranges: Vec<(KeyRange, usize)>,
        projection: Projection,
    ) -> umbra_meta::Result<Vec<Vec<Entry>>> {
        self.env.step().await;
        let found = self.inner.multi_scan(partition, ranges, projection).await;
        self.env.step().await;
        found
    }

    async fn scan_delim(&self, partition: Partition, scan: ScanDelim) -> umbra_meta::Result<DelimPage> {
        self.env.step().await;
        let found = self.inner.scan_delim(partition, scan).await;
        self.env.step().await;
        found
    }

    async fn commit(&self, mut batch: Batch) -> umbra_meta::Result<Committed> {
        let (env, inner) = (self.env.clone(), self.inner.clone());
        // A task of its own: a commit runs to its end, whoever waits for it.
        let commit = tokio::spawn(async move {
            env.step().await;
            if env.dials.mutation.is_some_and(|mutation| !mutation.alter(&mut batch)) {
                // As if the key had been written meanwhile.
                let key =
                    batch.checks.iter().find(|check| check.key.starts_with(b"s/")).map(|check| check.key.to_vec()).unwrap_or_default();
                return Err(umbra_meta::Error::Conflict { key, current: None });
            }
            let committed = inner.commit(batch).await;
            env.step().await;
            committed
        });
        commit.await.map_err(|_| umbra_meta::Error::Unknown("the world ended".to_owned()))?
    }
}

/// The blob store of a world.
pub(crate) struct SimBlobs {
    env: Arc<Env>,
    inner: FailingBlobStore,
    held: Arc<Mutex<BTreeMap<Vec<u8>, u64>>>,
}

impl SimBlobs {
    pub(crate) fn new(env: Arc<Env>) -> Self {
        let chance = env.clone();
        let hook = move |operation: &BlobOperation| {
            let rate = chance.dials.store_faults / 3.0;
            // Each chunk is one more chance to fail, so it gets a smaller one.
            let rate = if matches!(operation, BlobOperation::Write { .. }) { rate / 8.0 } else { rate };
            chance.our_fault(rate).then(|| umbra_blob::Error::Io { doing: "do as asked", source: io::ErrorKind::Other.into() })
        };
        Self { env, inner: FailingBlobStore::new(Arc::new(MemoryBlobStore::new()), hook), held: Arc::default() }
    }

    /// Every blob there is, and its size.
    pub(crate) fn held(&self) -> BTreeMap<Vec<u8>, u64> {
        self.held.lock().clone()
    }
}

fn hold(held: &Mutex<BTreeMap<Vec<u8>, u64>>, stored: &StoredBlob) {
    held.lock().insert(stored.id.as_bytes().to_vec(), stored.size);
}

#[async_trait]
impl BlobStore for SimBlobs {
    async fn put(&self, content: Vec<Bytes>) -> umbra_blob::Result<StoredBlob> {
        self.env.step().await;
        let stored = self.inner.put(content).await?;
        hold(&self.held, &stored);
        self.env.step().await;
        Ok(stored)
    }

    async fn create(&self) -> umbra_blob::Result<Box<dyn BlobWriter>> {
        let inner = self.inner.create().await?;
        Ok(Box::new(SimWriter { env: self.env.clone(), inner, held: self.held.clone() }))
    }

    async fn read(&self, id: &BlobId, range: ByteRange) -> umbra_blob::Result<BoxStream<'static, umbra_blob::Result<Bytes>>> {
        self.env.step().await;
        self.inner.read(id, range).await
    }

    async fn delete(&self, id: &BlobId) -> umbra_blob::Result<()> {
        self.env.step().await;
        self.inner.delete(id).await?;
        self.held.lock().remove(id.as_bytes());
        self.env.step().await;
        Ok(())
    }
}

impl fmt::Debug for SimBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimBlobs").field("held", &self.held.lock().len()).finish_non_exhaustive()
    }
}

struct SimWriter {
    env: Arc<Env>,
    inner: Box<dyn BlobWriter>,
    held: Arc<Mutex<BTreeMap<Vec<u8>, u64>>>,
}

#[async_trait]
impl BlobWriter for SimWriter {
    async fn write(&mut self, chunk: Bytes) -> umbra_blob::Result<()> {
        self.inner.write(chunk).await
    }

    async fn finish(self: Box<Self>) -> umbra_blob::Result<StoredBlob> {
        self.env.step().await;
        let stored = self.inner.finish().await?;
        hold(&self.held, &stored);
        self.env.step().await;
        Ok(stored)
    }
}

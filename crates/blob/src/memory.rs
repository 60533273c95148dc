//! Blobs in memory: for tests, and for stores that may forget.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use parking_lot::Mutex;
use std::sync::Arc;
use umbra_core::ByteRange;

use crate::{BlobId, BlobStore, BlobWriter, Error, Result, StoredBlob};

/// The longest chunk a read gives.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Blobs in memory. Durable only as long as the process lives.
#[derive(Clone, Default)]
pub struct MemoryBlobStore(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// How many identifiers were issued; the next one is this number.
    issued: u64,
    blobs: HashMap<BlobId, Bytes>,
    /// Those that nobody was about to read.
    unread: HashSet<BlobId>,
}

impl MemoryBlobStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many blobs it holds.
    pub fn len(&self) -> usize {
        self.0.lock().blobs.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of them came by [`BlobStore::put_unread`].
    pub fn unread_len(&self) -> usize {
        self.0.lock().unread.len()
    }

    fn insert(&self, content: Bytes) -> StoredBlob {
        let mut state = self.0.lock();
        let id = BlobId::from_bytes(&state.issued.to_le_bytes());
        let size = content.len() as u64;
        state.issued += 1;
        state.blobs.insert(id.clone(), content);
        StoredBlob { id, size }
    }
}

#[async_trait]
impl BlobStore for MemoryBlobStore {
    async fn put(&self, content: Vec<Bytes>) -> Result<StoredBlob> {
        Ok(self.insert(content.concat().into()))
    }

    async fn put_unread(&self, content: Vec<Bytes>) -> Result<StoredBlob> {
        let stored = self.insert(content.concat().into());
        self.0.lock().unread.insert(stored.id.clone());
        Ok(stored)
    }

    async fn create(&self) -> Result<Box<dyn BlobWriter>> {
        Ok(Box::new(MemoryWriter { store: self.clone(), content: BytesMut::new() }))
    }

    async fn read(&self, id: &BlobId, range: ByteRange) -> Result<BoxStream<'static, Result<Bytes>>> {
        let content = self.0.lock().blobs.get(id).cloned().ok_or_else(|| Error::NotFound(id.clone()))?;
        if range.end > content.len() as u64 {
            return Err(Error::corrupt(id, format!("{}..{} lies outside of its {} bytes", range.start, range.end, content.len())));
        }
        let mut rest = content.slice(range.start as usize..range.end as usize);
        let next = move || (!rest.is_empty()).then(|| Ok(rest.split_to(rest.len().min(CHUNK_BYTES_MAX))));
        Ok(stream::iter(std::iter::from_fn(next)).boxed())
    }

    fn size_of(&self, id: &BlobId) -> Option<u64> {
        self.0.lock().blobs.get(id).map(|content| content.len() as u64)
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        let mut state = self.0.lock();
        state.blobs.remove(id);
        state.unread.remove(id);
        Ok(())
    }
}

impl fmt::Debug for MemoryBlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBlobStore").field("blobs", &self.len()).finish_non_exhaustive()
    }
}

struct MemoryWriter {
    store: MemoryBlobStore,
    content: BytesMut,
}

#[async_trait]
impl BlobWriter for MemoryWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.content.extend_from_slice(&chunk);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<StoredBlob> {
        Ok(self.store.insert(self.content.freeze()))
    }
}

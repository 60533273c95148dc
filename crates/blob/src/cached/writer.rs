//! Keeping what is written.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Cache,
    index::{Held, Key},
};
use crate::{BlobWriter, Result, StoredBlob};

/// The blocks of content as it passes by. They are kept on disk at once, and found once their blob has an identifier.
pub(super) struct Blocks {
    cache: Arc<Cache>,
    /// The block at hand.
    gathered: Vec<Bytes>,
    gathered_len: u64,
    kept: Vec<Arc<Held>>,
    passed: u64,
    /// It is too large, or the disk too full.
    is_given_up: bool,
}

impl Blocks {
    pub(super) const fn new(cache: Arc<Cache>) -> Self {
        Self { cache, gathered: Vec::new(), gathered_len: 0, kept: Vec::new(), passed: 0, is_given_up: false }
    }

    /// Takes the next bytes.
    pub(super) async fn push(&mut self, mut chunk: Bytes) {
        self.passed += chunk.len() as u64;
        if self.passed > self.cache.settings.written_bytes_max {
            self.give_up();
        }
        while !chunk.is_empty() && !self.is_given_up {
            let room = self.cache.settings.block_bytes - self.gathered_len;
            let now = chunk.split_to(usize::try_from(room).unwrap_or(usize::MAX).min(chunk.len()));
            self.gathered_len += now.len() as u64;
            self.gathered.push(now);
            if self.gathered_len == self.cache.settings.block_bytes {
                self.store().await;
            }
        }
    }

    /// Lets them be found as those of `blob`.
    pub(super) async fn keep(mut self, blob: &StoredBlob) {
        if !self.gathered.is_empty() {
            self.store().await;
        }
        if self.is_given_up || self.cache.inner.size_of(&blob.id) != Some(blob.size) {
            return;
        }
        for (number, held) in (0..).zip(self.kept) {
            self.cache.index.insert(Key::new(&blob.id, number), held);
        }
        self.cache.tell_size();
    }

    async fn store(&mut self) {
        self.gathered_len = 0;
        match Held::store(&self.cache.disk, std::mem::take(&mut self.gathered)).await {
            Ok(held) => self.kept.push(held),
            Err(error) => {
                tracing::debug!(%error, "a block is not kept");
                self.give_up();
            }
        }
    }

    fn give_up(&mut self) {
        self.is_given_up = true;
        self.gathered.clear();
        self.kept.clear();
    }
}

/// A blob that is being written, and kept if it turns out to be short enough.
pub(super) struct CachedWriter {
    inner: Box<dyn BlobWriter>,
    blocks: Blocks,
}

impl CachedWriter {
    pub(super) const fn new(inner: Box<dyn BlobWriter>, blocks: Blocks) -> Self {
        Self { inner, blocks }
    }
}

#[async_trait]
impl BlobWriter for CachedWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.inner.write(chunk.clone()).await?;
        self.blocks.push(chunk).await;
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<StoredBlob> {
        let stored = self.inner.finish().await?;
        self.blocks.keep(&stored).await;
        Ok(stored)
    }
}

//! A store that fails where a test wants it to.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use umbra_core::ByteRange;

use crate::{BlobId, BlobStore, BlobWriter, Error, Result, StoredBlob};

/// What a [`FailingBlobStore`] is about to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobOperation {
    /// [`BlobStore::put`].
    Put {
        /// Bytes of content.
        size: u64,
    },
    /// [`BlobStore::create`].
    Create,
    /// [`BlobWriter::write`].
    Write {
        /// Bytes written before.
        offset: u64,
        /// Bytes of the chunk.
        len: u64,
    },
    /// [`BlobWriter::finish`].
    Finish {
        /// Bytes of content.
        size: u64,
    },
    /// [`BlobStore::read`].
    Read {
        /// Which blob.
        id: BlobId,
    },
    /// One chunk of a stream that [`BlobStore::read`] returned.
    ReadChunk {
        /// Which blob.
        id: BlobId,
        /// Where in the blob the chunk begins.
        offset: u64,
    },
    /// [`BlobStore::delete`].
    Delete {
        /// Which blob.
        id: BlobId,
    },
}

type Hook = Arc<dyn Fn(&BlobOperation) -> Option<Error> + Send + Sync>;

/// A store that asks a hook before each operation, and fails with the hook's error instead of doing it.
#[derive(Clone)]
pub struct FailingBlobStore {
    inner: Arc<dyn BlobStore>,
    hook: Hook,
}

impl FailingBlobStore {
    /// Wraps `inner`. `hook` is called before every operation; what it returns is the operation's error.
    pub fn new(inner: Arc<dyn BlobStore>, hook: impl Fn(&BlobOperation) -> Option<Error> + Send + Sync + 'static) -> Self {
        Self { inner, hook: Arc::new(hook) }
    }

    fn check(&self, operation: &BlobOperation) -> Result<()> {
        check(&self.hook, operation)
    }
}

fn check(hook: &Hook, operation: &BlobOperation) -> Result<()> {
    hook(operation).map_or(Ok(()), Err)
}

#[async_trait]
impl BlobStore for FailingBlobStore {
    async fn put(&self, content: Vec<Bytes>) -> Result<StoredBlob> {
        self.check(&BlobOperation::Put { size: content.iter().map(|chunk| chunk.len() as u64).sum() })?;
        self.inner.put(content).await
    }

    async fn create(&self) -> Result<Box<dyn BlobWriter>> {
        self.check(&BlobOperation::Create)?;
        let inner = self.inner.create().await?;
        Ok(Box::new(FailingWriter { inner, hook: Arc::clone(&self.hook), written: 0 }))
    }

    async fn read(&self, id: &BlobId, range: ByteRange) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.check(&BlobOperation::Read { id: id.clone() })?;
        let (id, hook) = (id.clone(), Arc::clone(&self.hook));
        let chunks = self.inner.read(&id, range).await?;
        let checked = stream::unfold(Some((chunks, range.start)), move |state| {
            let (id, hook) = (id.clone(), Arc::clone(&hook));
            async move {
                let (mut chunks, offset) = state?;
                let chunk = chunks.next().await?;
                match chunk.and_then(|chunk| check(&hook, &BlobOperation::ReadChunk { id, offset }).map(|()| chunk)) {
                    Ok(chunk) => {
                        let offset = offset + chunk.len() as u64;
                        Some((Ok(chunk), Some((chunks, offset))))
                    }
                    Err(error) => Some((Err(error), None)),
                }
            }
        });
        Ok(checked.boxed())
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        self.check(&BlobOperation::Delete { id: id.clone() })?;
        self.inner.delete(id).await
    }
}

impl fmt::Debug for FailingBlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailingBlobStore").field("inner", &self.inner).finish_non_exhaustive()
    }
}

struct FailingWriter {
    inner: Box<dyn BlobWriter>,
    hook: Hook,
    written: u64,
}

#[async_trait]
impl BlobWriter for FailingWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        let len = chunk.len() as u64;
        check(&self.hook, &BlobOperation::Write { offset: self.written, len })?;
        self.inner.write(chunk).await?;
        self.written += len;
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<StoredBlob> {
        check(&self.hook, &BlobOperation::Finish { size: self.written })?;
        self.inner.finish().await
    }
}

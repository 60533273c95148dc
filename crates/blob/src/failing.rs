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
    /// [`BlobStore::put`] or [`BlobStore::put_unread`].
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

    async fn put_unread(&self, content: Vec<Bytes>) -> Result<StoredBlob> {
        self.check(&BlobOperation::Put { size: content.iter().map(|chunk| chunk.len() as u64).sum() })?;
        self.inner.put_unread(content).await
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

    fn size_of(&self, id: &BlobId) -> Option<u64> {
        self.inner.size_of(id)
    }

    async fn answers(&self) -> Result<()> {
        self.inner.answers().await
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

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use bytes::Bytes;
    use futures::TryStreamExt;
    use parking_lot::Mutex;
    use umbra_core::ByteRange;

    use super::{BlobOperation, FailingBlobStore};
    use crate::{BlobStore, Error, MemoryBlobStore, Result, StoredBlob};

    /// Does everything once and gives back the operations that were asked about, failing the one at `at`.
    async fn use_once(at: usize) -> (Vec<BlobOperation>, Result<()>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let hook = {
            let asked = Arc::clone(&asked);
            move |operation: &BlobOperation| {
                let mut asked = asked.lock();
                asked.push(operation.clone());
                (asked.len() - 1 == at).then(|| Error::from_io("fail as asked")(io::ErrorKind::Other.into()))
            }
        };
        let store = FailingBlobStore::new(Arc::new(MemoryBlobStore::new()), hook);
        let outcome = use_all(&store).await;
        let asked = asked.lock().clone();
        (asked, outcome)
    }

    async fn use_all(store: &FailingBlobStore) -> Result<()> {
        let StoredBlob { id, size } = store.put(vec![Bytes::from(vec![7; 300_000])]).await?;
        let mut writer = store.create().await?;
        writer.write(Bytes::from_static(b"abc")).await?;
        writer.write(Bytes::from_static(b"de")).await?;
        writer.finish().await?;
        let _: Vec<Bytes> = store.read(&id, ByteRange::new(10, size)).await?.try_collect().await?;
        store.delete(&id).await
    }

    #[tokio::test]
    async fn every_operation_can_fail() {
        let (all, outcome) = use_once(usize::MAX).await;
        assert!(outcome.is_ok());
        let id = match &all[..] {
            [.., BlobOperation::Delete { id }] => id.clone(),
            _ => panic!("{all:?}"),
        };
        let expected = [
            BlobOperation::Put { size: 300_000 },
            BlobOperation::Create,
            BlobOperation::Write { offset: 0, len: 3 },
            BlobOperation::Write { offset: 3, len: 2 },
            BlobOperation::Finish { size: 5 },
            BlobOperation::Read { id: id.clone() },
            BlobOperation::ReadChunk { id: id.clone(), offset: 10 },
            BlobOperation::ReadChunk { id: id.clone(), offset: 10 + 256 * 1024 },
            BlobOperation::Delete { id },
        ];
        assert_eq!(all, expected);
        for at in 0..expected.len() {
            let (asked, outcome) = use_once(at).await;
            assert_eq!(asked, expected[..=at]);
            assert!(matches!(outcome, Err(Error::Io { .. })), "{:?}: {outcome:?}", expected[at]);
        }
    }
}

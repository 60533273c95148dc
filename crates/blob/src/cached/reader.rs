//! Reading through the cache, block by block.
//!
//! What is not here is brought in by a task of its own, so that a reader who takes its time, or leaves, keeps nobody waiting. A run of
//! blocks that are not here comes out of one stream of the engine.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use umbra_core::ByteRange;

use super::{
    Cache,
    index::{Held, Key},
};
use crate::{
    BlobId, Error, Result,
    pins::{delete_late, in_background},
};

/// The longest chunk a stream gives.
const CHUNK_BYTES_MAX: usize = 256 * 1024;
/// How often a kept block may turn out to be damaged before it is read past the cache.
const ATTEMPTS: u32 = 2;

/// Keeps a blob from being deleted.
pub(super) struct Pin {
    cache: Arc<Cache>,
    id: BlobId,
}

impl Pin {
    pub(super) const fn new(cache: Arc<Cache>, id: BlobId) -> Self {
        Self { cache, id }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if self.cache.pins.leave(self.id.clone()) {
            let (cache, id) = (Arc::clone(&self.cache), self.id.clone());
            in_background(async move {
                delete_late(|| cache.delete(&id)).await;
                cache.pins.forget(id);
            });
        }
    }
}

/// A range that is being read.
pub(super) struct Reader {
    run: Run,
    /// The next byte to fetch.
    next: u64,
    /// What waits to be given.
    ready: VecDeque<Bytes>,
}

/// A range of a blob, and the engine's stream of it.
struct Run {
    pin: Arc<Pin>,
    size: u64,
    end: u64,
    stream: Option<Engine>,
}

/// A stream of the engine.
struct Engine {
    chunks: BoxStream<'static, Result<Bytes>>,
    /// The next byte it gives.
    next: u64,
    /// What it gave beyond the last block.
    rest: Bytes,
}

enum Brought {
    /// It was here, or came for somebody else.
    Kept(Arc<Held>),
    /// The whole block, from the engine.
    Fresh(Bytes),
}

impl Reader {
    /// Begins to read; returns when the first block is here.
    pub(super) async fn open(cache: &Arc<Cache>, id: &BlobId, size: u64, range: ByteRange) -> Result<Self> {
        let pin = Arc::new(cache.pin(id)?);
        let mut reader = Self { run: Run { pin, size, end: range.end, stream: None }, next: range.start, ready: VecDeque::new() };
        reader.fill().await?;
        Ok(reader)
    }

    /// The content, as it comes.
    pub(super) fn into_stream(self) -> BoxStream<'static, Result<Bytes>> {
        stream::unfold(Some(self), |reader| async {
            let mut reader = reader?;
            if reader.ready.is_empty()
                && reader.next < reader.run.end
                && let Err(error) = reader.fill().await
            {
                return Some((Err(error), None));
            }
            let chunk = reader.ready.pop_front()?;
            Some((Ok(chunk), Some(reader)))
        })
        .boxed()
    }

    /// Gets the block that holds the next byte.
    async fn fill(&mut self) -> Result<()> {
        let cache = Arc::clone(&self.run.pin.cache);
        let block_bytes = cache.settings.block_bytes;
        let number = self.next / block_bytes;
        let start = number * block_bytes;
        let part = ByteRange::new(self.next - start, (self.run.end - start).min(block_bytes));
        let key = Key::new(&self.run.pin.id, number);
        let mut known = cache.index.get(&key);
        for _ in 0..ATTEMPTS {
            let brought = match known.take() {
                Some(held) => Brought::Kept(held),
                None => self.bring(key, number).await?,
            };
            match brought {
                Brought::Kept(held) => match held.read(part).await {
                    Ok(chunks) => {
                        self.give(chunks, part, true);
                        return Ok(());
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a block in the cache of blobs cannot be used; it is fetched again");
                        cache.index.discard(&key, &held);
                    }
                },
                Brought::Fresh(block) => {
                    self.give(vec![block.slice(part.start as usize..part.end as usize)], part, false);
                    return Ok(());
                }
            }
        }
        let block = self.run.fetch(number).await?;
        self.give(vec![block.slice(part.start as usize..part.end as usize)], part, false);
        Ok(())
    }

    fn give(&mut self, chunks: Vec<Bytes>, part: ByteRange, is_hit: bool) {
        for mut chunk in chunks {
            while !chunk.is_empty() {
                self.ready.push_back(chunk.split_to(chunk.len().min(CHUNK_BYTES_MAX)));
            }
        }
        self.next += part.len();
        self.run.pin.cache.metrics.count(is_hit, part.len());
    }

    /// Waits for block `number`, or brings it in.
    async fn bring(&mut self, key: Key, number: u64) -> Result<Brought> {
        let mut run = Run { pin: Arc::clone(&self.run.pin), stream: self.run.stream.take(), ..self.run };
        let bringing = tokio::spawn(async move {
            let cache = Arc::clone(&run.pin.cache);
            let brought = match cache.index.get_or_vacancy(&key).await {
                Ok(held) => Brought::Kept(held),
                Err(vacancy) => {
                    let block = run.fetch(number).await?;
                    match Held::store(&cache.disk, vec![block.clone()]).await {
                        // Refused only when the blob was forgotten meanwhile.
                        Ok(held) => drop(vacancy.insert(held)),
                        Err(error) => tracing::debug!(%error, "a block is not kept"),
                    }
                    cache.tell_size();
                    Brought::Fresh(block)
                }
            };
            Ok::<_, Error>((brought, run.stream))
        });
        let ended = bringing.await.map_err(|error| Error::Io { doing: "read a blob", source: error.into() });
        let (brought, stream) = ended??;
        self.run.stream = stream;
        Ok(brought)
    }
}

impl Run {
    /// Reads block `number` from the engine, out of the stream at hand if that is where it has got to.
    async fn fetch(&mut self, number: u64) -> Result<Bytes> {
        let block_bytes = self.pin.cache.settings.block_bytes;
        let start = number * block_bytes;
        let len = usize::try_from((self.size - start).min(block_bytes)).expect("a block fits into memory");
        let mut stream = match self.stream.take().filter(|stream| stream.next == start) {
            Some(stream) => stream,
            None => {
                let end = self.end.next_multiple_of(block_bytes).min(self.size);
                let chunks = self.pin.cache.inner.read(&self.pin.id, ByteRange::new(start, end)).await?;
                Engine { chunks, next: start, rest: Bytes::new() }
            }
        };
        let mut block = BytesMut::with_capacity(len);
        while block.len() < len {
            if stream.rest.is_empty() {
                stream.rest = match stream.chunks.next().await {
                    Some(chunk) => chunk?,
                    None => return Err(Error::corrupt(&self.pin.id, "it ends before its length")),
                };
            }
            block.extend_from_slice(&stream.rest.split_to(stream.rest.len().min(len - block.len())));
        }
        stream.next += len as u64;
        // The engine's stream is heard to its end, which lets it go in order.
        self.stream = if stream.next < self.end { Some(stream) } else { stream.chunks.next().await.and(None) };
        Ok(block.freeze())
    }
}

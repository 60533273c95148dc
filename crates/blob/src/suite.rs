//! What every [`BlobStore`] promises, as tests: an engine is right when [`run`] passes on it.
//!
//! Every function takes a store that may already hold blobs and leaves it with none of its own. They panic with what is wrong.

mod concurrency;
mod content;
pub mod model;
mod reads;
mod writes;

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use umbra_core::ByteRange;

pub use self::content::content;
use crate::{BlobId, BlobStore, Error, Result, StoredBlob};

/// Sizes around every boundary an engine is likely to have: blocks, pages, chunks, buffers and powers of two.
pub const SIZES: [usize; 27] = [
    0, 1, 2, 511, 4_095, 4_096, 4_097, 16_383, 16_384, 65_535, 65_536, 65_537, 131_007, 131_072, 196_608, 262_143, 262_144, 262_145,
    524_287, 524_289, 1_048_575, 1_048_576, 1_048_577, 2_097_153, 8_388_607, 8_388_608, 8_388_609,
];

/// Runs everything.
pub async fn run(store: Arc<dyn BlobStore>) {
    writes::sizes(&*store).await;
    writes::cuts(&*store).await;
    writes::unfinished(&*store).await;
    writes::identifiers(&*store).await;
    reads::ranges(&*store).await;
    reads::outside(&*store).await;
    reads::foreign(&*store).await;
    reads::deleted(&*store).await;
    reads::deleted_meanwhile(&*store).await;
    concurrency::writers_and_readers(&store).await;
    concurrency::deletes(&store).await;
    for actions in model::samples() {
        model::check(&*store, &actions).await;
    }
}

/// Reads a range whole.
pub async fn read(store: &dyn BlobStore, id: &BlobId, range: ByteRange) -> Result<Vec<u8>> {
    let chunks: Vec<Bytes> = store.read(id, range).await?.try_collect().await?;
    for chunk in &chunks {
        assert!((1..=256 * 1024).contains(&chunk.len()), "a chunk of {} bytes", chunk.len());
    }
    Ok(chunks.concat())
}

/// Reads a blob whole.
pub async fn read_all(store: &dyn BlobStore, blob: &StoredBlob) -> Result<Vec<u8>> {
    read(store, &blob.id, ByteRange::new(0, blob.size)).await
}

/// Streams `chunks` into a new blob.
pub async fn write(store: &dyn BlobStore, chunks: impl IntoIterator<Item = Bytes>) -> Result<StoredBlob> {
    let mut writer = store.create().await?;
    for chunk in chunks {
        writer.write(chunk).await?;
    }
    writer.finish().await
}

/// Fails unless `id` is gone.
pub async fn assert_gone(store: &dyn BlobStore, id: &BlobId) {
    match store.read(id, ByteRange::new(0, 0)).await {
        Err(Error::NotFound(named)) => assert_eq!(named, *id),
        Err(error) => panic!("{id:?} is gone, but reading it says {error:?}"),
        Ok(_) => panic!("{id:?} is still there"),
    }
}

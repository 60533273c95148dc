//! What reading and deleting promise.

use bytes::Bytes;
use futures::TryStreamExt;
use umbra_core::ByteRange;

use super::{assert_gone, content, read, read_all, write};
use crate::{BlobId, BlobStore, Error, StoredBlob};

async fn stored(store: &dyn BlobStore, bytes: &[u8]) -> [StoredBlob; 2] {
    let put = store.put(vec![Bytes::copy_from_slice(bytes)]).await.expect("put");
    let streamed = write(store, bytes.chunks(70_000).map(Bytes::copy_from_slice)).await.expect("write");
    [put, streamed]
}

/// Every range gives exactly its bytes.
pub(super) async fn ranges(store: &dyn BlobStore) {
    for size in [0, 1, 5_000, 65_536, 131_072, 400_000, 1_500_000] {
        let bytes = content(3, size);
        for blob in stored(store, &bytes).await {
            for start in edges(size) {
                for end in edges(size).into_iter().filter(|&end| end >= start) {
                    let range = ByteRange::new(start as u64, end as u64);
                    let found = read(store, &blob.id, range).await.expect("read");
                    assert!(found == bytes[start..end], "other bytes in {start}..{end} of {size}");
                }
            }
            store.delete(&blob.id).await.expect("delete");
        }
    }
}

/// Positions around every block and chunk, and both ends.
fn edges(size: usize) -> Vec<usize> {
    let around = |at: usize| [at.saturating_sub(1), at, at + 1];
    let mut edges: Vec<usize> =
        [0, 4_096, 65_536, 131_072, 262_144, 524_288, size].into_iter().flat_map(around).filter(|&at| at <= size).collect();
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// A range that does not lie within the blob is refused, not shortened.
pub(super) async fn outside(store: &dyn BlobStore) {
    for size in [0, 10, 1_200_000] {
        for blob in stored(store, &content(4, size)).await {
            for range in [ByteRange::new(0, blob.size + 1), ByteRange::new(blob.size, blob.size + 1), ByteRange::new(u64::MAX, u64::MAX)] {
                let outcome = read(store, &blob.id, range).await.map(|found| found.len());
                assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{range:?} of {size}: {outcome:?}");
            }
            store.delete(&blob.id).await.expect("delete");
        }
    }
}

/// An identifier that the store never issued names nothing.
pub(super) async fn foreign(store: &dyn BlobStore) {
    for size in [4, 1_200_000] {
        let bytes = content(7, size);
        for blob in stored(store, &bytes).await {
            let mut foreign = vec![vec![], vec![0], vec![1], vec![2], vec![255; BlobId::BYTES_MAX]];
            for at in 0..blob.id.as_bytes().len() {
                let mut bytes = blob.id.as_bytes().to_vec();
                bytes[at] ^= 0x88;
                foreign.push(bytes);
            }
            foreign.push([blob.id.as_bytes(), b"x"].concat());
            for bytes in foreign {
                let id = BlobId::from_bytes(&bytes);
                let outcome = read(store, &id, ByteRange::new(0, 0)).await;
                assert!(matches!(outcome, Err(Error::NotFound(_) | Error::Corrupt { .. })), "{id:?}: {outcome:?}");
                // An identifier that differs in no more than what it says of the length may be taken for the blob's own.
                if matches!(outcome, Err(Error::NotFound(_))) {
                    store.delete(&id).await.expect("delete what never was");
                }
            }
            assert!(read_all(store, &blob).await.expect("read") == bytes);
            store.delete(&blob.id).await.expect("delete");
        }
    }
}

/// What is deleted is gone, and deleting it again is no error.
pub(super) async fn deleted(store: &dyn BlobStore) {
    for size in [0, 1, 70_000, 1_200_000, 9_000_000] {
        let bytes = content(5, size);
        let [left, right] = stored(store, &bytes).await;
        store.delete(&left.id).await.expect("delete");
        assert_gone(store, &left.id).await;
        store.delete(&left.id).await.expect("delete again");
        assert_gone(store, &left.id).await;
        assert!(read_all(store, &right).await.expect("read") == bytes, "its neighbour was disturbed");
        store.delete(&right.id).await.expect("delete");
        assert_gone(store, &right.id).await;
    }
}

/// A delete does not disturb streams that are already being read, but no new one is let in.
pub(super) async fn deleted_meanwhile(store: &dyn BlobStore) {
    for size in [1_000, 700_000, 2_500_000] {
        let bytes = content(6, size);
        for blob in stored(store, &bytes).await {
            let range = ByteRange::new(0, blob.size);
            let unread = store.read(&blob.id, range).await.expect("read");
            let mut begun = store.read(&blob.id, range).await.expect("read");
            let first = begun.try_next().await.expect("read").expect("it is not empty");
            store.delete(&blob.id).await.expect("delete");
            assert_gone(store, &blob.id).await;
            store.delete(&blob.id).await.expect("delete again");

            let rest: Vec<Bytes> = begun.try_collect().await.expect("read on after the delete");
            assert!([&first[..], &rest.concat()].concat() == bytes, "other bytes after the delete");
            let all: Vec<Bytes> = unread.try_collect().await.expect("read after the delete");
            assert!(all.concat() == bytes, "other bytes after the delete");
            assert_gone(store, &blob.id).await;
        }
    }
}

//! What writing promises.

use std::collections::HashSet;

use bytes::Bytes;

use super::{SIZES, assert_gone, content, read_all, write};
use crate::BlobStore;

/// Every size comes back as it was, put or streamed.
pub(super) async fn sizes(store: &dyn BlobStore) {
    for (seed, size) in (0..).zip(SIZES) {
        let bytes = content(seed, size);
        let put = store.put(vec![bytes.clone().into()]).await.expect("put");
        let unread = store.put_unread(vec![bytes.clone().into()]).await.expect("put what is not read");
        let streamed = write(store, bytes.chunks(100_000).map(Bytes::copy_from_slice)).await.expect("write");
        for blob in [put, unread, streamed] {
            assert_eq!(blob.size, size as u64);
            assert!(read_all(store, &blob).await.expect("read") == bytes, "other bytes at size {size}");
            store.delete(&blob.id).await.expect("delete");
        }
    }
}

/// Content is the concatenation of its chunks, however it is cut.
pub(super) async fn cuts(store: &dyn BlobStore) {
    let bytes = content(1, 1_200_000);
    for cut in [1_000, 16_383, 16_384, 65_536, 262_145, 1_048_576, 1_200_000] {
        let mut chunks: Vec<Bytes> = bytes.chunks(cut).map(Bytes::copy_from_slice).collect();
        chunks.insert(0, Bytes::new());
        chunks.push(Bytes::new());
        let put = store.put(chunks.clone()).await.expect("put");
        let unread = store.put_unread(chunks.clone()).await.expect("put what is not read");
        let streamed = write(store, chunks).await.expect("write");
        for blob in [put, unread, streamed] {
            assert!(read_all(store, &blob).await.expect("read") == bytes, "other bytes when cut at {cut}");
            store.delete(&blob.id).await.expect("delete");
        }
    }
    for chunks in [vec![], vec![Bytes::new()], vec![Bytes::new(); 3]] {
        let put = store.put(chunks.clone()).await.expect("put nothing");
        let streamed = write(store, chunks).await.expect("write nothing");
        for blob in [put, streamed] {
            assert_eq!(blob.size, 0);
            assert_eq!(read_all(store, &blob).await.expect("read nothing"), b"");
            store.delete(&blob.id).await.expect("delete nothing");
            assert_gone(store, &blob.id).await;
        }
    }
}

/// A writer that is dropped disturbs nobody, whatever it has written.
pub(super) async fn unfinished(store: &dyn BlobStore) {
    let bytes = content(2, 3_000_000);
    let kept = store.put(vec![bytes.clone().into()]).await.expect("put");
    for count in [0, 1, 11, 30] {
        let mut writer = store.create().await.expect("create");
        for chunk in bytes.chunks(100_000).take(count) {
            writer.write(Bytes::copy_from_slice(chunk)).await.expect("write");
        }
    }
    let next = write(store, [Bytes::from(bytes.clone())]).await.expect("write");
    for blob in [kept, next] {
        assert!(read_all(store, &blob).await.expect("read") == bytes);
        store.delete(&blob.id).await.expect("delete");
    }
}

/// No identifier is issued twice, even for the same content and after a delete.
pub(super) async fn identifiers(store: &dyn BlobStore) {
    let mut seen = HashSet::new();
    for round in 0..20 {
        let put = store.put(vec![Bytes::from_static(b"the same")]).await.expect("put");
        let empty = store.put(vec![]).await.expect("put nothing");
        let streamed = write(store, [Bytes::from(vec![7; 1_100_000])]).await.expect("write");
        for blob in [put, empty, streamed] {
            assert!(blob.id.as_bytes().len() <= crate::BlobId::BYTES_MAX);
            store.delete(&blob.id).await.expect("delete");
            assert!(seen.insert(blob.id.clone()), "{:?} was issued again in round {round}", blob.id);
        }
    }
    for id in &seen {
        assert_gone(store, id).await;
    }
}

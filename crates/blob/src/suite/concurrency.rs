//! Many at once.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future::join_all, stream};
use umbra_core::ByteRange;

use super::{assert_gone, content, read, read_all, write};
use crate::{BlobStore, Error};

const SIZES: [usize; 6] = [100, 5_000, 66_000, 300_000, 1_100_000, 0];

/// Writers, readers and deleters work side by side without seeing each other.
pub(super) async fn writers_and_readers(store: &Arc<dyn BlobStore>) {
    let tasks = (0..32_u64).map(|task| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let mut kept = Vec::new();
            for round in 0..SIZES.len() {
                let size = SIZES[(round + task as usize) % SIZES.len()];
                let bytes = content(task * 100 + round as u64, size);
                let chunks = bytes.chunks(50_000).map(Bytes::copy_from_slice);
                let blob = match (task as usize + round) % 3 {
                    0 => store.put(chunks.collect()).await,
                    1 => store.put_unread(chunks.collect()).await,
                    _ => write(&*store, chunks).await,
                };
                let blob = blob.expect("it is stored");
                assert!(read_all(&*store, &blob).await.expect("read") == bytes, "other bytes of task {task}, round {round}");
                kept.push((blob, bytes));
                if round % 3 == 2 {
                    let (gone, _) = kept.remove(0);
                    store.delete(&gone.id).await.expect("delete");
                    assert_gone(&*store, &gone.id).await;
                }
            }
            kept
        })
    });
    let kept: Vec<_> = join_all(tasks).await.into_iter().flat_map(|task| task.expect("it does not panic")).collect();
    let ids: HashSet<_> = kept.iter().map(|(blob, _)| blob.id.clone()).collect();
    assert_eq!(ids.len(), kept.len(), "an identifier was issued twice");
    for (blob, bytes) in kept {
        assert!(read_all(&**store, &blob).await.expect("read") == bytes, "other bytes at the end");
        store.delete(&blob.id).await.expect("delete");
    }
}

/// While a blob is deleted a reader gets either all of it or nothing.
pub(super) async fn deletes(store: &Arc<dyn BlobStore>) {
    for round in 0..40 {
        let bytes = Arc::new(content(round, if round % 2 == 0 { 20_000 } else { 600_000 }));
        let content = || vec![Bytes::from(bytes.to_vec())];
        let blobs = if round % 4 < 2 {
            [store.put(content()).await, store.put(content()).await]
        } else {
            [store.put_unread(content()).await, store.put_unread(content()).await]
        };
        let [target, neighbour] = blobs.map(|blob| blob.expect("put"));
        let range = ByteRange::new(0, target.size);
        let readers = (0..8).map(|_| {
            let (store, id, bytes) = (Arc::clone(store), target.id.clone(), Arc::clone(&bytes));
            tokio::spawn(async move {
                match read(&*store, &id, range).await {
                    Ok(found) => assert!(found == *bytes, "other bytes during a delete"),
                    Err(error) => assert!(matches!(error, Error::NotFound(_)), "{error:?}"),
                }
            })
        });
        let readers: Vec<_> = readers.collect();
        let deleters = stream::iter(0..3).map(|_| store.delete(&target.id)).buffer_unordered(3).try_collect::<Vec<()>>();
        deleters.await.expect("delete");
        for reader in readers {
            reader.await.expect("it does not panic");
        }
        assert_gone(&**store, &target.id).await;
        assert!(read_all(&**store, &neighbour).await.expect("read") == *bytes, "its neighbour was disturbed");
        store.delete(&neighbour.id).await.expect("delete");
    }
}

//! The conformance suite: what every [`MetaStore`] promises, as code.
//!
//! Each check panics with what it found. Differences between engines would be parameters of [`run`]; there are none.

mod commits;
mod listings;
mod model;
mod races;
mod reads;

use std::sync::Arc;

use bytes::Bytes;

use crate::{Batch, Entry, Error, KeyRange, MetaStore, Partition, Projection, Revision};

/// Runs every check against `store`, which must be empty.
pub async fn run(store: Arc<dyn MetaStore>) {
    commits::run(store.as_ref()).await;
    reads::run(store.as_ref()).await;
    listings::run(store.as_ref()).await;
    races::run(&store).await;
    model::run(&store).await;
}

/// Partitions the checks use, so that one does not see what another left.
const COMMITS: Partition = Partition(1);
const COUNTERS: Partition = Partition(2);
const READS: Partition = Partition(3);
const APART: [Partition; 3] = [Partition::ROOT, Partition(u64::MAX), Partition(1 << 63)];
const LISTINGS: Partition = Partition(100);
const RACES: Partition = Partition(200);
/// The model takes one partition per case, from here on.
const MODEL: u64 = 1000;

async fn commit(store: &dyn MetaStore, batch: Batch) -> Revision {
    store.commit(batch).await.expect("the batch is committed").revision
}

async fn put(store: &dyn MetaStore, partition: Partition, key: &[u8], head: &'static str, body: &'static str) -> Revision {
    commit(store, Batch::new(partition).put(key, head, body)).await
}

async fn get(store: &dyn MetaStore, partition: Partition, key: &[u8]) -> Option<Entry> {
    store.get(partition, key).await.expect("the key is read")
}

async fn scan(store: &dyn MetaStore, partition: Partition, range: KeyRange, limit: usize) -> Vec<Entry> {
    store.scan(partition, range, limit, Projection::Full).await.expect("the range is scanned")
}

/// The key and the current entry of the conflict that `batch` ends in.
async fn conflict(store: &dyn MetaStore, batch: Batch) -> (Vec<u8>, Option<Entry>) {
    match store.commit(batch).await {
        Err(Error::Conflict { key, current }) => (key, current.map(|current| *current)),
        other => panic!("expected a conflict, not {other:?}"),
    }
}

fn entry(key: &[u8], revision: Revision, head: &'static str, body: &'static str) -> Entry {
    Entry { key: Bytes::copy_from_slice(key), revision, head: Bytes::from(head), body: Bytes::from(body) }
}

fn keys(entries: &[Entry]) -> Vec<&[u8]> {
    entries.iter().map(|entry| &entry.key[..]).collect()
}

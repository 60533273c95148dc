//! The catalog, on every engine.

mod access_keys;
mod buckets;
mod faults;
mod organizations;
mod place;
mod removal;
mod sharing;

use std::{path::Path, sync::Arc};

use umbra_core::{BucketName, ErrorKind, ManualClock, ObjectKey, Result, SeededRandom, Timestamp};
use umbra_meta::{Batch, Expect, KeyRange, MemoryMetaStore, MetaStore, Partition, Projection, SqliteMetaStore, SqliteSettings, key};

use super::Catalog;
use crate::{Bucket, BucketSettings, Sealer};

const NOW: Timestamp = Timestamp::from_millis(1_750_000_000_000);
const KEK: [u8; 32] = [7; 32];

fn memory() -> Arc<dyn MetaStore> {
    Arc::new(MemoryMetaStore::new())
}

fn sqlite(directory: &Path) -> SqliteMetaStore {
    SqliteMetaStore::open(&directory.join("meta.db"), SqliteSettings::default()).unwrap()
}

/// Runs `test` on a new store of every engine.
async fn on_every_engine<F: Future<Output = ()>>(test: impl Fn(Arc<dyn MetaStore>) -> F) {
    test(memory()).await;
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(sqlite(directory.path()));
    test(Arc::clone(&store) as Arc<dyn MetaStore>).await;
    store.shutdown().await.unwrap();
}

/// Opens the catalog as a process does that starts. `seed` makes one process's randomness another's.
async fn open_seeded(meta: &Arc<dyn MetaStore>, seed: u64) -> Result<Catalog> {
    let random = Arc::new(SeededRandom::new(seed));
    let sealer = Arc::new(Sealer::new(KEK, random.clone()));
    Catalog::open(Arc::clone(meta), sealer, Arc::new(ManualClock::new(NOW)), random).await
}

async fn open(meta: &Arc<dyn MetaStore>) -> Catalog {
    open_seeded(meta, 1).await.unwrap()
}

/// A catalog with the organizations `acme` and `evil`.
async fn open_with_organizations(meta: &Arc<dyn MetaStore>) -> Catalog {
    let catalog = open(meta).await;
    catalog.create_organization("acme").await.unwrap();
    catalog.create_organization("evil").await.unwrap();
    catalog
}

fn name(name: &str) -> BucketName {
    BucketName::parse(name).unwrap()
}

fn settings() -> BucketSettings {
    BucketSettings::default()
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// Puts an object as a writer does who works with the snapshot `bucket`. The record's content does not matter to the catalog.
async fn put_object(meta: &dyn MetaStore, bucket: &Bucket, object: &str) -> umbra_meta::Result<()> {
    let object = key::object(&ObjectKey::parse(object).unwrap());
    let batch = Batch::new(bucket.partition).check(key::settings(), Expect::Revision(bucket.revision)).put(object, "", "object");
    meta.commit(batch).await.map(drop)
}

async fn delete_object(meta: &dyn MetaStore, bucket: &Bucket, object: &str) {
    let object = key::object(&ObjectKey::parse(object).unwrap());
    meta.commit(Batch::new(bucket.partition).delete(object)).await.unwrap();
}

/// How many entries `partition` holds.
async fn entries(meta: &dyn MetaStore, partition: Partition) -> usize {
    meta.scan(partition, KeyRange::prefix(b""), 1000, Projection::Head).await.unwrap().len()
}

/// A server awaits all of these on its worker threads.
#[test]
fn its_futures_can_change_threads() {
    fn check<T: Send>(_: impl FnOnce(Catalog) -> T) {}
    check(|catalog: Catalog| async move { catalog.bucket(&name("bucket")).await });
    check(|catalog: Catalog| async move { catalog.buckets(Some("acme"), None, 1).await });
    check(|catalog: Catalog| async move { catalog.update_bucket(&*catalog.bucket(&name("bucket")).await?, &mut |_| Ok(())).await });
    check(|catalog: Catalog| async move { catalog.delete_organization("acme").await });
    check(|catalog: Catalog| async move { catalog.keys(None).await });
    check(|_| async move { open(&memory()).await });
}

async fn delete(catalog: &Catalog, bucket: &BucketName) -> Result<()> {
    catalog.delete_bucket(&*catalog.bucket(bucket).await?).await
}

async fn destroy(catalog: &Catalog, bucket: &BucketName) -> Result<()> {
    catalog.destroy_bucket(&*catalog.bucket(bucket).await?).await
}

//! Every commit of every change fails in every way, once or for good; then the server goes on, or starts anew.

use std::sync::Arc;

use umbra_meta::{CommitFault, FailingMetaStore, MetaStore};

use super::{delete, destroy, memory, name, open_seeded, open_with_organizations, put_object, settings};
use crate::{BucketSettings, BucketState, Catalog};

/// More than any change commits.
const COMMITS_MAX: u64 = 6;

#[derive(Clone, Copy, Debug)]
enum Change {
    Create,
    Update,
    Delete,
    DeleteInUse,
    Destroy,
}

const CHANGES: [Change; 5] = [Change::Create, Change::Update, Change::Delete, Change::DeleteInUse, Change::Destroy];

/// Makes `fault` happen to the commit `at` commits from now, and, if the process dies of it, nothing be written behind it.
fn arm(store: &FailingMetaStore, at: u64, fault: CommitFault, dies: bool) {
    let target = store.commits() + at;
    store.set(move |number, _| match number {
        number if number == target => fault,
        number if number > target && dies => CommitFault::Unavailable,
        _ => CommitFault::None,
    });
}

async fn make(catalog: &Catalog, change: Change) -> bool {
    let bucket = name("bucket");
    let done = match change {
        Change::Create => catalog.create_bucket(&bucket, "acme", settings()).await.map(drop),
        Change::Update => {
            let mut publish = |settings: &mut BucketSettings| {
                settings.public = true;
                Ok(())
            };
            match catalog.bucket(&bucket).await {
                Ok(bucket) => catalog.update_bucket(&bucket, &mut publish).await.map(drop),
                Err(error) => Err(error),
            }
        }
        Change::Delete | Change::DeleteInUse => delete(catalog, &bucket).await,
        Change::Destroy => destroy(catalog, &bucket).await,
    };
    done.is_ok()
}

/// The bucket works, or it is gone and another can be created; never anything between. Tells whether it is there.
async fn check_not_stuck(catalog: &Catalog, meta: &dyn MetaStore, case: &str) -> bool {
    let listed = catalog.buckets(None, None, 10).await.unwrap().len();
    match catalog.bucket(&name("bucket")).await {
        Ok(bucket) => {
            assert_eq!(listed, 1, "{case}");
            assert_eq!(bucket.settings.state, BucketState::Active, "{case}");
            put_object(meta, &bucket, "proof").await.unwrap_or_else(|error| panic!("{case}: {error:?}"));
            true
        }
        Err(_) => {
            assert_eq!(listed, 0, "{case}");
            let again = catalog.create_bucket(&name("bucket"), "evil", settings()).await;
            again.unwrap_or_else(|error| panic!("{case}: {error:?}"));
            false
        }
    }
}

#[tokio::test]
async fn a_bucket_works_or_is_gone_whatever_fails() {
    for change in CHANGES {
        for fault in [CommitFault::Unavailable, CommitFault::Full, CommitFault::LostAcknowledgement] {
            for at in 0..COMMITS_MAX {
                for (dies, restarts) in [(false, false), (true, false), (true, true)] {
                    let case = format!("{change:?}, {fault:?} at commit {at}, dies: {dies}, restarts: {restarts}");
                    let store = Arc::new(FailingMetaStore::new(memory()));
                    let meta: Arc<dyn MetaStore> = store.clone();
                    let mut catalog = open_with_organizations(&meta).await;
                    if !matches!(change, Change::Create) {
                        let bucket = catalog.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
                        if matches!(change, Change::DeleteInUse) {
                            put_object(&*meta, &bucket, "object").await.unwrap();
                        }
                    }
                    arm(&store, at, fault, dies);
                    let done = make(&catalog, change).await;
                    store.heal();
                    if restarts {
                        catalog = open_seeded(&meta, 2).await.unwrap();
                    }
                    let there = check_not_stuck(&catalog, &*meta, &case).await;
                    match change {
                        Change::Create if done => assert!(there, "{case}"),
                        Change::Delete | Change::Destroy if done => assert!(!there, "{case}"),
                        // What happened all the same is not called a failure by who lives to look.
                        Change::Delete | Change::Destroy if !dies => assert!(there, "{case}"),
                        Change::Update | Change::DeleteInUse => assert!(there, "{case}"),
                        _ => {}
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_key_works_or_is_gone_whatever_fails() {
    for fault in [CommitFault::Unavailable, CommitFault::LostAcknowledgement] {
        for at in 0..2 {
            let store = Arc::new(FailingMetaStore::new(memory()));
            let meta: Arc<dyn MetaStore> = store.clone();
            let catalog = open_with_organizations(&meta).await;
            let fixed = super::access_keys::fixed("key-id", "secret-key");
            assert!(catalog.key("key-id").await.unwrap().is_none());
            store.fail_after(at, fault);
            let created = catalog.create_key(fixed).await.is_ok();
            let stored = open_seeded(&meta, 2).await.unwrap().key("key-id").await.unwrap().is_some();
            assert_eq!(catalog.key("key-id").await.unwrap().is_some(), stored, "{fault:?} at {at}");
            assert!(stored || !created);
            if stored {
                store.fail_after(0, fault);
                let deleted = catalog.delete_key("key-id").await.is_ok();
                let stored = open_seeded(&meta, 2).await.unwrap().key("key-id").await.unwrap().is_some();
                assert_eq!(catalog.key("key-id").await.unwrap().is_some(), stored, "{fault:?} at {at}");
                assert!(!stored || !deleted);
            }
        }
    }
}

use std::sync::Arc;

use futures::FutureExt;
use umbra_core::{Entity, ErrorKind, Fault};
use umbra_meta::{CommitFault, Error as MetaError, FailingMetaStore, MetaStore, Partition, key::root};

use crate::{NewKey, ObjectLockSettings, Role};

use super::{
    delete, delete_object, destroy, kind, memory, name, on_every_engine, open, open_seeded, open_with_organizations, put_object, settings,
};

const NOT_EMPTY: Option<ErrorKind> = Some(ErrorKind::Invalid(Fault::BucketNotEmpty));
const NO_BUCKET: Option<ErrorKind> = Some(ErrorKind::NotFound(Entity::Bucket));

async fn is_ordered_to_be_emptied(meta: &dyn MetaStore, partition: Partition) -> bool {
    meta.get(Partition::ROOT, &root::destroying(partition)).await.unwrap().is_some()
}

#[tokio::test]
async fn an_empty_bucket_is_deleted_and_its_name_is_free() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        let bucket = catalog.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
        delete(&catalog, &name("bucket")).await.unwrap();
        assert_eq!(kind(catalog.bucket(&name("bucket")).await), NO_BUCKET);
        assert_eq!(kind(catalog.delete_bucket(&bucket).await), NO_BUCKET);
        assert_eq!(kind(catalog.destroy_bucket(&bucket).await), NO_BUCKET);
        assert!(is_ordered_to_be_emptied(&*meta, bucket.partition).await);
        assert!(put_object(&*meta, &bucket, "late").await.is_err(), "a writer of the deleted bucket");
        let again = catalog.create_bucket(&name("bucket"), "evil", settings()).await.unwrap();
        assert_ne!(again.partition, bucket.partition);
        assert_eq!(open_seeded(&meta, 2).await.unwrap().bucket(&name("bucket")).await.unwrap(), again);
    })
    .await;
}

/// What is kept is kept from everybody, whoever forces the end of the bucket.
#[tokio::test]
async fn a_bucket_with_object_lock_is_not_destroyed_while_it_holds_anything() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        let mut settings = settings();
        Arc::make_mut(&mut settings.extras).object_lock = Some(ObjectLockSettings::default());
        let bucket = catalog.create_bucket(&name("bucket"), "acme", settings).await.unwrap();
        put_object(&*meta, &bucket, "kept").await.unwrap();
        assert_eq!(kind(catalog.destroy_bucket(&bucket).await), NOT_EMPTY);
        let bucket = catalog.bucket(&name("bucket")).await.unwrap();
        delete_object(&*meta, &bucket, "kept").await;
        catalog.destroy_bucket(&bucket).await.unwrap();
    })
    .await;
}

/// However a bucket ends, a later one of its name is not open to its keys.
#[tokio::test]
async fn the_keys_of_a_bucket_go_with_it() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        let key = |bucket: Option<&str>| NewKey {
            organization: Some("acme".to_owned()),
            role: Role::Editor,
            bucket: bucket.map(name),
            fixed: None,
        };
        for destroys in [false, true] {
            for bucket in ["bucket", "other"] {
                catalog.create_bucket(&name(bucket), "acme", settings()).await.unwrap();
            }
            let [its, others, all] = [Some("bucket"), Some("other"), None].map(key);
            let its = catalog.create_key(its).await.unwrap().id;
            let kept = [catalog.create_key(others).await.unwrap().id, catalog.create_key(all).await.unwrap().id];
            if destroys {
                destroy(&catalog, &name("bucket")).await.unwrap();
            } else {
                delete(&catalog, &name("bucket")).await.unwrap();
            }
            let reopened = open_seeded(&meta, 2).await.unwrap();
            for catalog in [&catalog, &reopened] {
                assert!(catalog.key(&its).await.unwrap().is_none());
                for id in &kept {
                    assert!(catalog.key(id).await.unwrap().is_some());
                }
            }
            delete(&catalog, &name("other")).await.unwrap();
        }
        let late = key(Some("bucket"));
        assert_eq!(kind(catalog.create_key(late).await), NO_BUCKET);
    })
    .await;
}

#[tokio::test]
async fn a_bucket_that_holds_objects_is_not_deleted() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        let bucket = catalog.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
        put_object(&*meta, &bucket, "object").await.unwrap();
        assert_eq!(kind(delete(&catalog, &name("bucket")).await), NOT_EMPTY);
        let unharmed = catalog.refresh(&name("bucket")).await.unwrap();
        assert_eq!(unharmed, bucket, "its writers are not even disturbed");
        delete_object(&*meta, &bucket, "object").await;
        delete(&catalog, &name("bucket")).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_bucket_that_holds_objects_can_be_destroyed() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        let bucket = catalog.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
        put_object(&*meta, &bucket, "object").await.unwrap();
        destroy(&catalog, &name("bucket")).await.unwrap();
        assert_eq!(kind(catalog.bucket(&name("bucket")).await), NO_BUCKET);
        assert!(is_ordered_to_be_emptied(&*meta, bucket.partition).await);
        assert!(put_object(&*meta, &bucket, "late").await.is_err());
        catalog.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
    })
    .await;
}

/// A put that comes between the first look and the mark: it succeeds, so the bucket must stay.
#[tokio::test]
async fn a_put_just_before_the_mark_keeps_the_bucket() {
    let inner = memory();
    let store = Arc::new(FailingMetaStore::new(Arc::clone(&inner)));
    let meta: Arc<dyn MetaStore> = store.clone();
    let catalog = open_with_organizations(&meta).await;
    let bucket = catalog.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
    let mut puts = vec![bucket.clone()];
    store.set(move |_, _| {
        for bucket in puts.drain(..) {
            put_object(&*inner, &bucket, "object").now_or_never().expect("memory answers at once").unwrap();
        }
        CommitFault::None
    });
    assert_eq!(kind(delete(&catalog, &name("bucket")).await), NOT_EMPTY);
    let after = catalog.bucket(&name("bucket")).await.unwrap();
    assert!(after.revision > bucket.revision, "it was marked, and taken back");
    put_object(&*meta, &after, "another").await.unwrap();
}

/// A put that comes between the mark and the loss of the name: it must fail.
#[tokio::test]
async fn a_put_just_after_the_mark_fails() {
    let inner = memory();
    let store = Arc::new(FailingMetaStore::new(Arc::clone(&inner)));
    let meta: Arc<dyn MetaStore> = store.clone();
    let catalog = open_with_organizations(&meta).await;
    let bucket = catalog.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
    store.set(move |_, batch| {
        if batch.partition == Partition::ROOT {
            let late = put_object(&*inner, &bucket, "object").now_or_never().expect("memory answers at once");
            assert!(matches!(late, Err(MetaError::Conflict { .. })));
        }
        CommitFault::None
    });
    delete(&catalog, &name("bucket")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_put_and_a_delete_that_race_one_loses() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        for _ in 0..40 {
            let bucket = catalog.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
            let (writer, snapshot) = (Arc::clone(&meta), Arc::clone(&bucket));
            let put = tokio::spawn(async move { put_object(&*writer, &snapshot, "object").await });
            let deleter = catalog.clone();
            let deleted = Arc::clone(&bucket);
            let delete = tokio::spawn(async move { deleter.delete_bucket(&deleted).await });
            let (put, delete) = (put.await.unwrap(), delete.await.unwrap());
            match kind(delete) {
                None => assert!(put.is_err(), "an acknowledged object went with its bucket"),
                NOT_EMPTY => {
                    put.unwrap();
                    let stays = catalog.bucket(&name("bucket")).await.unwrap();
                    put_object(&*meta, &stays, "another").await.unwrap();
                    destroy(&catalog, &name("bucket")).await.unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_does_not_depend_on_the_patience_of_its_caller() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        let bucket = catalog.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
        // Polled once, then dropped: what it began goes on.
        let _polled_once = catalog.delete_bucket(&bucket).now_or_never();
        let bucket = loop {
            match catalog.create_bucket(&name("bucket"), "evil", settings()).await {
                Ok(bucket) => break bucket,
                Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists(Entity::Bucket)),
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(catalog.bucket(&name("bucket")).await.unwrap(), bucket);
    })
    .await;
}

#[tokio::test]
async fn a_protected_bucket_is_not_deleted() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        let bucket = name("bucket");
        catalog.create_bucket(&bucket, "acme", settings()).await.unwrap();
        let protect = async |protected: bool| {
            let mut change = |settings: &mut crate::BucketSettings| {
                Arc::make_mut(&mut settings.extras).protected = protected;
                Ok(())
            };
            catalog.update_bucket(&catalog.bucket(&bucket).await.unwrap(), &mut change).await.unwrap();
        };
        protect(true).await;
        assert_eq!(kind(delete(&catalog, &bucket).await), Some(ErrorKind::Denied));
        assert_eq!(kind(destroy(&catalog, &bucket).await), Some(ErrorKind::Denied));
        assert!(open(&meta).await.bucket(&bucket).await.unwrap().settings.extras.protected, "kept across a start");
        protect(false).await;
        delete(&catalog, &bucket).await.unwrap();
    })
    .await;
}

use std::{collections::HashSet, sync::Arc};

use parking_lot::Mutex;
use umbra_core::{Entity, Error, ErrorKind, Fault, Timestamp};
use umbra_meta::{Batch, CommitFault, FailingMetaStore, MetaStore, Partition, key};

use super::{NOW, destroy, entries, kind, memory, name, on_every_engine, open, open_seeded, open_with_organizations, settings, sqlite};
use crate::{BucketSettings, BucketState, Usage};

#[tokio::test]
async fn a_bucket_is_found_as_it_was_created() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        let wanted = BucketSettings {
            public: true,
            location: umbra_core::Location::parse("single:fra").unwrap(),
            state: BucketState::Deleting,
            ..settings()
        };
        let created = catalog.create_bucket(&name("bucket"), "acme", wanted.clone()).await.unwrap();
        assert_eq!(created.settings, BucketSettings { state: BucketState::Active, ..wanted });
        assert_eq!((created.organization.as_str(), created.created), ("acme", NOW));
        assert!(created.partition != Partition::ROOT && created.partition.0 <= i64::MAX as u64);
        assert_eq!(catalog.bucket(&name("bucket")).await.unwrap(), created);
        assert_eq!(open(&meta).await.bucket(&name("bucket")).await.unwrap(), created);
        assert_eq!(kind(catalog.bucket(&name("other")).await), Some(ErrorKind::NotFound(Entity::Bucket)));
    })
    .await;
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(sqlite(directory.path()));
    let meta: Arc<dyn MetaStore> = store.clone();
    let catalog = open_with_organizations(&meta).await;
    let bucket = catalog.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
    let id = catalog.store_id().to_owned();
    store.shutdown().await.unwrap();
    drop((store, meta, catalog));

    let meta: Arc<dyn MetaStore> = Arc::new(sqlite(directory.path()));
    let catalog = open_seeded(&meta, 2).await.unwrap();
    assert_eq!(catalog.store_id(), id);
    assert_eq!(catalog.bucket(&name("bucket")).await.unwrap(), bucket);
    assert_eq!(catalog.organizations().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_name_that_is_taken_does_not_tell_by_whom() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        catalog.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
        let own = catalog.create_bucket(&name("bucket"), "acme", settings()).await.unwrap_err();
        let others = catalog.create_bucket(&name("bucket"), "evil", settings()).await.unwrap_err();
        assert_eq!(own.kind(), ErrorKind::AlreadyExists(Entity::Bucket));
        assert_eq!(format!("{own:?}"), format!("{others:?}"));
        assert!(!format!("{others:?}").contains("acme"));
    })
    .await;
}

#[tokio::test]
async fn a_bucket_without_its_organization_leaves_nothing() {
    let written = Arc::new(Mutex::new(HashSet::new()));
    let store = Arc::new(FailingMetaStore::new(memory()));
    let meta: Arc<dyn MetaStore> = store.clone();
    let catalog = open(&meta).await;
    let seen = Arc::clone(&written);
    store.set(move |_, batch: &Batch| {
        seen.lock().insert(batch.partition);
        CommitFault::None
    });
    let missing = catalog.create_bucket(&name("bucket"), "nobody", settings()).await;
    assert_eq!(kind(missing), Some(ErrorKind::NotFound(Entity::Organization)));
    let written = std::mem::take(&mut *written.lock());
    assert!(!written.is_empty());
    for partition in written {
        assert_eq!(entries(&*meta, partition).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_create_one_name_exactly_one_wins() {
    on_every_engine(|meta| async move {
        // Two processes as it were: nothing but the store decides between them.
        let catalogs = [open_with_organizations(&meta).await, open_seeded(&meta, 2).await.unwrap()];
        let attempts = (0..16).map(|n: usize| {
            let catalog = catalogs[n % 2].clone();
            let organization = ["acme", "evil"][n / 2 % 2];
            tokio::spawn(async move { catalog.create_bucket(&name("bucket"), organization, settings()).await })
        });
        let results = futures::future::join_all(attempts).await.into_iter().map(|result| result.unwrap());
        let (won, lost): (Vec<_>, Vec<_>) = results.partition(|result| result.is_ok());
        assert_eq!(won.len(), 1);
        assert!(lost.into_iter().all(|lost| kind(lost) == Some(ErrorKind::AlreadyExists(Entity::Bucket))));
        let winner = won.into_iter().next().unwrap().unwrap();
        for catalog in catalogs {
            assert_eq!(catalog.refresh(&name("bucket")).await.unwrap(), winner);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_change_is_lost() {
    on_every_engine(|meta| async move {
        let catalogs = [open_with_organizations(&meta).await, open_seeded(&meta, 2).await.unwrap()];
        let bucket = catalogs[0].create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
        let changes = (0..20).map(|n| {
            let (catalog, bucket) = (catalogs[n % 2].clone(), bucket.clone());
            tokio::spawn(async move {
                let mut increment = |settings: &mut BucketSettings| {
                    settings.generation += 1;
                    Ok(())
                };
                catalog.update_bucket(&bucket, &mut increment).await.map(drop)
            })
        });
        for change in futures::future::join_all(changes).await {
            change.unwrap().unwrap();
        }
        for catalog in catalogs {
            assert_eq!(catalog.refresh(&name("bucket")).await.unwrap().settings.generation, 20);
        }
    })
    .await;
}

#[tokio::test]
async fn a_change_is_seen_at_once_and_can_refuse() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        let before = catalog.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
        let mut publish = |settings: &mut BucketSettings| {
            settings.public = true;
            settings.state = BucketState::Deleting;
            Ok(())
        };
        let after = catalog.update_bucket(&before, &mut publish).await.unwrap();
        assert!(after.settings.public && after.settings.state == BucketState::Active && after.revision > before.revision);
        assert_eq!(catalog.bucket(&name("bucket")).await.unwrap(), after);
        let unchanged = catalog.update_bucket(&before, &mut publish).await.unwrap();
        assert_eq!(unchanged.revision, after.revision, "nothing to change, nothing written");
        let mut refuse = |settings: &mut BucketSettings| {
            settings.public = false;
            Err(Error::invalid(Fault::InvalidRequest, "no"))
        };
        assert_eq!(kind(catalog.update_bucket(&before, &mut refuse).await), Some(ErrorKind::Invalid(Fault::InvalidRequest)));
        assert_eq!(catalog.refresh(&name("bucket")).await.unwrap(), after);
        catalog.delete_bucket(&before).await.unwrap();
        let missing = catalog.update_bucket(&before, &mut publish).await;
        assert_eq!(kind(missing), Some(ErrorKind::NotFound(Entity::Bucket)));
    })
    .await;
}

#[tokio::test]
async fn a_change_meant_for_one_bucket_does_not_reach_another_of_its_name() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        let before = catalog.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
        catalog.delete_bucket(&before).await.unwrap();
        let other = catalog.create_bucket(&before.name, "acme", settings()).await.unwrap();
        let mut publish = |settings: &mut BucketSettings| {
            settings.public = true;
            Ok(())
        };
        assert_eq!(kind(catalog.update_bucket(&before, &mut publish).await), Some(ErrorKind::Conflict));
        assert_eq!(kind(catalog.current(&before).await), Some(ErrorKind::Conflict));
        assert_eq!(catalog.refresh(&before.name).await.unwrap(), other);
        assert_eq!(catalog.current(&other).await.unwrap(), other);
    })
    .await;
}

#[tokio::test]
async fn a_stale_memory_is_refreshed() {
    on_every_engine(|meta| async move {
        let (ours, theirs) = (open_with_organizations(&meta).await, open_seeded(&meta, 2).await.unwrap());
        assert!(ours.bucket(&name("bucket")).await.is_err());
        theirs.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
        assert!(ours.bucket(&name("bucket")).await.is_err(), "what was absent is remembered");
        ours.refresh(&name("bucket")).await.unwrap();
        assert!(ours.bucket(&name("bucket")).await.is_ok());
        destroy(&theirs, &name("bucket")).await.unwrap();
        assert!(ours.bucket(&name("bucket")).await.is_ok(), "what was there is remembered");
        assert!(ours.refresh(&name("bucket")).await.is_err());
        assert!(ours.bucket(&name("bucket")).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn buckets_are_listed_by_name_page_by_page() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        for n in 0..300 {
            let organization = if n % 3 == 0 { "evil" } else { "acme" };
            catalog.create_bucket(&name(&format!("bucket-{n:03}")), organization, settings()).await.unwrap();
        }
        let names = |buckets: Vec<Arc<crate::Bucket>>| buckets.iter().map(|bucket| bucket.name.to_string()).collect::<Vec<_>>();
        let all: Vec<_> = (0..300).map(|n| format!("bucket-{n:03}")).collect();
        // A new process has nothing in memory.
        let catalog = open_seeded(&meta, 2).await.unwrap();
        assert_eq!(names(catalog.buckets(None, None, usize::MAX).await.unwrap()), all);
        let acme = names(catalog.buckets(Some("acme"), None, usize::MAX).await.unwrap());
        assert_eq!(acme, all.iter().enumerate().filter(|(n, _)| n % 3 != 0).map(|(_, name)| name.clone()).collect::<Vec<_>>());
        assert_eq!(names(catalog.buckets(Some("acme"), Some("bucket-001"), 2).await.unwrap()), ["bucket-002", "bucket-004"]);
        assert_eq!(names(catalog.buckets(None, Some("bucket-298x"), 9).await.unwrap()), ["bucket-299"]);
        assert!(catalog.buckets(None, None, 0).await.unwrap().is_empty());
        assert!(catalog.buckets(Some("nobody"), None, 9).await.unwrap().is_empty());
        let partitions: HashSet<_> = catalog.partitions().await.unwrap().into_iter().collect();
        assert_eq!(partitions.len(), 300);
    })
    .await;
}

#[tokio::test]
async fn usage_is_what_the_counters_say() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        let bucket = catalog.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
        assert_eq!(catalog.usage(&bucket).await.unwrap(), Usage::default());
        let batch = Batch::new(bucket.partition).add(key::counter("objects"), 3).add(key::counter("bytes"), 1 << 40);
        meta.commit(batch).await.unwrap();
        assert_eq!(catalog.usage(&bucket).await.unwrap(), Usage { objects: 3, bytes: 1 << 40 });
        meta.commit(Batch::new(bucket.partition).add(key::counter("objects"), -4)).await.unwrap();
        assert_eq!(catalog.usage(&bucket).await.unwrap().objects, 0, "never less than nothing");
    })
    .await;
}

#[tokio::test]
async fn organizations_remember_when_they_were_created() {
    let meta = memory();
    let catalog = open_with_organizations(&meta).await;
    catalog.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
    let created: Vec<Timestamp> = catalog.organizations().await.unwrap().into_iter().map(|organization| organization.created).collect();
    assert_eq!(created, [NOW, NOW]);
}

//! Several processes on one store, one of which changes the catalog.

use std::{sync::Arc, time::Duration};

use umbra_core::{ErrorKind, ManualClock, SeededRandom};
use umbra_meta::{Batch, MetaStore, Partition, key::root};

use super::{KEK, NOW, memory, name, settings};
use crate::{BucketSettings, Catalog, Sealer, catalog::AGE_MAX};

/// A process that shares the store.
async fn share(meta: &Arc<dyn MetaStore>, seed: u64) -> Catalog {
    let random = Arc::new(SeededRandom::new(seed));
    let sealer = Arc::new(Sealer::new(KEK, random.clone()));
    Catalog::open_shared(Arc::clone(meta), sealer, Arc::new(ManualClock::new(NOW)), random, None).await.unwrap()
}

/// Two processes as the nodes of a store; the first leads.
async fn two(meta: &Arc<dyn MetaStore>) -> (Catalog, Catalog) {
    for node in ["a", "b"] {
        meta.commit(Batch::new(Partition::ROOT).put(root::node(node), "", "")).await.unwrap();
    }
    let (leader, follower) = (share(meta, 1).await, share(meta, 2).await);
    leader.lead().await.unwrap();
    leader.create_organization("acme").await.unwrap();
    (leader, follower)
}

#[tokio::test]
async fn who_does_not_lead_changes_nothing() {
    let meta = memory();
    let (leader, follower) = two(&meta).await;
    let refused = follower.create_bucket(&name("bucket"), "acme", settings()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    let bucket = leader.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
    assert_eq!(follower.bucket(&bucket.name).await.unwrap().partition, bucket.partition);
    assert_eq!(follower.delete_bucket(&bucket).await.unwrap_err().kind(), ErrorKind::Conflict);
    leader.resign().await;
    assert_eq!(leader.delete_bucket(&bucket).await.unwrap_err().kind(), ErrorKind::Conflict);
    follower.lead().await.unwrap();
    follower.delete_bucket(&bucket).await.unwrap();
}

/// Whoever is answered, also that there was nothing to change, knows that it is so for all.
#[tokio::test]
async fn a_change_holds_for_all_once_anybody_is_answered() {
    let meta = memory();
    let (leader, follower) = two(&meta).await;
    let bucket = leader.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
    for turn in 0..3 {
        follower.bucket(&bucket.name).await.unwrap();
        let public = turn % 2 == 0;
        let change = || {
            let (leader, bucket) = (leader.clone(), bucket.clone());
            async move {
                let mut set = |settings: &mut BucketSettings| {
                    settings.public = public;
                    Ok(())
                };
                leader.update_bucket(&bucket, &mut set).await.map(drop)
            }
        };
        // The second finds it done, and is answered no sooner for that.
        let (first, second) = (change(), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            change().await.unwrap();
            assert_eq!(follower.bucket(&bucket.name).await.unwrap().settings.public, public);
        });
        let (first, ()) = tokio::join!(first, second);
        first.unwrap();
        assert_eq!(follower.bucket(&bucket.name).await.unwrap().settings.public, public);
    }
}

/// A bucket that is being deleted has its name still: it is listed by those who cannot settle what becomes of it.
#[tokio::test]
async fn a_bucket_that_is_being_deleted_does_not_hide_the_others() {
    let meta = memory();
    let (leader, follower) = two(&meta).await;
    for bucket in ["first", "second"] {
        leader.create_bucket(&name(bucket), "acme", settings()).await.unwrap();
    }
    let named = leader.shared.read_bucket(&name("first")).await.unwrap().unwrap();
    leader.shared.set_state(named, crate::BucketState::Deleting).await.unwrap().unwrap();
    tokio::time::sleep(AGE_MAX).await;
    assert_eq!(follower.bucket(&name("first")).await.unwrap_err().kind(), ErrorKind::Conflict);
    let listed = follower.buckets(None, None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|bucket| bucket.name.as_str()).collect::<Vec<_>>(), ["first", "second"]);
    // Whoever comes to lead takes it back.
    leader.resign().await;
    follower.lead().await.unwrap();
    assert!(follower.bucket(&name("first")).await.is_ok());
}

//! semantics.md, "Writing": a bucket with an origin begins to keep versions.

use std::sync::Arc;

use umbra_core::{ErrorKind, Result, VersionId};
use umbra_shadow::origin::memory::Fault;
use umbra_store::{Bucket, BucketSettings, ListVersions, Objects, Versioning};

use crate::{
    held_meta::{Asked, HeldMeta, settles},
    versions::of,
    world::{World, content, k, kind},
};

async fn keep_versions(world: &World) -> Result<Arc<Bucket>> {
    let change = |settings: &mut BucketSettings| {
        settings.versioning = Versioning::Enabled;
        Ok(())
    };
    world.shadow.change_versioning(&*world.bucket().await, change).await
}

/// The versions of `k` and their sizes.
async fn listed(world: &World) -> Vec<(VersionId, u64)> {
    let options = ListVersions { limit: 1000, ..ListVersions::default() };
    let page = world.shadow.list_versions(&world.cx, &*world.bucket().await, options).await.unwrap();
    page.versions.iter().map(|listed| (listed.version, listed.object.size)).collect()
}

async fn null_size(world: &World) -> Result<u64> {
    world.shadow.head(&world.cx, &*world.bucket().await, &k("k"), of(VersionId::Null)).await.map(|info| info.size)
}

/// What was read as the null version, or found to be none, stays that.
#[tokio::test]
async fn versions_are_kept_once_nothing_is_half_done() {
    for deletes in [false, true] {
        let world = World::attached(true).await;
        world.put("k", content(10)).await.unwrap();
        let failed = if deletes {
            world.origin.fail_next("delete", Fault::LoseAnswer);
            kind(world.delete("k").await)
        } else {
            world.origin.fail_next("put", Fault::LoseAnswer);
            kind(world.put("k", content(30)).await)
        };
        assert_eq!(failed, ErrorKind::Unavailable);
        let is_as_written = async || {
            if deletes {
                assert!(matches!(kind(null_size(&world).await), ErrorKind::NotFound(_)));
                assert_eq!(listed(&world).await, []);
            } else {
                assert_eq!(null_size(&world).await.unwrap(), 30);
                assert_eq!(listed(&world).await, [(VersionId::Null, 30)]);
            }
        };
        is_as_written().await;
        assert_eq!(kind(keep_versions(&world).await), ErrorKind::Unavailable);
        is_as_written().await;
        world.shadow.start().await.unwrap();
        world.eventually(async || (world.intents().await == 0).then_some(())).await;
        keep_versions(&world).await.unwrap();
        is_as_written().await;
    }
}

#[tokio::test]
async fn writes_under_way_end_before_versions_are_kept() {
    let meta = Arc::new(HeldMeta::default());
    let world = World::bare_over(meta.clone()).await;
    world.attach(true).await;
    let world = Arc::new(world);
    let applied = meta.hold(0, |asked| matches!(asked, Asked::Commit(batch) if settles(batch)));
    let writer = world.clone();
    let written = tokio::spawn(async move { writer.put("k", content(10)).await });
    applied.arrived(&world).await;
    let administrator = world.clone();
    let kept = tokio::spawn(async move { keep_versions(&administrator).await });
    world.eventually(async || world.put("held back", content(1)).await.err().filter(|error| error.kind() == ErrorKind::Unavailable)).await;
    applied.release();
    assert_eq!(written.await.unwrap().unwrap().version, VersionId::Null);
    kept.await.unwrap().unwrap();
    assert_eq!(world.intents().await, 0);
    assert!(matches!(world.put("k", content(20)).await.unwrap().version, VersionId::Named { .. }));
    assert_eq!(null_size(&world).await.unwrap(), 10);
}

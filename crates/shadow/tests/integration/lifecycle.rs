//! Lifecycle rules that change while they are carried out.

use std::{sync::Arc, time::Duration};

use umbra_core::Timestamp;
use umbra_store::{
    Lifecycle, LifecycleDay,
    lifecycle::{Due, Expiration, LifecycleFilter, LifecycleRule},
};

use crate::{
    held_meta::{Asked, HeldMeta},
    world::{World, name},
};

/// Ends what begins with `prefix` at once.
fn ending(prefix: &str) -> Lifecycle {
    let rule = LifecycleRule {
        id: "r".to_owned(),
        enabled: true,
        filter: LifecycleFilter::by_prefix(Some(prefix.to_owned())),
        expiration: Some(Expiration::Objects(Due::Date(Timestamp::from_millis(0)))),
        transitions: Vec::new(),
        noncurrent_expiration: None,
        noncurrent_transitions: Vec::new(),
        abort_uploads_days: None,
    };
    Lifecycle { rules: vec![rule], small_objects_move: false }
}

async fn set(world: &World, lifecycle: &Lifecycle, is_protected: bool) {
    let bucket = world.catalog.bucket(&name()).await.unwrap();
    let mut change = |settings: &mut umbra_store::BucketSettings| {
        let extras = Arc::make_mut(&mut settings.extras);
        extras.lifecycle.clone_from(lifecycle);
        extras.protected = is_protected;
        Ok(())
    };
    world.catalog.update_bucket(&bucket, &mut change).await.unwrap();
    world.shadow.lifecycle_changed();
}

/// A bucket whose object `a/1` the worker just found to be due, held there.
async fn at_the_brink(write_through: Option<bool>) -> (World, Arc<crate::held_meta::Hold>) {
    let meta = Arc::new(HeldMeta::default());
    let world = World::bare_over(meta.clone()).await;
    if let Some(write_through) = write_through {
        world.attach(write_through).await;
    }
    world.put("a/1", "x").await.unwrap();
    world.put("b/1", "x").await.unwrap();
    set(&world, &ending("a/"), false).await;
    let reads_object = |asked: &Asked<'_>| matches!(asked, Asked::Rows(keys) if keys.iter().any(|key| key.starts_with(b"o/")));
    let held = meta.hold(0, reads_object);
    world.shadow.start_lifecycle(LifecycleDay::Short(Duration::from_millis(40)));
    held.arrived(&world).await;
    (world, held)
}

#[tokio::test]
async fn a_rule_that_is_taken_back_ends_nothing_any_more() {
    for write_through in [None, Some(false), Some(true)] {
        let (world, held) = at_the_brink(write_through).await;
        set(&world, &ending("b/"), false).await;
        held.release();
        world.eventually(async || world.here("b/1").await.is_none().then_some(())).await;
        assert!(world.here("a/1").await.is_some(), "{write_through:?}");
        world.shadow.shutdown().await;
    }
}

#[tokio::test]
async fn another_setting_that_changes_keeps_nothing() {
    for write_through in [None, Some(false), Some(true)] {
        let (world, held) = at_the_brink(write_through).await;
        set(&world, &ending("a/"), true).await;
        held.release();
        world.eventually(async || world.here("a/1").await.is_none().then_some(())).await;
        assert!(world.here("b/1").await.is_some());
        world.shadow.shutdown().await;
    }
}

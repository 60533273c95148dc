//! Ordered hydrations: at once, in the background, and never for ever.

use umbra_core::{ErrorKind, ObjectInfo, ReadSource, Result};
use umbra_meta::key;
use umbra_shadow::origin::memory::Fault;
use umbra_store::{GetOptions, Objects};

use crate::world::{World, content, k, kind};

async fn order(world: &World, key: &str) -> Result<ObjectInfo> {
    world.shadow.head_and_schedule(&world.cx, &*world.bucket().await, &k(key), GetOptions::default()).await
}

async fn head(world: &World, key: &str) -> Result<ObjectInfo> {
    world.shadow.head(&world.cx, &*world.bucket().await, &k(key), GetOptions::default()).await
}

#[tokio::test]
async fn an_order_returns_at_once_and_is_carried_out_once() {
    let world = World::attached(false).await;
    world.origin.insert("key", content(300_000), &Default::default());
    let permits = world.origin.slow_down();
    for _ in 0..3 {
        assert_eq!(order(&world, "key").await.unwrap().source, ReadSource::Origin);
    }
    assert_eq!(world.here("key").await, None);
    assert_eq!(head(&world, "key").await.unwrap().source, ReadSource::Origin);
    permits.add_permits(1000);
    assert_eq!(world.hydrated("key").await, content(300_000));
    assert_eq!(head(&world, "key").await.unwrap().source, ReadSource::Local);
    assert_eq!(order(&world, "key").await.unwrap().source, ReadSource::Local);
    assert_eq!(world.origin.gets(), 1);
}

#[tokio::test]
async fn many_orders_all_end_and_no_byte_moves_twice() {
    let world = World::attached(false).await;
    let keys: Vec<String> = (0..200).map(|n| format!("k{n:03}")).collect();
    for key in &keys {
        world.origin.insert(key, content(1000), &Default::default());
    }
    for key in &keys {
        order(&world, key).await.unwrap();
    }
    for key in &keys {
        assert_eq!(world.hydrated(key).await, content(1000));
    }
    assert_eq!((world.origin.gets(), world.origin.bytes()), (200, 200_000));
}

#[tokio::test]
async fn what_the_origin_refuses_ends_as_an_error_and_can_be_ordered_again() {
    let world = World::attached(false).await;
    world.origin.insert("key", "content", &Default::default());
    world.origin.fail_next("get", Fault::Refused);
    order(&world, "key").await.unwrap();
    let failed = world.eventually(async || head(&world, "key").await.err()).await;
    assert_eq!(failed.kind(), ErrorKind::OriginRefused);
    assert_eq!(kind(head(&world, "key").await), ErrorKind::OriginRefused, "not only once");
    assert_eq!(order(&world, "key").await.unwrap().source, ReadSource::Origin);
    assert_eq!(world.hydrated("key").await, "content");
}

#[tokio::test]
async fn an_origin_that_is_away_for_a_moment_is_tried_again() {
    let world = World::attached(false).await;
    world.origin.insert("key", "content", &Default::default());
    world.origin.fail_next("get", Fault::Unavailable);
    order(&world, "key").await.unwrap();
    assert_eq!(world.hydrated("key").await, "content");
    assert_eq!(head(&world, "key").await.unwrap().source, ReadSource::Local);
}

#[tokio::test]
async fn a_write_that_comes_meanwhile_wins() {
    let world = World::attached(false).await;
    for key in ["put", "deleted"] {
        world.origin.insert(key, content(300_000), &Default::default());
    }
    let permits = world.origin.slow_down();
    for key in ["put", "deleted"] {
        order(&world, key).await.unwrap();
    }
    world.eventually(async || (world.origin.gets() == 2).then_some(())).await;
    world.put("put", "newer").await.unwrap();
    world.delete("deleted").await.unwrap();
    permits.add_permits(1000);
    world.shadow.shutdown().await;
    assert_eq!(world.here("put").await.unwrap(), "newer");
    assert_eq!(world.here("deleted").await, None);
    assert!(matches!(kind(head(&world, "deleted").await), ErrorKind::NotFound(_)));
}

#[tokio::test]
async fn what_exists_nowhere_is_not_ordered() {
    let world = World::attached(false).await;
    world.origin.insert("gone", "content", &Default::default());
    world.delete("gone").await.unwrap();
    for key in ["gone", "never"] {
        assert!(matches!(kind(order(&world, key).await), ErrorKind::NotFound(_)), "{key}");
    }
    assert_eq!(world.origin.gets(), 0);
}

#[tokio::test]
async fn orders_end_with_the_shadow() {
    let world = World::attached(false).await;
    let keys: Vec<String> = (0..30).map(|n| format!("k{n:03}")).collect();
    for key in &keys {
        world.origin.insert(key, content(300_000), &Default::default());
    }
    let permits = world.origin.slow_down();
    for key in &keys {
        order(&world, key).await.unwrap();
    }
    world.shadow.detach(&world.cx, &*world.bucket().await, true).await.unwrap();
    let asked = world.origin.gets();
    permits.add_permits(100_000);
    world.shadow.shutdown().await;
    assert_eq!(world.origin.gets(), asked, "no order was carried out behind the detachment");
    assert_eq!(world.here(&keys[29]).await, None);
    assert_eq!(world.rows(key::all_orders()).await, 0);
}

/// What was acknowledged is durable: a restart, in order or not, forgets no order, and what is carried out leaves nothing behind.
#[tokio::test]
async fn orders_survive_restarts() {
    for in_order in [true, false] {
        let world = World::attached(false).await;
        let keys: Vec<String> = (0..30).map(|n| format!("k{n:03}")).collect();
        for key in &keys {
            world.origin.insert(key, content(100_000), &Default::default());
        }
        let permits = world.origin.slow_down();
        for key in &keys {
            order(&world, key).await.unwrap();
        }
        assert_eq!(world.rows(key::all_orders()).await, 30);
        if in_order {
            world.shadow.shutdown().await;
        }
        let world = world.restarted().await;
        permits.add_permits(100_000);
        for key in &keys {
            assert_eq!(world.hydrated(key).await, content(100_000));
        }
        world.eventually(async || (world.rows(key::all_orders()).await == 0).then_some(())).await;
    }
}

/// An order that failed for good is not carried out again by every start.
#[tokio::test]
async fn an_order_that_failed_is_not_kept() {
    let world = World::attached(false).await;
    world.origin.insert("key", "content", &Default::default());
    world.origin.fail_next("get", Fault::Refused);
    order(&world, "key").await.unwrap();
    world.eventually(async || head(&world, "key").await.err()).await;
    assert_eq!(world.rows(key::all_orders()).await, 0);
}

/// Another node's orders are its own.
#[tokio::test]
async fn a_node_leaves_the_orders_of_others_alone() {
    let world = World::attached(false).await;
    world.origin.insert("key", content(300_000), &Default::default());
    let permits = world.origin.slow_down();
    order(&world, "key").await.unwrap();
    world.eventually(async || (world.origin.gets() == 1).then_some(())).await;
    let other = world.beside("other").await;
    other.shadow.start().await.unwrap();
    permits.add_permits(1000);
    world.hydrated("key").await;
    other.shadow.shutdown().await;
    assert_eq!(world.origin.gets(), 1);
}

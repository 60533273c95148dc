//! semantics.md: "A byte leaves the origin at most once, whatever the readers do": also for who comes while a transfer is about to end.

use std::sync::Arc;

use futures::TryStreamExt;
use umbra_core::{HydratePolicy, RangeSpec};
use umbra_meta::key;
use umbra_shadow::{AttachRequest, origin::OriginAttributes};
use umbra_store::{GetOptions, Objects};

use crate::{
    held_meta::HeldMeta,
    world::{World, content, k},
};

const MIB: usize = 1024 * 1024;

/// A transfer that nobody needs any more looks once more at its key: who asks for it meanwhile goes on with what it brought.
#[tokio::test]
async fn a_transfer_that_only_has_to_land_leaves_its_pieces_to_the_next() {
    let meta = Arc::new(HeldMeta::default());
    let world = Arc::new(World::bare_over(meta.clone()).await);
    world.attach(false).await;
    let request = AttachRequest { hydrate: Some(HydratePolicy::Touched), ..AttachRequest::default() };
    world.shadow.attach(&world.cx, &*world.bucket().await, request).await.unwrap();
    world.origin.insert("k", content(5 * MIB), &OriginAttributes::default());
    let options = GetOptions { range: Some(RangeSpec::From { first: 0, last: Some(9) }), ..GetOptions::default() };
    let first = world.shadow.get(&world.cx, &*world.bucket().await, &k("k"), options).await.unwrap();
    let mut body = first.body.into_stream();
    while body.try_next().await.unwrap().is_some() {}
    world.eventually(async || (world.rows(key::all_pieces()).await == 2).then_some(())).await;
    let lands = meta.hold(0, |asked| asked.reads(b"w/"));
    drop(body);
    lands.arrived(&world).await;
    let looks = meta.hold(0, |asked| asked.reads(b"w/"));
    let reader = world.clone();
    let second = tokio::spawn(async move { reader.get_range("k", 0, 9).await });
    looks.arrived(&world).await;
    looks.release();
    // From its look to its transfer it waits for nothing.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    lands.release();
    assert_eq!(second.await.unwrap().unwrap(), content(10));
    assert_eq!(world.origin.bytes(), MIB as u64, "the piece left the origin once");
    assert_eq!(world.rows(key::all_pieces()).await, 2);
}

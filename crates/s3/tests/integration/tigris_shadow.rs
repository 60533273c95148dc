//! A migration as Tigris's clients drive it: set, list both sides, order copies, look until they have come, end.

use std::time::Duration;

use serde_json::json;
use umbra_shadow::origin::memory::Fault;

use crate::{
    client::{Ask, Client, Reply},
    tigris::{metadata, patch, set},
    world::World,
};

async fn attached(world: &World, write_through: bool) -> Client {
    let admin = world.admin().await;
    let shadow = json!({
        "name": "old", "endpoint": "https://old.example", "region": "auto", "access_key": "AK", "secret_key": "SK", "write_through": write_through,
    });
    set(&admin, json!({ "shadow_bucket": shadow })).await;
    admin
}

async fn source(client: &Client, key: &str) -> (u16, Option<String>) {
    let reply = client.send(Ask::head(&format!("/photos/{key}"))).await;
    (reply.status, reply.header("x-tigris-read-source").map(str::to_owned))
}

async fn order(client: &Client, key: &str) -> Reply {
    client.send(Ask::head(&format!("/photos/{key}")).header("x-tigris-schedule-migration", "true")).await
}

async fn keys(client: &Client, source: &str) -> Vec<String> {
    let (mut keys, mut token) = (vec![], String::new());
    loop {
        let uri = format!("/photos/?list-type=2&max-keys=2{token}");
        let page = client.send(Ask::get(&uri).header("x-tigris-list-source", source)).await;
        let here: Vec<String> = page.elements("Key").into_iter().map(str::to_owned).collect();
        let truncated = page.element("IsTruncated") == Some("true");
        assert!(!truncated || !here.is_empty(), "an empty page is taken for the end");
        assert_eq!(page.element("NextContinuationToken").is_some(), truncated, "a token exactly when there is more");
        keys.extend(here);
        match page.element("NextContinuationToken") {
            Some(next) => token = format!("&continuation-token={next}"),
            None => return keys,
        }
    }
}

async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..2000 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not come to pass");
}

#[tokio::test]
async fn every_key_is_listed_ordered_and_comes() {
    let world = World::new().await;
    let admin = attached(&world, false).await;
    for key in ["a", "b", "c", "d", "e"] {
        world.origin.insert(key, format!("content of {key}"), &Default::default());
    }
    admin.send(Ask::delete("/photos/b")).await;
    admin.send(Ask::put("/photos/c").body("newer")).await;
    assert_eq!(keys(&admin, "shadow").await, ["a", "c", "d", "e"], "sorted, and what is gone here stays gone");
    assert_eq!(keys(&admin, "tigris").await, ["c"]);
    let permits = world.origin.slow_down();
    for key in ["a", "d", "e", "a"] {
        let reply = order(&admin, key).await;
        assert_eq!((reply.status, reply.header("x-tigris-read-source")), (200, Some("block_shadow")), "{key}");
    }
    assert_eq!(source(&admin, "a").await, (200, Some("block_shadow".to_owned())));
    permits.add_permits(1000);
    for key in ["a", "d", "e"] {
        until(async || (source(&admin, key).await == (200, None)).then_some(())).await;
        assert_eq!(admin.send(Ask::get(&format!("/photos/{key}"))).await.text(), format!("content of {key}"));
    }
    assert_eq!(keys(&admin, "tigris").await, ["a", "c", "d", "e"]);
    assert_eq!((order(&admin, "c").await.header("x-tigris-read-source"), world.origin.gets()), (None, 3));
    assert_eq!(admin.send(Ask::get("/photos/c")).await.text(), "newer");
    assert_eq!(order(&admin, "b").await.status, 404);
}

#[tokio::test]
async fn a_copy_that_cannot_be_made_ends_the_waiting() {
    let world = World::new().await;
    let admin = attached(&world, false).await;
    world.origin.insert("k", "content", &Default::default());
    world.origin.fail_next("get", Fault::Refused);
    assert_eq!(order(&admin, "k").await.status, 200);
    let failed = until(async || Some(source(&admin, "k").await).filter(|(status, _)| *status != 200)).await;
    assert_eq!(failed, (503, None));
    assert_eq!(order(&admin, "k").await.status, 200, "and can be ordered again");
    until(async || (source(&admin, "k").await == (200, None)).then_some(())).await;
}

#[tokio::test]
async fn an_order_behind_the_signatures_back_is_none() {
    let world = World::new().await;
    let admin = attached(&world, false).await;
    world.origin.insert("k", "content", &Default::default());
    let ask = Ask::head("/photos/k").unsigned("x-tigris-schedule-migration", "true");
    assert_eq!(admin.send(ask).await.header("x-tigris-read-source"), Some("block_shadow"));
    world.shadow.shutdown().await;
    assert_eq!(world.origin.gets(), 0);
}

#[tokio::test]
async fn a_shadow_is_changed_in_parts_and_ends_when_nothing_is_left() {
    let world = World::new().await;
    let admin = attached(&world, false).await;
    world.origin.insert("k", "content", &Default::default());
    // Only what is given changes.
    set(&admin, json!({ "shadow_bucket": { "region": "us-east-1" } })).await;
    set(&admin, json!({ "cache_control": "max-age=1" })).await;
    set(&admin, json!({ "shadow_bucket": null })).await;
    let shown = metadata(&admin).await["shadow_bucket"].clone();
    let expected =
        json!({ "name": "old", "endpoint": "https://old.example", "region": "us-east-1", "access_key": "AK", "write_through": false });
    assert_eq!(shown, expected);
    // Cold objects hold it; the refusal says what to do.
    let refused = patch(&admin, "photos", &json!({ "shadow_bucket": {}, "cache_control": "max-age=2" })).await;
    let message = refused.json()["Message"].as_str().unwrap().to_owned();
    assert_eq!(refused.json_error(), (400, "InvalidRequest".to_owned()));
    assert!(message.contains("1 object is") && message.contains("umbra storage update photos --clear-shadow --force"), "{message}");
    assert_eq!(metadata(&admin).await["cache_control"], "max-age=1", "nothing of a document that fails is done");
    admin.send(Ask::get("/photos/k")).await;
    until(async || (source(&admin, "k").await == (200, None)).then_some(())).await;
    set(&admin, json!({ "shadow_bucket": { "name": "" } })).await;
    assert_eq!(metadata(&admin).await.get("shadow_bucket"), None, "an empty one would be shown as configured");
    assert_eq!(admin.send(Ask::get("/photos/k")).await.text(), "content");
}

#[tokio::test]
async fn an_origin_that_refuses_is_told_at_once() {
    let world = World::new().await;
    let admin = world.admin().await;
    let shadow = json!({ "shadow_bucket": { "name": "old", "endpoint": "https://old.example", "region": "auto", "access_key": "AK", "secret_key": "SK" } });
    for (fault, status) in [(Fault::Refused, 400), (Fault::Unavailable, 503)] {
        world.origin.fail_next("list", fault);
        let refused = patch(&admin, "photos", &shadow).await;
        assert_eq!(refused.status, status);
        assert!(refused.json()["Message"].as_str().unwrap().contains("cannot list the origin's bucket"), "{}", refused.text());
    }
    assert_eq!(metadata(&admin).await.get("shadow_bucket"), None);
}

#[tokio::test]
async fn moves_and_force_reach_the_origin_only_through() {
    for write_through in [false, true] {
        let world = World::new().await;
        let admin = attached(&world, write_through).await;
        world.origin.insert("from", "content", &Default::default());
        let ask = Ask::put("/photos/to").json().header("x-amz-copy-source", "photos/from").header("x-tigris-rename", "true");
        assert_eq!(admin.send(ask).await.status, 200);
        assert_eq!(admin.send(Ask::get("/photos/to")).await.text(), "content");
        assert_eq!(admin.send(Ask::get("/photos/from")).await.status, 404);
        assert_eq!(world.origin.content("from").is_some(), !write_through, "write-through {write_through}");
        assert_eq!(world.origin.content("to").is_some(), write_through, "write-through {write_through}");
        let writes = world.origin.writes();
        assert_eq!(admin.send(Ask::delete("/photos/").header("tigris-force-delete", "true")).await.status, 204);
        assert_eq!(world.origin.writes(), writes, "a bucket that goes takes nothing of the origin's with it");
    }
}

//! Who may use Tigris's requests: they are verified as strictly as S3's.

use std::time::Duration;

use serde_json::json;
use umbra_core::BucketName;
use umbra_store::{NewKey, Role};

use crate::{
    client::{Ask, Client},
    tigris::{metadata, patch, set},
    world::World,
};

fn change() -> Ask {
    Ask::method("PATCH", "/photos").json().body(r#"{"cache_control":"max-age=1"}"#)
}

#[tokio::test]
async fn a_signature_must_be_whole_and_fresh_and_cover_the_body() {
    let world = World::new().await;
    let admin = world.admin().await;
    let (id, _) = admin.key.clone().unwrap();
    let forger = Client { address: world.address, key: Some((id, "not the secret".to_owned())) };
    let quarter = Duration::from_secs(20 * 60);
    let cases = [
        ("unsigned", world.anonymous().send(change()).await, 403, "AccessDenied"),
        ("forged", forger.send(change()).await, 403, "SignatureDoesNotMatch"),
        ("stale", admin.send(change().aged(quarter)).await, 403, "RequestTimeTooSkewed"),
        ("in the query", admin.send(change().presigned(Duration::ZERO, Duration::from_secs(60))).await, 501, "NotImplemented"),
        ("a body not covered", admin.send(change().hash("UNSIGNED-PAYLOAD")).await, 400, "InvalidRequest"),
        ("another body", admin.send(change().hash(&"0".repeat(64))).await, 400, "XAmzContentSHA256Mismatch"),
        ("a header not signed", admin.send(change().unsigned("x-amz-acl", "public-read")).await, 403, "AccessDenied"),
        (
            "a stranger's key",
            Client { address: world.address, key: Some(("no".into(), "no".into())) }.send(change()).await,
            403,
            "InvalidAccessKeyId",
        ),
    ];
    for (name, reply, status, code) in cases {
        assert_eq!(reply.json_error(), (status, code.to_owned()), "{name}");
    }
    assert_eq!(metadata(&admin).await.get("cache_control"), None);
    for ask in [
        Ask::get("/").json(),
        Ask::get("/photos?metadata").json(),
        Ask::get("/users/whoami").json(),
        Ask::post("/?func=presign").json().body("{}"),
    ] {
        assert_eq!(world.anonymous().send(ask.clone()).await.json_error(), (403, "AccessDenied".to_owned()), "{ask:?}");
        assert_eq!(forger.send(ask.clone()).await.json_error(), (403, "SignatureDoesNotMatch".to_owned()), "{ask:?}");
    }
    // Nor does a public bucket tell anybody how it is set.
    world.make_public("photos").await;
    assert_eq!(world.anonymous().send(Ask::get("/photos?metadata").json()).await.status, 403);
}

#[tokio::test]
async fn roles_and_organizations_bound_what_is_seen_and_changed() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.send(Ask::put("/other")).await;
    let scoped =
        NewKey { organization: Some("acme".into()), role: Role::Admin, bucket: Some(BucketName::parse("other").unwrap()), fixed: None };
    let scoped = world.catalog.create_key(scoped).await.unwrap();
    let scoped = Client { address: world.address, key: Some((scoped.id, scoped.secret.expose().to_owned())) };
    let (reader, editor) = (world.client(Some("acme"), Role::Reader).await, world.client(Some("acme"), Role::Editor).await);
    let (stranger, root) = (world.client(Some("evil"), Role::Admin).await, world.client(None, Role::Admin).await);
    for (name, client, shows, changes, lists) in [
        ("reader", &reader, 200, 403, 2),
        ("editor", &editor, 200, 403, 2),
        ("admin of another bucket", &scoped, 403, 403, 1),
        ("stranger", &stranger, 403, 403, 0),
        ("root", &root, 200, 200, 2),
        ("admin", &admin, 200, 200, 2),
    ] {
        assert_eq!(client.send(Ask::get("/photos?metadata").json()).await.status, shows, "{name}");
        assert_eq!(client.send(change()).await.status, changes, "{name}");
        assert_eq!(client.send(Ask::get("/").json()).await.json()["Buckets"]["Bucket"].as_array().unwrap().len(), lists, "{name}");
    }
    let stats = stranger.send(Ask::get("/?IncludeStats=true").json()).await.json();
    assert_eq!(stats["Stats"]["ActiveBuckets"], 0);
    assert_eq!(stats["Owner"]["ID"], "evil");
    let whoami = stranger.send(Ask::get("/users/whoami").json()).await.json();
    assert_eq!(whoami, json!({ "UserId": stranger.key.unwrap().0, "NamespaceId": "evil" }));
}

#[tokio::test]
async fn who_may_not_manage_a_bucket_is_not_told_how_it_reaches_others() {
    let world = World::new().await;
    let admin = world.admin().await;
    world.origin.insert("k", "content", &Default::default());
    let shadow = json!({ "name": "old", "endpoint": "https://old.example", "region": "auto", "access_key": "AKORIGIN", "secret_key": "SKORIGIN", "write_through": false });
    set(&admin, json!({ "shadow_bucket": shadow, "object_notifications": { "web_hook": "https://hook.example/private-path" } })).await;
    let shown = metadata(&admin).await;
    assert_eq!(
        shown["shadow_bucket"],
        json!({ "name": "old", "endpoint": "https://old.example", "region": "auto", "access_key": "AKORIGIN", "write_through": false })
    );
    assert!(!shown.to_string().contains("SKORIGIN"), "the secret is never told");
    let shown = metadata(&world.client(Some("acme"), Role::Editor).await).await.to_string();
    assert!(!shown.contains("AKORIGIN") && !shown.contains("private-path"), "{shown}");
}

#[tokio::test]
async fn an_object_may_have_the_path_of_a_request_of_tigriss() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.send(Ask::put("/users")).await;
    admin.send(Ask::put("/users/whoami").body("an object")).await;
    assert_eq!(admin.send(Ask::get("/users/whoami")).await.text(), "an object");
    assert_eq!(patch(&admin, "users/whoami", &json!({})).await.json_error(), (405, "MethodNotAllowed".to_owned()));
}

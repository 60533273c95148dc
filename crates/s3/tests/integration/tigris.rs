//! What Tigris's clients set and read, and the traps of their protocol.

use std::time::Duration;

use serde_json::{Value, json};
use umbra_core::BucketName;
use umbra_store::{HookAuth, Role};

use crate::{
    client::{Ask, Client, Reply},
    world::World,
};

pub(crate) async fn patch(client: &Client, bucket: &str, document: &Value) -> Reply {
    client.send(Ask::method("PATCH", &format!("/{bucket}")).json().body(document.to_string())).await
}

pub(crate) async fn set(client: &Client, document: Value) {
    let reply = patch(client, "photos", &document).await;
    assert_eq!((reply.status, reply.json()), (200, json!({ "status": "success" })), "{document}");
}

pub(crate) async fn metadata(client: &Client) -> Value {
    let reply = client.send(Ask::get("/photos?metadata&with-size=true").json()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[tokio::test]
async fn a_bucket_is_described() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.send(Ask::put("/photos/k").body("content")).await;
    let shown = metadata(&admin).await;
    let expected = json!({
        "name": "photos", "type": 0, "object_regions": "", "storage_class": "STANDARD",
        "estimated_unique_rows": 1, "estimated_rows": 1, "estimated_size": 7,
        "acl_settings": { "allow_object_acl": false }, "protection": { "protected": false }, "soft_delete": { "enabled": false },
        "ForkInfo": { "HasChildren": false, "Parents": [] },
        "md": { "X-Amz-Acl": "private", "x-amz-acl-public-list-objects-enabled": "false" },
    });
    assert_eq!(shown, expected, "and nothing of what is not set: an empty member would be shown as set");
    // With a slash behind the bucket too.
    assert_eq!(admin.send(Ask::get("/photos/?metadata").json()).await.json(), expected);
}

#[tokio::test]
async fn settings_are_kept_and_one_change_leaves_the_others_alone() {
    let world = World::new().await;
    let admin = world.admin().await;
    let rules = json!([{ "id": "r", "status": 1, "expiration": { "days": 3, "enabled": true }, "filter": { "prefix": "tmp/" } }]);
    let cors = json!({ "rules": [{ "allowedOrigin": ["*"], "allowedMethods": ["GET"], "allowedHeaders": [], "exposeHeaders": [], "maxAge": 60 }] });
    let settings = [
        ("object_regions", json!("iad,fra")),
        ("storage_class", json!("GLACIER_IR")),
        ("cache_control", json!("max-age=60")),
        ("website", json!({ "domain_name": "a.example.com" })),
        ("acl_settings", json!({ "allow_object_acl": true })),
        ("protection", json!({ "protected": true })),
        ("additional_http_headers", json!({ "X-Content-Type-Options": "nosniff" })),
        ("lifecycle_rules", rules),
        ("cors", cors),
        ("object_notifications", json!({ "enabled": true, "web_hook": "https://hook.example/x", "filter": "" })),
    ];
    for (name, value) in &settings {
        set(&admin, json!({ *name: value })).await;
        // Read-your-writes: `lifecycle create` looks for its rule at once.
        assert_eq!(metadata(&admin).await[*name], *value);
    }
    set(&admin, json!({})).await;
    // As Terraform's provider writes what it does not change.
    set(&admin, json!({ "shadow_bucket": null, "website": null, "protection": null })).await;
    let shown = metadata(&admin).await;
    for (name, value) in &settings {
        assert_eq!(shown[*name], *value);
    }
    let cleared = json!({
        "cors": null, "additional_http_headers": null, "object_notifications": {}, "lifecycle_rules": [], "object_regions": "",
        "website": { "domain_name": "" }, "cache_control": "", "storage_class": "STANDARD", "protection": { "protected": false },
    });
    set(&admin, cleared).await;
    let shown = metadata(&admin).await;
    for gone in ["cors", "additional_http_headers", "object_notifications", "lifecycle_rules", "website", "cache_control"] {
        assert_eq!(shown.get(gone), None, "{gone}");
    }
    assert_eq!((&shown["object_regions"], &shown["storage_class"]), (&json!(""), &json!("STANDARD")));
}

#[tokio::test]
async fn what_is_not_done_or_makes_no_sense_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let admin = world.admin().await;
    let before = metadata(&admin).await;
    let cases = [
        (json!({ "type": 1 }), 501, "NotImplemented"),
        (json!({ "soft_delete": { "enabled": true, "retention_days": 7 } }), 501, "NotImplemented"),
        (json!({ "shares": [{ "team_id": "all", "role": "Editor" }] }), 501, "NotImplemented"),
        (json!({ "something_new": 1 }), 501, "NotImplemented"),
        (json!({ "cache_control": "max-age=1", "object_regions": "a,b,c" }), 400, "InvalidArgument"),
        (json!({ "cache_control": "a\r\nb: c" }), 400, "InvalidArgument"),
        (json!({ "cache_control": 7 }), 400, "InvalidArgument"),
        (json!({ "storage_class": "FAST" }), 400, "InvalidArgument"),
        (json!({ "website": { "domain_name": "a b" } }), 400, "InvalidArgument"),
        (json!({ "protection": { "protected": "yes" } }), 400, "InvalidArgument"),
        (json!({ "additional_http_headers": { "x-amz-meta-a": "b" } }), 400, "InvalidArgument"),
        (json!({ "additional_http_headers": { "a b": "c" } }), 400, "InvalidArgument"),
        (json!({ "cors": { "rules": [{ "allowedOrigin": [], "allowedMethods": ["GET"] }] } }), 400, "InvalidRequest"),
        (json!({ "cors": { "rules": 7 } }), 400, "InvalidRequest"),
        (json!({ "lifecycle_rules": [{ "id": "a", "status": 1 }] }), 400, "InvalidArgument"),
        (json!({ "object_notifications": { "web_hook": "ftp://a" } }), 400, "InvalidArgument"),
        (json!({ "object_notifications": { "web_hook": "https://a", "auth": { "token": "********" } } }), 400, "InvalidArgument"),
        (json!({ "shadow_bucket": 7 }), 400, "InvalidRequest"),
        (json!({ "shadow_bucket": { "name": "b" } }), 400, "InvalidArgument"),
        (json!([]), 400, "InvalidRequest"),
    ];
    for (document, status, code) in cases {
        assert_eq!(patch(&admin, "photos", &document).await.json_error(), (status, code.to_owned()), "{document}");
    }
    let ask = || Ask::method("PATCH", "/photos").json();
    assert_eq!(admin.send(ask().body("{")).await.json_error().0, 400);
    assert_eq!(
        admin.send(ask().body(format!("{{\"cache_control\":\"{}\"}}", "a".repeat(200_000)))).await.json_error(),
        (400, "EntityTooLarge".to_owned())
    );
    assert_eq!(patch(&admin, "nowhere", &json!({})).await.json_error(), (404, "NoSuchBucket".to_owned()));
    assert_eq!(metadata(&admin).await, before);
}

#[tokio::test]
async fn access_is_changed_by_headers_alone() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.send(Ask::put("/photos/k").body("content")).await;
    let ask = |acl: &str, lists: &str| {
        let ask = Ask::method("PATCH", "/photos").json().header("x-amz-acl", acl);
        ask.header("x-amz-acl-public-list-objects-enabled", lists).body("{}")
    };
    let everyone = world.anonymous();
    let seen = async || (everyone.send(Ask::get("/photos/k")).await.status, everyone.send(Ask::get("/photos?list-type=2")).await.status);
    assert_eq!(seen().await, (403, 403));
    for (acl, lists, expected) in
        [("public-read", "false", (200, 403)), ("public-read", "true", (200, 200)), ("private", "true", (403, 403))]
    {
        assert_eq!(admin.send(ask(acl, lists)).await.status, 200);
        assert_eq!(seen().await, expected, "{acl} {lists}");
    }
    assert_eq!(admin.send(ask("public-read-write", "false")).await.json_error().0, 501);
}

#[tokio::test]
async fn buckets_are_created_as_their_headers_say() {
    let world = World::new().await;
    let admin = world.admin().await;
    let body = "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>auto</LocationConstraint></CreateBucketConfiguration>";
    let ask = |uri: &str| Ask::put(uri).region("auto").header("content-type", "application/xml").body(body);
    let created = admin
        .send(
            ask("/made/")
                .header("x-amz-acl", "public-read")
                .header("x-amz-acl-public-list-objects-enabled", "true")
                .header("x-amz-storage-class", "STANDARD_IA")
                .header("x-tigris-regions", "iad,fra"),
        )
        .await;
    assert_eq!((created.status, created.header("location")), (200, Some("/made")), "{}", created.text());
    let shown = admin.send(Ask::get("/made?metadata").json()).await.json();
    assert_eq!((&shown["object_regions"], &shown["storage_class"]), (&json!("iad,fra"), &json!("STANDARD_IA")));
    assert_eq!(shown["md"], json!({ "X-Amz-Acl": "public-read", "x-amz-acl-public-list-objects-enabled": "true" }));
    assert_eq!(admin.send(ask("/made/")).await.error(), (409, "BucketAlreadyOwnedByYou"));
    assert_eq!(admin.send(Ask::put("/made")).await.error(), (409, "BucketAlreadyExists"));
    // Behind the signature's back nothing is decided.
    assert_eq!(admin.send(ask("/plain/").unsigned("x-tigris-regions", "iad")).await.status, 200);
    assert_eq!(admin.send(Ask::get("/plain?metadata").json()).await.json()["object_regions"], "");
}

#[tokio::test]
async fn snapshots_and_forks_are_refused_instead_of_creating_buckets() {
    let world = World::new().await;
    let admin = world.admin().await;
    let cases = [
        ("x-tigris-snapshot", "true; name=nightly"),
        ("x-tigris-enable-snapshot", "true"),
        ("x-tigris-fork-source-bucket", "photos"),
        ("x-tigris-rebase", "true"),
        ("x-tigris-merge-source-bucket", "fork"),
        ("x-tigris-soft-delete", "7"),
    ];
    for (name, value) in cases {
        for uri in ["/made/", "/made"] {
            assert_eq!(admin.send(Ask::put(uri).header(name, value)).await.error(), (501, "NotImplemented"), "{uri} {name}");
        }
        assert_eq!(admin.send(Ask::put("/made").json().header(name, value)).await.json_error(), (501, "NotImplemented".to_owned()));
    }
    assert_eq!(admin.send(Ask::head("/made")).await.status, 404);
    admin.send(Ask::put("/photos/k").body("now")).await;
    let then = Ask::get("/photos/k").header("x-tigris-snapshot-version", "1795330388314316829");
    assert_eq!(admin.send(then).await.error(), (501, "NotImplemented"), "now is not then");
    assert_eq!(admin.send(Ask::post("/photos?bundle=").json().body("{}")).await.json_error(), (501, "NotImplemented".to_owned()));
    assert_eq!(admin.send(Ask::head("/photos")).await.header("x-tigris-enable-snapshot"), Some("false"));
}

#[tokio::test]
async fn errors_come_in_the_form_that_was_asked_for() {
    let world = World::new().await;
    let admin = world.admin().await;
    assert_eq!(admin.send(Ask::get("/nowhere?metadata").json()).await.json_error(), (404, "NoSuchBucket".to_owned()));
    assert_eq!(admin.send(Ask::get("/nowhere?list-type=2")).await.error(), (404, "NoSuchBucket"));
    // An upload of JSON is S3's business.
    let upload = Ask::put("/nowhere/k").header("content-type", "application/json").body("{}");
    assert_eq!(admin.send(upload).await.error(), (404, "NoSuchBucket"));
    let copy = Ask::put("/photos/k").header("content-type", "application/json").header("x-amz-copy-source", "photos/none");
    assert_eq!(admin.send(copy).await.json_error(), (404, "NoSuchKey".to_owned()));
    // The same path, by what is asked for.
    assert_eq!(admin.send(Ask::get("/")).await.elements("Name"), ["photos"]);
    assert_eq!(admin.send(Ask::get("/").json()).await.json()["Buckets"]["Bucket"][0]["Name"], "photos");
}

#[tokio::test]
async fn buckets_are_listed_page_by_page() {
    let world = World::new().await;
    let admin = world.admin().await;
    for name in ["alpha", "beta"] {
        admin.send(Ask::put(&format!("/{name}"))).await;
    }
    admin.send(Ask::put("/beta/k").body("12345")).await;
    let (mut names, mut token) = (vec![], String::new());
    loop {
        let uri = format!("/?IncludeVisibility=true&IncludeRegionsInfo=true&max-buckets=2&continuation-token={token}");
        let page = admin.send(Ask::get(&uri).json()).await.json();
        let buckets = page["Buckets"]["Bucket"].as_array().unwrap().clone();
        assert!(buckets.iter().all(|bucket| bucket["CreationDate"].as_str().is_some_and(|date| date.ends_with('Z'))));
        names.extend(buckets.iter().map(|bucket| bucket["Name"].as_str().unwrap().to_owned()));
        token = page["ContinuationToken"].as_str().unwrap().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["alpha", "beta", "photos"]);
    let stats = admin.send(Ask::get("/?IncludeStats=true").json()).await.json()["Stats"].clone();
    assert_eq!(stats, json!({ "ActiveBuckets": 3, "TotalObjects": 1, "TotalUniqueObjects": 1, "TotalStorageBytes": 5 }));
    assert_eq!(admin.send(Ask::get("/?OnlyDeleted=true").json()).await.json_error().0, 501);
}

#[tokio::test]
async fn copies_keep_the_type_of_their_source_and_moves_leave_nothing() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.send(Ask::put("/photos/a%20b").header("content-type", "image/png").header("x-amz-meta-n", "1").body("content")).await;
    let copy =
        |to: &str| Ask::put(to).region("auto").header("content-type", "application/json").header("x-amz-copy-source", "photos/a%20b");
    assert_eq!(admin.send(copy("/photos/c?x-id=CopyObject")).await.status, 200);
    let copied = admin.send(Ask::get("/photos/c")).await;
    assert_eq!((copied.header("content-type"), copied.header("x-amz-meta-n"), copied.text()), (Some("image/png"), Some("1"), "content"));
    assert_eq!(admin.send(copy("/photos/d").header("x-tigris-rename", "true")).await.status, 200);
    assert_eq!(admin.send(Ask::head("/photos/d")).await.header("content-type"), Some("image/png"));
    assert_eq!(admin.send(Ask::head("/photos/a%20b")).await.status, 404);
}

#[tokio::test]
async fn objects_have_acls_beside_their_bucket() {
    let world = World::new().await;
    let admin = world.admin().await;
    let put = |acl: &str| Ask::put("/photos/k").header("x-amz-acl", acl).body("content");
    assert_eq!(admin.send(put("private")).await.status, 200, "it comes with every upload");
    let everyone = world.anonymous();
    let seen = async || everyone.send(Ask::get("/photos/k")).await.status;
    assert_eq!(seen().await, 403);
    assert_eq!(admin.send(put("public-read")).await.status, 200);
    assert_eq!(seen().await, 200);
    assert_eq!(admin.send(put("private")).await.status, 200);
    assert_eq!(seen().await, 403);
    let presigned = Ask::put("/photos/k?x-amz-acl=public-read").presigned(Duration::ZERO, Duration::from_secs(60)).body("content");
    assert_eq!(admin.send(presigned).await.status, 200);
    assert_eq!(seen().await, 200);
    // With the checksum of nothing, as the client sends it.
    let change = |acl: &str| {
        let ask = Ask::put("/photos/k?acl=").header("x-amz-acl", acl).header("x-amz-sdk-checksum-algorithm", "CRC32");
        ask.header("x-amz-checksum-crc32", "AAAAAA==")
    };
    assert_eq!(admin.send(change("private")).await.status, 200);
    assert_eq!(seen().await, 403);
    world.make_public("photos").await;
    assert_eq!(seen().await, 200);
    assert_eq!(admin.send(change("public-read")).await.status, 200);
    assert_eq!(admin.send(change("private")).await.status, 200);
    assert_eq!(seen().await, 403, "what was asked to be private is, in a public bucket too");
    assert_eq!(admin.send(put("public-read")).await.status, 200);
    assert_eq!(seen().await, 200);
    assert_eq!(admin.send(Ask::put("/photos/none?acl=").header("x-amz-acl", "public-read")).await.error(), (404, "NoSuchKey"));
}

#[tokio::test]
async fn presigned_uploads_ignore_the_checksum_of_nothing() {
    let world = World::new().await;
    let admin = world.admin().await;
    let uri = "/photos/k?x-amz-meta-a=b&x-amz-acl=private&x-amz-sdk-checksum-algorithm=CRC32&x-amz-checksum-crc32=AAAAAA%3D%3D";
    let ask = Ask::put(uri).presigned(Duration::ZERO, Duration::from_secs(60)).body("content");
    assert_eq!(admin.send(ask).await.status, 200);
    let read = admin.send(Ask::get("/photos/k")).await;
    assert_eq!((read.text(), read.header("x-amz-meta-a")), ("content", Some("b")));
    // The SDK has its users repeat as headers what the query says; another value is nobody's to choose.
    let repeated = |value| {
        let ask = Ask::put("/photos/l?x-amz-meta-a=b").presigned(Duration::ZERO, Duration::from_secs(60)).body("content");
        ask.unsigned("x-amz-meta-a", value)
    };
    assert_eq!(admin.send(repeated("c")).await.error(), (403, "AccessDenied"));
    assert_eq!(admin.send(repeated("b")).await.status, 200);
    assert_eq!(admin.send(Ask::get("/photos/l")).await.header("x-amz-meta-a"), Some("b"));
}

#[tokio::test]
async fn urls_are_signed_for_who_asks() {
    let world = World::new().await;
    let admin = world.admin().await;
    let (id, _) = admin.key.clone().unwrap();
    let ask = |kind: &str, key_id: &str, expires: u64| {
        let document = json!({ "bucket": "photos", "key": "a b/ü", "key_id": key_id, "type": kind, "expires_in": expires });
        Ask::post("/?func=presign").json().body(document.to_string())
    };
    let url = async |kind| {
        let url = admin.send(ask(kind, &id, 60)).await.json()["url"].as_str().unwrap().to_owned();
        url.strip_prefix(&format!("http://{}", world.address)).unwrap().to_owned()
    };
    let everyone = world.anonymous();
    let put = url("put").await;
    assert_eq!(everyone.send(Ask::put(&put).body("content")).await.status, 200);
    assert_eq!(everyone.send(Ask::get(&put)).await.status, 403, "it is for one method");
    assert_eq!(everyone.send(Ask::get(&url("get").await)).await.text(), "content");
    let other = world.client(Some("acme"), Role::Admin).await.key.unwrap().0;
    assert_eq!(admin.send(ask("get", &other, 60)).await.json_error(), (403, "AccessDenied".to_owned()));
    for (kind, expires) in [("delete", 60), ("get", 0), ("get", 604_801)] {
        assert_eq!(admin.send(ask(kind, &id, expires)).await.json_error(), (400, "InvalidArgument".to_owned()), "{kind} {expires}");
    }
}

#[tokio::test]
async fn reads_carry_what_the_bucket_adds() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.send(Ask::put("/photos/own").header("cache-control", "no-store").body("content")).await;
    admin.send(Ask::put("/photos/none").body("content")).await;
    set(&admin, json!({ "cache_control": "max-age=60", "additional_http_headers": { "X-Content-Type-Options": "nosniff" } })).await;
    for (key, expected) in [("own", "no-store"), ("none", "max-age=60")] {
        for ask in [Ask::get(&format!("/photos/{key}")), Ask::head(&format!("/photos/{key}"))] {
            let reply = admin.send(ask).await;
            assert_eq!((reply.header("cache-control"), reply.header("x-content-type-options")), (Some(expected), Some("nosniff")), "{key}");
        }
    }
}

#[tokio::test]
async fn a_protected_bucket_stays() {
    let world = World::new().await;
    let admin = world.admin().await;
    set(&admin, json!({ "protection": { "protected": true } })).await;
    let by_force = || Ask::delete("/photos/").header("tigris-force-delete", "true");
    assert_eq!(admin.send(by_force()).await.error(), (403, "AccessDenied"));
    assert_eq!(admin.send(Ask::delete("/photos")).await.error(), (403, "AccessDenied"));
    set(&admin, json!({ "protection": { "protected": false } })).await;
    admin.send(Ask::put("/photos/k").body("content")).await;
    assert_eq!(admin.send(Ask::delete("/photos/")).await.error(), (409, "BucketNotEmpty"));
    assert_eq!(admin.send(by_force()).await.status, 204);
}

#[tokio::test]
async fn the_secret_of_a_web_hook_is_kept_and_never_shown() {
    let world = World::new().await;
    let admin = world.admin().await;
    let hook = |auth: Value, filter: &str| json!({ "object_notifications": { "enabled": true, "web_hook": "https://a.example", "filter": filter, "auth": auth } });
    set(&admin, hook(json!({ "token": "s3cret-token" }), "")).await;
    let shown = metadata(&admin).await;
    assert_eq!(shown["object_notifications"]["auth"], json!({ "token": "********" }));
    assert!(!shown.to_string().contains("s3cret"));
    // Clients read all, change one thing, and write all of it back.
    set(&admin, hook(shown["object_notifications"]["auth"].clone(), "size > 5")).await;
    let bucket = world.catalog.bucket(&BucketName::parse("photos").unwrap()).await.unwrap();
    let kept = bucket.settings.extras.notifications.clone().unwrap();
    let auth = kept.auth.unwrap();
    let secret = world.catalog.sealer().open(&HookAuth::seal_context(&bucket), &auth.secret).unwrap();
    assert_eq!((kept.filter.as_str(), auth.user, secret.expose()), ("size > 5", None, "s3cret-token"));
    set(&admin, hook(json!({ "basic_user": "u", "basic_pass": "p4ss" }), "")).await;
    assert_eq!(metadata(&admin).await["object_notifications"]["auth"], json!({ "basic_user": "u", "basic_pass": "********" }));
    assert_eq!(patch(&admin, "photos", &hook(json!({ "token": "********" }), "")).await.status, 400, "there is no token to keep");
}

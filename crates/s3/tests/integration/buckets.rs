//! Buckets through S3.

use umbra_s3::S3Settings;
use umbra_store::Role;

use crate::{client::Ask, world::World};

#[tokio::test]
async fn a_bucket_lives_and_dies() {
    let world = World::new().await;
    let admin = world.client(Some("acme"), Role::Admin).await;
    let configuration = "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>auto</LocationConstraint></CreateBucketConfiguration>";
    let created = admin.send(Ask::put("/photos").body(configuration)).await;
    assert_eq!((created.status, created.header("location")), (200, Some("/photos")));
    assert_eq!(admin.send(Ask::put("/photos").body(configuration)).await.error(), (409, "BucketAlreadyOwnedByYou"));
    assert_eq!(admin.send(Ask::put("/photos")).await.status, 200, "as in S3's first region");
    assert_eq!(admin.send(Ask::put("/photos").header("x-amz-acl", "public-read")).await.error(), (409, "BucketAlreadyExists"));
    let stranger = world.client(Some("evil"), Role::Admin).await;
    assert_eq!(stranger.send(Ask::put("/photos")).await.error(), (409, "BucketAlreadyExists"));

    let head = admin.send(Ask::head("/photos")).await;
    assert_eq!((head.status, head.header("x-amz-bucket-region")), (200, Some("us-east-1")));
    assert!(admin.send(Ask::get("/photos?location")).await.text().contains("LocationConstraint"));
    let versioning = admin.send(Ask::get("/photos?versioning")).await;
    assert_eq!((versioning.status, versioning.element("Status")), (200, None));

    assert_eq!(admin.send(Ask::put("/photos/a").body("x")).await.status, 200);
    assert_eq!(admin.send(Ask::delete("/photos")).await.error(), (409, "BucketNotEmpty"));
    assert_eq!(admin.send(Ask::delete("/photos/a")).await.status, 204);
    assert_eq!(admin.send(Ask::delete("/photos")).await.status, 204);
    assert_eq!(admin.send(Ask::head("/photos")).await.status, 404);
    assert_eq!(admin.send(Ask::get("/photos")).await.error(), (404, "NoSuchBucket"));
}

#[tokio::test]
async fn names_are_checked() {
    let world = World::new().await;
    let admin = world.client(Some("acme"), Role::Admin).await;
    for name in ["ab", "Photos", "a_b", "10.0.0.1", "-abc", "abc-s3alias"] {
        assert_eq!(admin.send(Ask::put(&format!("/{name}"))).await.error(), (400, "InvalidBucketName"), "{name}");
    }
}

#[tokio::test]
async fn buckets_are_listed_in_pages_and_only_ones_own() {
    let world = World::new().await;
    let admin = world.client(Some("acme"), Role::Admin).await;
    let stranger = world.client(Some("evil"), Role::Admin).await;
    for name in ["aaa", "bbb", "bcc", "ccc"] {
        assert_eq!(admin.send(Ask::put(&format!("/{name}"))).await.status, 200);
    }
    assert_eq!(stranger.send(Ask::put("/theirs")).await.status, 200);
    let all = admin.send(Ask::get("/")).await;
    assert_eq!(all.elements("Name"), ["aaa", "bbb", "bcc", "ccc"]);
    assert_eq!(all.element("ID"), Some("acme"));
    assert_eq!(stranger.send(Ask::get("/")).await.elements("Name"), ["theirs"]);

    let first = admin.send(Ask::get("/?max-buckets=3")).await;
    assert_eq!(first.elements("Name"), ["aaa", "bbb", "bcc"]);
    let token = first.element("ContinuationToken").unwrap();
    let second = admin.send(Ask::get(&format!("/?continuation-token={token}&max-buckets=3"))).await;
    assert_eq!((second.elements("Name"), second.element("ContinuationToken")), (vec!["ccc"], None));
    assert_eq!(admin.send(Ask::get("/?prefix=b")).await.elements("Name"), ["bbb", "bcc"]);
    assert_eq!(admin.send(Ask::get("/?max-buckets=0")).await.error(), (400, "InvalidArgument"));
    let root = world.client(None, Role::Admin).await;
    assert_eq!(root.send(Ask::get("/")).await.elements("Name"), ["aaa", "bbb", "bcc", "ccc", "theirs"]);
}

#[tokio::test]
async fn a_root_key_creates_buckets_in_the_default_organization() {
    let world =
        World::with(S3Settings { default_organization: "home".to_owned(), region: "fra".to_owned(), ..S3Settings::default() }).await;
    let root = world.client(None, Role::Admin).await;
    assert_eq!(root.send(Ask::put("/photos")).await.status, 200);
    assert_eq!(root.send(Ask::put("/photos")).await.error(), (409, "BucketAlreadyOwnedByYou"));
    let home = world.client(Some("home"), Role::Reader).await;
    assert_eq!(home.send(Ask::get("/")).await.elements("Name"), ["photos"]);
    assert!(root.send(Ask::get("/photos?location")).await.text().contains(">fra<"));
}

#[tokio::test]
async fn unknown_sub_resources_change_nothing() {
    let world = World::new().await;
    let admin = world.admin().await;
    for query in ["metadataConfiguration", "something-new", "something=new", "versioning", "acl", "uploadId=x"] {
        assert_eq!(admin.send(Ask::delete(&format!("/photos?{query}"))).await.error(), (501, "NotImplemented"), "{query}");
    }
    assert_eq!(admin.send(Ask::head("/photos")).await.status, 200);
    assert_eq!(admin.send(Ask::get("/photos?policy")).await.error(), (404, "NoSuchBucketPolicy"));
}

#[tokio::test]
async fn hosts_can_name_the_bucket() {
    let world = World::with(S3Settings { domain: Some("s3.example.com".to_owned()), ..S3Settings::default() }).await;
    let mut anonymous = world.anonymous();
    let admin = world.admin().await;
    world.make_public("photos").await;
    assert_eq!(admin.send(Ask::put("/photos/a/b").body("content")).await.status, 200);
    let raw = |host: &str, path: &str| format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    anonymous.key = None;
    for (host, path, expected) in [
        ("photos.s3.example.com", "/a/b", "200"),
        ("photos.s3.example.com:9000", "/a/b", "200"),
        ("s3.example.com", "/photos/a/b", "200"),
        ("localhost:9000", "/photos/a/b", "200"),
        ("elsewhere.org", "/photos/a/b", "200"),
        ("others.s3.example.com", "/a/b", "404"),
    ] {
        let answer = anonymous.send_raw(raw(host, path).as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{host}{path}: {answer}");
    }
}

#[tokio::test]
async fn a_signed_header_deletes_a_bucket_by_force() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.send(Ask::put("/photos/a").body("x")).await;
    assert_eq!(admin.send(Ask::delete("/photos").unsigned("tigris-force-delete", "true")).await.error(), (409, "BucketNotEmpty"));
    let editor = world.client(Some("acme"), Role::Editor).await;
    assert_eq!(editor.send(Ask::delete("/photos").header("tigris-force-delete", "true")).await.error(), (403, "AccessDenied"));
    assert_eq!(admin.send(Ask::delete("/photos").header("tigris-force-delete", "true")).await.status, 204);
    assert_eq!(admin.send(Ask::head("/photos")).await.status, 404);
}

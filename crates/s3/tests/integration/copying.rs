//! Copies.

use umbra_store::Role;

use crate::{client::Ask, world::World};

#[tokio::test]
async fn a_copy_inherits_or_replaces() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin
        .send(
            Ask::put("/photos/a%20b")
                .header("x-amz-meta-m", "1")
                .header("content-type", "text/plain")
                .header("x-amz-tagging", "t=1")
                .body("hello"),
        )
        .await;
    let copied = admin.send(Ask::put("/photos/copy").header("x-amz-copy-source", "photos/a%20b")).await;
    assert_eq!(copied.status, 200);
    assert!(copied.element("ETag").unwrap().contains("5d41402abc4b2a76b9719d911017c592"));
    let read = admin.send(Ask::get("/photos/copy")).await;
    assert_eq!((read.text(), read.header("x-amz-meta-m"), read.header("content-type")), ("hello", Some("1"), Some("text/plain")));
    assert_eq!(read.header("x-amz-tagging-count"), Some("1"));

    let replace = Ask::put("/photos/copy")
        .header("x-amz-copy-source", "/photos/a%20b")
        .header("x-amz-metadata-directive", "REPLACE")
        .header("x-amz-tagging-directive", "REPLACE")
        .header("x-amz-meta-n", "2");
    assert_eq!(admin.send(replace).await.status, 200);
    let read = admin.send(Ask::get("/photos/copy")).await;
    assert_eq!((read.header("x-amz-meta-m"), read.header("x-amz-meta-n"), read.header("x-amz-tagging-count")), (None, Some("2"), None));
    assert_eq!(read.header("content-type"), Some("binary/octet-stream"));
}

#[tokio::test]
async fn a_copy_onto_itself_must_change_something() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.send(Ask::put("/photos/a").header("x-amz-meta-m", "1").body("hello")).await;
    let onto_itself = || Ask::put("/photos/a").header("x-amz-copy-source", "photos/a");
    assert_eq!(admin.send(onto_itself()).await.error(), (400, "InvalidRequest"));
    assert_eq!(admin.send(onto_itself().header("x-amz-storage-class", "STANDARD_IA")).await.status, 200);
    let read = admin.send(Ask::head("/photos/a")).await;
    assert_eq!((read.header("x-amz-storage-class"), read.header("x-amz-meta-m")), (Some("STANDARD_IA"), Some("1")));
    assert_eq!(admin.send(onto_itself().header("x-amz-metadata-directive", "REPLACE")).await.status, 200);
    assert_eq!(admin.send(Ask::head("/photos/a")).await.header("x-amz-meta-m"), None);
}

#[tokio::test]
async fn sources_are_checked() {
    let world = World::new().await;
    let admin = world.admin().await;
    let stranger = world.client(Some("evil"), Role::Admin).await;
    stranger.send(Ask::put("/theirs")).await;
    stranger.send(Ask::put("/theirs/secret").body("secret")).await;
    admin.send(Ask::put("/photos/a").body("hello")).await;
    let copy = |source: &str| Ask::put("/photos/copy").header("x-amz-copy-source", source);
    assert_eq!(admin.send(copy("theirs/secret")).await.error(), (403, "AccessDenied"));
    assert_eq!(admin.send(copy("photos/none")).await.error(), (404, "NoSuchKey"));
    assert_eq!(admin.send(copy("nowhere/a")).await.error(), (404, "NoSuchBucket"));
    assert_eq!(admin.send(copy("photos/a?versionId=17")).await.error(), (400, "InvalidArgument"));
    assert_eq!(admin.send(copy("photos/a").header("x-amz-copy-source-if-match", "\"x\"")).await.error(), (412, "PreconditionFailed"));
    let etag = "\"5d41402abc4b2a76b9719d911017c592\"";
    assert_eq!(admin.send(copy("photos/a").header("x-amz-copy-source-if-none-match", etag)).await.error(), (412, "PreconditionFailed"));
    assert_eq!(admin.send(copy("photos/a").header("x-amz-metadata-directive", "MERGE")).await.error(), (400, "InvalidArgument"));
    world.make_public("theirs").await;
    assert_eq!(admin.send(copy("theirs/secret")).await.status, 200);
}

#[tokio::test]
async fn a_signed_header_makes_a_copy_a_move() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.send(Ask::put("/photos/a").header("x-amz-meta-m", "1").body("hello")).await;
    let copy = || Ask::put("/photos/b").header("x-amz-copy-source", "photos/a");
    assert_eq!(admin.send(copy().unsigned("x-tigris-rename", "true")).await.status, 200);
    assert_eq!(admin.send(Ask::head("/photos/a")).await.status, 200);
    assert_eq!(admin.send(copy().header("x-tigris-rename", "true")).await.status, 200);
    assert_eq!(admin.send(Ask::head("/photos/a")).await.status, 404);
    assert_eq!(admin.send(Ask::head("/photos/b")).await.header("x-amz-meta-m"), Some("1"));
    let onto_itself = Ask::put("/photos/b").header("x-amz-copy-source", "photos/b").header("x-tigris-rename", "true");
    assert_eq!(admin.send(onto_itself).await.error(), (400, "InvalidRequest"));
    assert_eq!(admin.send(copy().header("x-tigris-rename", "true")).await.error(), (404, "NoSuchKey"));
}

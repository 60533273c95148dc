//! Who is let in.

use std::time::Duration;

use umbra_s3::S3Settings;
use umbra_store::Role;

use crate::{client::Ask, world::World};

#[tokio::test]
async fn strangers_stay_outside() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.send(Ask::put("/photos/a").body("hello")).await;
    let stranger = world.client(Some("evil"), Role::Admin).await;
    let reader = world.client(Some("acme"), Role::Reader).await;
    let editor = world.client(Some("acme"), Role::Editor).await;
    let denied = (403, "AccessDenied");
    for ask in [Ask::get("/photos/a"), Ask::get("/photos"), Ask::put("/photos/a"), Ask::delete("/photos"), Ask::get("/photos?location")] {
        assert_eq!(stranger.send(ask.clone()).await.error(), denied, "{ask:?}");
        assert_eq!(world.anonymous().send(ask.clone()).await.error(), denied, "{ask:?}");
    }
    let buckets = world.anonymous().send(Ask::get("/")).await;
    assert_eq!((buckets.status, buckets.elements("Bucket").len()), (200, 0), "nobody has no buckets");
    assert_eq!(reader.send(Ask::get("/photos/a")).await.status, 200);
    assert_eq!(reader.send(Ask::put("/photos/a")).await.error(), denied);
    assert_eq!(editor.send(Ask::put("/photos/a").body("x")).await.status, 200);
    assert_eq!(editor.send(Ask::delete("/photos")).await.error(), denied);
    assert_eq!(editor.send(Ask::put("/another")).await.error(), denied);
    assert_eq!(stranger.send(Ask::get("/nowhere/a")).await.error(), (404, "NoSuchBucket"));
}

#[tokio::test]
async fn signatures_are_checked() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut unknown = admin.clone();
    unknown.key.as_mut().unwrap().0 = "UMBRNOBODY000000".to_owned();
    assert_eq!(unknown.send(Ask::get("/photos")).await.error(), (403, "InvalidAccessKeyId"));
    let mut forger = admin.clone();
    forger.key.as_mut().unwrap().1 = "wrong-secret".to_owned();
    assert_eq!(forger.send(Ask::get("/photos")).await.error(), (403, "SignatureDoesNotMatch"));
    let injected = Ask::put("/photos/a").unsigned("x-amz-copy-source", "photos/secret");
    assert_eq!(admin.send(injected).await.error(), (403, "AccessDenied"));
    let v2 = Ask::get("/photos").header("authorization", "AWS AKID:c2lnbmF0dXJl").header("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(world.anonymous().send(v2).await.error(), (403, "AccessDenied"));
    assert_eq!(world.anonymous().send(Ask::get("/photos").header("authorization", "")).await.error(), (403, "AccessDenied"));
    assert_eq!(admin.send(Ask::get("/photos").region("mars-1")).await.status, 200);
}

#[tokio::test]
async fn the_region_can_be_pinned() {
    let world = World::with(S3Settings { region: "fra".to_owned(), pin_region: true, ..S3Settings::default() }).await;
    let admin = world.client(Some("acme"), Role::Admin).await;
    assert_eq!(admin.send(Ask::get("/").region("fra")).await.status, 200);
    assert_eq!(admin.send(Ask::get("/")).await.error(), (400, "AuthorizationHeaderMalformed"));
}

#[tokio::test]
async fn presigned_urls_work_until_they_expire() {
    let world = World::new().await;
    let admin = world.admin().await;
    let minute = Duration::from_secs(60);
    let put = Ask::put("/photos/a?x-amz-meta-m=1&x-amz-acl=private").presigned(Duration::ZERO, minute).body("hello");
    assert_eq!(admin.send(put).await.status, 200);
    let read = admin.send(Ask::get("/photos/a").presigned(Duration::ZERO, minute)).await;
    assert_eq!((read.text(), read.header("x-amz-meta-m")), ("hello", Some("1")));
    let expired = admin.send(Ask::get("/photos/a").presigned(minute * 3, minute)).await;
    assert_eq!((expired.error(), expired.element("Message")), ((403, "AccessDenied"), Some("Request has expired")));
    let week = Duration::from_secs(7 * 24 * 3600);
    assert_eq!(
        admin.send(Ask::get("/photos/a").presigned(Duration::ZERO, week + minute)).await.error(),
        (400, "AuthorizationQueryParametersError")
    );
    let injected = Ask::put("/photos/b").presigned(Duration::ZERO, minute).unsigned("x-amz-copy-source", "/photos/a");
    assert_eq!(admin.send(injected).await.error(), (403, "AccessDenied"));
}

/// Of two signatures one is verified: what the other claims to cover is not.
#[tokio::test]
async fn whoever_carries_a_url_cannot_sign_more() {
    let world = World::new().await;
    let admin = world.admin().await;
    assert_eq!(admin.send(Ask::put("/photos/a").body("hello")).await.status, 200);
    let copy = || Ask::put("/photos/b").header("x-amz-copy-source", "/photos/a").presigned(Duration::ZERO, Duration::from_secs(60));
    let carried = copy().unsigned("x-tigris-rename", "true").unsigned("authorization", "AWS4-HMAC-SHA256 SignedHeaders=x-tigris-rename");
    assert_eq!(admin.send(carried).await.error(), (400, "InvalidArgument"));
    assert_eq!(admin.send(copy()).await.status, 200);
    assert_eq!(admin.send(Ask::get("/photos/a")).await.status, 200, "it was not moved");
}

#[tokio::test]
async fn headers_in_the_query_of_a_presigned_url_are_headers() {
    let world = World::new().await;
    let admin = world.admin().await;
    assert_eq!(admin.send(Ask::put("/locked").header("x-amz-bucket-object-lock-enabled", "true")).await.status, 200);
    let presigned = |ask: Ask| ask.presigned(Duration::ZERO, Duration::from_secs(60));
    let uri = "/locked/k?x-amz-object-lock-mode=GOVERNANCE&x-amz-object-lock-retain-until-date=2099-01-01T00%3A00%3A00Z\
               &x-amz-object-lock-legal-hold=ON&X-Amz-Meta-A=b%20c&x-amz-tagging=t%3D1&x-amz-storage-class=STANDARD_IA\
               &x-amz-server-side-encryption=AES256&x-amz-website-redirect-location=%2Faway\
               &x-amz-checksum-sha256=LPJNul%2Bwow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ%3D";
    assert_eq!(admin.send(presigned(Ask::put(uri)).body("other")).await.error(), (400, "BadDigest"));
    assert_eq!(admin.send(presigned(Ask::put(uri)).body("hello")).await.status, 200);
    let read = admin.send(presigned(Ask::get("/locked/k?x-amz-checksum-mode=ENABLED"))).await;
    let expected = [
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-object-lock-legal-hold", "ON"),
        ("x-amz-meta-a", "b c"),
        ("x-amz-tagging-count", "1"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-website-redirect-location", "/away"),
        ("x-amz-checksum-sha256", "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="),
    ];
    for (name, value) in expected {
        assert_eq!(read.header(name), Some(value), "{name}");
    }
    assert_eq!(read.text(), "hello");
    let copy = presigned(Ask::put("/photos/copy?x-amz-copy-source=locked%2Fk&x-amz-metadata-directive=REPLACE&x-amz-meta-n=1"));
    assert_eq!(admin.send(copy).await.status, 200);
    let read = admin.send(Ask::get("/photos/copy")).await;
    assert_eq!((read.text(), read.header("x-amz-meta-a"), read.header("x-amz-meta-n")), ("hello", None, Some("1")));
    let large = "l".repeat(3 << 20);
    assert_eq!(admin.send(presigned(Ask::put("/photos/large?x-amz-meta-a=b")).body(large.clone())).await.status, 200);
    let read = admin.send(Ask::get("/photos/large")).await;
    assert!(read.text() == large && read.header("x-amz-meta-a") == Some("b"));
    let begun = admin.send(presigned(Ask::post("/photos/parts?uploads&x-amz-storage-class=GLACIER"))).await;
    let upload = begun.element("UploadId").unwrap().to_owned();
    let listed = admin.send(Ask::get(&format!("/photos/parts?uploadId={upload}"))).await;
    assert_eq!(listed.element("StorageClass"), Some("GLACIER"));
    // URLs are no place for secrets.
    let secret = "/photos/k?x-amz-server-side-encryption-customer-algorithm=AES256&x-amz-server-side-encryption-customer-key=a";
    assert_eq!(admin.send(presigned(Ask::put(secret)).body("x")).await.error(), (501, "NotImplemented"));
    let twice = presigned(Ask::put("/photos/k?x-amz-acl=private").header("x-amz-acl", "public-read")).body("x");
    assert_eq!(admin.send(twice).await.error(), (400, "InvalidArgument"));
}

#[tokio::test]
async fn public_buckets_are_read_and_not_listed() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.send(Ask::put("/photos/a").body("hello")).await;
    world.make_public("photos").await;
    let anonymous = world.anonymous();
    assert_eq!(anonymous.send(Ask::get("/photos/a")).await.text(), "hello");
    assert_eq!(anonymous.send(Ask::head("/photos/a")).await.status, 200);
    for ask in
        [Ask::get("/photos"), Ask::put("/photos/a"), Ask::delete("/photos/a"), Ask::get("/photos/a?tagging"), Ask::get("/photos?uploads")]
    {
        assert_eq!(anonymous.send(ask.clone()).await.error(), (403, "AccessDenied"), "{ask:?}");
    }
}

#[tokio::test]
async fn a_circle_of_shadows_is_refused() {
    let world = World::new().await;
    let admin = world.admin().await;
    let here = format!("elsewhere/x, {}/photos", world.catalog.store_id());
    assert_eq!(admin.send(Ask::get("/photos/a").header("x-umbra-shadow-path", &here)).await.error(), (400, "InvalidRequest"));
    let elsewhere = format!("{}/other", world.catalog.store_id());
    assert_eq!(admin.send(Ask::get("/photos/a").header("x-umbra-shadow-path", &elsewhere)).await.error(), (404, "NoSuchKey"));
}

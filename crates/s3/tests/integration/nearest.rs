//! Clients that are nearer to another region: who is sent there, and who is answered here.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;
use umbra_s3::{Nearest, NearestParts, RegionAddress, RegionMap, S3Settings};

use crate::{
    client::{Ask, Reply},
    world::World,
};

/// A server in `fra`, to which the map says that clients on this machine are nearer to `iad`; and whether that lives.
async fn world(sends_signed: bool, domain: Option<&str>) -> (World, Arc<AtomicBool>) {
    let lives = Arc::new(AtomicBool::new(true));
    let is_alive = Arc::clone(&lives);
    let addresses = ["fra", "iad"].map(|name| RegionAddress::parse(name, &format!("http://{name}.s3.test"), None).unwrap()).to_vec();
    let map = RegionMap::parse(b"127.0.0.0/8,iad".to_vec(), &addresses).unwrap();
    let parts = NearestParts {
        region: "fra".to_owned(),
        addresses,
        common_url: "http://s3.test".to_owned(),
        sends_signed,
        is_live: Box::new(move |region| region == "iad" && is_alive.load(Ordering::SeqCst)),
    };
    let settings = S3Settings { domain: domain.map(str::to_owned), ..S3Settings::default() };
    (World::with_nearest(settings, Nearest::new(parts, map)).await, lives)
}

fn is_sent(reply: &Reply, location: &str) {
    assert_eq!((reply.status, reply.header("location")), (307, Some(location)), "{}", reply.text());
    assert_eq!(reply.header("x-amz-bucket-region"), Some("iad"));
}

#[tokio::test]
async fn who_is_nearer_to_another_region_is_sent_there() {
    let (world, lives) = world(true, None).await;
    let admin = world.admin().await;
    let reply = admin.send(Ask::get("/photos/a%20b?x-id=GetObject")).await;
    is_sent(&reply, "http://iad.s3.test/photos/a%20b?x-id=GetObject");
    assert_eq!(reply.error(), (307, "TemporaryRedirect"));
    assert_eq!((reply.element("Endpoint"), reply.element("Bucket")), (Some("iad.s3.test"), Some("photos")));
    assert_eq!((reply.element("Resource"), reply.element("RequestId")), (Some("/photos/a%20b"), reply.header("x-amz-request-id")));
    let head = admin.send(Ask::head("/photos/k")).await;
    assert_eq!((head.status, head.text(), head.header("location")), (307, "", Some("http://iad.s3.test/photos/k")));
    is_sent(&admin.send(Ask::get("/photos?list-type=2")).await, "http://iad.s3.test/photos?list-type=2");
    is_sent(&admin.send(Ask::delete("/photos/k")).await, "http://iad.s3.test/photos/k");
    is_sent(&world.anonymous().send(Ask::get("//evil.test/k")).await, "http://iad.s3.test//evil.test/k");
    lives.store(false, Ordering::SeqCst);
    assert_eq!(admin.send(Ask::get("/photos?list-type=2")).await.status, 200, "nobody is sent to a region without a node");
}

#[tokio::test]
async fn who_cannot_go_is_answered() {
    let (world, _) = world(true, None).await;
    let admin = world.admin().await;
    for (what, ask, status) in [
        ("a list of buckets", Ask::get("/"), 200),
        ("a new bucket", Ask::put("/other"), 200),
        ("a setting of a bucket", Ask::delete("/photos?tagging"), 204),
        ("a body that comes without waiting", Ask::put("/photos/k").body("content"), 200),
        ("a signed URL", Ask::get("/photos/k").presigned(Duration::ZERO, Duration::from_secs(60)), 200),
        ("a script of another origin", Ask::get("/photos/k").header("origin", "https://app.test"), 200),
        ("a store that shadows the bucket", Ask::get("/photos/k").header("x-umbra-shadow-path", "a/b"), 200),
        ("who was sent here", Ask::get("/photos/k").host("fra.s3.test"), 200),
        ("who chose another region by its name", Ask::get("/photos/k").host("iad.s3.test"), 200),
        ("who has taken the name of the region from a redirect, and nothing else", Ask::get("/photos/k").region("iad"), 200),
        ("Tigris's way to read a bucket", Ask::get("/photos").json(), 200),
    ] {
        let reply = admin.send(ask).await;
        assert_eq!(reply.status, status, "{what}: {}", reply.text());
    }
    let form = Ask::post("/photos").header("content-type", "multipart/form-data; boundary=x").body("--x--\r\n");
    assert_eq!(world.anonymous().send(form).await.status, 400);
}

/// Most clients that sign do not sign anew: they go only where the operator wants it.
#[tokio::test]
async fn without_being_told_only_reads_without_a_signature_are_sent() {
    let (world, _) = world(false, None).await;
    let (admin, anonymous) = (world.admin().await, world.anonymous());
    assert_eq!(admin.send(Ask::put("/photos/k").body("content")).await.status, 200);
    assert_eq!(admin.send(Ask::get("/photos/k")).await.status, 200);
    is_sent(&anonymous.send(Ask::get("/photos/k")).await, "http://iad.s3.test/photos/k");
    assert_eq!(anonymous.send(Ask::delete("/photos/k")).await.status, 403);
}

/// The body was not asked for, and is not waited for.
#[tokio::test]
async fn a_body_that_waits_is_never_sent() {
    let (world, _) = world(true, None).await;
    let admin = world.admin().await;
    let head = admin.head_text(&Ask::put("/photos/k").unsigned("expect", "100-continue").hash("UNSIGNED-PAYLOAD"), 1_000_000);
    let answer = admin.send_raw(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 307") && answer.to_lowercase().contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn buckets_in_host_names_are_in_the_path_elsewhere() {
    let (world, _) = world(true, Some("s3.test")).await;
    let admin = world.admin().await;
    is_sent(&admin.send(Ask::get("/k?acl").host("photos.s3.test")).await, "http://iad.s3.test/photos/k?acl");
    is_sent(&admin.send(Ask::get("/").host("photos.s3.test:9000")).await, "http://iad.s3.test/photos/");
    // The name of a region below the domain is no bucket.
    assert_eq!(admin.send(Ask::put("/photos/k").host("fra.s3.test").body("content")).await.status, 200);
    assert_eq!(admin.send(Ask::get("/photos/k").host("fra.s3.test")).await.text(), "content");
}

/// What Go's HTTP client does: it takes its signature along.
#[tokio::test]
async fn who_went_on_with_its_signature_is_known() {
    let (world, _) = world(true, None).await;
    let admin = world.admin().await;
    assert_eq!(admin.send(Ask::put("/photos/k").body("content")).await.status, 200);
    for (signed_for, referer, expected) in [
        ("s3.test", "http://s3.test/photos/k?x-id=GetObject", 200),
        ("s3.test", "http://s3.test/photos/other", 403),
        ("s3.test", "http://evil.test/photos/k?x-id=GetObject", 403),
        ("evil.test", "http://evil.test/photos/k?x-id=GetObject", 403),
        ("evil.test", "http://s3.test/photos/k?x-id=GetObject", 403),
        ("fra.s3.test", "http://s3.test/photos", 200),
    ] {
        let mut request = admin.request(&Ask::get("/photos/k?x-id=GetObject").host(signed_for).unsigned("referer", referer));
        request.headers_mut().insert("host", HeaderValue::from_static("fra.s3.test"));
        let reply = admin.send_request(request).await;
        assert_eq!(reply.status, expected, "{signed_for} {referer}: {}", reply.text());
    }
}

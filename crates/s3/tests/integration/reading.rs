//! Ranges, parts, conditions, overrides.

use std::time::Duration;

use umbra_store::Role;

use crate::{client::Ask, world::World};

#[tokio::test]
async fn ranges_are_answered_as_s3_does() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.send(Ask::put("/photos/a").body("0123456789")).await;
    let cases = [
        ("bytes=0-0", 206, Some("bytes 0-0/10"), "0"),
        ("bytes=3-5", 206, Some("bytes 3-5/10"), "345"),
        ("bytes=3-", 206, Some("bytes 3-9/10"), "3456789"),
        ("bytes=-2", 206, Some("bytes 8-9/10"), "89"),
        ("bytes=5-500", 206, Some("bytes 5-9/10"), "56789"),
        ("bytes=-500", 206, Some("bytes 0-9/10"), "0123456789"),
        // Not understood, and so ignored.
        ("bytes=5-3", 200, None, "0123456789"),
        ("bytes=0-1,4-5", 200, None, "0123456789"),
        ("bytes=a-b", 200, None, "0123456789"),
        ("lines=1-2", 200, None, "0123456789"),
    ];
    for (range, status, content_range, content) in cases {
        let get = admin.send(Ask::get("/photos/a").header("range", range)).await;
        assert_eq!((get.status, get.header("content-range"), get.text()), (status, content_range, content), "{range}");
        let head = admin.send(Ask::head("/photos/a").header("range", range)).await;
        let length = content.len().to_string();
        assert_eq!((head.status, head.header("content-range")), (status, content_range), "HEAD {range}");
        assert_eq!(head.header("content-length"), Some(length.as_str()), "HEAD {range}");
    }
    assert_eq!(admin.send(Ask::get("/photos/a").header("range", "bytes=10-")).await.error(), (416, "InvalidRange"));
    assert_eq!(admin.send(Ask::head("/photos/a").header("range", "bytes=10-")).await.status, 416);
}

#[tokio::test]
async fn headers_to_ignore_do_not_open_doors() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.send(Ask::put("/photos/a").body("0123456789")).await;
    let odd = || Ask::get("/photos/a").header("range", "bytes=0-1,2-3");
    let stranger = world.client(Some("evil"), Role::Admin).await;
    assert_eq!(stranger.send(odd()).await.error(), (403, "AccessDenied"));
    assert_eq!(world.anonymous().send(odd()).await.error(), (403, "AccessDenied"));
    let mut forger = admin.clone();
    forger.key.as_mut().unwrap().1 = "wrong-secret".to_owned();
    assert_eq!(forger.send(odd()).await.error(), (403, "SignatureDoesNotMatch"));
    let presigned = odd().presigned(Duration::ZERO, Duration::from_secs(60));
    assert_eq!(admin.send(presigned.clone()).await.text(), "0123456789");
    assert_eq!(forger.send(presigned).await.error(), (403, "SignatureDoesNotMatch"));
    assert_eq!(admin.send(Ask::get("/photos/none").header("range", "bytes=5-1")).await.error(), (404, "NoSuchKey"));
    assert_eq!(admin.send(Ask::get("/photos/a").header("if-modified-since", "yesterday")).await.status, 200);
}

#[tokio::test]
async fn conditions_are_judged() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.send(Ask::put("/photos/a").header("cache-control", "no-cache").body("hello")).await;
    let etag = "\"5d41402abc4b2a76b9719d911017c592\"";
    let (past, future) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 06 Nov 2099 08:49:37 GMT");
    let cases = [
        ("if-match", etag, 200),
        ("if-match", "\"other\", \"5d41402abc4b2a76b9719d911017c592\"", 200),
        ("if-match", "\"other\"", 412),
        ("if-none-match", etag, 304),
        ("if-none-match", "\"other\"", 200),
        ("if-none-match", "*", 304),
        ("if-modified-since", past, 200),
        ("if-modified-since", future, 304),
        ("if-unmodified-since", past, 412),
        ("if-unmodified-since", future, 200),
    ];
    for (name, value, status) in cases {
        for method in ["GET", "HEAD"] {
            let reply = admin.send(Ask::method(method, "/photos/a").header(name, value)).await;
            assert_eq!(reply.status, status, "{method} {name}: {value}");
            if status == 304 {
                assert_eq!((reply.header("etag"), reply.header("cache-control")), (Some(etag), Some("no-cache")));
                assert!(reply.header("last-modified").is_some() && reply.body.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn writes_can_be_conditional() {
    let world = World::new().await;
    let admin = world.admin().await;
    let put = |name: &str, value: &str| Ask::put("/photos/a").header(name, value).body("hello");
    assert_eq!(admin.send(put("if-match", "\"x\"")).await.error(), (404, "NoSuchKey"));
    assert_eq!(admin.send(put("if-none-match", "*")).await.status, 200);
    assert_eq!(admin.send(put("if-none-match", "*")).await.error(), (412, "PreconditionFailed"));
    assert_eq!(admin.send(put("if-match", "\"x\"")).await.error(), (412, "PreconditionFailed"));
    assert_eq!(admin.send(put("if-match", "\"5d41402abc4b2a76b9719d911017c592\"")).await.status, 200);
}

#[tokio::test]
async fn only_signed_readers_choose_headers() {
    let world = World::new().await;
    let admin = world.admin().await;
    world.make_public("photos").await;
    admin.send(Ask::put("/photos/a").body("hello")).await;
    let uri = "/photos/a?response-content-type=text%2Fhtml&response-expires=Wed%2C%2021%20Oct%202026%2007%3A28%3A00%20GMT";
    for method in ["GET", "HEAD"] {
        let chosen = admin.send(Ask::method(method, uri)).await;
        assert_eq!((chosen.status, chosen.header("content-type")), (200, Some("text/html")), "{method}");
        assert_eq!(chosen.header("expires"), Some("Wed, 21 Oct 2026 07:28:00 GMT"), "{method}");
    }
    assert_eq!(world.anonymous().send(Ask::get(uri)).await.error(), (400, "InvalidRequest"));
    assert_eq!(world.anonymous().send(Ask::get("/photos/a")).await.text(), "hello");
}

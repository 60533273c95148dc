//! What clients announce of bodies is checked, and told again.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use md5::{Digest, Md5};

use crate::{
    client::{Ask, UNSIGNED_TRAILER, chunked},
    world::World,
};

/// Of `123456789`.
const VALUES: [(&str, &str); 5] = [
    ("x-amz-checksum-crc32", "y/Q5Jg=="),
    ("x-amz-checksum-crc32c", "4waSgw=="),
    ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
    ("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
    ("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
];

#[tokio::test]
async fn values_in_headers_are_checked_and_told() {
    let world = World::new().await;
    let admin = world.admin().await;
    for (name, value) in VALUES {
        let stored = admin.send(Ask::put("/photos/a").header(name, value).body("123456789")).await;
        assert_eq!((stored.status, stored.header(name)), (200, Some(value)), "{name}");
        let read = admin.send(Ask::get("/photos/a").header("x-amz-checksum-mode", "ENABLED")).await;
        assert_eq!((read.header(name), read.header("x-amz-checksum-type")), (Some(value), Some("FULL_OBJECT")), "{name}");
        let head = admin.send(Ask::head("/photos/a").header("x-amz-checksum-mode", "ENABLED")).await;
        assert_eq!(head.header(name), Some(value), "{name}");
        let range = admin.send(Ask::get("/photos/a").header("x-amz-checksum-mode", "ENABLED").header("range", "bytes=0-1")).await;
        assert_eq!((range.status, range.header(name)), (206, None), "{name}");
        let wrong = admin.send(Ask::put("/photos/b").header(name, value).body("987654321")).await;
        assert_eq!(wrong.error(), (400, "BadDigest"), "{name}");
    }
    assert_eq!(admin.send(Ask::head("/photos/b")).await.status, 404);
    let two = Ask::put("/photos/a").header(VALUES[0].0, VALUES[0].1).header(VALUES[3].0, VALUES[3].1).body("123456789");
    assert_eq!(admin.send(two).await.error(), (400, "InvalidRequest"));
    assert_eq!(admin.send(Ask::put("/photos/a").header(VALUES[0].0, "nonsense")).await.error(), (400, "BadDigest"));
}

#[tokio::test]
async fn values_in_trailers_are_checked_and_told() {
    let world = World::new().await;
    let admin = world.admin().await;
    let put = |trailer: (&str, &str), promised: &str| {
        Ask::put("/photos/a")
            .hash(UNSIGNED_TRAILER)
            .header("x-amz-trailer", promised)
            .header("x-amz-decoded-content-length", "9")
            .header("content-encoding", "aws-chunked")
            .header("x-amz-sdk-checksum-algorithm", "CRC32")
            .body(chunked(&[b"1234", b"56789"], Some(trailer)))
    };
    let (name, value) = VALUES[0];
    let stored = admin.send(put((name, value), name)).await;
    assert_eq!((stored.status, stored.header(name)), (200, Some(value)), "{stored:?}");
    let read = admin.send(Ask::get("/photos/a")).await;
    assert_eq!((read.text(), read.header("content-encoding")), ("123456789", None));
    assert_eq!(admin.send(put((name, "AAAAAA=="), name)).await.error(), (400, "BadDigest"));
    assert_eq!(admin.send(put((name, value), "x-amz-checksum-sha1")).await.error(), (400, "InvalidRequest"));
    let missing = admin.send(put(("x-other", "1"), name)).await;
    assert_eq!(missing.status, 400, "{}", missing.text());
}

#[tokio::test]
async fn md5_is_checked() {
    let world = World::new().await;
    let admin = world.admin().await;
    let md5 = |body: &str| BASE64.encode(Md5::digest(body));
    let put = |md5: &str| Ask::put("/photos/a").header("content-md5", md5).body("hello");
    assert_eq!(admin.send(put(&md5("hello"))).await.status, 200);
    assert_eq!(admin.send(put(&md5("other"))).await.error(), (400, "BadDigest"));
    assert_eq!(admin.send(put("short")).await.error(), (400, "InvalidDigest"));

    let document = "<Delete><Object><Key>a</Key></Object></Delete>";
    let delete = |md5: &str| Ask::post("/photos?delete").header("content-md5", md5).body(document);
    assert_eq!(admin.send(delete(&md5("other"))).await.error(), (400, "BadDigest"));
    assert_eq!(admin.send(Ask::head("/photos/a")).await.status, 200);
    assert_eq!(admin.send(delete(&md5(document))).await.status, 200);
    assert_eq!(admin.send(Ask::head("/photos/a")).await.status, 404);
}

#[tokio::test]
async fn the_signed_hash_is_checked() {
    let world = World::new().await;
    let admin = world.admin().await;
    let other = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(admin.send(Ask::put("/photos/a").hash(other).body("other")).await.error(), (400, "XAmzContentSHA256Mismatch"));
    assert_eq!(admin.send(Ask::head("/photos/a")).await.status, 404);
    let delete = "<Delete><Object><Key>a</Key></Object></Delete>";
    assert_eq!(admin.send(Ask::post("/photos?delete").hash(other).body(delete)).await.error(), (400, "XAmzContentSHA256Mismatch"));
}

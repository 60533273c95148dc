//! Objects: stored, described, tagged, deleted.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use umbra_store::Role;

use crate::{client::Ask, world::World};

#[tokio::test]
async fn an_object_keeps_what_it_came_with() {
    let world = World::new().await;
    let admin = world.admin().await;
    let put = Ask::put("/photos/a%20b/%C3%BC+%26.txt")
        .header("content-type", "text/plain; charset=utf-8")
        .header("cache-control", "max-age=60")
        .header("content-disposition", "inline")
        .header("content-encoding", "gzip,aws-chunked")
        .header("content-language", "de")
        .header("expires", "Wed, 21 Oct 2026 07:28:00 GMT")
        .header("x-amz-website-redirect-location", "/elsewhere")
        .header("x-amz-storage-class", "STANDARD_IA")
        .header("x-amz-meta-Plain", "text")
        .header("x-amz-meta-encoded", "=?UTF-8?B?w7w=?=")
        .header("x-amz-tagging", "a=1&b=two%20words")
        .header("x-amz-acl", "private")
        .body("hello");
    let stored = admin.send(put).await;
    assert_eq!((stored.status, stored.header("etag")), (200, Some("\"5d41402abc4b2a76b9719d911017c592\"")));
    assert_eq!(stored.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
    assert!(stored.header("x-amz-checksum-crc64nvme").is_some());

    for method in ["GET", "HEAD"] {
        let read = admin.send(Ask::method(method, "/photos/a%20b/%C3%BC+%26.txt")).await;
        let expected = [
            ("content-type", "text/plain; charset=utf-8"),
            ("cache-control", "max-age=60"),
            ("content-disposition", "inline"),
            ("content-encoding", "gzip"),
            ("content-language", "de"),
            ("expires", "Wed, 21 Oct 2026 07:28:00 GMT"),
            ("x-amz-website-redirect-location", "/elsewhere"),
            ("x-amz-storage-class", "STANDARD_IA"),
            ("x-amz-meta-plain", "text"),
            ("x-amz-meta-encoded", "=?UTF-8?B?w7w=?="),
            ("x-amz-tagging-count", "2"),
            ("content-length", "5"),
            ("accept-ranges", "bytes"),
            ("etag", "\"5d41402abc4b2a76b9719d911017c592\""),
        ];
        assert_eq!(read.status, 200, "{method}");
        for (name, value) in expected {
            assert_eq!(read.header(name), Some(value), "{method} {name}");
        }
        assert!(read.header("last-modified").is_some());
        assert_eq!(read.header("x-amz-checksum-crc64nvme"), None, "nobody asked");
        assert_eq!(read.body, if method == "GET" { "hello" } else { "" });
    }
}

#[tokio::test]
async fn plain_objects_are_plain() {
    let world = World::new().await;
    let admin = world.admin().await;
    assert_eq!(admin.send(Ask::put("/photos/empty")).await.status, 200);
    let read = admin.send(Ask::get("/photos/empty")).await;
    assert_eq!((read.status, read.header("content-length"), read.header("content-type")), (200, Some("0"), Some("binary/octet-stream")));
    for absent in ["x-amz-storage-class", "x-amz-tagging-count", "x-amz-mp-parts-count", "x-amz-version-id"] {
        assert_eq!(read.header(absent), None, "{absent}");
    }
}

#[tokio::test]
async fn raw_utf8_metadata_is_taken_and_given_back_encoded() {
    let world = World::new().await;
    let admin = world.admin().await;
    assert_eq!(admin.send(Ask::put("/photos/a").header("x-amz-meta-name", "grün").body("x")).await.status, 200);
    let read = admin.send(Ask::head("/photos/a")).await;
    assert_eq!(read.header("x-amz-meta-name"), Some("=?UTF-8?B?Z3LDvG4=?="));
}

#[tokio::test]
async fn what_we_would_not_do_is_refused() {
    let world = World::new().await;
    let admin = world.admin().await;
    let cases = [
        ("x-amz-server-side-encryption", "AES128", (400, "InvalidArgument")),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256", (400, "InvalidArgument")),
        ("x-amz-object-lock-legal-hold", "ON", (400, "InvalidRequest")),
        ("x-amz-grant-read", "id=someone", (400, "InvalidArgument")),
        ("x-amz-acl", "world-readable", (400, "InvalidArgument")),
        ("x-amz-storage-class", "FAST", (400, "InvalidStorageClass")),
        ("x-amz-tagging", "a=1&a=2", (400, "InvalidTag")),
        ("x-amz-expected-bucket-owner", "somebody", (403, "AccessDenied")),
    ];
    for (name, value, expected) in cases {
        assert_eq!(admin.send(Ask::put("/photos/a").header(name, value).body("x")).await.error(), expected, "{name}");
    }
    let metadata = "m".repeat(2049);
    assert_eq!(admin.send(Ask::put("/photos/a").header("x-amz-meta-m", &metadata)).await.error(), (400, "MetadataTooLarge"));
    assert_eq!(admin.send(Ask::get("/photos/a?versionId=17")).await.error(), (400, "InvalidArgument"));
    assert_eq!(admin.send(Ask::get("/photos/a")).await.error(), (404, "NoSuchKey"));
}

#[tokio::test]
async fn tags_are_replaced_and_removed() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.send(Ask::put("/photos/a").body("x")).await;
    assert_eq!(admin.send(Ask::get("/photos/a?tagging")).await.elements("Tag").len(), 0);
    let set = "<Tagging><TagSet><Tag><Key>k</Key><Value>v + é</Value></Tag></TagSet></Tagging>";
    assert_eq!(admin.send(Ask::put("/photos/a?tagging").body(set)).await.status, 200);
    let tags = admin.send(Ask::get("/photos/a?tagging")).await;
    assert_eq!((tags.element("Key"), tags.element("Value")), (Some("k"), Some("v + é")));
    let twice = "<Tagging><TagSet><Tag><Key>k</Key><Value>1</Value></Tag><Tag><Key>k</Key><Value>2</Value></Tag></TagSet></Tagging>";
    assert_eq!(admin.send(Ask::put("/photos/a?tagging").body(twice)).await.error(), (400, "InvalidTag"));
    assert_eq!(admin.send(Ask::delete("/photos/a?tagging")).await.status, 204);
    assert_eq!(admin.send(Ask::get("/photos/a?tagging")).await.elements("Tag").len(), 0);
    assert_eq!(admin.send(Ask::get("/photos/none?tagging")).await.error(), (404, "NoSuchKey"));
}

#[tokio::test]
async fn deletes_are_idempotent_and_conditional() {
    let world = World::new().await;
    let admin = world.admin().await;
    assert_eq!(admin.send(Ask::delete("/photos/never")).await.status, 204);
    admin.send(Ask::put("/photos/a").body("hello")).await;
    assert_eq!(admin.send(Ask::delete("/photos/a").header("if-match", "\"other\"")).await.error(), (412, "PreconditionFailed"));
    let etag = "\"5d41402abc4b2a76b9719d911017c592\"";
    assert_eq!(admin.send(Ask::delete("/photos/a").header("if-match", etag)).await.status, 204);
    assert_eq!(admin.send(Ask::head("/photos/a")).await.status, 404);
}

#[tokio::test]
async fn many_are_deleted_at_once() {
    let world = World::new().await;
    let admin = world.admin().await;
    for key in ["a", "b", "c%20d", "e%01"] {
        assert_eq!(admin.send(Ask::put(&format!("/photos/{key}")).body("x")).await.status, 200);
    }
    let delete = "<Delete><Object><Key>a</Key></Object><Object><Key>never</Key></Object><Object><Key>c d</Key></Object>\
                  <Object><Key>b</Key><VersionId>17</VersionId></Object></Delete>";
    let deleted = admin.send(Ask::post("/photos?delete").body(delete)).await;
    assert_eq!(deleted.status, 200);
    let errors = deleted.elements("Error");
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("<Code>InvalidArgument</Code>") && errors[0].contains("<Key>b</Key>"), "{errors:?}");
    assert_eq!(deleted.elements("Deleted").len(), 3);
    let quiet = "<Delete><Quiet>true</Quiet><Object><Key>b</Key></Object></Delete>";
    let deleted = admin.send(Ask::post("/photos?delete").body(quiet)).await;
    assert_eq!((deleted.status, deleted.elements("Deleted").len(), deleted.elements("Error").len()), (200, 0, 0));
    assert_eq!(admin.send(Ask::get("/photos?list-type=2")).await.elements("Key"), ["e&#x1;"]);

    let too_many = format!("<Delete>{}</Delete>", "<Object><Key>k</Key></Object>".repeat(1001));
    assert_eq!(admin.send(Ask::post("/photos?delete").body(too_many)).await.error(), (400, "MalformedXML"));
    let reader = world.client(Some("acme"), Role::Reader).await;
    let denied = reader.send(Ask::post("/photos?delete").body(quiet)).await;
    assert_eq!((denied.status, denied.elements("Error").len()), (200, 1), "each key is judged for itself");
    assert_eq!(denied.element("Code"), Some("AccessDenied"));
}

fn form(fields: &[(&str, &str)], content: &str) -> String {
    let part = |name: &str, value: &str| format!("--B\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let fields: String = fields.iter().map(|(name, value)| part(name, value)).collect();
    format!("{fields}--B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n{content}\r\n--B--\r\n")
}

#[tokio::test]
async fn forms_upload_what_their_policy_allows() {
    let world = World::new().await;
    let admin = world.admin().await;
    let post = |body: String| Ask::post("/photos").header("content-type", "multipart/form-data; boundary=B").body(body);
    let anonymous = world.anonymous();
    assert_eq!(anonymous.send(post(form(&[("key", "form")], "hello"))).await.error(), (403, "AccessDenied"));

    let date = admin.date();
    let credential = format!("{}/{}/us-east-1/s3/aws4_request", admin.key.as_ref().unwrap().0, &date[..8]);
    let policy = format!(
        r#"{{"expiration":"2099-01-01T00:00:00.000Z","conditions":[{{"bucket":"photos"}},["starts-with","$key","form"],["content-length-range",1,5],
            {{"x-amz-algorithm":"AWS4-HMAC-SHA256"}},{{"x-amz-credential":"{credential}"}},{{"x-amz-date":"{date}"}}]}}"#
    );
    let policy = BASE64.encode(policy);
    let signature = admin.signature(&policy);
    let signed = |key: &str, content: &str| {
        let fields = [
            ("key", key),
            ("policy", &policy),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
            ("x-amz-credential", &credential),
            ("x-amz-date", &date),
            ("x-amz-signature", &signature),
        ];
        post(form(&fields, content))
    };
    assert_eq!(anonymous.send(signed("form", "hello")).await.status, 204);
    assert_eq!(admin.send(Ask::get("/photos/form")).await.text(), "hello");
    for (key, content) in [("other", "hello"), ("form-2", "too long")] {
        let refused = anonymous.send(signed(key, content)).await;
        assert!((400..404).contains(&refused.status), "{key}: {}", refused.text());
    }
    assert_eq!(admin.send(Ask::get("/photos?list-type=2")).await.elements("Key"), ["form"]);
}

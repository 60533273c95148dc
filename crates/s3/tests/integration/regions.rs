//! Where buckets and objects are to live, as clients say and are told.

use std::time::Duration;

use serde_json::json;
use umbra_core::BucketName;

use crate::{
    client::{Ask, Client, Reply},
    tigris::patch,
    world::World,
};

const REGIONS: &str = "x-tigris-regions";

async fn world() -> (World, Client) {
    let world = World::in_regions(&["fra", "ams", "iad"]).await;
    let admin = world.admin().await;
    (world, admin)
}

/// Where an object is to live, as GET and HEAD tell alike.
async fn told(client: &Client, path: &str) -> Option<String> {
    let (got, head) = (client.send(Ask::get(path)).await, client.send(Ask::head(path)).await);
    assert_eq!((got.status, head.status, got.header(REGIONS)), (200, 200, head.header(REGIONS)));
    got.header(REGIONS).map(str::to_owned)
}

fn put(path: &str, places: &str) -> Ask {
    Ask::put(path).header(REGIONS, places).body("content")
}

fn assert_refused(reply: &Reply, code: &str) {
    assert_eq!(reply.error().1, code, "{}", reply.text());
}

#[tokio::test]
async fn an_object_is_narrowed_by_whoever_writes_it() {
    let (_world, admin) = world().await;
    for (places, shown) in [("iad", "iad"), ("fra, ams", "fra,ams"), ("eur", "eur")] {
        assert_eq!(admin.send(put("/photos/k", places)).await.status, 200);
        assert_eq!(told(&admin, "/photos/k").await.as_deref(), Some(shown));
    }
    let part = admin.send(Ask::get("/photos/k").header("range", "bytes=1-2")).await;
    assert_eq!((part.status, part.header(REGIONS)), (206, Some("eur")));
    for places in ["", "global"] {
        assert_eq!(admin.send(put("/photos/k", places)).await.status, 200);
        assert_eq!(told(&admin, "/photos/k").await, None);
    }
    for places in ["moon", "fra,moon", "fra,fra", "a b", "usa,fra"] {
        assert_refused(&admin.send(put("/photos/k", places)).await, "InvalidArgument");
    }
    assert_eq!(told(&admin, "/photos/k").await, None, "what was refused changed nothing");
}

#[tokio::test]
async fn an_object_is_narrowed_within_what_its_bucket_allows() {
    let (world, admin) = world().await;
    for (location, allowed, refused) in
        [("fra", "fra", "ams"), ("fra,iad", "iad", "fra,ams"), ("eur", "ams", "iad"), ("eur", "eur", "fra,iad"), ("eur", "fra", "usa")]
    {
        assert_eq!(patch(&admin, "photos", &json!({ "object_regions": location })).await.status, 200);
        assert_eq!(admin.send(put("/photos/k", allowed)).await.status, 200);
        assert_refused(&admin.send(put("/photos/k", refused)).await, "InvalidArgument");
        assert_refused(&admin.send(put("/photos/k", "global")).await, "InvalidArgument");
        assert_eq!(told(&admin, "/photos/k").await.as_deref(), Some(allowed));
    }
    // Without anything said it is where the bucket says.
    assert_eq!(admin.send(Ask::put("/photos/k").body("content")).await.status, 200);
    assert_eq!(told(&admin, "/photos/k").await, None);
    drop(world);
}

#[tokio::test]
async fn uploads_and_copies_are_narrowed_too() {
    let (_world, admin) = world().await;
    let begun = admin.send(Ask::post("/photos/parts?uploads").header(REGIONS, "iad")).await;
    let upload = begun.element("UploadId").unwrap().to_owned();
    let part = admin.send(Ask::put(&format!("/photos/parts?uploadId={upload}&partNumber=1")).body("content")).await;
    let etag = part.header("etag").unwrap();
    let document = format!("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>");
    assert_eq!(admin.send(Ask::post(&format!("/photos/parts?uploadId={upload}")).body(document)).await.status, 200);
    assert_eq!(told(&admin, "/photos/parts").await.as_deref(), Some("iad"));
    assert_refused(&admin.send(Ask::post("/photos/parts?uploads").header(REGIONS, "moon")).await, "InvalidArgument");

    let copy = |path: &str| Ask::put(path).header("x-amz-copy-source", "photos/parts");
    assert_eq!(admin.send(copy("/photos/copy")).await.status, 200);
    assert_eq!(told(&admin, "/photos/copy").await, None, "a copy is where its bucket says");
    assert_eq!(admin.send(copy("/photos/copy").header(REGIONS, "fra,iad")).await.status, 200);
    assert_eq!(told(&admin, "/photos/copy").await.as_deref(), Some("fra,iad"));
    assert_refused(&admin.send(copy("/photos/copy").header(REGIONS, "moon")).await, "InvalidArgument");
    // An object is told to live elsewhere by a copy to itself, and keeps its place when it is renamed.
    assert_refused(&admin.send(copy("/photos/parts")).await, "InvalidRequest");
    assert_eq!(admin.send(copy("/photos/parts").header(REGIONS, "ams")).await.status, 200);
    assert_eq!(admin.send(copy("/photos/renamed").header("x-tigris-rename", "true")).await.status, 200);
    assert_eq!(told(&admin, "/photos/renamed").await.as_deref(), Some("ams"));
}

#[tokio::test]
async fn parts_go_where_their_upload_was_begun_for() {
    let (_world, admin) = world().await;
    assert_eq!(admin.send(Ask::put("/photos/source").body("content")).await.status, 200);
    for (begun, same, others) in [
        (Some("iad"), "iad", &["fra", "iad,fra", "global", "moon", "a b"][..]),
        (Some("fra,ams"), "fra, ams", &["fra"]),
        (Some("eur"), "eur", &["fra,ams"]),
        (Some("global"), "global", &["fra"]),
        (None, "global", &["fra", "usa"]),
    ] {
        let ask = Ask::post("/photos/parts?uploads");
        let ask = begun.into_iter().fold(ask, |ask, places| ask.header(REGIONS, places));
        let upload = admin.send(ask).await.element("UploadId").unwrap().to_owned();
        let part = |n: u8| Ask::put(&format!("/photos/parts?uploadId={upload}&partNumber={n}"));
        let document = |etag: &str| {
            format!("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>")
        };
        let complete = |etag: &str| Ask::post(&format!("/photos/parts?uploadId={upload}")).body(document(etag));
        for places in others {
            for ask in [part(1).body("content"), part(1).header("x-amz-copy-source", "photos/source"), complete("x")] {
                let refused = admin.send(ask.header(REGIONS, places)).await;
                assert_refused(&refused, "InvalidArgument");
                assert!(*places == "a b" || refused.text().contains("belongs on CreateMultipartUpload"), "{}", refused.text());
            }
        }
        // Clients that send it with everything are let in, and so are those that send nothing in it.
        assert_eq!(admin.send(part(2).header("x-amz-copy-source", "photos/source").header(REGIONS, same)).await.status, 200);
        assert_eq!(admin.send(part(1).body("content").header(REGIONS, "")).await.status, 200);
        let etag = admin.send(part(1).body("content").header(REGIONS, same)).await.header("etag").unwrap().to_owned();
        for _ in 0..2 {
            assert_eq!(admin.send(complete(&etag).header(REGIONS, same)).await.status, 200);
        }
        assert_eq!(told(&admin, "/photos/parts").await.as_deref(), begun.filter(|places| *places != "global"));
    }
}

#[tokio::test]
async fn forms_narrow_as_their_fields_say() {
    let (world, admin) = world().await;
    world.make_public("photos").await;
    // A bucket that all may write to takes forms of anybody.
    let policy = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::photos/*" }] });
    assert_eq!(admin.send(Ask::put("/photos?policy").body(policy.to_string())).await.status, 204);
    let form = |places: &str| {
        let field = |name: &str, value: &str| format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        let body = field("key", "k") + &field("X-Tigris-Regions", places) + &field("file", "content") + "--B--\r\n";
        Ask::post("/photos").header("content-type", "multipart/form-data; boundary=B").body(body)
    };
    let sent = world.anonymous().send(form("iad,fra")).await;
    assert_eq!(sent.status, 204, "{}", sent.text());
    assert_eq!(told(&admin, "/photos/k").await.as_deref(), Some("iad,fra"));
    assert_refused(&world.anonymous().send(form("moon")).await, "InvalidArgument");
}

#[tokio::test]
async fn regions_that_are_not_signed_are_refused() {
    let (_world, admin) = world().await;
    let unsigned = Ask::put("/photos/k").unsigned(REGIONS, "iad").body("content");
    assert_refused(&admin.send(unsigned).await, "AccessDenied");
    assert_eq!(admin.send(Ask::get("/photos/k")).await.status, 404);
    // A URL may cover them.
    let minute = Duration::from_secs(60);
    let presigned = put("/photos/k", "iad").presigned(Duration::ZERO, minute);
    assert_eq!(admin.send(presigned).await.status, 200);
    assert_eq!(told(&admin, "/photos/k").await.as_deref(), Some("iad"));
    let unsigned = Ask::put("/photos/k").unsigned(REGIONS, "fra").body("content").presigned(Duration::ZERO, minute);
    assert_refused(&admin.send(unsigned).await, "AccessDenied");
}

#[tokio::test]
async fn buckets_in_regions_that_are_not_there_are_refused() {
    let (world, admin) = world().await;
    let create = |name: &str, places: &str| Ask::put(&format!("/{name}")).header(REGIONS, places);
    for places in ["moon", "fra,moon", "fra,ams,iad", "fra,fra", "usa"] {
        assert_refused(&admin.send(create("made", places)).await, "InvalidArgument");
        let changed = patch(&admin, "photos", &json!({ "object_regions": places })).await;
        assert_eq!(changed.json_error(), (400, "InvalidArgument".to_owned()));
    }
    assert_eq!(admin.send(Ask::head("/made")).await.status, 404);
    for (name, places, location) in [("one", "iad", "single:iad"), ("two", "iad,ams", "dual:iad,ams"), ("more", "eur", "multi:eur")] {
        assert_eq!(admin.send(create(name, places)).await.status, 200);
        let bucket = world.catalog.bucket(&BucketName::parse(name).unwrap()).await.unwrap();
        assert_eq!(bucket.settings.location.to_string(), location);
    }
}

fn constrained(bucket: &str, region: &str) -> Ask {
    let constraint = format!("<LocationConstraint>{region}</LocationConstraint>");
    Ask::put(&format!("/{bucket}")).body(format!("<CreateBucketConfiguration>{constraint}</CreateBucketConfiguration>"))
}

/// The location of a bucket, and the region that S3 tells of it, which requests can be signed for.
async fn located(world: &World, admin: &Client, bucket: &str) -> (String, String) {
    let location = world.catalog.bucket(&BucketName::parse(bucket).unwrap()).await.unwrap().settings.location.to_string();
    let (told, head) = (admin.send(Ask::get(&format!("/{bucket}?location"))).await, admin.send(Ask::head(&format!("/{bucket}"))).await);
    let region = head.header("x-amz-bucket-region").unwrap().to_owned();
    let constraint = if region == "us-east-1" { "" } else { &region };
    assert!(told.text().ends_with(&format!("\">{constraint}</LocationConstraint>")), "{region}: {}", told.text());
    assert_eq!(admin.send(Ask::get(&format!("/{bucket}")).region(&region)).await.status, 200);
    (location, region)
}

#[tokio::test]
async fn a_location_constraint_puts_a_bucket_into_a_region() {
    let (world, admin) = world().await;
    for (bucket, constraint, places, location, region) in [
        ("one", "iad", None, "single:iad", "iad"),
        ("other", "fra", None, "single:fra", "fra"),
        ("nowhere", "eu-west-1", None, "global", "us-east-1"),
        ("tigris", "auto", None, "global", "us-east-1"),
        ("geography", "eur", None, "global", "us-east-1"),
        // What Tigris's header says counts.
        ("both", "iad", Some("fra,ams"), "dual:fra,ams", "us-east-1"),
        ("global", "iad", Some("global"), "global", "us-east-1"),
        ("single", "auto", Some("ams"), "single:ams", "ams"),
        ("more", "auto", Some("eur"), "multi:eur", "us-east-1"),
        ("blank", "iad", Some(""), "single:iad", "iad"),
    ] {
        let ask = places.into_iter().fold(constrained(bucket, constraint), |ask, places| ask.header(REGIONS, places));
        assert_eq!(admin.send(ask).await.status, 200, "{bucket}");
        assert_eq!(located(&world, &admin, bucket).await, (location.to_owned(), region.to_owned()), "{bucket}");
    }
    assert_refused(&admin.send(constrained("one", "fra")).await, "BucketAlreadyOwnedByYou");
    // It follows the location.
    assert_eq!(patch(&admin, "one", &json!({ "object_regions": "fra" })).await.status, 200);
    assert_eq!(located(&world, &admin, "one").await, ("single:fra".to_owned(), "fra".to_owned()));
}

#[tokio::test]
async fn a_bucket_is_created_again_only_where_it_is() {
    let (_world, admin) = world().await;
    let ask = |bucket: &str, places: &str| Ask::put(&format!("/{bucket}")).header(REGIONS, places);
    assert_eq!(admin.send(ask("placed", "fra,ams")).await.status, 200);
    assert_eq!(admin.send(ask("placed", "fra,ams")).await.status, 200);
    for other in ["fra", "fra,iad", "eur", "global"] {
        assert_refused(&admin.send(ask("placed", other)).await, "BucketAlreadyOwnedByYou");
    }
    assert_eq!(admin.send(Ask::put("/placed")).await.status, 200, "who says no place will have any");
    assert_eq!(admin.send(Ask::put("/anywhere")).await.status, 200);
    assert_refused(&admin.send(ask("anywhere", "fra")).await, "BucketAlreadyOwnedByYou");
    assert_eq!(admin.send(ask("anywhere", "global")).await.status, 200);
}

#[tokio::test]
async fn a_location_constraint_says_nothing_where_there_are_no_regions() {
    let world = World::new().await;
    let admin = world.admin().await;
    assert_eq!(admin.send(constrained("one", "iad")).await.status, 200);
    assert_eq!(located(&world, &admin, "one").await, ("global".to_owned(), "us-east-1".to_owned()));
    assert_eq!(patch(&admin, "one", &json!({ "object_regions": "iad" })).await.status, 200);
    assert_eq!(located(&world, &admin, "one").await, ("single:iad".to_owned(), "us-east-1".to_owned()), "it has no effect");
}

#[tokio::test]
async fn a_store_without_regions_keeps_what_it_is_told() {
    let world = World::new().await;
    let admin = world.admin().await;
    assert_eq!(patch(&admin, "photos", &json!({ "object_regions": "moon" })).await.status, 200);
    assert_eq!(admin.send(put("/photos/k", "mars,moon")).await.status, 200);
    assert_eq!(told(&admin, "/photos/k").await.as_deref(), Some("mars,moon"));
    assert_refused(&admin.send(put("/photos/k", "a b")).await, "InvalidArgument");
}

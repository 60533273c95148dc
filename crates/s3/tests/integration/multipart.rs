//! Multipart uploads.

use crate::{
    client::{Ask, Client, Reply},
    world::World,
};

const PART: usize = 5 * 1024 * 1024;

async fn begin(client: &Client, key: &str, headers: &[(&str, &str)]) -> String {
    let ask = headers.iter().fold(Ask::post(&format!("/photos/{key}?uploads")), |ask, (name, value)| ask.header(name, value));
    let begun = client.send(ask).await;
    assert_eq!(begun.status, 200, "{}", begun.text());
    begun.element("UploadId").unwrap().to_owned()
}

async fn part(client: &Client, key: &str, upload: &str, number: usize, body: Vec<u8>) -> Reply {
    client.send(Ask::put(&format!("/photos/{key}?partNumber={number}&uploadId={upload}")).body(body)).await
}

fn completion(parts: &[(usize, &str)]) -> String {
    let parts: String =
        parts.iter().map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")).collect();
    format!("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{parts}</CompleteMultipartUpload>")
}

#[tokio::test]
async fn parts_become_an_object() {
    let world = World::new().await;
    let admin = world.admin().await;
    let upload = begin(&admin, "big", &[("content-type", "video/mp4"), ("x-amz-meta-m", "1"), ("x-amz-tagging", "a=b")]).await;
    let first = part(&admin, "big", &upload, 1, vec![1; PART]).await;
    let second = part(&admin, "big", &upload, 2, vec![2; 10]).await;
    assert_eq!((first.status, second.status), (200, 200));

    let listed = admin.send(Ask::get(&format!("/photos/big?uploadId={upload}&max-parts=1"))).await;
    assert_eq!(
        (listed.elements("Part").len(), listed.element("IsTruncated"), listed.element("NextPartNumberMarker")),
        (1, Some("true"), Some("1"))
    );
    let listed = admin.send(Ask::get(&format!("/photos/big?uploadId={upload}&part-number-marker=1"))).await;
    assert_eq!((listed.element("Size"), listed.element("IsTruncated")), (Some("10"), Some("false")));
    let uploads = admin.send(Ask::get("/photos?uploads")).await;
    assert_eq!((uploads.element("Key"), uploads.element("UploadId")), (Some("big"), Some(upload.as_str())));
    assert_eq!(admin.send(Ask::head("/photos/big")).await.status, 404);

    let (first, second) = (first.header("etag").unwrap(), second.header("etag").unwrap());
    let complete = || Ask::post(&format!("/photos/big?uploadId={upload}"));
    assert_eq!(admin.send(complete().body(completion(&[(2, second), (1, first)]))).await.error(), (400, "InvalidPartOrder"));
    assert_eq!(admin.send(complete().body(completion(&[(1, first), (3, second)]))).await.error(), (400, "InvalidPart"));
    assert_eq!(admin.send(complete().body(completion(&[]))).await.error(), (400, "MalformedXML"));
    let done = admin.send(complete().body(completion(&[(1, first), (2, second)]))).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(done.element("ETag").unwrap().contains("-2"));
    assert_eq!(done.element("Location"), Some(format!("http://{}/photos/big", world.address).as_str()));

    let head = admin.send(Ask::head("/photos/big")).await;
    assert_eq!(
        (head.header("content-length"), head.header("content-type"), head.header("x-amz-meta-m")),
        (Some("5242890"), Some("video/mp4"), Some("1"))
    );
    assert_eq!(head.header("x-amz-tagging-count"), Some("1"));
    let second = admin.send(Ask::get("/photos/big?partNumber=2")).await;
    assert_eq!((second.status, second.body.len(), second.header("x-amz-mp-parts-count")), (206, 10, Some("2")));
    assert_eq!(second.header("content-range"), Some("bytes 5242880-5242889/5242890"));
    let second = admin.send(Ask::head("/photos/big?partNumber=2")).await;
    assert_eq!((second.status, second.header("content-length"), second.header("x-amz-mp-parts-count")), (206, Some("10"), Some("2")));
    assert_eq!(admin.send(Ask::get("/photos/big?partNumber=3")).await.error(), (416, "InvalidPartNumber"));
    assert_eq!(admin.send(Ask::get("/photos/big?partNumber=1").header("range", "bytes=0-1")).await.error(), (400, "InvalidRequest"));
}

#[tokio::test]
async fn checksums_of_parts_make_the_checksum_of_the_whole() {
    let world = World::new().await;
    let admin = world.admin().await;
    let upload = begin(&admin, "big", &[("x-amz-checksum-algorithm", "SHA256")]).await;
    let sha = "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=";
    let uri = format!("/photos/big?partNumber=1&uploadId={upload}");
    assert_eq!(admin.send(Ask::put(&uri).header("x-amz-checksum-sha256", sha).body("other")).await.error(), (400, "BadDigest"));
    let stored = admin.send(Ask::put(&uri).header("x-amz-checksum-sha256", sha).body("123456789")).await;
    assert_eq!(stored.header("x-amz-checksum-sha256"), Some(sha));
    let etag = stored.header("etag").unwrap();
    let with_sum = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag><ChecksumSHA256>{sha}</ChecksumSHA256></Part></CompleteMultipartUpload>"
    );
    let complete = || Ask::post(&format!("/photos/big?uploadId={upload}")).body(with_sum.clone());
    assert_eq!(admin.send(complete().header("x-amz-checksum-type", "FULL_OBJECT")).await.error(), (400, "InvalidRequest"));
    assert_eq!(admin.send(complete().header("x-amz-mp-object-size", "17")).await.status, 400);
    let done = admin.send(complete().header("x-amz-checksum-type", "COMPOSITE").header("x-amz-mp-object-size", "9")).await;
    assert_eq!((done.status, done.element("ChecksumType")), (200, Some("COMPOSITE")), "{}", done.text());
    let whole = done.element("ChecksumSHA256").unwrap();
    assert!(whole.ends_with("-1"), "{whole}");

    let names = "ETag,Checksum,ObjectParts,StorageClass,ObjectSize";
    let told = admin.send(Ask::get("/photos/big?attributes").header("x-amz-object-attributes", names)).await;
    assert_eq!(
        (told.element("ObjectSize"), told.element("StorageClass"), told.element("PartsCount")),
        (Some("9"), Some("STANDARD"), Some("1"))
    );
    assert!(told.text().contains(&format!("<ChecksumSHA256>{whole}</ChecksumSHA256>")));
    assert!(!told.element("ETag").unwrap().contains('"'));
    assert_eq!(
        admin.send(Ask::get("/photos/big?attributes").header("x-amz-object-attributes", "Colour")).await.error(),
        (400, "InvalidArgument")
    );
    let mode = admin.send(Ask::head("/photos/big").header("x-amz-checksum-mode", "ENABLED")).await;
    assert_eq!((mode.header("x-amz-checksum-sha256"), mode.header("x-amz-checksum-type")), (Some(whole), Some("COMPOSITE")));
    let begun = admin
        .send(Ask::post("/photos/k?uploads").header("x-amz-checksum-algorithm", "CRC64NVME").header("x-amz-checksum-type", "COMPOSITE"));
    assert_eq!(begun.await.error(), (400, "InvalidRequest"));
}

#[tokio::test]
async fn parts_are_copied() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.send(Ask::put("/photos/source").body("0123456789")).await;
    let upload = begin(&admin, "copy", &[]).await;
    let copy = |range: &str| {
        Ask::put(&format!("/photos/copy?partNumber=1&uploadId={upload}"))
            .header("x-amz-copy-source", "/photos/source")
            .header("x-amz-copy-source-range", range)
    };
    for bad in ["bytes=0-", "0-1", "bytes=5-20"] {
        assert_eq!(admin.send(copy(bad)).await.error(), (400, "InvalidArgument"), "{bad}");
    }
    let copied = admin.send(copy("bytes=2-4")).await;
    assert_eq!(copied.status, 200, "{}", copied.text());
    let etag = copied.element("ETag").unwrap();
    assert_eq!(admin.send(Ask::post(&format!("/photos/copy?uploadId={upload}")).body(completion(&[(1, etag)]))).await.status, 200);
    assert_eq!(admin.send(Ask::get("/photos/copy")).await.text(), "234");
}

#[tokio::test]
async fn an_abandoned_upload_is_gone() {
    let world = World::new().await;
    let admin = world.admin().await;
    let upload = begin(&admin, "big", &[]).await;
    assert_eq!(admin.send(Ask::delete(&format!("/photos/big?uploadId={upload}"))).await.status, 204);
    assert_eq!(part(&admin, "big", &upload, 1, vec![1]).await.error(), (404, "NoSuchUpload"));
    assert_eq!(admin.send(Ask::delete(&format!("/photos/big?uploadId={upload}"))).await.error(), (404, "NoSuchUpload"));
    assert_eq!(admin.send(Ask::get("/photos/big?uploadId=never")).await.error(), (404, "NoSuchUpload"));
    assert_eq!(part(&admin, "big", &upload, 10_001, vec![1]).await.error(), (400, "InvalidArgument"));
    assert_eq!(admin.send(Ask::put("/photos/big?uploadId=x").body("y")).await.error(), (400, "InvalidArgument"));
    assert_eq!(admin.send(Ask::head("/photos/big")).await.status, 404);
}

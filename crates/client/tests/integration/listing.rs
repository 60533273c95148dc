use umbra_client::{Error, ListOptions, ListedObject};
use umbra_core::{ETag, ErrorKind, Timestamp};

use crate::origin::{Act, Origin, answer, error};

fn object(key: &str) -> String {
    let tail = "<LastModified>2013-05-24T00:00:00.123Z</LastModified><ETag>&quot;e-2&quot;</ETag><Size>5</Size><StorageClass>GLACIER</StorageClass>";
    format!("<Contents><Key>{key}</Key>{tail}<Owner><ID>o</ID></Owner></Contents>")
}

fn page(inside: &str) -> Act {
    let document = format!(
        "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>photos</Name>{inside}</ListBucketResult>"
    );
    Act::Answer(answer("200 OK", &[("Content-Type", "application/xml")], &document))
}

fn options() -> ListOptions {
    ListOptions {
        prefix: Some("a b/".into()),
        delimiter: Some("/".into()),
        start_after: Some("a+🦀".into()),
        continuation: None,
        max_keys: Some(7),
    }
}

#[tokio::test]
async fn a_page_is_read_and_its_names_decoded() {
    let inside = format!(
        "<EncodingType>url</EncodingType><Prefix>a+b%2F</Prefix><IsTruncated>true</IsTruncated><NextContinuationToken>t+%2F=</NextContinuationToken>{}{}<CommonPrefixes><Prefix>a+b%2F%F0%9F%A6%80%2F</Prefix></CommonPrefixes>",
        object("a+b%2F%01%2Bc%25"),
        object("plain/key"),
    );
    let origin = Origin::start([page(&inside)]).await;
    let listed = origin.client().list_objects_v2(&options()).await.unwrap();
    let expected = |key: &str| ListedObject {
        key: key.into(),
        size: 5,
        etag: ETag::parse("e-2"),
        last_modified: Timestamp::from_millis(1_369_353_600_123),
        storage_class: Some("GLACIER".into()),
    };
    assert_eq!(listed.objects, [expected("a b/\u{1}+c%"), expected("plain/key")]);
    assert_eq!(listed.common_prefixes, ["a b/🦀/"]);
    assert_eq!((listed.is_truncated, listed.next.as_deref()), (true, Some("t+%2F=")), "a token is opaque");
    let line = "GET /photos?list-type=2&encoding-type=url&prefix=a%20b%2F&delimiter=%2F&start-after=a%2B%F0%9F%A6%80&max-keys=7";
    assert_eq!(origin.only().line(), line);
}

#[tokio::test]
async fn names_that_were_not_encoded_are_not_decoded() {
    let inside =
        format!("<IsTruncated>false</IsTruncated>{}<CommonPrefixes><Prefix> p+ </Prefix></CommonPrefixes>", object(" a+b%20&amp;&#x9; "));
    let origin = Origin::start([page(&inside)]).await;
    let listed = origin.client().list_objects_v2(&ListOptions::default()).await.unwrap();
    assert_eq!(listed.objects[0].key, " a+b%20&\t ");
    assert_eq!(listed.common_prefixes, [" p+ "]);
    assert_eq!((listed.is_truncated, listed.next), (false, None));
    assert_eq!(origin.only().line(), "GET /photos?list-type=2&encoding-type=url");
}

#[tokio::test]
async fn version_1_finds_its_own_way_on() {
    let encoded = "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>";
    let origin = Origin::start([
        page(&format!("{encoded}{}{}", object("a"), object("b+c"))),
        page(&format!("{encoded}<NextMarker>d+e%2F</NextMarker>{}<CommonPrefixes><Prefix>d+e%2F</Prefix></CommonPrefixes>", object("c"))),
        page(&format!("<IsTruncated>false</IsTruncated>{}", object("z"))),
    ])
    .await;
    let client = origin.client();
    let first = client.list_objects_v1(&options()).await.unwrap();
    assert_eq!(first.next.as_deref(), Some("b c"));
    let second = client.list_objects_v1(&ListOptions { continuation: first.next, ..options() }).await.unwrap();
    assert_eq!(second.next.as_deref(), Some("d e/"));
    let third = client.list_objects_v1(&ListOptions { continuation: second.next, ..ListOptions::default() }).await.unwrap();
    assert_eq!((third.is_truncated, third.next), (false, None));
    let lines: Vec<String> = origin.seen().iter().map(|seen| seen.line().to_owned()).collect();
    let tail = "&max-keys=7";
    assert_eq!(lines[0], format!("GET /photos?encoding-type=url&prefix=a%20b%2F&delimiter=%2F&marker=a%2B%F0%9F%A6%80{tail}"));
    assert_eq!(lines[1], format!("GET /photos?encoding-type=url&prefix=a%20b%2F&delimiter=%2F&marker=b%20c{tail}"));
    assert_eq!(lines[2], "GET /photos?encoding-type=url&marker=d%20e%2F");
}

#[tokio::test]
async fn a_listing_that_cannot_be_trusted_is_no_listing() {
    let truncated = "<IsTruncated>true</IsTruncated>";
    for (name, inside) in [
        ("truncated without a token", truncated.to_owned()),
        ("truncated with the same token", format!("{truncated}<NextContinuationToken>t</NextContinuationToken>")),
        ("no size", "<Contents><Key>k</Key><ETag>e</ETag><LastModified>2013-05-24T00:00:00Z</LastModified></Contents>".into()),
        ("an odd size", object("k").replace(">5<", ">-5<")),
        ("an odd time", object("k").replace("2013-05-24", "yesterday")),
        ("no key", object("k").replace("<Key>k</Key>", "")),
        ("a name that is not UTF-8", format!("<EncodingType>url</EncodingType>{}", object("%ff"))),
        ("an odd truth", "<IsTruncated>maybe</IsTruncated>".into()),
    ] {
        let origin = Origin::start([page(&inside)]).await;
        let listed = origin.client().list_objects_v2(&ListOptions { continuation: Some("t".into()), ..options() }).await;
        assert!(matches!(listed, Err(Error::BadResponse { .. })), "{name}: {listed:?}");
    }
    let cut = format!("<ListBucketResult>{}", object("k"));
    for (name, body) in [("cut short", cut.as_str()), ("empty", ""), ("a web page", "<html><body>hello</body></html>")] {
        let origin = Origin::start([Act::Answer(answer("200 OK", &[], body))]).await;
        let listed = origin.client().list_objects_v2(&options()).await;
        assert!(matches!(listed, Err(Error::BadResponse { .. })), "{name}: {listed:?}");
    }
    let v1 = Origin::start([page(truncated), page(&format!("{truncated}<NextMarker>b</NextMarker>"))]).await;
    for _ in 0..2 {
        let listed = v1.client().list_objects_v1(&ListOptions { start_after: Some("b".into()), ..ListOptions::default() }).await;
        assert!(matches!(listed, Err(Error::BadResponse { .. })), "{listed:?}");
    }
}

#[tokio::test]
async fn an_answer_too_big_is_not_gathered() {
    let huge = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", 17 << 20, "x".repeat(17 << 20));
    let origin = Origin::start([Act::Answer(huge.into_bytes())]).await;
    let listed = origin.client().list_objects_v2(&options()).await;
    assert!(matches!(listed, Err(Error::BadResponse { .. })), "{listed:?}");
}

#[tokio::test]
async fn a_bucket_that_is_missing_or_closed_is_no_empty_one() {
    for (status, code) in [("404 Not Found", "NoSuchBucket"), ("403 Forbidden", "AccessDenied"), ("404 Not Found", "")] {
        let origin = Origin::start([Act::Answer(error(status, code))]).await;
        assert_eq!(origin.client().list_objects_v2(&options()).await.unwrap_err().kind(), ErrorKind::OriginRefused);
    }
}

//! Services that want it otherwise than Amazon: each is understood, at the endpoint that was given and nowhere else.

use std::sync::Arc;

use http::HeaderMap;
use umbra_client::{
    Addressing, Endpoint, Error, GetOptions, ListOptions, ListVersion, S3Client,
    sigv4::{EMPTY_SHA256, verify_request},
};
use umbra_core::{Body, Clock, ErrorKind, ManualClock, SystemClock, Timestamp};

use crate::origin::{Act, Origin, answer, credentials, error, loopback, settings};

const DAY_MS: i64 = 24 * 3600 * 1000;

fn read() -> GetOptions {
    GetOptions::default()
}

/// A client of `origin` under a name, whose clock shows `clock`.
fn client(origin: &Origin, host: &str, clock: Arc<dyn Clock>) -> S3Client {
    let endpoint = Endpoint::parse(&format!("http://{host}:{}", origin.address.port()), "auto", Addressing::Auto).unwrap();
    S3Client::with_clock(endpoint, "photos", credentials(), loopback(), settings(), clock).unwrap()
}

fn scope(origin: &Origin, index: usize) -> String {
    let seen = origin.seen()[index].clone();
    seen.header("authorization").unwrap().split("Credential=AKIDEXAMPLE/").nth(1).unwrap().split(',').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_clock_that_differs_is_made_up_for() {
    for (name, refused) in [
        ("told", error("403 Forbidden", "RequestTimeTooSkewed")),
        ("untold, as of a HEAD", b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_vec()),
    ] {
        // The origin is right, and we are a day behind.
        let ours = Timestamp::from_millis(784_111_777_000 - DAY_MS);
        let dated = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            Act::Answer(text.replacen("\r\n", "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 1).into_bytes())
        };
        let fine = || Act::Answer(answer("200 OK", &[("ETag", "\"e\"")], ""));
        let origin = Origin::start([dated(&refused), fine(), fine()]).await;
        let client = client(&origin, "127.0.0.1", Arc::new(ManualClock::new(ours)));
        client.head_object("k", &read()).await.unwrap();
        client.put_object("k", 1, Body::from_bytes("x"), &HeaderMap::new()).await.unwrap();
        let dates: Vec<_> = origin.seen().iter().map(|seen| seen.header("x-amz-date").unwrap().to_owned()).collect();
        assert_eq!(dates, ["19941105T084937Z", "19941106T084937Z", "19941106T084937Z"], "{name}");
        assert_eq!(client.clock_ahead_ms(), DAY_MS);
        // The offset cannot mend what has another reason.
        let origin = Origin::start([dated(&refused), dated(&refused), dated(&refused)]).await;
        let client = self::client(&origin, "127.0.0.1", Arc::new(ManualClock::new(ours)));
        assert_eq!(client.head_object("k", &read()).await.unwrap_err().kind(), ErrorKind::OriginRefused);
        assert_eq!(origin.seen().len(), 2, "{name}");
    }
}

#[tokio::test]
async fn another_region_is_signed_for() {
    let body = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>no</Message><Region>eu-west-1</Region></Error>";
    for (name, refused) in [
        ("malformed", answer("400 Bad Request", &[], body)),
        ("redirect", answer("301 Moved Permanently", &[("x-amz-bucket-region", "eu-west-1")], "")),
    ] {
        let fine = || Act::Answer(answer("200 OK", &[("ETag", "\"e\"")], ""));
        let origin = Origin::start([Act::Answer(refused), fine(), fine()]).await;
        let client = origin.client();
        client.get_object("k", &read()).await.unwrap().body.collect(9).await.unwrap();
        client.head_object("k", &read()).await.unwrap();
        for (index, region) in ["us-east-1", "eu-west-1", "eu-west-1"].into_iter().enumerate() {
            assert!(scope(&origin, index).ends_with(&format!("/{region}/s3/aws4_request")), "{name} {index}");
        }
        assert_eq!(client.signing_region(), "eu-west-1");
        let lookup = |_| std::future::ready(Some(credentials()));
        let skew = std::time::Duration::from_secs(900);
        let signer = verify_request(&origin.seen()[1].parts(), EMPTY_SHA256, "s3", SystemClock.now(), skew, lookup).await;
        assert_eq!(signer.as_deref(), Ok("AKIDEXAMPLE"), "{name}");
    }
}

#[tokio::test]
async fn the_bucket_is_looked_for_in_the_host_name_too() {
    let fine = || Act::Answer(answer("200 OK", &[("ETag", "\"e\"")], ""));
    for refused in [
        error("403 Forbidden", "SecondLevelDomainForbidden"),
        error("404 Not Found", "NoSuchBucket"),
        answer("405 Method Not Allowed", &[], ""),
    ] {
        let origin = Origin::start([Act::Answer(refused), fine(), fine()]).await;
        let client = client(&origin, "localhost", Arc::new(SystemClock));
        client.get_object("k", &read()).await.unwrap().body.collect(9).await.unwrap();
        assert!(client.is_bucket_in_host());
        client.get_object("k", &read()).await.unwrap().body.collect(9).await.unwrap();
        let seen: Vec<_> = origin.seen().iter().map(|seen| (seen.line().to_owned(), seen.header("host").unwrap().to_owned())).collect();
        let port = origin.address.port();
        let (path, host) =
            (("GET /photos/k".to_owned(), format!("localhost:{port}")), ("GET /k".to_owned(), format!("photos.localhost:{port}")));
        assert_eq!(seen, [path, host.clone(), host]);
    }
}

#[tokio::test]
async fn a_bucket_that_is_in_neither_place_is_told_of_as_at_first() {
    let origin =
        Origin::start([Act::Answer(error("404 Not Found", "NoSuchBucket")), Act::Answer(error("400 Bad Request", "InvalidURI"))]).await;
    let named = client(&origin, "localhost", Arc::new(SystemClock));
    let missing = named.get_object("k", &read()).await.unwrap_err();
    assert_eq!(missing.s3().unwrap().code, "NoSuchBucket");
    assert!(!named.is_bucket_in_host());
    // Where the bucket has been seen, it does not move.
    let origin =
        Origin::start([Act::Answer(answer("200 OK", &[("ETag", "\"e\"")], "")), Act::Answer(error("404 Not Found", "NoSuchBucket"))]).await;
    let named = client(&origin, "localhost", Arc::new(SystemClock));
    named.head_object("k", &read()).await.unwrap();
    named.get_object("k", &read()).await.unwrap_err();
    assert_eq!(origin.seen().len(), 2);
    // An address has no host name to put a bucket before.
    let origin = Origin::start([Act::Answer(error("404 Not Found", "NoSuchBucket"))]).await;
    origin.client().get_object("k", &read()).await.unwrap_err();
    assert_eq!(origin.seen().len(), 1);
}

fn page(inside: &str) -> Act {
    Act::Answer(answer("200 OK", &[], &format!("<ListBucketResult>{inside}</ListBucketResult>")))
}

fn entry(key: &str) -> String {
    format!("<Contents><Key>{key}</Key><LastModified>2013-05-24T00:00:00Z</LastModified><ETag>e</ETag><Size>5</Size></Contents>")
}

#[tokio::test]
async fn a_service_that_knows_version_1_only_is_listed_so() {
    let first = format!("<Marker></Marker><IsTruncated>true</IsTruncated>{}", entry("a"));
    let second = format!("<Marker>a</Marker><IsTruncated>false</IsTruncated>{}", entry("b"));
    for (name, refusal) in [
        ("501", Act::Answer(error("501 Not Implemented", "NotImplemented"))),
        ("400", Act::Answer(error("400 Bad Request", "InvalidArgument"))),
        ("an answer of version 1", page(&first)),
    ] {
        let origin = Origin::start([refusal, page(&first), page(&second)]).await;
        let client = origin.client();
        let listed = client.list_objects(&ListOptions::default()).await.unwrap();
        assert_eq!((listed.objects.len(), listed.next.as_deref()), (1, Some("a")), "{name}");
        let rest = client.list_objects(&ListOptions { continuation: listed.next, ..ListOptions::default() }).await.unwrap();
        assert_eq!((rest.objects[0].key.as_str(), rest.next), ("b", None), "{name}");
        let lines: Vec<_> = origin.seen().iter().map(|seen| seen.line().to_owned()).collect();
        let expected =
            ["GET /photos?list-type=2&encoding-type=url", "GET /photos?encoding-type=url", "GET /photos?encoding-type=url&marker=a"];
        assert_eq!(lines, expected, "{name}");
        assert_eq!(client.list_version(), Some(ListVersion::V1));
    }
}

#[tokio::test]
async fn a_refusal_that_is_not_about_the_version_stands() {
    for (status, code) in [("403 Forbidden", "AccessDenied"), ("404 Not Found", "NoSuchBucket")] {
        let origin = Origin::start([Act::Answer(error(status, code))]).await;
        let refused = origin.client().list_objects(&ListOptions::default()).await.unwrap_err();
        assert_eq!(refused.s3().unwrap().code, code);
        assert_eq!(origin.seen().len(), 1);
    }
    let both =
        Origin::start([Act::Answer(error("400 Bad Request", "InvalidArgument")), Act::Answer(error("403 Forbidden", "AccessDenied"))])
            .await;
    let refused = both.client().list_objects(&ListOptions::default()).await.unwrap_err();
    assert_eq!(refused.s3().unwrap().code, "InvalidArgument", "the first answer tells more");
}

#[tokio::test]
async fn short_and_empty_pages_are_pages() {
    let origin = Origin::start([
        page("<KeyCount>0</KeyCount><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"),
        page(&format!(
            "<KeyCount>1</KeyCount><IsTruncated>true</IsTruncated><NextContinuationToken>u</NextContinuationToken>{}",
            entry("a")
        )),
    ])
    .await;
    let client = origin.client();
    let empty = client.list_objects(&ListOptions::default()).await.unwrap();
    assert_eq!((empty.objects.len(), empty.is_truncated, empty.next.as_deref()), (0, true, Some("t")));
    let short = client.list_objects(&ListOptions { continuation: empty.next, ..ListOptions::default() }).await.unwrap();
    assert_eq!((short.objects.len(), short.next.as_deref()), (1, Some("u")));
    assert_eq!(client.list_version(), Some(ListVersion::V2));
}

#[tokio::test]
async fn control_characters_that_come_raw_are_kept() {
    let page = page(&format!("<IsTruncated>false</IsTruncated>{}{}", entry("a\u{1}%41+b"), entry("b\r\nc\rd&#x1;")));
    let origin = Origin::start([page]).await;
    let listed = origin.client().list_objects(&ListOptions::default()).await.unwrap();
    let keys: Vec<_> = listed.objects.iter().map(|object| object.key.as_str()).collect();
    assert_eq!(keys, ["a\u{1}%41+b", "b\r\nc\rd\u{1}"]);
}

#[tokio::test]
async fn content_compressed_on_its_way_is_refused() {
    let chunked =
        b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nzz\r\n0\r\n\r\n".to_vec();
    let head = |more: &str| Act::Answer(format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"e\"\r\n{more}\r\n").into_bytes());
    let origin = Origin::start([Act::Answer(chunked.clone()), head("")]).await;
    let refused = origin.client().get_object("k", &read()).await;
    assert!(matches!(refused, Err(Error::BadResponse { .. })), "{refused:?}");
    let stored = Origin::start([Act::Answer(chunked), head("Content-Encoding: gzip\r\n")]).await;
    assert_eq!(stored.client().get_object("k", &read()).await.unwrap().body.collect(9).await.unwrap(), "zz");
}

#[tokio::test]
async fn content_for_an_origin_that_keeps_cut_uploads_ends_with_a_checksum() {
    let fine = |server: &str| Act::Answer(answer("200 OK", &[("ETag", "\"e\""), ("Server", server)], ""));
    let origin = Origin::start([fine("SeaweedFS 30GB 3.99"), fine("SeaweedFS 30GB 3.99")]).await;
    let client = origin.client();
    client.head_bucket().await.unwrap();
    client.put_object("k", 6, Body::from_bytes("abcdef"), &HeaderMap::new()).await.unwrap();
    let seen = origin.seen()[1].clone();
    assert_eq!(seen.body, b"6\r\nabcdef\r\n0\r\nx-amz-checksum-crc32:S4457w==\r\n\r\n");
    assert_eq!(seen.header("x-amz-content-sha256"), Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER"));
    assert_eq!((seen.header("x-amz-decoded-content-length"), seen.header("x-amz-trailer")), (Some("6"), Some("x-amz-checksum-crc32")));
    let other = Origin::start([fine("AmazonS3"), fine("AmazonS3")]).await;
    let client = other.client();
    client.head_bucket().await.unwrap();
    client.put_object("k", 6, Body::from_bytes("abcdef"), &HeaderMap::new()).await.unwrap();
    assert_eq!(other.seen()[1].body, b"abcdef");
}

use http::{HeaderMap, HeaderValue};
use umbra_client::{
    Addressing, ContentRange, Endpoint, Error, GetOptions, S3Client,
    sigv4::{EMPTY_SHA256, verify_request},
};
use umbra_core::{ByteRange, Clock, Entity, ErrorKind, Fault, PartNumber, SystemClock};

use crate::origin::{Act, Origin, answer, credentials, error, loopback, settings};

#[tokio::test]
async fn an_object_comes_with_every_header() {
    let headers = [("ETag", "\"e-2\""), ("x-amz-meta-a", "1"), ("X-Amz-Meta-A", "2"), ("x-unheard-of", "yes")];
    let origin = Origin::start([Act::Answer(answer("200 OK", &headers, "hello"))]).await;
    let response = origin.client().get_object("k", &GetOptions::default()).await.unwrap();
    assert_eq!((response.status.as_u16(), response.content_length, response.content_range), (200, Some(5), None));
    assert_eq!(response.headers["etag"], "\"e-2\"");
    assert_eq!(response.headers["x-unheard-of"], "yes");
    assert_eq!(response.headers.get_all("x-amz-meta-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(response.body.size(), Some(5));
    assert_eq!(response.body.collect(100).await.unwrap(), "hello");
    let seen = origin.only();
    assert_eq!(seen.line(), "GET /photos/k");
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert_eq!(seen.header("host"), Some(origin.address.to_string().as_str()));
    assert_eq!(seen.header("content-length"), None);
    assert_eq!(seen.header("transfer-encoding"), None);
}

#[tokio::test]
async fn keys_reach_the_origin_byte_by_byte() {
    let cases = [
        ("a b", "a%20b"),
        ("a+b", "a%2Bb"),
        ("a%20b%", "a%2520b%25"),
        ("/", "/"),
        ("//a//b//", "//a//b//"),
        ("../a/./b/..", "../a/./b/.."),
        (".", "."),
        ("🦀/ü", "%F0%9F%A6%80/%C3%BC"),
        ("\u{0}\u{1}\r\n\t\u{7f}", "%00%01%0D%0A%09%7F"),
        ("a?b#c&d=e;f:g@h,i$j!k*l'(m)", "a%3Fb%23c%26d%3De%3Bf%3Ag%40h%2Ci%24j%21k%2Al%27%28m%29"),
        ("<>\"\\^`{|}[]", "%3C%3E%22%5C%5E%60%7B%7C%7D%5B%5D"),
    ];
    let origin = Origin::start(cases.map(|_| Act::Answer(answer("200 OK", &[], "x")))).await;
    let based = Endpoint::parse(&format!("http://{}/base/", origin.address), "auto", Addressing::Path).unwrap();
    let based = S3Client::new(based, "photos", credentials(), loopback(), settings()).unwrap();
    for (index, (key, target)) in cases.into_iter().enumerate() {
        let (client, prefix) = if index % 2 == 0 { (origin.client(), "") } else { (based.clone(), "/base") };
        client.get_object(key, &GetOptions::default()).await.unwrap().body.collect(9).await.unwrap();
        let seen = origin.seen().pop().unwrap();
        assert_eq!(seen.line(), format!("GET {prefix}/photos/{target}"), "{key:?}");
        // What is signed is what is sent.
        let lookup = |_| std::future::ready(Some(credentials()));
        let skew = std::time::Duration::from_secs(900);
        let signer = verify_request(&seen.parts(), EMPTY_SHA256, "s3", SystemClock.now(), skew, lookup).await;
        assert_eq!(signer.as_deref(), Ok("AKIDEXAMPLE"), "{key:?}");
    }
    let empty = origin.client().get_object("", &GetOptions::default()).await;
    assert!(matches!(empty, Err(Error::Request(_))));
}

#[tokio::test]
async fn options_become_headers_and_all_are_signed() {
    let origin = Origin::start([Act::Answer(answer("206 Partial Content", &[("Content-Range", "bytes 2-4/9")], "llo"))]).await;
    let options = GetOptions {
        range: Some(ByteRange::new(2, 5)),
        if_match: Some("\"e\"".into()),
        if_none_match: Some("\"f\"".into()),
        if_modified_since: Some("Fri, 24 May 2013 00:00:00 GMT".into()),
        if_unmodified_since: Some("Sat, 25 May 2013 00:00:00 GMT".into()),
        part_number: Some(PartNumber::new(3).unwrap()),
        checksum_mode: true,
    };
    let extra = HeaderMap::from_iter(
        [("x-umbra-shadow-path", "a/b"), ("host", "evil"), ("authorization", "evil")]
            .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), HeaderValue::from_static(value))),
    );
    let response = origin.client().with_headers(extra).get_object("k", &options).await.unwrap();
    let range = ContentRange { range: ByteRange::new(2, 5), size: Some(9) };
    assert_eq!((response.status.as_u16(), response.content_length, response.content_range), (206, Some(3), Some(range)));
    let seen = origin.only();
    assert_eq!(seen.line(), "GET /photos/k?partNumber=3");
    let expected = [
        ("range", "bytes=2-4"),
        ("if-match", "\"e\""),
        ("if-none-match", "\"f\""),
        ("if-modified-since", "Fri, 24 May 2013 00:00:00 GMT"),
        ("if-unmodified-since", "Sat, 25 May 2013 00:00:00 GMT"),
        ("x-amz-checksum-mode", "ENABLED"),
        ("x-umbra-shadow-path", "a/b"),
    ];
    let authorization = seen.header("authorization").unwrap();
    let signed = authorization.split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
    for (name, value) in expected {
        assert_eq!(seen.header(name), Some(value));
        assert!(signed.split(';').any(|header| header == name), "{name} is not signed: {signed}");
    }
    assert_eq!(seen.header("host"), Some(origin.address.to_string().as_str()));
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"));
}

#[tokio::test]
async fn an_origin_that_ignores_the_range_is_told_apart() {
    let origin = Origin::start([Act::Answer(answer("200 OK", &[], "hello"))]).await;
    let options = GetOptions { range: Some(ByteRange::new(2, 5)), ..GetOptions::default() };
    let response = origin.client().get_object("k", &options).await.unwrap();
    assert_eq!((response.status.as_u16(), response.content_length, response.content_range), (200, Some(5), None));
}

#[tokio::test]
async fn other_bytes_than_asked_for_are_refused() {
    for range in [None, Some(("Content-Range", "bytes 0-2/9")), Some(("Content-Range", "bytes 2-9/20"))] {
        let origin = Origin::start([Act::Answer(answer("206 Partial Content", range.as_slice(), "llo"))]).await;
        let options = GetOptions { range: Some(ByteRange::new(2, 5)), ..GetOptions::default() };
        assert!(matches!(origin.client().get_object("k", &options).await, Err(Error::BadResponse { .. })), "{range:?}");
    }
}

#[tokio::test]
async fn content_that_was_decompressed_on_its_way_is_refused() {
    let stored = ("x-goog-stored-content-encoding", "gzip");
    let origin = Origin::start([
        Act::Answer(answer("200 OK", &[stored], "hello")),
        Act::Answer(answer("200 OK", &[stored, ("Content-Encoding", "gzip")], "as stored")),
    ])
    .await;
    let client = origin.client();
    assert!(matches!(client.get_object("k", &GetOptions::default()).await, Err(Error::BadResponse { .. })));
    assert!(client.get_object("k", &GetOptions::default()).await.is_ok());
}

#[tokio::test]
async fn content_without_a_length_is_read_to_its_end() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    let closing = b"HTTP/1.1 200 OK\r\n\r\nhello world";
    let origin = Origin::start([Act::Answer(chunked.to_vec()), Act::AnswerAndClose(closing.to_vec())]).await;
    for _ in 0..2 {
        let response = origin.client().get_object("k", &GetOptions::default()).await.unwrap();
        assert_eq!(response.content_length, None);
        assert_eq!(response.body.collect(100).await.unwrap(), "hello world");
    }
}

#[tokio::test]
async fn an_object_with_hundreds_of_headers_is_read() {
    let names: Vec<String> = (0..400).map(|number| format!("x-amz-meta-{number}")).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    let origin = Origin::start([Act::Answer(answer("200 OK", &headers, ""))]).await;
    let response = origin.client().get_object("k", &GetOptions::default()).await.unwrap();
    assert_eq!(response.headers.len(), 401);
}

#[tokio::test]
async fn a_head_moves_no_body() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\nETag: \"e\"\r\n\r\n".to_vec();
    let origin = Origin::start([Act::Answer(head), Act::Answer(answer("200 OK", &[], ""))]).await;
    let client = origin.client();
    let headers = client.head_object("k", &GetOptions::default()).await.unwrap();
    assert_eq!((headers["content-length"].to_str().unwrap(), headers["etag"].to_str().unwrap()), ("5000000", "\"e\""));
    client.head_bucket().await.unwrap();
    let seen = origin.seen();
    assert_eq!((seen[0].line(), seen[1].line()), ("HEAD /photos/k", "HEAD /photos"));
    assert_eq!(seen[1].connection, 0, "the connection is used again");
}

#[tokio::test]
async fn the_status_of_a_head_speaks_alone() {
    let bare = |status: &str| Act::Answer(format!("HTTP/1.1 {status}\r\nContent-Length: 300\r\n\r\n").into_bytes());
    let minio = Act::Answer(b"HTTP/1.1 404 Not Found\r\nx-minio-error-code: NoSuchBucket\r\n\r\n".to_vec());
    for (act, expected) in [
        (bare("404 Not Found"), ErrorKind::NotFound(Entity::Object)),
        (bare("403 Forbidden"), ErrorKind::OriginRefused),
        (bare("304 Not Modified"), ErrorKind::NotModified),
        (bare("412 Precondition Failed"), ErrorKind::Precondition),
        (bare("416 Range Not Satisfiable"), ErrorKind::Invalid(Fault::InvalidRange)),
        (bare("301 Moved Permanently"), ErrorKind::OriginRefused),
        (minio, ErrorKind::OriginRefused),
    ] {
        let origin = Origin::start([act]).await;
        assert_eq!(origin.client().head_object("k", &GetOptions::default()).await.unwrap_err().kind(), expected);
    }
    let origin = Origin::start([bare("404 Not Found")]).await;
    let missing = origin.client().head_bucket().await.unwrap_err();
    assert_eq!((missing.kind(), missing.s3().unwrap().code.as_str()), (ErrorKind::OriginRefused, "NoSuchBucket"));
}

#[tokio::test]
async fn refusals_are_typed() {
    for (reply, expected) in [
        (error("404 Not Found", "NoSuchKey"), ErrorKind::NotFound(Entity::Object)),
        (error("404 Not Found", "NoSuchBucket"), ErrorKind::OriginRefused),
        (answer("404 Not Found", &[("Content-Type", "text/html")], "<html>nginx</html>"), ErrorKind::OriginRefused),
        (answer("404 Not Found", &[], ""), ErrorKind::OriginRefused),
        (error("403 Forbidden", "AccessDenied"), ErrorKind::OriginRefused),
        (error("403 Forbidden", "InvalidObjectState"), ErrorKind::Invalid(Fault::InvalidObjectState)),
        (error("412 Precondition Failed", "PreconditionFailed"), ErrorKind::Precondition),
        (b"HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n".to_vec(), ErrorKind::NotModified),
    ] {
        let origin = Origin::start([Act::Answer(reply.clone())]).await;
        let refused = origin.client().get_object("k", &GetOptions::default()).await.unwrap_err();
        assert_eq!(refused.kind(), expected, "{}", String::from_utf8_lossy(&reply));
        assert_eq!(origin.seen().len(), 1, "it is not asked again");
    }
    let origin = Origin::start([Act::Answer(error("403 Forbidden", "AccessDenied"))]).await;
    let refused = origin.client().get_object("k", &GetOptions::default()).await.unwrap_err();
    let told = refused.s3().unwrap();
    assert_eq!(
        (told.status, told.code.as_str(), told.message.as_deref(), told.request_id.as_deref()),
        (403, "AccessDenied", Some("so it is"), Some("R1"))
    );
}

#[tokio::test]
async fn redirects_are_reported_and_not_followed() {
    let trap = Origin::start([Act::Answer(answer("200 OK", &[], "secret"))]).await;
    let location = format!("http://{}/photos/k", trap.address);
    let body = "<Error><Code>PermanentRedirect</Code><Endpoint>photos.s3.eu-west-1.amazonaws.com</Endpoint></Error>";
    let moved = || Act::Answer(answer("301 Moved Permanently", &[("x-amz-bucket-region", "eu-west-1"), ("Location", &location)], body));
    let origin = Origin::start([
        // Asked again at the same place, signed for the region it named, it moves all the same.
        moved(),
        moved(),
        Act::Answer(answer("307 Temporary Redirect", &[("Location", &location)], "")),
    ])
    .await;
    let client = origin.client();
    let moved = client.get_object("k", &GetOptions::default()).await.unwrap_err();
    assert_eq!(moved.kind(), ErrorKind::OriginRefused);
    assert!(moved.to_string().contains("eu-west-1") && moved.to_string().contains("photos.s3.eu-west-1.amazonaws.com"), "{moved}");
    let moved = client.get_object("k", &GetOptions::default()).await.unwrap_err();
    assert_eq!(moved.kind(), ErrorKind::OriginRefused);
    assert!(moved.to_string().contains(&location), "{moved}");
    assert!(trap.seen().is_empty());
}

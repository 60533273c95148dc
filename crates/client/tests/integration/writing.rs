use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue};
use umbra_client::{Error, sigv4};
use umbra_core::{Body, Clock, Error as CoreError, ErrorKind, Fault, SystemClock, Tags};

use crate::origin::{Act, Origin, answer, credentials, error, impatient};

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

fn chunks(chunks: Vec<Result<&'static str, CoreError>>) -> Body {
    // A pause before each, so that what came before is on its way.
    let paused = stream::iter(chunks).then(|chunk| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        chunk.map(Bytes::from)
    });
    Body::new(None, paused)
}

#[tokio::test]
async fn content_streams_out_with_its_length_fixed() {
    let origin = Origin::start([Act::Answer(answer("200 OK", &[("ETag", "\"e\""), ("x-amz-version-id", "v")], ""))]).await;
    let given =
        headers(&[("content-type", "text/plain"), ("x-amz-meta-a", "1"), ("content-length", "99"), ("transfer-encoding", "chunked")]);
    let body = chunks(vec![Ok("hello "), Ok(""), Ok("world")]);
    let answered = origin.client().put_object("k k", 11, body, &given).await.unwrap();
    assert_eq!((answered["etag"].to_str().unwrap(), answered["x-amz-version-id"].to_str().unwrap()), ("\"e\"", "v"));
    let seen = origin.only();
    assert_eq!((seen.line(), seen.body.as_slice(), seen.whole), ("PUT /photos/k%20k", b"hello world".as_slice(), true));
    for (name, value) in [
        ("content-length", Some("11")),
        ("transfer-encoding", None),
        ("expect", None),
        ("content-type", Some("text/plain")),
        ("x-amz-meta-a", Some("1")),
        ("x-amz-content-sha256", Some("UNSIGNED-PAYLOAD")),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    let lookup = |_| std::future::ready(Some(credentials()));
    let skew = Duration::from_secs(900);
    let signer = sigv4::verify_request(&seen.parts(), "UNSIGNED-PAYLOAD", "s3", SystemClock.now(), skew, lookup).await;
    assert_eq!(signer.as_deref(), Ok("AKIDEXAMPLE"));
}

#[tokio::test]
async fn an_empty_object_is_stored() {
    let origin = Origin::start([Act::Answer(answer("200 OK", &[("ETag", "\"e\"")], ""))]).await;
    origin.client().put_object("k", 0, Body::empty(), &HeaderMap::new()).await.unwrap();
    let seen = origin.only();
    assert_eq!((seen.header("content-length"), seen.header("x-amz-content-sha256")), (Some("0"), Some(sigv4::EMPTY_SHA256)));
    let more = origin.client().put_object("k", 0, Body::from_bytes("x"), &HeaderMap::new()).await;
    assert!(matches!(more, Err(Error::BodySize { expected: 0, got: 1 })));
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn content_that_fails_never_arrives_whole() {
    let broken = || CoreError::new(ErrorKind::Corrupt, "the checksum is wrong");
    for (name, size, body) in [
        ("fails at once", 11, chunks(vec![Err(broken())])),
        ("fails in the middle", 11, chunks(vec![Ok("hello "), Err(broken())])),
        ("fails after the last byte", 11, chunks(vec![Ok("hello "), Ok("world"), Err(broken())])),
        ("is too short", 11, chunks(vec![Ok("hello "), Ok("worl")])),
        ("is too long", 11, chunks(vec![Ok("hello "), Ok("world"), Ok("!")])),
        ("is too long in one piece", 3, chunks(vec![Ok("hello world")])),
    ] {
        let origin = Origin::start([Act::Answer(answer("200 OK", &[("ETag", "\"e\"")], ""))]).await;
        let failure = origin.client().put_object("k", size, body, &HeaderMap::new()).await.unwrap_err();
        let expected = if name.starts_with("fails") { ErrorKind::Corrupt } else { ErrorKind::Invalid(Fault::IncompleteBody) };
        assert_eq!((failure.kind(), failure.outcome_unknown()), (expected, false), "{name}: {failure:?}");
        // Content that fails before its first bytes are let go leaves no trace at all.
        if name != "fails at once" && name != "is too long in one piece" {
            assert!(!origin.after(1).await.whole, "{name}");
        }
    }
}

#[tokio::test]
async fn an_abandoned_upload_never_arrives_whole() {
    let origin = Origin::start([Act::Answer(answer("200 OK", &[], ""))]).await;
    let client = origin.client();
    let (send, receive) = tokio::sync::mpsc::channel::<Result<Bytes, CoreError>>(4);
    let body = Body::new(None, stream::unfold(receive, |mut receive| async { receive.recv().await.map(|item| (item, receive)) }));
    let upload = tokio::spawn(async move { client.put_object("k", 10, body, &HeaderMap::new()).await });
    send.send(Ok("hello".into())).await.unwrap();
    upload.abort();
    assert!(upload.await.unwrap_err().is_cancelled());
    // The rest of the content comes too late.
    let _ = send.send(Ok("world".into())).await;
    drop(send);
    if let Some(seen) = origin.seen().first() {
        assert!(!seen.whole);
    }
}

#[tokio::test]
async fn a_slow_source_is_no_fault_of_the_origin() {
    let origin = Origin::start([Act::Answer(answer("200 OK", &[("ETag", "\"e\"")], ""))]).await;
    let settings = impatient();
    let pause = settings.response_timeout * 3;
    let slow = stream::iter(["hello ", "world"]).then(move |chunk| async move {
        tokio::time::sleep(pause).await;
        Ok(Bytes::from(chunk))
    });
    origin.client_with(settings).put_object("k", 11, Body::new(None, slow), &HeaderMap::new()).await.unwrap();
    assert!(origin.only().whole);
}

#[tokio::test]
async fn an_early_refusal_stops_the_upload() {
    let origin = Origin::start([Act::AnswerEarly(error("403 Forbidden", "AccessDenied"))]).await;
    let endless = stream::iter([Ok(Bytes::from("hello"))]).chain(stream::pending());
    let refused = origin.client().put_object("k", 10, Body::new(None, endless), &HeaderMap::new()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.outcome_unknown()), (ErrorKind::OriginRefused, false), "{refused:?}");
    let seen = origin.after(1).await;
    assert!(!seen.whole, "the connection was closed under the upload: {seen:?}");
}

#[tokio::test]
async fn a_success_before_the_content_is_none() {
    let origin = Origin::start([Act::AnswerEarly(answer("200 OK", &[("ETag", "\"e\"")], ""))]).await;
    let endless = stream::iter([Ok(Bytes::from("hello"))]).chain(stream::pending());
    let early = origin.client().put_object("k", 10, Body::new(None, endless), &HeaderMap::new()).await.unwrap_err();
    assert!(matches!(early, Error::BadResponse { .. }), "{early:?}");
    assert!(early.outcome_unknown());
}

#[tokio::test]
async fn uploads_are_not_repeated() {
    for act in [Act::Answer(error("503 Slow Down", "SlowDown")), Act::Answer(error("500 Oops", "InternalError")), Act::Close] {
        let origin = Origin::start([act]).await;
        assert!(origin.client().put_object("k", 5, Body::from_bytes("hello"), &HeaderMap::new()).await.is_err());
        assert!(origin.client().put_object("k", 0, Body::empty(), &HeaderMap::new()).await.is_err());
        assert_eq!(origin.seen().len(), 2);
    }
}

#[tokio::test]
async fn what_is_not_certain_is_called_unknown() {
    let put = |origin: &Origin| {
        let client = origin.client_with(impatient());
        async move { client.put_object("k", 5, Body::from_bytes("hello"), &HeaderMap::new()).await.unwrap_err() }
    };
    let origin = Origin::start([Act::Close, Act::Stall]).await;
    let closed = put(&origin).await;
    assert!(matches!(closed, Error::Broken { sent: true, .. }) && closed.outcome_unknown(), "{closed:?}");
    let stalled = put(&origin).await;
    assert!(matches!(stalled, Error::Timeout) && stalled.outcome_unknown(), "{stalled:?}");
    let address = origin.address;
    let client = origin.client_with(impatient());
    drop(origin);
    // Until the aborted server has let go of its port.
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let refused = client.put_object("k", 5, Body::from_bytes("hello"), &HeaderMap::new()).await.unwrap_err();
    assert!(matches!(refused, Error::Connect(_)) && !refused.outcome_unknown(), "{refused:?}");
}

#[tokio::test]
async fn an_upload_cut_off_midway_has_certainly_not_happened() {
    let origin = Origin::start([Act::Reset]).await;
    let endless = stream::iter([Ok(Bytes::from("hello"))]).chain(stream::pending());
    let reset = origin.client().put_object("k", 10, Body::new(None, endless), &HeaderMap::new()).await.unwrap_err();
    assert!(matches!(reset, Error::Broken { sent: false, .. }), "{reset:?}");
    assert!(!reset.outcome_unknown());
}

#[tokio::test]
async fn an_origin_that_stops_taking_bytes_is_given_up() {
    let origin = Origin::start([Act::StopReading]).await;
    let size = 64 << 20;
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[0; 1 << 16]))).take(1 << 10);
    let stuck = origin.client_with(impatient()).put_object("k", size, Body::new(None, endless), &HeaderMap::new()).await.unwrap_err();
    assert!(matches!(stuck, Error::Broken { sent: false, .. }), "{stuck:?}");
}

#[tokio::test]
async fn deleting_what_is_not_there_is_no_error() {
    let no_content = Act::Answer(b"HTTP/1.1 204 No Content\r\nx-amz-delete-marker: true\r\n\r\n".to_vec());
    let origin = Origin::start([
        no_content,
        Act::Answer(error("404 Not Found", "NoSuchKey")),
        Act::Answer(error("404 Not Found", "NoSuchBucket")),
        Act::Answer(error("403 Forbidden", "AccessDenied")),
    ])
    .await;
    let client = origin.client();
    assert_eq!(client.delete_object("a b").await.unwrap()["x-amz-delete-marker"], "true");
    assert!(client.delete_object("k").await.unwrap().is_empty());
    assert_eq!(client.delete_object("k").await.unwrap_err().kind(), ErrorKind::OriginRefused);
    assert_eq!(client.delete_object("k").await.unwrap_err().kind(), ErrorKind::OriginRefused);
    assert_eq!(origin.seen()[0].line(), "DELETE /photos/a%20b");
}

#[tokio::test]
async fn tags_are_read_and_written() {
    let document = "<Tagging><TagSet><Tag><Key>a &amp; b</Key><Value> 1 </Value></Tag><Tag><Key>c</Key><Value/></Tag></TagSet></Tagging>";
    let origin = Origin::start([
        Act::Answer(answer("200 OK", &[], document)),
        Act::Answer(answer("200 OK", &[], "")),
        Act::Answer(answer("200 OK", &[], "not the tags but the object")),
    ])
    .await;
    let client = origin.client();
    let tags = client.get_object_tagging("k").await.unwrap();
    assert_eq!(tags, Tags::new([("a & b".into(), " 1 ".into()), ("c".into(), String::new())]));
    client.put_object_tagging("k", &tags).await.unwrap();
    let seen = origin.seen();
    assert_eq!((seen[0].line(), seen[1].line()), ("GET /photos/k?tagging", "PUT /photos/k?tagging"));
    let sent = String::from_utf8(seen[1].body.clone()).unwrap();
    assert!(sent.contains("<Tag><Key>a &amp; b</Key><Value> 1 </Value></Tag><Tag><Key>c</Key><Value></Value></Tag>"), "{sent}");
    assert_eq!(seen[1].header("x-amz-content-sha256"), Some(sigv4::sha256_hex(&seen[1].body).as_str()));
    assert_eq!(seen[1].header("content-md5").map(str::len), Some(24));
    assert!(matches!(client.get_object_tagging("k").await, Err(Error::BadResponse { .. })));
}

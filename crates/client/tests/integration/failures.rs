//! What happens when the origin, or the way to it, fails.

use std::{error::Error as _, time::Duration};

use http::HeaderMap;
use umbra_client::{
    Addressing, ClientSettings, Endpoint, EndpointGuard, Error, GetOptions, GuardError, GuardPolicy, ListOptions, S3Client,
};
use umbra_core::{ETag, ErrorKind, PartNumber, UploadId};

use crate::origin::{Act, Origin, answer, credentials, error, impatient, loopback, settings};

fn read() -> GetOptions {
    GetOptions::default()
}

fn cut(announced: usize, sent: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {announced}\r\n\r\n{sent}").into_bytes()
}

#[tokio::test]
async fn content_cut_short_is_an_error_and_never_an_end() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_vec();
    for (name, act) in [
        ("closed", Act::AnswerAndClose(cut(10, "hello"))),
        ("closed at once", Act::AnswerAndClose(cut(10, ""))),
        ("stalled", Act::AnswerAndStall(cut(10, "hello"))),
        ("chunks without an end", Act::AnswerAndClose(chunked)),
        ("nonsense for a chunk", Act::AnswerAndClose(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec())),
    ] {
        let origin = Origin::start([act]).await;
        let response = origin.client_with(impatient()).get_object("k", &read()).await.unwrap();
        let failure = response.body.collect(100).await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::OriginUnavailable, "{name}");
        assert_eq!(origin.seen().len(), 1, "{name}: what has begun to arrive is not asked for again");
    }
}

#[tokio::test]
async fn bytes_beyond_the_length_are_not_content() {
    let origin = Origin::start([Act::AnswerAndClose(cut(5, "hello world")), Act::Answer(cut(2, "ok"))]).await;
    let client = origin.client();
    assert_eq!(client.get_object("k", &read()).await.unwrap().body.collect(100).await.unwrap(), "hello");
    // And they are not taken for the answer to what is asked next.
    assert_eq!(client.get_object("k", &read()).await.unwrap().body.collect(100).await.unwrap(), "ok");
}

#[tokio::test]
async fn a_slow_reader_is_no_fault_of_the_origin() {
    let origin = Origin::start([Act::Answer(answer("200 OK", &[], &"x".repeat(1 << 20)))]).await;
    let settings = impatient();
    let pause = settings.idle_timeout * 3;
    let response = origin.client_with(settings).get_object("k", &read()).await.unwrap();
    tokio::time::sleep(pause).await;
    let slow = response.body.map_stream(|stream| {
        futures::StreamExt::then(stream, move |chunk| async move {
            tokio::time::sleep(pause / 30).await;
            chunk
        })
    });
    assert_eq!(slow.collect(1 << 21).await.unwrap().len(), 1 << 20);
}

#[tokio::test]
async fn what_is_harmless_to_repeat_is_repeated() {
    let ok = || Act::Answer(answer("200 OK", &[], "hello"));
    for (name, acts, requests) in [
        ("closed", vec![Act::Close, ok()], 2),
        ("reset", vec![Act::Reset, Act::Reset, ok()], 3),
        ("throttled", vec![Act::Answer(error("503 Slow Down", "SlowDown")), ok()], 2),
        ("throttled otherwise", vec![Act::Answer(answer("429 Too Many", &[("Retry-After", "0")], "")), ok()], 2),
        ("internal error", vec![Act::Answer(error("500 Oops", "InternalError")), ok()], 2),
        ("gateway", vec![Act::Answer(answer("502 Bad", &[], "<html>")), Act::Answer(answer("504 Slow", &[], "")), ok()], 3),
    ] {
        let origin = Origin::start(acts).await;
        let response = origin.client().get_object("k", &read()).await.unwrap();
        assert_eq!(response.body.collect(100).await.unwrap(), "hello", "{name}");
        assert_eq!(origin.seen().len(), requests, "{name}");
    }
    let origin = Origin::start([Act::Close, Act::Answer(answer("204 No Content", &[], ""))]).await;
    origin.client().delete_object("k").await.unwrap();
    assert_eq!(origin.seen().len(), 2);
    // The first may have been applied: that the others certainly were not does not tell.
    let refused = || Act::Answer(error("403 Forbidden", "AccessDenied"));
    let origin = Origin::start([Act::Close, refused()]).await;
    assert!(origin.client().delete_object("k").await.unwrap_err().outcome_unknown());
    let origin = Origin::start([refused()]).await;
    assert!(!origin.client().delete_object("k").await.unwrap_err().outcome_unknown());
}

#[tokio::test]
async fn repetition_ends() {
    let slow_down = Act::Answer(error("503 Slow Down", "SlowDown"));
    let origin = Origin::start(std::iter::repeat_n(slow_down, 9)).await;
    let throttled = origin.client().get_object("k", &read()).await.unwrap_err();
    assert!(matches!(&throttled, Error::Throttled(told) if told.code == "SlowDown"), "{throttled:?}");
    assert_eq!((origin.seen().len(), throttled.kind()), (3, ErrorKind::OriginUnavailable));
    for _ in 0..2 {
        let settings = ClientSettings { attempts_max: 1, ..settings() };
        assert!(origin.client_with(settings).get_object("k", &read()).await.is_err());
    }
    assert_eq!(origin.seen().len(), 5);
}

#[tokio::test]
async fn patience_ends() {
    let origin = Origin::start([Act::Stall, Act::AnswerAndStall(b"HTTP/1.1 200 OK\r\nContent-".to_vec())]).await;
    for count in 1..=2 {
        let silent = origin.client_with(impatient()).get_object("k", &read()).await.unwrap_err();
        assert!(matches!(silent, Error::Timeout), "{silent:?}");
        assert_eq!(origin.seen().len(), count, "it is not asked again");
    }
}

#[tokio::test]
async fn a_document_that_drips_is_not_waited_for() {
    let endless = |status: &str| Act::AnswerAndDrip(format!("HTTP/1.1 {status}\r\nContent-Length: 1000000\r\n\r\n").into_bytes());
    let origin = Origin::start([endless("200 OK"), endless("403 Forbidden")]).await;
    let client = origin.client_with(impatient());
    let listed = client.list_objects_v2(&ListOptions::default()).await;
    assert!(matches!(listed, Err(Error::BadResponse { .. })), "{listed:?}");
    let refused = client.get_object("k", &read()).await.unwrap_err();
    assert_eq!(refused.s3().unwrap().status, 403, "the status speaks alone");
}

#[tokio::test]
async fn an_upload_may_take_long_to_complete() {
    let document = "<CompleteMultipartUploadResult><ETag>e-1</ETag></CompleteMultipartUploadResult>";
    let origin = Origin::start([Act::AnswerAndClose(answer("200 OK", &[], document)), Act::Stall]).await;
    let hasty = impatient();
    let client =
        origin.client_with(ClientSettings { completion_timeout: hasty.response_timeout, response_timeout: Duration::ZERO, ..hasty });
    let (upload, parts) = (UploadId::parse("u"), [(PartNumber::new(1).unwrap(), ETag::parse("p"))]);
    let completed = client.complete_multipart_upload("k", &upload, &parts, &HeaderMap::new()).await.unwrap();
    assert_eq!(completed.etag.as_str(), "e-1");
    let late = client.complete_multipart_upload("k", &upload, &parts, &HeaderMap::new()).await.unwrap_err();
    assert!(matches!(late, Error::Timeout), "{late:?}");
}

#[tokio::test]
async fn nonsense_is_no_answer() {
    let origin = Origin::start(std::iter::repeat_n(Act::AnswerAndClose(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), 3)).await;
    let nonsense = origin.client().get_object("k", &read()).await.unwrap_err();
    assert_eq!(nonsense.kind(), ErrorKind::OriginUnavailable, "{nonsense:?}");
}

#[tokio::test]
async fn a_connection_that_has_ended_meanwhile_is_replaced() {
    let origin = Origin::start([
        Act::AnswerAndClose(answer("200 OK", &[], "one")),
        Act::AnswerAndClose(answer("200 OK", &[], "two")),
        Act::Answer(answer("200 OK", &[], "three")),
        Act::Answer(answer("200 OK", &[], "four")),
    ])
    .await;
    let client = origin.client();
    for expected in ["one", "two", "three", "four"] {
        assert_eq!(client.get_object("k", &read()).await.unwrap().body.collect(100).await.unwrap(), expected);
    }
    let connections: Vec<usize> = origin.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1, 2, 2]);
}

#[tokio::test]
async fn a_reader_that_leaves_closes_the_connection() {
    let origin = Origin::start([Act::AnswerAndStall(cut(10, "hello")), Act::Answer(answer("200 OK", &[], "ok"))]).await;
    let client = origin.client();
    drop(client.get_object("k", &read()).await.unwrap());
    assert_eq!(client.get_object("k", &read()).await.unwrap().body.collect(100).await.unwrap(), "ok");
    assert_eq!(origin.after(2).await.connection, 1);
}

#[tokio::test]
async fn nothing_listens() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let endpoint = Endpoint::parse(&url, "auto", Addressing::Auto).unwrap();
    let client = S3Client::new(endpoint, "photos", credentials(), loopback(), settings()).unwrap();
    let refused = client.get_object("k", &read()).await.unwrap_err();
    assert!(matches!(refused, Error::Connect(_)), "{refused:?}");
    assert_eq!((refused.kind(), refused.outcome_unknown()), (ErrorKind::OriginUnavailable, false));
}

#[tokio::test]
async fn the_guard_is_asked_before_anything_is_sent() {
    let origin = Origin::start([]).await;
    let port = origin.address.port();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0x7f000001", "2130706433", "169.254.169.254", "0.0.0.0"] {
        let endpoint = Endpoint::parse(&format!("http://{host}:{port}"), "auto", Addressing::Auto).unwrap();
        let client = S3Client::new(endpoint, "photos", credentials(), EndpointGuard::default(), impatient()).unwrap();
        let blocked = client.get_object("k", &read()).await.unwrap_err();
        assert!(matches!(blocked, Error::Blocked(_)), "{host}: {blocked:?}");
        assert_eq!((blocked.kind(), blocked.outcome_unknown()), (ErrorKind::OriginRefused, false));
        let mut cause = blocked.source();
        while let Some(inner) = cause.filter(|inner| inner.downcast_ref::<GuardError>().is_none()) {
            cause = inner.source();
        }
        assert!(matches!(cause.unwrap().downcast_ref(), Some(GuardError::Refused { .. })), "{host}: {blocked:?}");
    }
    for policy in [
        GuardPolicy { allow_loopback: true, ..GuardPolicy::default() },
        GuardPolicy { allow: vec!["127.0.0.0/8".parse().unwrap()], ..GuardPolicy::default() },
    ] {
        let endpoint = Endpoint::parse(&format!("http://localhost:{port}"), "auto", Addressing::Auto).unwrap();
        let client = S3Client::new(endpoint, "photos", credentials(), EndpointGuard::new(policy), impatient()).unwrap();
        let answered = client.put_object("k", 0, umbra_core::Body::empty(), &HeaderMap::new()).await.unwrap_err();
        assert_eq!(answered.s3().unwrap().code, "OffScript");
    }
}

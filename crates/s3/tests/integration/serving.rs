//! The outer layer and the server loop.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use umbra_s3::S3Settings;

use crate::{
    client::{Ask, UNSIGNED_TRAILER, chunked},
    world::World,
};

#[tokio::test]
async fn every_answer_carries_ids() {
    let world = World::new().await;
    let admin = world.admin().await;
    let (first, second) = (admin.send(Ask::get("/photos/none")).await, admin.send(Ask::head("/photos")).await);
    for reply in [&first, &second] {
        assert_eq!(reply.header("x-amz-request-id").unwrap().len(), 16);
        assert_eq!(reply.header("server"), Some("Umbra"));
    }
    assert_ne!(first.header("x-amz-request-id"), second.header("x-amz-request-id"));
    assert_eq!(first.element("RequestId"), first.header("x-amz-request-id"));
    assert_eq!(first.element("HostId"), first.header("x-amz-id-2"));
    assert_eq!(first.element("Resource"), Some("/photos/none"));
    assert!(world.anonymous().send(Ask::get("/photos?%FF")).await.header("x-amz-request-id").is_some());
}

#[tokio::test]
async fn a_body_that_stands_still_is_given_up() {
    let world = World::with(S3Settings { body_timeout: Duration::from_millis(50), ..S3Settings::default() }).await;
    let admin = world.admin().await;
    for ask in [Ask::put("/photos/a").hash("UNSIGNED-PAYLOAD"), Ask::post("/photos?delete").body("0123456789")] {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(admin.head_text(&ask, 10).as_bytes()).await.unwrap();
        stream.write_all(b"01").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("<Code>RequestTimeout</Code>"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_nobody_wants_does_not_end_the_connection() {
    let world = World::new().await;
    let admin = world.admin().await;
    let refused = Ask::put("/photos/a").header("if-match", "\"x\"").hash("UNSIGNED-PAYLOAD");
    let head = admin.head_text(&refused, 100_000).replace("connection: close\r\n", "");
    let mut bytes = head.into_bytes();
    bytes.extend(vec![b'x'; 100_000]);
    bytes.extend(admin.head_text(&Ask::head("/photos"), 0).into_bytes());
    let answers = admin.send_raw(&bytes).await;
    let statuses: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)).collect();
    assert_eq!(statuses, ["404", "200"], "{answers}");
}

#[tokio::test]
async fn chunks_within_chunks_do_not_end_the_connection() {
    let world = World::new().await;
    let admin = world.admin().await;
    let name = "x-amz-checksum-crc32";
    let put = Ask::put("/photos/a").hash(UNSIGNED_TRAILER).header("x-amz-trailer", name).header("x-amz-decoded-content-length", "9");
    let head = admin.head_text(&put, 0).replace("connection: close\r\ncontent-length: 0", "transfer-encoding: chunked");
    let inner = chunked(&[b"123456789"], Some((name, "y/Q5Jg==")));
    let mut bytes = head.into_bytes();
    bytes.extend(format!("{:x}\r\n", inner.len()).into_bytes());
    bytes.extend(inner);
    bytes.extend(b"\r\n0\r\n\r\n");
    bytes.extend(admin.head_text(&Ask::get("/photos/a"), 0).into_bytes());
    let answers = admin.send_raw(&bytes).await;
    let statuses: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)).collect();
    assert_eq!(statuses, ["200", "200"], "{answers}");
    assert!(answers.ends_with("123456789"), "{answers}");
}

#[tokio::test]
async fn who_waits_to_be_asked_is_told_when_nobody_will() {
    let world = World::new().await;
    let admin = world.admin().await;
    let head = |ask: &Ask| admin.head_text(ask, 5).replace("connection: close\r\n", "expect: 100-continue\r\n");
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let refused = Ask::put("/photos/a").header("if-match", "\"x\"").hash("UNSIGNED-PAYLOAD");
    stream.write_all(head(&refused).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("connection: close"), "{answer}");

    let empty = head(&Ask::put("/photos/empty")).replace("content-length: 5", "content-length: 0");
    let answer = admin.send_raw(empty.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");

    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(head(&Ask::put("/photos/a").hash("UNSIGNED-PAYLOAD")).as_bytes()).await.unwrap();
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn stopping_lets_requests_finish() {
    let world = World::new().await;
    let admin = world.admin().await;
    let head = admin.head_text(&Ask::put("/photos/a").hash("UNSIGNED-PAYLOAD"), 10);
    let mut busy = TcpStream::connect(world.address).await.unwrap();
    busy.write_all(head.as_bytes()).await.unwrap();
    busy.write_all(b"01234").await.unwrap();
    // Seen to be at work: the server has asked for nothing, but a second connection is answered behind the first.
    assert_eq!(admin.send(Ask::head("/photos")).await.status, 200);
    world.stop.send(true).unwrap();
    busy.write_all(b"56789").await.unwrap();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    world.server.await.unwrap();
    assert!(TcpStream::connect(world.address).await.is_err());
}

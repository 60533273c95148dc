//! Bad input gets clear answers, and the server goes on.

use umbra_core::limits;

use crate::{
    client::{Ask, Client, UNSIGNED_TRAILER, chunked},
    world::World,
};

async fn still_serves(client: &Client) {
    assert_eq!(client.send(Ask::put("/photos/alive").body("yes")).await.status, 200);
    assert_eq!(client.send(Ask::get("/photos/alive")).await.text(), "yes");
}

#[tokio::test]
async fn malformed_documents() {
    let world = World::new().await;
    let admin = world.admin().await;
    let bomb = "<!DOCTYPE a [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]><Delete><Object><Key>&b;</Key></Object></Delete>";
    let documents =
        ["", "<", "<Delete>", "<Delete></Delete>", "<Other/>", "<Delete><Object><Key>a</Object></Delete>", "not xml", "\u{0}", bomb];
    for document in documents {
        for uri in ["/photos?delete", "/photos/a?uploadId=u"] {
            let reply = admin.send(Ask::post(uri).body(document)).await;
            assert!((400..405).contains(&reply.status), "{uri} {document}: {} {}", reply.status, reply.text());
        }
        let reply = admin.send(Ask::put("/photos/a?tagging").body(document)).await;
        assert!((400..405).contains(&reply.status), "{document}: {} {}", reply.status, reply.text());
    }
    let large = format!("<Delete>{}</Delete>", " ".repeat(9 * 1024 * 1024));
    let reply = admin.send(Ask::post("/photos?delete").body(large)).await;
    assert!((400..405).contains(&reply.status), "{} {}", reply.status, reply.text());
    still_serves(&admin).await;
}

#[tokio::test]
async fn bad_chunks() {
    let world = World::new().await;
    let admin = world.admin().await;
    let name = "x-amz-checksum-crc32";
    let put = |length: &str, body: Vec<u8>| {
        Ask::put("/photos/a").hash(UNSIGNED_TRAILER).header("x-amz-trailer", name).header("x-amz-decoded-content-length", length).body(body)
    };
    let good = || chunked(&[b"123456789"], Some((name, "y/Q5Jg==")));
    let truncated = |by: usize| good()[..good().len() - by].to_vec();
    let cases = [
        ("too long", put("3", good())),
        ("too short", put("99", good())),
        ("no last chunk", put("9", b"9\r\n123456789\r\n".to_vec())),
        ("cut in a chunk", put("9", truncated(30))),
        ("no size", put("9", b"\r\n123456789\r\n0\r\n\r\n".to_vec())),
        ("size is no number", put("9", b"xyz\r\n123456789\r\n0\r\n\r\n".to_vec())),
        ("huge size", put("9", b"ffffffffffffffff\r\n123456789\r\n0\r\n\r\n".to_vec())),
        ("no line break", put("9", b"9\r\n1234567890\r\n\r\n".to_vec())),
        ("empty", put("9", vec![])),
        ("no decoded length", put("nine", good())),
    ];
    for (case, ask) in cases {
        let reply = admin.send(ask).await;
        assert!((400..412).contains(&reply.status), "{case}: {} {}", reply.status, reply.text());
    }
    let signed = Ask::put("/photos/a")
        .hash("STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
        .header("x-amz-decoded-content-length", "3")
        .body(format!("3;chunk-signature={}\r\nabc\r\n0;chunk-signature={}\r\n\r\n", "0".repeat(64), "0".repeat(64)));
    assert_eq!(admin.send(signed).await.error(), (403, "SignatureDoesNotMatch"));
    assert_eq!(admin.send(Ask::head("/photos/a")).await.status, 404);
    let endless = admin.send_raw(&admin.in_signed_chunks("/photos/a", &[b"12345", b"6789"], false)).await;
    assert!(endless.contains("<Code>IncompleteBody</Code>"), "{endless}");
    assert_eq!(admin.send(Ask::head("/photos/a")).await.status, 404);
    let whole = admin.send_raw(&admin.in_signed_chunks("/photos/a", &[b"12345", b"6789"], true)).await;
    assert!(whole.starts_with("HTTP/1.1 200"), "{whole}");
    assert_eq!(admin.send(Ask::get("/photos/a")).await.text(), "123456789");
    still_serves(&admin).await;
}

#[tokio::test]
async fn truncated_bodies() {
    let world = World::new().await;
    let admin = world.admin().await;
    for (ask, sent) in [
        (Ask::put("/photos/a").hash("UNSIGNED-PAYLOAD"), "half"),
        (Ask::put("/photos/a").body("0123456789"), "01234"),
        (Ask::post("/photos?delete").body("<Delete>.."), "<Del"),
    ] {
        let mut bytes = admin.head_text(&ask, 10).into_bytes();
        bytes.extend_from_slice(sent.as_bytes());
        let answer = admin.send_raw(&bytes).await;
        assert!(answer.is_empty() || answer.contains("<Code>IncompleteBody</Code>"), "{answer}");
    }
    assert_eq!(admin.send(Ask::head("/photos/a")).await.status, 404);
    still_serves(&admin).await;
}

#[tokio::test]
async fn oversize_and_undecodable() {
    let world = World::new().await;
    let admin = world.admin().await;
    let long_key = "k".repeat(limits::KEY_BYTES_MAX + 1);
    assert_eq!(admin.send(Ask::put(&format!("/photos/{long_key}"))).await.error(), (400, "KeyTooLongError"));
    let longest = "k".repeat(limits::KEY_BYTES_MAX);
    assert_eq!(admin.send(Ask::put(&format!("/photos/{longest}"))).await.status, 200);
    assert_eq!(admin.send(Ask::get(&format!("/photos/{}", "k".repeat(20_000)))).await.error(), (414, "InvalidURI"));
    assert_eq!(world.anonymous().send(Ask::get("/photos/%FF")).await.error(), (400, "InvalidURI"));
    let header = "v".repeat(40_000);
    assert_eq!(admin.send(Ask::get("/photos/a").unsigned("x-noise", &header)).await.error(), (400, "RequestHeaderSectionTooLarge"));
    let header = "v".repeat(100_000);
    let answer = admin.send_raw(format!("GET /photos HTTP/1.1\r\nhost: h\r\nx-noise: {header}\r\n\r\n").as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let announced = admin.head_text(&Ask::put("/photos/a").hash("UNSIGNED-PAYLOAD"), 6 * 1024 * 1024 * 1024);
    assert!(admin.send_raw(announced.as_bytes()).await.contains("<Code>EntityTooLarge</Code>"));
    let unknown_length = b"PUT /photos/a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n";
    assert!(admin.send_raw(unknown_length).await.contains("<Code>MissingContentLength</Code>"));
    still_serves(&admin).await;
}

#[tokio::test]
async fn nonsense_on_the_wire() {
    let world = World::new().await;
    let admin = world.admin().await;
    let cases: [&[u8]; 6] = [
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /photos HTTP/9.9\r\n\r\n",
        b"GET /photos HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        b"PUT /photos/a HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\n",
    ];
    for case in cases {
        let answer = admin.send_raw(case).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{case:?}: {answer}");
    }
    still_serves(&admin).await;
}

#[tokio::test]
async fn odd_arguments() {
    let world = World::new().await;
    let admin = world.admin().await;
    let cases = [
        (Ask::get("/photos/a?partNumber=0"), 400),
        (Ask::get("/photos/a?partNumber=x"), 400),
        (Ask::get("/photos/a?partNumber=1&partNumber=2"), 400),
        (Ask::get("/photos?uploads&max-uploads=-1"), 400),
        (Ask::put("/photos/a").header("x-amz-copy-source", "no-slash"), 400),
        (Ask::put("/photos/a").header("x-amz-copy-source", "/photos/%ff"), 400),
        (Ask::put("/photos/a").header("if-match", "\"unclosed"), 400),
        (Ask::post("/photos/a"), 501),
        (Ask::post("/"), 501),
        (Ask::method("PATCH", "/photos/a"), 405),
        (Ask::method("OPTIONS", "/photos/a").header("origin", "http://a").header("access-control-request-method", "GET"), 403),
    ];
    for (ask, status) in cases {
        let reply = admin.send(ask.clone()).await;
        assert_eq!(reply.status, status, "{ask:?}: {}", reply.text());
    }
    still_serves(&admin).await;
}

//! What becomes of a request that is under way when the server is told to stop.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use rustix::process::Signal;
use umbra_client::{
    Credentials,
    sigv4::{UNSIGNED_PAYLOAD, sign_request},
};
use umbra_core::{Clock, SystemClock};

use crate::support::{Server, key_in};

/// Begins a PUT of ten bytes and returns once the server waits for them.
fn begin_put(server: &Server) -> TcpStream {
    server.run(&["storage", "create", "-n", "bucket", "-o", "acme"]).ok();
    let (access_key, secret_key) = key_in(&server.data_dir().join("root-key.json"));
    let request = http::Request::builder().method("PUT").uri(format!("{}/bucket/key", server.s3)).body(()).unwrap();
    let (mut parts, ()) = request.into_parts();
    sign_request(&mut parts, UNSIGNED_PAYLOAD, &Credentials::new(access_key, secret_key), "auto", "s3", SystemClock.now()).unwrap();
    let mut stream = TcpStream::connect(server.s3.strip_prefix("http://").unwrap()).unwrap();
    let mut head = "PUT /bucket/key HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 10\r\n".to_owned();
    for (name, value) in &parts.headers {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    write!(stream, "{head}\r\n").unwrap();
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

/// Waits until nobody is let in any more.
fn await_closed(server: &Server) {
    let address = server.s3.strip_prefix("http://").unwrap();
    while TcpStream::connect(address).is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn it_may_finish() {
    let server = Server::start();
    let mut put = begin_put(&server);
    server.signal(Signal::TERM);
    await_closed(&server);
    assert_eq!(server.get("/readyz").0, 503, "the admin address says so meanwhile");
    put.write_all(b"0123456789").unwrap();
    let mut answer = String::new();
    put.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(server.wait().0, Some(0));
}

#[test]
fn it_is_cut_off_when_patience_ends() {
    let server = Server::start_in(tempfile::tempdir().unwrap(), &["--drain-secs", "0"], &[]);
    let mut put = begin_put(&server);
    assert_eq!(server.stop(Signal::INT).0, Some(0));
    let mut answer = String::new();
    // Reset or closed: either way there is no answer.
    let _ = put.read_to_string(&mut answer);
    assert_eq!(answer, "");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let server = Server::start();
    let _put = begin_put(&server);
    server.signal(Signal::TERM);
    await_closed(&server);
    assert_eq!(server.stop(Signal::INT).0, Some(130));
}

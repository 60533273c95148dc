//! TLS on both addresses.

use std::{fs, path::Path};

use rustix::process::Signal;

use crate::support::{Server, text};

/// A certificate for `localhost`, its key, and the authority that signed it.
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../client/tests/data");

#[test]
fn tls_against_a_plain_port_says_so() {
    let server = Server::start();
    let admin = server.admin.replace("http://", "https://");
    server.run(&["storage", "list", "--admin", &admin]).refused(1, &["speaks no TLS", "write http://"]);
    let endpoint = server.s3.replace("http://", "https://");
    let flags = ["--shadow-endpoint", &endpoint, "--shadow-access-key", "AK", "--shadow-secret-key", "secret-key"];
    server.run(&[&["storage", "create", "-n", "new", "-o", "us"], &flags[..]].concat()).refused(1, &["speaks no TLS", "http://"]);
}

#[test]
fn both_addresses_speak_tls_and_reload() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let data = Path::new(DATA);
    fs::copy(data.join("localhost.pem"), &cert).unwrap();
    fs::copy(data.join("localhost.key"), &key).unwrap();
    let server = Server::start_in(tempfile::tempdir().unwrap(), &["--tls-cert", text(&cert), "--tls-key", text(&key)], &[]);
    assert!(server.s3.starts_with("https://127.0.0.1:") && server.admin.starts_with("https://127.0.0.1:"), "{}", server.greeting);
    let admin = server.admin.replace("127.0.0.1", "localhost");
    let ca = data.join("ca.pem");
    let list = || server.run(&["storage", "list", "--admin", &admin, "--ca", text(&ca)]);
    list().ok();
    server.run(&["storage", "list", "--admin", &admin]).refused(1, &["cannot reach the admin address", "certificate"]);

    let plain = server.admin.replace("https://127.0.0.1", "http://localhost");
    server.run(&["storage", "list", "--admin", &plain]).refused(1, &["does not answer in HTTP", "write https://"]);

    // A certificate that cannot be read leaves the earlier one in use.
    fs::write(&cert, "nothing of the kind").unwrap();
    server.signal(Signal::HUP);
    let told = || server.log().contains("the earlier one stays in use");
    while !told() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    list().ok();
    fs::copy(data.join("localhost.pem"), &cert).unwrap();
    server.signal(Signal::HUP);
    while !server.log().contains("the certificate was read again") {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    list().ok();
    assert_eq!(server.stop(Signal::TERM).0, Some(0));
}

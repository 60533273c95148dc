//! What the server refuses to start with, each in one line.

use std::{fs, os::unix::fs::PermissionsExt};

use rustix::process::Signal;

use crate::support::{Done, Server, run, text, umbra};

fn serve(flags: &[&str]) -> Done {
    run(&[&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"], flags].concat())
}

#[test]
fn a_second_server_on_the_directory() {
    let server = Server::start();
    let dir = server.data_dir();
    serve(&["--data-dir", text(&dir)]).refused(1, &["already uses the data directory", text(&dir), &format!("process {}", server.pid())]);
    assert_eq!(server.get("/readyz").0, 200);
}

#[test]
fn a_port_that_is_taken() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let taken = server.s3.strip_prefix("http://").unwrap();
    let dir = text(&dir.path()).to_owned();
    for (flag, other, what) in [("--listen", "--admin-listen", "S3"), ("--admin-listen", "--listen", "the admin API")] {
        let done = run(&["serve", "--data-dir", &dir, flag, taken, other, "127.0.0.1:0"]);
        done.refused(1, &[&format!("cannot listen on {taken} for {what}"), "in use"]);
    }
}

#[test]
fn a_directory_that_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    fs::write(&file, "").unwrap();
    serve(&["--data-dir", text(&file)]).refused(1, &["data directory", "a-file is a file, not a directory"]);
    run(&["storage", "list", "--data-dir", text(&file)]).refused(1, &["data directory", "a-file is a file, not a directory"]);
}

#[test]
fn origins_at_addresses_that_are_not_for_everyone() {
    let server = Server::start();
    let flags =
        ["-n", "new", "-o", "us", "--shadow-name", "old", "--shadow-access-key", "k", "--shadow-secret-key", "s", "--shadow-endpoint"];
    for (endpoint, told) in [
        ("http://10.1.1.1", "10.1.1.1 is refused: it is a private address (`umbra serve --shadow-allow-cidr` allows a network) (the"),
        ("http://169.254.1.1", "169.254.1.1 is refused: it is a link-local address, never allowed (the"),
    ] {
        let told = format!("error: cannot list the origin's bucket: the origin's address is not allowed: {told}");
        server.run(&[&["storage", "create"], &flags[..], &[endpoint]].concat()).refused(1, &[&told]);
    }
}

#[test]
fn a_backup_of_what_is_in_a_database() {
    let dir = tempfile::tempdir().unwrap();
    let backup = || run(&["backup", text(&dir.path().join("copy")), "--data-dir", text(&dir.path())]);
    backup().refused(1, &["there is no store in"]);
    // So it is called by nodes, which a directory without a database has no use for.
    fs::write(dir.path().join("node"), "0123456789abcdef\n").unwrap();
    backup().refused(1, &["the metadata is in a database", "docs/operations.md"]);
}

#[test]
fn a_directory_of_a_newer_release() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("format"), "2\n").unwrap();
    serve(&["--data-dir", text(&dir.path())]).refused(1, &["newer release", "format 2"]);
}

#[test]
fn settings_that_make_no_sense() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("umbra.toml");
    fs::write(&file, "listn = \"127.0.0.1:0\"\n").unwrap();
    let data = dir.path().join("data");
    let data = ["--data-dir", text(&data)];
    serve(&[&data[..], &["--config", text(&file)]].concat()).refused(1, &["umbra.toml", "line 1", "listn"]);
    serve(&[&data[..], &["--config", "/nonexistent.toml"]].concat()).refused(1, &["/nonexistent.toml"]);
    serve(&[&data[..], &["--tls-cert", text(&file)]].concat()).refused(1, &["tls_cert", "tls_key"]);
    serve(&[&data[..], &["--tls-cert", text(&file), "--tls-key", text(&file)]].concat()).refused(1, &["umbra.toml"]);
    serve(&[&data[..], &["--shadow-allow-cidr", "nowhere"]].concat()).refused(1, &["shadow_allow_cidr", "nowhere"]);
    serve(&[&data[..], &["--shadow-allow-cidr", "10.0.0.0"]].concat()).refused(1, &["shadow_allow_cidr", "10.0.0.0", "length"]);
    serve(&[&data[..], &["--log", "umbra=loudly"]].concat()).refused(1, &["log"]);
    for wrong in [&["--listen", "nowhere"][..], &["--no-such-flag"]] {
        assert_eq!(run(&[&["serve"], wrong].concat()).status, Some(2), "{wrong:?}");
    }
}

#[test]
fn keys_that_others_can_read_or_that_are_gone() {
    let server = Server::start();
    server.run(&["storage", "create", "-n", "kept", "-o", "acme"]).ok();
    let (_, dir) = server.stop(Signal::TERM);
    let data = dir.path().join("data");
    for name in ["secret.key", "root-key.json"] {
        let file = data.join(name);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        serve(&["--data-dir", text(&data)]).refused(1, &[name, "open to others"]);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::rename(data.join("secret.key"), data.join("elsewhere")).unwrap();
    serve(&["--data-dir", text(&data)]).refused(1, &["secret.key", "missing"]);
    let mut another = umbra(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", text(&data)]);
    let done = Done::of(another.env("UMBRA_MASTER_KEY", "00".repeat(32)).output().unwrap());
    done.refused(1, &["key-encryption key"]);
}

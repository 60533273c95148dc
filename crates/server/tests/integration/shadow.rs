//! A bucket with an origin: another server's bucket.

use futures::TryStreamExt;
use umbra_client::{Addressing, ClientSettings, Credentials, Endpoint, EndpointGuard, GetOptions, GuardPolicy, S3Client};
use umbra_core::Body;

use crate::support::{Done, Server, umbra};

pub(crate) struct Origin {
    server: Server,
    pub(crate) created: Done,
}

impl Origin {
    pub(crate) fn start() -> Self {
        let server = Server::start();
        let created = server.run(&["storage", "create", "-n", "old", "-o", "them"]).ok();
        Self { server, created }
    }

    pub(crate) fn flags(&self, secret: &str) -> Vec<String> {
        let key = self.created.value("AWS_ACCESS_KEY_ID");
        let flags = ["--shadow-endpoint", &self.server.s3, "--shadow-region", "auto", "--shadow-name", "old", "--shadow-access-key", &key];
        flags.into_iter().chain(["--shadow-secret-key", secret]).map(str::to_owned).collect()
    }

    pub(crate) fn secret(&self) -> String {
        self.created.value("AWS_SECRET_ACCESS_KEY")
    }
}

/// A client with the key that `storage create` printed.
pub(crate) fn client(created: &Done) -> S3Client {
    let endpoint = Endpoint::parse(&created.value("AWS_ENDPOINT_URL_S3"), &created.value("AWS_REGION"), Addressing::Auto).unwrap();
    let credentials = Credentials::new(created.value("AWS_ACCESS_KEY_ID"), created.value("AWS_SECRET_ACCESS_KEY"));
    let guard = EndpointGuard::new(GuardPolicy { allow_loopback: true, ..GuardPolicy::default() });
    S3Client::new(endpoint, &created.value("BUCKET_NAME"), credentials, guard, ClientSettings::default()).unwrap()
}

pub(crate) async fn put(client: &S3Client, key: &str, content: &'static [u8]) {
    client.put_object(key, content.len() as u64, Body::from_bytes(content), &Default::default()).await.unwrap();
}

pub(crate) async fn get(client: &S3Client, key: &str) -> Vec<u8> {
    let answer = client.get_object(key, &GetOptions::default()).await.unwrap();
    answer.body.into_stream().map_ok(|chunk| chunk.to_vec()).try_concat().await.unwrap()
}

pub(crate) fn create(server: &Server, flags: &[String], more: &[&str]) -> Done {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    server.run(&[&["storage", "create", "-n", "new", "-o", "us"], &flags[..], more].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_at_the_origin_is_read_here_and_moves() {
    let (origin, server) = (Origin::start(), Server::start());
    put(&client(&origin.created), "a/1", b"from the old place").await;
    let created = create(&server, &origin.flags(&origin.secret()), &[]).ok();
    let here = client(&created);
    assert_eq!(get(&here, "a/1").await, b"from the old place");
    let status = moved(&server, 1).await;
    assert_eq!(status["shadow"]["origin_bytes"], 18);
    assert!(!status.to_string().contains(&origin.secret()));

    put(&client(&origin.created), "a/2", b"comes later").await;
    server.run(&["storage", "update", "new", "--clear-shadow"]).refused(1, &["1 object is still only at the origin", "--force"]);
    assert_eq!(get(&here, "a/2").await, b"comes later");
    moved(&server, 2).await;
    server.run(&["storage", "update", "new", "--clear-shadow"]).ok();
    drop(origin);
    assert_eq!(get(&here, "a/1").await, b"from the old place");
    assert_eq!(get(&here, "a/2").await, b"comes later");
}

/// The status once so many objects have moved: a reader has its bytes a moment before they are ours.
async fn moved(server: &Server, objects: u64) -> serde_json::Value {
    for _ in 0..200 {
        let status = server.run(&["storage", "status", "new", "--json"]).ok().json();
        if status["shadow"]["hydrated_objects"] == objects {
            return status;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{objects} objects did not move");
}

#[test]
fn an_origin_that_cannot_be_used_leaves_nothing_behind() {
    let (origin, server) = (Origin::start(), Server::start());
    create(&server, &origin.flags("not the secret at all"), &[]).refused(1, &["cannot list the origin's bucket"]);
    create(&server, &["--shadow-endpoint".into(), "http://169.254.169.254".into()], &[]).refused(2, &["--shadow-secret-key"]);
    assert_eq!(server.run(&["storage", "list", "--json"]).ok().json(), serde_json::json!([]));
    assert_eq!(server.run(&["org", "list", "--json"]).ok().json(), serde_json::json!([]));
    assert!(server.run(&["key", "list", "--json"]).ok().json().as_array().unwrap().len() == 1, "the root key alone");
    create(&server, &origin.flags(&origin.secret()), &["--shadow-write-through"]).ok();
}

#[test]
fn settings_of_a_shadow_change_alone() {
    let (origin, server) = (Origin::start(), Server::start());
    create(&server, &origin.flags(&origin.secret()), &[]).ok();
    let write_through = |flag: &str| {
        let status = server.run(&["storage", "update", "new", flag, "--json"]).ok().json();
        status["bucket"]["shadow"]["write_through"].clone()
    };
    assert_eq!(write_through("--shadow-write-through"), true);
    assert_eq!(write_through("--shadow-write-through=false"), false);
    server.run(&["storage", "update", "new", "--shadow-secret-key", "wrong secret"]).refused(1, &["cannot list"]);
    let access_key = origin.created.value("AWS_ACCESS_KEY_ID");
    for (flags, status) in [(&["--shadow-access-key", access_key.as_str()][..], Some(0)), (&[], Some(2))] {
        let mut rotate = server.command(&[&["storage", "update", "new"], flags].concat());
        rotate.env("UMBRA_SHADOW_ACCESS_KEY", &access_key).env("UMBRA_SHADOW_SECRET_KEY", origin.secret());
        assert_eq!(rotate.output().unwrap().status.code(), status, "{flags:?}");
    }
    server.run(&["storage", "create", "-n", "plain", "-o", "us"]).ok();
    server.run(&["storage", "update", "plain", "--shadow-write-through"]).refused(1, &["missing: endpoint"]);
}

#[test]
fn the_demo_shows_a_migration_and_ends() {
    let temporary = tempfile::tempdir().unwrap();
    let mut demo = umbra(&["demo"]);
    let shown = Done::of(demo.env("TMPDIR", temporary.path()).output().unwrap()).ok();
    for expected in ["20 objects", "5 people ask for the same film", "So far 2 of 20 objects moved"] {
        assert!(shown.out.contains(expected), "{expected}: {}", shown.out);
    }
    // Five readers at once and one later: the film left the old provider once, and so did the picture.
    assert!(shown.out.lines().any(|line| line.contains("what left it so far") && line.contains("6.4 MiB")), "{}", shown.out);
    assert_eq!(shown.err, "");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "nothing is left behind");
}

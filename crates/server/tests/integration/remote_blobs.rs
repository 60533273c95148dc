//! Contents in a bucket: of a second Umbra, here.

use std::{sync::Arc, time::Duration};

use rustix::process::Signal;
use umbra_blob::{BlobStore, CacheMetrics, CacheSettings, CachedBlobStore, RemoteSettings, S3BlobStore, suite};
use umbra_client::{ListOptions, S3Client};

use crate::{
    shadow::{client, get, put},
    support::{Done, Server, run, text, umbra},
};

/// A server to keep contents at.
struct Engine {
    server: Server,
    created: Done,
}

impl Engine {
    fn start() -> Self {
        let server = Server::start_in(tempfile::tempdir().unwrap(), &["--reclaim-grace", "1"], &[]);
        let created = server.run(&["storage", "create", "-n", "contents", "-o", "them"]).ok();
        Self { server, created }
    }

    fn client(&self) -> S3Client {
        client(&self.created)
    }

    fn url(&self) -> String {
        format!("s3://contents/some/where?endpoint={}", self.server.s3)
    }

    fn key(&self) -> [(&'static str, String); 2] {
        let value = |key| self.created.value(key);
        [("UMBRA_BLOBS_ACCESS_KEY", value("AWS_ACCESS_KEY_ID")), ("UMBRA_BLOBS_SECRET_KEY", value("AWS_SECRET_ACCESS_KEY"))]
    }

    /// A server that keeps its contents here.
    fn front(&self, dir: tempfile::TempDir) -> Server {
        let key = self.key();
        let env = key.each_ref().map(|(name, value)| (*name, value.as_str()));
        Server::start_in(dir, &["--blobs", &self.url(), "--reclaim-grace", "1"], &env)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_umbra_is_an_engine_like_any() {
    let engine = Engine::start();
    let store = Arc::new(S3BlobStore::open(engine.client(), "plain", RemoteSettings::default()).await.unwrap());
    suite::run(Arc::clone(&store) as Arc<dyn BlobStore>).await;
    let dir = tempfile::tempdir().unwrap();
    let settings = CacheSettings { bytes: 8 << 20, reserve_bytes: Some(0), ..CacheSettings::default() };
    let cached = CachedBlobStore::open(store, dir.path().join("cache"), settings, CacheMetrics::default()).await.unwrap();
    suite::run(Arc::new(cached)).await;
    // Readers that were cut off by a delete have ended, and with them their objects.
    let client = engine.client();
    let emptied = async {
        while !client.list_objects(&ListOptions::default()).await.unwrap().objects.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), emptied).await.expect("nothing of the suite is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_keeps_its_contents_there() {
    let engine = Engine::start();
    let front = engine.front(tempfile::tempdir().unwrap());
    let created = front.run(&["storage", "create", "-n", "new", "-o", "us"]).ok();
    let content: &'static [u8] = suite::content(1, 3_000_000).leak();
    put(&client(&created), "k", content).await;
    assert!(get(&client(&created), "k").await == content);
    let kept = engine.client().list_objects(&ListOptions::default()).await.unwrap().objects;
    assert!(kept.iter().all(|object| object.key.starts_with("some/where/")), "{kept:?}");
    let (badges, kept): (Vec<_>, Vec<_>) = kept.into_iter().partition(|object| object.key.starts_with("some/where/badge/"));
    assert_eq!((badges.len(), kept.len()), (1, 1), "{badges:?} {kept:?}");
    let reads = r#"umbra_blob_cache_reads_total{source="engine"} 0"#;
    assert!(front.get("/metrics").1.contains(reads), "what was written is in the cache");

    let front = engine.front(front.kill());
    assert!(front.get("/metrics").1.contains(r#"umbra_blob_cache_bytes 0"#), "it begins empty");
    let (status, dir) = front.stop(Signal::TERM);
    assert_eq!(status, Some(0));

    // Elsewhere nothing would be found.
    let mut command = umbra(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let done = Done::of(command.arg("--data-dir").arg(dir.path().join("data")).output().unwrap());
    done.refused(1, &["keeps its contents at s3://contents/some/where", "blobs"]);
    // Nor is a backup without them one.
    let (data, copy) = (dir.path().join("data"), dir.path().join("copy"));
    let backup = |flags: &[&str]| run(&[&["backup", text(&copy), "--data-dir", text(&data)], flags].concat());
    backup(&[]).refused(1, &["keeps its contents at s3://contents/some/where", "blobs"]);
    assert!(!copy.exists());
    backup(&["--blobs", &engine.url()]).ok();
}

#[test]
fn a_place_that_cannot_be_used_is_told_at_once() {
    let engine = Engine::start();
    let start = |url: &str, env: &[(&str, &str)]| {
        let dir = tempfile::tempdir().unwrap();
        let mut command = umbra(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--blobs", url]);
        Done::of(command.arg("--data-dir").arg(dir.path()).envs(env.iter().copied()).output().unwrap())
    };
    start(&engine.url(), &[]).refused(1, &["UMBRA_BLOBS_ACCESS_KEY"]);
    let wrong = [("UMBRA_BLOBS_ACCESS_KEY", "AKIDNOBODY"), ("UMBRA_BLOBS_SECRET_KEY", "hush-hush-hush")];
    let place = format!("cannot open the contents in s3://contents/some/where at {}, which the setting blobs names: ", engine.server.s3);
    let refused = start(&engine.url(), &wrong).refused(1, &[&place, "the bucket for contents answered 403 InvalidAccessKeyId"]);
    assert!(!refused.err.contains("hush-hush") && !refused.err.contains("origin"));
    let key = engine.key();
    let right = key.each_ref().map(|(name, value)| (*name, value.as_str()));
    start(&engine.url().replace("contents", "nowhere"), &right).refused(1, &["open the contents"]);
    let told = ["open the contents", "cannot connect to the bucket for contents", "127.0.0.1"];
    start("s3://bucket?endpoint=http://127.0.0.1:1", &right).refused(1, &told);
    run(&["settings", "--print-default"]).ok();
}

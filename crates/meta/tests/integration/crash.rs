//! What was acknowledged survives `kill -9`, and no batch survives by half.
//!
//! A child process commits from many tasks and writes each acknowledgement to a log of its own. The parent kills it at a
//! random point, opens the store and looks for what the log names. All cycles work on one store.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use umbra_meta::{Batch, Entry, Expect, KeyRange, MetaStore, Partition, Projection, SqliteMetaStore, SqliteSettings, counter_value};

/// Tells the child where to work.
const DIRECTORY: &str = "UMBRA_META_CRASH_DIRECTORY";
const CYCLE: &str = "UMBRA_META_CRASH_CYCLE";
const CYCLES: u32 = 24;
const WRITERS: u64 = 16;
const P: Partition = Partition(9);

/// The bytes that belong to `key`: anybody can tell whether they are right.
fn body(key: &str) -> Vec<u8> {
    let length = key.bytes().fold(7_usize, |sum, byte| sum * 31 % 3001 + usize::from(byte));
    key.bytes().cycle().take(length).collect()
}

/// One batch: three entries, a counter, and a chain that checks the link before.
fn batch(name: &str, writer: u64, link: Option<&Entry>) -> Batch {
    let chain = format!("chain/{writer}");
    let batch = Batch::new(P)
        .check(chain.as_str(), Expect::unchanged(link.map(|link| link.revision)))
        .put(chain, name.to_owned(), "")
        .add("count", 1);
    ["a", "b", "c"].iter().map(|part| format!("{part}/{name}")).fold(batch, |batch, key| {
        let body = body(&key);
        batch.put(key, "", body)
    })
}

/// Not a test by itself: the child's part. Without its environment it does nothing.
#[test]
fn child() {
    let (Ok(directory), Ok(cycle)) = (std::env::var(DIRECTORY), std::env::var(CYCLE)) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let directory = Path::new(&directory);
        let store = Arc::new(SqliteMetaStore::open(&directory.join("meta"), SqliteSettings::default()).unwrap());
        let log = Arc::new(Mutex::new(File::options().create(true).append(true).open(directory.join("acknowledged")).unwrap()));
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| tokio::spawn(write(Arc::clone(&store), Arc::clone(&log), cycle.clone(), writer))).collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

async fn write(store: Arc<SqliteMetaStore>, log: Arc<Mutex<File>>, cycle: String, writer: u64) {
    let chain = format!("chain/{writer}");
    // Should the parent be gone, this ends by itself.
    let started = Instant::now();
    for n in 0_u64.. {
        let link = store.get(P, chain.as_bytes()).await.unwrap();
        let name = format!("{cycle}/{writer}/{n}");
        store.commit(batch(&name, writer, link.as_ref())).await.unwrap();
        log.lock().write_all(format!("{name}\n").as_bytes()).unwrap();
        if started.elapsed() > Duration::from_secs(20) {
            return;
        }
    }
}

fn spawn(directory: &Path, cycle: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(CYCLE, cycle.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn acknowledged(directory: &Path) -> BTreeSet<String> {
    // The last line may be cut: its writer was killed while writing it.
    let text = fs::read_to_string(directory.join("acknowledged")).unwrap_or_default();
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
}

#[test]
fn nothing_acknowledged_is_lost_to_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(1);
    let mut known = 0;
    for cycle in 0..CYCLES {
        let mut child = spawn(dir.path(), cycle);
        // It has begun to commit, whatever the machine is busy with; then it gets some random time more.
        let deadline = Instant::now() + Duration::from_secs(60);
        while acknowledged(dir.path()).len() <= known && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        thread::sleep(Duration::from_micros(random.random_range(0..150_000)));
        let ended = child.try_wait().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        // A child that gave up by itself has found something wrong: its own writes not there, for one.
        assert_eq!(ended, None, "cycle {cycle}: the child ended before it was killed");
        let names = acknowledged(dir.path());
        assert!(names.len() > known, "cycle {cycle}: the child committed nothing");
        known = names.len();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(dir.path(), &names, cycle));
    }
}

async fn check(directory: &Path, names: &BTreeSet<String>, cycle: u32) {
    let store = SqliteMetaStore::open(&directory.join("meta"), SqliteSettings::default()).unwrap();
    let mut parts = Vec::new();
    for part in ["a/", "b/", "c/"] {
        let rows = store.scan(P, KeyRange::prefix(part.as_bytes()), usize::MAX, Projection::Full).await.unwrap();
        let rows: BTreeMap<String, Entry> =
            rows.into_iter().map(|entry| (String::from_utf8(entry.key[2..].to_vec()).unwrap(), entry)).collect();
        for (name, entry) in &rows {
            assert_eq!(entry.body, body(&format!("{part}{name}")), "cycle {cycle}: the bytes of {part}{name}");
        }
        parts.push(rows);
    }
    for name in names {
        assert!(parts[0].contains_key(name), "cycle {cycle}: {name} was acknowledged and is lost");
    }
    for part in &parts[1..] {
        assert!(part.keys().eq(parts[0].keys()), "cycle {cycle}: a batch is there by half");
    }
    let count = store.get(P, b"count").await.unwrap().and_then(|entry| counter_value(&entry.head));
    assert_eq!(count, Some(parts[0].len() as i64), "cycle {cycle}: the counter does not count what is there");
    check_chains(&store, &parts[0], cycle).await;
}

/// Each writer's chain ends at the newest batch of that writer.
async fn check_chains(store: &SqliteMetaStore, rows: &BTreeMap<String, Entry>, cycle: u32) {
    for writer in 0..WRITERS {
        let of_writer = |name: &str| name.split('/').nth(1) == Some(writer.to_string().as_str());
        let newest = rows.iter().filter(|(name, _)| of_writer(name)).max_by_key(|(_, entry)| entry.revision);
        let link = store.get(P, format!("chain/{writer}").as_bytes()).await.unwrap();
        let expected = newest.map(|(name, entry)| (name.as_bytes().to_vec(), entry.revision));
        assert_eq!(link.map(|link| (link.head.to_vec(), link.revision)), expected, "cycle {cycle}: the chain of writer {writer}");
    }
}

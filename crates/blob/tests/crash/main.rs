//! A process that is killed while sixteen tasks write: whatever it acknowledged is there afterwards, byte for byte.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod power_cut;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use umbra_blob::{BlobId, BlobStore, DiskBlobStore, DiskSettings, StoredBlob, suite};

const DIR: &str = "UMBRA_BLOB_CRASH_DIR";
const CYCLE: &str = "UMBRA_BLOB_CRASH_CYCLE";
const CYCLES: u64 = 16;
const TASKS: u64 = 16;
const SIZES: [usize; 10] = [0, 100, 4_097, 9_000, 20_000, 64_000, 66_000, 130_000, 300_000, 900_000];

fn settings() -> DiskSettings {
    DiskSettings {
        segment_bytes: 4 << 20,
        record_bytes_max: 256 << 10,
        stream_buffer_bytes: 128 << 10,
        reserve_bytes: Some(0),
        direct_bytes_min: 100 << 10,
        open_segments_max: 8,
    }
}

/// What the child says on its standard output, which outlives it.
#[derive(Debug)]
enum Word {
    /// This blob was acknowledged.
    Stored { id: Vec<u8>, seed: u64, size: usize },
    /// This one is about to be deleted.
    Deleting { id: Vec<u8> },
}

impl Word {
    fn say(&self) {
        let line = match self {
            Self::Stored { id, seed, size } => format!("\n@stored {} {seed} {size} .\n", hex(id)),
            Self::Deleting { id } => format!("\n@deleting {} .\n", hex(id)),
        };
        // One call, so that a word is whole or not there.
        std::io::stdout().lock().write_all(line.as_bytes()).expect("the parent listens");
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let word = match words.next()? {
            "@stored" => Self::Stored { id: unhex(words.next()?)?, seed: words.next()?.parse().ok()?, size: words.next()?.parse().ok()? },
            "@deleting" => Self::Deleting { id: unhex(words.next()?)? },
            _ => return None,
        };
        (words.next() == Some(".")).then_some(word)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

/// Not a test of its own: the process that [`what_was_acknowledged_survives_a_kill`] kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let (Ok(dir), Ok(cycle)) = (std::env::var(DIR), std::env::var(CYCLE)) else { return };
    let cycle: u64 = cycle.parse().unwrap();
    let store = Arc::new(DiskBlobStore::open(dir, settings()).await.unwrap());
    let tasks = (0..TASKS).map(|task| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for round in 0.. {
                write_one(&store, (cycle * TASKS + task) * 1_000_000 + round).await;
            }
        })
    });
    futures::future::join_all(tasks).await;
}

async fn write_one(store: &DiskBlobStore, seed: u64) {
    let size = SIZES[(seed.wrapping_mul(7) % SIZES.len() as u64) as usize];
    let bytes = suite::content(seed, size);
    let blob = if seed.is_multiple_of(3) {
        suite::write(store, bytes.chunks(30_000).map(Bytes::copy_from_slice)).await.unwrap()
    } else if seed % 3 == 1 {
        store.put_unread(vec![bytes.into()]).await.unwrap()
    } else {
        store.put(vec![bytes.into()]).await.unwrap()
    };
    Word::Stored { id: blob.id.as_bytes().to_vec(), seed, size }.say();
    if seed.is_multiple_of(4) {
        Word::Deleting { id: blob.id.as_bytes().to_vec() }.say();
        store.delete(&blob.id).await.unwrap();
    }
}

/// Seed and size of blobs, by their identifiers.
type Acknowledged = BTreeMap<Vec<u8>, (u64, usize)>;

/// Runs the child, does `before_kill` after `words` words, kills it, and gives back what it acknowledged and did not delete.
fn run_and_kill(dir: &Path, cycle: u64, words: usize, before_kill: impl FnOnce(&Child)) -> Acknowledged {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(CYCLE, cycle.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut said: Vec<Word> = lines.by_ref().filter_map(|line| Word::parse(&line)).take(words).collect();
    assert_eq!(said.len(), words, "the child ended by itself");
    before_kill(&child);
    child.kill().unwrap();
    child.wait().unwrap();
    // What it still said before it died counts as well.
    said.extend(lines.filter_map(|line| Word::parse(&line)));
    let mut acknowledged = Acknowledged::new();
    for word in said {
        match word {
            Word::Stored { id, seed, size } => assert!(acknowledged.insert(id, (seed, size)).is_none(), "an identifier was issued twice"),
            Word::Deleting { id } => drop(acknowledged.remove(&id)),
        }
    }
    acknowledged
}

async fn check(store: &DiskBlobStore, acknowledged: &Acknowledged) {
    for (id, &(seed, size)) in acknowledged {
        let blob = StoredBlob { id: BlobId::from_bytes(id), size: size as u64 };
        let found = suite::read_all(store, &blob).await.unwrap_or_else(|error| panic!("blob {seed} of {size} bytes: {error:?}"));
        assert!(found == suite::content(seed, size), "other bytes of blob {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Acknowledged::new();
    for cycle in 0..CYCLES {
        // From the first words to several segments.
        let words = 1 + (cycle as usize * 37) % 300;
        let acknowledged = run_and_kill(dir.path(), cycle, words, |_| ());
        let store = DiskBlobStore::open(dir.path(), settings()).await.unwrap();
        check(&store, &acknowledged).await;
        for (id, blob) in acknowledged {
            assert!(all.insert(id, blob).is_none(), "an identifier was issued twice");
        }
    }
    let store = DiskBlobStore::open(dir.path(), settings()).await.unwrap();
    check(&store, &all).await;
    assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
}

//! Files that are cut off, zeroed or flipped: what is read is what was written, or an error.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use proptest::{prelude::*, sample::Index};
use umbra_blob::{BlobStore, DiskBlobStore, DiskSettings, Error, StoredBlob, suite};
use umbra_core::ByteRange;

const SIZES: [usize; 12] = [0, 1, 100, 4_096, 10_000, 65_536, 65_537, 131_072, 150_000, 200_000, 300_000, 700_000];

fn settings() -> DiskSettings {
    DiskSettings {
        segment_bytes: 512 << 10,
        record_bytes_max: 256 << 10,
        stream_buffer_bytes: 64 << 10,
        reserve_bytes: Some(0),
        direct_bytes_min: 100 << 10,
        open_segments_max: 2,
    }
}

#[derive(Clone, Debug)]
enum Damage {
    /// The file ends here.
    Cut(Index),
    /// A range is zero.
    Zero(Index, usize),
    /// One bit is flipped.
    Flip(Index, u8),
    /// A range is a copy of another.
    Copy(Index, Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    prop_oneof![
        at().prop_map(Damage::Cut),
        (at(), 1..200_000_usize).prop_map(|(at, len)| Damage::Zero(at, len)),
        (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (at(), at(), 1..100_000_usize).prop_map(|(from, to, len)| Damage::Copy(from, to, len)),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let len = bytes.len();
        match *self {
            Self::Cut(at) => bytes.truncate(at.index(len)),
            Self::Zero(at, count) => bytes[at.index(len)..(at.index(len) + count).min(len)].fill(0),
            Self::Flip(at, bit) => bytes[at.index(len)] ^= 1 << bit,
            Self::Copy(from, to, count) => {
                let (from, to) = (from.index(len), to.index(len));
                let count = count.min(len - from).min(len - to);
                bytes.copy_within(from..from + count, to);
            }
        }
    }
}

async fn fill(dir: &Path) -> Vec<StoredBlob> {
    let store = DiskBlobStore::open(dir, settings()).await.unwrap();
    let mut blobs = Vec::new();
    for (seed, size) in (0..).zip(SIZES) {
        let content = vec![suite::content(seed, size).into()];
        blobs.push(if seed.is_multiple_of(2) { store.put_unread(content).await } else { store.put(content).await }.unwrap());
    }
    blobs
}

/// Every file that holds blobs.
fn files(dir: &Path) -> Vec<PathBuf> {
    let list = |dir: PathBuf| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = list(dir.join("seg")).chain(list(dir.join("big")).flat_map(list)).collect();
    files.sort();
    files
}

/// Reads every blob, whole and in part; gives back how many could not be read.
async fn read_everything(store: &DiskBlobStore, blobs: &[StoredBlob]) -> usize {
    let mut unreadable = 0;
    for (seed, blob) in (0..).zip(blobs) {
        let expected = suite::content(seed, blob.size as usize);
        let ranges = [0..blob.size, blob.size / 2..blob.size, blob.size / 3..blob.size / 2];
        let mut failed = false;
        for range in ranges {
            match suite::read(store, &blob.id, ByteRange::new(range.start, range.end)).await {
                Ok(found) => assert!(found == expected[range.start as usize..range.end as usize], "wrong bytes of blob {seed}"),
                Err(Error::Corrupt { .. } | Error::NotFound(_)) => failed = true,
                Err(error) => panic!("blob {seed}: {error:?}"),
            }
        }
        unreadable += usize::from(failed);
    }
    unreadable
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_is_found(file in any::<Index>(), damages in prop::collection::vec(damage(), 1..3)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let blobs = fill(dir.path()).await;
            let files = files(dir.path());
            let path = file.get(&files);
            let mut bytes = fs::read(path).unwrap();
            let intact = bytes.clone();
            for damage in &damages {
                if !bytes.is_empty() {
                    damage.apply(&mut bytes);
                }
            }
            fs::write(path, &bytes).unwrap();

            let store = DiskBlobStore::open(dir.path(), settings()).await.unwrap();
            let unreadable = read_everything(&store, &blobs).await;
            if bytes == intact {
                assert_eq!(unreadable, 0);
            }
            // The store goes on, and takes even damaged blobs back.
            let next = store.put(vec![suite::content(99, 50_000).into()]).await.unwrap();
            for blob in &blobs {
                store.delete(&blob.id).await.unwrap();
            }
            assert!(suite::read_all(&store, &next).await.unwrap() == suite::content(99, 50_000));
        });
    }
}

#[tokio::test]
async fn a_flipped_bit_of_content_is_found_where_it_is_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = fill(dir.path()).await;
    let paths = files(dir.path());
    let large = paths.iter().find(|path| fs::metadata(path).unwrap().len() > 700_000).unwrap();
    let blob = blobs.last().unwrap();
    let expected = suite::content(SIZES.len() as u64 - 1, 700_000);
    let header = fs::read(large).unwrap().windows(64).position(|window| window == &expected[..64]).unwrap();
    let intact = fs::read(large).unwrap();
    for at in [0, 65_535, 65_536, 400_000, 699_999] {
        let mut bytes = intact.clone();
        bytes[header + at] ^= 1;
        fs::write(large, &bytes).unwrap();
        let store = DiskBlobStore::open(dir.path(), settings()).await.unwrap();
        for block in 0..700_000_u64.div_ceil(65_536) {
            let range = block * 65_536..((block + 1) * 65_536).min(700_000);
            let outcome = suite::read(&store, &blob.id, ByteRange::new(range.start, range.end)).await;
            if range.contains(&(at as u64)) {
                let outcome = outcome.map(|found| found.len());
                assert!(matches!(outcome, Err(Error::Corrupt { .. })), "byte {at}, block {block}: {outcome:?}");
            } else {
                assert!(outcome.unwrap() == expected[range.start as usize..range.end as usize], "byte {at}, block {block}");
            }
        }
    }
}

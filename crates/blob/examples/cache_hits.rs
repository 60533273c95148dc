//! How much a cache spares its engine: reads of blobs of which some are read much more often than others (Zipf), by size of the cache.
//!
//! `bench/cache` runs it. The engine is in memory: hit rates do not depend on it.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "it is a benchmark")]

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures::TryStreamExt;
use umbra_blob::{BlobId, BlobStore, CacheMetrics, CacheSettings, CachedBlobStore, MemoryBlobStore};
use umbra_core::{ByteRange, Random, SeededRandom};

const BLOBS: usize = 8_000;
const BLOB_BYTES: usize = 64 * 1024;
const READS: usize = 60_000;

/// Which blob is read next: the `n`th most popular one with a probability like `1 / n^skew`.
struct Zipf {
    sums: Vec<f64>,
    random: SeededRandom,
}

impl Zipf {
    fn new(skew: f64) -> Self {
        let sums = (1..=BLOBS).scan(0.0, |sum, rank| {
            *sum += (rank as f64).powf(-skew);
            Some(*sum)
        });
        Self { sums: sums.collect(), random: SeededRandom::new(1) }
    }

    fn next(&self) -> usize {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        let at = (u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64 * self.sums[BLOBS - 1];
        self.sums.partition_point(|sum| *sum < at).min(BLOBS - 1)
    }
}

async fn read(store: &CachedBlobStore, id: &BlobId) {
    let chunks: Vec<Bytes> = store.read(id, ByteRange::new(0, BLOB_BYTES as u64)).await.unwrap().try_collect().await.unwrap();
    assert_eq!(chunks.iter().map(Bytes::len).sum::<usize>(), BLOB_BYTES);
}

#[tokio::main]
async fn main() {
    let memory = MemoryBlobStore::new();
    let mut ids = Vec::new();
    for number in 0..BLOBS {
        ids.push(memory.put(vec![vec![number as u8; BLOB_BYTES].into()]).await.unwrap().id);
    }
    println!("{READS} reads of {BLOBS} blobs of {BLOB_BYTES} bytes; hits after as many reads to warm up");
    println!("| skew | cache | hits | best possible | hits after a scan of everything | reads/s |\n|---|---|---|---|---|---|");
    for skew in [0.7, 0.9, 1.1] {
        for percent in [1, 5, 10, 25, 50] {
            let dir = tempfile::tempdir().unwrap();
            let bytes = (BLOBS * BLOB_BYTES * percent / 100) as u64;
            let (settings, metrics) = (CacheSettings { bytes, ..CacheSettings::default() }, CacheMetrics::default());
            let engine: Arc<dyn BlobStore> = Arc::new(memory.clone());
            let store = CachedBlobStore::open(engine, dir.path().join("cache"), settings, metrics.clone()).await.unwrap();
            let zipf = Zipf::new(skew);
            let measure = async || {
                let before = metrics.reads();
                for _ in 0..READS {
                    read(&store, &ids[zipf.next()]).await;
                }
                (metrics.reads().0 - before.0) as f64 * 100.0 / READS as f64
            };
            measure().await;
            let began = Instant::now();
            let hits = measure().await;
            let rate = READS as f64 / began.elapsed().as_secs_f64();
            for id in &ids {
                read(&store, id).await;
            }
            let after = measure().await;
            // What fits, were it always the most popular.
            let best = zipf.sums[(BLOBS * percent / 100).max(1) - 1] * 100.0 / zipf.sums[BLOBS - 1];
            println!("| {skew} | {percent} % | {hits:.1} % | {best:.1} % | {after:.1} % | {rate:.0} |");
        }
    }
}

//! What a cache tells of itself.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Counts of a cache of blobs. Clones are the same counts.
#[derive(Clone, Debug, Default)]
pub struct CacheMetrics {
    reads: Family<Labels, Counter>,
    read_bytes: Family<Labels, Counter>,
    pub(super) evictions: Counter,
    pub(super) bytes: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    source: &'static str,
}

const CACHE: Labels = Labels { source: "cache" };
const ENGINE: Labels = Labels { source: "engine" };

impl CacheMetrics {
    /// Registers them.
    pub fn register(&self, registry: &mut Registry) {
        // Both are told from the start, so that a rate can be made of them.
        for family in [&self.reads, &self.read_bytes] {
            drop(family.get_or_create(&CACHE));
            drop(family.get_or_create(&ENGINE));
        }
        registry.register(
            "umbra_blob_cache_reads",
            "Blocks of content read from the cache, or from the engine behind it",
            self.reads.clone(),
        );
        registry.register("umbra_blob_cache_read_bytes", "Bytes of content read of these blocks", self.read_bytes.clone());
        registry.register("umbra_blob_cache_evictions", "Blocks displaced by others", self.evictions.clone());
        registry.register("umbra_blob_cache_bytes", "Bytes that the cache counts as taken", self.bytes.clone());
    }

    /// Counts a block of which `bytes` were read.
    pub(super) fn count(&self, is_hit: bool, bytes: u64) {
        let labels = if is_hit { &CACHE } else { &ENGINE };
        self.reads.get_or_create(labels).inc();
        self.read_bytes.get_or_create(labels).inc_by(bytes);
    }

    /// How many blocks were read from the cache, and how many from the engine.
    pub fn reads(&self) -> (u64, u64) {
        let hits = self.reads.get_or_create(&CACHE).get();
        (hits, self.reads.get_or_create(&ENGINE).get())
    }

    /// How many blocks were displaced.
    pub fn evictions(&self) -> u64 {
        self.evictions.get()
    }
}

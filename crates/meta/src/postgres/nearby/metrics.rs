//! What a metadata replica tells of itself.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Counts of reads and commits beside a metadata replica. Clones are the same counts.
#[derive(Clone, Debug, Default)]
pub struct ReplicaMetrics {
    reads: Family<Source, Counter>,
    waits: Family<End, Counter>,
    pub(super) is_trusted: Gauge,
    pub(super) behind_ms: Gauge,
    pub(super) behind_bytes: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Source {
    source: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct End {
    end: &'static str,
}

pub(super) const REPLICA: &str = "replica";
pub(super) const PRIMARY: &str = "primary";
/// Of the replica, while the primary does not answer.
pub(super) const CUT_OFF: &str = "cut_off";

pub(super) const REPLAYED: &str = "replayed";
pub(super) const TIME: &str = "time";

impl ReplicaMetrics {
    /// Registers them.
    pub fn register(&self, registry: &mut Registry) {
        // All are told from the start, so that a rate can be made of them.
        [REPLICA, PRIMARY, CUT_OFF].iter().for_each(|source| drop(self.reads.get_or_create(&Source { source })));
        [REPLAYED, TIME].iter().for_each(|end| drop(self.waits.get_or_create(&End { end })));
        let reads = "Reads of metadata that may be made at the replica, by where they were made";
        registry.register("umbra_metadata_replica_reads", reads, self.reads.clone());
        let waits =
            "Commits that waited for those who read a replica in this region, by what ended it: the replica had it, or time had passed";
        registry.register("umbra_metadata_replica_waits", waits, self.waits.clone());
        registry.register("umbra_metadata_replica_trusted", "Whether the metadata replica is read", self.is_trusted.clone());
        let behind = "For how long the metadata replica has not been known to have everything, in milliseconds";
        registry.register("umbra_metadata_replica_behind_ms", behind, self.behind_ms.clone());
        let bytes = "What the metadata replica lacked of the primary's log when they were last compared";
        registry.register("umbra_metadata_replica_behind_bytes", bytes, self.behind_bytes.clone());
    }

    pub(super) fn count_read(&self, source: &'static str) {
        self.reads.get_or_create(&Source { source }).inc();
    }

    pub(super) fn count_wait(&self, end: &'static str) {
        self.waits.get_or_create(&End { end }).inc();
    }
}

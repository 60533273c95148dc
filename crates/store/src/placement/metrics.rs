//! What regions tell of themselves.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// Counts of what is read of other regions' contents. Clones are the same counts.
#[derive(Clone, Debug, Default)]
pub struct PlacementMetrics {
    reads: Family<Labels, Counter>,
    fetched_bytes: Counter,
    copies: Counter,
    moves: Counter,
    idle_copies: Counter,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    source: &'static str,
}

const COPY: Labels = Labels { source: "copy" };
const HOME: Labels = Labels { source: "home" };

impl PlacementMetrics {
    /// Registers them.
    pub fn register(&self, registry: &mut Registry) {
        // Both are told from the start, so that a rate can be made of them.
        drop(self.reads.get_or_create(&COPY));
        drop(self.reads.get_or_create(&HOME));
        let reads = "Reads of contents that are at home in another region, from the copy here or from their home";
        registry.register("umbra_placement_reads", reads, self.reads.clone());
        registry.register("umbra_placement_fetched_bytes", "Bytes of content fetched from other regions", self.fetched_bytes.clone());
        registry.register("umbra_placement_copies", "Copies that were made here of contents of other regions", self.copies.clone());
        registry.register("umbra_placement_moves", "Homes that were moved to their readers, by this node as it led", self.moves.clone());
        let idle = "Copies that were dropped because nobody read them, in all regions, by this node as it led";
        registry.register("umbra_placement_idle_copies", idle, self.idle_copies.clone());
    }

    pub(super) fn count_copy_read(&self) {
        self.reads.get_or_create(&COPY).inc();
    }

    pub(super) fn count_home_read(&self) {
        self.reads.get_or_create(&HOME).inc();
    }

    pub(super) fn count_fetched(&self, bytes: usize) {
        self.fetched_bytes.inc_by(bytes as u64);
    }

    pub(super) fn count_copy(&self) {
        self.copies.inc();
    }

    pub(super) fn count_move(&self) {
        self.moves.inc();
    }

    pub(super) fn count_idle_copy(&self) {
        self.idle_copies.inc();
    }

    /// How many reads a copy answered, and how many the home.
    pub fn reads(&self) -> (u64, u64) {
        (self.reads.get_or_create(&COPY).get(), self.reads.get_or_create(&HOME).get())
    }

    /// How many copies were made.
    pub fn copies(&self) -> u64 {
        self.copies.get()
    }

    /// How many homes were moved.
    pub fn moves(&self) -> u64 {
        self.moves.get()
    }

    /// How many copies were dropped that nobody read.
    pub fn idle_copies(&self) -> u64 {
        self.idle_copies.get()
    }
}

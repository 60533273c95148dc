//! What regions tell of themselves.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::maker::Made;

/// Counts of what is read of other regions' contents. Clones are the same counts.
#[derive(Clone, Debug, Default)]
pub struct PlacementMetrics {
    reads: Family<Labels, Counter>,
    fetched_bytes: Counter,
    copies: Counter,
    required: Family<RequiredLabels, Counter>,
    due_buckets: Family<RegionLabels, Gauge>,
    moves: Counter,
    idle_copies: Counter,
    gone: Counter,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    source: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequiredLabels {
    region: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RegionLabels {
    region: String,
}

const COPY: Labels = Labels { source: "copy" };
const HOME: Labels = Labels { source: "home" };
/// What may come of a copy that has to be made.
const OUTCOMES: [&str; 4] = ["made", "before", "gone", "failed"];

impl PlacementMetrics {
    /// Registers them, of a server in `region`.
    pub fn register(&self, registry: &mut Registry, region: &str) {
        // Told from the start, so that a rate can be made of them.
        drop(self.reads.get_or_create(&COPY));
        drop(self.reads.get_or_create(&HOME));
        for outcome in OUTCOMES {
            drop(self.required.get_or_create(&RequiredLabels { region: region.to_owned(), outcome }));
        }
        self.set_due_buckets(region, 0);
        let reads = "Reads of contents that are at home in another region, from the copy here or from their home";
        registry.register("umbra_placement_reads", reads, self.reads.clone());
        registry.register("umbra_placement_fetched_bytes", "Bytes of content fetched from other regions", self.fetched_bytes.clone());
        registry.register("umbra_placement_copies", "Copies that were made here of contents of other regions", self.copies.clone());
        let required = "Copies that locations ask for and that came to an end here: made, there before, failed (to be tried again), or of what is gone";
        registry.register("umbra_placement_required_copies", required, self.required.clone());
        let due = "Buckets that have copies to be made in a region that this node makes copies in";
        registry.register("umbra_placement_due_buckets", due, self.due_buckets.clone());
        registry.register("umbra_placement_moves", "Homes that were moved to their readers, by this node as it led", self.moves.clone());
        let idle = "Copies that were dropped because nobody read them, in all regions, by this node as it led";
        registry.register("umbra_placement_idle_copies", idle, self.idle_copies.clone());
        let gone = "Contents of which an audit by this node found that their bytes are nowhere, each time it did";
        registry.register("umbra_placement_gone_contents", gone, self.gone.clone());
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

    /// Counts what came of a copy that has to be in `region`; `None`: it failed.
    pub(super) fn count_required(&self, region: &str, made: Option<Made>) {
        let outcome = match made {
            Some(Made::Now) => "made",
            Some(Made::Before) => "before",
            Some(Made::Gone) => "gone",
            Some(Made::Coming) => return,
            None => "failed",
        };
        self.required.get_or_create(&RequiredLabels { region: region.to_owned(), outcome }).inc();
    }

    pub(super) fn set_due_buckets(&self, region: &str, buckets: usize) {
        self.due_buckets.get_or_create(&RegionLabels { region: region.to_owned() }).set(i64::try_from(buckets).unwrap_or(i64::MAX));
    }

    pub(super) fn count_move(&self) {
        self.moves.inc();
    }

    pub(super) fn count_idle_copy(&self) {
        self.idle_copies.inc();
    }

    pub(super) fn count_gone(&self, contents: u64) {
        self.gone.inc_by(contents);
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

    /// Of how many contents it was found that their bytes are nowhere.
    pub fn gone(&self) -> u64 {
        self.gone.get()
    }

    /// How many copies were dropped that nobody read.
    pub fn idle_copies(&self) -> u64 {
        self.idle_copies.get()
    }
}

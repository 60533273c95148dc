//! The metrics of shadows, in the text form of Prometheus: for every bucket with a shadow what its status tells, as far as it is a number.
//!
//! They are put together when they are asked for, from the same counters as the status, so that they too outlive restarts.
//! However many buckets there are, at most [`BUCKETS_MAX`] of them have series, the first by name; a gauge tells how many there are.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Metric, Registry},
};
use umbra_core::{Error, Result};
use umbra_store::Bucket;

use crate::{
    Shadow,
    health::Verdict,
    stats::{ShadowCounts, Stats},
    uncarried::UncarriedReason,
};

/// The most buckets that have series: some three thousand lines.
pub const BUCKETS_MAX: usize = 100;
/// Half-done writes are counted so far and no further: counting is a scan.
const REPAIRS_COUNTED: usize = 1000;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfBucket {
    bucket: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfKind {
    bucket: String,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfSource {
    bucket: String,
    source: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfReason {
    bucket: String,
    reason: &'static str,
}

type Count<L> = Family<L, Counter>;
type Level<L> = Family<L, Gauge>;

/// One answer's worth of metrics.
#[derive(Default)]
struct Metrics {
    buckets: Gauge,
    requests: Count<OfKind>,
    origin_bytes: Count<OfBucket>,
    compared_bytes: Count<OfBucket>,
    moved_bytes: Count<OfBucket>,
    hydrated_objects: Count<OfBucket>,
    hydrated_bytes: Count<OfBucket>,
    discarded_copies: Count<OfBucket>,
    discarded_bytes: Count<OfBucket>,
    reads: Count<OfSource>,
    read_bytes: Count<OfSource>,
    revalidations: Count<OfBucket>,
    revalidated_changes: Count<OfBucket>,
    saved_bytes: Level<OfBucket>,
    egress_ratio: Family<OfBucket, Gauge<f64, AtomicU64>>,
    pending_repairs: Level<OfBucket>,
    health: Level<OfBucket>,
    uncarried: Level<OfReason>,
}

/// What is known of one bucket.
struct Shown {
    counts: ShadowCounts,
    repairs: usize,
    verdict: Verdict,
    uncarried: Vec<(UncarriedReason, u64)>,
}

impl Metrics {
    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("umbra_shadow");
        let all = &mut registry;
        add(all, "buckets", "Buckets with a shadow; of these, the first hundred by name have series", &self.buckets);
        add(all, "origin_requests", "Requests to the origin, by kind", &self.requests);
        add(all, "origin_bytes", "Bytes of content that left the origin to be read here or to stay", &self.origin_bytes);
        add(all, "compared_bytes", "Bytes of content that left the origin only to be compared with what is here", &self.compared_bytes);
        add(all, "moved_bytes", "Bytes of content brought here and kept, each counted once", &self.moved_bytes);
        add(all, "hydrated_objects", "Objects brought here whole", &self.hydrated_objects);
        add(all, "hydrated_bytes", "Bytes of the objects brought here whole", &self.hydrated_bytes);
        add(all, "discarded_copies", "Copies thrown away, mostly because something newer was here", &self.discarded_copies);
        add(all, "discarded_bytes", "Bytes of the copies thrown away", &self.discarded_bytes);
        add(all, "reads", "Reads answered, from here (local) or from the origin", &self.reads);
        add(all, "read_bytes", "Bytes of content sent to clients by these reads", &self.read_bytes);
        add(all, "revalidations", "Times that the origin was asked whether an object is still the same", &self.revalidations);
        add(all, "revalidated_changes", "Times that it was not", &self.revalidated_changes);
        add(all, "saved_bytes", "Bytes sent to clients that did not leave the origin for it", &self.saved_bytes);
        add(all, "egress_ratio", "Bytes that left the origin for each that was moved, at best 1", &self.egress_ratio);
        add(all, "pending_repairs", "Writes that are half done, counted up to a thousand", &self.pending_repairs);
        add(all, "health", "0 ok, 1 degraded, 2 failing", &self.health);
        add(all, "uncarried_objects", "Objects of which something could not be carried over, by reason", &self.uncarried);
        registry
    }

    fn show(&self, bucket: &Bucket, shown: &Shown) {
        let name = || bucket.name.to_string();
        let of = OfBucket { bucket: name() };
        let Shown { counts, repairs, verdict, uncarried } = shown;
        for (kind, count) in [
            ("get", counts.origin_gets),
            ("head", counts.origin_heads),
            ("list", counts.origin_lists),
            ("put", counts.origin_puts),
            ("delete", counts.origin_deletes),
            ("tag", counts.origin_tags),
            ("multipart", counts.origin_multiparts),
        ] {
            self.requests.get_or_create(&OfKind { bucket: name(), kind }).inc_by(count);
        }
        for (family, count) in [
            (&self.origin_bytes, counts.origin_bytes),
            (&self.compared_bytes, counts.compared_bytes),
            (&self.moved_bytes, counts.moved_bytes),
            (&self.hydrated_objects, counts.hydrated_objects),
            (&self.hydrated_bytes, counts.hydrated_bytes),
            (&self.discarded_copies, counts.discarded_copies),
            (&self.discarded_bytes, counts.discarded_bytes),
            (&self.revalidations, counts.revalidations),
            (&self.revalidated_changes, counts.revalidated_changes),
        ] {
            family.get_or_create(&of).inc_by(count);
        }
        for (source, reads, bytes) in [("local", counts.local_reads, counts.local_bytes), ("origin", counts.cold_reads, counts.cold_bytes)]
        {
            let of = OfSource { bucket: name(), source };
            self.reads.get_or_create(&of).inc_by(reads);
            self.read_bytes.get_or_create(&of).inc_by(bytes);
        }
        self.saved_bytes.get_or_create(&of).set(counts.saved_bytes().cast_signed());
        if let Some(ratio) = counts.egress_ratio() {
            self.egress_ratio.get_or_create(&of).set(ratio);
        }
        set(&self.pending_repairs, &of, *repairs);
        let verdict = match verdict {
            Verdict::Ok => 0,
            Verdict::Degraded => 1,
            Verdict::Failing => 2,
        };
        self.health.get_or_create(&of).set(verdict);
        for reason in UncarriedReason::ALL {
            let objects = uncarried.iter().find(|(of, _)| *of == reason).map_or(0, |(_, objects)| objects.cast_signed());
            self.uncarried.get_or_create(&OfReason { bucket: name(), reason: reason.as_str() }).set(objects);
        }
    }
}

fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: &M) {
    registry.register(name, help, metric.clone());
}

fn set(family: &Level<OfBucket>, of: &OfBucket, value: usize) {
    family.get_or_create(of).set(i64::try_from(value).unwrap_or(i64::MAX));
}

impl Shadow {
    /// Writes the metrics of all shadows. With `by_bucket` false only how many there are: names of buckets are not for everyone.
    pub async fn write_metrics(&self, out: &mut String, by_bucket: bool) -> Result<()> {
        let metrics = Metrics::default();
        // Whoever keeps the buckets tells of all of them: a sum over several processes must not count twice.
        let all = if self.0.keeps.load(Ordering::SeqCst) { self.0.stats.all() } else { Vec::new() };
        metrics.buckets.set(i64::try_from(all.len()).unwrap_or(i64::MAX));
        for (name, stats) in all.into_iter().take(if by_bucket { BUCKETS_MAX } else { 0 }) {
            let shown = async {
                let bucket = self.0.catalog.bucket(&name).await?;
                let shown = self.shown(&bucket, &stats).await?;
                Ok::<_, Error>((bucket, shown))
            };
            match shown.await {
                Ok((bucket, shown)) => metrics.show(&bucket, &shown),
                // The others are still worth telling.
                Err(error) => tracing::debug!(bucket = %name, error = ?error, "a bucket has no metrics now"),
            }
        }
        let failed = |error: fmt::Error| Error::internal("the metrics cannot be written").because(error);
        text::encode_registry(out, &metrics.registry()).map_err(failed)
    }

    async fn shown(&self, bucket: &Bucket, stats: &Stats) -> Result<Shown> {
        let repairs = self.repair_queue(bucket, REPAIRS_COUNTED).await?.len();
        Ok(Shown {
            counts: self.counts_of(bucket.partition, stats).await?,
            repairs,
            verdict: self.health(stats, repairs).verdict,
            uncarried: self.uncarried_counts(bucket).await?,
        })
    }
}

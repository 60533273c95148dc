//! Copies that have to be made: what every node of a store with regions does about them.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use umbra_cluster::Node;
use umbra_core::Clock;
use umbra_meta::MetaStore;
use umbra_store::{Auditor, AuditorParts, Catalog, CopyWorker, DuePointers, Native, PlacedBlobStore, PlacementMetrics, RegionSource};

use super::{company::Company, duties::PATIENCE};

/// What a store with regions is made of, for those who look after its copies.
#[derive(Clone)]
pub(super) struct InRegions {
    pub(super) meta: Arc<dyn MetaStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) placed: PlacedBlobStore,
    pub(super) pointers: DuePointers,
}

impl InRegions {
    /// That of `native`, if it has regions. Nobody waits for these records to be anywhere but in `meta`.
    pub(super) fn of(native: &Native, meta: &Arc<dyn MetaStore>) -> Option<Self> {
        let (placed, pointers) = (native.placed()?.clone(), native.due_pointers().clone());
        Some(Self { meta: Arc::clone(meta), clock: native.shared_clock(), placed, pointers })
    }
}

impl InRegions {
    /// What holds where bytes are against the locations of buckets, every `interval`.
    pub(super) fn auditor(&self, catalog: &Arc<Catalog>, interval: Option<Duration>) -> Auditor {
        Auditor::new(AuditorParts {
            meta: Arc::clone(&self.meta),
            catalog: Arc::clone(catalog),
            blobs: self.placed.clone(),
            clock: Arc::clone(&self.clock),
            pointers: self.pointers.clone(),
            interval,
        })
    }
}

/// What makes copies in this server's region, running.
pub(super) struct Copies {
    worker: Arc<CopyWorker>,
    pointers: DuePointers,
    tasks: [JoinHandle<()>; 2],
}

impl Copies {
    /// Starts.
    pub(super) fn start(regions: InRegions, company: Option<&Company>, metrics: &PlacementMetrics) -> Self {
        let InRegions { meta, clock, placed, pointers } = regions;
        let holder = company.map_or_else(String::new, |company| company.incarnation().to_owned());
        let regions = served(company.map(|company| Arc::clone(&company.node)), placed.clone());
        let worker = Arc::new(CopyWorker::new(Arc::clone(&meta), clock, placed, holder, regions, metrics.clone()));
        let (working, pointing) = (Arc::clone(&worker), pointers.clone());
        let tasks = [tokio::spawn(async move { working.run().await }), tokio::spawn(async move { pointing.run(&*meta).await })];
        Self { worker, pointers, tasks }
    }

    /// Ends. What is not made is left for others.
    pub(super) async fn end(self) {
        self.worker.stop();
        self.pointers.stop();
        for task in self.tasks {
            let abort = task.abort_handle();
            if tokio::time::timeout(PATIENCE, task).await.is_err() {
                abort.abort();
            }
        }
    }
}

/// The regions that copies are made in by this server: its own, and while it leads those that have no node.
fn served(node: Option<Arc<Node>>, placed: PlacedBlobStore) -> RegionSource {
    Box::new(move || {
        let topology = placed.topology();
        let own = topology.own().map(ToString::to_string);
        let is_kept = |region: &String| match &node {
            Some(node) => node.leads() && !node.lives_in(region),
            None => true,
        };
        let others = topology.regions().iter().map(ToString::to_string).filter(|region| Some(region) != own.as_ref());
        let others: Vec<_> = others.filter(is_kept).collect();
        own.into_iter().chain(others).collect()
    })
}

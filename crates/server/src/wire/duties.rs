//! What one server does for the whole store beside answering requests: the only one, or the one that leads.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use umbra_core::Result;
use umbra_s3::EventDelivery;
use umbra_shadow::Shadow;
use umbra_store::{
    Auditor, Catalog, Destroyer, Homes, HomesCounter, LifecycleDay, NewKey, PlacedBlobStore, ReclaimHandle, Reclaimer, Role,
};

use super::{StartError, copies::InRegions, parts::partitions};
use crate::root_key::RootKey;

/// How long each worker may take to come to an end.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The work in the background, begun once.
pub(super) struct Duties {
    pub(super) catalog: Arc<Catalog>,
    pub(super) shadow: Shadow,
    pub(super) reclaim: ReclaimHandle,
    pub(super) reclaimer: Mutex<Option<Reclaimer>>,
    pub(super) destroyer: Arc<Destroyer>,
    pub(super) events: Arc<EventDelivery>,
    pub(super) lifecycle_day: LifecycleDay,
    /// Where contents are at home, in a store with regions.
    pub(super) homes: Option<HomeDuties>,
    /// Whether other servers share the store.
    pub(super) is_shared: bool,
    /// In a store with regions.
    pub(super) regions: Option<InRegions>,
    pub(super) auditor: Option<Arc<Auditor>>,
    pub(super) workers: Mutex<Vec<JoinHandle<()>>>,
}

/// What has homes follow those who read.
pub(super) struct HomeDuties {
    /// At every node.
    counter: Arc<HomesCounter>,
    homes: Arc<Homes>,
}

impl HomeDuties {
    pub(super) fn new(store: &PlacedBlobStore) -> Self {
        Self { counter: Arc::new(HomesCounter::new(store.clone())), homes: Arc::new(Homes::new(store.clone())) }
    }
}

impl Duties {
    /// Has the reads of this node count for homes, whether it leads or not.
    pub(super) fn count_reads(&self) {
        if let Some(HomeDuties { counter, .. }) = &self.homes {
            let counter = Arc::clone(counter);
            self.workers.lock().push(tokio::spawn(async move { counter.run().await }));
        }
    }

    /// Begins. `root_key` is the one root key there is from now on.
    pub(super) async fn begin(&self, root_key: &RootKey) -> std::result::Result<(), StartError> {
        if self.is_shared {
            self.catalog.lead().await.map_err(StartError::store("take over the catalog"))?;
        }
        self.replace_root_key(root_key).await.map_err(StartError::store("install the root access key"))?;
        self.shadow.start().await.map_err(StartError::store("look for unfinished migrations"))?;
        self.shadow.start_lifecycle(self.lifecycle_day);
        let Some(reclaimer) = self.reclaimer.lock().take() else { return Ok(()) };
        let (destroyer, events) = (Arc::clone(&self.destroyer), Arc::clone(&self.events));
        let workers = [
            tokio::spawn(reclaimer.run()),
            tokio::spawn(async move { destroyer.run().await }),
            tokio::spawn(async move { events.run().await }),
        ];
        let homes = self.homes.as_ref().map(|duties| Arc::clone(&duties.homes));
        let homes = homes.map(|homes| tokio::spawn(async move { homes.run().await }));
        self.workers.lock().extend(workers.into_iter().chain(homes));
        if let Some(InRegions { meta, pointers, .. }) = self.regions.clone() {
            let partitions = partitions(&self.catalog);
            let looking = tokio::spawn(async move { pointers.look_after(&*meta, &partitions).await });
            self.workers.lock().push(looking);
        }
        if let Some(auditor) = self.auditor.clone() {
            self.workers.lock().push(tokio::spawn(async move { auditor.run().await }));
        }
        Ok(())
    }

    /// Makes `key` the one root key there is: an earlier one, replaced in the file or the environment, opens nothing any more.
    async fn replace_root_key(&self, key: &RootKey) -> Result<()> {
        let mut installed = false;
        for known in self.catalog.keys(None).await?.iter().filter(|known| known.is_root()) {
            if known.id == key.access_key && known.secret.expose() == key.secret_key.expose() {
                installed = true;
            } else {
                tracing::warn!(access_key = known.id, "an earlier root access key is removed");
                self.catalog.delete_key(&known.id).await?;
            }
        }
        if !installed {
            let fixed = Some((key.access_key.clone(), key.secret_key.clone()));
            self.catalog.create_key(NewKey { organization: None, role: Role::Admin, bucket: None, fixed }).await?;
        }
        Ok(())
    }

    /// Ends whatever was begun. Tells whether all of it did: if not, something may still be on its way to an origin, or into the store.
    pub(super) async fn end(&self) -> bool {
        let quiet = async {
            self.shadow.shutdown().await;
            self.catalog.resign().await;
        };
        let is_quiet = tokio::time::timeout(PATIENCE, quiet).await.is_ok();
        if !is_quiet {
            tracing::warn!("writes to an origin are still under way; they are repaired at the next start");
        }
        self.reclaim.stop();
        self.destroyer.stop();
        self.events.stop();
        if let Some(auditor) = &self.auditor {
            auditor.stop();
        }
        if let Some(HomeDuties { counter, homes }) = &self.homes {
            counter.stop();
            homes.stop();
        }
        let workers = std::mem::take(&mut *self.workers.lock());
        for worker in workers {
            let abort = worker.abort_handle();
            if tokio::time::timeout(PATIENCE, worker).await.is_err() {
                abort.abort();
            }
        }
        is_quiet
    }
}

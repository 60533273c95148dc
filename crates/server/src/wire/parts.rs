//! The stores and what works on them.

use std::{sync::Arc, time::Duration};

use axum::Router;
use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use umbra_admin::{AdminParts, Readiness};
use umbra_blob::CacheMetrics;
use umbra_client::{ClientSettings, EndpointGuard, GuardPolicy};
use umbra_cluster::{Node, Relay};
use umbra_core::{Clock, Random, Result, SystemClock, SystemRandom};
use umbra_meta::Partition;
use umbra_s3::{AccessLogDelivery, EventDelivery, EventDeliveryParts, Nearest, S3Front, S3Parts, S3Settings, Transport, WebHooks};
use umbra_shadow::{Shadow, ShadowLimits, ShadowParts, origin::s3::S3Origins};
use umbra_store::{
    Catalog, Destroyer, Keyring, LifecycleDay, Native, NativeParts, PartitionSource, PlacementMetrics, ReclaimHandle, Reclaimer, Sealer,
};

use super::{
    StartError,
    company::{Company, Ears},
    contents::{self, Surroundings},
    copies::InRegions,
    duties::{Duties, HomeDuties, PATIENCE},
    metadata::Metadata,
    places::{self, Places},
};
use crate::{data_dir::DataDir, kms_keys::KmsKey, settings::Settings};

/// Buckets asked for at once.
const PAGE: usize = 1000;

/// The stores, the objects and the background workers of a server.
pub(super) struct Parts {
    pub(super) catalog: Arc<Catalog>,
    pub(super) shadow: Shadow,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) metadata: Metadata,
    pub(super) duties: Arc<Duties>,
    pub(super) ears: Ears,
    pub(super) blob_cache: CacheMetrics,
    pub(super) placement: PlacementMetrics,
    /// Where contents are, if the metadata are to say.
    places: Option<Places>,
    pub(super) events: Arc<EventDelivery>,
    /// In a store with regions.
    pub(super) regions: Option<InRegions>,
}

impl Parts {
    /// Opens the stores. Nothing works in the background before [`Duties::begin`].
    pub(super) async fn open(
        dir: &DataDir,
        settings: &Settings,
        kek: [u8; 32],
        kms_keys: Vec<KmsKey>,
        policy: GuardPolicy,
    ) -> std::result::Result<Self, StartError> {
        let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        let metadata = Metadata::open(dir, settings, random.as_ref()).await?;
        let meta = metadata.store();
        let blob_cache = CacheMetrics::default();
        let contents = contents::open(dir, settings, blob_cache.clone()).await?;
        let is_shared = metadata.shared().is_some();
        let keys = Arc::new(Keyring::new(kek, kms_keys, Arc::clone(&random)));
        let catalog = open_catalog(&metadata, kek, &clock, &random).await?;
        // A disk is one server's, and its data directory says so.
        let is_bound = is_shared || !contents.is_disk();
        let places = if is_bound { Some(places::agree(dir, settings, &catalog, random.as_ref()).await?) } else { None };
        contents.claim(dir)?;
        let placement = PlacementMetrics::default();
        let reclaim = ReclaimHandle::new(Duration::from_secs(settings.reclaim_grace));
        let around = Surroundings { meta: &meta, clock: &clock, random: &random, reclaimer: &reclaim, metrics: &placement };
        let placed = contents::place(settings, &contents, &catalog, places.as_ref(), around)?;
        let homes = placed.as_ref().map(HomeDuties::new);
        let blobs = placed.as_ref().map_or(contents.store, |placed| Arc::new(placed.clone()) as _);

        let reclaimer = Reclaimer::new(Arc::clone(&meta), Arc::clone(&blobs), Arc::clone(&clock), reclaim.clone(), partitions(&catalog));
        let destroyer = Arc::new(Destroyer::new(&catalog, Arc::clone(&blobs)));
        let native = Native::new(NativeParts {
            meta: metadata.writes(),
            blobs,
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
            reclaimer: reclaim.clone(),
            keys,
        });
        let native = native.in_regions(placed).reading_nearby(metadata.nearby());
        let regions = InRegions::of(&native, &meta);
        let interval = Some(Duration::from_secs(settings.placement_audit)).filter(|interval| !interval.is_zero());
        let auditor = regions.as_ref().map(|regions| Arc::new(regions.auditor(&catalog, interval)));
        let events = events(settings, &metadata, &catalog, &native, &clock, policy.clone())?;
        let origins = Arc::new(S3Origins::new(EndpointGuard::new(policy), ClientSettings::default()));
        let hydration_memory_bytes = settings.hydration_memory_mib.saturating_mul(1024 * 1024);
        let limits = ShadowLimits { hydration_memory_bytes, is_shared, ..ShadowLimits::default() };
        let shadow =
            Shadow::new(ShadowParts { native, catalog: Arc::clone(&catalog), origins, clock: Arc::clone(&clock), settings: limits });
        let ears = Ears { bell: shadow.event_bell().clone(), reclaim: reclaim.clone(), clock: Arc::clone(&clock) };
        let duties = Duties {
            catalog: Arc::clone(&catalog),
            shadow: shadow.clone(),
            reclaim,
            reclaimer: Mutex::new(Some(reclaimer)),
            destroyer,
            events: Arc::clone(&events),
            lifecycle_day: LifecycleDay::of_secs(settings.lifecycle_day),
            homes,
            is_shared,
            regions: regions.clone(),
            auditor,
            workers: Mutex::default(),
        };
        Ok(Self {
            catalog,
            shadow,
            clock,
            random,
            metadata,
            duties: Arc::new(duties),
            ears,
            blob_cache,
            placement,
            events,
            regions,
            places,
        })
    }

    /// Joins the other servers on these stores, if there may be any.
    pub(super) async fn join(
        &self,
        dir: &DataDir,
        settings: &Settings,
        listener: Option<&TcpListener>,
        kek: &[u8; 32],
    ) -> std::result::Result<Option<Company>, StartError> {
        let Some(database) = self.metadata.shared() else {
            self.claim_places().await?;
            return Ok(None);
        };
        dir.check_store(self.catalog.store_id())?;
        let address = listener.map(TcpListener::local_addr).transpose().map_err(StartError::Address)?;
        let name = dir.node(self.random.as_ref())?;
        let company = Company::join(database, name, settings, address, self.catalog.topology(), kek, &self.clock).await?;
        if let Err(error) = self.claim(dir).await {
            company.node.withdraw().await;
            return Err(error);
        }
        Ok(Some(company))
    }

    /// Remembers where contents and metadata are.
    async fn claim(&self, dir: &DataDir) -> std::result::Result<(), StartError> {
        self.claim_places().await?;
        // Not before it has shown to be of use, as with the place of contents.
        Ok(dir.claim_database(self.catalog.store_id())?)
    }

    async fn claim_places(&self) -> std::result::Result<(), StartError> {
        match &self.places {
            Some(places) => places.claim(&self.catalog, self.random.as_ref()).await,
            None => Ok(()),
        }
    }

    /// The S3 API.
    pub(super) fn front(
        &self,
        settings: &Settings,
        relay: Option<Relay>,
        nearest: Option<Arc<Nearest>>,
    ) -> std::result::Result<Arc<S3Front>, StartError> {
        let front = S3Settings {
            region: settings.region.clone(),
            allow_sigv2: settings.allow_sigv2,
            max_connections: crate::open_files::connections(settings.max_connections),
            domain: Some(settings.domain.clone()).filter(|domain| !domain.is_empty()),
            website_domain: Some(settings.website_domain.clone()).filter(|domain| !domain.is_empty()),
            web_hooks: web_hooks(settings)?,
            public_url: Some(settings.public_url.clone()).filter(|url| !url.is_empty()),
            access_log_interval: Duration::from_secs(settings.access_log_interval),
            ..S3Settings::default()
        };
        let parts = S3Parts {
            shadow: self.shadow.clone(),
            catalog: Arc::clone(&self.catalog),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            relay,
            nearest,
        };
        let front = S3Front::new(front, parts);
        Ok(Arc::new(front.map_err(StartError::store("set up the S3 API"))?))
    }

    /// The admin API.
    pub(super) fn admin(
        &self,
        settings: &Settings,
        front: &S3Front,
        endpoint: String,
        readiness: Readiness,
        nodes: Option<(Arc<Node>, Relay)>,
    ) -> Router {
        let mut registry = Registry::default();
        front.register_metrics(&mut registry);
        self.events.register_metrics(&mut registry);
        self.blob_cache.register(&mut registry);
        self.placement.register(&mut registry, &settings.region);
        self.metadata.replica_metrics().register(&mut registry);
        umbra_admin::router(AdminParts {
            catalog: Arc::clone(&self.catalog),
            shadow: self.shadow.clone(),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            registry,
            metrics_name_buckets: settings.metrics_buckets,
            readiness,
            endpoint,
            auditor: self.duties.auditor.clone(),
            region: settings.region.clone(),
            nodes,
        })
    }

    /// Stops the workers, then closes the stores.
    pub(super) async fn close(self, company: Option<Company>) {
        let is_quiet = self.duties.end().await;
        match company {
            Some(company) if is_quiet => company.leave().await,
            // Whoever follows has to wait until nothing of this server can be under way.
            _ => {}
        }
        if let Err(error) = self.metadata.shutdown().await {
            tracing::error!(%error, "the metadata was not closed in order; it recovers at the next start");
        }
    }
}

/// The delivery of access logs, running.
pub(super) struct Logging {
    delivery: Arc<AccessLogDelivery>,
    running: JoinHandle<()>,
}

impl Logging {
    /// Starts to deliver what `front` answers.
    pub(super) fn start(front: &S3Front) -> Self {
        let (delivery, worker) = (Arc::clone(front.access_logs()), Arc::clone(front.access_logs()));
        Self { delivery, running: tokio::spawn(async move { worker.run().await }) }
    }

    /// Has what waits delivered, within a time.
    pub(super) async fn end(self) {
        self.delivery.stop();
        let abort = self.running.abort_handle();
        if tokio::time::timeout(PATIENCE, self.running).await.is_err() {
            tracing::warn!("access logs cannot be delivered in time; what has gathered is lost");
            abort.abort();
        }
    }
}

/// The S3 API on its address, to be run.
pub(super) fn s3(
    front: Arc<S3Front>,
    settings: &Settings,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    stop: watch::Receiver<bool>,
) -> impl Future<Output = ()> + use<> {
    let transport = tls.map_or(Transport::Plain, Transport::Tls);
    umbra_s3::serve(front, listener, transport, stop, Duration::from_secs(settings.drain_secs))
}

/// Buckets as websites on their address, to be run.
pub(super) fn websites(
    front: Arc<S3Front>,
    settings: &Settings,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    stop: watch::Receiver<bool>,
) -> impl Future<Output = ()> + use<> {
    let transport = tls.map_or(Transport::Plain, Transport::Tls);
    umbra_s3::serve_websites(front, listener, transport, stop, Duration::from_secs(settings.drain_secs))
}

fn web_hooks(settings: &Settings) -> std::result::Result<WebHooks, StartError> {
    WebHooks::parse(settings.webhook.iter().map(String::as_str)).map_err(StartError::store("set up web hooks"))
}

/// Every bucket's partition, and that of the store, where dropped copies wait to be reclaimed.
pub(super) fn partitions(catalog: &Arc<Catalog>) -> PartitionSource {
    let catalog = Arc::clone(catalog);
    Box::new(move || list_partitions(Arc::clone(&catalog)))
}

fn list_partitions(catalog: Arc<Catalog>) -> BoxFuture<'static, Result<Vec<Partition>>> {
    async move {
        let mut found = vec![Partition::ROOT];
        let mut after: Option<String> = None;
        loop {
            let page = catalog.buckets(None, after.as_deref(), PAGE).await?;
            found.extend(page.iter().map(|bucket| bucket.partition));
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.name.to_string()),
                _ => return Ok(found),
            }
        }
    }
    .boxed()
}

/// The buckets and keys, as other servers may change them or not.
async fn open_catalog(
    metadata: &Metadata,
    kek: [u8; 32],
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> std::result::Result<Arc<Catalog>, StartError> {
    let sealer = Arc::new(Sealer::new(kek, Arc::clone(random)));
    let (clock, random) = (Arc::clone(clock), Arc::clone(random));
    let catalog = if metadata.shared().is_some() {
        Catalog::open_shared(metadata.writes(), sealer, clock, random, metadata.catalog_nearby()).await
    } else {
        Catalog::open(metadata.store(), sealer, clock, random).await
    };
    catalog.map(Arc::new).map_err(StartError::catalog)
}

/// What delivers events.
fn events(
    settings: &Settings,
    metadata: &Metadata,
    catalog: &Arc<Catalog>,
    native: &Native,
    clock: &Arc<dyn Clock>,
    policy: GuardPolicy,
) -> std::result::Result<Arc<EventDelivery>, StartError> {
    let parts = EventDeliveryParts {
        meta: metadata.store(),
        catalog: Arc::clone(catalog),
        bell: native.event_bell().clone(),
        clock: Arc::clone(clock),
        hooks: web_hooks(settings)?,
        region: settings.region.clone(),
        policy,
    };
    Ok(Arc::new(EventDelivery::new(parts).map_err(StartError::store("set up web hooks"))?))
}

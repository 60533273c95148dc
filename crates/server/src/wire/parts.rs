//! The stores and what works on them.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use umbra_blob::CacheMetrics;
use umbra_client::{ClientSettings, EndpointGuard, GuardPolicy};
use umbra_core::{Clock, Random, Result, SystemClock, SystemRandom};
use umbra_meta::Partition;
use umbra_s3::{AccessLogDelivery, EventDelivery, EventDeliveryParts, S3Front, S3Parts, S3Settings, Transport, WebHooks};
use umbra_shadow::{Shadow, ShadowLimits, ShadowParts, origin::s3::S3Origins};
use umbra_store::{Catalog, Destroyer, Keyring, Native, NativeParts, NewKey, PartitionSource, ReclaimHandle, Reclaimer, Role, Sealer};

use super::{StartError, contents, metadata::Metadata};
use crate::{data_dir::DataDir, kms_keys::KmsKey, root_key::RootKey, settings::Settings};

/// Buckets asked for at once.
const PAGE: usize = 1000;
/// How long each worker may take to come to an end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The stores, the objects and the background workers of a server.
pub(super) struct Parts {
    pub(super) catalog: Arc<Catalog>,
    pub(super) shadow: Shadow,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    metadata: Metadata,
    reclaim: ReclaimHandle,
    reclaimer: JoinHandle<()>,
    destroyer: Arc<Destroyer>,
    destroying: JoinHandle<()>,
    pub(super) blob_cache: CacheMetrics,
    pub(super) events: Arc<EventDelivery>,
    telling: JoinHandle<()>,
}

impl Parts {
    /// Opens the stores and starts the workers.
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
        let blobs = contents::open(dir, settings, blob_cache.clone()).await?;
        let keys = Arc::new(Keyring::new(kek, kms_keys, Arc::clone(&random)));
        let sealer = Arc::new(Sealer::new(kek, Arc::clone(&random)));
        let catalog = Catalog::open(Arc::clone(&meta), sealer, Arc::clone(&clock), Arc::clone(&random)).await;
        let catalog = Arc::new(catalog.map_err(StartError::store("open the catalog"))?);

        let reclaim = ReclaimHandle::new(Duration::from_secs(settings.reclaim_grace));
        let reclaimer = Reclaimer::new(Arc::clone(&meta), Arc::clone(&blobs), Arc::clone(&clock), reclaim.clone(), partitions(&catalog));
        let destroyer = Arc::new(Destroyer::new(&catalog, Arc::clone(&blobs)));
        let native = Native::new(NativeParts {
            meta,
            blobs,
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
            reclaimer: reclaim.clone(),
            keys,
        });
        let events = EventDeliveryParts {
            meta: Arc::clone(native.meta()),
            catalog: Arc::clone(&catalog),
            bell: native.event_bell().clone(),
            clock: Arc::clone(&clock),
            hooks: web_hooks(settings)?,
            region: settings.region.clone(),
            policy: policy.clone(),
        };
        let events = Arc::new(EventDelivery::new(events).map_err(StartError::store("set up web hooks"))?);
        let origins = Arc::new(S3Origins::new(EndpointGuard::new(policy), ClientSettings::default()));
        let limits =
            ShadowLimits { hydration_memory_bytes: settings.hydration_memory_mib.saturating_mul(1024 * 1024), ..ShadowLimits::default() };
        let shadow =
            Shadow::new(ShadowParts { native, catalog: Arc::clone(&catalog), origins, clock: Arc::clone(&clock), settings: limits });
        let (worker, teller) = (Arc::clone(&destroyer), Arc::clone(&events));
        Ok(Self {
            catalog,
            shadow,
            clock,
            random,
            metadata,
            reclaim,
            reclaimer: tokio::spawn(reclaimer.run()),
            destroyer,
            destroying: tokio::spawn(async move { worker.run().await }),
            blob_cache,
            events,
            telling: tokio::spawn(async move { teller.run().await }),
        })
    }

    /// The S3 API.
    pub(super) fn front(&self, settings: &Settings) -> std::result::Result<Arc<S3Front>, StartError> {
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
        };
        let front = S3Front::new(front, parts);
        Ok(Arc::new(front.map_err(StartError::store("set up the S3 API"))?))
    }

    /// Makes `key` the one root key there is: an earlier one, replaced in the file or the environment, opens nothing any more.
    pub(super) async fn install_root_key(&self, key: &RootKey) -> std::result::Result<(), StartError> {
        self.replace_root_key(key).await.map_err(StartError::store("install the root access key"))
    }

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

    /// Stops the workers, then closes the stores.
    pub(super) async fn close(self, access_logs: Logging) {
        // First: it writes like a client.
        access_logs.end().await;
        if tokio::time::timeout(PATIENCE, self.shadow.shutdown()).await.is_err() {
            tracing::warn!("writes to an origin are still under way; they are repaired at the next start");
        }
        self.reclaim.stop();
        self.destroyer.stop();
        self.events.stop();
        for worker in [self.reclaimer, self.destroying, self.telling] {
            let abort = worker.abort_handle();
            if tokio::time::timeout(PATIENCE, worker).await.is_err() {
                abort.abort();
            }
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
    async fn end(self) {
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

/// Every bucket's partition.
fn partitions(catalog: &Arc<Catalog>) -> PartitionSource {
    let catalog = Arc::clone(catalog);
    Box::new(move || list_partitions(Arc::clone(&catalog)))
}

fn list_partitions(catalog: Arc<Catalog>) -> BoxFuture<'static, Result<Vec<Partition>>> {
    async move {
        let mut found = Vec::new();
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

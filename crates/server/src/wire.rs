//! The composition root: makes a server of its parts, in the order in which they need each other, and takes it apart again.

mod contents;
mod error;
mod guard;
mod metadata;
mod parts;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use prometheus_client::registry::Registry;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use umbra_admin::{AdminParts, Readiness};
use umbra_core::SystemRandom;
use umbra_store::LifecycleDay;

pub(crate) use error::StartError;
pub(crate) use metadata::database_password;
use parts::Parts;

use crate::{
    data_dir::DataDir,
    kms_keys, listen, master_key,
    root_key::{self, Origin, RootKey},
    settings::Settings,
    tls::Tls,
};

/// A server that serves.
pub(crate) struct Server {
    /// The URL of the S3 API, as clients are told.
    pub(crate) endpoint: String,
    /// The URL of the admin API.
    pub(crate) admin: String,
    /// The URL of the websites, where there are any.
    pub(crate) websites: Option<String>,
    /// The root access key.
    pub(crate) root_key: RootKey,
    /// Where the root access key came from.
    pub(crate) root_key_origin: Origin,
    /// The certificate, to be read again when asked.
    pub(crate) tls: Option<Arc<Tls>>,
    readiness: Readiness,
    parts: Parts,
    access_logs: parts::Logging,
    stop_serving: watch::Sender<bool>,
    s3: JoinHandle<()>,
    website_task: Option<JoinHandle<()>>,
    stop_admin: CancellationToken,
    admin_task: JoinHandle<()>,
    /// Given back last.
    _data_dir: DataDir,
}

impl Server {
    /// Starts a server; returns once requests are served.
    pub(crate) async fn start(settings: &Settings) -> Result<Self, StartError> {
        let policy = guard::policy(settings)?;
        let tls = if settings.has_tls() { Some(Arc::new(Tls::load(&settings.tls_cert, &settings.tls_key)?)) } else { None };
        let data_dir = DataDir::open(&settings.data_dir)?;
        let kek = master_key::obtain(&data_dir, &settings.master_key_file, &SystemRandom)?;
        let kms_keys = kms_keys::read(&settings.kms_key)?;
        let (root_key, root_key_origin) = root_key::obtain(data_dir.path(), &SystemRandom)?;
        // Taken before the stores are opened: that may take a while, and a port that is taken should be told at once.
        let s3_listener = bind("S3", settings.listen).await?;
        let admin_listener = bind("the admin API", settings.admin_listen).await?;
        let website_listener = match settings.website_listen() {
            Some(address) => Some(bind("websites", address).await?),
            None => None,
        };
        let websites = website_listener.as_ref().map(|listener| url(listener, tls.is_some())).transpose()?;
        let endpoint = match settings.public_url.as_str() {
            "" => url(&s3_listener, tls.is_some())?,
            given => given.trim_end_matches('/').to_owned(),
        };
        let admin = url(&admin_listener, tls.is_some())?;

        let parts = Parts::open(&data_dir, settings, kek, kms_keys, policy).await?;
        parts.install_root_key(&root_key).await?;
        parts.shadow.start().await.map_err(StartError::store("look for unfinished migrations"))?;
        parts.shadow.start_lifecycle(LifecycleDay::of_secs(settings.lifecycle_day));
        let front = parts.front(settings)?;
        let access_logs = parts::Logging::start(&front);
        let mut registry = Registry::default();
        front.register_metrics(&mut registry);
        parts.events.register_metrics(&mut registry);
        parts.blob_cache.register(&mut registry);
        let readiness = Readiness::default();
        let router = umbra_admin::router(AdminParts {
            catalog: Arc::clone(&parts.catalog),
            shadow: parts.shadow.clone(),
            clock: Arc::clone(&parts.clock),
            random: Arc::clone(&parts.random),
            registry,
            metrics_name_buckets: settings.metrics_buckets,
            readiness: readiness.clone(),
            endpoint: endpoint.clone(),
            region: settings.region.clone(),
        });
        let acceptor = || tls.as_ref().map(|tls| tls.acceptor());
        let (stop_serving, stopping) = watch::channel(false);
        let stop_admin = CancellationToken::new();
        let admin_task = tokio::spawn(listen::serve(admin_listener, acceptor(), router, stop_admin.clone()));
        let website_task = website_listener
            .map(|listener| tokio::spawn(parts::websites(Arc::clone(&front), settings, listener, acceptor(), stopping.clone())));
        let s3 = tokio::spawn(parts::s3(front, settings, s3_listener, acceptor(), stopping));
        readiness.set(true);
        Ok(Self {
            endpoint,
            admin,
            websites,
            root_key,
            root_key_origin,
            tls,
            readiness,
            parts,
            access_logs,
            stop_serving,
            s3,
            website_task,
            stop_admin,
            admin_task,
            _data_dir: data_dir,
        })
    }

    /// Stops: no new requests, as long as was set for those under way, then everything behind them in turn.
    pub(crate) async fn stop(self) {
        self.readiness.set(false);
        self.stop_serving.send_replace(true);
        if let Err(error) = self.s3.await {
            tracing::error!(%error, "the S3 API ended badly");
        }
        if let Some(Err(error)) = futures::future::OptionFuture::from(self.website_task).await {
            tracing::error!(%error, "the websites ended badly");
        }
        self.parts.close(self.access_logs).await;
        // The admin API goes last, so that it can tell meanwhile that the server is alive and not ready.
        self.stop_admin.cancel();
        let abort = self.admin_task.abort_handle();
        if tokio::time::timeout(Duration::from_secs(1), self.admin_task).await.is_err() {
            abort.abort();
        }
    }
}

async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { what, address, source })
}

/// Where a listener is reached; from this machine when it listens on every address.
fn url(listener: &TcpListener, tls: bool) -> Result<String, StartError> {
    let mut address = listener.local_addr().map_err(StartError::Address)?;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    Ok(format!("{}://{address}", if tls { "https" } else { "http" }))
}

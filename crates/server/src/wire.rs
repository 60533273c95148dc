//! The composition root: makes a server of its parts, in the order in which they need each other, and takes it apart again.

mod company;
mod contents;
mod duties;
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

use company::Company;
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
    company: Option<Company>,
    drain: Duration,
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
        let kek = master_key::obtain(&data_dir, &SystemRandom)?;
        let kms_keys = kms_keys::read(&settings.kms_key)?;
        let (mut root_key, root_key_origin) = root_key::obtain(data_dir.path(), &SystemRandom)?;
        // Taken before the stores are opened: that may take a while, and a port that is taken should be told at once.
        let s3_listener = bind("S3", settings.listen).await?;
        let admin_listener = bind("the admin API", settings.admin_listen).await?;
        let website_listener = match settings.website_listen() {
            Some(address) => Some(bind("websites", address).await?),
            None => None,
        };
        let node_listener = match settings.node_listen() {
            Some(address) => Some(bind("other nodes", address).await?),
            None => None,
        };
        let websites = website_listener.as_ref().map(|listener| url(listener, tls.is_some())).transpose()?;
        let endpoint = match settings.public_url.as_str() {
            "" => url(&s3_listener, tls.is_some())?,
            given => given.trim_end_matches('/').to_owned(),
        };
        let admin = url(&admin_listener, tls.is_some())?;

        let parts = Parts::open(&data_dir, settings, kek, kms_keys, policy).await?;
        let mut company = parts.join(&data_dir, settings, node_listener.as_ref(), &kek).await?;
        match &company {
            None => parts.duties.begin(&root_key).await?,
            Some(company) => {
                company.take_part(Arc::clone(&parts.duties), &mut root_key, &root_key_origin, parts.catalog.as_ref()).await?;
            }
        }
        let relay = company.as_ref().map(|company| company.relay.clone());
        let front = parts.front(settings, relay)?;
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
            nodes: company.as_ref().map(|company| (Arc::clone(&company.node), company.relay.clone())),
        });
        if let Some(company) = &mut company {
            let connections = settings.max_connections as usize;
            company.open(node_listener, Arc::clone(&front), router.clone(), parts.ears.clone(), connections);
        }
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
            company,
            drain: Duration::from_secs(settings.drain_secs),
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
        // It writes like a client.
        self.access_logs.end().await;
        let mut company = self.company;
        if let Some(company) = &mut company {
            company.close(self.drain).await;
        }
        self.parts.close(company).await;
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

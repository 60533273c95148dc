//! The composition root: makes a server of its parts, in the order in which they need each other, and takes it apart again.

mod company;
mod contents;
mod copies;
mod duties;
mod error;
mod guard;
mod metadata;
mod parts;
mod places;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use umbra_admin::Readiness;
use umbra_core::SystemRandom;

use company::Company;
use copies::Copies;
pub(crate) use error::StartError;
pub(crate) use metadata::database_password;
use parts::Parts;

use crate::{
    data_dir::{DataDir, DataDirError},
    kms_keys, listen,
    master_key::{self, MasterKey},
    region_map,
    reload::Reload,
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
    /// What is to be read again when asked.
    pub(crate) reload: Reload,
    readiness: Readiness,
    parts: Parts,
    access_logs: parts::Logging,
    copies: Option<Copies>,
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
        let region_map = region_map::read(settings)?;
        let data_dir = open_data_dir(settings)?;
        let MasterKey { key: kek, is_new } = master_key::obtain(&data_dir, &settings.master_key_file, &SystemRandom)?;
        let kms_keys = kms_keys::read(&settings.kms_key)?;
        let (mut root_key, root_key_origin) = root_key::obtain(data_dir.path(), &SystemRandom)?;
        // Taken before the stores are opened: that may take a while, and a port that is taken should be told at once.
        let listeners = Listeners::bind(settings).await?;
        let websites = listeners.websites.as_ref().map(|listener| url(listener, tls.is_some())).transpose()?;
        let endpoint = endpoint(settings, &listeners, tls.is_some())?;
        let admin = url(&listeners.admin, tls.is_some())?;

        let parts = Parts::open(&data_dir, settings, kek, kms_keys, policy).await.inspect_err(|error| {
            // The store has another: this one was made in vain.
            if is_new && matches!(error, StartError::OtherMasterKey(_)) {
                data_dir.forget_secret_key();
            }
        })?;
        let mut company = parts.join(&data_dir, settings, listeners.nodes.as_ref(), &kek).await?;
        match &company {
            None => parts.duties.begin(&root_key).await?,
            Some(company) => {
                let taken = company.take_part(Arc::clone(&parts.duties), &mut root_key, &root_key_origin, parts.catalog.as_ref()).await;
                or_withdraw(company, taken).await?;
                parts.shadow.serve_beside();
            }
        }
        let relay = company.as_ref().map(|company| company.relay.clone());
        let nodes = company.as_ref().map(|company| (Arc::clone(&company.node), company.relay.clone()));
        let nearest = region_map.zip(nodes.clone()).map(|(map, (node, _))| region_map::nearest(settings, map, node)).transpose()?;
        let front = parts.front(settings, relay, nearest.clone())?;
        let access_logs = parts::Logging::start(&front);
        let copies = parts.regions.clone().map(|regions| Copies::start(regions, company.as_ref(), &parts.placement));
        parts.duties.count_reads();
        let readiness = Readiness::default();
        let router = parts.admin(settings, &front, endpoint.clone(), readiness.clone(), nodes);
        if let Some(company) = &mut company {
            let connections = settings.max_connections as usize;
            company.open(listeners.nodes, Arc::clone(&front), router.clone(), parts.ears.clone(), connections);
            or_withdraw(company, company.check_address().await).await?;
        }
        let acceptor = || tls.as_ref().map(|tls| tls.acceptor());
        let (stop_serving, stopping) = watch::channel(false);
        let stop_admin = CancellationToken::new();
        let admin_task = tokio::spawn(listen::serve(listeners.admin, acceptor(), router, stop_admin.clone()));
        let website_task = listeners
            .websites
            .map(|listener| tokio::spawn(parts::websites(Arc::clone(&front), settings, listener, acceptor(), stopping.clone())));
        let s3 = tokio::spawn(parts::s3(front, settings, listeners.s3, acceptor(), stopping));
        readiness.set(true);
        Ok(Self {
            endpoint,
            admin,
            websites,
            root_key,
            root_key_origin,
            reload: Reload { tls, nearest: nearest.map(|nearest| (nearest, settings.region_map.clone())) },
            readiness,
            parts,
            access_logs,
            copies,
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

    /// Where the other nodes reach this one, if they do, whether it leads, and how many others there are; nothing where there can be none.
    pub(crate) fn among_nodes(&self) -> Option<(Option<&str>, bool, usize)> {
        let company = self.company.as_ref()?;
        let others = company.node.members().len().saturating_sub(1);
        Some((company.url.as_deref(), company.node.leads(), others))
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
        let mut company = self.company;
        if let Some(company) = &mut company {
            company.close(self.drain).await;
        }
        // It writes like a client.
        self.access_logs.end().await;
        if let Some(copies) = self.copies {
            copies.end().await;
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

/// Takes the data directory, unless the settings would have another store in it than it has.
fn open_data_dir(settings: &Settings) -> Result<DataDir, DataDirError> {
    let dir = DataDir::open(&settings.data_dir)?;
    if settings.metadata.is_embedded() {
        DataDir::check_embedded_in(dir.path())?;
    }
    Ok(dir)
}

/// The addresses of a server.
struct Listeners {
    s3: TcpListener,
    admin: TcpListener,
    websites: Option<TcpListener>,
    nodes: Option<TcpListener>,
}

impl Listeners {
    async fn bind(settings: &Settings) -> Result<Self, StartError> {
        let s3 = bind("S3", settings.listen).await?;
        let admin = bind("the admin API", settings.admin_listen).await?;
        let websites = bind_if("websites", settings.website_listen()).await?;
        let nodes = bind_if("other nodes", settings.node_listen()).await?;
        Ok(Self { s3, admin, websites, nodes })
    }
}

async fn bind_if(what: &'static str, address: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    match address {
        Some(address) => bind(what, address).await.map(Some),
        None => Ok(None),
    }
}

async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { what, address, source })
}

/// Has a node that is refused take leave of the others.
async fn or_withdraw(company: &Company, outcome: Result<(), StartError>) -> Result<(), StartError> {
    if outcome.is_err() {
        company.node.withdraw().await;
    }
    outcome
}

/// Where clients reach the S3 API.
fn endpoint(settings: &Settings, listeners: &Listeners, has_tls: bool) -> Result<String, StartError> {
    match settings.public_url.as_str() {
        "" => url(&listeners.s3, has_tls),
        given => Ok(given.trim_end_matches('/').to_owned()),
    }
}

/// Where a listener is reached; from this machine when it listens on every address.
fn url(listener: &TcpListener, tls: bool) -> Result<String, StartError> {
    let mut address = listener.local_addr().map_err(StartError::Address)?;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    Ok(format!("{}://{address}", if tls { "https" } else { "http" }))
}

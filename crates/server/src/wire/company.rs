//! This server among the nodes of a store: it joins them, answers what they pass on, and tells the one that leads what to look at.

mod news;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::service::TowerToHyperService;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use umbra_admin::CameIn;
use umbra_cluster::{ASTRAY, Door, Face, IsPassed, Leader, Node, NodeSettings, Passed, Refusal, Relay};
use umbra_core::Clock;
use umbra_meta::SharedMetaStore;
use umbra_s3::S3Front;
use umbra_store::{Catalog, Topology};

pub(super) use self::news::Ears;
use self::news::{NEWS, NEWS_BYTES_MAX, News};
use super::{StartError, duties::Duties, metadata::Database};
use crate::{
    listen,
    root_key::{self, Origin, RootKey},
    settings::Settings,
};

/// Connections to the database that are for the nodes alone.
const HEARTBEAT_CONNECTIONS: usize = 2;
/// How long a node that comes to lead beside others listens to what they read before it reclaims anything. They tell it each second, once they know of it.
const LISTEN_FIRST: Duration = Duration::from_secs(10);
/// What a node answers with its incarnation.
const WHO: &str = "/who";
/// The exit status of a server that the others took for dead: it is to be started again.
const DEPOSED: i32 = 75;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// The nodes of a store, seen from one of them.
pub(super) struct Company {
    pub(super) node: Arc<Node>,
    pub(super) relay: Relay,
    door: Door,
    incarnation: String,
    /// Where the others are told to reach this node.
    pub(super) url: Option<String>,
    tasks: Vec<JoinHandle<()>>,
    listening: Option<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Company {
    /// Joins the nodes that share `database`.
    pub(super) async fn join(
        database: &Database,
        name: String,
        settings: &Settings,
        address: Option<SocketAddr>,
        topology: &Topology,
        kek: &[u8; 32],
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let url = match settings.node_url.as_str() {
            "" => address.map(|address| format!("http://{address}")),
            given => Some(given.trim_end_matches('/').to_owned()),
        };
        let (region, neighbours) = (settings.region.clone(), Arc::clone(&database.neighbours));
        let regions = topology.regions().iter().map(ToString::to_string).collect();
        let ours = NodeSettings { url: url.clone(), region, regions, boot: boot(), neighbours, ..NodeSettings::new(&name) };
        // A heartbeat never waits for the requests of users.
        let meta = Arc::new(database.store.beside(HEARTBEAT_CONNECTIONS));
        let incarnation = meta.incarnation().to_owned();
        let node = Node::join(meta, clock.as_ref(), ours).await.map_err(StartError::company)?;
        let region = (!settings.region_blobs.is_empty()).then(|| settings.region.clone());
        let door = Door::new(kek, Arc::clone(clock), &incarnation, region, node.leader_turn());
        let relay = Relay::new(door.clone(), node.leader());
        let (beating, deposed) = (Arc::clone(&node), Arc::clone(&node));
        let tasks = vec![
            tokio::spawn(async move { beating.run().await }),
            tokio::spawn(async move {
                deposed.deposed().await;
                // What is under way towards origins has to end at once, and nothing else ends it for certain.
                std::process::exit(DEPOSED);
            }),
        ];
        Ok(Self { node, relay, door, incarnation, url, tasks, listening: None, stop: CancellationToken::new() })
    }

    /// Begins `duties` if this node is to lead, now or later. Returns once some node leads and the root key is settled: where it does not come
    /// from the environment it is the one that the store has.
    pub(super) async fn take_part(
        &self,
        duties: Arc<Duties>,
        root_key: &mut RootKey,
        origin: &Origin,
        catalog: &Catalog,
    ) -> Result<(), StartError> {
        let mut leader = self.node.leader();
        loop {
            adopt_root_key(root_key, origin, known_root_key(catalog).await?)?;
            let is_settled = tokio::select! {
                () = self.node.elected() => {
                    listen_first(&self.node, &duties);
                    duties.begin(root_key).await?;
                    self.node.lead().await.map_err(StartError::store("lead the nodes of the store"))?;
                    return Ok(());
                }
                known = leader.wait_for(|leader| *leader != Leader::Nobody) => known.is_ok(),
            };
            let known = known_root_key(catalog).await?.filter(|_| is_settled);
            if let Some(known) = known {
                if *origin == Origin::Environment && !is_same(&known, root_key) {
                    return Err(StartError::OtherRootKey);
                }
                break;
            }
        }
        let (node, given) = (Arc::clone(&self.node), (*origin == Origin::Environment).then(|| root_key.clone()));
        tokio::spawn(async move {
            node.elected().await;
            let begun = async {
                // It may be another by now than when this node was started.
                let root_key = match given {
                    Some(given) => given,
                    None => known_root_key(&duties.catalog).await?.ok_or(StartError::NoRootKey)?,
                };
                listen_first(&node, &duties);
                duties.begin(&root_key).await?;
                node.lead().await.map_err(StartError::store("lead the nodes of the store"))
            };
            if let Err(error) = begun.await {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "this node was to lead and cannot: it ends, so that another does");
                std::process::exit(DEPOSED);
            }
            tracing::info!("this node leads");
        });
        Ok(())
    }

    /// Answers what other nodes pass on, and tells the leader news from `ears`.
    pub(super) fn open(&mut self, listener: Option<TcpListener>, front: Arc<S3Front>, admin: Router, ears: Ears, connections: usize) {
        let (node, door, incarnation) = (Arc::clone(&self.node), self.door.clone(), self.incarnation.clone());
        let desk = Arc::new(Desk { node, door, incarnation, front, admin, ears: ears.clone() });
        if let Some(listener) = listener {
            let service = service_fn(move |request| {
                let desk = Arc::clone(&desk);
                async move { Ok::<_, Infallible>(desk.answer(request).await) }
            });
            self.listening = Some(tokio::spawn(listen::serve_any(listener, None, service, connections, self.stop.clone())));
        }
        let (node, relay) = (Arc::clone(&self.node), self.relay.clone());
        self.tasks.push(tokio::spawn(async move { ears.tell_for_ever(&node, &relay).await }));
    }

    /// What this life of the node is called.
    pub(super) fn incarnation(&self) -> &str {
        &self.incarnation
    }

    /// Looks whether this node is reached where the others are told to reach it. Another node there is an error; nobody there is told of, for
    /// some networks do not lead back to where one is.
    pub(super) async fn check_address(&self) -> Result<(), StartError> {
        let Some(url) = &self.url else { return Ok(()) };
        match self.relay.ask(url, WHO).await {
            Ok(who) if who == self.incarnation => Ok(()),
            Ok(_) => Err(StartError::OthersAddress(url.clone())),
            Err(error) => {
                tracing::warn!(url, %error, "this node does not reach itself where the others are told to reach it: see --node-url and firewalls");
                Ok(())
            }
        }
    }

    /// Passed-on requests that have begun may finish within `limit`; none begins any more.
    pub(super) async fn close(&mut self, limit: Duration) {
        self.stop.cancel();
        let Some(listening) = self.listening.take() else { return };
        let abort = listening.abort_handle();
        if tokio::time::timeout(limit, listening).await.is_err() {
            abort.abort();
        }
    }

    /// Takes leave of the others. What only the leader does must have ended.
    pub(super) async fn leave(self) {
        self.node.leave().await;
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Has what other nodes read be told before anything is reclaimed.
fn listen_first(node: &Node, duties: &Duties) {
    if node.members().len() > 1 {
        duties.reclaim.listen_first(LISTEN_FIRST);
    }
}

/// Which start of which machine this is; empty where that cannot be told.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The root key that the store has.
async fn known_root_key(catalog: &Catalog) -> Result<Option<RootKey>, StartError> {
    let keys = catalog.keys(None).await.map_err(StartError::store("look for the root access key"))?;
    Ok(keys.iter().find(|key| key.is_root()).map(|key| RootKey::new(key.id.clone(), key.secret.expose())))
}

/// Where `ours` does not come from the environment, the one that the store has takes its place, in the file too.
fn adopt_root_key(ours: &mut RootKey, origin: &Origin, known: Option<RootKey>) -> Result<(), StartError> {
    let (Origin::File(path), Some(known)) = (origin, known) else { return Ok(()) };
    if !is_same(&known, ours) {
        tracing::info!(file = %path.display(), "the file holds the root key of the store now; only one in the environment of all nodes replaces that");
        root_key::keep(path, &known)?;
    }
    *ours = known;
    Ok(())
}

fn is_same(one: &RootKey, other: &RootKey) -> bool {
    one.access_key == other.access_key && one.secret_key.expose() == other.secret_key.expose()
}

/// Answers what other nodes send.
struct Desk {
    node: Arc<Node>,
    door: Door,
    incarnation: String,
    front: Arc<S3Front>,
    admin: Router,
    ears: Ears,
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let opened = self.door.open(request.headers(), request.method(), request.uri());
        if opened == Err(Refusal::Stranger) {
            return refused(Refusal::Stranger);
        }
        let countersign = self.door.countersign(request.headers());
        let mut answer = match opened {
            Ok(passed) => self.answer_passed(passed, request).await,
            Err(refusal) => refused(refusal),
        };
        countersign.put(&mut answer);
        answer
    }

    async fn answer_passed(&self, passed: Passed, mut request: Request<Incoming>) -> Answer {
        request.extensions_mut().insert(IsPassed);
        match passed.face {
            Face::S3 | Face::Websites => self.front.answer_passed(&passed, request).await.map(UnsyncBoxBody::new),
            Face::Admin => {
                // Nodes of earlier releases do not say.
                if let Passed { client: endpoint, region, .. } = passed
                    && endpoint != "-"
                {
                    request.extensions_mut().insert(CameIn { endpoint, region });
                }
                let answer = hyper::service::Service::call(&TowerToHyperService::new(self.admin.clone()), request).await;
                let Ok(answer) = answer;
                answer.map(|body| UnsyncBoxBody::new(body.map_err(Into::into)))
            }
            Face::Node if request.uri().path() == WHO => plain(StatusCode::OK, self.incarnation.clone()),
            Face::Node if request.method() == Method::POST && request.uri().path() == NEWS => self.hear(&passed.from, request).await,
            Face::Node => plain(StatusCode::NOT_FOUND, "there is nothing here"),
        }
    }

    async fn hear(&self, from: &str, request: Request<Incoming>) -> Answer {
        if !self.node.leads() {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "this node does not lead");
        }
        let body = Limited::new(request.into_body(), NEWS_BYTES_MAX).collect().await.map(|body| body.to_bytes());
        match body.ok().and_then(|body| serde_json::from_slice::<News>(&body).ok()) {
            Some(news) => {
                self.ears.hear(from, news);
                plain(StatusCode::OK, "")
            }
            None => plain(StatusCode::BAD_REQUEST, "these are no news"),
        }
    }
}

fn refused(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Stranger => plain(StatusCode::FORBIDDEN, "this address is for the nodes of the store alone"),
        Refusal::Astray => {
            let mut answer = plain(StatusCode::MISDIRECTED_REQUEST, "this is for another node");
            answer.headers_mut().insert(ASTRAY, HeaderValue::from_static("1"));
            answer
        }
        Refusal::Repeated => plain(StatusCode::SERVICE_UNAVAILABLE, "this came before; please try again"),
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let text = text.into();
    let body = if text.is_empty() {
        UnsyncBoxBody::new(Empty::new().map_err(|never: Infallible| match never {}))
    } else {
        UnsyncBoxBody::new(Full::new(text).map_err(|never: Infallible| match never {}))
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}

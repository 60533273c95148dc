//! This server among the nodes of a store: it joins them, answers what they pass on, and tells the one that leads what to look at.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use umbra_cluster::{Door, Face, IsPassed, Leader, Node, NodeSettings, Passed, Relay};
use umbra_core::{BucketName, Clock};
use umbra_meta::{Partition, SharedMetaStore};
use umbra_s3::S3Front;
use umbra_store::{Catalog, EventBell, ReclaimHandle};

use super::{StartError, duties::Duties, metadata::Database};
use crate::{
    listen,
    root_key::{self, Origin, RootKey},
    settings::Settings,
};

/// Connections to the database that are for the nodes alone.
const HEARTBEAT_CONNECTIONS: usize = 2;
/// How often the node that leads is told what to look at.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// The largest message of that kind. Whoever has more to tell tells it next time.
const NEWS_BYTES_MAX: usize = 1024 * 1024;
const NEWS_MAX: usize = 4096;
const NEWS: &str = "/news";
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

/// What a node tells the one that leads: where it has left work.
#[derive(Debug, Default, Serialize, Deserialize)]
struct News {
    /// Buckets with events to deliver.
    events: Vec<String>,
    /// Partitions with blobs to reclaim.
    reclaim: Vec<u64>,
}

/// Where news come from, and go to.
#[derive(Clone)]
pub(super) struct Ears {
    pub(super) bell: EventBell,
    pub(super) reclaim: ReclaimHandle,
    pub(super) clock: Arc<dyn Clock>,
}

impl Company {
    /// Joins the nodes that share `database`.
    pub(super) async fn join(
        database: &Database,
        name: String,
        settings: &Settings,
        address: Option<SocketAddr>,
        kek: &[u8; 32],
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let url = match settings.node_url.as_str() {
            "" => address.map(|address| format!("http://{address}")),
            given => Some(given.trim_end_matches('/').to_owned()),
        };
        let (region, neighbours) = (settings.region.clone(), Arc::clone(&database.neighbours));
        let ours = NodeSettings { url: url.clone(), region, boot: boot(), neighbours, ..NodeSettings::new(&name) };
        // A heartbeat never waits for the requests of users.
        let meta = Arc::new(database.store.beside(HEARTBEAT_CONNECTIONS));
        let incarnation = meta.incarnation().to_owned();
        let node = Node::join(meta, clock.as_ref(), ours).await.map_err(StartError::company)?;
        let door = Door::new(kek, Arc::clone(clock));
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
    async fn answer(&self, mut request: Request<Incoming>) -> Answer {
        let Some(passed) = self.door.open(request.headers(), request.method(), request.uri()) else {
            return plain(StatusCode::FORBIDDEN, "this address is for the nodes of the store alone");
        };
        request.extensions_mut().insert(IsPassed);
        match passed.face {
            Face::S3 | Face::Websites => self.front.answer_passed(&passed, request).await.map(UnsyncBoxBody::new),
            Face::Admin => {
                let answer = hyper::service::Service::call(&TowerToHyperService::new(self.admin.clone()), request).await;
                let Ok(answer) = answer;
                answer.map(|body| UnsyncBoxBody::new(body.map_err(Into::into)))
            }
            Face::Node if request.uri().path() == WHO => plain(StatusCode::OK, self.incarnation.clone()),
            Face::Node if request.method() == Method::POST && request.uri().path() == NEWS => self.hear(request).await,
            Face::Node => plain(StatusCode::NOT_FOUND, "there is nothing here"),
        }
    }

    async fn hear(&self, request: Request<Incoming>) -> Answer {
        if !self.node.leads() {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "this node does not lead");
        }
        let body = Limited::new(request.into_body(), NEWS_BYTES_MAX).collect().await.map(|body| body.to_bytes());
        match body.ok().and_then(|body| serde_json::from_slice(&body).ok()) {
            Some(news) => {
                self.ears.take(&news);
                plain(StatusCode::OK, "")
            }
            None => plain(StatusCode::BAD_REQUEST, "these are no news"),
        }
    }
}

impl Ears {
    /// What is to be told.
    fn news(&self) -> News {
        let events = self.bell.take().into_iter().map(|bucket| bucket.to_string()).collect();
        let reclaim = self.reclaim.take_due(self.clock.now()).into_iter().map(|partition| partition.0).collect();
        News { events, reclaim }
    }

    /// Has what was told looked at, here.
    fn take(&self, news: &News) {
        news.events.iter().filter_map(|bucket| BucketName::parse(bucket).ok()).for_each(|bucket| self.bell.ring(&bucket));
        let now = self.clock.now();
        news.reclaim.iter().for_each(|partition| self.reclaim.nudge(Partition(*partition), now));
    }

    async fn tell_for_ever(&self, node: &Node, relay: &Relay) {
        let mut leader = node.leader();
        loop {
            // Whoever leads has workers of its own that listen.
            let known = leader.wait_for(|leader| matches!(leader, Leader::At(_))).await.map(drop);
            if known.is_err() {
                return;
            }
            tokio::time::sleep(TELL_EVERY).await;
            if node.leads() {
                continue;
            }
            let mut news = self.news();
            // The rest is left for the next time.
            let rest = News {
                events: news.events.split_off(news.events.len().min(NEWS_MAX)),
                reclaim: news.reclaim.split_off(news.reclaim.len().min(NEWS_MAX)),
            };
            self.take(&rest);
            let has_news = !news.events.is_empty() || !news.reclaim.is_empty();
            if has_news && !tell(relay, &news).await {
                self.take(&news);
            }
        }
    }
}

async fn tell(relay: &Relay, news: &News) -> bool {
    let Ok(body) = serde_json::to_vec(news) else { return true };
    let Ok(request) = Request::builder().method(Method::POST).uri(NEWS).body(Full::new(Bytes::from(body))) else { return true };
    let told = relay.pass(request, &Passed { face: Face::Node, client: "-".to_owned() }).await;
    told.is_ok_and(|answer| answer.status() == StatusCode::OK)
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

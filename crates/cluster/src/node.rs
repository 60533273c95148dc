//! One node: its own row, the others', and which of them leads.

mod beat;

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use umbra_core::{Clock, Error, ErrorKind, Result};
use umbra_meta::{Batch, Declaration, Expect, Neighbours, Partition, Revision, SharedMetaStore, is_fenced, key::root};

use self::beat::Look;
use crate::{
    LeaderTurn,
    record::{LeaderRecord, NodeRecord, encode},
    watch::Watch,
};

/// How a node takes part.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// What its operator calls it. Two processes of one name never run at once.
    pub name: String,
    /// Where the other nodes reach it; `None` for one that is to be alone.
    pub url: Option<String>,
    /// Its region.
    pub region: String,
    /// The regions whose contents it knows, its own among them; none in a store without regions.
    pub regions: Vec<String>,
    /// Which start of which machine it runs on; empty where that cannot be told. An earlier life of this name on the same one has ended for
    /// certain, because its data directory was free.
    pub boot: String,
    /// What the nodes tell one another of replicas of the metadata.
    pub neighbours: Arc<Neighbours>,
    /// How often it tells that it lives. Default 1 s.
    pub heartbeat: Duration,
    /// How long a leader may be silent before another takes over. Default 20 s.
    pub lease: Duration,
    /// How long a leader goes on that cannot tell that it lives, unless it is to be alone. Shorter than `lease`, and longer than a database
    /// usually takes to restart or to fail over. Default 15 s.
    pub resign_after: Duration,
    /// How long any node may be silent before it is shut out. Default 60 s.
    pub forget_after: Duration,
}

impl NodeSettings {
    /// The defaults, for `name`.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: None,
            region: String::new(),
            regions: Vec::new(),
            boot: String::new(),
            neighbours: Arc::new(Neighbours::new("")),
            heartbeat: Duration::from_secs(1),
            lease: Duration::from_secs(20),
            resign_after: Duration::from_secs(15),
            forget_after: Duration::from_secs(60),
        }
    }
}

/// Why a node cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The nodes could not reach one another.
    #[error("another node ({0}) is running on the metadata database: give each of them --node-listen, so that they reach one another")]
    NoAddress(String),
    /// One of two nodes would not find what is in the other's region.
    #[error(
        "this node and one that is running ({0}) do not both know each other's region: start that one anew with it in --region-blobs, or, where a store is given its first regions, stop all nodes before"
    )]
    Strangers(String),
    /// Two processes have one name.
    #[error(
        "another server is running with the name of this node ({0}): a data directory that was copied must lose its file `node` before it is used beside the first"
    )]
    Twin(String),
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] Error),
}

/// A node that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What tells this life of it from its others.
    pub incarnation: String,
    /// What its operator calls it.
    pub name: String,
    /// Where other nodes reach it; empty when they cannot.
    pub url: String,
    /// Its region.
    pub region: String,
    /// Whether it leads.
    pub leads: bool,
    /// For how long nothing was heard of it.
    pub silence: Duration,
    /// What it tells of its replica of the metadata, if it has one.
    pub replica: Option<Declaration>,
}

/// Who leads, as this node knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Leader {
    /// Nobody, or nobody knows.
    #[default]
    Nobody,
    /// This node.
    Us,
    /// Another node.
    At {
        /// Where it is reached.
        url: String,
        /// This life of it.
        incarnation: String,
    },
}

/// Heartbeats that a node may miss before nobody is to be sent to it.
const MISSED_MAX: u32 = 5;

/// This process among those that share the store.
pub struct Node {
    meta: Arc<dyn SharedMetaStore>,
    settings: NodeSettings,
    since: i64,
    state: Mutex<State>,
    leader: watch::Sender<Leader>,
    leader_turn: LeaderTurn,
    /// Whether this node has become the one that leads; it is ready later.
    elected: watch::Sender<bool>,
    /// Cancelled when the others have shut this node out, or it has to assume that they did.
    deposed: CancellationToken,
    stop: CancellationToken,
    /// Held during a heartbeat.
    beating: tokio::sync::Mutex<()>,
}

struct State {
    watch: Watch,
    members: Vec<Member>,
    /// The turn of our own row, once it is there.
    turn: Option<u64>,
    /// Our own lease of the leader's row.
    lease: Option<Lease>,
}

#[derive(Clone, Copy)]
struct Lease {
    revision: Revision,
    turn: u64,
    is_ready: bool,
    /// When the last renewal that worked began.
    renewed: Instant,
}

impl Node {
    /// Joins the nodes that share `meta`. Then [`Node::run`] has to run. A node that finds nobody leading leads.
    pub async fn join(
        meta: Arc<dyn SharedMetaStore>,
        clock: &dyn Clock,
        settings: NodeSettings,
    ) -> std::result::Result<Arc<Self>, JoinError> {
        let state = State { watch: Watch::new(settings.heartbeat * 3), members: Vec::new(), turn: None, lease: None };
        let node = Self {
            meta,
            since: clock.now().as_millis(),
            state: Mutex::new(state),
            leader: watch::Sender::default(),
            leader_turn: LeaderTurn::default(),
            elected: watch::Sender::default(),
            deposed: CancellationToken::new(),
            stop: CancellationToken::new(),
            beating: tokio::sync::Mutex::default(),
            settings,
        };
        node.enter().await?;
        node.beat().await?;
        // And once more, to see ourselves among the others.
        node.beat().await?;
        Ok(Arc::new(node))
    }

    /// Who leads, whenever that changes.
    pub fn leader(&self) -> watch::Receiver<Leader> {
        self.leader.subscribe()
    }

    /// The turn of whoever leads, as of the last heartbeat.
    pub fn leader_turn(&self) -> LeaderTurn {
        self.leader_turn.clone()
    }

    /// Whether this node leads and answers for the others.
    pub fn leads(&self) -> bool {
        *self.leader.borrow() == Leader::Us
    }

    /// Waits until this node is to lead. What a leader does is to be started then, and [`Node::lead`] called.
    pub async fn elected(&self) {
        let mut elected = self.elected.subscribe();
        // The sender lives as long as we do.
        let _ = elected.wait_for(|elected| *elected).await;
    }

    /// Answers for the others from now on.
    pub async fn lead(&self) -> Result<()> {
        if let Some(lease) = &mut self.state.lock().lease {
            lease.is_ready = true;
        }
        self.beat().await
    }

    /// Waits until the others have shut this node out, or it has to assume so: what it does outside of the store has to end at once.
    pub async fn deposed(&self) {
        self.deposed.cancelled().await;
    }

    /// The nodes that are there, as of the last heartbeat.
    pub fn members(&self) -> Vec<Member> {
        self.state.lock().members.clone()
    }

    /// Whether a node in `region` was heard of just now.
    pub fn lives_in(&self, region: &str) -> bool {
        let limit = self.settings.heartbeat * MISSED_MAX;
        self.state.lock().members.iter().any(|member| member.region == region && member.silence <= limit)
    }

    /// Tells that this node lives, and looks after the others, until it leaves.
    pub async fn run(&self) {
        let beating = async {
            loop {
                sleep(self.settings.heartbeat).await;
                match self.beat().await {
                    Ok(()) => {}
                    Err(error) if is_fenced(&error) => self.take_for_dead(),
                    Err(error) => tracing::warn!(%error, "this node cannot tell the others that it lives"),
                }
            }
        };
        let resigning = async {
            loop {
                sleep(self.settings.heartbeat / 2).await;
                let lease = self.state.lock().lease.filter(|_| self.settings.url.is_some());
                if lease.is_some_and(|lease| lease.renewed.elapsed() > self.settings.resign_after) {
                    tracing::error!("this node leads, and could not tell the others that it lives: it ends before another takes over");
                    self.deposed.cancel();
                    return;
                }
            }
        };
        // Beside the heartbeat: it may take long, when the database is short of connections.
        let sweeping = async {
            loop {
                sleep(self.settings.heartbeat).await;
                self.shut_out_the_silent().await;
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.deposed.cancelled() => {}
            () = beating => {}
            () = resigning => {}
            () = sweeping => {}
        }
    }

    /// Leaves: gives up leading, once what a leader does has ended, and takes its row away.
    pub async fn leave(&self) {
        // Not in the midst of a heartbeat: what it commits would be in the way of what is committed here.
        let _beating = self.beating.lock().await;
        self.take_leave().await;
    }

    /// Leaves if it was never to lead: a node that is refused, for which the others need not wait. Of one that has begun what a leader does
    /// they find out that it ended.
    pub async fn withdraw(&self) {
        let _beating = self.beating.lock().await;
        if !*self.elected.borrow() {
            self.take_leave().await;
        }
    }

    async fn take_leave(&self) {
        self.stop.cancel();
        let incarnation = self.meta.incarnation();
        let mut batch = Batch::new(Partition::ROOT).delete(root::node(incarnation));
        if let Some(lease) = self.state.lock().lease.take() {
            let nobody = LeaderRecord { incarnation: String::new(), turn: lease.turn + 1, is_ready: false };
            batch = batch.check(root::leader(), Expect::Revision(lease.revision)).put(root::leader(), "", encode(&nobody));
        }
        self.leader.send_replace(Leader::Nobody);
        if let Err(error) = self.meta.commit(batch).await {
            tracing::warn!(%error, "this node could not take leave; the others find out");
        }
    }

    /// Comes among the nodes that are there, if it can work with them. Of several that come at once each knows of the one before it: whoever finds
    /// that another came since it looked looks again.
    async fn enter(&self) -> std::result::Result<(), JoinError> {
        let mut dead = Vec::new();
        loop {
            // Before anything is looked at.
            let turnstile = self.meta.get(Partition::ROOT, &root::turnstile()).await.map_err(Error::from)?;
            self.end_earlier_lives().await?;
            self.await_company(&mut dead).await?;
            if self.come_in(Expect::unchanged(turnstile.map(|entry| entry.revision))).await? {
                return Ok(());
            }
        }
    }

    /// Shuts out what is left of our name, which is dead; refuses to join beside one that lives.
    async fn end_earlier_lives(&self) -> std::result::Result<(), JoinError> {
        let of_our_name = |look: Look| look.nodes.into_iter().filter(|(_, node)| node.name == self.settings.name);
        let before: Vec<_> = of_our_name(self.look().await?).collect();
        if before.is_empty() {
            return Ok(());
        }
        // One on another machine may only be cut off from the database, and still be at an origin.
        let is_of_this_boot = |(_, node): &(String, NodeRecord)| !node.boot.is_empty() && node.boot == self.settings.boot;
        sleep(if before.iter().all(is_of_this_boot) { self.settings.heartbeat * 3 } else { self.settings.lease }).await;
        for now in of_our_name(self.look().await?) {
            if !before.contains(&now) {
                return Err(JoinError::Twin(now.1.name));
            }
            self.shut_out(&now.0).await?;
        }
        Ok(())
    }

    /// Refuses to join others, alive, that this node could not work with. Remembers which are `dead`.
    async fn await_company(&self, dead: &mut Vec<(String, NodeRecord)>) -> std::result::Result<(), JoinError> {
        let first: Vec<(String, NodeRecord)> = self.look().await?.nodes;
        if !first.iter().any(|node| !dead.contains(node) && self.is_apart(&node.1).is_some()) {
            return Ok(());
        }
        // Those that are dead stay silent.
        let until = Instant::now() + self.settings.lease;
        loop {
            sleep(self.settings.heartbeat).await;
            let nodes = self.look().await?.nodes;
            let lives = |(who, node): &&(String, NodeRecord)| !first.iter().any(|(before, was)| before == who && was.turn == node.turn);
            if let Some(refusal) = nodes.iter().filter(lives).find_map(|(_, node)| self.is_apart(node)) {
                return Err(refusal);
            }
            if Instant::now() > until {
                dead.extend(first);
                return Ok(());
            }
        }
    }

    /// Why this node could not work with `node`: one does not reach the other, or would not find what is in the other's region.
    fn is_apart(&self, node: &NodeRecord) -> Option<JoinError> {
        let ours = &self.settings.regions;
        let are_acquainted = match &node.regions {
            Some(theirs) if theirs.is_empty() => ours.is_empty(),
            Some(theirs) => ours.contains(&node.region) && theirs.contains(&self.settings.region),
            // A release that does not tell which regions it knows. Most likely they are those it was given with the others.
            None => ours.is_empty() || ours.contains(&node.region),
        };
        if self.settings.url.is_none() || node.url.is_empty() {
            Some(JoinError::NoAddress(node.name.clone()))
        } else if are_acquainted {
            None
        } else {
            Some(JoinError::Strangers(node.name.clone()))
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl From<JoinError> for Error {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Store(error) => error,
            JoinError::NoAddress(_) | JoinError::Strangers(_) | JoinError::Twin(_) => Self::new(ErrorKind::Conflict, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;

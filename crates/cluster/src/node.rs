//! One node: its own row, the others', and which of them leads.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use umbra_core::{Clock, Error, ErrorKind, Result};
use umbra_meta::{Batch, Entry, Error as MetaError, Expect, Partition, Projection, Revision, SharedMetaStore, key::root};

use crate::{
    record::{LeaderRecord, NodeRecord, decode, encode},
    watch::Watch,
};

/// Nodes looked at; far more than share one database.
const NODES_MAX: usize = 1000;

/// How a node takes part.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// What its operator calls it. Two processes of one name never run at once.
    pub name: String,
    /// Where the other nodes reach it; `None` for one that is to be alone.
    pub url: Option<String>,
    /// Its region.
    pub region: String,
    /// Which start of which machine it runs on; empty where that cannot be told. An earlier life of this name on the same one has ended for
    /// certain, because its data directory was free.
    pub boot: String,
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
            boot: String::new(),
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
}

/// Who leads, as this node knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Leader {
    /// Nobody, or nobody knows.
    #[default]
    Nobody,
    /// This node.
    Us,
    /// The node at this address.
    At(String),
}

/// This process among those that share the store.
pub struct Node {
    meta: Arc<dyn SharedMetaStore>,
    settings: NodeSettings,
    since: i64,
    state: Mutex<State>,
    leader: watch::Sender<Leader>,
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
    /// Our own hold of the leader's row.
    hold: Option<Hold>,
}

#[derive(Clone, Copy)]
struct Hold {
    revision: Revision,
    turn: u64,
    is_ready: bool,
    /// When the last renewal that worked began.
    renewed: Instant,
}

/// What one look has shown.
struct Look {
    nodes: Vec<(String, NodeRecord)>,
    leader: Option<(LeaderRecord, Revision)>,
}

impl Node {
    /// Joins the nodes that share `meta`. Then [`Node::run`] has to run. A node that finds nobody leading leads.
    pub async fn join(
        meta: Arc<dyn SharedMetaStore>,
        clock: &dyn Clock,
        settings: NodeSettings,
    ) -> std::result::Result<Arc<Self>, JoinError> {
        let state = State { watch: Watch::new(settings.heartbeat * 3), members: Vec::new(), turn: None, hold: None };
        let node = Self {
            meta,
            since: clock.now().as_millis(),
            state: Mutex::new(state),
            leader: watch::Sender::default(),
            elected: watch::Sender::default(),
            deposed: CancellationToken::new(),
            stop: CancellationToken::new(),
            beating: tokio::sync::Mutex::default(),
            settings,
        };
        node.end_earlier_lives().await?;
        node.await_company().await?;
        node.beat().await?;
        // And once more, to see ourselves among the others.
        node.beat().await?;
        Ok(Arc::new(node))
    }

    /// Who leads, whenever that changes.
    pub fn leader(&self) -> watch::Receiver<Leader> {
        self.leader.subscribe()
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
        if let Some(hold) = &mut self.state.lock().hold {
            hold.is_ready = true;
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

    /// Tells that this node lives, and looks after the others, until it leaves.
    pub async fn run(&self) {
        let beating = async {
            loop {
                sleep(self.settings.heartbeat).await;
                if let Err(error) = self.beat().await {
                    tracing::warn!(%error, "this node cannot tell the others that it lives");
                }
            }
        };
        let resigning = async {
            loop {
                sleep(self.settings.heartbeat / 2).await;
                let hold = self.state.lock().hold.filter(|_| self.settings.url.is_some());
                if hold.is_some_and(|hold| hold.renewed.elapsed() > self.settings.resign_after) {
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
        self.stop.cancel();
        let incarnation = self.meta.incarnation();
        let mut batch = Batch::new(Partition::ROOT).delete(root::node(incarnation));
        if let Some(hold) = self.state.lock().hold.take() {
            let nobody = LeaderRecord { incarnation: String::new(), turn: hold.turn + 1, is_ready: false };
            batch = batch.check(root::leader(), Expect::Revision(hold.revision)).put(root::leader(), "", encode(&nobody));
        }
        self.leader.send_replace(Leader::Nobody);
        if let Err(error) = self.meta.commit(batch).await {
            tracing::warn!(%error, "this node could not take leave; the others find out");
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

    /// Refuses to join others, alive, that this node does not reach or that do not reach it.
    async fn await_company(&self) -> std::result::Result<(), JoinError> {
        let first: Vec<(String, NodeRecord)> = self.look().await?.nodes;
        let is_apart = |node: &NodeRecord| self.settings.url.is_none() || node.url.is_empty();
        if !first.iter().any(|(_, node)| is_apart(node)) {
            return Ok(());
        }
        // Those that are dead stay silent.
        let until = Instant::now() + self.settings.lease;
        loop {
            sleep(self.settings.heartbeat).await;
            let nodes = self.look().await?.nodes;
            let lives = |(who, node): &&(String, NodeRecord)| {
                is_apart(node) && !first.iter().any(|(before, was)| before == who && was.turn == node.turn)
            };
            if let Some((_, node)) = nodes.iter().find(lives) {
                return Err(JoinError::NoAddress(node.name.clone()));
            }
            if Instant::now() > until {
                return Ok(());
            }
        }
    }

    /// One heartbeat.
    async fn beat(&self) -> Result<()> {
        let _beating = self.beating.lock().await;
        let began = Instant::now();
        let look = self.look().await?;
        let incarnation = self.meta.incarnation();
        let leader = look.leader.as_ref().map(|(leader, _)| leader.incarnation.as_str()).unwrap_or_default();
        let is_shut_out = {
            let mut state = self.state.lock();
            state.watch.note(began, look.nodes.iter().map(|(who, node)| (who.as_str(), node.turn)));
            state.members = members(&look.nodes, leader, &state.watch);
            state.turn.is_some() && !look.nodes.iter().any(|(who, _)| who == incarnation)
        };
        if is_shut_out {
            tracing::error!("the other nodes took this one for dead");
            self.deposed.cancel();
            return Ok(());
        }
        self.renew(began).await?;
        let is_held = self.state.lock().hold.is_some();
        match &look.leader {
            _ if is_held => {}
            // We took it, and the answer was lost.
            Some((leader, revision)) if leader.incarnation == incarnation => self.hold(*revision, leader.turn, began),
            _ if self.may_take(&look) => self.take(look.leader.clone()).await?,
            _ => {}
        }
        self.tell(&look);
        Ok(())
    }

    async fn look(&self) -> Result<Look> {
        let leader_row = root::leader();
        let ranges = vec![
            (root::node_range(), NODES_MAX),
            (umbra_meta::KeyRange { start: leader_row.clone(), end: Some([&leader_row[..], &[0]].concat()) }, 1),
        ];
        let mut found = self.meta.multi_scan(Partition::ROOT, ranges, Projection::Full).await?.into_iter();
        let (nodes, leader) = (found.next().unwrap_or_default(), found.next().unwrap_or_default());
        let node = |entry: &Entry| Some((root::parse_node(&entry.key)?.to_owned(), decode(&entry.body)));
        let nodes = nodes.iter().filter_map(node).map(|(who, node)| Ok((who, node?))).collect::<Result<_>>()?;
        let leader = leader.first().map(|entry| Ok::<_, Error>((decode(&entry.body)?, entry.revision))).transpose()?;
        Ok(Look { nodes, leader })
    }

    /// Tells that we live, and lead if we do.
    async fn renew(&self, began: Instant) -> Result<()> {
        let row = root::node(self.meta.incarnation());
        let (turn, hold) = {
            let state = self.state.lock();
            (state.turn, state.hold)
        };
        let NodeSettings { name, url, region, boot, .. } = self.settings.clone();
        let turn_now = turn.map_or(1, |turn| turn + 1);
        let ours = NodeRecord { name, url: url.unwrap_or_default(), region, turn: turn_now, since: self.since, boot };
        let expect = if turn.is_some() { Expect::Exists } else { Expect::Absent };
        let mut batch = Batch::new(Partition::ROOT).check(row.clone(), expect).put(row, "", encode(&ours));
        if let Some(hold) = hold {
            let leader = self.leading(hold.turn + 1, hold.is_ready);
            batch = batch.check(root::leader(), Expect::Revision(hold.revision)).put(root::leader(), "", encode(&leader));
        }
        match self.meta.commit(batch).await {
            Ok(committed) => {
                let mut state = self.state.lock();
                state.turn = Some(ours.turn);
                if let (Some(held), Some(hold)) = (hold, &mut state.hold) {
                    // It may have been made ready meanwhile.
                    *hold = Hold { revision: committed.revision, turn: held.turn + 1, is_ready: hold.is_ready, renewed: began };
                }
                Ok(())
            }
            Err(MetaError::Conflict { .. }) if turn.is_some() => {
                tracing::error!("the other nodes took this one for dead");
                self.deposed.cancel();
                Ok(())
            }
            // The row may be there: the next beat would find it in its way.
            Err(error @ MetaError::Unknown(_)) => self.find_own_rows(began, error).await,
            Err(error) => Err(error.into()),
        }
    }

    /// After a renewal whose outcome nobody knows.
    async fn find_own_rows(&self, began: Instant, error: MetaError) -> Result<()> {
        let look = self.look().await?;
        let incarnation = self.meta.incarnation();
        let mut state = self.state.lock();
        let own = look.nodes.iter().find(|(who, _)| who == incarnation);
        state.turn = own.map(|(_, node)| node.turn).or(state.turn);
        match (&mut state.hold, look.leader) {
            (Some(hold), Some((leader, revision))) if leader.incarnation == incarnation => {
                let landed = revision != hold.revision;
                (hold.revision, hold.turn) = (revision, leader.turn);
                if landed {
                    hold.renewed = began;
                    return Ok(());
                }
                Err(error.into())
            }
            (Some(_), _) => {
                self.deposed.cancel();
                Ok(())
            }
            (None, _) => own.map(drop).ok_or_else(|| error.into()),
        }
    }

    fn leading(&self, turn: u64, is_ready: bool) -> LeaderRecord {
        LeaderRecord { incarnation: self.meta.incarnation().to_owned(), turn, is_ready }
    }

    /// Whether nobody leads any more.
    fn may_take(&self, look: &Look) -> bool {
        let Some((leader, _)) = &look.leader else { return true };
        let state = self.state.lock();
        let is_gone = !look.nodes.iter().any(|(who, _)| *who == leader.incarnation);
        leader.incarnation.is_empty() || is_gone || state.watch.silence(&leader.incarnation) > self.settings.lease
    }

    /// Takes the lead from whoever had it, who is first kept from committing: should this node end in between, nobody led meanwhile.
    async fn take(&self, before: Option<(LeaderRecord, Revision)>) -> Result<()> {
        let began = Instant::now();
        let turn = before.as_ref().map_or(0, |(leader, _)| leader.turn) + 1;
        let expect = Expect::unchanged(before.as_ref().map(|(_, revision)| *revision));
        let own = root::node(self.meta.incarnation());
        let mut batch = Batch::new(Partition::ROOT).check(own, Expect::Exists).check(root::leader(), expect);
        if let Some((former, _)) = before.filter(|(leader, _)| !leader.incarnation.is_empty()) {
            tracing::warn!(former = former.incarnation, "the node that led is gone: this one takes over");
            self.meta.fence(&former.incarnation).await?;
            batch = batch.delete(root::node(&former.incarnation));
        }
        match self.meta.commit(batch.put(root::leader(), "", encode(&self.leading(turn, false)))).await {
            Ok(committed) => {
                self.hold(committed.revision, turn, began);
                Ok(())
            }
            // Another was faster.
            Err(MetaError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn hold(&self, revision: Revision, turn: u64, renewed: Instant) {
        self.state.lock().hold = Some(Hold { revision, turn, is_ready: false, renewed });
        self.elected.send_replace(true);
    }

    /// What the node that leads does for the others.
    async fn shut_out_the_silent(&self) {
        if self.state.lock().hold.is_none() {
            return;
        }
        for Member { incarnation, name, silence, .. } in self.members() {
            if incarnation == self.meta.incarnation() || silence <= self.settings.forget_after {
                continue;
            }
            tracing::warn!(node = name, incarnation, "a node is silent: it is shut out until it is started again");
            if let Err(error) = self.shut_out(&incarnation).await {
                tracing::warn!(%error, "a silent node is not shut out yet");
            }
        }
    }

    /// Keeps a life of a node from committing, then takes its row away.
    async fn shut_out(&self, incarnation: &str) -> Result<()> {
        self.meta.fence(incarnation).await?;
        self.meta.commit(Batch::new(Partition::ROOT).delete(root::node(incarnation))).await?;
        Ok(())
    }

    /// Tells who waits for it who leads.
    fn tell(&self, look: &Look) {
        let is_ours = self.state.lock().hold.map(|hold| hold.is_ready);
        let now = match (is_ours, &look.leader) {
            (Some(true), _) => Leader::Us,
            (Some(false), _) | (None, None) => Leader::Nobody,
            (None, Some((leader, _))) => {
                let ready = look.nodes.iter().find(|(who, _)| leader.is_ready && *who == leader.incarnation);
                ready.map_or(Leader::Nobody, |(_, node)| Leader::At(node.url.clone()))
            }
        };
        self.leader.send_if_modified(|known| {
            let is_news = *known != now;
            *known = now;
            is_news
        });
    }
}

fn members(nodes: &[(String, NodeRecord)], leader: &str, watch: &Watch) -> Vec<Member> {
    let member = |(incarnation, node): &(String, NodeRecord)| Member {
        incarnation: incarnation.clone(),
        name: node.name.clone(),
        url: node.url.clone(),
        region: node.region.clone(),
        leads: incarnation == leader,
        silence: watch.silence(incarnation),
    };
    nodes.iter().map(member).collect()
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
            JoinError::NoAddress(_) | JoinError::Twin(_) => Self::new(ErrorKind::Conflict, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;

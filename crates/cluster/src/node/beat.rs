//! The heartbeat of a node: it looks at all, tells that it lives, and takes the lead when nobody has it.

use tokio::time::Instant;
use umbra_core::{Error, Result};
use umbra_meta::{Batch, Declaration, Entry, Error as MetaError, Expect, KeyRange, Partition, Projection, Revision, key::root};

use super::{Leader, Lease, Member, Node, NodeSettings, State};
use crate::{
    record::{LeaderRecord, NodeRecord, decode, encode},
    watch::Watch,
};

/// Nodes looked at; far more than share one database.
const NODES_MAX: usize = 1000;
/// The turn of a row as a node comes in.
const FIRST_TURN: u64 = 1;

/// What one look has shown.
pub(super) struct Look {
    pub(super) nodes: Vec<(String, NodeRecord)>,
    leader: Option<(LeaderRecord, Revision)>,
}

impl Node {
    /// One heartbeat.
    pub(super) async fn beat(&self) -> Result<()> {
        let _beating = self.beating.lock().await;
        let began = Instant::now();
        let look = self.look().await?;
        let incarnation = self.meta.incarnation();
        let leader = look.leader.as_ref().map(|(leader, _)| leader.incarnation.as_str()).unwrap_or_default();
        self.leader_turn.note(look.leader.as_ref().map_or(0, |(leader, _)| leader.turn));
        let is_shut_out = {
            let mut state = self.state.lock();
            state.watch.note(began, look.nodes.iter().map(|(who, node)| (who.as_str(), node.turn)));
            let replicas = look.nodes.iter().map(|(who, node)| (&*node.region, state.watch.silence(who), node.replica.map(Into::into)));
            self.settings.neighbours.note(began, replicas);
            state.members = members(&look.nodes, leader, &state.watch);
            state.turn.is_some() && !look.nodes.iter().any(|(who, _)| who == incarnation)
        };
        if is_shut_out {
            self.take_for_dead();
            return Ok(());
        }
        self.renew(began).await?;
        let is_leased = self.state.lock().lease.is_some();
        match &look.leader {
            _ if is_leased => {}
            // We took it, and the answer was lost.
            Some((leader, revision)) if leader.incarnation == incarnation => self.take_lease(*revision, leader.turn, began),
            _ if self.may_take(&look) => self.take(look.leader.clone()).await?,
            _ => {}
        }
        self.tell(&look);
        Ok(())
    }

    pub(super) async fn look(&self) -> Result<Look> {
        let leader_row = root::leader();
        let ranges =
            vec![(root::node_range(), NODES_MAX), (KeyRange { start: leader_row.clone(), end: Some([&leader_row[..], &[0]].concat()) }, 1)];
        let mut found = self.meta.multi_scan(Partition::ROOT, ranges, Projection::Full).await?.into_iter();
        let (nodes, leader) = (found.next().unwrap_or_default(), found.next().unwrap_or_default());
        let node = |entry: &Entry| Some((root::parse_node(&entry.key)?.to_owned(), decode(&entry.body)));
        let nodes = nodes.iter().filter_map(node).map(|(who, node)| Ok((who, node?))).collect::<Result<_>>()?;
        let leader = leader.first().map(|entry| Ok::<_, Error>((decode(&entry.body)?, entry.revision))).transpose()?;
        Ok(Look { nodes, leader })
    }

    /// Tells that we live for the first time, while the turnstile is as it was when we began to look at the others. False: one more has come since.
    pub(super) async fn come_in(&self, turnstile: Expect) -> Result<bool> {
        let (own, declaration, began) = (root::node(self.meta.incarnation()), self.settings.neighbours.declaration(), Instant::now());
        let batch = Batch::new(Partition::ROOT).check(root::turnstile(), turnstile).put(root::turnstile(), "", "");
        match self.meta.commit(batch.check(own.clone(), Expect::Absent).put(own, "", encode(&self.record(FIRST_TURN, declaration)))).await {
            Ok(_) => {
                self.settings.neighbours.declared(declaration, began);
                self.state.lock().turn = Some(FIRST_TURN);
                Ok(true)
            }
            Err(MetaError::Conflict { .. }) => Ok(false),
            // The row may be there: the first beat would find it in its way.
            Err(error @ MetaError::Unknown(_)) => self.find_own_rows(began, error).await.map(|()| true),
            Err(error) => Err(error.into()),
        }
    }

    /// What our own row is to say at a `turn`.
    fn record(&self, turn: u64, declaration: Option<Declaration>) -> NodeRecord {
        let NodeSettings { name, url, region, regions, boot, .. } = self.settings.clone();
        NodeRecord {
            name,
            url: url.unwrap_or_default(),
            region,
            turn,
            since: self.since,
            boot,
            replica: declaration.map(Into::into),
            regions: Some(regions),
        }
    }

    /// Tells that we live, and lead if we do.
    async fn renew(&self, began: Instant) -> Result<()> {
        let row = root::node(self.meta.incarnation());
        let (turn, lease) = {
            let state = self.state.lock();
            (state.turn.unwrap_or(FIRST_TURN), state.lease)
        };
        let declaration = self.settings.neighbours.declaration();
        let ours = self.record(turn + 1, declaration);
        let mut batch = Batch::new(Partition::ROOT).check(row.clone(), Expect::Exists).put(row, "", encode(&ours));
        if let Some(lease) = lease {
            let leader = self.leading(lease.turn + 1, lease.is_ready);
            batch = batch.check(root::leader(), Expect::Revision(lease.revision)).put(root::leader(), "", encode(&leader));
        }
        match self.meta.commit(batch).await {
            Ok(committed) => {
                self.settings.neighbours.declared(declaration, began);
                let mut state = self.state.lock();
                state.turn = Some(ours.turn);
                if let (Some(before), Some(lease)) = (lease, &mut state.lease) {
                    // It may have been made ready meanwhile.
                    *lease = Lease { revision: committed.revision, turn: before.turn + 1, is_ready: lease.is_ready, renewed: began };
                }
                Ok(())
            }
            Err(MetaError::Conflict { .. }) => {
                self.take_for_dead();
                Ok(())
            }
            // The row may be there: the next beat would find it in its way.
            Err(error @ MetaError::Unknown(_)) => self.find_own_rows(began, error).await,
            Err(error) => Err(error.into()),
        }
    }

    /// The other nodes have shut this one out.
    pub(super) fn take_for_dead(&self) {
        tracing::error!("the other nodes took this one for dead");
        self.deposed.cancel();
    }

    /// After a renewal whose outcome nobody knows.
    async fn find_own_rows(&self, began: Instant, error: MetaError) -> Result<()> {
        let look = self.look().await?;
        let incarnation = self.meta.incarnation();
        let mut state = self.state.lock();
        let own = look.nodes.iter().find(|(who, _)| who == incarnation);
        state.turn = own.map(|(_, node)| node.turn).or(state.turn);
        match (&mut state.lease, look.leader) {
            (Some(lease), Some((leader, revision))) if leader.incarnation == incarnation => {
                let landed = revision != lease.revision;
                (lease.revision, lease.turn) = (revision, leader.turn);
                if landed {
                    lease.renewed = began;
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
                self.take_lease(committed.revision, turn, began);
                Ok(())
            }
            // Another was faster.
            Err(MetaError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn take_lease(&self, revision: Revision, turn: u64, renewed: Instant) {
        self.state.lock().lease = Some(Lease { revision, turn, is_ready: false, renewed });
        self.elected.send_replace(true);
    }

    /// What the node that leads does for the others.
    pub(super) async fn shut_out_the_silent(&self) {
        if self.state.lock().lease.is_none() {
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
    pub(super) async fn shut_out(&self, incarnation: &str) -> Result<()> {
        self.meta.fence(incarnation).await?;
        self.meta.commit(Batch::new(Partition::ROOT).delete(root::node(incarnation))).await?;
        Ok(())
    }

    /// Tells who waits for it who leads. A leader that has done nothing since this node came is none yet: in a copy of a database, or one taken
    /// back to an earlier moment, it lives elsewhere, and would do there what is asked here.
    fn tell(&self, look: &Look) {
        let (is_ours, has_lived) = {
            let State { lease, watch, .. } = &*self.state.lock();
            let leader = look.leader.as_ref().map(|(leader, _)| leader.incarnation.as_str()).unwrap_or_default();
            (lease.map(|lease| lease.is_ready), watch.has_lived(leader))
        };
        let now = match (is_ours, &look.leader) {
            (Some(true), _) => Leader::Us,
            (Some(false), _) | (None, None) => Leader::Nobody,
            (None, Some((leader, _))) => {
                let ready = look.nodes.iter().find(|(who, _)| leader.is_ready && has_lived && *who == leader.incarnation);
                ready.map_or(Leader::Nobody, |(who, node)| Leader::At { url: node.url.clone(), incarnation: who.clone() })
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
        replica: node.replica.map(Into::into),
    };
    nodes.iter().map(member).collect()
}

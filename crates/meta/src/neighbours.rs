//! What the nodes of a region have to know of one another, to read a replica of the metadata and to write beside those who do.
//!
//! A node that reads a replica declares so in its row first, and names the very server. It begins [`DECLARED_AHEAD`] later, and goes on only
//! while its row is renewed. So whoever has looked at the rows within that time knows of everybody in its region who may be reading a
//! replica, and how long what it commits may not be seen there. Every node looks with every heartbeat. Whose row has not changed for
//! longer than it may be read by is left out: a node that died delays nobody for long.
//!
//! Nothing here reads a clock or does I/O; what is compared are moments of this process alone.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// For how long a replica is believed to have everything that was acknowledged before it was last compared with the primary.
pub(crate) const TRUST: Duration = Duration::from_secs(1);
/// What is added wherever [`TRUST`] of others is waited for: clocks of machines do not run quite alike.
pub(crate) const MARGIN: Duration = Duration::from_millis(100);
/// How long before a replica is read that is declared, and how old a look at the declarations of others may be.
pub(crate) const DECLARED_AHEAD: Duration = Duration::from_secs(5);
/// For how long a replica is read after its declaration was last renewed.
const RENEWED_MAX: Duration = Duration::from_secs(5);
/// For how long a node is silent that reads no replica any more: its last renewal, what it trusted then, and as much again for its clock.
const SILENCE_MAX: Duration = Duration::from_secs(8);

/// What a node tells the others of its replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// The server that is read, or is going to be, as a number of its own; `None` while there is none of use.
    pub server: Option<i64>,
    /// Whether it is read.
    pub is_trusted: bool,
    /// For how many milliseconds it has not been known to have everything.
    pub behind_ms: u64,
}

/// What a commit has to wait for before it is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Nothing: nobody near reads a replica.
    Nothing,
    /// Until this server has replayed it, which is the one that all near read; or as long as for [`Duty::Time`].
    Replayed(i64),
    /// Until nobody trusts what was so before.
    Time,
}

/// The nodes of this region, as far as replicas of the metadata are concerned.
#[derive(Debug)]
pub struct Neighbours {
    region: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether this node has a replica at all, and what is to be told of it.
    own: Option<Declaration>,
    /// What is declared, and stored.
    declared: Option<Declared>,
    look: Option<Look>,
}

#[derive(Clone, Copy, Debug)]
struct Declared {
    server: i64,
    /// When it was first stored.
    since: Instant,
    /// When its last renewal began.
    renewed: Instant,
}

#[derive(Clone, Debug)]
struct Look {
    began: Instant,
    /// The servers that are read in this region.
    near: Vec<i64>,
    /// Whether any is read in any region.
    is_anywhere: bool,
}

impl Neighbours {
    /// Those of `region`.
    pub fn new(region: &str) -> Self {
        Self { region: region.to_owned(), state: Mutex::default() }
    }

    /// What a heartbeat that begins now is to tell of this node.
    pub fn declaration(&self) -> Option<Declaration> {
        self.state.lock().own
    }

    /// Notes that a heartbeat which `began` then and told `declaration` is stored.
    pub fn declared(&self, declaration: Option<Declaration>, began: Instant) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let before = state.declared;
        state.declared = declaration.and_then(|declaration| declaration.server).map(|server| match before {
            Some(before) if before.server == server => Declared { renewed: began, ..before },
            _ => Declared { server, since: now, renewed: began },
        });
    }

    /// Notes what a look at the nodes has shown that `began` then: of each its region, how long it has been silent, and what it declares.
    pub fn note<'a>(&self, began: Instant, nodes: impl Iterator<Item = (&'a str, Duration, Option<Declaration>)>) {
        let mut look = Look { began, near: Vec::new(), is_anywhere: false };
        for (region, silence, declaration) in nodes {
            let Some(server) = declaration.and_then(|declaration| declaration.server).filter(|_| silence <= SILENCE_MAX) else { continue };
            look.is_anywhere = true;
            if region == self.region && !look.near.contains(&server) {
                look.near.push(server);
            }
        }
        self.state.lock().look = Some(look);
    }

    /// For how much longer than what is read at the primary something may be believed that was read at a replica, anywhere.
    pub fn lag_max(&self) -> Duration {
        let state = self.state.lock();
        let is_nowhere = match &state.look {
            // Who has not joined has told nobody anything.
            None => true,
            Some(look) => look.began.elapsed() < DECLARED_AHEAD && !look.is_anywhere,
        };
        if is_nowhere { Duration::ZERO } else { TRUST + MARGIN }
    }

    /// What this node has to say of its replica.
    pub(crate) fn tell(&self, own: Declaration) {
        self.state.lock().own = Some(own);
    }

    /// What a commit has to wait for that is stored `now`.
    ///
    /// A node that has no replica, in a region where none was seen, waits for nothing also when it has not looked for long: all nodes of a region are
    /// to have one or none.
    pub(crate) fn duty(&self, now: Instant) -> Duty {
        let state = self.state.lock();
        match &state.look {
            None => Duty::Nothing,
            Some(look) if state.own.is_none() && look.near.is_empty() => Duty::Nothing,
            Some(look) if now.saturating_duration_since(look.began) >= DECLARED_AHEAD => Duty::Time,
            Some(look) => match look.near[..] {
                [] => Duty::Nothing,
                [server] => Duty::Replayed(server),
                _ => Duty::Time,
            },
        }
    }

    /// The servers that are read in this region, by the last look.
    pub(crate) fn servers(&self) -> Vec<i64> {
        self.state.lock().look.as_ref().map(|look| look.near.clone()).unwrap_or_default()
    }

    /// Whether this node may read `server` at `now`, by what it learned from `checked` on.
    pub(crate) fn permits(&self, server: i64, checked: Instant, now: Instant) -> bool {
        let state = self.state.lock();
        let is_told = state.own.is_some_and(|own| own.server == Some(server));
        let declared = state.declared.filter(|declared| is_told && declared.server == server);
        declared.is_some_and(|declared| {
            checked.saturating_duration_since(declared.since) >= DECLARED_AHEAD
                && now.saturating_duration_since(declared.renewed) < RENEWED_MAX
        })
    }
}

#[cfg(test)]
mod tests;

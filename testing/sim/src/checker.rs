//! Judges one key: is there an order of its operations, each at a moment between its beginning and its end, that the reference model allows?
//!
//! All states the key may be in are kept at once. When an operation ends, every way is tried in which the operations under way could have been
//! applied by then; what is left is the states in which that one was. If none is left, the answer was wrong.

use std::collections::{BTreeSet, VecDeque};

use crate::{
    reference::{Effect, Name, Seen, State, Value, Version},
    writes::Writes,
};

/// States tried for one answer before it is given up as too tangled to judge.
const TRIES_MAX: usize = 50_000;

/// One operation to be placed.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    pub(crate) effect: Effect,
    /// Whether it certainly happened.
    pub(crate) required: bool,
}

/// The operations of one key.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    pub(crate) items: Vec<Item>,
    /// What began to be read from the origin, and when.
    pub(crate) fetches: Vec<(u64, Value)>,
    pub(crate) life_ends: Vec<u64>,
    /// Whether an object may be kept in pieces: those that a life has brought show in the next without being read again.
    pub(crate) keeps_pieces: bool,
    /// Whether copies are held against the origin after a while.
    pub(crate) revalidates: bool,
    pub(crate) writes: &'a Writes,
}

/// What cannot be: the operation (its place in the case), and the states the key may have been in.
#[derive(Debug)]
pub(crate) struct Impossible {
    pub(crate) item: usize,
    pub(crate) states: Vec<State>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Config {
    state: State,
    /// Operations under way that are applied already.
    done: BTreeSet<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    LifeEnd,
    Fetch(usize),
    Begin(usize),
    End(usize),
}

struct Search<'a> {
    case: &'a Case<'a>,
    pending: BTreeSet<usize>,
    /// What is being read from the origin: in this life, or before it where pieces of it may be kept.
    reading: Vec<(u64, Value)>,
    /// What was ever read from it: a copy is one of these.
    read: BTreeSet<Value>,
}

impl Case<'_> {
    /// Finds an answer that no order explains.
    pub(crate) fn check(&self) -> Result<(), Impossible> {
        let mut events: Vec<(u64, Event)> = self.life_ends.iter().map(|tick| (*tick, Event::LifeEnd)).collect();
        events.extend(self.fetches.iter().enumerate().map(|(index, (tick, _))| (*tick, Event::Fetch(index))));
        for (index, item) in self.items.iter().enumerate() {
            events.extend([(item.begun, Event::Begin(index)), (item.ended, Event::End(index))]);
        }
        // What ends with a life ends before what was being read is forgotten.
        events.sort_by_key(|(tick, event)| (*tick, matches!(event, Event::LifeEnd), *event));
        let mut search = Search { case: self, pending: BTreeSet::new(), reading: Vec::new(), read: BTreeSet::new() };
        let mut configs = BTreeSet::from([Config { state: State::default(), done: BTreeSet::new() }]);
        for (_, event) in events {
            match event {
                Event::LifeEnd => {
                    configs = search.bring_in(configs);
                    if !self.keeps_pieces {
                        search.reading.clear();
                    }
                }
                Event::Fetch(index) => {
                    search.reading.push(self.fetches[index]);
                    search.read.insert(self.fetches[index].1);
                }
                Event::Begin(index) => {
                    search.pending.insert(index);
                }
                Event::End(index) => {
                    let Some(left) = search.place(&configs, index) else { return Ok(()) };
                    if left.is_empty() {
                        let states: BTreeSet<State> = configs.into_iter().map(|config| config.state).collect();
                        return Err(Impossible { item: index, states: states.into_iter().collect() });
                    }
                    search.pending.remove(&index);
                    configs = left;
                }
            }
        }
        Ok(())
    }
}

impl Search<'_> {
    /// What may be once item `index` has ended; `None` when that is too tangled to say.
    fn place(&self, configs: &BTreeSet<Config>, index: usize) -> Option<BTreeSet<Config>> {
        let required = self.case.items[index].required;
        let without = |mut config: Config| {
            config.done.remove(&index);
            config
        };
        let mut left = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut queue: VecDeque<Config> = configs.iter().cloned().map(|config| self.read(config)).collect();
        if !required {
            left.extend(queue.iter().cloned().map(without));
        }
        while let Some(config) = queue.pop_front() {
            if !seen.insert(config.clone()) {
                continue;
            }
            if seen.len() > TRIES_MAX {
                return None;
            }
            if config.done.contains(&index) {
                left.insert(without(config));
                continue;
            }
            self.step(&config, &mut queue);
        }
        Some(left)
    }

    /// What was being read may have come in before the life ended.
    fn bring_in(&self, configs: BTreeSet<Config>) -> BTreeSet<Config> {
        let mut all = configs.clone();
        for config in configs {
            let state = if self.is_outdated(&config.state) { config.state.cold() } else { config.state };
            for value in self.readable(&state) {
                all.extend(state.hydrated(value).map(|state| Config { state, done: config.done.clone() }));
            }
        }
        all
    }

    /// What is being read from the origin under the shadow of this state.
    fn readable(&self, state: &State) -> impl Iterator<Item = Value> + use<'_> {
        let attached = state.attached;
        self.reading.iter().filter(move |(tick, _)| attached.is_some_and(|since| *tick >= since)).map(|(_, value)| *value)
    }

    /// Every state that is one step away.
    fn step(&self, config: &Config, queue: &mut VecDeque<Config>) {
        let mut push = |state: Option<State>, done: Option<usize>| {
            if let Some(state) = state {
                let mut config = Config { state, done: config.done.clone() };
                config.done.extend(done);
                queue.push_back(self.read(config));
            }
        };
        for index in self.pending.iter().filter(|index| !config.done.contains(index)) {
            let effect = &self.case.items[*index].effect;
            if !matches!(effect, Effect::See(_)) {
                push(config.state.after(effect, self.case.writes), Some(*index));
            }
        }
        for repaired in config.state.repaired() {
            push(repaired, None);
        }
        let is_outdated = self.is_outdated(&config.state);
        if is_outdated && config.state.origin.is_none() {
            push(Some(config.state.cold()), None);
        }
        for value in self.readable(&config.state) {
            push(if is_outdated { config.state.cold().hydrated(value) } else { config.state.hydrated(value) }, None);
        }
    }

    /// Marks every answer under way that is right in this state: nothing is gained by leaving it for later.
    fn read(&self, mut config: Config) -> Config {
        for index in &self.pending {
            if let Effect::See(seen) = &self.case.items[*index].effect
                && (config.state.shows(seen, self.case.writes) || self.is_older(&config.state, seen))
            {
                config.done.insert(*index);
            }
        }
        config
    }

    /// Whether a reader may have been shown what is older: a transfer of what the origin held a while ago, while there is nothing here, or what
    /// is here, while it is known not to be the newest.
    fn is_older(&self, state: &State, seen: &Seen) -> bool {
        let is_cold = state.is_cold() || state.half_done.is_some();
        if self.is_outdated(state) && seen.fits(state.origin, self.case.writes) {
            return true;
        }
        (is_cold || self.is_outdated(state)) && self.readable(state).any(|value| seen.fits(Some(value), self.case.writes))
    }

    /// Whether what is here is a copy that the origin is asked about, and has something else by now.
    fn is_outdated(&self, state: &State) -> bool {
        let [Version { name: Name::Null, value: Some(copy), .. }] = state.versions[..] else { return false };
        self.case.revalidates && self.read.contains(&copy) && state.attached.is_some() && state.origin != Some(copy)
    }
}

//! What the catalog was asked for lately, by name, and what it was asked for in vain.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::RwLock;

/// Values that are kept at most. Past it, any one makes room.
const KNOWN_MAX: usize = 65_536;
/// Names that are remembered at most for not existing: anyone can ask for any. Past it, the oldest makes room.
const ABSENT_MAX: usize = 4_096;

/// A cache that no slow reader can bring back to an older state.
///
/// Whoever reads the store on a miss takes the epoch before and hands it back with what was found; every change of our own
/// begins a new epoch, and what was read in an older one is not kept. A change that is stored but not yet answered is in no epoch: readers of
/// before and after it are told apart by what they found.
///
/// Where others change the store too, whoever asks says how old an answer may be; absence is then not remembered at all.
pub(super) struct Cache<T> {
    state: RwLock<State<T>>,
}

struct State<T> {
    epoch: u64,
    known: HashMap<Arc<str>, (Arc<T>, Instant)>,
    absent: HashSet<Arc<str>>,
    /// The names of `absent`, the oldest first; a name that was forgotten meanwhile may still stand here.
    absent_order: VecDeque<Arc<str>>,
}

/// When a reader began to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    number: u64,
    at: Instant,
}

/// What the cache says of a name.
pub(super) enum Answer<T> {
    /// This is its value.
    Known(Arc<T>),
    /// There is nothing of this name.
    Absent,
    /// It does not know: read the store.
    Unknown,
}

/// A value of which one can tell the older of two states.
pub(super) trait Ages {
    /// Whether this was so before `other` was; false where nobody can tell.
    fn is_older_than(&self, other: &Self) -> bool;
}

impl<T: Ages> Cache<T> {
    pub(super) fn new() -> Self {
        let state = State { epoch: 0, known: HashMap::new(), absent: HashSet::new(), absent_order: VecDeque::new() };
        Self { state: RwLock::new(state) }
    }

    /// What is known of `name`, not older than `age_max` if that is given.
    pub(super) fn get(&self, name: &str, age_max: Option<Duration>) -> Answer<T> {
        let state = self.state.read();
        match state.known.get(name) {
            Some((value, at)) if age_max.is_none_or(|age_max| at.elapsed() < age_max) => Answer::Known(Arc::clone(value)),
            None if age_max.is_none() && state.absent.contains(name) => Answer::Absent,
            _ => Answer::Unknown,
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        // Before anything is read: what is read then is at least so new.
        let at = Instant::now();
        Epoch { number: self.state.read().epoch, at }
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        let mut state = self.state.write();
        let epoch = state.epoch + 1;
        *state = State { epoch, known: HashMap::new(), absent: HashSet::new(), absent_order: VecDeque::new() };
    }

    /// Keeps what a reader found who began at `epoch`, unless it may be older than what is known.
    pub(super) fn learn(&self, epoch: Epoch, name: &str, found: Option<Arc<T>>) {
        let mut state = self.state.write();
        let is_older = |found: &Arc<T>| state.known.get(name).is_some_and(|(known, _)| found.is_older_than(known));
        if state.epoch == epoch.number && !found.as_ref().is_some_and(is_older) {
            state.set(name, found, epoch.at);
        }
    }

    /// Keeps what we changed it to ourselves.
    pub(super) fn change(&self, name: &str, value: Option<Arc<T>>) {
        let mut state = self.state.write();
        state.epoch += 1;
        state.set(name, value, Instant::now());
    }

    /// Forgets what was known, because it is about to change.
    pub(super) fn forget(&self, name: &str) {
        let mut state = self.state.write();
        state.epoch += 1;
        state.known.remove(name);
        state.absent.remove(name);
    }
}

impl<T> State<T> {
    fn set(&mut self, name: &str, value: Option<Arc<T>>, at: Instant) {
        match value {
            Some(value) => {
                self.absent.remove(name);
                if self.known.len() >= KNOWN_MAX && !self.known.contains_key(name) {
                    let any = self.known.keys().next().cloned();
                    any.map(|any| self.known.remove(&any));
                }
                self.known.insert(name.into(), (value, at));
            }
            None => {
                self.known.remove(name);
                self.set_absent(name.into());
            }
        }
    }

    fn set_absent(&mut self, name: Arc<str>) {
        if !self.absent.insert(Arc::clone(&name)) {
            return;
        }
        self.absent_order.push_back(name);
        if self.absent_order.len() > ABSENT_MAX
            && let Some(oldest) = self.absent_order.pop_front()
        {
            self.absent.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::{ABSENT_MAX, Ages, Answer, Cache, KNOWN_MAX};

    impl Ages for u32 {
        fn is_older_than(&self, other: &Self) -> bool {
            self < other
        }
    }

    fn known(cache: &Cache<u32>, name: &str) -> Option<Option<u32>> {
        match cache.get(name, None) {
            Answer::Known(value) => Some(Some(*value)),
            Answer::Absent => Some(None),
            Answer::Unknown => None,
        }
    }

    #[test]
    fn what_was_learned_is_known() {
        let cache = Cache::new();
        assert_eq!(known(&cache, "a"), None);
        cache.learn(cache.epoch(), "a", Some(Arc::new(1)));
        cache.learn(cache.epoch(), "b", None);
        assert_eq!((known(&cache, "a"), known(&cache, "b")), (Some(Some(1)), Some(None)));
        cache.learn(cache.epoch(), "b", Some(Arc::new(2)));
        assert_eq!(known(&cache, "b"), Some(Some(2)));
    }

    #[test]
    fn a_slow_reader_does_not_undo_a_change() {
        for change in [Some(Arc::new(2)), None] {
            let cache = Cache::new();
            let before = cache.epoch();
            cache.change("a", change.clone());
            cache.learn(before, "a", Some(Arc::new(1)));
            assert_eq!(known(&cache, "a"), Some(change.map(|value| *value)));
        }
        let cache = Cache::new();
        let before = cache.epoch();
        cache.forget("a");
        cache.learn(before, "a", Some(Arc::new(1)));
        assert_eq!(known(&cache, "a"), None);
    }

    /// Two readers while a change is stored and not yet answered: one found it, and the other, who found what was before, comes last.
    #[test]
    fn what_was_known_is_not_unlearned() {
        let cache = Cache::new();
        let (one, other) = (cache.epoch(), cache.epoch());
        cache.learn(one, "a", Some(Arc::new(2)));
        cache.learn(other, "a", Some(Arc::new(1)));
        assert_eq!(known(&cache, "a"), Some(Some(2)));
    }

    /// Where others change the store, an answer holds for a while, and absence is looked up each time.
    #[test]
    fn what_is_too_old_is_not_known() {
        let cache = Cache::new();
        cache.learn(cache.epoch(), "a", Some(Arc::new(1)));
        cache.learn(cache.epoch(), "b", None);
        assert!(matches!(cache.get("a", Some(Duration::from_secs(3600))), Answer::Known(_)));
        assert!(matches!(cache.get("a", Some(Duration::ZERO)), Answer::Unknown));
        assert!(matches!(cache.get("b", Some(Duration::from_secs(3600))), Answer::Unknown));
        let before = cache.epoch();
        cache.clear();
        cache.learn(before, "a", Some(Arc::new(1)));
        assert_eq!((known(&cache, "a"), known(&cache, "b")), (None, None));
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let cache = Cache::new();
        for n in 0..ABSENT_MAX + 10 {
            cache.learn(cache.epoch(), &format!("absent-{n}"), None);
        }
        assert_eq!((known(&cache, "absent-9"), known(&cache, "absent-10")), (None, Some(None)));
        for n in 0..KNOWN_MAX + 10 {
            cache.learn(cache.epoch(), &format!("known-{n}"), Some(Arc::new(0)));
        }
        assert_eq!(cache.state.read().known.len(), KNOWN_MAX);
        // A name that comes and goes leaves no trail.
        for _ in 0..ABSENT_MAX * 2 {
            cache.change("wavering", None);
            cache.change("wavering", Some(Arc::new(0)));
        }
        let state = cache.state.read();
        assert!(state.absent_order.len() <= ABSENT_MAX && state.absent.len() <= state.absent_order.len());
    }
}

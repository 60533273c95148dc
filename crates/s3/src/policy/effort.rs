//! How much one judgment may cost: policies and requests come from those who gain if it costs much.

use std::cell::Cell;

use super::Facts;

/// The longest value of a request that is held against a policy.
const FACT_BYTES_MAX: usize = 2048;
/// The longest pattern, its variables filled in.
const PATTERN_MAX: usize = 4096;
/// The steps of one judgment: a hundred times what a long policy takes.
const STEPS_MAX: usize = 1 << 20;
/// What a look for a value in the request counts as.
const LOOK: usize = 512;

/// The facts of a request, and what is left for judging them.
///
/// Where something is too much the answer of the moment is wrong, and [`Effort::take_undecided`] says so.
pub(super) struct Effort<'a> {
    facts: &'a dyn Facts,
    left: Cell<usize>,
    is_undecided: Cell<bool>,
}

impl<'a> Effort<'a> {
    /// All of it, for `facts`.
    pub(super) fn new(facts: &'a dyn Facts) -> Self {
        Self { facts, left: Cell::new(STEPS_MAX), is_undecided: Cell::new(false) }
    }

    /// The values of a condition key.
    pub(super) fn values(&self, key: &str) -> Vec<String> {
        if !self.spend(LOOK) {
            return Vec::new();
        }
        let values = self.facts.values(key);
        if values.iter().all(|value| self.takes_text(value)) { values } else { Vec::new() }
    }

    /// Whether `text` is short enough to be held against a pattern.
    pub(super) fn takes_text(&self, text: &str) -> bool {
        self.decided(text.len() <= FACT_BYTES_MAX)
    }

    /// Whether a pattern may have `tokens`.
    pub(super) fn takes_pattern(&self, tokens: usize) -> bool {
        self.decided(tokens <= PATTERN_MAX)
    }

    /// Takes `steps`, if they are left.
    pub(super) fn spend(&self, steps: usize) -> bool {
        let left = self.left.get().checked_sub(steps);
        self.left.set(left.unwrap_or(0));
        self.decided(left.is_some())
    }

    /// Whether nothing can be decided any more.
    pub(super) fn is_spent(&self) -> bool {
        self.left.get() == 0
    }

    /// Whether something was too much since this was last asked.
    pub(super) fn take_undecided(&self) -> bool {
        self.is_undecided.replace(false)
    }

    fn decided(&self, is: bool) -> bool {
        if !is {
            self.is_undecided.set(true);
        }
        is
    }
}

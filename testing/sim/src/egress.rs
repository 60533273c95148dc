//! A byte of a version leaves the origin at most once.
//!
//! Excused is what was on its way when our side crashed, when something was made to fail, and when the copy had to be thrown away because the
//! key, the origin's object or the shadow changed meanwhile.

use std::collections::BTreeMap;

use crate::{
    history::History,
    origin::{Change, Ending, Fetch},
};

/// What is held against the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EgressRule {
    /// Reads of whole objects only.
    WholeObjects,
    /// Ranges too.
    Ranges,
}

/// What excuses a second transfer.
pub(crate) struct Excuses<'a> {
    pub(crate) history: &'a History,
    pub(crate) changes: &'a [Change],
    pub(crate) faults: Vec<u64>,
    /// When the origin failed, and for which key.
    pub(crate) failures: Vec<(u64, String)>,
}

impl Excuses<'_> {
    /// Every pair of transfers that sent the same bytes without an excuse.
    pub(crate) fn judge(&self, fetches: &[Fetch], rule: EgressRule) -> Vec<(String, String)> {
        let mut versions: BTreeMap<(&str, u64), Vec<&Fetch>> = BTreeMap::new();
        for fetch in fetches.iter().filter(|fetch| rule == EgressRule::Ranges || fetch.range.is_none()) {
            versions.entry((fetch.key.as_str(), fetch.version)).or_default().push(fetch);
        }
        let mut wrong = Vec::new();
        for ((key, _), fetches) in versions {
            for (index, later) in fetches.iter().enumerate() {
                let twice = fetches[..index].iter().find(|earlier| overlaps(earlier, later) && !self.excuses(earlier, later));
                if let Some(earlier) = twice {
                    let (first, second) = (earlier.sent, later.sent);
                    let text = format!(
                        "bytes {second:?} of write {} left the origin at {}, and {first:?} at {} already",
                        later.write, later.begun, earlier.begun
                    );
                    wrong.push((key.to_owned(), text));
                    break;
                }
            }
        }
        wrong
    }

    /// Whether the bytes of `earlier` may have been lost before `later` began.
    fn excuses(&self, earlier: &Fetch, later: &Fetch) -> bool {
        let until = later.ended.unwrap_or(later.begun).max(later.begun);
        let during = earlier.begun..=until;
        let happened = |ticks: &[u64]| ticks.iter().any(|tick| during.contains(tick));
        let written = |key: &str| {
            let writes = self.history.ops.iter().filter(|op| op.key == key && op.intended.is_some());
            writes.filter(|op| op.begun <= *during.end()).any(|op| op.ended.is_none_or(|ended| ended >= *during.start()))
        };
        earlier.ending == Ending::Broken
            || later.ending == Ending::Broken && later.sent.0 == later.sent.1
            || self.failures.iter().any(|(tick, key)| *key == earlier.key && during.contains(tick))
            || happened(&self.faults)
            || happened(&self.history.life_ends)
            || self.history.is_switched(*during.start(), *during.end())
            || self.changes.iter().any(|change| change.key == earlier.key && during.contains(&change.tick))
            || written(&earlier.key)
    }
}

fn overlaps(one: &Fetch, other: &Fetch) -> bool {
    one.sent.0.max(other.sent.0) < one.sent.1.min(other.sent.1)
}

//! Turns a history into one case per key for the checker, and checks what the rules on the origin say.

use umbra_shadow::PROBE_KEY_PREFIX;

use crate::{
    checker::{Case, Impossible, Item},
    egress::{self, EgressRule},
    history::{History, Intended, Mode, Op, Outcome},
    life::World,
    origin::{Change, Fetch},
    reference::{At, Condition, Effect, Name, Seen, Value},
};

/// What is known of a world once it has ended.
pub(crate) struct Record<'a> {
    world: &'a World,
    history: &'a History,
    changes: Vec<Change>,
    fetches: Vec<Fetch>,
}

/// An operation of a case and where it came from, for the trace.
struct Placed {
    item: Item,
    label: String,
}

/// Everything that is wrong with a world.
pub(crate) fn judge(world: &World, history: &History, egress: EgressRule) -> Vec<(Option<String>, String)> {
    let record = Record { world, history, changes: world.origin.changes(), fetches: world.origin.fetches() };
    let mut wrong: Vec<_> = history.complaints.iter().map(|complaint| (complaint.key.clone(), complaint.text.clone())).collect();
    for key in &world.env.dials.keys {
        wrong.extend(record.judge_key(key).map(|text| (Some(key.clone()), text)));
    }
    wrong.extend(record.judge_origin());
    let excuses = egress::Excuses {
        dials: &world.env.dials,
        history,
        changes: &record.changes,
        faults: world.env.faults(),
        lost_answers: world.env.lost_answers(),
        failures: world.origin.failures(),
    };
    wrong.extend(excuses.judge(&record.fetches, egress).into_iter().map(|(key, text)| (Some(key), text)));
    wrong
}

impl Record<'_> {
    fn judge_key(&self, key: &str) -> Option<String> {
        let (placed, dials) = (self.place(key), &self.world.env.dials);
        let case = Case {
            items: placed.iter().map(|placed| placed.item.clone()).collect(),
            fetches: self.fetched(key),
            life_ends: self.history.life_ends.clone(),
            // Of a small object, where it could not become the object at once: its commit failed, or its tags could not be had.
            keeps_pieces: dials.big
                || dials.is_cut_small()
                || dials.hides_length
                || dials.touched
                || dials.store_faults > 0.0
                || dials.origin_faults > 0.0,
            revalidates: dials.revalidates,
            writes: &self.world.writes,
        };
        match case.check() {
            Ok(()) => None,
            Err(Impossible { item, states }) => {
                let states: Vec<String> = states.iter().map(|state| format!("{state:?}")).collect();
                Some(format!(
                    "no order of events explains: {}\n  the key may have been:\n    {}",
                    placed[item].label,
                    states.join("\n    ")
                ))
            }
        }
    }

    /// What was read from the origin, and when that began.
    fn fetched(&self, key: &str) -> Vec<(u64, Value)> {
        let value = |fetch: &Fetch| self.changes.iter().find(|change| change.tick == fetch.version).and_then(|change| change.now);
        let of_key = self.fetches.iter().filter(|fetch| fetch.key == key);
        of_key.filter_map(|fetch| Some((fetch.begun, value(fetch)?))).collect()
    }

    fn place(&self, key: &str) -> Vec<Placed> {
        let mut placed = Vec::new();
        for change in self.changes.iter().filter(|change| change.key == key) {
            let item = Item { begun: change.tick, ended: change.tick, effect: Effect::Origin(change.now), required: true };
            placed.push(Placed { item, label: format!("the origin's {} at {}", change.doing, change.tick) });
        }
        for switch in self.history.switches.iter().filter(|switch| switch.applied == Some(true)) {
            let Some(mut effect) = switch.effect.clone() else { continue };
            if let Effect::Detach { forced } = &mut effect {
                // A listing shortly before counts: what the owner has put there since is not seen.
                *forced |= self.world.env.dials.owner;
            }
            let item = Item { begun: switch.begun, ended: switch.ended.unwrap_or(u64::MAX), effect, required: true };
            placed.push(Placed { item, label: format!("{} at {}", switch.what, switch.begun) });
        }
        for turn in self.history.turns.iter().filter(|turn| turn.applied == Some(true)) {
            let item = Item { begun: turn.begun, ended: turn.ended.unwrap_or(u64::MAX), effect: Effect::Keep(turn.to), required: true };
            placed.push(Placed { item, label: format!("versions {:?} at {}", turn.to, turn.begun) });
        }
        for op in self.history.ops.iter().filter(|op| op.key == key) {
            if let Some(item) = self.item(op) {
                let Op { who, what, begun, answer, .. } = op;
                placed.push(Placed { item, label: format!("{who} {what}, from {begun} to {}: {answer}", op.ended.unwrap_or(u64::MAX)) });
            }
        }
        placed
    }

    /// What an operation means to its key; `None` for nothing.
    fn item(&self, op: &Op) -> Option<Item> {
        let (begun, ended) = (op.begun, op.ended.unwrap_or(u64::MAX));
        let item = |effect, required| Some(Item { begun, ended, effect, required });
        let owner_interferes =
            self.changes.iter().any(|change| !change.ours && change.key == op.key && (begun..=ended).contains(&change.tick));
        match (&op.outcome, &op.intended) {
            (Outcome::Saw(Seen::Nothing), _) | (Outcome::Cut | Outcome::Failed, None) => None,
            // Two looks at a key whose owner changes it in between need not fit together.
            (Outcome::Saw(_), _) if owner_interferes => None,
            // A page of versions is not one look: it is right for a key that nobody changes meanwhile.
            (Outcome::Saw(Seen::Versions(_)), _) if self.is_changed(op) => None,
            // Until it is here, what a write under way has put at the origin is the null version there.
            (Outcome::Saw(seen), _) if self.is_null_under_way(op, seen) => None,
            (Outcome::Saw(seen), _) => item(Effect::See(seen.clone()), true),
            (Outcome::Done, Some(intended)) => {
                let effect = if owner_interferes { unconditionally(intended) } else { intended.effect() };
                // On a condition, it may have found nothing to delete.
                let is_certain = !owner_interferes || !matches!(intended, Intended::Delete(Condition::Is(_), _));
                item(effect, is_certain)
            }
            (Outcome::Done, None) => None,
            (Outcome::Cut | Outcome::Failed, Some(intended)) => self.unacknowledged(op, intended),
        }
    }

    /// Whether an operation saw a null version as a write that is under way makes it.
    fn is_null_under_way(&self, op: &Op, seen: &Seen) -> bool {
        let (begun, ended) = (op.begun, op.ended.unwrap_or(u64::MAX));
        let is_of = |value: &Value| match seen {
            Seen::Version(Name::Null, At::Object(write)) => value.write == *write,
            Seen::TagsOf(Name::Null, _) | Seen::ContentOf(Name::Null, _) => seen.fits(Some(*value), &self.world.writes),
            _ => false,
        };
        let is_it = |other: &&Op| other.key == op.key && matches!(&other.intended, Some(Intended::Put(value, _)) if is_of(value));
        let mut writes = self.history.ops.iter().filter(is_it);
        writes.any(|other| other.begun <= ended && other.ended.is_none_or(|end| end >= begun))
    }

    /// Whether the key of an operation is changed, or may be, while it is under way.
    fn is_changed(&self, op: &Op) -> bool {
        let (begun, ended) = (op.begun, op.ended.unwrap_or(u64::MAX));
        let is_during = |other: &Op| other.begun <= ended && other.ended.is_none_or(|end| end >= begun);
        let mut writes = self.history.ops.iter().filter(|other| other.key == op.key && other.intended.is_some());
        self.history.is_switched(begun, ended) || self.history.is_turned(begun, ended) || writes.any(is_during)
    }

    /// A write that was not acknowledged: with write-through, what the origin holds decides.
    fn unacknowledged(&self, op: &Op, intended: &Intended) -> Option<Item> {
        let (begun, mut ended) = (op.begun, op.ended.unwrap_or(u64::MAX));
        let is_its_own = |change: &&Change| {
            change.ours
                && change.key == op.key
                && (begun..=ended).contains(&change.tick)
                && match intended {
                    Intended::Put(value, _) => change.doing != "put tags" && change.now.is_some_and(|now| now.write == value.write),
                    Intended::Delete(..) => change.now.is_none(),
                    Intended::Remove(_) | Intended::Hold(..) => false,
                    Intended::PutTags(tags) | Intended::TagVersion(_, tags) => {
                        change.doing == "put tags" && change.now.is_some_and(|now| now.tags == *tags)
                    }
                }
        };
        let applied = self.changes.iter().find(is_its_own);
        let through_only = self.history.modes(begun, ended) == [Mode::Through];
        match (applied, intended) {
            // The origin knows of no versions.
            (_, Intended::Remove(_) | Intended::Hold(..)) => Some(Item { begun, ended, effect: intended.effect(), required: false }),
            // A delete of what the origin does not hold leaves it as if it had been applied.
            (None, Intended::Delete(..)) if through_only && self.lacks(&op.key, begun, ended) => {
                Some(Item { begun, ended, effect: intended.half_done(), required: false })
            }
            // Tags of what the origin does not hold are put here alone.
            (None, Intended::PutTags(_)) if through_only && self.lacks(&op.key, begun, ended) => {
                Some(Item { begun, ended, effect: intended.effect(), required: false })
            }
            // Those of a version that is not the newest always are.
            (None, Intended::TagVersion(..)) => Some(Item { begun, ended, effect: intended.effect(), required: false }),
            (None, _) if through_only => None,
            (Some(change), Intended::PutTags(_) | Intended::TagVersion(..)) => {
                // Tags that only the origin has show once they are repaired, and not before.
                ended = u64::MAX;
                Some(Item { begun: change.tick, ended, effect: intended.effect(), required: false })
            }
            (Some(change), _) => {
                let others =
                    |other: &&Op| matches!(other.intended, Some(Intended::Delete(..))) && other.key == op.key && other.begun != begun;
                let deletes_too = |other: &Op| other.begun <= change.tick && other.ended.is_none_or(|end| end >= change.tick);
                let is_certain = !matches!(intended, Intended::Delete(..)) || !self.history.ops.iter().filter(others).any(deletes_too);
                let required = is_certain && through_only && !self.history.is_switched(begun, ended);
                let begun = if required { change.tick } else { begun };
                Some(Item { begun, ended, effect: intended.half_done(), required })
            }
            (None, _) => Some(Item { begun, ended, effect: unconditionally(intended), required: false }),
        }
    }

    /// Whether the origin did not hold `key` at some moment from `begun` to `ended`.
    fn lacks(&self, key: &str, begun: u64, ended: u64) -> bool {
        let changes = || self.changes.iter().filter(|change| change.key == key);
        let before = changes().rfind(|change| change.tick < begun);
        before.is_none_or(|change| change.now.is_none())
            || changes().any(|change| (begun..=ended).contains(&change.tick) && change.now.is_none())
    }

    /// The origin is written only with write-through, every acknowledged write reached it then, and nothing goes there after a detach.
    fn judge_origin(&self) -> Vec<(Option<String>, String)> {
        let mut wrong = Vec::new();
        for change in self.changes.iter().filter(|change| change.ours) {
            let is_rollback = self.history.rolled_back.is_some_and(|from| change.tick >= from);
            if !is_rollback && !self.history.modes(change.begun, change.tick).contains(&Mode::Through) {
                wrong.push((Some(change.key.clone()), format!("the origin's {} at {} without write-through", change.doing, change.tick)));
            }
        }
        for op in self.history.ops.iter().filter(|op| op.outcome == Outcome::Done) {
            let (Some(Intended::Put(value, _)), Some(ended)) = (&op.intended, op.ended) else { continue };
            // A completion that is repeated tells of what an earlier attempt did, by the shadow there was then.
            let is_it = |other: &&Op| matches!(&other.intended, Some(Intended::Put(of, _)) if of.write == value.write);
            let begun = self.history.ops.iter().filter(is_it).map(|other| other.begun).min().unwrap_or(op.begun);
            let through_only = self.history.modes(begun, ended) == [Mode::Through] && !self.history.is_switched(begun, ended);
            let reached = |change: &Change| change.ours && change.key == op.key && change.now.is_some_and(|now| now.write == value.write);
            if through_only && !self.changes.iter().any(reached) {
                wrong.push((Some(op.key.clone()), format!("{} was acknowledged, and never reached the origin", op.what)));
            }
        }
        wrong.extend(self.judge_detached());
        wrong
    }

    fn judge_detached(&self) -> Vec<(Option<String>, String)> {
        let mut wrong = Vec::new();
        for (index, switch) in self.history.switches.iter().enumerate() {
            let (Mode::Detached, true, Some(from)) = (switch.mode, switch.acknowledged, switch.ended) else { continue };
            let until = self.history.switches.get(index + 1).map_or(u64::MAX, |next| next.begun);
            let during = from + 1..until;
            for (tick, doing, key) in self.world.origin.requests() {
                if during.contains(&tick) && !key.starts_with(PROBE_KEY_PREFIX) {
                    wrong.push((Some(key), format!("{doing} at {tick}: a request to the origin although it was detached at {from}")));
                }
            }
            for change in self.changes.iter().filter(|change| change.ours && during.contains(&change.tick)) {
                let text = format!("the origin's {} at {}, although it was detached at {from}", change.doing, change.tick);
                wrong.push((Some(change.key.clone()), text));
            }
        }
        wrong
    }

    /// What happened to a key, or to all of them, line by line.
    fn lines(&self, key: Option<&str>) -> Vec<(u64, String)> {
        let wanted = |of: &str| key.is_none_or(|key| key == of);
        let mut lines = Vec::new();
        for op in self.history.ops.iter().filter(|op| wanted(&op.key)) {
            lines.push((op.begun, format!("{} begins {} {}", op.who, op.key, op.what)));
            lines.push((
                op.ended.unwrap_or(u64::MAX),
                format!("{} ended {} {} (from {}): {}", op.who, op.key, op.what, op.begun, op.answer),
            ));
        }
        for switch in &self.history.switches {
            lines.push((switch.begun, format!("begins {}", switch.what)));
            lines.push((
                switch.ended.unwrap_or(u64::MAX),
                format!("ended {} (from {}): applied {:?}", switch.what, switch.begun, switch.applied),
            ));
        }
        for turn in &self.history.turns {
            lines.push((turn.begun, format!("begins VERSIONS {:?}", turn.to)));
            lines.push((
                turn.ended.unwrap_or(u64::MAX),
                format!("ended VERSIONS {:?} (from {}): applied {:?}", turn.to, turn.begun, turn.applied),
            ));
        }
        for change in self.changes.iter().filter(|change| wanted(&change.key)) {
            let who = if change.ours { "we" } else { "the owner" };
            lines.push((change.tick, format!("ORIGIN {} {} by {who}: holds {:?}", change.key, change.doing, change.now)));
        }
        for fetch in self.fetches.iter().filter(|fetch| wanted(&fetch.key)) {
            let what = format!("{} {:?} of write {}", fetch.key, fetch.range, fetch.write);
            lines.push((fetch.begun, format!("ORIGIN sends {what}")));
            let ended = format!("ORIGIN sent {what} (from {}): bytes {:?}, {:?}", fetch.begun, fetch.sent, fetch.ending);
            lines.extend(fetch.ended.map(|tick| (tick, ended)));
        }
        let other = |doing: &str| doing != "get" && doing != "list";
        let requests = self.world.origin.requests();
        let requests = requests.into_iter().filter(|(_, doing, of)| wanted(of) && other(doing));
        lines.extend(requests.map(|(tick, doing, of)| (tick, format!("ORIGIN is asked: {doing} {of}"))));
        lines.extend(self.history.life_ends.iter().map(|tick| (*tick, "---- our side ends ----".to_owned())));
        lines.sort();
        lines
    }
}

/// What happened to `key`, or to every key.
pub(crate) fn trace(world: &World, history: &History, key: Option<&str>) -> String {
    let record = Record { world, history, changes: world.origin.changes(), fetches: world.origin.fetches() };
    record.lines(key).into_iter().map(|(tick, line)| format!("{tick:>6}  {line}\n")).collect()
}

fn unconditionally(intended: &Intended) -> Effect {
    match intended {
        Intended::Put(value, _) => Effect::Put(*value, Condition::None),
        Intended::Delete(_, marker) => Effect::Delete(Condition::None, *marker),
        Intended::Remove(_) | Intended::PutTags(_) | Intended::TagVersion(..) | Intended::Hold(..) => intended.effect(),
    }
}

//! What the actors asked and were answered, in the order of everything that happened.

use crate::reference::{Condition, Effect, HalfDone, Keeps, Name, Seen, Value};

/// How the bucket relates to its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It has none.
    Detached,
    /// Writes stay here.
    Here,
    /// Writes go through.
    Through,
}

/// A write of one key, as its client meant it.
#[derive(Clone, Debug)]
pub(crate) enum Intended {
    Put(Value, Condition),
    /// With what names the delete marker it makes.
    Delete(Condition, u32),
    /// A version is deleted for good.
    Remove(Name),
    PutTags(u32),
    /// The tags of a version are replaced.
    TagVersion(Name, u32),
    /// A legal hold of a version begins or ends.
    Hold(Name, bool),
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No answer: the client left, or our side crashed.
    Cut,
    /// A write was acknowledged.
    Done,
    /// A write failed in a way that does not tell anything of the key.
    Failed,
    /// The answer tells something of the key; a write was not applied.
    Saw(Seen),
}

/// One operation on one key.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) who: String,
    pub(crate) key: String,
    pub(crate) what: String,
    pub(crate) begun: u64,
    /// When it was answered; the end of the life if it never was.
    pub(crate) ended: Option<u64>,
    pub(crate) intended: Option<Intended>,
    pub(crate) outcome: Outcome,
    pub(crate) answer: String,
}

/// A change of the bucket's shadow.
#[derive(Clone, Debug)]
pub(crate) struct Switch {
    pub(crate) what: String,
    pub(crate) begun: u64,
    pub(crate) ended: Option<u64>,
    pub(crate) mode: Mode,
    /// What it does to every key.
    pub(crate) effect: Option<Effect>,
    /// Whether it came to pass; not known until looked at after a failure.
    pub(crate) applied: Option<bool>,
    /// Whether it was acknowledged.
    pub(crate) acknowledged: bool,
}

/// A change of whether the bucket keeps versions.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) to: Keeps,
    pub(crate) begun: u64,
    pub(crate) ended: Option<u64>,
    /// Whether it came to pass; not known until looked at after a failure.
    pub(crate) applied: Option<bool>,
}

/// Something that must not be.
#[derive(Clone, Debug)]
pub(crate) struct Complaint {
    pub(crate) key: Option<String>,
    pub(crate) text: String,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) ops: Vec<Op>,
    pub(crate) switches: Vec<Switch>,
    pub(crate) turns: Vec<Turn>,
    /// When each life ended.
    pub(crate) life_ends: Vec<u64>,
    pub(crate) complaints: Vec<Complaint>,
    pub(crate) crashes: usize,
    /// When everything began to be copied back to the origin.
    pub(crate) rolled_back: Option<u64>,
}

impl History {
    /// Ends a life at `tick`: what was not answered never will be.
    pub(crate) fn end_life(&mut self, tick: u64) {
        self.life_ends.push(tick);
        for op in self.ops.iter_mut().filter(|op| op.ended.is_none()) {
            op.ended = Some(tick);
        }
        for switch in self.switches.iter_mut().filter(|switch| switch.ended.is_none()) {
            switch.ended = Some(tick);
        }
        for turn in self.turns.iter_mut().filter(|turn| turn.ended.is_none()) {
            turn.ended = Some(tick);
        }
    }

    pub(crate) fn complain(&mut self, key: Option<&str>, text: impl Into<String>) {
        self.complaints.push(Complaint { key: key.map(str::to_owned), text: text.into() });
    }

    /// The mode that is in force for certain, if any is.
    pub(crate) fn mode(&self) -> Option<Mode> {
        match self.switches.last() {
            Some(last) if last.ended.is_none() => None,
            _ => self.switches.iter().rev().find(|switch| switch.applied == Some(true)).map(|switch| switch.mode),
        }
    }

    /// The modes that may have been in force at some moment from `begun` to `ended`.
    pub(crate) fn modes(&self, begun: u64, ended: u64) -> Vec<Mode> {
        let mut modes = Vec::new();
        for switch in self.switches.iter().filter(|switch| switch.applied != Some(false)) {
            let done = switch.ended.unwrap_or(u64::MAX);
            if done < begun {
                modes.clear();
            }
            if switch.begun <= ended {
                modes.push(switch.mode);
            }
        }
        modes
    }

    /// Whether the bucket keeps versions, or began to, between `begun` and `ended`.
    pub(crate) fn is_turned(&self, begun: u64, ended: u64) -> bool {
        self.turns.iter().any(|turn| turn.begun <= ended && turn.ended.is_none_or(|done| done >= begun))
    }

    /// Whether the shadow may have been changed between `begun` and `ended`.
    pub(crate) fn is_switched(&self, begun: u64, ended: u64) -> bool {
        self.switches.iter().any(|switch| switch.begun <= ended && switch.ended.is_none_or(|done| done >= begun))
    }
}

impl Intended {
    /// The effect here of a write that was applied.
    pub(crate) fn effect(&self) -> Effect {
        match self {
            Self::Put(value, condition) => Effect::Put(*value, condition.clone()),
            Self::Delete(condition, marker) => Effect::Delete(condition.clone(), *marker),
            Self::Remove(name) => Effect::Remove(*name),
            Self::PutTags(tags) => Effect::PutTags(*tags),
            Self::TagVersion(name, tags) => Effect::TagVersion(*name, *tags),
            Self::Hold(name, held) => Effect::Hold(*name, *held),
        }
    }

    /// The effect of a write that only the origin applied.
    pub(crate) fn half_done(&self) -> Effect {
        match self {
            Self::Put(value, _) => Effect::HalfDone(HalfDone::Put(*value)),
            Self::Delete(_, marker) => Effect::HalfDone(HalfDone::Delete(*marker)),
            Self::Remove(_) | Self::PutTags(_) | Self::TagVersion(..) | Self::Hold(..) => self.effect(),
        }
    }
}

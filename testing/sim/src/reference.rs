//! The reference model: what a bucket with an origin is, of one key, as plain values.
//!
//! A key holds something here, or nothing, or is gone; the origin holds something, or nothing. While a shadow is attached, a key that holds
//! nothing here shows what the origin holds. Everything else is said by [`State::after`]: which state an operation leads to, and in which
//! states an answer is right.

use umbra_core::ETag;

use crate::writes::{TagsId, WriteId, Writes, md5};

/// What a key holds: which write put it there, and its tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Value {
    pub(crate) write: WriteId,
    pub(crate) tags: TagsId,
}

/// What is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Local {
    Nothing,
    Object(Value),
    /// A tombstone hides what the origin holds.
    Gone,
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct State {
    pub(crate) local: Local,
    /// What was here before a write that only the origin has, until it is repaired: a forced detach gives the repair up.
    pub(crate) under: Option<Local>,
    pub(crate) origin: Option<Value>,
    /// Since when a shadow is attached.
    pub(crate) attached: Option<u64>,
}

/// What a conditional write asks of the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Condition {
    #[default]
    None,
    /// It holds nothing.
    Absent,
    /// It holds this.
    Is(ETag),
}

/// What a client was told of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing that can be judged.
    Nothing,
    Object(WriteId),
    Absent,
    /// There is something.
    Present,
    /// There is something with this ETag and size.
    Listed(ETag, u64),
    /// There is something with another ETag.
    Not(ETag),
    /// There is something with this ETag.
    Is(ETag),
    Tags(TagsId),
    /// There is something whose content has this MD5, written as an ETag: a copy was made of it.
    Content(ETag),
}

/// What happens to a key.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    See(Seen),
    Put(Value, Condition),
    Delete(Condition),
    /// The origin applied a write that we did not: it shows until a forced detach gives it up.
    HalfDone(Local),
    PutTags(TagsId),
    /// The origin holds this from now on.
    Origin(Option<Value>),
    Attach(u64),
    Detach {
        forced: bool,
    },
}

impl State {
    /// What a reader sees.
    pub(crate) const fn visible(&self) -> Option<Value> {
        match self.local {
            Local::Object(value) => Some(value),
            Local::Gone => None,
            Local::Nothing if self.attached.is_some() => self.origin,
            Local::Nothing => None,
        }
    }

    /// The state after `effect`; `None` when it cannot happen, or the answer would be wrong, in this one.
    pub(crate) fn after(&self, effect: &Effect, writes: &Writes) -> Option<Self> {
        let here = |local| Self { local, under: None, ..*self };
        match effect {
            Effect::See(seen) => seen.fits(self.visible(), writes).then_some(*self),
            Effect::Put(value, condition) => condition.holds(self.visible(), writes).then(|| here(Local::Object(*value))),
            // What is absent is deleted already, whatever the conditions.
            Effect::Delete(Condition::Is(_)) if self.visible().is_none() => Some(*self),
            Effect::Delete(condition) => {
                let gone = if self.attached.is_some() { Local::Gone } else { Local::Nothing };
                condition.holds(self.visible(), writes).then(|| here(gone))
            }
            Effect::HalfDone(local) => Some(Self { local: *local, under: Some(self.under.unwrap_or(self.local)), ..*self }),
            Effect::PutTags(tags) => {
                let value = self.visible()?;
                Some(Self { local: Local::Object(Value { tags: *tags, ..value }), ..*self })
            }
            Effect::Origin(origin) => Some(Self { origin: *origin, ..*self }),
            Effect::Attach(tick) if self.attached.is_none() => {
                // A tombstone belongs to its generation.
                let local = if self.local == Local::Gone { Local::Nothing } else { self.local };
                Some(Self { local, attached: Some(*tick), ..*self })
            }
            Effect::Detach { forced } => {
                let is_cold = self.local == Local::Nothing && self.origin.is_some();
                let local = self.under.unwrap_or(self.local);
                let allowed = *forced || (!is_cold && self.under.is_none());
                allowed.then_some(Self { local, under: None, attached: None, ..*self })
            }
            Effect::Attach(_) => None,
        }
    }

    /// The state once `value`, being read from the origin, has been brought here.
    pub(crate) fn hydrated(&self, value: Value) -> Option<Self> {
        (self.local == Local::Nothing && self.attached.is_some()).then_some(Self { local: Local::Object(value), ..*self })
    }

    /// The state once a half-done write has been repaired.
    pub(crate) fn repaired(&self) -> Option<Self> {
        self.under.map(|_| Self { under: None, ..*self })
    }
}

impl Condition {
    fn holds(&self, visible: Option<Value>, writes: &Writes) -> bool {
        match self {
            Self::None => true,
            Self::Absent => visible.is_none(),
            Self::Is(etag) => Seen::Is(etag.clone()).fits(visible, writes),
        }
    }
}

impl Seen {
    pub(crate) fn fits(&self, visible: Option<Value>, writes: &Writes) -> bool {
        let Some(value) = visible else { return matches!(self, Self::Nothing | Self::Absent) };
        let written = || writes.get(value.write);
        // The ETag of a copy that was never looked at is not known.
        let etag_is = |wanted: &ETag, otherwise| written().and_then(|written| written.etag).map_or(otherwise, |etag| etag == *wanted);
        match self {
            Self::Nothing | Self::Present => true,
            Self::Absent => false,
            Self::Object(write) => value.write == *write,
            Self::Tags(tags) => value.tags == *tags,
            Self::Listed(etag, size) => {
                etag_is(etag, true) && written().and_then(|written| written.content).is_none_or(|content| content.len() as u64 == *size)
            }
            Self::Is(etag) => etag_is(etag, true),
            Self::Not(etag) => !etag_is(etag, false),
            Self::Content(etag) => {
                let content = written().and_then(|written| written.content);
                content.is_none_or(|content| ETag::from_md5(md5(&content)) == *etag)
            }
        }
    }
}

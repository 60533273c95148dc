//! The reference model: what a bucket with an origin is, of one key, as plain values.
//!
//! A key holds versions here, of which the newest is what its readers see, or nothing, or is gone; the origin holds something, or nothing. A
//! bucket without versioning keeps one version. While a shadow is attached, a key that holds nothing here shows what the origin holds.
//! Everything else is said by [`State::after`]: which state an operation leads to, and in which states an answer is right.

use umbra_core::{ETag, VersionId};

use crate::writes::{TagsId, WriteId, Writes, md5};

/// What a key holds: which write put it there, and its tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Value {
    pub(crate) write: WriteId,
    pub(crate) tags: TagsId,
}

/// Which version of a key: the null version, or what made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    Null,
    Write(WriteId),
    /// A delete, which made a delete marker.
    Marker(u32),
}

/// A version; a delete marker holds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) name: Name,
    pub(crate) value: Option<Value>,
    /// Whether a legal hold keeps it.
    pub(crate) held: bool,
}

/// Whether a bucket keeps versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Keeps {
    #[default]
    One,
    All,
    /// Those it has, and one null version.
    Suspended,
}

/// A write that the origin alone has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HalfDone {
    Put(Value),
    Delete(u32),
}

/// One key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct State {
    /// What is here, the newest first.
    pub(crate) versions: Vec<Version>,
    /// Whether a tombstone hides what the origin holds.
    pub(crate) gone: bool,
    /// What shows until it is repaired, or given up by a forced detach.
    pub(crate) half_done: Option<HalfDone>,
    pub(crate) origin: Option<Value>,
    /// Since when a shadow is attached.
    pub(crate) attached: Option<u64>,
    pub(crate) keeps: Keeps,
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
    /// What a version is.
    Version(Name, At),
    /// The tags of a version.
    TagsOf(Name, TagsId),
    /// The content of a version, like [`Seen::Content`].
    ContentOf(Name, ETag),
    /// A version is under a legal hold.
    Held(Name),
    /// A version is the newest.
    Newest(Name),
    Versions(Listed),
}

/// What is found where a version was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Nothing,
    Marker,
    Object(WriteId),
}

/// A version on a page, with its ETag and size, of which a delete marker has none.
type ListedVersion = (VersionId, Option<(ETag, u64)>);

/// What one page lists of the versions of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Where the page before ended, if within the key.
    pub(crate) behind: Option<VersionId>,
    /// The newest first.
    pub(crate) versions: Vec<ListedVersion>,
    /// Whether the first of them, and no other, is listed as the latest.
    pub(crate) has_latest: bool,
    /// Whether there is nothing behind them.
    pub(crate) is_end: bool,
}

/// What happens to a key.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    See(Seen),
    Put(Value, Condition),
    /// With the delete marker that it makes, where there are versions.
    Delete(Condition, u32),
    /// A version is deleted for good.
    Remove(Name),
    /// The origin applied a write that we did not.
    HalfDone(HalfDone),
    PutTags(TagsId),
    /// The tags of a version are replaced.
    TagVersion(Name, TagsId),
    /// A legal hold of a version begins or ends.
    Hold(Name, bool),
    /// The origin holds this from now on.
    Origin(Option<Value>),
    Attach(u64),
    Detach {
        forced: bool,
    },
    /// The bucket keeps versions from now on, or no more.
    Keep(Keeps),
}

impl State {
    /// Whether the key lives only at the origin, if anywhere.
    pub(crate) const fn is_cold(&self) -> bool {
        self.versions.is_empty() && !self.gone && self.attached.is_some()
    }

    fn here(&self) -> Option<Value> {
        self.versions.first()?.value
    }

    /// What a reader sees.
    pub(crate) fn visible(&self) -> Option<Value> {
        match self.half_done {
            Some(HalfDone::Put(value)) => Some(value),
            Some(HalfDone::Delete(_)) => None,
            None if self.is_cold() => self.origin,
            None => self.here(),
        }
    }

    /// What is found at `name`: of a key that has no version here, and in a bucket that keeps none, the null version is what shows.
    fn at(&self, name: Name) -> At {
        match self.versions.iter().find(|version| version.name == name) {
            Some(Version { value: None, .. }) => At::Marker,
            _ => self.value_at(name).map_or(At::Nothing, |value| At::Object(value.write)),
        }
    }

    fn value_at(&self, name: Name) -> Option<Value> {
        let is_what_shows = self.keeps == Keeps::One && name == Name::Null;
        match self.versions.iter().find(|version| version.name == name) {
            Some(version) if !is_what_shows => version.value,
            _ => self.visible().filter(|_| is_what_shows || name == Name::Null && self.is_cold()),
        }
    }

    fn is_held(&self, name: Name) -> bool {
        self.versions.iter().any(|version| version.name == name && version.held)
    }

    fn is_marked(&self) -> bool {
        self.half_done.is_none() && self.versions.first().is_some_and(|newest| newest.value.is_none())
    }

    /// Whether the origin, by which a key is read that has nothing here, has lost what was left half done. A delete of it is under way then, whose
    /// delete marker is not here yet.
    fn is_emptied(&self) -> bool {
        let is_put = matches!(self.half_done, Some(HalfDone::Put(_)));
        self.keeps != Keeps::One && self.is_cold() && is_put && self.origin.is_none()
    }

    /// Whether `seen` is right.
    pub(crate) fn shows(&self, seen: &Seen, writes: &Writes) -> bool {
        match seen {
            Seen::Version(Name::Null, At::Nothing) if self.is_emptied() => true,
            Seen::Version(name, at) => self.at(*name) == *at,
            Seen::TagsOf(name, tags) => self.value_at(*name).is_some_and(|value| value.tags == *tags),
            Seen::ContentOf(name, etag) => Seen::Content(etag.clone()).fits(self.value_at(*name), writes),
            Seen::Held(name) => self.is_held(*name),
            Seen::Newest(name) => {
                self.versions.first().map_or(self.is_cold().then_some(Name::Null), |newest| Some(newest.name)) == Some(*name)
            }
            Seen::Versions(listed) => listed.fits(self, writes),
            // A delete marker is something, and has no ETag.
            Seen::Not(_) if self.is_marked() => true,
            seen => seen.fits(self.visible(), writes),
        }
    }

    /// The state after `effect`; `None` when it cannot happen, or the answer would be wrong, in this one.
    pub(crate) fn after(&self, effect: &Effect, writes: &Writes) -> Option<Self> {
        let next = self.clone();
        match effect {
            Effect::See(seen) => self.shows(seen, writes).then_some(next),
            // One that is repeated: what an earlier attempt has brought here is it.
            Effect::Put(value, _) if self.half_done.is_none() && self.here().is_some_and(|here| here.write == value.write) => Some(next),
            Effect::Put(value, condition) => condition.holds(self.visible(), writes).then(|| next.with(Some(*value), 0)),
            // What is absent is deleted already, whatever the conditions.
            Effect::Delete(Condition::Is(_), _) if self.visible().is_none() => (!self.is_marked()).then_some(next),
            Effect::Delete(condition, marker) => condition.holds(self.visible(), writes).then(|| next.with(None, *marker)),
            Effect::Remove(name) => (!self.is_held(*name)).then(|| next.without(*name)),
            Effect::HalfDone(write) => Some(Self { half_done: Some(*write), ..next }),
            Effect::PutTags(tags) => next.tagged(*tags),
            Effect::TagVersion(name, tags) => next.tagged_at(*name, *tags),
            Effect::Hold(name, held) => next.kept(*name, *held),
            Effect::Origin(origin) => Some(Self { origin: *origin, ..next }),
            // A tombstone belongs to its generation.
            Effect::Attach(tick) => self.attached.is_none().then_some(Self { gone: false, attached: Some(*tick), ..next }),
            Effect::Detach { forced } => {
                let is_alone = self.half_done.is_none() && !(self.is_cold() && self.origin.is_some());
                (*forced || is_alone).then_some(Self { gone: false, half_done: None, attached: None, ..next })
            }
            // What is half done would become another version by then than the one it shows as.
            Effect::Keep(keeps) => (self.keeps != Keeps::One || self.half_done.is_none()).then_some(Self { keeps: *keeps, ..next }),
        }
    }

    /// With a new version on top, which is a delete marker without a value.
    fn with(mut self, value: Option<Value>, marker: u32) -> Self {
        let name = match (self.keeps, value) {
            (Keeps::All, Some(value)) => Name::Write(value.write),
            (Keeps::All, None) => Name::Marker(marker),
            (Keeps::One | Keeps::Suspended, _) => Name::Null,
        };
        self.versions.retain(|version| version.name != name);
        if value.is_some() || self.keeps != Keeps::One {
            self.versions.insert(0, Version { name, value, held: false });
        }
        self.half_done = None;
        self.gone = self.versions.is_empty() && self.attached.is_some();
        self
    }

    /// Without a version. What is half done is none yet, unless it is the origin's object.
    fn without(mut self, name: Name) -> Self {
        if name == Name::Null && self.is_cold() {
            return Self { gone: true, half_done: None, ..self };
        }
        let before = self.versions.len();
        self.versions.retain(|version| version.name != name);
        self.gone |= self.versions.is_empty() && before > 0 && self.attached.is_some();
        self
    }

    fn tagged(mut self, tags: TagsId) -> Option<Self> {
        let value = Value { tags, ..self.visible()? };
        match self.half_done {
            Some(_) => self.half_done = Some(HalfDone::Put(value)),
            None if self.is_cold() => self.versions = vec![Version::null(value)],
            None => self.versions.first_mut()?.value = Some(value),
        }
        Some(self)
    }

    fn tagged_at(mut self, name: Name, tags: TagsId) -> Option<Self> {
        if name == Name::Null && (self.is_cold() || self.keeps == Keeps::One) {
            return self.tagged(tags);
        }
        let version = self.versions.iter_mut().find(|version| version.name == name)?;
        version.value = Some(Value { tags, ..version.value? });
        Some(self)
    }

    fn kept(mut self, name: Name, held: bool) -> Option<Self> {
        let version = self.versions.iter_mut().find(|version| version.name == name && version.value.is_some())?;
        version.held = held;
        Some(self)
    }

    /// The state once `value`, being read from the origin, has been brought here.
    pub(crate) fn hydrated(&self, value: Value) -> Option<Self> {
        let is_cold = self.is_cold() && self.half_done.is_none();
        is_cold.then(|| Self { versions: vec![Version::null(value)], ..self.clone() })
    }

    /// The state once there is no copy here any more.
    pub(crate) fn cold(&self) -> Self {
        Self { versions: Vec::new(), gone: false, ..self.clone() }
    }

    /// The states that a half-done write may be repaired to: a delete of what is not here leaves a delete marker or not.
    pub(crate) fn repaired(&self) -> [Option<Self>; 2] {
        let whole = Self { half_done: None, ..self.clone() };
        match self.half_done {
            None => [None, None],
            Some(HalfDone::Put(value)) => [Some(whole.with(Some(value), 0)), None],
            Some(HalfDone::Delete(marker)) => {
                let is_here = self.here().is_some();
                let gone = Self { gone: self.versions.is_empty(), ..whole.clone() };
                [Some(whole.with(None, marker)), (!is_here).then_some(gone)]
            }
        }
    }
}

impl Listed {
    fn fits(&self, state: &State, writes: &Writes) -> bool {
        let shown = || state.visible().map(Version::null);
        let is_what_shows = state.keeps == Keeps::One || state.versions.is_empty();
        let all = if is_what_shows { Vec::from_iter(shown()) } else { state.versions.clone() };
        let fits = |(version, (id, object)): (&Version, &ListedVersion)| {
            let seen = object.as_ref().map_or(Seen::Absent, |(etag, size)| Seen::Listed(etag.clone(), *size));
            version.is(id, writes) && seen.fits(version.value, writes)
        };
        let listed = &self.versions;
        let follows = |from: usize| {
            let all = &all[from..];
            let is_all = if self.is_end { all.len() == listed.len() } else { all.len() >= listed.len() };
            is_all && all.iter().zip(listed).all(fits)
        };
        let Some(behind) = &self.behind else { return follows(0) && self.has_latest != listed.is_empty() };
        let mut places = all.iter().enumerate().filter(|(_, version)| version.is(behind, writes)).map(|(at, _)| at + 1).peekable();
        // One that is gone, of which nobody knows where it was, may have been anywhere.
        places.peek().is_none() || !self.has_latest && places.any(follows)
    }
}

impl Version {
    const fn null(value: Value) -> Self {
        Self { name: Name::Null, value: Some(value), held: false }
    }

    /// Whether it may be the one called `id`: nobody knows what that is which nobody was told of, or read.
    fn is(&self, id: &VersionId, writes: &Writes) -> bool {
        match (id, self.name) {
            (VersionId::Null, name) => name == Name::Null,
            (_, Name::Null) => false,
            (id, name) => writes.version(*id).is_none_or(|known| known == name),
        }
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
            Self::Version(name, at) => *name == Name::Null && *at == At::Object(value.write),
            Self::TagsOf(name, tags) => *name == Name::Null && value.tags == *tags,
            Self::ContentOf(name, etag) => *name == Name::Null && Self::Content(etag.clone()).fits(visible, writes),
            Self::Held(_) | Self::Newest(_) | Self::Versions(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{At, Condition, Effect, HalfDone, Keeps, Name, Seen, State, Value, Version};
    use crate::writes::Writes;

    #[test]
    fn a_delete_under_way_leaves_no_null_version_before_its_marker() {
        let (writes, value, nothing) = (Writes::default(), Value { write: 1, tags: 0 }, Seen::Version(Name::Null, At::Nothing));
        let half_done = Some(HalfDone::Put(value));
        let left = State { half_done, origin: Some(value), attached: Some(1), keeps: Keeps::Suspended, ..State::default() };
        assert!(left.shows(&Seen::Version(Name::Null, At::Object(1)), &writes) && !left.shows(&nothing, &writes));

        let emptied = left.after(&Effect::Origin(None), &writes).unwrap();
        assert!(emptied.shows(&nothing, &writes), "neither side has it any more, and there is no marker yet");
        assert!(!emptied.shows(&Seen::Version(Name::Null, At::Marker), &writes));
        let here = State { versions: vec![Version::null(value)], ..emptied.clone() };
        assert!(!here.shows(&nothing, &writes), "a null version that is here does not go with the origin's object");

        let deleted = emptied.after(&Effect::Delete(Condition::None, 2), &writes).unwrap();
        assert_eq!(deleted.versions.iter().map(|version| (version.name, version.value)).collect::<Vec<_>>(), [(Name::Null, None)]);
        assert!(!deleted.shows(&nothing, &writes) && deleted.shows(&Seen::Version(Name::Null, At::Marker), &writes));
    }
}

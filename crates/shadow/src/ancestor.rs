//! What the origin is known to have held of a key: what a rollback may replace there.
//!
//! An object that was copied in says so itself, by its ETag and date. For a key that was written or deleted here a row `k/` does. While
//! writes stay here the first one of a key puts it, with what was known of the origin's object by then, and those that follow leave it as it
//! is. What goes to the origin, by write-through or a copy back, puts one that tells what is there from then on.
//!
//! Nothing is asked of the origin for it. Of a cold key only what the inventory or a condition told is known; where it told nothing, the
//! origin's object counts as what was overwritten here if it is certainly older.

use bytes::Bytes;
use minicbor::{CborLen, Decode, Encode};
use umbra_core::{ETag, ObjectInfo, ObjectKey, Result, Tags, Timestamp};
use umbra_meta::{Entry, Write, key};
use umbra_store::{Bucket, ObjectRecord, Stored};

use crate::{
    Shadow,
    difference::CLOCK_SKEW,
    intent::mark_of_tags,
    inventory::Cold,
    record::{Tombstone, decode, encode},
    shadow::scope_of,
    view::View,
};

/// What the origin is known to have held of a key. Row `k/<key>`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub(crate) struct Ancestor {
    /// The generation it belongs to.
    #[n(0)]
    pub(crate) generation: u64,
    /// Since when the two sides may differ, in milliseconds since 1970.
    #[n(1)]
    pub(crate) at: i64,
    /// How much is known.
    #[n(2)]
    known: Known,
    /// The ETag of the origin's object.
    #[n(3)]
    etag: Option<String>,
    /// When the origin's object was written, by its own clock, in milliseconds since 1970.
    #[n(4)]
    last_modified: Option<i64>,
    /// The mark of its tags ([`mark_of_tags`]).
    #[n(5)]
    tags: Option<String>,
}

/// How much is known of what the origin held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
#[cbor(index_only)]
enum Known {
    /// The key was cold, or whatever it was: the object, if told, is a hint.
    #[n(0)]
    Hint,
    /// It held this object.
    #[n(1)]
    Object,
    /// It did not have the key.
    #[n(2)]
    Absence,
}

impl Ancestor {
    fn new(generation: u64, at: Timestamp, known: Known) -> Self {
        Self { generation, at: at.as_millis(), known, etag: None, last_modified: None, tags: None }
    }

    /// Of an object that was copied in: the original.
    fn of_copy(generation: u64, now: Timestamp, object: &ObjectRecord) -> Self {
        Self {
            last_modified: Some(object.last_modified.as_millis()),
            ..Self::of_written(generation, now, &object.etag, Some(&object.tags))
        }
    }

    /// Of what was just written to the origin.
    fn of_written(generation: u64, now: Timestamp, etag: &ETag, tags: Option<&Tags>) -> Self {
        let (etag, tags) = (Some(etag.as_str().to_owned()), tags.map(mark_of_tags));
        Self { etag, tags, ..Self::new(generation, now, Known::Object) }
    }

    /// Of what was just deleted at the origin.
    fn of_absence(generation: u64, now: Timestamp) -> Self {
        Self::new(generation, now, Known::Absence)
    }

    /// Of a cold key that is written or deleted now: what a condition was judged against, or what was listed.
    fn of_cold(generation: u64, now: Timestamp, told: Option<&ETag>, listed: Option<Cold>) -> Self {
        let hint = Self::new(generation, now, Known::Hint);
        match (told, listed) {
            (Some(etag), _) => Self { etag: Some(etag.as_str().to_owned()), ..hint },
            (None, Some(cold)) => Self { etag: Some(cold.etag), last_modified: Some(cold.last_modified), ..hint },
            (None, None) => hint,
        }
    }

    /// The same after the tags of the origin's object were replaced.
    fn retagged(self, tags: &Tags) -> Self {
        // Some origins date an object anew by that.
        Self { tags: Some(mark_of_tags(tags)), last_modified: None, ..self }
    }

    pub(crate) fn decode(entry: &Entry) -> Result<Self> {
        decode("ancestor", &entry.body)
    }

    /// The write that keeps it.
    pub(crate) fn row(&self, key: &ObjectKey) -> Write {
        Write::Put { key: key::ancestor(key), head: Bytes::new(), body: encode(self).into() }
    }

    /// Why what the origin holds must not be replaced by what is here, if so: somebody else put it there, or took it away.
    ///
    /// What is absent there can be put without anything being lost, unless it is the very object that was put there before.
    pub(crate) fn forbids(&self, local: Option<&ObjectRecord>, there: Option<&ObjectInfo>, tags: Option<&Tags>) -> Option<&'static str> {
        let Some(there) = there else {
            let was_there = self.known == Known::Object && local.is_some_and(|local| self.etag.as_deref() == Some(local.etag.as_str()));
            return was_there.then_some("deleted at the origin by somebody else since it was put there");
        };
        match self.known {
            Known::Absence => Some("put at the origin by somebody else since it was deleted there"),
            Known::Object if self.is(there, tags) => None,
            Known::Object => Some("changed at the origin by somebody else since it was last the same here"),
            Known::Hint if self.etag.is_some() && self.is(there, tags) => None,
            Known::Hint if self.is_later_than(there) => None,
            Known::Hint => Some("nobody knows whether the origin's object is from before or after it was written or deleted here"),
        }
    }

    fn is(&self, there: &ObjectInfo, tags: Option<&Tags>) -> bool {
        let is_dated = |at: i64| Timestamp::from_millis(at).as_secs() == there.last_modified.as_secs();
        let has_tags = |mark: &String| tags.is_none_or(|tags| mark_of_tags(tags) == *mark);
        self.etag.as_deref() == Some(there.etag.as_str())
            && self.last_modified.is_none_or(is_dated)
            && self.tags.as_ref().is_none_or(has_tags)
    }

    /// Whether it is certain, however the clocks differ within reason. An object without a date may be of any time.
    fn is_later_than(&self, there: &ObjectInfo) -> bool {
        there.last_modified != Timestamp::default() && there.last_modified.plus(CLOCK_SKEW) < Timestamp::from_millis(self.at)
    }
}

impl Shadow {
    /// What is to be kept of a key that is about to be written or deleted here alone, unless it is kept already. `told` is the ETag of the cold
    /// object, where a condition was judged against it. The caller holds the key's lock.
    pub(crate) async fn ancestor_before_write(&self, bucket: &Bucket, key: &ObjectKey, told: Option<&ETag>) -> Result<Option<Write>> {
        let keys = [key::object(key), key::tombstone(key), key::inventory(key), key::ancestor(key)];
        let mut rows = self.native().meta().multi_get(bucket.partition, &keys.each_ref().map(Vec::as_slice)).await?.into_iter();
        let mut next = || rows.next().flatten();
        let (object, tombstone, inventory, kept) = (next(), next(), next(), next());
        let (generation, now) = (bucket.settings.generation, self.native().clock().now());
        let kept = kept.as_ref().map(Ancestor::decode).transpose()?.is_some_and(|kept| kept.generation == generation);
        let tombstone: Option<Tombstone> = tombstone.map(|entry| decode("tombstone", &entry.body)).transpose()?;
        let gone = tombstone.filter(|tombstone| tombstone.generation == generation);
        let ancestor = match object.as_ref().map(Stored::decode).transpose()?.map(|stored| stored.object) {
            Some(copy) if copy.hydrated.is_some() => Ancestor::of_copy(generation, now, &copy),
            Some(_) if kept => return Ok(None),
            None if kept && gone.is_some() => return Ok(None),
            // From before the shadow was attached, or of a program that kept nothing.
            Some(object) => Ancestor::new(generation, object.last_modified, Known::Hint),
            None => match gone {
                Some(gone) => Ancestor::new(generation, Timestamp::from_millis(gone.at), Known::Hint),
                None => {
                    let listed = inventory.as_ref().map(Cold::decode).transpose()?;
                    Ancestor::of_cold(generation, now, told, listed.filter(|cold| cold.scope == scope_of(bucket)))
                }
            },
        };
        Ok(Some(ancestor.row(key)))
    }

    /// What is known of the origin's object of a key that was written or deleted here, and is `view`ed.
    pub(crate) async fn ancestor(&self, bucket: &Bucket, key: &ObjectKey, view: &View) -> Result<Ancestor> {
        // Written before the shadow was attached, or by a program that kept nothing.
        let since = view.object.as_ref().map(|stored| stored.object.last_modified).or(view.gone_since).unwrap_or_default();
        let kept = self.kept_ancestor(bucket, key).await?;
        Ok(kept.unwrap_or_else(|| Ancestor::new(bucket.settings.generation, since, Known::Hint)))
    }

    /// Whether `there`, with these tags, is what the origin is known to hold of a key.
    pub(crate) async fn has_ancestor(&self, bucket: &Bucket, key: &ObjectKey, there: &ObjectInfo, tags: &Tags) -> Result<bool> {
        Ok(self.kept_ancestor(bucket, key).await?.is_some_and(|kept| kept.known == Known::Object && kept.is(there, Some(tags))))
    }

    /// Whether `there` is what the origin is known to have held before anything of ours went there: the same content, of the same date.
    pub(crate) async fn is_ancestor_of_before(&self, bucket: &Bucket, key: &ObjectKey, there: &ObjectInfo) -> Result<bool> {
        Ok(self.kept_ancestor(bucket, key).await?.is_some_and(|kept| kept.last_modified.is_some() && kept.is(there, None)))
    }

    async fn kept_ancestor(&self, bucket: &Bucket, key: &ObjectKey) -> Result<Option<Ancestor>> {
        let row = self.native().meta().get(bucket.partition, &key::ancestor(key)).await?;
        Ok(row.as_ref().map(Ancestor::decode).transpose()?.filter(|kept| kept.generation == bucket.settings.generation))
    }

    /// What keeps the ancestor of `key`, if it has one, true when the tags of the origin's object are replaced.
    pub(crate) async fn retagged_ancestor(&self, bucket: &Bucket, key: &ObjectKey, tags: &Tags) -> Result<Option<Write>> {
        let row = self.native().meta().get(bucket.partition, &key::ancestor(key)).await?;
        Ok(row.as_ref().map(Ancestor::decode).transpose()?.map(|kept| kept.retagged(tags).row(key)))
    }

    /// What keeps the ancestor of what was just written to the origin, with its tags where they are at hand.
    pub(crate) fn written_ancestor(&self, bucket: &Bucket, key: &ObjectKey, etag: &ETag, tags: Option<&Tags>) -> Write {
        Ancestor::of_written(bucket.settings.generation, self.native().clock().now(), etag, tags).row(key)
    }

    /// The same of what was just deleted there.
    pub(crate) fn absent_ancestor(&self, bucket: &Bucket, key: &ObjectKey) -> Write {
        Ancestor::of_absence(bucket.settings.generation, self.native().clock().now()).row(key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use umbra_core::{ETag, ObjectInfo, Tags, Timestamp};

    use super::{Ancestor, CLOCK_SKEW, Known};
    use crate::{
        compare::tests::twins,
        record::{decode, encode},
    };

    /// The first format, written once and readable for ever.
    #[test]
    fn records_of_the_first_format_are_read() {
        let golden: &[u8] = b"\x01\x86\x07\x18\x2a\x01\x61e\x03\x61t";
        let known = Known::Object;
        let kept = Ancestor { generation: 7, at: 42, known, etag: Some("e".into()), last_modified: Some(3), tags: Some("t".into()) };
        assert_eq!(encode(&kept), golden);
        assert_eq!(decode::<Ancestor>("ancestor", golden).unwrap(), kept);
        let golden: &[u8] = b"\x01\x83\x07\x18\x2a\x02";
        assert_eq!(encode(&Ancestor::of_absence(7, Timestamp::from_millis(42))), golden);
        assert_eq!(decode::<Ancestor>("ancestor", golden).unwrap().known, Known::Absence);
    }

    #[test]
    fn only_what_was_known_or_is_certainly_older_is_replaced() {
        // The two of an hour, of which what is there has the tags `a`.
        let hour = |hours: i64| Timestamp::from_millis(hours * 3_600_000);
        let (mut ours, mut there) = twins(false);
        (ours.etag, ours.last_modified, there.last_modified) = (ETag::parse("ours"), hour(3), hour(1));
        let tags = Tags::new([("a".into(), "b".into())]);
        let written = Ancestor::of_written(1, hour(1), &there.etag, Some(&tags));
        let dated = Ancestor { last_modified: Some(there.last_modified.as_millis() + 999), ..written.clone() };
        let absent = Ancestor::of_absence(1, hour(2));
        let hint = |at| Ancestor::new(1, at, Known::Hint);
        let listed = Ancestor { etag: Some("e".into()), last_modified: Some(there.last_modified.as_millis()), ..hint(hour(0)) };
        let alter = |change: fn(&mut ObjectInfo)| {
            let mut other = there.clone();
            change(&mut other);
            other
        };
        let (same, again) = (there.clone(), alter(|there| there.last_modified = there.last_modified.plus(Duration::from_secs(2))));
        let other = alter(|there| there.etag = ETag::parse("f"));
        let undated = alter(|there| there.last_modified = Timestamp::default());
        let cases = [
            (&written, Some(&same), false),
            (&dated, Some(&same), false),
            (&dated, Some(&again), true),
            (&written, Some(&other), true),
            (&written, None, false),
            (&absent, None, false),
            (&absent, Some(&same), true),
            (&listed, Some(&same), false),
            (&listed, Some(&other), true),
            (&hint(hour(2)), Some(&other), false),
            (&hint(hour(1)), Some(&other), true),
            (&hint(hour(1).plus(CLOCK_SKEW)), Some(&other), true),
            (&hint(hour(1).plus(CLOCK_SKEW).plus(Duration::from_millis(1))), Some(&other), false),
            (&hint(hour(2)), Some(&undated), true),
            (&hint(hour(2)), None, false),
        ];
        for (ancestor, there, forbids) in cases {
            for local in [Some(&ours), None] {
                assert_eq!(ancestor.forbids(local, there, Some(&tags)).is_some(), forbids, "{ancestor:?} {there:?}");
            }
        }
        assert!(written.forbids(None, Some(&same), Some(&Tags::default())).is_some(), "its tags were replaced");
        assert_eq!(written.clone().retagged(&Tags::default()).forbids(None, Some(&same), Some(&Tags::default())), None);
        ours.etag = there.etag.clone();
        assert!(written.forbids(Some(&ours), None, None).is_some(), "what is here was there, and was taken away");
    }
}

//! What is known here of one key: its object, tombstone and intent, as they stood at one moment.

use umbra_core::{ETag, Found, ObjectKey, Result, Timestamp};
use umbra_meta::{Check, Entry, Expect, MetaStore, Revision, key};
use umbra_store::{Bucket, ObjectRecord, Stored, Versioning};

use crate::record::{Intent, Operation, Tombstone, decode};

/// Whether keys of `bucket` may have versions besides their object. A key that has is never cold.
pub(crate) fn has_versions(bucket: &Bucket) -> bool {
    bucket.settings.versioning != Versioning::Off
}

/// The rows of one key.
#[derive(Debug)]
pub(crate) struct View {
    /// The object here.
    pub(crate) object: Option<Stored>,
    /// Whether a delete marker is the newest of its versions.
    pub(crate) is_marked: bool,
    /// Whether a tombstone of this generation hides the origin's object, or a delete marker, even one from before this generation.
    pub(crate) gone: bool,
    /// Since when.
    pub(crate) gone_since: Option<Timestamp>,
    /// The intent of a write-through of this generation, alive or dead.
    pub(crate) intent: Option<Intent>,
    /// Whether the intent belongs to nobody any more: only the origin knows whether it was applied.
    pub(crate) is_dead: bool,
    /// The intent of a copy back to the origin of this generation, alive or dead. It says nothing of what is here.
    pub(crate) copying_back: Option<Intent>,
    /// The revisions of all three rows.
    pub(crate) base: Base,
}

/// The revisions of a key's rows: what a copy's commit expects to still find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) object: Option<Revision>,
    pub(crate) tombstone: Option<Revision>,
    pub(crate) intent: Option<Revision>,
}

impl View {
    /// Reads the rows of `key` at one moment.
    pub(crate) async fn read(meta: &dyn MetaStore, bucket: &Bucket, key: &ObjectKey) -> Result<Self> {
        let keys = [key::object(key), key::tombstone(key), key::write_intent(key), key::history(key)];
        let keys = keys.each_ref().map(Vec::as_slice);
        let mut rows = meta.multi_get(bucket.partition, &keys[..3 + usize::from(has_versions(bucket))]).await?.into_iter();
        let mut next = || rows.next().flatten();
        let (object, tombstone, intent, history) = (next(), next(), next(), next());
        let revision = |entry: &Option<Entry>| entry.as_ref().map(|entry| entry.revision);
        let base = Base { object: revision(&object), tombstone: revision(&tombstone), intent: revision(&intent) };
        let tombstone: Option<Tombstone> = tombstone.map(|entry| decode("tombstone", &entry.body)).transpose()?;
        let intent: Option<Intent> = intent.map(|entry| decode("intent", &entry.body)).transpose()?;
        let intent = intent.filter(|intent| intent.generation == bucket.settings.generation);
        let (copying_back, intent) = intent.map_or((None, None), |intent| match intent.operation {
            Operation::CopyBack => (Some(intent), None),
            _ => (None, Some(intent)),
        });
        let tombstone = tombstone.filter(|tombstone| tombstone.generation == bucket.settings.generation);
        let is_marked = object.is_none() && history.is_some();
        Ok(Self {
            is_marked,
            gone: tombstone.is_some() || is_marked,
            object: object.map(|entry| Stored::decode(&entry)).transpose()?,
            gone_since: tombstone.map(|tombstone| Timestamp::from_millis(tombstone.at)),
            intent,
            is_dead: false,
            copying_back,
            base,
        })
    }

    /// What a copy's commit expects. The intent of a write under way must be gone by then; a dead one is settled by the copy.
    pub(crate) fn base_for_copy(&self) -> Base {
        let is_live = self.intent.is_some() && !self.is_dead;
        Base { intent: self.base.intent.filter(|_| !is_live), ..self.base }
    }

    /// The intent of which the origin alone knows what was applied: its owner died, or it took the place of one whose owner had.
    pub(crate) fn unsettled(&self) -> Option<&Intent> {
        self.intent.as_ref().filter(|intent| self.is_dead || intent.before.is_some())
    }

    /// The object here.
    pub(crate) fn local(&self) -> Option<&ObjectRecord> {
        self.object.as_ref().map(|stored| &stored.object)
    }

    /// What a write finds, where the origin has `cold` of a key that lives only there.
    pub(crate) fn found<'a>(&'a self, cold: Option<&'a ETag>) -> Found<'a> {
        match self.object.as_ref().map(|stored| &stored.object.etag).or(cold) {
            Some(etag) => Found::Object(etag),
            None if self.is_marked => Found::Marker,
            None => Found::Nothing,
        }
    }

    /// Whether the key lives only at the origin, as far as is known here.
    pub(crate) const fn is_cold(&self) -> bool {
        self.object.is_none() && !self.gone
    }
}

impl Base {
    /// The revisions of object, tombstone and intent.
    pub(crate) fn numbers(&self) -> (Option<u64>, Option<u64>, Option<u64>) {
        let number = |revision: Option<Revision>| revision.map(|revision| revision.0);
        (number(self.object), number(self.tombstone), number(self.intent))
    }

    /// The check that the tombstone row of `key` is as it was.
    pub(crate) fn tombstone_unchanged(&self, key: &ObjectKey) -> Check {
        Check { key: key::tombstone(key), expect: Expect::unchanged(self.tombstone) }
    }

    /// The check that the intent row of `key` is as it was.
    pub(crate) fn intent_unchanged(&self, key: &ObjectKey) -> Check {
        Check { key: key::write_intent(key), expect: Expect::unchanged(self.intent) }
    }
}

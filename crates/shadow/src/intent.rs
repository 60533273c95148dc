//! Intents: the journal of write-throughs.
//!
//! A row is written before the origin is touched and leaves with the commit that applies the write here. If the process dies between, or
//! nobody knows whether the origin applied the write, the row stays without an owner: its key is read through the origin until repaired.

use std::collections::HashMap;

use bytes::Bytes;
use md5::{Digest, Md5};
use parking_lot::Mutex;
use umbra_core::{ETag, Error, ErrorKind, ObjectKey, Result, Tags, Timestamp, UserMetadata};
use umbra_meta::{Batch, Check, Expect, Partition, Revision, Write, key};
use umbra_store::{Bucket, Terms};

use crate::{
    Shadow, inventory,
    record::{Intent, Operation, Tombstone, encode},
    shadow::Inner,
    view::View,
    write_through::switched,
};

/// What a write-through is about to do at the origin.
#[derive(Clone, Debug)]
pub(crate) enum Intended {
    /// An object is put, copied or completed.
    Put {
        /// The ETag it would have, by our reckoning.
        etag: ETag,
        /// Bytes of content.
        size: u64,
        /// What [`mark_of_metadata`] makes of its user metadata.
        metadata: String,
    },
    /// An object is deleted.
    Delete,
    /// The tags of an object are replaced by these.
    Tag(Tags),
    /// What is here is brought to the origin, in parts where this upload there is named.
    CopyBack(Option<String>),
}

impl Intended {
    fn record(self, generation: u64, now: Timestamp, before: Option<Intent>) -> Intent {
        let (operation, mark, size, metadata) = match self {
            Self::Put { etag, size, metadata } => (Operation::Put, Some(etag.as_str().to_owned()), Some(size), Some(metadata)),
            Self::Delete => (Operation::Delete, None, None, None),
            Self::Tag(tags) => (Operation::Tag, Some(mark_of_tags(&tags)), None, None),
            Self::CopyBack(upload) => (Operation::CopyBack, upload, None, None),
        };
        Intent { generation, at: now.as_millis(), operation, mark, size, before: before.map(Box::new), metadata }
    }
}

/// What tells one set of tags from another.
pub(crate) fn mark_of_tags(tags: &Tags) -> String {
    mark_of(tags.iter())
}

/// What tells the user metadata of one object from that of another, whoever hands it over: what is not plain ASCII comes back from some origins in
/// other words, and counts for nothing.
pub(crate) fn mark_of_metadata(metadata: &UserMetadata) -> String {
    let is_plain = |text: &str| text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) && !text.starts_with("=?");
    mark_of(metadata.iter().map(|(name, value)| (name, value.trim())).filter(|(name, value)| is_plain(name) && is_plain(value)))
}

fn mark_of<'a>(entries: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut hash = Md5::new();
    for text in entries.flat_map(|(name, value)| [name, value]) {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    ETag::from_md5(hash.finalize().into()).to_string()
}

/// Keys whose intent belongs to somebody in this process.
pub(crate) type LiveIntents = HashMap<(Partition, ObjectKey), Live>;

/// Which row is the intent of somebody in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Live {
    /// It is being written in the place of this one: until then that one is still there, and belongs to nobody.
    Beginning(Option<Revision>),
    /// It is the row of this revision. One that comes after it belongs to nobody again.
    Begun(Revision),
}

impl Live {
    /// Whether the row of `revision` is it. The row has to have been there when this was looked up.
    pub(crate) fn owns(self, revision: Revision) -> bool {
        match self {
            Self::Beginning(replaced) => replaced != Some(revision),
            Self::Begun(ours) => ours == revision,
        }
    }
}

/// The intent of a write in progress. Dropped before it is settled it becomes one of a dead owner.
pub(crate) struct IntentGuard {
    shadow: Shadow,
    bucket: Bucket,
    key: ObjectKey,
    revision: Revision,
    /// A dead intent that this one took the place of: it comes back if this one is withdrawn.
    replaced: Option<Intent>,
    operation: Operation,
    settled: bool,
}

impl Inner {
    /// The keys whose intent for such an operation belongs to somebody in this process.
    pub(crate) const fn live(&self, operation: Operation) -> &Mutex<LiveIntents> {
        match operation {
            Operation::CopyBack => &self.live_copies,
            Operation::Put | Operation::Delete | Operation::Tag => &self.live_intents,
        }
    }
}

impl Shadow {
    /// Journals that the origin is about to be changed. The caller holds the key's lock.
    pub(crate) async fn begin_intent(&self, bucket: &Bucket, key: &ObjectKey, view: &View, intended: Intended) -> Result<IntentGuard> {
        let intent = intended.record(bucket.settings.generation, self.native().clock().now(), view.intent.clone());
        let batch = Batch::new(bucket.partition)
            .check(key::settings(), Expect::Revision(bucket.revision))
            .check(key::write_intent(key), Expect::unchanged(view.base.intent))
            .put(key::write_intent(key), Bytes::new(), encode(&intent));
        let upload = view.copying_back.as_ref().and_then(|copy| self.remember_upload_of(bucket, key, copy));
        let leaves_upload = upload.is_some();
        let batch = Batch { writes: batch.writes.into_iter().chain(upload).collect(), ..batch };
        // Alive before the row is there: no reader may take it for a dead one.
        self.0.live(intent.operation).lock().insert((bucket.partition, key.clone()), Live::Beginning(view.base.intent));
        if self.holds_writes_back(bucket) {
            self.0.live(intent.operation).lock().remove(&(bucket.partition, key.clone()));
            return Err(switched());
        }
        let mut guard = IntentGuard {
            shadow: self.clone(),
            bucket: bucket.clone(),
            key: key.clone(),
            revision: Revision(0),
            replaced: view.intent.clone(),
            operation: intent.operation,
            settled: false,
        };
        match self.native().meta().commit(batch).await {
            Ok(committed) => {
                guard.revision = committed.revision;
                self.0.live(intent.operation).lock().insert((bucket.partition, key.clone()), Live::Begun(committed.revision));
                if leaves_upload {
                    self.0.repairs.look_at(&bucket.name);
                }
                // A transfer begun before shows what the origin held before: later readers must ask anew.
                self.0.flights.forget(bucket.partition, key);
                Ok(guard)
            }
            Err(error) => {
                // After an answer that was lost the row may be there all the same, without an owner: the guard has it looked at.
                if error.kind() != ErrorKind::Unavailable {
                    guard.settle();
                }
                Err(error.into())
            }
        }
    }
}

impl IntentGuard {
    /// The revision of the row.
    pub(crate) const fn revision(&self) -> Revision {
        self.revision
    }

    /// Adds to `terms` what ends this intent in the commit that applies the write.
    pub(crate) fn settle_with(&self, mut terms: Terms) -> Terms {
        let row = key::write_intent(&self.key);
        terms.checks.push(Check { key: row.clone(), expect: Expect::Revision(self.revision) });
        terms.writes.push(Write::Delete { key: row });
        terms
    }

    /// The commit that applies the write has landed.
    pub(crate) fn settle(mut self) {
        self.settled = true;
    }

    /// The origin certainly did not change: the row goes, or the dead one that was there before comes back.
    pub(crate) async fn withdraw(self) {
        let row = key::write_intent(&self.key);
        let batch = Batch::new(self.bucket.partition).check(row.clone(), Expect::Revision(self.revision));
        let batch = match &self.replaced {
            Some(dead) => batch.put(row, Bytes::new(), encode(dead)),
            None => batch.delete(row),
        };
        match self.shadow.native().meta().commit(batch).await {
            Ok(_) if self.replaced.is_none() => self.settle(),
            // Dropped unsettled, so that the one that came back is repaired.
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(bucket = %self.bucket.name, key = %self.key, error = ?error, "an intent could not be withdrawn; the key will be repaired");
            }
        }
    }
}

impl Drop for IntentGuard {
    fn drop(&mut self) {
        self.shadow.0.live(self.operation).lock().remove(&(self.bucket.partition, self.key.clone()));
        if !self.settled {
            self.shadow.0.repairs.add(&self.bucket, &self.key);
        }
    }
}

impl Shadow {
    /// What a put that went to the origin does in its commit besides storing; the origin gave the object this ETag.
    pub(crate) fn terms_of_put_through(&self, bucket: &Bucket, key: &ObjectKey, etag: ETag, tags: Option<&Tags>) -> Terms {
        let mut terms = Self::terms_of_put(key);
        terms.writes.push(self.written_ancestor(bucket, key, &etag, tags));
        Terms { etag: Some(etag), ..terms }
    }

    /// What a delete that went to the origin does in its commit.
    pub(crate) fn terms_of_delete_through(&self, bucket: &Bucket, key: &ObjectKey) -> Terms {
        let mut terms = self.terms_of_delete(bucket, key);
        terms.writes.push(self.absent_ancestor(bucket, key));
        terms
    }

    /// What every write of a bucket with an origin does in its commit besides storing: a put takes the tombstone away.
    pub(crate) fn terms_of_put(key: &ObjectKey) -> Terms {
        let writes = vec![Write::Delete { key: key::tombstone(key) }];
        Terms { writes, removal: Some(inventory::removal(key)), ..Terms::default() }
    }

    /// A delete leaves a tombstone, so that neither a later read nor a transfer under way brings the key back.
    pub(crate) fn terms_of_delete(&self, bucket: &Bucket, key: &ObjectKey) -> Terms {
        let tombstone = Tombstone::new(bucket.settings.generation, self.native().clock().now());
        let writes = vec![Write::Put { key: key::tombstone(key), head: Bytes::new(), body: encode(&tombstone).into() }];
        Terms { writes, removal: Some(inventory::removal(key)), ..Terms::default() }
    }
}

/// What a client is told when only the origin knows whether its write was applied.
pub(crate) fn half_done(cause: Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the write may have reached only one side; it is being repaired, please try again").because(cause)
}

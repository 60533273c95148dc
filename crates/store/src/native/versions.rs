//! Versions of a key: where they are, and how a write moves them.
//!
//! The newest version stands at `o/` when it is an object. Everything older stands behind the key's *history* at `v/`, and so does a delete
//! marker, even as the newest. There is a history exactly while something stands behind it. Every change to which versions a key has checks
//! both rows, `o/` and history, and rewrites one of them, so that no two changes pass each other.

use umbra_core::{Entity, Error, ErrorKind, Fault, MarkerFound, ObjectKey, Result, Timestamp, VersionId};
use umbra_meta::{Entry, Expect, Projection, Revision, key};

use super::{
    Native, ObjectRecord, Pieces, Stored, Version,
    commit::{Changes, Fence, Lost},
};
use crate::{Bucket, Versioning, record};

/// How often a reader looks again for a version that moves under it.
const ATTEMPTS_MAX: usize = 16;

/// What is to be known of a key's versions before any of them changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct History {
    /// The highest sequence that was given.
    pub(crate) last: u64,
    /// The sequence of the null version, where it stands behind the history.
    pub(crate) null: Option<u64>,
    /// How many versions and delete markers stand behind the history.
    pub(crate) count: u64,
}

/// What a key holds, as of one moment.
#[derive(Debug)]
pub(super) struct Known {
    /// The row of the current object, as it is.
    entry: Option<Entry>,
    /// The current object.
    pub(super) object: Option<Stored>,
    pub(super) history: Option<(History, Revision)>,
    /// Whether there may be a history at all.
    has_versions: bool,
}

/// A row of the key that names a version.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) row: Vec<u8>,
    pub(super) stored: Stored,
}

impl Known {
    /// That it holds nothing, which is for the commit to see.
    pub(super) fn nothing(fence: Fence) -> Self {
        Self { entry: None, object: None, history: None, has_versions: fence.versioning != Versioning::Off }
    }

    fn decode(entry: Option<Entry>, history: Option<Entry>, has_versions: bool) -> Result<Self> {
        Ok(Self {
            object: entry.as_ref().map(Stored::decode).transpose()?,
            entry,
            history: history.map(|entry| Ok::<_, Error>((record::history::decode(&entry.body)?, entry.revision))).transpose()?,
            has_versions,
        })
    }

    /// Checks that everything is still as it is known.
    pub(super) fn check(&self, changes: &mut Changes, key: &ObjectKey) {
        changes.check(key::object(key), self.expected());
        if self.has_versions {
            changes.check(key::history(key), self.expected_history());
        }
    }

    /// Whether it is one of those checks that failed.
    pub(super) fn is_outdated_by(&self, lost: &Lost, key: &ObjectKey) -> bool {
        lost.is_of(&key::object(key), self.expected()) || self.has_versions && lost.is_of(&key::history(key), self.expected_history())
    }

    fn expected(&self) -> Expect {
        Expect::unchanged(self.object.as_ref().map(|stored| stored.revision))
    }

    fn expected_history(&self) -> Expect {
        Expect::unchanged(self.history.map(|(_, revision)| revision))
    }

    /// The ETag of the current object.
    pub(super) fn etag(&self) -> Option<&umbra_core::ETag> {
        self.object.as_ref().map(|stored| &stored.object.etag)
    }

    /// Whether the key has one version or delete marker, and that is not an object.
    pub(super) fn is_alone(&self) -> bool {
        self.object.is_none() && self.history.is_some_and(|(history, _)| history.count == 1)
    }

    /// Whether the key has neither an object nor a delete marker.
    pub(super) const fn is_absent(&self) -> bool {
        self.object.is_none() && self.history.is_none()
    }

    /// The sequence of a version that becomes the newest `now`.
    fn next_sequence(&self, now: Timestamp) -> u64 {
        let last = self.object.as_ref().map(|stored| stored.object.version.sequence).max(self.history.map(|(history, _)| history.last));
        let now = u64::try_from(now.as_millis()).unwrap_or(0);
        last.map_or(now, |last| now.max(last.saturating_add(1)))
    }

    /// The history, or that of a key that has had none.
    fn history(&self) -> History {
        self.history.map_or(History { last: 0, null: None, count: 0 }, |(history, _)| history)
    }
}

impl Native {
    /// What `key` holds.
    pub(super) async fn known(&self, fence: Fence, key: &ObjectKey) -> Result<Known> {
        self.known_of(fence, key, fence.versioning != Versioning::Off).await
    }

    async fn known_of(&self, fence: Fence, key: &ObjectKey, has_versions: bool) -> Result<Known> {
        let (row, history) = (key::object(key), key::history(key));
        let rows = [row.as_slice(), history.as_slice()];
        let mut rows = self.meta().multi_get(fence.partition, &rows[..1 + usize::from(has_versions)]).await?.into_iter();
        Known::decode(rows.next().flatten(), rows.next().flatten(), has_versions)
    }

    /// What `key` holds at a moment at which `fence` holds, or has moved on to: for who may change nothing, and so has no commit to tell.
    pub(super) async fn known_now(&self, fence: &mut Fence, key: &ObjectKey) -> Result<Known> {
        let has_versions = fence.versioning != Versioning::Off;
        let (settings, row, history) = (key::settings(), key::object(key), key::history(key));
        let rows = [settings.as_slice(), row.as_slice(), history.as_slice()];
        let mut rows = self.meta().multi_get(fence.partition, &rows[..2 + usize::from(has_versions)]).await?.into_iter();
        fence.renew(rows.next().flatten().as_ref())?;
        Known::decode(rows.next().flatten(), rows.next().flatten(), has_versions)
    }

    /// Adds to `changes` what makes `object` the newest version of a key, of which this gives it the name.
    pub(super) async fn add_version(
        &self,
        changes: &mut Changes,
        fence: Fence,
        key: &ObjectKey,
        known: &Known,
        object: &mut ObjectRecord,
    ) -> Result<()> {
        object.version = self.next_version(fence.versioning, known, object.version.is_marker);
        let mut history = known.history();
        match (&known.object, &known.entry) {
            (Some(old), Some(entry)) if self.is_kept(fence.versioning, old) => {
                let Version { sequence, nonce, .. } = old.object.version;
                changes.put(key::version(key, sequence), (entry.head.clone(), entry.body.clone()));
                history.count += 1;
                if nonce.is_none() {
                    history.null = Some(sequence);
                }
            }
            (Some(old), _) => self.drop_record(changes, &old.object),
            (None, _) => {}
        }
        if fence.versioning == Versioning::Suspended
            && let Some(sequence) = history.null.take()
        {
            self.drop_version(changes, fence, key, sequence).await?;
            history.count -= 1;
        }
        let row = key::object(key);
        if object.version.is_marker {
            changes.put(key::version(key, object.version.sequence), record::object::encode(object));
            history.count += 1;
            history.null = history.null.or(object.version.nonce.is_none().then_some(object.version.sequence));
            if known.object.is_some() {
                changes.delete(row);
            }
        } else {
            changes.put(row, record::object::encode(object));
            changes.count(1, object.size.cast_signed());
        }
        history.last = object.version.sequence;
        self.put_history(changes, key, known, history);
        Ok(())
    }

    fn next_version(&self, versioning: Versioning, known: &Known, is_marker: bool) -> Version {
        let sequence = || known.next_sequence(self.clock().now());
        match versioning {
            Versioning::Off => Version { is_marker, ..Version::default() },
            Versioning::Suspended => Version { sequence: sequence(), nonce: None, is_marker },
            Versioning::Enabled => Version { sequence: sequence(), nonce: Some(u64::from_be_bytes(self.random().array())), is_marker },
        }
    }

    /// Whether an object that is overwritten or deleted stays as a version.
    fn is_kept(&self, versioning: Versioning, old: &Stored) -> bool {
        match versioning {
            Versioning::Off => false,
            Versioning::Suspended => old.object.version.nonce.is_some(),
            Versioning::Enabled => true,
        }
    }

    /// Takes a version out of the counts, and its content out of the store.
    pub(super) fn drop_record(&self, changes: &mut Changes, object: &ObjectRecord) {
        if !object.version.is_marker {
            changes.count(-1, -object.size.cast_signed());
            changes.reclaim(object.content.extents(), self.reclamation_due());
        }
    }

    /// Removes the version at `sequence`, which the history says is there.
    async fn drop_version(&self, changes: &mut Changes, fence: Fence, key: &ObjectKey, sequence: u64) -> Result<()> {
        let row = key::version(key, sequence);
        if let Some(entry) = self.meta().get(fence.partition, &row).await? {
            let stored = Stored::decode(&entry)?;
            changes.check(row.clone(), Expect::Revision(stored.revision));
            changes.delete(row);
            self.drop_record(changes, &stored.object);
        }
        Ok(())
    }

    /// Puts `history` in the place of what is known; it goes with the last version behind it.
    pub(super) fn put_history(&self, changes: &mut Changes, key: &ObjectKey, known: &Known, history: History) {
        let before = known.history.map(|(history, _)| history);
        if history.count > 0 {
            // Rewritten even when nothing of it changes: it is what others check.
            changes.put(key::history(key), (bytes::Bytes::new(), record::history::encode(history)));
        } else if before.is_some() {
            changes.delete(key::history(key));
        }
    }

    /// A delete marker, to become a version.
    pub(super) fn marker(&self) -> ObjectRecord {
        ObjectRecord {
            size: 0,
            etag: umbra_core::ETag::parse(""),
            last_modified: self.clock().now(),
            headers: umbra_core::SystemHeaders::default(),
            metadata: umbra_core::UserMetadata::default(),
            tags: umbra_core::Tags::default(),
            attributes: umbra_core::Attributes::default(),
            checksums: Vec::new(),
            parts: Vec::new(),
            content: Pieces::Inline(bytes::Bytes::new()),
            hydrated: None,
            completion: None,
            version: Version { is_marker: true, ..Version::default() },
        }
    }

    /// The object of `key`, or `version` of it; a delete marker is not one.
    pub async fn find_version(&self, bucket: &Bucket, key: &ObjectKey, version: Option<VersionId>) -> Result<Stored> {
        let fence = Fence::from(bucket);
        match version {
            None => match self.find(bucket, key).await? {
                Some(stored) => Ok(stored),
                None => Err(self.no_object(fence, key).await?),
            },
            Some(version) => {
                let place = self.locate(fence, key, version).await?.ok_or_else(|| Error::not_found(Entity::Version))?;
                refuse_marker(&place.stored)?;
                Ok(place.stored)
            }
        }
    }

    /// The error of a key without an object: its cause is the delete marker, where there is one.
    pub async fn absence(&self, bucket: &Bucket, key: &ObjectKey) -> Error {
        self.no_object(Fence::from(bucket), key).await.unwrap_or_else(|error| error)
    }

    pub(super) async fn no_object(&self, fence: Fence, key: &ObjectKey) -> Result<Error> {
        let error = Error::not_found(Entity::Object);
        if fence.versioning == Versioning::Off {
            return Ok(error);
        }
        // The history, and the newest behind it.
        let rows = self.meta().scan(fence.partition, key::versions_of(key.as_str()), 2, Projection::Head).await?;
        let Some(newest) = rows.get(1) else { return Ok(error) };
        let head = record::object::decode_head(&newest.head)?;
        // Else an object was put meanwhile that this is older than.
        Ok(if head.version.is_marker { error.because(marker_found(head.version, head.last_modified)) } else { error })
    }

    /// Where `version` of `key` is.
    pub(super) async fn locate(&self, fence: Fence, key: &ObjectKey, version: VersionId) -> Result<Option<Place>> {
        let object = key::object(key);
        for _ in 0..ATTEMPTS_MAX {
            let sequence = match version {
                VersionId::Named { sequence, .. } => sequence,
                VersionId::Null => {
                    // As of one moment it is the object, or the history says where it is, or there is none. The bucket may have got versions
                    // since the fence was read.
                    let Known { object: current, history, .. } = self.known_of(fence, key, true).await?;
                    if let Some(stored) = current.filter(|stored| stored.object.version.id() == version) {
                        return Ok(Some(Place { row: object, stored }));
                    }
                    let Some(sequence) = history.and_then(|(history, _)| history.null) else { return Ok(None) };
                    sequence
                }
            };
            // At one moment: a version moves from one row to the other.
            let rows = [object.as_slice(), &key::version(key, sequence)];
            let entries = self.meta().multi_get(fence.partition, &rows).await?;
            for (row, entry) in rows.iter().zip(&entries) {
                let stored = entry.as_ref().map(Stored::decode).transpose()?;
                if let Some(stored) = stored.filter(|stored| stored.object.version.id() == version) {
                    return Ok(Some(Place { row: row.to_vec(), stored }));
                }
            }
            // The null version may have moved since the history was read.
            if version != VersionId::Null {
                return Ok(None);
            }
        }
        Err(Error::new(ErrorKind::Conflict, "the object keeps changing; please try again"))
    }
}

/// Refuses a delete marker where only an object will do.
pub(super) fn refuse_marker(stored: &Stored) -> Result<()> {
    if !stored.object.version.is_marker {
        return Ok(());
    }
    let refused = Error::invalid(Fault::MethodNotAllowed, "the specified method is not allowed against this resource");
    Err(refused.because(marker_found(stored.object.version, stored.object.last_modified)))
}

fn marker_found(version: Version, last_modified: Timestamp) -> MarkerFound {
    MarkerFound { version: version.id(), last_modified }
}

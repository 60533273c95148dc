//! What could not be carried over: one note per object, kept until the object is here as it should be, or is no longer the origin's.
//!
//! A note (row `n/<key>`) says why. How many there are for each reason is counted beside them (`c/shadow/<generation>/uncarried/<reason>`), in the
//! same batch, so that a status need not read them all. Notes are written where the origin's answers are seen (`origin/observed.rs`) and
//! looked through when somebody asks for them: those that time has overtaken go then.

use std::sync::Arc;

use minicbor::{CborLen, Decode, Encode};
use umbra_core::{Clock, ErrorKind, ObjectKey, Result, Timestamp};
use umbra_meta::{Batch, Entry, Expect, MetaStore, Partition, Projection, counter_value, key};
use umbra_store::{Bucket, Stored};

use crate::{
    Shadow, counters,
    origin::Uncarried,
    record::{Tombstone, decode, encode},
    stats::Stats,
};

/// Keys remembered for having been noted already, so that readers that insist cost no write each.
const RECENT_MAX: usize = 4096;
/// Notes read at once.
const PAGE: usize = 1000;
/// How often a note is tried again that somebody else changed meanwhile.
const ATTEMPTS_MAX: usize = 8;

/// Why something of an object at the origin is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, CborLen)]
#[cbor(index_only)]
pub enum UncarriedReason {
    /// It is archived at the origin and has to be restored there before it can be read.
    #[n(0)]
    Archived,
    /// It is encrypted with a key of the client's (SSE-C), which the origin wants to see before it gives it out.
    #[n(1)]
    CustomerKey,
    /// It is locked until a date, which does not come along.
    #[n(2)]
    Retention,
    /// It is under a legal hold, which does not come along.
    #[n(3)]
    LegalHold,
    /// It has an access control list of its own, which does not come along.
    #[n(4)]
    Acl,
    /// The origin itself does not show some of its user metadata.
    #[n(5)]
    HiddenMetadata,
    /// A header of it holds what is no text.
    #[n(6)]
    UnreadableHeader,
}

impl UncarriedReason {
    /// Every reason.
    pub const ALL: [Self; 7] =
        [Self::Archived, Self::CustomerKey, Self::Retention, Self::LegalHold, Self::Acl, Self::HiddenMetadata, Self::UnreadableHeader];

    const fn of(found: &Uncarried) -> Self {
        match found {
            Uncarried::Archived => Self::Archived,
            Uncarried::CustomerKey => Self::CustomerKey,
            Uncarried::Retention => Self::Retention,
            Uncarried::LegalHold => Self::LegalHold,
            Uncarried::Acl => Self::Acl,
            Uncarried::HiddenMetadata => Self::HiddenMetadata,
            Uncarried::UnreadableHeader(_) => Self::UnreadableHeader,
        }
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Archived => "archived",
            Self::CustomerKey => "customer_key",
            Self::Retention => "retention",
            Self::LegalHold => "legal_hold",
            Self::Acl => "acl",
            Self::HiddenMetadata => "hidden_metadata",
            Self::UnreadableHeader => "unreadable_header",
        }
    }

    /// Whether the object itself cannot be read because of it: once it is here, the reason is gone.
    const fn is_about_the_whole(self) -> bool {
        matches!(self, Self::Archived | Self::CustomerKey)
    }

    fn row(self, generation: u64) -> Vec<u8> {
        counters::row(generation, &format!("uncarried/{}", self.as_str()))
    }
}

/// What of one object is not here. Row `n/<key>`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub(crate) struct Note {
    /// The generation it belongs to.
    #[n(0)]
    pub(crate) generation: u64,
    /// When it was seen, in milliseconds since 1970.
    #[n(1)]
    pub(crate) at: i64,
    /// Why, in ascending order.
    #[n(2)]
    pub(crate) reasons: Vec<UncarriedReason>,
    /// The names of the headers that hold what is no text.
    #[n(3)]
    pub(crate) headers: Vec<String>,
}

/// An object of which something could not be carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UncarriedObject {
    /// Its key.
    pub key: ObjectKey,
    /// Why.
    pub reasons: Vec<UncarriedReason>,
    /// The names of the headers that hold what is no text.
    pub headers: Vec<String>,
    /// When that was seen.
    pub at: Timestamp,
}

/// Notes of one bucket in one generation.
#[derive(Debug)]
pub(crate) struct Notes {
    pub(crate) meta: Arc<dyn MetaStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) partition: Partition,
    pub(crate) stats: Arc<Stats>,
}

impl Notes {
    fn generation(&self) -> u64 {
        self.stats.generation
    }

    /// Notes what was found of `key`, besides what was noted before. That it cannot be noted costs the note, not the request.
    pub(crate) async fn add(&self, key: &ObjectKey, found: &[Uncarried]) {
        if found.is_empty() {
            return;
        }
        let mut reasons: Vec<_> = found.iter().map(UncarriedReason::of).collect();
        reasons.sort_unstable();
        reasons.dedup();
        let seen = (key.clone(), reasons);
        if self.stats.noted.lock().contains(&seen) {
            return;
        }
        match self.write(key, &seen.1, found).await {
            Ok(()) => {
                let mut recent = self.stats.noted.lock();
                if recent.len() >= RECENT_MAX {
                    recent.clear();
                }
                recent.insert(seen);
            }
            Err(error) => tracing::warn!(%key, error = ?error, "what could not be carried over is not noted"),
        }
    }

    async fn write(&self, key: &ObjectKey, reasons: &[UncarriedReason], found: &[Uncarried]) -> Result<()> {
        let row = key::uncarried(key);
        let mut outcome = Ok(());
        for _ in 0..ATTEMPTS_MAX {
            let before = self.meta.get(self.partition, &row).await?;
            let known = before.as_ref().map(|entry| decode::<Note>("note", &entry.body)).transpose()?;
            let mut note = known.filter(|note| note.generation == self.generation()).unwrap_or_else(|| self.empty());
            let added: Vec<_> = reasons.iter().copied().filter(|reason| !note.reasons.contains(reason)).collect();
            if added.is_empty() {
                return Ok(());
            }
            note.reasons.extend(&added);
            note.reasons.sort_unstable();
            note.headers.extend(found.iter().filter_map(|found| match found {
                Uncarried::UnreadableHeader(name) => Some(name.clone()),
                _ => None,
            }));
            let batch = Batch::new(self.partition)
                .check(key::settings(), Expect::Exists)
                .check(row.clone(), Expect::unchanged(before.map(|entry| entry.revision)))
                .put(row.clone(), "", encode(&note));
            let batch = added.iter().fold(batch, |batch, reason| batch.add(reason.row(self.generation()), 1));
            outcome = self.meta.commit(batch).await.map(drop).map_err(umbra_core::Error::from);
            match &outcome {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                _ => break,
            }
        }
        outcome
    }

    /// A note that says nothing yet.
    fn empty(&self) -> Note {
        Note { generation: self.generation(), at: self.clock.now().as_millis(), reasons: Vec::new(), headers: Vec::new() }
    }

    /// Takes back what `note`, found at `entry`, says of `reasons`. Somebody else may have changed it meanwhile: then it stands.
    async fn take_back(&self, entry: &Entry, note: &Note, reasons: &[UncarriedReason]) -> Result<()> {
        let left: Vec<_> = note.reasons.iter().copied().filter(|reason| !reasons.contains(reason)).collect();
        let row = entry.key.to_vec();
        let batch = Batch::new(self.partition).check(row.clone(), Expect::Revision(entry.revision));
        let batch = if left.is_empty() { batch.delete(row) } else { batch.put(row, "", encode(&Note { reasons: left, ..note.clone() })) };
        // The counters of another generation are gone already.
        let counted = reasons.iter().filter(|_| note.generation == self.generation());
        let batch = counted.fold(batch, |batch, reason| batch.add(reason.row(self.generation()), -1));
        self.stats.noted.lock().clear();
        match self.meta.commit(batch).await.map_err(umbra_core::Error::from) {
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
            _ => Ok(()),
        }
    }
}

impl Shadow {
    /// Notes that something of an object at the origin could not be carried over. Fails never: what cannot be noted is logged.
    pub async fn note_uncarried(&self, bucket: &Bucket, key: &ObjectKey, found: &[Uncarried]) {
        self.notes(bucket).add(key, found).await;
    }

    /// The notes of a bucket in its generation.
    pub(crate) fn notes(&self, bucket: &Bucket) -> Notes {
        Notes { meta: self.native().meta().clone(), clock: self.0.clock.clone(), partition: bucket.partition, stats: self.stats(bucket) }
    }

    /// The first `limit` objects behind `after` of which something could not be carried, by key, and what to go on with; notes that time has
    /// overtaken are dropped on the way.
    pub async fn uncarried(&self, bucket: &Bucket, after: Option<&str>, limit: usize) -> Result<(Vec<UncarriedObject>, Option<String>)> {
        let all = key::uncarried_range("");
        let mut range = after.map_or_else(|| all.clone(), |after| all.clone().after(&key::uncarried_prefix(after)));
        let mut found = Vec::new();
        loop {
            let rows = self.native().meta().scan(bucket.partition, range.clone(), PAGE.min(limit), Projection::Full).await?;
            let more = rows.len() == PAGE.min(limit);
            for object in self.current(bucket, &rows).await? {
                if found.len() == limit {
                    let next = found.last().map(|last: &UncarriedObject| last.key.to_string());
                    return Ok((found, next));
                }
                found.push(object);
            }
            match rows.last() {
                Some(last) if more => range = range.after(&last.key),
                _ => return Ok((found, None)),
            }
        }
    }

    /// Those of the notes in `rows` that still hold. The others are dropped.
    async fn current(&self, bucket: &Bucket, rows: &[Entry]) -> Result<Vec<UncarriedObject>> {
        let notes = self.notes(bucket);
        let keys: Vec<_> = rows.iter().map(|row| key::parse_uncarried(&row.key).and_then(|key| ObjectKey::parse(key).ok())).collect();
        let wanted = keys.iter().flatten().flat_map(|key| [key::object(key), key::tombstone(key)]);
        let wanted: Vec<_> = wanted.collect();
        let held = self.native().meta().multi_get(bucket.partition, &wanted.iter().map(Vec::as_slice).collect::<Vec<_>>()).await?;
        let mut held = held.into_iter();
        let mut current = Vec::new();
        for (row, key) in rows.iter().zip(keys) {
            let Some(key) = key else { continue };
            let (object, tombstone) = (held.next().flatten(), held.next().flatten());
            let note: Note = decode("note", &row.body)?;
            let gone = tombstone.map(|entry| decode::<Tombstone>("tombstone", &entry.body)).transpose()?;
            let gone = gone.is_some_and(|tombstone| tombstone.generation == bucket.settings.generation);
            let object = object.as_ref().map(Stored::decode).transpose()?;
            let holds = |reason: &UncarriedReason| note.generation == notes.generation() && !gone && still_holds(*reason, object.as_ref());
            let (kept, overtaken): (Vec<_>, Vec<_>) = note.reasons.iter().copied().partition(holds);
            if !overtaken.is_empty() {
                notes.take_back(row, &note, &overtaken).await?;
            }
            if !kept.is_empty() {
                let headers = if kept.contains(&UncarriedReason::UnreadableHeader) { note.headers } else { Vec::new() };
                current.push(UncarriedObject { key, reasons: kept, headers, at: Timestamp::from_millis(note.at) });
            }
        }
        Ok(current)
    }

    /// How many objects there are for each reason, for those that have any. Notes that time has overtaken may still be counted.
    pub(crate) async fn uncarried_counts(&self, bucket: &Bucket) -> Result<Vec<(UncarriedReason, u64)>> {
        let rows = UncarriedReason::ALL.map(|reason| reason.row(bucket.settings.generation));
        let counts = self.native().meta().multi_get(bucket.partition, &rows.each_ref().map(Vec::as_slice)).await?;
        let value = |entry: Option<Entry>| entry.and_then(|entry| counter_value(&entry.head)).and_then(|value| u64::try_from(value).ok());
        let counts = UncarriedReason::ALL.into_iter().zip(counts.into_iter().map(value));
        Ok(counts.filter_map(|(reason, count)| Some((reason, count.filter(|count| *count > 0)?))).collect())
    }
}

/// Whether a reason is still one, with `object` here.
fn still_holds(reason: UncarriedReason, object: Option<&Stored>) -> bool {
    match object {
        None => true,
        // What was written here owes nothing to the origin.
        Some(stored) => stored.object.hydrated.is_some() && !reason.is_about_the_whole(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Note, UncarriedReason};
    use crate::record::{decode, encode};

    /// The first format, written once and readable for ever.
    #[test]
    fn notes_of_the_first_format_are_read() {
        let golden: &[u8] = &[1, 0x84, 7, 0x18, 0x2a, 0x87, 0, 1, 2, 3, 4, 5, 6, 0x81, 0x61, b'x'];
        let note = Note { generation: 7, at: 42, reasons: UncarriedReason::ALL.to_vec(), headers: vec!["x".into()] };
        assert_eq!(encode(&note), golden);
        assert_eq!(decode::<Note>("note", golden).unwrap(), note);
    }
}

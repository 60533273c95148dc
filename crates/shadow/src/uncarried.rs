//! What could not be carried over: one note per object, kept until the object is here as it should be, or is no longer the origin's.
//!
//! A note (row `n/<key>`) says why. How many there are for each reason is counted beside them (`c/shadow/<generation>/uncarried/<reason>`), in the
//! same batch, so that a status need not read them all. Notes are written where the origin's answers are seen (`origin/observed.rs`) and
//! looked through when somebody asks for them: those that time has overtaken go then.

mod note;

use minicbor::{CborLen, Decode, Encode};
use umbra_core::{ObjectKey, Result, Timestamp};
use umbra_meta::{Entry, Projection, counter_value, key};
use umbra_store::{Bucket, Stored};

use crate::{
    Shadow, counters,
    origin::Uncarried,
    record::{Tombstone, decode},
};
use note::Note;
pub(crate) use note::Notes;

/// Notes read at once.
const PAGE: usize = 1000;

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
    /// The origin does not let its tags be read.
    #[n(7)]
    HiddenTags,
}

impl UncarriedReason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Archived,
        Self::CustomerKey,
        Self::Retention,
        Self::LegalHold,
        Self::Acl,
        Self::HiddenMetadata,
        Self::UnreadableHeader,
        Self::HiddenTags,
    ];

    const fn of(found: &Uncarried) -> Self {
        match found {
            Uncarried::Archived => Self::Archived,
            Uncarried::CustomerKey => Self::CustomerKey,
            Uncarried::Retention => Self::Retention,
            Uncarried::LegalHold => Self::LegalHold,
            Uncarried::Acl => Self::Acl,
            Uncarried::HiddenMetadata => Self::HiddenMetadata,
            Uncarried::UnreadableHeader(_) => Self::UnreadableHeader,
            Uncarried::HiddenTags => Self::HiddenTags,
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
            Self::HiddenTags => "hidden_tags",
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

/// The generation that the note in `row` belongs to.
pub(crate) fn generation_of(row: &Entry) -> Result<u64> {
    Ok(decode::<Note>("note", &row.body)?.generation)
}

/// Whether a reason is still one, with `object` here.
fn still_holds(reason: UncarriedReason, object: Option<&Stored>) -> bool {
    match object {
        None => true,
        // What was written here owes nothing to the origin.
        Some(stored) => stored.object.hydrated.is_some() && !reason.is_about_the_whole(),
    }
}

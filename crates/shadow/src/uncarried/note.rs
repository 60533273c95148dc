//! The notes themselves: one row per object, and what is counted beside them.

use std::sync::Arc;

use minicbor::{CborLen, Decode, Encode};
use umbra_core::{Clock, ErrorKind, ObjectKey, Result};
use umbra_meta::{Batch, Entry, Expect, MetaStore, Partition, key};

use super::UncarriedReason;
use crate::{
    origin::Uncarried,
    record::{decode, encode},
    stats::Stats,
};

/// Keys remembered for having been noted already, so that readers that insist cost no write each.
const RECENT_MAX: usize = 4096;
/// How often a note is tried again that somebody else changed meanwhile.
const ATTEMPTS_MAX: usize = 8;

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

/// Notes of one bucket in one generation.
#[derive(Clone, Debug)]
pub(crate) struct Notes {
    pub(crate) meta: Arc<dyn MetaStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) partition: Partition,
    pub(crate) stats: Arc<Stats>,
}

impl Notes {
    pub(super) fn generation(&self) -> u64 {
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
    pub(super) async fn take_back(&self, entry: &Entry, note: &Note, reasons: &[UncarriedReason]) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::{Note, UncarriedReason};
    use crate::record::{decode, encode};

    /// The first format, written once and readable for ever.
    #[test]
    fn notes_of_the_first_format_are_read() {
        let golden: &[u8] = &[1, 0x84, 7, 0x18, 0x2a, 0x88, 0, 1, 2, 3, 4, 5, 6, 7, 0x81, 0x61, b'x'];
        let note = Note { generation: 7, at: 42, reasons: UncarriedReason::ALL.to_vec(), headers: vec!["x".into()] };
        assert_eq!(encode(&note), golden);
        assert_eq!(decode::<Note>("note", golden).unwrap(), note);
    }
}

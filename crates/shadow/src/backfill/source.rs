//! Which object a backfill moves next, and where it got to.

use std::collections::VecDeque;

use minicbor::{CborLen, Decode, Encode};
use umbra_core::{ObjectKey, Result};
use umbra_meta::{Projection, key};

use super::{
    ATTEMPTS_MAX, CLASSES,
    listing::{Listed, Listing},
};
use crate::{
    inventory::ColdPage,
    jobs::{JobContext, JobKind, JobOrder, Next, Progress, note_of},
    record::{decode, encode},
};

/// Rows read at once.
const PAGE: usize = 512;
/// Pages read in one go before the job takes note of where it is.
const PAGES_MAX: usize = 8;

/// What there is to do.
pub(super) enum Wanted {
    /// This object, of so many bytes.
    Object(ObjectKey, u64),
    /// Nothing yet: the origin is being listed, perhaps held up.
    Listing(Option<String>),
    /// Nothing yet, but there is more to look through.
    Later,
    /// Nothing until somebody does something about this.
    Stuck(String),
    /// Nothing more in this phase.
    Nothing,
}

/// Where a backfill is: its cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, CborLen)]
struct Position {
    #[n(0)]
    phase: Phase,
    /// Of classes, which; of rounds, which.
    #[n(1)]
    number: u8,
    /// Everything up to this key is settled.
    #[n(2)]
    after: Option<String>,
    /// What was counted, where there is a prefix: objects and bytes.
    #[n(3)]
    objects: u64,
    #[n(4)]
    bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, CborLen)]
#[cbor(index_only)]
enum Phase {
    /// Counts what is below a prefix. For the whole bucket the inventory knows.
    #[default]
    #[n(0)]
    Count,
    /// Moves everything, or one class of sizes.
    #[n(1)]
    Walk,
    /// Tries once more what failed.
    #[n(2)]
    Retry,
}

/// How far the inventory is listed anew. Rows beyond are of an earlier listing: who followed them would miss what is still to be listed before.
enum Reach {
    All,
    UpTo(Option<String>),
}

/// Reads keys ahead.
pub(super) struct Source {
    position: Position,
    read_after: Option<String>,
    /// Whether there is nothing behind what was read, and nothing comes there any more.
    ended: bool,
    ahead: VecDeque<(ObjectKey, u64)>,
    listing: Listing,
    /// How many were begun in this phase.
    begun: u64,
}

impl Source {
    /// Goes on where the job is.
    pub(super) fn new(job: &JobContext) -> Result<Self> {
        let position: Position = match &job.job.cursor {
            Some(cursor) => decode("backfill's cursor", cursor)?,
            None => Position { phase: if job.job.prefix.is_empty() { Phase::Walk } else { Phase::Count }, ..Position::default() },
        };
        let read_after = position.after.clone();
        Ok(Self { position, read_after, ended: false, ahead: VecDeque::new(), listing: Listing::default(), begun: 0 })
    }

    /// The bytes that lead back here. `idle` says that nothing is under way.
    pub(super) fn cursor(&mut self, idle: bool) -> Vec<u8> {
        if idle && self.ahead.is_empty() {
            self.position.after.clone_from(&self.read_after);
        }
        encode(&self.position)
    }

    /// Everything up to `key` is settled.
    pub(super) fn settled(&mut self, key: &ObjectKey) {
        self.position.after = Some(key.to_string());
    }

    /// What was wanted is not begun after all.
    pub(super) fn put_back(&mut self, object: (ObjectKey, u64)) {
        self.begun -= 1;
        self.ahead.push_front(object);
    }

    /// The next object.
    pub(super) async fn next(&mut self, job: &JobContext) -> Result<Wanted> {
        // Looked at before the rows are: what it listed by then is among them.
        let (reach, held_up) = match self.listing.look(job).await? {
            Listed::Through => (Reach::All, None),
            Listed::Stuck(reason) => return Ok(Wanted::Stuck(reason)),
            Listed::Going { upto, trouble } => (Reach::UpTo(upto), Some(trouble)),
        };
        let follows = self.position.phase == Phase::Walk && job.job.options.order != Some(JobOrder::Smallest);
        if let Some(trouble) = &held_up
            && !follows
        {
            return Ok(Wanted::Listing(trouble.clone()));
        }
        if self.ahead.is_empty() && !self.ended {
            match self.position.phase {
                Phase::Count => return self.count(job).await,
                Phase::Walk => self.read_inventory(job, &reach).await?,
                Phase::Retry => self.read_notes(job).await?,
            }
        }
        if let Some((key, size)) = self.ahead.pop_front() {
            self.begun += 1;
            return Ok(Wanted::Object(key, size));
        }
        Ok(match (self.ended, held_up) {
            (true, _) => Wanted::Nothing,
            (false, Some(trouble)) => Wanted::Listing(trouble),
            (false, None) => Wanted::Later,
        })
    }

    /// Counts a few pages.
    async fn count(&mut self, job: &JobContext) -> Result<Wanted> {
        for _ in 0..PAGES_MAX {
            let (page, more) = self.read_page(job, &Reach::All).await?;
            self.position.objects += page.len() as u64;
            self.position.bytes += page.iter().map(|(_, size)| size).sum::<u64>();
            if !more {
                self.enter(Phase::Walk, 0);
                break;
            }
        }
        Ok(Wanted::Later)
    }

    async fn read_inventory(&mut self, job: &JobContext, reach: &Reach) -> Result<()> {
        for _ in 0..PAGES_MAX {
            let (mut page, more) = self.read_page(job, reach).await?;
            if job.job.options.order == Some(JobOrder::Smallest) {
                let class = usize::from(self.position.number);
                page.retain(|(_, size)| class_of(*size) == class);
            }
            self.ahead.extend(page);
            self.ended = !more && matches!(reach, Reach::All);
            if !more || !self.ahead.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// The next page of the inventory, and whether there is more behind it within reach.
    async fn read_page(&mut self, job: &JobContext, reach: &Reach) -> Result<(Vec<(ObjectKey, u64)>, bool)> {
        let upto = match reach {
            Reach::All => None,
            Reach::UpTo(Some(upto)) => Some(upto.as_str()),
            Reach::UpTo(None) => return Ok((Vec::new(), false)),
        };
        let mut range = key::inventory_range(&job.job.prefix);
        if let Some(after) = &self.read_after {
            range = range.after(&key::inventory_prefix(after));
        }
        let ColdPage { mut keys, last, mut more } = job.shadow.cold_page(&job.bucket, range, PAGE).await?;
        if let Some(upto) = upto.filter(|upto| last.as_deref() > Some(upto)) {
            keys.retain(|(key, _)| key.as_str() <= upto);
            more = false;
            self.read_after = self.read_after.take().max(Some(upto.to_owned()));
        } else if let Some(last) = last {
            self.read_after = Some(last);
        }
        Ok((keys.into_iter().map(|(key, cold)| (key, cold.size)).collect(), more))
    }

    async fn read_notes(&mut self, job: &JobContext) -> Result<()> {
        let code = JobKind::Backfill.code();
        for _ in 0..PAGES_MAX {
            let mut range = key::job::note_range(code, job.job.run, "");
            if let Some(after) = &self.read_after {
                range = range.after(&key::job::note_prefix(code, job.job.run, after));
            }
            let rows = job.shadow.native().meta().scan(job.bucket.partition, range, PAGE, Projection::Full).await?;
            self.ended = rows.len() < PAGE;
            for row in &rows {
                if let Some((key, note)) = note_of(row)? {
                    self.read_after = Some(key.to_string());
                    if note.attempts < ATTEMPTS_MAX {
                        self.ahead.push_back((key, note.size.unwrap_or(0)));
                    }
                }
            }
            if self.ended || !self.ahead.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn enter(&mut self, phase: Phase, number: u8) {
        let Position { objects, bytes, .. } = self.position;
        self.position = Position { phase, number, after: None, objects, bytes };
        (self.read_after, self.ended, self.begun) = (None, false, 0);
    }

    /// Goes on to the next phase, everything of this one being settled. `failed` objects are noted.
    pub(super) fn next_phase(&mut self, job: &JobContext, failed: u64) -> Next {
        let Position { phase, number, .. } = self.position;
        let smallest = job.job.options.order == Some(JobOrder::Smallest);
        if phase == Phase::Walk && smallest && usize::from(number) + 1 < CLASSES.len() {
            self.enter(Phase::Walk, number + 1);
            return Next::Step;
        }
        let round = if phase == Phase::Retry { number + 1 } else { 1 };
        let vain = phase == Phase::Retry && self.begun == 0;
        if failed == 0 || vain || u32::from(round) >= ATTEMPTS_MAX {
            return Next::Done;
        }
        self.enter(Phase::Retry, round);
        // Four times as long before each round.
        Next::After(job.shadow.0.job_retry_delay * 4_u32.pow(u32::from(round) - 1))
    }

    /// Tells what is left, once the origin is listed through: what failed is not.
    pub(super) async fn tell_left(&self, job: &JobContext, progress: &mut Progress) -> Result<()> {
        if !self.listing.is_through() || self.position.phase == Phase::Count {
            return Ok(());
        }
        let (counts, more) = (&job.job.counts, &progress.counts);
        let failed_objects = (counts.objects_failed + more.objects_failed).saturating_sub(progress.mended.0);
        let failed_bytes = (counts.bytes_failed + more.bytes_failed).saturating_sub(progress.mended.1);
        let (objects, bytes) = if job.job.prefix.is_empty() {
            let cold = job.shadow.cold_totals(&job.bucket).await?;
            (cold.objects, cold.bytes)
        } else if progress.next == Next::Done {
            (failed_objects, failed_bytes)
        } else {
            let done = (counts.objects_done + more.objects_done, counts.bytes_done + more.bytes_done);
            (self.position.objects.saturating_sub(done.0), self.position.bytes.saturating_sub(done.1))
        };
        progress.counts.objects_left = Some(objects.saturating_sub(failed_objects));
        progress.counts.bytes_left = Some(bytes.saturating_sub(failed_bytes));
        Ok(())
    }
}

/// Which of [`CLASSES`] holds an object of `size` bytes.
fn class_of(size: u64) -> usize {
    CLASSES.iter().position(|bound| size < *bound).unwrap_or(CLASSES.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::{CLASSES, Phase, Position, class_of};
    use crate::record::{decode, encode};

    #[test]
    fn every_size_has_one_class() {
        let table = [(0, 0), (65_535, 0), (65_536, 1), (1 << 20, 2), (255 << 20, 3), (256 << 20, 4), (u64::MAX, CLASSES.len() - 1)];
        for (size, class) in table {
            assert_eq!(class_of(size), class, "{size}");
        }
    }

    /// The first format, written once and readable for ever.
    #[test]
    fn cursors_of_the_first_format_are_read() {
        let golden: &[u8] = &[1, 0x85, 2, 3, 0x61, b'k', 5, 6];
        let position = Position { phase: Phase::Retry, number: 3, after: Some("k".into()), objects: 5, bytes: 6 };
        assert_eq!(encode(&position), golden);
        assert_eq!(decode::<Position>("cursor", golden).unwrap(), position);
    }
}

//! One page of an audit.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::{StreamExt, stream};
use umbra_blob::{BlobId, Error as BlobError};
use umbra_core::{Error, Narrowed, Region, Result, Timestamp};
use umbra_meta::{Batch, Entry, Error as MetaError, Expect, KeyRange, Partition, Projection, Revision, key};

use super::{Audit, AuditFindings, Auditor, homes::Bytes, inline::Outcome};
use crate::{
    Bucket, Extent, ObjectRecord,
    placement::{
        Moved, Placement, decide,
        due::{self, DueCopy, Wanted, row},
        idle::LetGo,
        index::CopyRow,
    },
    record,
};

/// Rows that a step reads.
const ROWS: usize = 64;
/// Blobs whose copies are looked up by one scan.
const BLOBS: usize = 128;
/// Blobs that are looked after at once.
const AT_ONCE: usize = 8;
/// Rows queued by one commit.
const QUEUED: usize = 256;
/// Of a reason so much is kept.
const REASON_CHARS_MAX: usize = 300;
/// Contents after which a step ends, at the end of their row: an object has up to ten thousand.
const CONTENTS: usize = 1024;

/// What a row of the bucket names.
pub(super) struct Named {
    pub(super) row: Vec<u8>,
    pub(super) revision: Revision,
    pub(super) extents: Vec<Extent>,
    /// The object, if its content is in the row.
    pub(super) inline: Option<Box<ObjectRecord>>,
    pub(super) narrowed: Option<Narrowed>,
    /// Whether it is an object. What is on its way to become one has no home to be judged by the location, until it has.
    is_object: bool,
}

/// What is to be done about a blob.
#[derive(Default)]
struct Verdict {
    findings: AuditFindings,
    /// The regions in which a copy is to be made.
    wanted: Vec<String>,
    /// Which of these is to be the home then.
    home: Option<String>,
}

impl Auditor {
    /// Walks through the next page. Tells whether it was the last.
    pub(super) async fn walk(&self, bucket: &Bucket, audit: &mut Audit) -> Result<bool> {
        let families = [key::all_pieces(), key::all_uploads(), key::object_range(""), key::version_range("")];
        let Some(range) = families.into_iter().find_map(|family| rest_of(family, &audit.after)) else { return Ok(true) };
        let end = range.end.clone();
        let rows = self.parts.meta.scan(bucket.partition, range, ROWS, Projection::Full).await?;
        let (mut findings, mut wanted) = (audit.findings.clone(), BTreeSet::new());
        let (some, read) = self.named(bucket, &rows, &mut findings).await;
        let next = match (rows.get(read.saturating_sub(1)), end) {
            (Some(last), _) if read < rows.len() || read == ROWS => last.key.to_vec(),
            (_, Some(end)) => end,
            (_, None) => vec![0xff],
        };
        for named in some {
            let gone_before = findings.gone;
            for extents in named.extents.chunks(BLOBS) {
                self.judge_all(bucket, &named, extents, &mut findings, &mut wanted).await?;
            }
            if findings.gone > gone_before {
                self.tell_gone(bucket, &named, findings.gone - gone_before, gone_before);
            }
        }
        self.queue(bucket, wanted, &mut findings).await?;
        (audit.findings, audit.after) = (findings, next);
        Ok(false)
    }

    /// What rows name, as many of them as there is to do in a step, and how many these are. Content that may not be in its row is taken out of it.
    async fn named(&self, bucket: &Bucket, rows: &[Entry], findings: &mut AuditFindings) -> (Vec<Named>, usize) {
        let (mut read, mut rows_read, mut contents) = (Vec::new(), 0, 0);
        for entry in rows {
            if contents >= CONTENTS {
                break;
            }
            rows_read += 1;
            if let Some(named) = Named::of(entry).transpose() {
                contents += named.as_ref().map_or(0, |named| named.extents.len());
                read.push(named);
            }
        }
        let taking: Vec<_> = read.into_iter().map(|named| self.take_out_of(bucket, named)).collect();
        let all: Vec<_> = stream::iter(taking).buffered(AT_ONCE).collect().await;
        let mut told = Vec::new();
        for one in all {
            match one {
                Ok((named, outcome)) => {
                    findings.count(outcome);
                    told.push(named);
                }
                Err(error) => {
                    // It holds up none of the others.
                    tracing::warn!(bucket = %bucket.name, ?error, "an audit cannot read a row");
                    findings.failed += 1;
                }
            }
        }
        (told, rows_read)
    }

    async fn take_out_of(&self, bucket: &Bucket, named: Result<Named>) -> Result<(Named, Result<Outcome>)> {
        let mut named = named?;
        let outcome = self.take_out(bucket, &mut named).await;
        Ok((named, outcome))
    }

    async fn judge_all(
        &self,
        bucket: &Bucket,
        named: &Named,
        extents: &[Extent],
        findings: &mut AuditFindings,
        wanted: &mut BTreeSet<Wanted>,
    ) -> Result<()> {
        let ids: Vec<_> = extents.iter().map(|extent| &extent.blob).collect();
        let copies = self.parts.blobs.copies_of_all(&ids).await?;
        let judging: Vec<_> = extents.iter().zip(copies).map(|(extent, copies)| self.judge(bucket, named, extent, copies)).collect();
        let verdicts: Vec<Verdict> = stream::iter(judging).buffered(AT_ONCE).collect().await;
        for (extent, verdict) in extents.iter().zip(verdicts) {
            findings.add(verdict.findings);
            let home = verdict.home;
            wanted.extend(verdict.wanted.into_iter().map(|region| {
                let becomes_home = home.as_ref() == Some(&region);
                Wanted { region, blob: extent.blob.clone(), becomes_home }
            }));
        }
        Ok(())
    }

    /// Holds the copies of a blob against what its bucket's location asks for, does what can be done at once, and counts what is there then.
    async fn judge(&self, bucket: &Bucket, named: &Named, extent: &Extent, copies: Vec<CopyRow>) -> Verdict {
        let (id, mut verdict) = (&extent.blob, Verdict::default());
        let Some(home) = self.parts.blobs.home_by(id, &copies) else { return verdict };
        let mut found = Some((home, copies));
        if let Err(error) = self.put_right(bucket, named, id, &mut found, &mut verdict).await {
            tracing::debug!(bucket = %bucket.name, blob = ?id, %error, "it cannot be told whether copies are where they have to be");
            verdict.findings.fail(&error);
        }
        if let Some((home, copies)) = found {
            verdict.count(&home, &copies, extent.size);
        }
        verdict
    }

    /// Does what can be done at once about a blob. Leaves in `found` its home and its copies as they are then; nothing if its bytes are nowhere.
    async fn put_right(
        &self,
        bucket: &Bucket,
        named: &Named,
        id: &BlobId,
        found: &mut Option<(Region, Vec<CopyRow>)>,
        verdict: &mut Verdict,
    ) -> Result<()> {
        let blobs = &self.parts.blobs;
        let Some((home, copies)) = found.as_ref() else { return Ok(()) };
        let placement = decide(&bucket.settings.location, named.narrowed.as_ref(), Some(home), blobs.topology());
        if !named.is_object {
            // It stays where it is until it has become an object. What those who read it meanwhile have left does not.
            if copies.iter().any(|copy| is_out_of(&placement, copy)) {
                self.drop_others(&placement, id, verdict).await?;
                *found = self.look_again(id).await?;
            }
            return Ok(());
        }
        if placement.is_everywhere() {
            // By an earlier location they had to be there.
            for copy in copies.iter().filter(|copy| copy.record.is_required && copy.record.blob.is_some()) {
                blobs.release_copy(id, copy).await?;
            }
            return Ok(());
        }
        match self.find_bytes(bucket, named, id, (home, copies), &placement).await? {
            Bytes::AtHome => {}
            Bytes::Moved => {
                (verdict.findings.lost, verdict.findings.moved) = (1, 1);
                *found = self.look_again(id).await?;
            }
            Bytes::Nowhere => {
                verdict.findings.gone = 1;
                *found = None;
            }
            Bytes::NotNow => {
                verdict.findings.pending += 1;
                return Ok(());
            }
        }
        let Some((home, copies)) = found.as_ref() else { return Ok(()) };
        self.place(bucket, named, id, (home, copies), verdict).await?;
        if verdict.findings.moved > 0 || verdict.findings.removed > 0 {
            *found = self.look_again(id).await?;
        }
        Ok(())
    }

    /// Has the copies of a blob be where they have to be, its home where it may be, and nothing elsewhere, as far as that can be done at once.
    async fn place(
        &self,
        bucket: &Bucket,
        named: &Named,
        id: &BlobId,
        (home, copies): (&Region, &[CopyRow]),
        verdict: &mut Verdict,
    ) -> Result<()> {
        let blobs = &self.parts.blobs;
        let placement = decide(&bucket.settings.location, named.narrowed.as_ref(), Some(home), blobs.topology());
        let is_home_allowed = placement.may_keep(home);
        let settled = if is_home_allowed { Some(home) } else { placement.homes().first() };
        let Some(settled) = settled else { return Ok(()) };
        for region in placement.required(settled).iter().filter(|region| *region != home) {
            verdict.require(self, region, copies).await?;
        }
        if !verdict.wanted.is_empty() {
            if !is_home_allowed && verdict.wanted.iter().any(|region| region == settled.as_str()) {
                // Whoever makes the copy moves the home.
                verdict.home = Some(settled.to_string());
            }
            // Until what has to be there is, nothing goes: it may be what is left when the home is lost.
            let is_elsewhere = |copy: &&CopyRow| copy.record.home.is_none() && is_out_of(&placement, copy);
            verdict.findings.pending += copies.iter().filter(is_elsewhere).count() as u64;
            return Ok(());
        }
        if !is_home_allowed && named.narrowed.is_none() {
            // Its region reads the copy that is there whole, which from here would be across, and moves the home.
            verdict.wanted.push(settled.to_string());
            verdict.home = Some(settled.to_string());
            verdict.findings.pending += 1;
            return Ok(());
        }
        if !is_home_allowed {
            if blobs.move_home(id, settled.as_str()).await? == Moved::NotNow {
                verdict.findings.pending += 1;
                return Ok(());
            }
            verdict.findings.moved += 1;
        }
        self.drop_others(&placement, id, verdict).await
    }

    async fn look_again(&self, id: &BlobId) -> Result<Option<(Region, Vec<CopyRow>)>> {
        let copies = self.parts.blobs.copies(id).await?;
        Ok(self.parts.blobs.home_by(id, &copies).map(|home| (home, copies)))
    }

    /// Drops copies that are where they may not be, as they are now.
    async fn drop_others(&self, placement: &Placement, id: &BlobId, verdict: &mut Verdict) -> Result<()> {
        let copies = self.parts.blobs.copies(id).await?;
        let others = copies.iter().filter(|copy| is_out_of(placement, copy)).filter(|copy| copy.record.home.is_none());
        // One that is coming may be dropped once it is there.
        let (there, coming): (Vec<_>, Vec<_>) = others.partition(|copy| copy.record.blob.is_some());
        verdict.findings.pending += coming.len() as u64;
        if there.is_empty() {
            return Ok(());
        }
        match self.parts.blobs.let_go(id, &there).await? {
            LetGo::Gone(gone) => {
                verdict.findings.removed += gone;
                verdict.findings.pending += there.len() as u64 - gone;
            }
            LetGo::Stay { has_moved } => {
                verdict.findings.lost += u64::from(has_moved);
                verdict.findings.moved += u64::from(has_moved);
                verdict.findings.pending += there.len() as u64;
            }
        }
        Ok(())
    }

    /// Queues copies to be made, but for those that are queued.
    async fn queue(&self, bucket: &Bucket, wanted: BTreeSet<Wanted>, findings: &mut AuditFindings) -> Result<()> {
        let mut queued: BTreeMap<&str, Option<HashMap<BlobId, bool>>> = BTreeMap::new();
        let mut fresh = Vec::new();
        for copy in &wanted {
            let (region, blob) = (&copy.region, &copy.blob);
            if !queued.contains_key(region.as_str()) {
                queued.insert(region, self.queued(bucket.partition, region).await?);
            }
            match queued.get(region.as_str()) {
                Some(Some(known)) => match known.get(blob) {
                    // Whoever makes it may take it for the home by another location, or not know that it is to be.
                    Some(becomes_home) => findings.pending += u64::from(*becomes_home != copy.becomes_home),
                    None => fresh.push(copy.clone()),
                },
                // It comes again when there are fewer.
                _ => findings.pending += 1,
            }
        }
        for some in fresh.chunks(QUEUED) {
            self.enqueue(bucket.partition, some.iter().cloned().collect()).await?;
        }
        Ok(())
    }

    /// The blobs that are queued to be copied to `region`, and whether each is to be at home there; `None`: they are many.
    async fn queued(&self, partition: Partition, region: &str) -> Result<Option<HashMap<BlobId, bool>>> {
        let rows = self.parts.meta.scan(partition, key::due_copies_of(region), self.due_max, Projection::Full).await?;
        let is_all = rows.len() < self.due_max;
        let due = rows.into_iter().filter_map(DueCopy::decode);
        Ok(is_all.then(|| due.map(|due| (due.blob, due.record.becomes_home)).collect()))
    }

    async fn enqueue(&self, partition: Partition, copies: BTreeSet<Wanted>) -> Result<()> {
        let mut now = self.parts.clock.now();
        loop {
            let mut batch = Batch::new(partition).check(key::settings(), Expect::Exists);
            for copy in &copies {
                batch = batch.check(row(&copy.region, now, &copy.blob), Expect::Absent);
            }
            due::enqueue(&mut batch.writes, &copies, now);
            match self.parts.meta.commit(batch).await {
                Ok(_) => break,
                Err(MetaError::Conflict { key: found, .. }) if found != key::settings() => {
                    // A row of this very moment: another moment will do.
                    now = Timestamp::from_millis(now.as_millis() + 1);
                }
                Err(error) => return Err(error.into()),
            }
        }
        copies.iter().for_each(|copy| self.parts.pointers.point(&copy.region, partition));
        Ok(())
    }
}

impl Verdict {
    fn count(&mut self, home: &Region, copies: &[CopyRow], size: u64) {
        let used = self.findings.regions.entry(home.to_string()).or_default();
        (used.homes, used.home_bytes) = (1, size);
        for copy in copies.iter().filter(|copy| copy.record.blob.is_some() && copy.record.home.is_none()) {
            let used = self.findings.regions.entry(copy.region.clone()).or_default();
            (used.copies, used.copy_bytes) = (1, size);
        }
    }

    /// Has a copy be in `region` that can be read.
    async fn require(&mut self, auditor: &Auditor, region: &Region, copies: &[CopyRow]) -> Result<()> {
        let known = copies.iter().find(|copy| copy.region == region.as_str());
        let known = known.filter(|copy| copy.record.is_required && copy.record.blob.is_some());
        match known {
            Some(copy) if auditor.parts.blobs.answers_in(copy).await.map_err(|error| in_region(&copy.region, error))? => return Ok(()),
            // It is found lost, and made again, in its turn.
            Some(_) => self.findings.lost += 1,
            // One that did not have to be there is made one that has to, too.
            None => {}
        }
        self.findings.missing += 1;
        self.wanted.push(region.to_string());
        Ok(())
    }
}

impl AuditFindings {
    fn count(&mut self, outcome: Result<Outcome>) {
        match outcome {
            Ok(Outcome::Stayed) => {}
            Ok(Outcome::TakenOut) => self.moved += 1,
            Ok(Outcome::NotNow) => self.pending += 1,
            Err(error) => self.fail(&error),
        }
    }

    /// Counts that something could not be told or done, and keeps the reason.
    fn fail(&mut self, error: &Error) {
        self.failed += 1;
        self.failure = Some(error.to_string().chars().take(REASON_CHARS_MAX).collect());
    }

    fn add(&mut self, other: Self) {
        let Self { regions, missing, lost, removed, moved, pending, failed, failure, gone } = other;
        for (region, other) in regions {
            let used = self.regions.entry(region).or_default();
            used.homes += other.homes;
            used.home_bytes += other.home_bytes;
            used.copies += other.copies;
            used.copy_bytes += other.copy_bytes;
        }
        self.missing += missing;
        self.lost += lost;
        self.removed += removed;
        self.moved += moved;
        self.pending += pending;
        self.failed += failed;
        self.failure = failure.or_else(|| self.failure.take());
        self.gone += gone;
    }
}

impl Named {
    /// What `entry` names, if anything.
    fn of(entry: &Entry) -> Result<Option<Self>> {
        let key = &entry.key[..];
        let mut named =
            Self { row: key.to_vec(), revision: entry.revision, extents: Vec::new(), inline: None, narrowed: None, is_object: false };
        if key::parse_object(key).is_some() || key::parse_version(key).is_some() {
            let object = record::object::decode(entry)?;
            named.is_object = true;
            named.extents = object.content.extents().to_vec();
            named.narrowed.clone_from(&object.attributes.narrowed);
            named.inline = Some(Box::new(object)).filter(|object| object.size > 0 && named.extents.is_empty());
        } else if key::parse_part(key).is_some() {
            named.extents = record::part::decode(entry)?.extents;
        } else if key::parse_piece(key).is_some() {
            named.extents = vec![record::piece::decode_piece(&entry.body)?.0];
        } else {
            return Ok(None);
        }
        Ok(Some(named))
    }
}

/// Whether a copy is where it may not be.
fn is_out_of(placement: &Placement, copy: &CopyRow) -> bool {
    Region::parse(&copy.region).is_ok_and(|region| !placement.may_keep(&region))
}

/// Says which region an error is of.
pub(super) fn in_region(region: &str, error: BlobError) -> Error {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Error::new(error.kind(), format!("{region}: {error}{cause}"))
}

/// What of `family` lies behind `after`.
fn rest_of(family: KeyRange, after: &[u8]) -> Option<KeyRange> {
    if family.end.as_ref().is_some_and(|end| end.as_slice() <= after) {
        return None;
    }
    if family.start.as_slice() > after { Some(family) } else { Some(family.after(after)) }
}

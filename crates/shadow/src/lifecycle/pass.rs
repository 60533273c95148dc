//! A pass through a bucket, one page after the other.

use bytes::Bytes;
use futures::{StreamExt, stream};
use md5::{Digest, Md5};
use minicbor::{CborLen, Decode, Encode};
use umbra_core::{BucketName, RequestContext, Result, Timestamp};
use umbra_meta::{Batch, Check, Entry, Expect, KeyRange, Projection, key};
use umbra_store::{Bucket, Lifecycle, LifecycleDay, Versioning};

use super::{SLEEP_MAX, Worker};
use crate::{
    Shadow,
    record::{decode, encode},
};

/// Rows that a step reads.
const ROWS: usize = 256;
/// How often the wait after a pass that failed doubles at most: then it is longer than a day.
const DOUBLINGS_MAX: u32 = 11;
/// Objects that are acted on at a time.
const AT_ONCE: usize = 4;

/// Where the pass of a bucket has got to. Row `l`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub(super) struct Pass {
    /// Tells the rules it began with from others.
    #[n(0)]
    rules: u64,
    /// When it began, in milliseconds since 1970: what falls due later is the next one's.
    #[n(1)]
    began: i64,
    /// What it is at.
    #[n(2)]
    stage: Stage,
    /// The row it got to.
    #[cbor(n(3), with = "minicbor::bytes")]
    after: Vec<u8>,
    /// When it ended.
    #[n(4)]
    ended: Option<i64>,
    /// Whether something failed that the next one is to try again soon.
    #[n(5)]
    failed: bool,
    /// Within the versions of a key: what the next row stands behind.
    #[n(6)]
    behind: Option<Behind>,
    /// How many passes in a row before it failed.
    #[n(7)]
    failures: Option<u32>,
}

/// What of a key's versions lies before a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub(super) struct Behind {
    /// When the next newer one was written, in milliseconds since 1970; `None`: there is none.
    #[n(0)]
    pub(super) since: Option<i64>,
    /// How many that are not current are newer.
    #[n(1)]
    pub(super) newer: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
#[cbor(index_only)]
enum Stage {
    #[n(0)]
    Objects,
    #[n(1)]
    Uploads,
    #[n(2)]
    Versions,
}

/// What one step works with.
pub(super) struct Step<'a> {
    pub(super) shadow: &'a Shadow,
    pub(super) cx: RequestContext,
    pub(super) bucket: &'a Bucket,
    pub(super) day: LifecycleDay,
    /// When the pass began: everything is judged as of then.
    pub(super) now: Timestamp,
}

impl Pass {
    pub(super) async fn read(shadow: &Shadow, bucket: &Bucket) -> Result<Option<Self>> {
        let entry = shadow.native().meta().get(bucket.partition, &key::lifecycle()).await?;
        // One that cannot be read is begun anew.
        Ok(entry.and_then(|entry| decode("lifecycle", &entry.body).ok()))
    }

    /// A new one, after `before` by the same rules.
    fn begin(rules: u64, now: Timestamp, before: Option<&Self>) -> Self {
        Self {
            rules,
            began: now.as_millis(),
            stage: Stage::Objects,
            after: Vec::new(),
            ended: None,
            failed: false,
            behind: None,
            failures: before.filter(|before| before.failed).map(|before| before.failures.unwrap_or(0).saturating_add(1)),
        }
    }

    fn enter(&mut self, stage: Stage) {
        (self.stage, self.after, self.behind) = (stage, Vec::new(), None);
    }

    /// When the bucket is to be looked at again; `None` for at once.
    pub(super) fn next_due(&self, rules: u64, day: LifecycleDay) -> Option<Timestamp> {
        let ended = Timestamp::from_millis(self.ended.filter(|_| self.rules == rules)?);
        let regular = day.next_look(Timestamp::from_millis(self.began));
        // Later each time: what always fails must not have the bucket read for ever.
        let wait = SLEEP_MAX.saturating_mul(1 << self.failures.unwrap_or(0).min(DOUBLINGS_MAX));
        Some(if self.failed { regular.min(ended.plus(wait)) } else { regular })
    }

    async fn save(&self, shadow: &Shadow, bucket: &Bucket) -> Result<()> {
        let batch = Batch::new(bucket.partition).check(key::settings(), Expect::Exists);
        let batch = batch.put(key::lifecycle(), Bytes::new(), encode(self));
        match shadow.native().meta().commit(batch).await {
            // Without settings there is no bucket any more.
            Ok(_) | Err(umbra_meta::Error::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Worker {
    /// Takes the pass of a bucket one page further. Tells whether there is more.
    pub(super) async fn step(&self, name: &BucketName) -> Result<bool> {
        let bucket = self.shadow.0.catalog.bucket(name).await?;
        if !bucket.settings.extras.lifecycle.is_active() {
            return Ok(false);
        }
        let (now, rules) = (self.shadow.0.clock.now(), rules_mark(&bucket));
        let known = Pass::read(&self.shadow, &bucket).await?.filter(|pass| pass.rules == rules);
        let mut pass = match known {
            Some(pass) if pass.ended.is_none() => pass,
            Some(pass) if pass.next_due(rules, self.day).is_some_and(|due| due > now) => return Ok(false),
            before => Pass::begin(rules, now, before.as_ref()),
        };
        let cx = RequestContext { request_id: "lifecycle".to_owned(), ..RequestContext::default() };
        let step = Step { shadow: &self.shadow, cx, bucket: &bucket, day: self.day, now: Timestamp::from_millis(pass.began) };
        step.advance(&mut pass).await?;
        if !step.is_current().await? {
            // Nothing was done any more once the settings changed. The page is looked at again, by the rules there are now.
            return Ok(true);
        }
        pass.save(&self.shadow, &bucket).await?;
        Ok(pass.ended.is_none())
    }
}

impl Step<'_> {
    fn rules(&self) -> &Lifecycle {
        &self.bucket.settings.extras.lifecycle
    }

    /// Holds as long as the bucket's settings are those that were read: whoever takes a rule back has it end nothing any more.
    pub(super) fn settings_unchanged(&self) -> Check {
        Check { key: key::settings(), expect: Expect::Revision(self.bucket.revision) }
    }

    /// Whether the bucket's settings are those that were read.
    pub(super) async fn is_current(&self) -> Result<bool> {
        let now = self.shadow.native().meta().get(self.bucket.partition, &key::settings()).await?;
        Ok(now.is_some_and(|now| now.revision == self.bucket.revision))
    }

    async fn advance(&self, pass: &mut Pass) -> Result<()> {
        let ranges = match pass.stage {
            Stage::Objects => self.ranges(|rule| rule.acts_on_objects(), key::object_range),
            Stage::Versions => self.ranges(|rule| rule.acts_on_versions(), key::version_range),
            Stage::Uploads => self.ranges(|rule| rule.abort_uploads_days.is_some(), key::upload_index_range),
        };
        let Some(range) = first_behind(ranges, &pass.after) else {
            match pass.stage {
                Stage::Objects if self.bucket.settings.versioning != Versioning::Off => pass.enter(Stage::Versions),
                Stage::Objects | Stage::Versions => pass.enter(Stage::Uploads),
                Stage::Uploads => pass.ended = Some(self.shadow.0.clock.now().as_millis()),
            }
            return Ok(());
        };
        let end = range.end.clone();
        let rows = self.shadow.native().meta().scan(self.bucket.partition, range, ROWS, Projection::Head).await?;
        pass.after = match (rows.last(), end) {
            (Some(last), _) if rows.len() == ROWS => last.key.to_vec(),
            // Behind everything of this range: the least that is not in it.
            (_, Some(end)) => end,
            (_, None) => vec![0xff],
        };
        pass.failed |= match pass.stage {
            Stage::Versions => self.versions(&rows, &mut pass.behind).await,
            _ => self.act_on(pass.stage, rows).await,
        };
        Ok(())
    }

    /// Acts on what is due of `rows`. One that fails is told and stops no other; tells whether any did.
    async fn act_on(&self, stage: Stage, rows: Vec<Entry>) -> bool {
        let acts = rows.into_iter().map(|row| async move {
            let outcome = match stage {
                Stage::Uploads => self.upload(&row).await,
                Stage::Objects | Stage::Versions => self.object(&row).await,
            };
            outcome.inspect_err(|error| {
                tracing::warn!(bucket = %self.bucket.name, row = %row.key.escape_ascii(), ?error, "a lifecycle rule was not carried out");
            })
        });
        let outcomes: Vec<_> = stream::iter(acts).buffer_unordered(AT_ONCE).collect().await;
        outcomes.iter().any(Result::is_err)
    }

    /// The rows that rules of a kind are for, in order and each once.
    fn ranges(&self, wanted: impl Fn(&umbra_store::lifecycle::LifecycleRule) -> bool, range: impl Fn(&str) -> KeyRange) -> Vec<KeyRange> {
        let rules = self.rules().rules.iter().filter(|rule| rule.enabled && wanted(rule));
        let mut prefixes: Vec<&str> = rules.map(|rule| rule.filter.prefix.as_deref().unwrap_or_default()).collect();
        prefixes.sort_unstable();
        // Sorted, what begins with another follows it.
        prefixes.dedup_by(|later, earlier| later.starts_with(*earlier));
        prefixes.into_iter().map(range).collect()
    }
}

/// What is left of the first of `ranges` that does not lie before `after` whole; an empty `after` is before everything.
fn first_behind(ranges: Vec<KeyRange>, after: &[u8]) -> Option<KeyRange> {
    let range = ranges.into_iter().find(|range| range.end.as_ref().is_none_or(|end| end.as_slice() > after))?;
    // The end of an earlier range, where it is that, may be the first row of the next.
    let start = range.start.clone().max(after.to_vec());
    Some(if start == range.start { range } else { KeyRange { start, end: range.end }.after(after) })
}

/// Tells rules from others.
pub(super) fn rules_mark(bucket: &Bucket) -> u64 {
    // How a value is printed may differ from one release to the next; then a pass begins anew, and that is all.
    let digest = Md5::digest(format!("{:?}", bucket.settings.extras.lifecycle));
    digest.iter().take(8).fold(0, |mark, byte| mark << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use umbra_core::Timestamp;
    use umbra_meta::KeyRange;
    use umbra_store::LifecycleDay;

    use super::{Pass, first_behind};

    #[test]
    fn ranges_are_walked_in_order() {
        let ranges = || vec![KeyRange::prefix(b"o/a"), KeyRange::prefix(b"o/b"), KeyRange::prefix(b"o/x")];
        let start = |after: &[u8]| first_behind(ranges(), after).map(|range| range.start);
        assert_eq!(start(b"").as_deref(), Some(&b"o/a"[..]));
        assert_eq!(start(b"o/a5").as_deref(), Some(&b"o/a5\0"[..]));
        // The end of the first is the start of the second, where a row may stand.
        assert_eq!(start(b"o/b").as_deref(), Some(&b"o/b"[..]));
        assert_eq!(start(b"o/c").as_deref(), Some(&b"o/x"[..]));
        assert_eq!(start(b"o/y"), None);
    }

    #[test]
    fn a_pass_is_due_again_when_its_time_or_its_rules_change() {
        let day = LifecycleDay::Short(Duration::from_secs(4));
        let mut pass = Pass::begin(7, Timestamp::from_millis(1000), None);
        assert_eq!(pass.next_due(7, day), None, "it is under way");
        pass.ended = Some(1500);
        assert_eq!(pass.next_due(7, day), Some(Timestamp::from_millis(2000)));
        assert_eq!(pass.next_due(8, day), None, "other rules");
        let mut failed = Pass { failed: true, ..Pass::begin(7, Timestamp::from_millis(1000), None) };
        failed.ended = Some(1500);
        assert_eq!(failed.next_due(7, LifecycleDay::Calendar), Some(Timestamp::from_millis(61_500)));
        let mut waits = Vec::new();
        for _ in 0..14 {
            let due = failed.next_due(7, LifecycleDay::Calendar).unwrap().as_millis();
            waits.push((due - failed.ended.unwrap()) / 1000);
            failed = Pass { failed: true, ended: failed.ended, ..Pass::begin(7, Timestamp::from_millis(1000), Some(&failed)) };
        }
        assert_eq!(waits[..5], [60, 120, 240, 480, 960]);
        assert_eq!(waits[13], 86_398, "the next midnight at the latest");
        assert_eq!(Pass::begin(7, Timestamp::from_millis(1000), Some(&Pass { failed: false, ..failed })).failures, None);
    }
}

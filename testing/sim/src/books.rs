//! The books at rest: what the records name and what the stores hold are the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use umbra_core::{ErrorKind, ObjectKey, Result};
use umbra_meta::{Entry, KeyRange, MetaStore, Projection, counter_value, key};
use umbra_store::{Bucket, GetOptions, Objects, Stored, decode_piece};

use crate::{
    history::Mode,
    life::{Life, object_key},
};

/// How long background work may take to end, in the world's own time.
const REST: Duration = Duration::from_secs(120);

impl Life {
    /// Looks at everything once nothing is under way any more and nothing fails.
    pub(crate) async fn audit(&self) -> Result<()> {
        tokio::time::sleep(REST).await;
        let reclaimer = self.reclaimer();
        reclaimer.learn_partitions().await;
        for _ in 0..3 {
            reclaimer.reclaim_due().await;
            tokio::time::sleep(REST).await;
        }
        let bucket = self.bucket().await?;
        let rows = |range: KeyRange| async { self.world.meta.truth.scan(bucket.partition, range, 10_000, Projection::Full).await };
        let reclaims = rows(key::reclaim_range()).await?.len();
        let repairs = self.shadow.status(&bucket).await?.map_or(0, |status| status.pending_repairs.len());
        if (reclaims, repairs) != (0, 0) {
            self.world.complain("", format!("{reclaims} reclamations and {repairs} repairs are left at rest"));
        }
        let objects = rows(key::object_range("")).await?;
        let behind = rows(key::version_range("")).await?;
        let (versions, histories) = behind.into_iter().partition::<Vec<_>, _>(|row| key::parse_version(&row.key).is_some());
        let of =
            |rows: &[Entry], name: fn(&[u8]) -> Option<ObjectKey>| rows.iter().filter_map(|row| name(&row.key)).collect::<BTreeSet<_>>();
        if of(&histories, key::parse_history) != of(&versions, |row| key::parse_version(row).map(|(key, _)| key)) {
            self.world.complain("", format!("histories are of other keys than the versions behind them: {histories:?}, {versions:?}"));
        }
        let mut named = self.count(&bucket, objects.iter().chain(&versions)).await?;
        // Each begins with a row that names no blob.
        for piece in rows(key::all_pieces()).await?.iter().filter(|row| key::parse_piece(&row.key).is_some()) {
            let (extent, _) = decode_piece(&piece.body)?;
            let key = key::parse_piece(&piece.key).map(|(key, _)| key.as_str().to_owned()).unwrap_or_default();
            // A copy that is outdated stays until readers have touched all of the new one.
            let may_be_both = self.world.env.dials.revalidates && self.world.env.dials.touched;
            if !may_be_both && objects.iter().any(|object| key::parse_object(&object.key) == Some(key.as_str())) {
                self.world.complain(&key, "a piece of a hydration is left although the key is here");
            }
            named.insert(extent.blob.as_bytes().to_vec(), extent.size);
        }
        let uploads = rows(key::all_uploads()).await?.len();
        self.compare(named, uploads);
        Ok(())
    }

    /// The blobs that objects name; compares the counters with the objects.
    async fn count(&self, bucket: &Bucket, rows: impl Iterator<Item = &Entry>) -> Result<BTreeMap<Vec<u8>, u64>> {
        let (mut named, mut objects, mut bytes) = (BTreeMap::new(), 0, 0);
        for entry in rows {
            let stored = Stored::decode(entry)?;
            objects += usize::from(!stored.object.version.is_marker);
            bytes += stored.object.size;
            for extent in stored.object.content.extents() {
                if named.insert(extent.blob.as_bytes().to_vec(), extent.size).is_some() {
                    self.world.complain("", "one blob belongs to two objects");
                }
            }
        }
        let counters = [key::counter("objects"), key::counter("bytes")];
        let rows = self.world.meta.truth.multi_get(bucket.partition, &counters.each_ref().map(Vec::as_slice)).await?;
        let values: Vec<i64> = rows.iter().map(|row| row.as_ref().and_then(|row| counter_value(&row.head)).unwrap_or(0)).collect();
        let expected = [objects, usize::try_from(bytes).unwrap_or(usize::MAX)].map(|value| i64::try_from(value).unwrap_or(i64::MAX));
        if values != expected {
            self.world.complain("", format!("the counters say {values:?} objects and bytes, there are {expected:?}"));
        }
        Ok(named)
    }

    /// Every blob that is named is there; every blob that is there is named, but for what a crash or a lost answer left behind.
    fn compare(&self, named: BTreeMap<Vec<u8>, u64>, uploads: usize) {
        let held = self.world.blobs.held();
        for (blob, size) in &named {
            if held.get(blob) != Some(size) {
                self.world.complain("", format!("a record names blob {blob:?} of {size} bytes, the store holds {:?}", held.get(blob)));
            }
        }
        let left = held.keys().filter(|blob| !named.contains_key(*blob)).count();
        let env = &self.world.env;
        let is_faulty = !env.faults().is_empty() || !env.lost_answers().is_empty();
        let excused = uploads > 0 || self.world.history.lock().crashes > 0 || is_faulty;
        if left > 0 && !excused {
            self.world.complain("", format!("{left} blobs belong to nothing"));
        }
    }

    /// What was read is here, and with write-through throughout both sides hold the same.
    pub(crate) async fn compare_sides(&self, read: &[String]) -> Result<()> {
        let (bucket, env) = (self.bucket().await?, &self.world.env);
        let through = env.dials.write_through && !env.dials.admin && !env.dials.owner;
        let is_attached = self.world.history.lock().mode() != Some(Mode::Detached);
        for key in read {
            let here = match self.native.head(&self.cx, &bucket, &object_key(key), GetOptions::default()).await {
                Ok(info) => Some(info.etag),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => None,
                Err(error) => return Err(error),
            };
            let there = self.world.origin.etag(key);
            if through && here != there {
                self.world.complain(key, format!("at rest {here:?} is here and {there:?} at the origin, though all writes went through"));
            }
            let key_ = object_key(key);
            let rows = [key::tombstone(&key_), key::history(&key_)];
            let rows = self.world.meta.truth.multi_get(bucket.partition, &rows.each_ref().map(Vec::as_slice)).await?;
            let gone = rows.iter().any(Option::is_some);
            if is_attached && here.is_none() && there.is_some() && !gone {
                self.world.complain(key, "it was read, and is still only at the origin");
            }
        }
        Ok(())
    }
}

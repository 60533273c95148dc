//! Buckets: created, looked up for every request, changed, listed. How they end is in [`super::removal`].

use std::sync::Arc;

use umbra_core::{BucketName, Entity, Error, ErrorKind, Result};
use umbra_meta::{Batch, Error as MetaError, Expect, Partition, Revision, counter_value, key, key::root};

use super::{
    ATTEMPTS_MAX, Catalog, Pages, Shared,
    cache::{Ages, Answer},
    conflict, finish,
};
use crate::{
    Bucket, BucketSettings, BucketState,
    record::{
        self,
        bucket::{decode_settings, encode_settings},
        bucket_name::BucketNameRecord,
    },
};

/// What a bucket holds here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Objects, each version counting as one; delete markers do not count.
    pub objects: u64,
    /// Bytes of their content.
    pub bytes: u64,
}

/// A bucket in any state, with the revision of its name.
pub(super) struct NamedBucket {
    pub(super) bucket: Bucket,
    pub(super) name_revision: Revision,
}

impl Catalog {
    /// The bucket `name`. Every request asks, so it is answered from memory.
    pub async fn bucket(&self, name: &BucketName) -> Result<Arc<Bucket>> {
        match self.shared.buckets.get(name.as_str(), self.shared.age_max()) {
            Answer::Known(bucket) => Ok(bucket),
            Answer::Absent => Err(no_bucket()),
            Answer::Unknown => self.learn(name, true).await,
        }
    }

    /// The bucket `name` as it is stored now, whatever memory says.
    pub async fn refresh(&self, name: &BucketName) -> Result<Arc<Bucket>> {
        self.learn(name, false).await
    }

    /// The bucket `name` as it is stored, or was a little ago if it may be read `nearby`.
    async fn learn(&self, name: &BucketName, nearby: bool) -> Result<Arc<Bucket>> {
        let epoch = self.shared.buckets.epoch();
        let found = if nearby { self.shared.find_bucket(name).await? } else { None };
        let found = match found {
            Some(bucket) => Some(bucket),
            None => self.shared.read_bucket(name).await?.map(|named| named.bucket),
        };
        if found.as_ref().is_some_and(|bucket| bucket.settings.state == BucketState::Deleting) {
            return self.settle_deletion(name).await?.ok_or_else(no_bucket);
        }
        let found = found.map(Arc::new);
        self.shared.buckets.learn(epoch, name.as_str(), found.clone());
        found.ok_or_else(no_bucket)
    }

    /// `bucket` as it is now. Refuses if it was deleted meanwhile and another has its name: what was allowed on the one is not on the other.
    pub async fn current(&self, bucket: &Bucket) -> Result<Arc<Bucket>> {
        same_bucket(bucket, self.bucket(&bucket.name).await?)
    }

    /// Creates a bucket for `organization`, which must exist. The settings' state does not matter: a new bucket is active. A location that names
    /// regions the store does not have is refused, unless it has none at all, and so it is by [`Catalog::update_bucket`].
    ///
    /// The error of a name that is taken does not tell by whom.
    pub async fn create_bucket(&self, name: &BucketName, organization: &str, settings: BucketSettings) -> Result<Arc<Bucket>> {
        self.topology().check(&settings.location)?;
        let shared = Arc::clone(&self.shared);
        let (name, organization) = (name.clone(), organization.to_owned());
        finish(async move {
            let created = shared.create_bucket(name, organization, settings).await;
            shared.spread().await;
            created
        })
        .await
    }

    /// Changes the settings of a bucket: reads them, applies `change`, and stores them unless they were changed meanwhile; then it
    /// begins again. `change` may therefore be called more than once. What it does to the state is ignored. Refuses like
    /// [`Catalog::current`].
    pub async fn update_bucket(
        &self,
        bucket: &Bucket,
        change: &mut (dyn FnMut(&mut BucketSettings) -> Result<()> + Send),
    ) -> Result<Arc<Bucket>> {
        for _ in 0..ATTEMPTS_MAX {
            let bucket = same_bucket(bucket, self.refresh(&bucket.name).await?)?;
            let mut settings = bucket.settings.clone();
            change(&mut settings)?;
            settings.state = bucket.settings.state;
            if settings.location != bucket.settings.location {
                self.topology().check(&settings.location)?;
            }
            if settings == bucket.settings {
                self.shared.spread().await;
                return Ok(bucket);
            }
            let shared = Arc::clone(&self.shared);
            let changed = finish(async move {
                let changing = shared.begin_change().await?;
                let changed = shared.replace_settings(&bucket, settings).await;
                drop(changing);
                shared.spread().await;
                changed
            });
            if let Some(changed) = changed.await? {
                return Ok(changed);
            }
        }
        Err(conflict())
    }

    /// The first `limit` buckets whose name is greater than `after`, by name: those of `organization`, or all.
    pub async fn buckets(&self, organization: Option<&str>, after: Option<&str>, limit: usize) -> Result<Vec<Arc<Bucket>>> {
        let mut buckets = Vec::new();
        let all = root::bucket_range("");
        let range = match after {
            Some(after) => all.after(&root::bucket_prefix(after)),
            None => all,
        };
        let mut pages = Pages::new(&*self.shared.meta, range);
        while buckets.len() < limit
            && let Some(page) = pages.next().await?
        {
            for entry in page {
                let Some(name) = root::parse_bucket(&entry.key) else { continue };
                let owner = BucketNameRecord::decode(&entry.body)?.organization;
                if buckets.len() == limit || organization.is_some_and(|organization| organization != owner) {
                    continue;
                }
                match self.bucket(&name).await {
                    Ok(bucket) => buckets.push(bucket),
                    Err(error) if error.kind() == ErrorKind::NotFound(Entity::Bucket) => {} // gone since the page was read
                    // Being deleted, which only the process that leads can settle: it is there as long as it has its name.
                    Err(error) if error.kind() == ErrorKind::Conflict => {
                        buckets.extend(self.shared.read_bucket(&name).await?.map(|named| Arc::new(named.bucket)));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(buckets)
    }

    /// The partitions of all buckets.
    pub async fn partitions(&self) -> Result<Vec<Partition>> {
        let mut partitions = Vec::new();
        let mut pages = Pages::new(&*self.shared.meta, root::bucket_range(""));
        while let Some(page) = pages.next().await? {
            for entry in page {
                partitions.push(BucketNameRecord::decode(&entry.body)?.partition);
            }
        }
        Ok(partitions)
    }

    /// How much `bucket` holds here, by its counters.
    pub async fn usage(&self, bucket: &Bucket) -> Result<Usage> {
        let keys = ["objects", "bytes"].map(key::counter);
        let counters = self.shared.meta.multi_get(bucket.partition, &keys.each_ref().map(Vec::as_slice)).await?;
        let value = |at: usize| match counters.get(at) {
            Some(Some(entry)) => {
                let value = counter_value(&entry.head).ok_or_else(|| record::corrupt("a counter", "it is no number"))?;
                Ok(u64::try_from(value).unwrap_or(0))
            }
            _ => Ok::<u64, Error>(0),
        };
        Ok(Usage { objects: value(0)?, bytes: value(1)? })
    }
}

impl Shared {
    /// The bucket `name` as a replica has it, if it takes requests there. Everything else is for the primary to say.
    async fn find_bucket(&self, name: &BucketName) -> Result<Option<Bucket>> {
        let Some(nearby) = self.nearby() else { return Ok(None) };
        let Some(row) = nearby.get(Partition::ROOT, &root::bucket(name)).await? else { return Ok(None) };
        let BucketNameRecord { partition, organization, created } = BucketNameRecord::decode(&row.body)?;
        let Some(entry) = nearby.get(partition, &key::settings()).await? else { return Ok(None) };
        let settings = decode_settings(&entry.body)?;
        let bucket = Bucket { name: name.clone(), partition, organization, created, settings, revision: entry.revision, taken_in: None };
        Ok(Some(bucket).filter(|bucket| bucket.settings.state == BucketState::Active))
    }

    /// The bucket `name` as it is stored, in whatever state.
    pub(super) async fn read_bucket(&self, name: &BucketName) -> Result<Option<NamedBucket>> {
        let mut seen = None;
        loop {
            let Some(row) = self.meta.get(Partition::ROOT, &root::bucket(name)).await? else { return Ok(None) };
            let BucketNameRecord { partition, organization, created } = BucketNameRecord::decode(&row.body)?;
            if let Some(entry) = self.meta.get(partition, &key::settings()).await? {
                let settings = decode_settings(&entry.body)?;
                let bucket =
                    Bucket { name: name.clone(), partition, organization, created, settings, revision: entry.revision, taken_in: None };
                return Ok(Some(NamedBucket { bucket, name_revision: row.revision }));
            }
            // The bucket may have ended between the two reads; if it still has its name, it did not.
            if seen.replace(row.revision) == Some(row.revision) {
                return Err(record::corrupt("a bucket", "its settings are missing"));
            }
        }
    }

    /// Stores `settings` if those of `bucket` are still what they were. `None`: they are not. Wants `changes` to be held.
    pub(super) async fn replace_settings(&self, bucket: &Bucket, settings: BucketSettings) -> Result<Option<Arc<Bucket>>> {
        let batch = Batch::new(bucket.partition).check(key::settings(), Expect::Revision(bucket.revision)).put(
            key::settings(),
            "",
            encode_settings(&settings),
        );
        let committed = self.meta.commit(batch).await;
        self.note_stored();
        match committed {
            Ok(committed) => {
                let is_relocated = settings.location != bucket.settings.location;
                let bucket = Arc::new(Bucket { settings, revision: committed.revision, ..bucket.clone() });
                match bucket.settings.state {
                    BucketState::Active => self.buckets.change(bucket.name.as_str(), Some(Arc::clone(&bucket))),
                    BucketState::Deleting => self.buckets.forget(bucket.name.as_str()),
                }
                if is_relocated {
                    self.relocated.notify_one();
                }
                Ok(Some(bucket))
            }
            Err(error) => {
                // It may have been stored all the same, if only the answer was lost.
                self.buckets.forget(bucket.name.as_str());
                match error {
                    MetaError::Conflict { .. } => Ok(None),
                    error => Err(error.into()),
                }
            }
        }
    }

    async fn create_bucket(&self, name: BucketName, organization: String, mut settings: BucketSettings) -> Result<Arc<Bucket>> {
        let _changing = self.begin_change().await?;
        // Most names that are taken are found out here, before anything is written.
        if self.name_owner(&name).await?.is_some() {
            return Err(name_taken());
        }
        settings.state = BucketState::Active;
        let (partition, revision) = self.create_partition(&settings).await?;
        let bucket = Bucket { name, partition, organization, created: self.clock.now(), settings, revision, taken_in: None };
        if let Err(error) = self.put_name(&bucket).await {
            self.buckets.forget(bucket.name.as_str());
            // The name may have been stored all the same, if only the answer was lost.
            let owner = self.name_owner(&bucket.name).await?;
            if owner != Some(bucket.partition) {
                self.drop_partition(&bucket).await;
                return Err(error);
            }
        }
        let bucket = Arc::new(bucket);
        self.buckets.change(bucket.name.as_str(), Some(Arc::clone(&bucket)));
        Ok(bucket)
    }

    /// Puts `settings` into a partition that was never used.
    async fn create_partition(&self, settings: &BucketSettings) -> Result<(Partition, Revision)> {
        let body = encode_settings(settings);
        for _ in 0..ATTEMPTS_MAX {
            // 63 bits: every engine has a signed number for them.
            let partition = Partition(u64::from_be_bytes(self.random.array()) >> 1);
            let is_free = partition != Partition::ROOT && self.meta.get(Partition::ROOT, &root::destroying(partition)).await?.is_none();
            if !is_free {
                continue;
            }
            let batch = Batch::new(partition).check(key::settings(), Expect::Absent).put(key::settings(), "", body.clone());
            match self.meta.commit(batch).await {
                Ok(committed) => return Ok((partition, committed.revision)),
                Err(MetaError::Conflict { .. }) => {} // somebody's: draw again
                Err(error) => return Err(error.into()),
            }
        }
        Err(conflict())
    }

    async fn put_name(&self, bucket: &Bucket) -> Result<()> {
        let row = root::bucket(&bucket.name);
        let record = BucketNameRecord { partition: bucket.partition, organization: bucket.organization.clone(), created: bucket.created };
        let batch = Batch::new(Partition::ROOT).check(row.clone(), Expect::Absent).put(row, "", record.encode());
        self.commit_for(&bucket.organization, batch).await?.map(drop).ok_or_else(name_taken)
    }

    /// The partition of whatever bucket is called `name`.
    pub(super) async fn name_owner(&self, name: &BucketName) -> Result<Option<Partition>> {
        let row = self.meta.get(Partition::ROOT, &root::bucket(name)).await?;
        row.map(|row| BucketNameRecord::decode(&row.body).map(|record| record.partition)).transpose()
    }

    /// Removes the settings of a bucket that did not get its name.
    async fn drop_partition(&self, bucket: &Bucket) {
        let batch = Batch::new(bucket.partition).check(key::settings(), Expect::Revision(bucket.revision)).delete(key::settings());
        if let Err(error) = self.meta.commit(batch).await {
            tracing::warn!(?error, partition = bucket.partition.0, "the settings of a bucket that was not created stay behind");
        }
    }
}

impl Ages for Bucket {
    fn is_older_than(&self, other: &Self) -> bool {
        self.partition == other.partition && self.revision < other.revision
    }
}

fn same_bucket(before: &Bucket, now: Arc<Bucket>) -> Result<Arc<Bucket>> {
    if now.partition == before.partition {
        return Ok(now);
    }
    Err(another_bucket())
}

pub(super) fn another_bucket() -> Error {
    Error::new(ErrorKind::Conflict, "the bucket was deleted meanwhile, and another has its name now")
}

/// The error of a bucket that is not there, or not for the caller to know of.
pub(super) fn no_bucket() -> Error {
    Error::not_found(Entity::Bucket)
}

fn name_taken() -> Error {
    Error::new(ErrorKind::AlreadyExists(Entity::Bucket), "the requested bucket name is not available")
}

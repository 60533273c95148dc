//! How buckets end: deleted when they are empty, or destroyed with what they hold.

use std::sync::Arc;

use umbra_core::{BucketName, Error, ErrorKind, Fault, Result};
use umbra_meta::{Batch, Expect, Partition, Projection, key, key::root};

use super::{
    ATTEMPTS_MAX, Catalog, Pages, Shared,
    buckets::{NamedBucket, another_bucket, no_bucket},
    conflict, finish,
};
use crate::{
    Bucket, BucketSettings, BucketState,
    record::{access_key::AccessKeyRecord, destruction::DestructionRecord},
};

impl Catalog {
    /// Deletes a bucket that holds no objects; [`Fault::BucketNotEmpty`] when it does.
    ///
    /// The access keys that reach this bucket alone go with it. Unfinished uploads do not hinder: they are dropped. Nor does the origin of a shadow: its objects stay where they are.
    ///
    /// Refuses like [`Catalog::current`].
    pub async fn delete_bucket(&self, bucket: &Bucket) -> Result<()> {
        let (shared, bucket) = (Arc::clone(&self.shared), bucket.clone());
        finish(async move {
            let deleted = shared.delete_bucket(&bucket).await;
            shared.spread().await;
            deleted
        })
        .await
    }

    /// Destroys a bucket with everything in it, and the access keys that reach it alone. Its name is free at once; what it held is freed in the background, across restarts.
    /// One with object lock must be empty ([`Fault::BucketNotEmpty`]): what is kept is kept from everybody.
    ///
    /// Refuses like [`Catalog::current`].
    pub async fn destroy_bucket(&self, bucket: &Bucket) -> Result<()> {
        let (shared, bucket) = (Arc::clone(&self.shared), bucket.clone());
        finish(async move {
            let destroyed = shared.destroy_bucket(&bucket).await;
            shared.spread().await;
            destroyed
        })
        .await
    }

    /// Takes back the deletion of `name` if it was abandoned.
    pub(super) async fn recover(&self, name: &BucketName) -> Result<()> {
        match self.shared.read_bucket(name).await? {
            Some(named) if named.bucket.settings.state == BucketState::Deleting => self.settle_deletion(name).await.map(drop),
            _ => Ok(()),
        }
    }

    /// What becomes of a bucket that was found deleting: waits for whoever is deleting it. If nobody was, its deletion was
    /// abandoned (a crash, a store that could not answer), and it is taken back.
    pub(super) async fn settle_deletion(&self, name: &BucketName) -> Result<Option<Arc<Bucket>>> {
        let (shared, name) = (Arc::clone(&self.shared), name.clone());
        finish(async move {
            let _changing = shared.begin_change().await?;
            match shared.read_bucket(&name).await? {
                Some(named) if named.bucket.settings.state == BucketState::Deleting => {
                    tracing::warn!(bucket = %name, "a deletion was abandoned: the bucket takes requests again");
                    shared.set_state(named, BucketState::Active).await.map(|named| named.map(|named| Arc::new(named.bucket)))
                }
                found => Ok(found.map(|named| Arc::new(named.bucket))),
            }
        })
        .await
    }
}

impl Shared {
    async fn delete_bucket(&self, bucket: &Bucket) -> Result<()> {
        let _changing = self.begin_change().await?;
        let named = self.named(bucket).await?;
        refuse_protected(&named.bucket)?;
        // Looking first spares the writers of a bucket that is in use. It decides nothing: they go on meanwhile.
        if named.bucket.settings.state == BucketState::Active && self.has_objects(&named.bucket).await? {
            return Err(not_empty());
        }
        let named = self.set_state(named, BucketState::Deleting).await?.ok_or_else(no_bucket)?;
        match self.has_objects(&named.bucket).await {
            Ok(false) => self.give_up_name(named).await,
            Ok(true) => {
                self.take_back(named).await;
                Err(not_empty())
            }
            Err(error) => {
                self.take_back(named).await;
                Err(error)
            }
        }
    }

    async fn destroy_bucket(&self, bucket: &Bucket) -> Result<()> {
        let _changing = self.begin_change().await?;
        let named = self.named(bucket).await?;
        refuse_protected(&named.bucket)?;
        let named = self.set_state(named, BucketState::Deleting).await?.ok_or_else(no_bucket)?;
        if named.bucket.settings.extras.object_lock.is_some() {
            match self.has_objects(&named.bucket).await {
                Ok(false) => {}
                Ok(true) => {
                    self.take_back(named).await;
                    return Err(locked());
                }
                Err(error) => {
                    self.take_back(named).await;
                    return Err(error);
                }
            }
        }
        self.give_up_name(named).await
    }

    /// `bucket` as it is stored, unless another has its name. Wants `changes` to be held.
    async fn named(&self, bucket: &Bucket) -> Result<NamedBucket> {
        let named = self.read_bucket(&bucket.name).await?.ok_or_else(no_bucket)?;
        if named.bucket.partition == bucket.partition { Ok(named) } else { Err(another_bucket()) }
    }

    /// Brings a bucket into `state`, whatever else is changed meanwhile. `None`: it is gone. Wants `changes` to be held.
    pub(super) async fn set_state(&self, named: NamedBucket, state: BucketState) -> Result<Option<NamedBucket>> {
        let mut named = named;
        for _ in 0..ATTEMPTS_MAX {
            let settings = BucketSettings { state, ..named.bucket.settings.clone() };
            if let Some(bucket) = self.replace_settings(&named.bucket, settings).await? {
                return Ok(Some(NamedBucket { bucket: Arc::unwrap_or_clone(bucket), ..named }));
            }
            match self.read_bucket(&named.bucket.name).await? {
                Some(now) => named = now,
                None => return Ok(None),
            }
        }
        Err(conflict())
    }

    /// Turns the name of a bucket that is deleting into an order to empty its partition.
    async fn give_up_name(&self, named: NamedBucket) -> Result<()> {
        let NamedBucket { bucket, name_revision } = &named;
        let order = DestructionRecord { name: bucket.name.to_string(), since: self.clock.now() };
        // With the name, so that a later bucket of the same name is never open to them.
        let keys = self.keys_of_bucket(bucket).await?;
        let batch = Batch::new(Partition::ROOT)
            .check(root::bucket(&bucket.name), Expect::Revision(*name_revision))
            .delete(root::bucket(&bucket.name))
            .put(root::destroying(bucket.partition), "", order.encode());
        let batch = keys.iter().fold(batch, |batch, id| batch.delete(root::access_key(id)));
        let committed = self.meta.commit(batch).await;
        self.note_stored();
        keys.iter().for_each(|id| if committed.is_ok() { self.keys.change(id, None) } else { self.keys.forget(id) });
        if let Err(error) = committed {
            // The name may be gone all the same, if only the answer was lost. If not even that can be found out now, the bucket
            // stays as it is, and the next look-up settles it.
            if self.name_owner(&bucket.name).await? == Some(bucket.partition) {
                self.take_back(named).await;
                return Err(error.into());
            }
        }
        self.buckets.change(bucket.name.as_str(), None);
        self.destroyed.notify_one();
        Ok(())
    }

    /// Lets a bucket take requests again that is deleting. If it cannot be done now, the next look-up does it.
    async fn take_back(&self, named: NamedBucket) {
        let name = named.bucket.name.clone();
        if let Err(error) = self.set_state(named, BucketState::Active).await {
            tracing::warn!(?error, bucket = %name, "a deletion that failed is not yet taken back");
        }
    }

    /// The access keys that reach `bucket` and no other. Wants `changes` to be held.
    async fn keys_of_bucket(&self, bucket: &Bucket) -> Result<Vec<String>> {
        let (mut ids, mut pages) = (Vec::new(), Pages::new(&*self.meta, root::access_key_range("")));
        while let Some(page) = pages.next().await? {
            for entry in page {
                let Some(id) = root::parse_access_key(&entry.key) else { continue };
                if AccessKeyRecord::decode(&entry.body)?.bucket.as_ref() == Some(&bucket.name) {
                    ids.push(id.to_owned());
                }
            }
        }
        Ok(ids)
    }

    /// Whether anything of an object is there: versions and delete markers count.
    async fn has_objects(&self, bucket: &Bucket) -> Result<bool> {
        for range in [key::object_range(""), key::version_range("")] {
            if !self.meta.scan(bucket.partition, range, 1, Projection::Head).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn refuse_protected(bucket: &Bucket) -> Result<()> {
    if bucket.settings.extras.protected {
        return Err(Error::new(ErrorKind::Denied, "the bucket is protected from deletion; switch its delete protection off first"));
    }
    Ok(())
}

fn locked() -> Error {
    let message = "the bucket has object lock: delete the versions it holds, each when it may be, before the bucket";
    Error::invalid(Fault::BucketNotEmpty, message)
}

fn not_empty() -> Error {
    Error::invalid(Fault::BucketNotEmpty, "the bucket you tried to delete is not empty")
}

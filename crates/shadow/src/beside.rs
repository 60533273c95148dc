//! Reads at a process that does not keep the buckets with an origin: it answers what the rows of a key alone answer.
//!
//! Whoever keeps a bucket knows more than its rows: which intents are alive, which copies are outdated, what is coming in. So nothing is answered here
//! where any of that could matter. The rows of the key and the bucket's fence are read at one moment, and the object is served if there is one, it has no
//! tombstone and no intent, it is not to be held against the origin, and the bucket is as the request was judged by. Then whoever keeps it
//! would serve the same object: without an intent it asks neither its memory nor the origin. Absence is never answered here.
//! Everything else is said to be for the other process ([`umbra_core::Elsewhere`]), also when content turns out to be gone by the time it is opened.

use std::{sync::atomic::Ordering, time::Duration};

use umbra_core::{Acl, Entity, Error, ErrorKind, ObjectInfo, ObjectKey, RequestContext, Result, Tags, VersionId};
use umbra_meta::key;
use umbra_store::{Bucket, GetObject, GetOptions, Objects, Stored};

use crate::{Shadow, revalidate::interval_of, shadow::kept_elsewhere, versions::named};

/// How far the clocks of processes may be apart.
const SKEW_MAX: Duration = Duration::from_secs(300);

impl Shadow {
    /// Saves what is counted here though another process keeps the buckets with an origin, until this one does or stops.
    pub fn serve_beside(&self) {
        self.save_counts_in_the_background();
    }

    /// Whether another process keeps `bucket`.
    pub(crate) fn is_beside(&self, bucket: &Bucket) -> bool {
        bucket.settings.shadow.is_some() && !self.0.keeps.load(Ordering::SeqCst)
    }

    pub(crate) async fn get_beside(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, options: GetOptions) -> Result<GetObject> {
        let Some(stored) = self.alone(cx, bucket, key, options.version).await? else {
            return self.native().get(cx, bucket, key, options).await;
        };
        match self.native().open(bucket, &stored, &options).await {
            // It was overwritten long ago, or the store is damaged.
            Err(error) if error.kind() == ErrorKind::NotFound(Entity::Object) => Err(for_another(cx)),
            Err(error) => Err(error),
            Ok(object) => {
                self.stats(bucket).local_reads.add(1);
                Ok(self.counted(bucket, object))
            }
        }
    }

    pub(crate) async fn head_beside(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        options: GetOptions,
    ) -> Result<ObjectInfo> {
        match self.alone(cx, bucket, key, options.version).await? {
            Some(stored) => stored.judge(&options),
            None => self.native().head(cx, bucket, key, options).await,
        }
    }

    pub(crate) async fn tags_beside(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<(Tags, VersionId)> {
        match self.alone(cx, bucket, key, version).await? {
            Some(Stored { object, .. }) => Ok((object.tags, object.version.id())),
            None => self.native().tags(cx, bucket, key, version).await,
        }
    }

    pub(crate) async fn acl_beside(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<Option<Acl>> {
        match self.alone(cx, bucket, key, version).await? {
            Some(Stored { object, .. }) => Ok(object.attributes.acl),
            None => self.native().acl(cx, bucket, key, version).await,
        }
    }

    /// The object that the rows of `key` alone answer with. `None` where another version is named: those are a matter of this side alone, for whoever
    /// is asked. An error, and said to be for another process, where the rows alone do not answer.
    async fn alone(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, version: Option<VersionId>) -> Result<Option<Stored>> {
        if matches!(named(bucket, version), Some(VersionId::Named { .. })) {
            return Ok(None);
        }
        let keys = [key::settings(), key::object(key), key::tombstone(key), key::write_intent(key)];
        let rows = self.native().meta().multi_get(bucket.partition, &keys.each_ref().map(Vec::as_slice)).await?;
        let [Some(fence), Some(object), None, None] = &rows[..] else { return Err(for_another(cx)) };
        let stored = Stored::decode(object)?;
        let is_named = version.is_none_or(|version| version == stored.object.version.id());
        if fence.revision != bucket.revision || !is_named || self.is_to_be_asked_about(bucket, &stored) {
            return Err(for_another(cx));
        }
        Ok(Some(stored))
    }

    /// Whether an object may be due for revalidation, or have been found outdated, by any process's clock.
    fn is_to_be_asked_about(&self, bucket: &Bucket, stored: &Stored) -> bool {
        let (Some(interval), Some(hydrated)) = (interval_of(bucket), stored.object.hydrated) else { return false };
        self.0.clock.now().plus(SKEW_MAX) >= hydrated.plus(interval)
    }
}

/// Says that a request is for the process that keeps its bucket.
fn for_another(cx: &RequestContext) -> Error {
    cx.elsewhere.say();
    kept_elsewhere()
}

//! Makes stored content the object of a key.

use umbra_core::{
    Attributes, ETag, Error, ErrorKind, ObjectKey, Preconditions, Result, SystemHeaders, Tags, Timestamp, UserMetadata, check_write,
};
use umbra_meta::{Entry, is_outcome_unknown, key};

use super::{
    Content, Native, ObjectRecord, Stored, Version,
    commit::{Changes, Fence, Lost},
    detached,
};
use crate::{Bucket, Cause, EventKind, PutObject, Terms};

/// What a new object carries besides its content.
#[derive(Clone, Debug, Default)]
pub struct NewObject {
    /// Stored headers.
    pub headers: SystemHeaders,
    /// User metadata.
    pub metadata: UserMetadata,
    /// Tags.
    pub tags: Tags,
    /// What S3's optional features add.
    pub attributes: Attributes,
    /// How it came to be put.
    pub cause: Cause,
}

impl Native {
    /// Makes `content` the object of `key`, once `conditions` hold for what the key holds at that moment.
    ///
    /// A check of `terms` that fails is [`ErrorKind::Conflict`]. On an error the content is discarded. Once called it runs to its end.
    pub async fn publish(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        content: Content,
        new: NewObject,
        conditions: &Preconditions,
        mut terms: Terms,
    ) -> Result<PutObject> {
        terms.telling = self.telling(bucket, key, new.cause.into(), EventKind::Delete);
        terms.placement = self.bound(bucket, new.attributes.narrowed.as_ref());
        let (native, fence, key, conditions) = (self.clone(), Fence::from(bucket), key.clone(), conditions.clone());
        detached(async move { native.publish_content(fence, &key, content, new, &conditions, &terms).await }).await
    }

    async fn publish_content(
        &self,
        mut fence: Fence,
        key: &ObjectKey,
        mut content: Content,
        new: NewObject,
        conditions: &Preconditions,
        terms: &Terms,
    ) -> Result<PutObject> {
        let mut object = ObjectRecord {
            size: content.size,
            etag: terms.etag.clone().unwrap_or_else(|| ETag::from_md5(content.tag)),
            last_modified: Timestamp::default(),
            headers: unless_standard(new.headers),
            metadata: new.metadata,
            tags: new.tags,
            attributes: new.attributes,
            checksums: content.checksums.drain(..).take(1).collect(),
            parts: Vec::new(),
            content: content.pieces.clone(),
            hydrated: None,
            completion: None,
            version: Version::default(),
        };
        let outcome = self.replace(&mut fence, key, &mut object, conditions, terms, &mut |_| {}).await;
        let outcome = outcome.and_then(|outcome| outcome.map_err(Error::from));
        self.settle_object(fence, key, content, &object, outcome).await?;
        Ok(object.put_object())
    }

    /// Commits `object` as the object of `key`, with what `more` adds; loops until no race over the key is lost.
    pub(super) async fn replace(
        &self,
        fence: &mut Fence,
        key: &ObjectKey,
        object: &mut ObjectRecord,
        conditions: &Preconditions,
        terms: &Terms,
        more: &mut (dyn FnMut(&mut Changes) + Send),
    ) -> Result<Result<(), Lost>> {
        let asked = object.attributes.lock.retention;
        loop {
            let (known, retention) = (self.known(*fence, key).await?, fence.retention);
            check_write(conditions, known.etag().or(terms.cold.as_ref()))?;
            object.last_modified = self.next_date(known.object.as_ref());
            object.attributes.lock.retention = asked.or_else(|| retention.map(|default| default.from(object.last_modified)));
            let mut changes = Changes::under_retention(*fence);
            known.check(&mut changes, key);
            self.add_version(&mut changes, *fence, key, &known, object).await?;
            more(&mut changes);
            self.require_copies(&mut changes, terms, object);
            changes.add_terms(terms);
            match self.commit(fence, changes).await? {
                Ok(_) => return Ok(Ok(())),
                Err(lost) if known.is_outdated_by(&lost, key) || lost.is_of_any_version(key) || fence.retention != retention => {}
                Err(lost) => return Ok(Err(lost)),
            }
        }
    }

    /// Now, but later than what the key held.
    fn next_date(&self, old: Option<&Stored>) -> Timestamp {
        let now = self.clock().now();
        old.map_or(now, |old| now.max(Timestamp::from_millis(old.object.last_modified.as_millis().saturating_add(1))))
    }

    pub(super) async fn settle_object(
        &self,
        fence: Fence,
        key: &ObjectKey,
        content: Content,
        object: &ObjectRecord,
        outcome: Result<()>,
    ) -> Result<()> {
        let holds = |entry: &Entry| Ok(Stored::decode(entry)?.object.content == object.content);
        self.settle(fence, &key::object(key), content, outcome, holds).await
    }

    /// Gives `content` over to the record that was committed at `row`, or discards it.
    ///
    /// After a commit whose outcome is not known, what `row` `holds` decides; when that cannot be read either, the blob stays: better
    /// that than a record without content.
    pub(super) async fn settle(
        &self,
        fence: Fence,
        row: &[u8],
        mut content: Content,
        outcome: Result<()>,
        holds: impl Fn(&Entry) -> Result<bool>,
    ) -> Result<()> {
        let Err(error) = outcome else {
            content.release();
            return Ok(());
        };
        if error.kind() == ErrorKind::Unavailable && !content.pieces.extents().is_empty() {
            let entry = self.meta().get(fence.partition, row).await.map_err(Error::from);
            match entry.and_then(|entry| entry.as_ref().map_or(Ok(false), holds)) {
                Ok(true) => {
                    content.release();
                    return Ok(());
                }
                Ok(false) if !is_outcome_unknown(&error) => {}
                Ok(false) | Err(_) => {
                    tracing::warn!(extents = ?content.pieces.extents(), "blobs stay behind: the outcome of a commit is not known");
                    content.release();
                    return Err(error);
                }
            }
        }
        content.discard().await;
        Err(error)
    }
}

impl ObjectRecord {
    pub(super) fn put_object(&self) -> PutObject {
        PutObject {
            etag: self.etag.clone(),
            checksums: self.checksums.clone(),
            size: self.size,
            last_modified: self.last_modified,
            version: self.version.id(),
            encryption: self.attributes.encryption.clone(),
        }
    }
}

/// S3 does not tell the storage class STANDARD.
pub(super) fn unless_standard(headers: SystemHeaders) -> SystemHeaders {
    SystemHeaders { storage_class: headers.storage_class.filter(|class| class != "STANDARD"), ..headers }
}

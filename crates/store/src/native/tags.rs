//! Changes to an object that leave its content where it is.

use umbra_core::{Acl, ETag, Entity, Error, ObjectKey, Result, Tags};
use umbra_meta::{Expect, key};

use super::{
    Native, ObjectRecord, Stored,
    commit::{Changes, Fence},
};
use crate::{Bucket, Terms, record};

impl Native {
    /// Replaces the tags of an object. Nothing else of it changes, not even its date.
    ///
    /// A check of `terms` that fails is [`umbra_core::ErrorKind::Conflict`].
    pub async fn replace_tags(&self, bucket: &Bucket, key: &ObjectKey, tags: Tags, terms: Terms) -> Result<()> {
        self.amend(bucket, key, terms, |object| object.tags.clone_from(&tags)).await
    }

    /// Like [`Native::replace_tags`], for tags that are changed here alone: an object that was copied in is then no longer as its original.
    pub async fn replace_tags_here(&self, bucket: &Bucket, key: &ObjectKey, tags: Tags, terms: Terms) -> Result<()> {
        let change = |object: &mut ObjectRecord| {
            object.tags.clone_from(&tags);
            object.hydrated = None;
        };
        self.amend(bucket, key, terms, change).await
    }

    /// Replaces the ACL of an object. Nothing else of it changes; a copy of an original stays one, for originals have no ACL here.
    pub async fn replace_acl(&self, bucket: &Bucket, key: &ObjectKey, acl: Option<Acl>) -> Result<()> {
        self.amend(bucket, key, Terms::default(), |object| object.attributes.acl.clone_from(&acl)).await
    }

    /// Gives an object the ETag that a copy of it elsewhere got. Nothing else of it changes.
    ///
    /// A check of `terms` that fails is [`umbra_core::ErrorKind::Conflict`].
    pub async fn adopt_etag(&self, bucket: &Bucket, key: &ObjectKey, etag: ETag, terms: Terms) -> Result<()> {
        self.amend(bucket, key, terms, |object| object.etag = etag.clone()).await
    }

    /// Moves an object to another class. Nothing else of it changes, not even its date: where its content is does not depend on the class.
    ///
    /// A check of `terms` that fails is [`umbra_core::ErrorKind::Conflict`].
    pub async fn relabel(&self, bucket: &Bucket, key: &ObjectKey, class: String, terms: Terms) -> Result<()> {
        self.amend(bucket, key, terms, |object| object.headers.storage_class = Some(class.clone())).await
    }

    async fn amend(&self, bucket: &Bucket, key: &ObjectKey, terms: Terms, change: impl Fn(&mut ObjectRecord)) -> Result<()> {
        let mut fence = Fence::from(bucket);
        let row = key::object(key);
        let mut current = self.meta().get(fence.partition, &row).await?;
        loop {
            let entry = current.ok_or_else(|| Error::not_found(Entity::Object))?;
            let Stored { mut object, revision } = Stored::decode(&entry)?;
            change(&mut object);
            let expected = Expect::Revision(revision);
            let mut changes = Changes::behind(fence);
            changes.check(row.clone(), expected);
            changes.put(row.clone(), record::object::encode(&object));
            changes.add_terms(&terms);
            match self.commit(&mut fence, changes).await? {
                Ok(_) => return Ok(()),
                Err(lost) => current = lost.reread(&row, expected)?,
            }
        }
    }
}

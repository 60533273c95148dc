//! Changes to an object that leave its content where it is.

use umbra_core::{ETag, Entity, Error, ErrorKind, ObjectKey, Result, Tags, VersionId};
use umbra_meta::{Expect, key};

use super::{
    Native, ObjectRecord, Stored,
    commit::{Changes, Fence},
    versions::{Place, refuse_marker},
};
use crate::{AclChange, Bucket, Terms, record};

impl Native {
    /// Replaces the tags of an object, or of `version` of it. Nothing else of it changes, not even its date.
    ///
    /// A check of `terms` that fails is [`umbra_core::ErrorKind::Conflict`].
    pub async fn replace_tags(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        tags: Tags,
        terms: Terms,
    ) -> Result<VersionId> {
        let change = |object: &mut ObjectRecord| {
            object.tags.clone_from(&tags);
            Ok(())
        };
        self.amend(bucket, key, version, terms, change).await
    }

    /// Like [`Native::replace_tags`], for tags that are changed here alone: an object that was copied in is then no longer as its original.
    pub async fn replace_tags_here(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        tags: Tags,
        terms: Terms,
    ) -> Result<VersionId> {
        let change = |object: &mut ObjectRecord| {
            object.tags.clone_from(&tags);
            object.hydrated = None;
            Ok(())
        };
        self.amend(bucket, key, version, terms, change).await
    }

    /// Replaces the ACL of an object, or of `version` of it. Nothing else of it changes; a copy of an original stays one, for originals have no ACL here.
    pub async fn replace_acl(&self, bucket: &Bucket, key: &ObjectKey, version: Option<VersionId>, wanted: AclChange) -> Result<()> {
        let AclChange { judged, acl } = wanted;
        let change = |object: &mut ObjectRecord| {
            if judged.as_ref().is_some_and(|(etag, acl)| *etag != object.etag || *acl != object.attributes.acl) {
                return Err(Error::new(ErrorKind::Conflict, "the object was changed meanwhile; please try again"));
            }
            object.attributes.acl.clone_from(&acl);
            Ok(())
        };
        self.amend(bucket, key, version, Terms::default(), change).await.map(drop)
    }

    /// Gives an object the ETag that a copy of it elsewhere got. Nothing else of it changes.
    ///
    /// A check of `terms` that fails is [`umbra_core::ErrorKind::Conflict`].
    pub async fn adopt_etag(&self, bucket: &Bucket, key: &ObjectKey, etag: ETag, terms: Terms) -> Result<()> {
        let change = |object: &mut ObjectRecord| {
            object.etag = etag.clone();
            Ok(())
        };
        self.amend(bucket, key, None, terms, change).await.map(drop)
    }

    /// Moves an object, or `version` of it, to another class. Nothing else of it changes, not even its date: where its content is does not depend on the class.
    ///
    /// A check of `terms` that fails is [`umbra_core::ErrorKind::Conflict`].
    pub async fn relabel(&self, bucket: &Bucket, key: &ObjectKey, version: Option<VersionId>, class: String, terms: Terms) -> Result<()> {
        let change = |object: &mut ObjectRecord| {
            object.headers.storage_class = Some(class.clone());
            Ok(())
        };
        self.amend(bucket, key, version, terms, change).await.map(drop)
    }

    /// Changes the record of an object, or of `version` of it, wherever it is by then. Tells which version that is.
    pub(super) async fn amend(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        terms: Terms,
        change: impl Fn(&mut ObjectRecord) -> Result<()>,
    ) -> Result<VersionId> {
        let mut fence = Fence::in_any_location(bucket);
        loop {
            let Place { row, stored } = match version {
                None => match self.find(bucket, key).await? {
                    Some(stored) => Place { row: key::object(key), stored },
                    None => return Err(self.no_object(fence, key).await?),
                },
                Some(version) => self.locate(fence, key, version).await?.ok_or_else(|| Error::not_found(Entity::Version))?,
            };
            refuse_marker(&stored)?;
            let Stored { mut object, revision } = stored;
            change(&mut object)?;
            let expected = Expect::Revision(revision);
            let mut changes = Changes::behind(fence);
            changes.check(row.clone(), expected);
            changes.put(row.clone(), record::object::encode(&object));
            changes.add_terms(&terms);
            match self.commit(&mut fence, changes).await? {
                Ok(_) => return Ok(object.version.id()),
                Err(lost) => drop(lost.reread(&row, expected)?),
            }
        }
    }
}

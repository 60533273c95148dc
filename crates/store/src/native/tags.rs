//! Tags.

use umbra_core::{Entity, Error, ObjectKey, Result, Tags};
use umbra_meta::{Expect, key};

use super::{
    Native, Stored,
    commit::{Changes, Fence},
};
use crate::{Bucket, Terms, record};

impl Native {
    /// Replaces the tags of an object. Nothing else of it changes, not even its date.
    ///
    /// A check of `terms` that fails is [`umbra_core::ErrorKind::Conflict`].
    pub async fn replace_tags(&self, bucket: &Bucket, key: &ObjectKey, tags: Tags, terms: Terms) -> Result<()> {
        let mut fence = Fence::from(bucket);
        let row = key::object(key);
        let mut current = self.meta().get(fence.partition, &row).await?;
        loop {
            let entry = current.ok_or_else(|| Error::not_found(Entity::Object))?;
            let Stored { mut object, revision } = Stored::decode(&entry)?;
            object.tags = tags.clone();
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

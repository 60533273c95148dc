//! Makes content that was brought from elsewhere the object of a key, as what it was there.
//!
//! What is a copy takes the place of the copy before it, which keeps what was added to it here. What a client wrote by way of this store, and
//! had to be brought back because only the other side has it, is a version like any other: it takes the place of nothing that has to stay.

use umbra_core::{Error, ErrorKind, ObjectInfo, ObjectKey, Result};
use umbra_meta::{Revision, key};

use super::{
    Content, Native, ObjectRecord, Version,
    commit::{Changes, Fence},
    detached,
    publish::unless_standard,
    versions::Known,
};
use crate::{Bucket, Identity, Terms, record};

/// A copy in the making.
struct Copy<'a> {
    key: &'a ObjectKey,
    object: ObjectRecord,
    /// As [`Identity::is_written`].
    is_written: bool,
    replaces: Option<Revision>,
    terms: Terms,
}

impl Native {
    /// Makes `content` the object of `key` with the identity it had elsewhere; the key must hold exactly `replaces`.
    ///
    /// [`ErrorKind::Conflict`] when it holds anything else or a check of `terms` fails. On an error the content is discarded. Once
    /// called it runs to its end.
    pub async fn publish_copy(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        content: Content,
        identity: Identity,
        replaces: Option<Revision>,
        mut terms: Terms,
    ) -> Result<()> {
        terms.placement = self.bound(bucket, identity.info.attributes.narrowed.as_ref());
        let (native, mut fence, key) = (self.clone(), Fence::from(bucket), key.clone());
        if identity.info.size != content.size {
            content.discard().await;
            return Err(Error::internal("a copy has another size than its original"));
        }
        detached(async move {
            let is_written = identity.is_written;
            let mut copy = Copy { key: &key, object: ObjectRecord::copied(&content, identity), is_written, replaces, terms };
            let outcome = native.insert_copy(&mut fence, &mut copy).await;
            native.settle_object(fence, &key, content, &copy.object, outcome).await
        })
        .await
    }

    async fn insert_copy(&self, fence: &mut Fence, copy: &mut Copy<'_>) -> Result<()> {
        loop {
            let retention = fence.retention;
            let known = match copy.replaces {
                None if !copy.is_written => Known::nothing(*fence),
                _ => self.known(*fence, copy.key).await?,
            };
            if known.object.as_ref().map(|old| old.revision) != copy.replaces {
                return Err(Error::new(ErrorKind::Conflict, "the object changed meanwhile"));
            }
            let takes_its_place = !copy.is_written && known.is_copy_or_nothing();
            let mut changes = Changes::under_retention(*fence);
            known.check(&mut changes, copy.key);
            copy.carry_over(&known, takes_its_place);
            if takes_its_place {
                self.replace_copy(&mut changes, copy, &known);
            } else {
                copy.object.attributes.lock.retention = retention.map(|default| default.from(self.clock().now()));
                self.add_version(&mut changes, *fence, copy.key, &known, &mut copy.object).await?;
            }
            self.require_copies(&mut changes, &copy.terms, &copy.object);
            changes.add_terms(&copy.terms);
            match self.commit(fence, changes).await? {
                Ok(_) => return Ok(()),
                Err(lost) if lost.is_of_any_version(copy.key) && !takes_its_place || fence.retention != retention => {}
                Err(lost) => return Err(lost.into()),
            }
        }
    }

    /// Puts a copy in the place of the copy before it, if there is one.
    fn replace_copy(&self, changes: &mut Changes, copy: &Copy<'_>, known: &Known) {
        if let Some(old) = &known.object {
            self.drop_record(changes, &old.object);
        }
        changes.put(key::object(copy.key), record::object::encode(&copy.object));
        changes.count(1, copy.object.size.cast_signed());
    }
}

impl Copy<'_> {
    /// Takes over what was added here to the copy before it: who may read it, and, where it takes its place, what keeps it.
    fn carry_over(&mut self, known: &Known, takes_its_place: bool) {
        let Some(old) = known.object.as_ref().filter(|_| !self.is_written) else { return };
        let (new, old) = (&mut self.object.attributes, &old.object.attributes);
        new.acl.clone_from(&old.acl);
        if takes_its_place {
            new.lock = old.lock;
        }
    }
}

impl Known {
    /// Whether the key holds nothing but a copy from elsewhere that never was a version, if anything.
    fn is_copy_or_nothing(&self) -> bool {
        let is_copy = |old: &ObjectRecord| old.hydrated.is_some() && old.version == Version::default();
        self.history.is_none() && self.object.as_ref().is_none_or(|old| is_copy(&old.object))
    }
}

impl ObjectRecord {
    fn copied(content: &Content, identity: Identity) -> Self {
        let Identity { info, tags, hydrated, is_written: _ } = identity;
        let ObjectInfo {
            size: _,
            etag,
            last_modified,
            headers,
            metadata,
            checksums,
            parts,
            tag_count: _,
            tags: _,
            attributes,
            version: _,
            source: _,
        } = info;
        Self {
            size: content.size,
            etag,
            last_modified,
            headers: unless_standard(headers),
            metadata,
            tags,
            attributes,
            checksums,
            parts,
            content: content.pieces.clone(),
            hydrated: Some(hydrated),
            completion: None,
            version: Version::default(),
        }
    }
}

//! A key as it lies here and at its origin, seen from outside.

use std::collections::BTreeMap;

use umbra_core::{ErrorKind, ObjectInfo, Result, Tags};
use umbra_meta::{MetaStore, key};
use umbra_store::{GetOptions, Objects, Stored};

use crate::{
    life::{Life, object_key},
    writes::{self, TagsId, WriteId, md5},
};

/// What one side holds of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    write: Option<WriteId>,
    tags: Option<TagsId>,
    content: [u8; 16],
    size: u64,
    etag: String,
}

/// What both sides hold of a key.
#[derive(Clone, Debug)]
pub(crate) struct Sides {
    pub(crate) here: Option<Side>,
    /// Whether what is here is a copy that nobody changed since.
    is_copy: bool,
    /// Whether a tombstone hides what is there, or a delete marker.
    pub(crate) gone: bool,
    there: Option<Side>,
}

impl Side {
    fn new(info: &ObjectInfo, tags: &Tags, content: &[u8]) -> Self {
        Self {
            write: writes::named(&info.metadata),
            tags: writes::tags_named(tags),
            content: md5(content),
            size: info.size,
            etag: info.etag.to_string(),
        }
    }

    /// Whether both are the same to their users: an empty object has another ETag when it is not uploaded in a part.
    pub(crate) fn is(&self, other: &Self) -> bool {
        (self.write, self.tags, self.content) == (other.write, other.tags, other.content)
    }
}

impl Sides {
    /// The bytes of what lives only at the origin.
    pub(crate) fn cold_bytes(&self) -> Option<u64> {
        if self.here.is_some() || self.gone { None } else { self.there.as_ref().map(|there| there.size) }
    }

    /// What a verification may find; `None` for no difference.
    pub(crate) fn findings(&self) -> &'static [Option<&'static str>] {
        match (&self.here, &self.there) {
            (None, None) => &[None],
            (None, Some(_)) if self.gone => &[Some("deleted-here")],
            (None, Some(_)) => &[Some("cold")],
            (Some(_), None) if self.is_copy => &[Some("deleted-at-origin")],
            (Some(_), None) => &[Some("only-here")],
            (Some(here), Some(there)) if here.is(there) && here.etag == there.etag => &[None],
            // What changed there within the same second looks like a copy that is not as it should be.
            (Some(_), Some(_)) if self.is_copy => &[Some("changed-at-origin"), Some("metadata"), Some("size"), Some("etag")],
            (Some(_), Some(_)) => &[Some("newer-here"), Some("changed-at-origin")],
        }
    }

    /// Whether the origin holds what it held `before`.
    pub(crate) fn has_same_origin(&self, before: &Self) -> bool {
        self.there == before.there
    }

    /// Whether this is what a rollback is to make of `before`.
    pub(crate) fn is_rolled_back(&self, before: &Self) -> bool {
        match (&self.here, &self.there) {
            (None, there) if self.gone => there.is_none(),
            (None, there) => *there == before.there,
            (Some(here), Some(there)) if here.is(there) => true,
            // What somebody else did there to what is only a copy here stands.
            (Some(_), there) => self.is_copy && *there == before.there,
        }
    }
}

impl Life {
    /// Every key as it lies on both sides.
    pub(crate) async fn both_sides(&self) -> Result<BTreeMap<String, Sides>> {
        let bucket = self.bucket().await?;
        let mut all = BTreeMap::new();
        for name in self.world.env.dials.keys.iter().cloned() {
            let key = object_key(&name);
            let here = match self.native.get(&self.cx, &bucket, &key, GetOptions::default()).await {
                Ok(object) => {
                    let (info, tags) = (object.info, self.native.tags(&self.cx, &bucket, &key, None).await?.0);
                    Some(Side::new(&info, &tags, &object.body.collect(usize::MAX).await?))
                }
                Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => None,
                Err(error) => return Err(error),
            };
            let rows = [key::object(&key), key::tombstone(&key), key::history(&key)];
            let rows = self.world.meta.truth.multi_get(bucket.partition, &rows.each_ref().map(Vec::as_slice)).await?;
            let is_copy = match &rows[0] {
                Some(row) => Stored::decode(row)?.object.hydrated.is_some(),
                None => false,
            };
            let there = self.world.origin.look(&name).map(|(info, tags, content)| Side::new(&info, &tags, &content));
            let gone = rows[1].is_some() || here.is_none() && rows[2].is_some();
            all.insert(name, Sides { here, is_copy, gone, there });
        }
        Ok(all)
    }
}

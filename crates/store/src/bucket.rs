//! A bucket as a request sees it.

use std::sync::Arc;

use umbra_core::{BucketName, Error, ErrorKind, Location, Region, Result, ShadowSettings, Timestamp};
use umbra_meta::{Partition, Revision};

use crate::Extras;

/// A bucket, as it stood at `revision`: a snapshot that one request works with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: BucketName,
    /// Where its records are. Never used again for another bucket.
    pub partition: Partition,
    /// The organization it belongs to.
    pub organization: String,
    /// When it was created.
    pub created: Timestamp,
    /// What its owner can change.
    pub settings: BucketSettings,
    /// The revision of its settings: the fence that every write checks.
    pub revision: Revision,
    /// The region in which the request came in that this snapshot is for; `None`: in this node's. What it brings lives there, where the bucket's
    /// location says nothing else. No property of the bucket: whoever answers for another node sets it in its own copy.
    pub taken_in: Option<Region>,
}

/// What the owner of a bucket can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSettings {
    /// Whether it takes requests, or is being deleted.
    pub state: BucketState,
    /// Whether anyone may read its objects.
    pub public: bool,
    /// Where objects are to live. Without effect in a store without regions.
    pub location: Location,
    /// Where the old data lives.
    pub shadow: Option<ShadowSettings>,
    /// Grows each time the shadow is set or cleared.
    pub generation: u64,
    /// Whether its objects have versions.
    pub versioning: Versioning,
    /// Everything else. Shared, because every request takes a copy of its bucket.
    pub extras: Arc<Extras>,
}

impl BucketSettings {
    /// Lets everyone read the bucket's objects, or leaves it to its owner alone: what its ACL granted ends with either.
    pub fn set_public(&mut self, public: bool) -> Result<()> {
        if public && self.extras.public_access.is_some_and(|block| block.block_acls) {
            return Err(Error::new(ErrorKind::Denied, "the bucket's public access block keeps it from becoming public"));
        }
        self.public = public;
        if self.extras.acl.is_some() {
            Arc::make_mut(&mut self.extras).acl = None;
        }
        Ok(())
    }
}

/// Whether the objects of a bucket have versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versioning {
    /// They never had.
    #[default]
    Off,
    /// Every write makes a version.
    Enabled,
    /// Versions stay, and writes replace the null version.
    Suspended,
}

/// Whether a bucket takes requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BucketState {
    /// It does.
    #[default]
    Active,
    /// It is being deleted: nothing can be written any more.
    Deleting,
}

impl Default for BucketSettings {
    fn default() -> Self {
        Self {
            state: BucketState::Active,
            public: false,
            location: Location::Global,
            shadow: None,
            generation: 0,
            versioning: Versioning::Off,
            extras: Arc::default(),
        }
    }
}

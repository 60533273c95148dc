//! What a wrapper of [`crate::Native`] adds to its commits.

use umbra_core::{ETag, ObjectInfo, Result, Timestamp};
use umbra_meta::{Check, Entry, Write};

use crate::{event::Telling, placement::Placement};

/// A wrapper's own terms for one commit. The default adds nothing: it is what a bucket without a shadow pays.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Checks that ride in the same batch. If one of them fails the operation fails with [`umbra_core::ErrorKind::Conflict`] and nothing changes.
    pub checks: Vec<Check>,
    /// Writes that ride in the same batch.
    pub writes: Vec<Write>,
    /// A row that goes in the same batch, if it is there. It costs the commit one read.
    pub removal: Option<Removal>,
    /// What the key is taken to hold, for conditions, while it holds nothing here.
    pub cold: Option<ETag>,
    /// The ETag the object is to have instead of the one computed here.
    pub etag: Option<ETag>,
    /// Whether it is a lifecycle rule that deletes: what those are told who are told of changes.
    pub expires: bool,
    /// Whom to tell of the change.
    pub telling: Option<Telling>,
    /// Where the content is to be, where it may not be everywhere. [`crate::Native`] sets it.
    pub placement: Option<Placement>,
}

/// Counters by key, and what is to be added to each.
pub type CounterChanges = Vec<(Vec<u8>, i64)>;

/// A row of a wrapper's that a commit takes away, whatever it holds by then, and the counters that follow it.
#[derive(Clone, Debug)]
pub struct Removal {
    /// The row.
    pub key: Vec<u8>,
    /// What is to be added to which counter when the row holds this entry.
    pub counts: fn(&Entry) -> Result<CounterChanges>,
}

/// The identity that a copied-in object keeps.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Everything a client could learn of the original: ETag, date, headers, metadata, checksums, part boundaries.
    pub info: ObjectInfo,
    /// Its tags.
    pub tags: umbra_core::Tags,
    /// When it was copied in.
    pub hydrated: Timestamp,
    /// Whether a client wrote it by way of this store: then it is no copy of what somebody else has, but the newest version of its key.
    pub is_written: bool,
}

//! Ways to break the product through its seams, to show that the checks notice.

use umbra_meta::{Batch, Write};

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The metadata store forgets tombstones: what was deleted comes back.
    DropTombstones,
    /// The metadata store forgets intents: what only the origin holds after a crash is not found.
    DropIntents,
    /// The metadata store acknowledges some writes of objects without storing them.
    LoseWrites,
    /// The metadata store refuses every hydrated copy: the same bytes leave the origin again and again.
    RefuseCopies,
    /// The metadata store forgets the pieces of cold objects: after a crash they leave the origin again.
    ForgetPieces,
    /// The metadata store forgets what is to be reclaimed.
    DropReclaims,
    /// The origin says "not found" when it cannot answer.
    GuessAbsence,
    /// The origin mixes the contents of two versions.
    MixContents,
    /// The origin's listings leave out their last key.
    ShortListings,
    /// The origin's GET leaves out user metadata.
    LoseMetadata,
    /// The origin acknowledges writes that it did not apply.
    LoseAtOrigin,
    /// Every read of the origin also writes there.
    WriteOnRead,
    /// The metadata store forgets versions that are not the newest.
    LoseVersions,
    /// The metadata store forgets that versions were deleted.
    KeepVersions,
    /// The metadata store shows no intents to a process that does not keep the bucket.
    HideIntentsBeside,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::DropTombstones,
        Self::DropIntents,
        Self::LoseWrites,
        Self::RefuseCopies,
        Self::ForgetPieces,
        Self::DropReclaims,
        Self::GuessAbsence,
        Self::MixContents,
        Self::ShortListings,
        Self::LoseMetadata,
        Self::LoseAtOrigin,
        Self::WriteOnRead,
        Self::LoseVersions,
        Self::KeepVersions,
        Self::HideIntentsBeside,
    ];

    /// What the complaint says that this one is made for.
    pub const fn complaint(self) -> &'static str {
        match self {
            Self::LoseVersions
            | Self::KeepVersions
            | Self::DropTombstones
            | Self::DropIntents
            | Self::GuessAbsence
            | Self::ShortListings
            | Self::HideIntentsBeside
            | Self::LoseWrites => "no order of events explains",
            Self::RefuseCopies | Self::ForgetPieces => "left the origin",
            Self::DropReclaims => "blobs belong to nothing",
            Self::MixContents => "is not as written",
            Self::LoseMetadata => "without the metadata",
            Self::LoseAtOrigin => "never reached the origin",
            Self::WriteOnRead => "without write-through",
        }
    }

    /// Whether it is only seen where versions are kept.
    pub(crate) const fn is_of_versions(self) -> bool {
        matches!(self, Self::LoseVersions | Self::KeepVersions)
    }

    /// Breaks a batch on its way to the store; false when it is to be refused.
    pub(crate) fn alter(self, batch: &mut Batch) -> bool {
        let puts = |write: &Write, family: &[u8]| matches!(write, Write::Put { key, .. } if key.starts_with(family));
        match self {
            Self::DropTombstones => batch.writes.retain(|write| !puts(write, b"s/")),
            Self::DropIntents => batch.writes.retain(|write| !puts(write, b"w/")),
            Self::LoseWrites if batch.checks.len() < 4 => batch.writes.retain(|write| !puts(write, b"o/")),
            Self::ForgetPieces => {
                batch.writes.retain(|write| !matches!(write, Write::Put { key, .. } if umbra_meta::key::parse_piece(key).is_some()));
            }
            Self::LoseVersions => {
                batch.writes.retain(|write| !matches!(write, Write::Put { key, .. } if umbra_meta::key::parse_version(key).is_some()));
            }
            Self::KeepVersions => {
                batch.writes.retain(|write| !matches!(write, Write::Delete { key } if umbra_meta::key::parse_version(key).is_some()));
            }
            Self::DropReclaims => batch.writes.retain(|write| !puts(write, b"g/")),
            // A copy's commit is the one that puts an object and checks both rows of the shadow.
            Self::RefuseCopies => {
                let checks = |family: &[u8]| batch.checks.iter().any(|check| check.key.starts_with(family));
                let is_copy = checks(b"s/") && checks(b"w/") && batch.writes.iter().any(|write| puts(write, b"o/"));
                return !is_copy;
            }
            _ => {}
        }
        true
    }
}

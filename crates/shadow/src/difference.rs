//! The kinds of difference between here and the origin: pure.

use std::{fmt, time::Duration};

use umbra_core::{ObjectInfo, ObjectKey, Tags, Timestamp};
use umbra_store::ObjectRecord;

use crate::{
    compare::{Field, differing},
    jobs::{Difference, Finding, Note},
};

/// How far the origin's clock may be ahead of ours before its object is taken for the later one.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// How the two sides differ in one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DifferenceKind {
    /// Only at the origin: not moved yet.
    Cold,
    /// Written here, and not at the origin.
    OnlyHere,
    /// Written here, and something else is at the origin, from before.
    NewerHere,
    /// Deleted here, and still at the origin.
    DeletedHere,
    /// Copied in, and gone at the origin since.
    DeletedAtOrigin,
    /// The origin's object is from after ours was copied in or written.
    ChangedAtOrigin,
    /// A copy that is not as long as its original, which did not change.
    Size,
    /// A copy that has not the ETag of its original, which did not change.
    ETag,
    /// A copy whose headers, metadata or tags are not those of its original.
    Metadata,
    /// The origin moved the original to another storage class.
    StorageClass,
    /// The bytes differ, or ours cannot be read.
    Content,
    /// A write-through of the key is half done and about to be repaired.
    PendingRepair,
    /// The origin did not let us look.
    NotCompared,
}

impl DifferenceKind {
    /// Every kind, as reports order them.
    pub const ALL: [Self; 13] = [
        Self::Cold,
        Self::OnlyHere,
        Self::NewerHere,
        Self::DeletedHere,
        Self::DeletedAtOrigin,
        Self::ChangedAtOrigin,
        Self::Size,
        Self::ETag,
        Self::Metadata,
        Self::StorageClass,
        Self::Content,
        Self::PendingRepair,
        Self::NotCompared,
    ];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::OnlyHere => "only-here",
            Self::NewerHere => "newer-here",
            Self::DeletedHere => "deleted-here",
            Self::DeletedAtOrigin => "deleted-at-origin",
            Self::ChangedAtOrigin => "changed-at-origin",
            Self::Size => "size",
            Self::ETag => "etag",
            Self::Metadata => "metadata",
            Self::StorageClass => "storage-class",
            Self::Content => "content",
            Self::PendingRepair => "pending-repair",
            Self::NotCompared => "not-compared",
        }
    }

    /// Whether it is what a sound migration leaves behind: not moved yet, or ours is newer because writes stay here.
    ///
    /// With write-through nothing here may be newer than the origin's. Everything else is somebody else writing at the origin, a damaged
    /// copy, or something that could not be vouched for.
    pub const fn is_explained(self, write_through: bool) -> bool {
        match self {
            Self::Cold | Self::StorageClass => true,
            Self::OnlyHere | Self::NewerHere | Self::DeletedHere => !write_through,
            _ => false,
        }
    }
}

impl fmt::Display for DifferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One key in which the two sides differ.
#[derive(Clone, Debug)]
pub(crate) struct Discrepancy {
    pub(crate) key: ObjectKey,
    pub(crate) kind: DifferenceKind,
    /// In what, where both sides have it.
    pub(crate) fields: Vec<Field>,
    /// The values of the fields that have short ones.
    pub(crate) values: Vec<Difference>,
    /// One line for a person.
    pub(crate) detail: String,
    /// Bytes of the object.
    pub(crate) size: u64,
}

impl Discrepancy {
    /// A key that was not moved yet.
    pub(crate) fn cold(key: &ObjectKey, size: u64) -> Self {
        Self::new(key, DifferenceKind::Cold, "not moved yet", size)
    }

    /// A discrepancy that is not about fields.
    pub(crate) fn new(key: &ObjectKey, kind: DifferenceKind, detail: impl Into<String>, size: u64) -> Self {
        Self { key: key.clone(), kind, fields: vec![], values: vec![], detail: detail.into(), size }
    }

    /// What a job keeps of it.
    pub(crate) fn note(self, explained: bool, now: Timestamp) -> (ObjectKey, Note) {
        let finding = Some(Finding { name: self.kind.name().to_owned(), explained });
        let note = Note { reason: self.detail, attempts: 1, at: now.as_millis(), size: Some(self.size), differences: self.values, finding };
        (self.key, note)
    }
}

/// What is known of a key: here, and at the origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sides<'a> {
    pub(crate) local: Option<&'a ObjectRecord>,
    /// Whether a tombstone hides the origin's object.
    pub(crate) gone: bool,
    pub(crate) origin: Option<&'a ObjectInfo>,
    /// The origin's tags, where it shows them.
    pub(crate) tags: Option<&'a Tags>,
}

impl Sides<'_> {
    /// How the two sides of `key` differ, if they do.
    pub(crate) fn judge(self, key: &ObjectKey) -> Option<Discrepancy> {
        let (local, origin) = match (self.local, self.origin) {
            (None, None) => return None,
            (None, Some(origin)) if self.gone => {
                return Some(Discrepancy::new(key, DifferenceKind::DeletedHere, "deleted here, still at the origin", origin.size));
            }
            (None, Some(origin)) => return Some(Discrepancy::cold(key, origin.size)),
            (Some(local), None) if local.hydrated.is_some() => {
                let detail = "copied in, and gone at the origin since";
                return Some(Discrepancy::new(key, DifferenceKind::DeletedAtOrigin, detail, local.size));
            }
            (Some(local), None) => return Some(Discrepancy::new(key, DifferenceKind::OnlyHere, "not at the origin", local.size)),
            (Some(local), Some(origin)) => (local, origin),
        };
        let fields = differing(local, origin, self.tags);
        if fields.is_empty() {
            return None;
        }
        let kind = kind(local, origin, &fields);
        let names: Vec<_> = fields.iter().map(|field| field.name()).collect();
        let detail = format!("differs in {}", names.join(", "));
        let values = fields.iter().map(|field| values(*field, local, origin)).collect();
        Some(Discrepancy { key: key.clone(), kind, fields, values, detail, size: local.size })
    }
}

fn kind(local: &ObjectRecord, origin: &ObjectInfo, fields: &[Field]) -> DifferenceKind {
    if local.hydrated.is_none() {
        let is_later = origin.last_modified > local.last_modified.plus(CLOCK_SKEW);
        return if is_later { DifferenceKind::ChangedAtOrigin } else { DifferenceKind::NewerHere };
    }
    let has = |field| fields.contains(&field);
    if has(Field::LastModified) {
        DifferenceKind::ChangedAtOrigin
    } else if has(Field::Size) {
        DifferenceKind::Size
    } else if has(Field::ETag) {
        DifferenceKind::ETag
    } else if has(Field::Checksums) {
        DifferenceKind::Content
    } else if fields == [Field::StorageClass] {
        DifferenceKind::StorageClass
    } else {
        DifferenceKind::Metadata
    }
}

/// What both sides say of a field, only where it is short and no secret: a report may travel.
fn values(field: Field, local: &ObjectRecord, origin: &ObjectInfo) -> Difference {
    let (ours, theirs) = match field {
        Field::Size => (Some(local.size.to_string()), Some(origin.size.to_string())),
        Field::ETag => (Some(local.etag.to_string()), Some(origin.etag.to_string())),
        Field::LastModified => (Some(local.last_modified.rfc3339()), Some(origin.last_modified.rfc3339())),
        Field::ContentType => (local.headers.content_type.clone(), origin.headers.content_type.clone()),
        Field::StorageClass => (local.headers.storage_class.clone(), origin.headers.storage_class.clone()),
        _ => (None, None),
    };
    Difference { field: field.name().to_owned(), local: ours, origin: theirs }
}

#[cfg(test)]
mod tests {
    use umbra_core::{ETag, ObjectKey, Timestamp};

    use super::{DifferenceKind as Kind, Sides};
    use crate::compare::tests::twins;

    #[test]
    fn every_kind_is_told_and_explained_where_it_is_meant_to_be() {
        let key = ObjectKey::parse("k").unwrap();
        let (copy, there) = twins(true);
        let (written, _) = twins(false);
        let mut other = there.clone();
        (other.etag, other.size) = (ETag::parse("f"), 4);
        let mut other_etag = there.clone();
        other_etag.etag = ETag::parse("f");
        let mut later = other.clone();
        later.last_modified = Timestamp::from_millis(5_000_000);
        let mut soon = other.clone();
        soon.last_modified = Timestamp::from_millis(50_000);
        let mut retagged = there.clone();
        retagged.tag_count = 1;
        let mut moved = there.clone();
        moved.headers.storage_class = Some("GLACIER".into());
        let mut sums = there.clone();
        sums.checksums[0].value = "other".into();
        let cases = [
            (None, false, None, None),
            (None, true, None, None),
            (Some(&copy), false, Some(&there), None),
            (Some(&written), false, Some(&there), None),
            (None, false, Some(&there), Some(Kind::Cold)),
            (None, true, Some(&there), Some(Kind::DeletedHere)),
            (Some(&written), false, None, Some(Kind::OnlyHere)),
            (Some(&copy), false, None, Some(Kind::DeletedAtOrigin)),
            (Some(&written), false, Some(&other), Some(Kind::NewerHere)),
            (Some(&written), false, Some(&soon), Some(Kind::NewerHere)),
            (Some(&written), false, Some(&later), Some(Kind::ChangedAtOrigin)),
            (Some(&copy), false, Some(&later), Some(Kind::ChangedAtOrigin)),
            (Some(&copy), false, Some(&other), Some(Kind::Size)),
            (Some(&copy), false, Some(&other_etag), Some(Kind::ETag)),
            (Some(&copy), false, Some(&retagged), Some(Kind::Metadata)),
            (Some(&copy), false, Some(&moved), Some(Kind::StorageClass)),
            (Some(&copy), false, Some(&sums), Some(Kind::Content)),
        ];
        for (local, gone, origin, expected) in cases {
            let kind = Sides { local, gone, origin, tags: None }.judge(&key).map(|difference| difference.kind);
            assert_eq!(kind, expected, "{local:?} {gone} {origin:?}");
        }
        let explained = |through| Kind::ALL.into_iter().filter(|kind| kind.is_explained(through)).collect::<Vec<_>>();
        assert_eq!(explained(false), [Kind::Cold, Kind::OnlyHere, Kind::NewerHere, Kind::DeletedHere, Kind::StorageClass]);
        assert_eq!(explained(true), [Kind::Cold, Kind::StorageClass]);
    }
}

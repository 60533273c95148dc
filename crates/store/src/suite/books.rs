//! Audits the rows of a bucket: what they name, and whether they agree with each other.

use std::collections::{BTreeMap, BTreeSet};

use umbra_blob::BlobId;
use umbra_meta::{Entry, KeyRange, MetaStore, Partition, Projection, counter_value, key};

use crate::{Extent, Stored, record};

/// What the rows of a bucket say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Objects.
    pub objects: i64,
    /// Their bytes.
    pub bytes: i64,
    /// Blobs that objects and parts of uploads in progress are made of, each with its size.
    pub blobs: BTreeMap<BlobId, u64>,
    /// Blobs that are to be reclaimed.
    pub reclaimed: BTreeSet<BlobId>,
    uploads: BTreeSet<(String, String)>,
    indexed: BTreeSet<(String, String)>,
    counted: (i64, i64),
    /// Of each key that has a history: how many versions it says there are, how many there are, whether one is the null version, and whether
    /// the history says so.
    versions: BTreeMap<String, (u64, u64, bool, bool)>,
}

/// Reads every row of `partition` while nobody writes.
///
/// # Panics
/// When a blob is named twice, a counter or a history is wrong, or rows of uploads are left without each other.
pub async fn audit(meta: &dyn MetaStore, partition: Partition) -> Books {
    let mut books = Books::default();
    let rows = meta.scan(partition, KeyRange::prefix(b""), usize::MAX, Projection::Full).await.expect("the rows are read");
    for row in &rows {
        books.enter(row);
    }
    assert_eq!(books.counted, (books.objects, books.bytes), "the counters of objects and bytes");
    assert_eq!(books.uploads, books.indexed, "uploads and their index");
    for (key, (said, found, has_null, says_null)) in &books.versions {
        assert!(said == found && *found > 0 && has_null == says_null, "{key}: the history is of other versions");
    }
    books
}

impl Books {
    fn enter(&mut self, row: &Entry) {
        if let Some((key, sequence)) = key::parse_version(&row.key) {
            let object = Stored::decode(row).expect("it is a version").object;
            assert_eq!(object.version.sequence, sequence, "a version lies at its place");
            let versions = self.versions.entry(key.as_str().to_owned()).or_default();
            versions.1 += 1;
            versions.2 |= object.version.nonce.is_none();
            if !object.version.is_marker {
                self.objects += 1;
                self.bytes += object.size.cast_signed();
                self.name(object.content.extents());
            }
        } else if let Some(key) = key::parse_history(&row.key) {
            let history = record::history::decode(&row.body).expect("it is a history");
            self.versions.insert(key.as_str().to_owned(), (history.count, 0, false, history.null.is_some()));
        } else if key::parse_object(&row.key).is_some() {
            let object = Stored::decode(row).expect("it is an object").object;
            assert!(!object.version.is_marker, "a delete marker is no object");
            self.objects += 1;
            self.bytes += object.size.cast_signed();
            self.name(object.content.extents());
        } else if let Some((upload, _)) = key::parse_part(&row.key) {
            let part = record::part::decode(row).expect("it is a part");
            assert!(self.uploads.iter().any(|(_, id)| id == upload.as_str()), "a part without its upload");
            self.name(&part.extents);
        } else if let Some(upload) = key::parse_upload(&row.key) {
            let record = record::upload::decode(&row.body).expect("it is an upload");
            self.uploads.insert((record.key.as_str().to_owned(), upload.as_str().to_owned()));
        } else if let Some((key, upload)) = key::parse_upload_index(&row.key) {
            self.indexed.insert((key.as_str().to_owned(), upload.as_str().to_owned()));
        } else if let Some((_, blob)) = key::parse_reclaim(&row.key) {
            let blob = BlobId::from_bytes(blob);
            assert!(!self.blobs.contains_key(&blob), "a blob that is to be reclaimed is named");
            assert!(self.reclaimed.insert(blob), "a blob is to be reclaimed twice");
        } else if let Some(name) = key::parse_counter(&row.key) {
            let value = counter_value(&row.head).expect("it is a counter");
            match name {
                "objects" => self.counted.0 = value,
                "bytes" => self.counted.1 = value,
                _ => {}
            }
        }
    }

    fn name(&mut self, extents: &[Extent]) {
        for Extent { blob, size, .. } in extents {
            assert!(self.blobs.insert(blob.clone(), *size).is_none(), "blob {blob:?} is named twice");
            assert!(!self.reclaimed.contains(blob), "a blob that is to be reclaimed is named");
        }
    }
}

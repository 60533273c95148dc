//! Multipart uploads: beginning, finding, aborting.

use bytes::Bytes;
use umbra_core::{ChecksumAlgorithm, Encryption, Entity, Error, Fault, ObjectKey, PartNumber, Result, Timestamp, UploadId};
use umbra_meta::{Entry, Expect, Partition, Projection, Revision, Write, key};

use super::{
    Native,
    commit::{Changes, Fence},
    detached,
    plan::check_type,
    publish::unless_standard,
};
use crate::{
    Bucket, CreateUpload, Expected, ExpectedChecksum, Integrity, Sealing, Terms,
    keyring::check_part,
    record::{self, part::PartRecord, upload::UploadRecord},
};

/// Part rows read by one scan.
const PART_ROWS: usize = 1000;

/// An upload and its row.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) id: UploadId,
    pub(super) record: UploadRecord,
    pub(super) revision: Revision,
}

impl Upload {
    /// The upload that `entry` holds, if it is for `key`.
    pub(super) fn decode(id: &UploadId, key: &ObjectKey, entry: Option<&Entry>) -> Result<Self> {
        let entry = entry.ok_or_else(|| Error::not_found(Entity::Upload))?;
        let record = record::upload::decode(&entry.body)?;
        if record.key != *key {
            return Err(Error::not_found(Entity::Upload));
        }
        Ok(Self { id: id.clone(), record, revision: entry.revision })
    }

    /// The row is to be what was read. Every part that is stored writes it anew, so this covers all parts.
    pub(super) fn expected(&self) -> Expect {
        Expect::Revision(self.revision)
    }

    /// The changes that remove the upload and the rows of `parts`.
    pub(super) fn remove(&self, changes: &mut Changes, parts: impl Iterator<Item = PartNumber>) {
        parts.for_each(|number| changes.delete(key::part(&self.id, number)));
        changes.delete(key::upload_index(&self.record.key, &self.id));
        changes.delete(key::upload(&self.id));
    }
}

/// When the upload that we called `id` began.
pub fn upload_initiated(id: &UploadId) -> Option<Timestamp> {
    let millis = id.as_str().get(..12).filter(|_| id.as_str().len() == 36)?;
    i64::from_str_radix(millis, 16).ok().map(Timestamp::from_millis)
}

impl Native {
    /// Begins a multipart upload. `note` is kept beside it for a wrapper, whose own writes, made for the upload's id, ride in the same batch.
    pub async fn create_upload_noted(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        mut options: CreateUpload,
        note: Option<String>,
        writes: impl FnOnce(&UploadId) -> Vec<Write> + Send,
    ) -> Result<UploadId> {
        if let Some((algorithm, kind)) = options.checksum {
            check_type(algorithm, kind)?;
        }
        if let Some(Encryption::Kms { key, .. }) = &options.attributes.encryption {
            self.keys().check(key)?;
        }
        let mut fence = Fence::from(bucket);
        let initiated = self.clock().now();
        let id = self.new_upload_id(initiated);
        options.headers = unless_standard(options.headers);
        let upload = UploadRecord { key: key.clone(), initiated, options, note };
        let index = (record::upload::encode_index(&upload), Bytes::new());
        let mut changes = Changes::behind(fence);
        changes.check(key::upload(&id), Expect::Absent);
        changes.put(key::upload(&id), (Bytes::new(), record::upload::encode(&upload)));
        changes.put(key::upload_index(key, &id), index);
        changes.add_terms(&Terms { writes: writes(&id), ..Terms::default() });
        self.commit(&mut fence, changes).await??;
        Ok(id)
    }

    /// Identifiers begin with the time ([`upload_initiated`]), so that the uploads of a key are listed in the order in which they began.
    fn new_upload_id(&self, initiated: Timestamp) -> UploadId {
        UploadId::parse(&format!("{:012x}{}", initiated.as_millis(), hex::encode(self.random().array::<12>())))
    }

    /// What was noted beside an upload.
    pub async fn upload_note(&self, bucket: &Bucket, key: &ObjectKey, upload: &UploadId) -> Result<Option<String>> {
        Ok(self.find_upload(bucket, key, upload).await?.record.note)
    }

    pub(super) async fn find_upload(&self, bucket: &Bucket, key: &ObjectKey, upload: &UploadId) -> Result<Upload> {
        let entry = self.meta().get(bucket.partition, &key::upload(upload)).await?;
        Upload::decode(upload, key, entry.as_ref())
    }

    /// Drops an upload and its parts; one of several that try.
    pub async fn abort_upload_noted(&self, bucket: &Bucket, key: &ObjectKey, upload: &UploadId) -> Result<()> {
        let (native, mut fence, key, id) = (self.clone(), Fence::from(bucket), key.clone(), upload.clone());
        detached(async move {
            let row = key::upload(&id);
            let mut current = native.meta().get(fence.partition, &row).await?;
            loop {
                let upload = Upload::decode(&id, &key, current.as_ref())?;
                let parts = native.stored_parts(fence.partition, &id).await?;
                let due = native.reclamation_due();
                let mut changes = Changes::behind(fence);
                changes.check(row.clone(), upload.expected());
                upload.remove(&mut changes, parts.iter().map(|(number, _)| *number));
                parts.iter().for_each(|(_, part)| changes.reclaim(&part.extents, due));
                match native.commit(&mut fence, changes).await? {
                    Ok(_) => return Ok(()),
                    Err(lost) => current = lost.reread(&row, upload.expected())?,
                }
            }
        })
        .await
    }

    /// All parts of an upload, by number.
    pub(super) async fn stored_parts(&self, partition: Partition, upload: &UploadId) -> Result<Vec<(PartNumber, PartRecord)>> {
        let mut range = key::part_range(upload);
        let mut parts = Vec::new();
        loop {
            let entries = self.meta().scan(partition, range.clone(), PART_ROWS, Projection::Full).await?;
            for entry in &entries {
                let (_, number) = super::part::parse_row(entry)?;
                parts.push((number, record::part::decode(entry)?));
            }
            match entries.last() {
                Some(last) if entries.len() == PART_ROWS => range = range.after(&last.key),
                _ => return Ok(parts),
            }
        }
    }
}

/// What a part's body must be: what the client announced, and the checksum and encryption its upload was begun with.
pub fn part_integrity(upload: &CreateUpload, mut integrity: Integrity) -> Result<Integrity> {
    let customer = match integrity.sealing.take() {
        Some(Sealing::Customer(key)) => Some(key),
        Some(Sealing::Ours(_)) | None => None,
    };
    let encryption = upload.attributes.encryption.as_ref();
    check_part(encryption, customer.as_ref())?;
    integrity.sealing = encryption.map(|encryption| Sealing::of(encryption, customer)).transpose()?;
    let Some((algorithm, _)) = upload.checksum else { return Ok(integrity) };
    match &integrity.checksum {
        Some(sent) if sent.algorithm != algorithm => Err(mismatch(algorithm, sent.algorithm.name())),
        Some(_) => Ok(integrity),
        None => Ok(Integrity { checksum: Some(ExpectedChecksum { algorithm, value: Expected::Unknown }), ..integrity }),
    }
}

pub(super) fn mismatch(expected: ChecksumAlgorithm, actual: &str) -> Error {
    let (expected, actual) = (expected.name().to_lowercase(), actual.to_lowercase());
    Error::invalid(
        Fault::InvalidRequest,
        format!("checksum type mismatch occurred, expected checksum type: {expected}, actual checksum type: {actual}"),
    )
}

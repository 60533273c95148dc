//! What a completion would do: every validation of CompleteMultipartUpload, and the object that comes of it. Nothing is written.

use std::collections::BTreeMap;

use md5::{Digest as _, Md5};
use umbra_core::{
    Checksum, ChecksumAlgorithm, ChecksumType, ETag, Entity, Error, Fault, Narrowed, ObjectKey, ObjectLock, PartInfo, PartNumber, Result,
    SystemHeaders, Timestamp, UploadId, UserMetadata, check_write, limits,
};
use umbra_meta::{Partition, Revision, key};

use super::{Completion, Extent, Native, ObjectRecord, Pieces, Stored, Version, upload::Upload};
use crate::{Bucket, CompleteUpload, CompletedPart, CreateUpload, CustomerKey, PutObject, keyring::check_part, record::part::PartRecord};

/// A completion that passed every validation: commit it, or drop it.
#[derive(Debug)]
pub struct CompletionPlan {
    pub(super) upload: UploadId,
    pub(super) options: CompleteUpload,
    pub(super) planned: Planned,
}

#[derive(Debug)]
pub(super) enum Planned {
    /// The upload is to become this object.
    Ready(Box<Ready>),
    /// It has been completed with the same parts, and the object stands, at this revision.
    Done(PutObject, Revision),
}

#[derive(Debug)]
pub(super) struct Ready {
    pub(super) upload: Upload,
    pub(super) object: ObjectRecord,
    /// Every part that is stored, named or not.
    pub(super) stored: Vec<PartNumber>,
    /// The content of the parts that are not named.
    pub(super) unnamed: Vec<Extent>,
    /// The named parts and their notes.
    notes: Vec<(PartNumber, Option<String>)>,
}

impl CompletionPlan {
    /// Whether the upload has been completed before, with the same parts.
    pub const fn is_done(&self) -> bool {
        matches!(self.planned, Planned::Done(..))
    }

    /// The ETag the object has or is to have, unless the terms of the commit name another.
    pub fn etag(&self) -> &ETag {
        match &self.planned {
            Planned::Ready(ready) => &ready.object.etag,
            Planned::Done(object, _) => &object.etag,
        }
    }

    /// The user metadata the object is to have; `None` when the upload has been completed before.
    pub fn metadata(&self) -> Option<&UserMetadata> {
        match &self.planned {
            Planned::Ready(ready) => Some(&ready.object.metadata),
            Planned::Done(..) => None,
        }
    }

    /// Where the object is to live, if its writer said so.
    pub(super) fn narrowed(&self) -> Option<&Narrowed> {
        match &self.planned {
            Planned::Ready(ready) => ready.object.attributes.narrowed.as_ref(),
            Planned::Done(..) => None,
        }
    }

    /// Whether `object` has all that the object is to have: a version that a client may be told is the one it asked for. Its tags may differ, which
    /// may have been set anew since; so may its storage class, and the type of a content that none was given for: an origin names its own.
    pub fn is_like(&self, object: &ObjectRecord) -> bool {
        let Planned::Ready(ready) = &self.planned else { return false };
        let ours = &ready.object;
        let untyped = |headers: &SystemHeaders| SystemHeaders { content_type: None, storage_class: None, ..headers.clone() };
        let has_type = ours.headers.content_type.is_none() || ours.headers.content_type == object.headers.content_type;
        let (asked, has) = (&ours.attributes, &object.attributes);
        let is_kept = asked.lock == ObjectLock::default() || asked.lock == has.lock;
        (&ours.etag, ours.size, &ours.metadata) == (&object.etag, object.size, &object.metadata)
            && has_type
            && untyped(&ours.headers) == untyped(&object.headers)
            && is_kept
            && asked.acl == has.acl
            && (asked.encryption.is_none() || asked.encryption == has.encryption)
    }

    /// The named parts, each with the note it was published with; none when the upload has been completed before.
    pub fn parts(&self) -> &[(PartNumber, Option<String>)] {
        match &self.planned {
            Planned::Ready(ready) => &ready.notes,
            Planned::Done(..) => &[],
        }
    }

    /// The size the object has or is to have.
    pub fn size(&self) -> u64 {
        match &self.planned {
            Planned::Ready(ready) => ready.object.size,
            Planned::Done(object, _) => object.size,
        }
    }
}

impl Native {
    /// Validates a completion: the order of the parts, their ETags, checksums and sizes, the whole, and the conditions against what is
    /// here.
    pub async fn plan_completion(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: &UploadId,
        options: &CompleteUpload,
    ) -> Result<CompletionPlan> {
        let planned = self.plan(bucket.partition, key, upload, options).await?;
        Ok(CompletionPlan { upload: upload.clone(), options: options.clone(), planned })
    }

    pub(super) async fn plan(&self, partition: Partition, key: &ObjectKey, upload: &UploadId, options: &CompleteUpload) -> Result<Planned> {
        check_order(&options.parts)?;
        let upload_row = key::upload(upload);
        loop {
            let mut rows = self.meta().multi_get(partition, &[&upload_row, &key::object(key)]).await?.into_iter();
            let (entry, object) = (rows.next().flatten(), rows.next().flatten());
            let current = object.as_ref().map(Stored::decode).transpose()?;
            let completion = Completion { upload: upload.clone(), fingerprint: fingerprint(&options.parts) };
            if let (None, Some(Stored { object, revision })) = (&entry, &current)
                && object.completion.as_ref() == Some(&completion)
            {
                return Ok(Planned::Done(object.put_object(), *revision));
            }
            let upload = Upload::decode(upload, key, entry.as_ref())?;
            check_write(&options.preconditions, current.as_ref().map(|current| &current.object.etag))?;
            let (expected, parts) = (upload.expected(), self.stored_parts(partition, &upload.id).await?);
            let refusal = match Ready::new(upload, parts, options, completion) {
                Ok(ready) => return Ok(Planned::Ready(Box::new(ready))),
                Err(refusal) => refusal,
            };
            // The parts are read after the upload: what is wrong with them may be that they became an object in between.
            let now = self.meta().get(partition, &upload_row).await?;
            if expected.holds(now.map(|entry| entry.revision)) {
                return Err(refusal);
            }
        }
    }
}

impl Ready {
    fn new(upload: Upload, parts: Vec<(PartNumber, PartRecord)>, options: &CompleteUpload, completion: Completion) -> Result<Self> {
        let stored = parts.iter().map(|(number, _)| *number).collect();
        let mut parts: BTreeMap<_, _> = parts.into_iter().collect();
        let named =
            options.parts.iter().map(|named| take_named(&mut parts, named).map(|part| (named.number, part))).collect::<Result<Vec<_>>>()?;
        check_customer_key(&upload.record.options, &named, options.customer_key.as_ref())?;
        let size = check_sizes(&named, options.size)?;
        let whole = whole_checksum(&upload, &named, options.checksum.as_ref())?;
        let headers = upload.record.options.headers.clone();
        let notes = named.iter().map(|(number, part)| (*number, part.note.clone())).collect();
        let object = ObjectRecord {
            size,
            etag: etag(&named),
            last_modified: Timestamp::default(),
            headers,
            metadata: upload.record.options.metadata.clone(),
            tags: upload.record.options.tags.clone(),
            attributes: upload.record.options.attributes.clone(),
            parts: named.iter().map(|(number, part)| part_info(*number, part, whole.algorithm)).collect(),
            checksums: vec![whole],
            content: Pieces::Extents(named.into_iter().flat_map(|(_, part)| part.extents).collect()),
            hydrated: None,
            completion: Some(completion),
            version: Version::default(),
        };
        Ok(Self { upload, object, stored, unnamed: parts.into_values().flat_map(|part| part.extents).collect(), notes })
    }
}

/// S3 wants the client's key once more where checksums of the client's are in play.
fn check_customer_key(upload: &CreateUpload, named: &[(PartNumber, PartRecord)], given: Option<&CustomerKey>) -> Result<()> {
    let is_clients = |checksum: &Checksum| checksum.algorithm != ChecksumAlgorithm::Crc64Nvme;
    let has_checksums = upload.checksum.is_some() || named.iter().any(|(_, part)| part.head.checksums.iter().any(is_clients));
    if given.is_none() && !has_checksums {
        return Ok(());
    }
    check_part(upload.attributes.encryption.as_ref(), given)
}

fn check_order(parts: &[CompletedPart]) -> Result<()> {
    if parts.is_empty() {
        return Err(Error::invalid(Fault::MalformedXml, "you must specify at least one part"));
    }
    if !parts.is_sorted_by(|left, right| left.number < right.number) {
        return Err(Error::invalid(Fault::InvalidPartOrder, "the list of parts was not in ascending order"));
    }
    Ok(())
}

fn take_named(parts: &mut BTreeMap<PartNumber, PartRecord>, named: &CompletedPart) -> Result<PartRecord> {
    let agrees = |part: &PartRecord| {
        let checksum = |sent: &Checksum| part.head.checksums.iter().any(|stored| stored == sent);
        part.head.etag() == named.etag && named.checksum.as_ref().is_none_or(checksum)
    };
    parts.remove(&named.number).filter(agrees).ok_or_else(|| {
        let message = "one or more of the specified parts could not be found, or its ETag or checksum does not match";
        Error::invalid(Fault::InvalidPart, message).because(Error::not_found(Entity::Part))
    })
}

fn check_sizes(named: &[(PartNumber, PartRecord)], announced: Option<u64>) -> Result<u64> {
    let but_last = named.split_last().map_or(&[][..], |(_, rest)| rest);
    if but_last.iter().any(|(_, part)| part.head.size < limits::PART_BYTES_MIN) {
        return Err(Error::invalid(Fault::EntityTooSmall, "your proposed upload is smaller than the minimum allowed size"));
    }
    let size = named.iter().map(|(_, part)| part.head.size).sum();
    if size > limits::OBJECT_BYTES_MAX {
        return Err(Error::invalid(Fault::EntityTooLarge, "your proposed upload exceeds the maximum allowed size"));
    }
    if announced.is_some_and(|announced| announced != size) {
        return Err(Error::invalid(Fault::InvalidRequest, "the provided 'x-amz-mp-object-size' header does not match what was uploaded"));
    }
    Ok(size)
}

/// The checksum of the whole: what the upload was begun for, else what the client sent now, else CRC64NVME.
fn whole_checksum(upload: &Upload, named: &[(PartNumber, PartRecord)], sent: Option<&Checksum>) -> Result<Checksum> {
    let begun = upload.record.options.checksum;
    let (algorithm, kind) =
        begun.or(sent.map(|sent| (sent.algorithm, sent.kind))).unwrap_or((ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject));
    let unfit = |actual: &str| super::upload::mismatch(algorithm, actual);
    let of_part = |part: &PartRecord| part.head.checksums.iter().find(|checksum| checksum.algorithm == algorithm).cloned();
    let parts: Option<Vec<_>> = named.iter().map(|(_, part)| of_part(part).map(|checksum| (checksum, part.head.size))).collect();
    let parts = parts.ok_or_else(|| unfit("null"))?;
    let whole = match kind {
        ChecksumType::Composite => Some(Checksum::composite(algorithm, parts.iter().map(|(checksum, _)| checksum))),
        ChecksumType::FullObject => Checksum::full_object(algorithm, parts.iter().map(|(checksum, size)| (checksum, *size))),
    };
    let whole =
        whole.ok_or_else(|| check_type(algorithm, kind).err().unwrap_or_else(|| Error::internal("a part's checksum is unreadable")))?;
    match sent {
        Some(sent) if sent.algorithm != algorithm => Err(unfit(sent.algorithm.name())),
        Some(sent) if sent.value != whole.value && !is_without_count(sent, &whole) => {
            let name = algorithm.name();
            Err(Error::invalid(Fault::BadDigest, format!("the {name} you specified did not match the calculated checksum")))
        }
        _ => Ok(whole),
    }
}

/// Clients may leave the number of parts off a composite.
fn is_without_count(sent: &Checksum, whole: &Checksum) -> bool {
    whole.kind == ChecksumType::Composite && whole.value.rsplit_once('-').is_some_and(|(value, _)| value == sent.value)
}

/// Refuses what S3 does not compute: a SHA, for one, over the whole of parts, or a composite of CRC64NVME.
pub(super) fn check_type(algorithm: ChecksumAlgorithm, kind: ChecksumType) -> Result<()> {
    if algorithm.covers(kind) {
        return Ok(());
    }
    let kind = match kind {
        ChecksumType::FullObject => "FULL_OBJECT",
        ChecksumType::Composite => "COMPOSITE",
    };
    let name = algorithm.name().to_lowercase();
    Err(Error::invalid(Fault::InvalidRequest, format!("the {kind} checksum type cannot be used with the {name} checksum algorithm")))
}

fn etag(named: &[(PartNumber, PartRecord)]) -> ETag {
    let digest = named.iter().fold(Md5::new(), |digest, (_, part)| digest.chain_update(part.head.md5));
    ETag::from_parts(digest.finalize().into(), named.len())
}

fn fingerprint(parts: &[CompletedPart]) -> [u8; 16] {
    let add = |digest: Md5, part: &CompletedPart| {
        digest.chain_update(part.number.get().to_be_bytes()).chain_update(part.etag.as_str()).chain_update([0])
    };
    parts.iter().fold(Md5::new(), add).finalize().into()
}

fn part_info(number: PartNumber, part: &PartRecord, algorithm: ChecksumAlgorithm) -> PartInfo {
    let checksums = part.head.checksums.iter().filter(|checksum| checksum.algorithm == algorithm).cloned().collect();
    PartInfo { number: number.get(), size: part.head.size, checksums }
}

//! ListParts.

use s3s::{
    S3Request,
    dto::{ListPartsInput, ListPartsOutput, Part},
};
use umbra_core::{ObjectKey, PartNumber, Result, UploadId};
use umbra_store::ListedPart;

use super::{Operations, list_objects};
use crate::{
    call::{Call, initiator, owner},
    convert::{checksum, conditions, encoding::KeyWriter, headers::STANDARD, time},
    error::Answer,
    expiration,
};

/// Lists the parts of an upload.
pub(super) async fn list_parts(operations: &Operations, request: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
    let call = Call::of(&request)?;
    let input = request.input;
    let (key, upload) = (ObjectKey::parse(&input.key)?, UploadId::parse(&input.upload_id));
    let limit = list_objects::page_size(input.max_parts)?;
    let marker = input.part_number_marker.unwrap_or(0);
    let after = after(marker)?;
    let bucket = call.bucket()?;
    let begun = operations.objects.upload(&call.cx, bucket, &key, &upload).await?;
    let page = operations.objects.list_parts(&call.cx, bucket, &key, &upload, after, limit).await?;
    let initiator = initiator(begun.initiator.as_deref().unwrap_or(&bucket.organization));
    let owner = owner(begun.owner().unwrap_or(&bucket.organization));
    let mut writer = KeyWriter::new(None)?;
    let (abort_date, abort_rule_id) = expiration::of_upload(bucket, &key, &upload);
    let output = ListPartsOutput {
        abort_date,
        abort_rule_id,
        bucket: Some(bucket.name.to_string()),
        checksum_algorithm: begun.checksum.map(|(algorithm, _)| checksum::algorithm(algorithm)),
        checksum_type: begun.checksum.map(|(_, kind)| checksum::kind(kind)),
        initiator: Some(initiator),
        is_truncated: Some(page.truncated),
        key: Some(writer.text(input.key)),
        max_parts: i32::try_from(limit).ok(),
        next_part_number_marker: page.parts.last().map(|part| part.number.get().into()),
        owner: Some(owner),
        part_number_marker: Some(marker),
        parts: Some(page.parts.iter().map(shown).collect()),
        storage_class: Some(begun.headers.storage_class.unwrap_or_else(|| STANDARD.to_owned()).into()),
        upload_id: Some(input.upload_id),
        ..ListPartsOutput::default()
    };
    Ok(list_objects::finished(output, &writer))
}

/// The part that `marker` names. Zero comes before all of them, and nothing behind the highest.
fn after(marker: i32) -> Result<Option<PartNumber>> {
    match marker {
        0 => Ok(None),
        marker => PartNumber::new(marker.into()).map(Some),
    }
}

fn shown(part: &ListedPart) -> Part {
    let mut shown = Part {
        e_tag: Some(conditions::etag(&part.etag)),
        last_modified: Some(time::shown(part.last_modified)),
        part_number: Some(part.number.get().into()),
        size: i64::try_from(part.size).ok(),
        ..Part::default()
    };
    checksum::show!(shown, checksum::shown(&part.checksums));
    shown
}

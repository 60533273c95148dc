//! CreateMultipartUpload.

use s3s::{
    S3Request,
    dto::{CreateMultipartUploadInput, CreateMultipartUploadOutput, ObjectCannedACL},
};
use umbra_core::ObjectKey;
use umbra_store::CreateUpload;

use super::{Operations, list_objects};
use crate::{
    acl,
    call::Call,
    convert::{attributes, checksum, encoding::KeyWriter, headers, hoisted::Hoisted, tags},
    error::Answer,
    expiration,
};

/// Begins an upload.
pub(super) async fn create_multipart_upload(
    operations: &Operations,
    request: S3Request<CreateMultipartUploadInput>,
) -> Answer<CreateMultipartUploadOutput> {
    let call = Call::of(&request)?;
    let hoisted = Hoisted::of(&request.uri);
    let mut input = request.input;
    let attributes = attributes::asked!(input, call.bucket()?);
    operations.check_lock(&attributes)?;
    acl::check_on_write(input.acl.as_ref().map(ObjectCannedACL::as_str), &request.uri, call.bucket()?)?;
    let key = ObjectKey::parse(&input.key)?;
    input.storage_class = input.storage_class.or(hoisted.storage_class);
    let wanted = checksum::of_upload(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
    let options = CreateUpload {
        headers: headers::stored!(input),
        metadata: headers::metadata(input.metadata.take(), hoisted.metadata)?,
        tags: tags::from_header(input.tagging.as_deref().or(hoisted.tagging.as_deref()))?,
        attributes,
        checksum: wanted,
    };
    let bucket = call.bucket()?;
    let upload = operations.objects.create_upload(&call.cx, bucket, &key, options).await?;
    let mut writer = KeyWriter::new(None)?;
    let (abort_date, abort_rule_id) = expiration::of_upload(bucket, &key, &upload);
    let output = CreateMultipartUploadOutput {
        abort_date,
        abort_rule_id,
        bucket: Some(bucket.name.to_string()),
        key: Some(writer.text(input.key)),
        upload_id: Some(upload.to_string()),
        checksum_algorithm: wanted.map(|(algorithm, _)| checksum::algorithm(algorithm)),
        checksum_type: wanted.map(|(_, kind)| checksum::kind(kind)),
        ..CreateMultipartUploadOutput::default()
    };
    Ok(list_objects::finished(output, &writer))
}

//! CreateMultipartUpload.

use s3s::{
    S3Request,
    dto::{CreateMultipartUploadInput, CreateMultipartUploadOutput},
};
use umbra_core::ObjectKey;
use umbra_store::CreateUpload;

use super::{Operations, list_objects};
use crate::{
    acl,
    call::Call,
    convert::{attributes, attributes::encryption, attributes::narrowed, checksum, encoding::KeyWriter, headers, tags},
    error::Answer,
    expiration,
};

/// Begins an upload.
pub(super) async fn create_multipart_upload(
    operations: &Operations,
    request: S3Request<CreateMultipartUploadInput>,
) -> Answer<CreateMultipartUploadOutput> {
    let call = Call::of(&request)?;
    let asked = acl::Asked::of(&stated!(request));
    let narrowed = narrowed::asked(operations.catalog.topology(), &call, &request)?;
    let mut input = request.input;
    let bucket = call.bucket()?;
    let (mut attributes, _) = attributes::asked!(input, bucket);
    operations.check_lock(&attributes)?;
    attributes.narrowed = narrowed;
    attributes.acl = acl::on_write(&operations.catalog, call.key.as_deref(), bucket, &asked).await?;
    let key = ObjectKey::parse(&input.key)?;
    let wanted = checksum::of_upload(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
    let options = CreateUpload {
        headers: headers::stored!(input),
        metadata: headers::metadata(input.metadata.take())?,
        tags: tags::from_header(input.tagging.as_deref())?,
        attributes,
        checksum: wanted,
        initiator: call.organization().filter(|name| *name != bucket.organization).map(str::to_owned),
    };
    let encryption = options.attributes.encryption.clone();
    let upload = operations.objects.create_upload(&call.cx, bucket, &key, options).await?;
    let mut writer = KeyWriter::new(None)?;
    let (abort_date, abort_rule_id) = expiration::of_upload(bucket, &key, &upload);
    let mut output = CreateMultipartUploadOutput {
        abort_date,
        abort_rule_id,
        bucket: Some(bucket.name.to_string()),
        key: Some(writer.text(input.key)),
        upload_id: Some(upload.to_string()),
        checksum_algorithm: wanted.map(|(algorithm, _)| checksum::algorithm(algorithm)),
        checksum_type: wanted.map(|(_, kind)| checksum::kind(kind)),
        ..CreateMultipartUploadOutput::default()
    };
    encryption::show!(output, encryption.as_ref());
    output.ssekms_encryption_context = encryption::context_of(encryption.as_ref());
    Ok(list_objects::finished(output, &writer))
}

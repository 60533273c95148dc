//! CompleteMultipartUpload and AbortMultipartUpload.

use http::{HeaderMap, header::HOST};
use s3s::{
    S3ErrorCode, S3Request, S3Response, dto,
    dto::{AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput},
};
use umbra_core::{Checksum, ChecksumType, ETag, Error, Fault, ObjectKey, PartNumber, Result, UploadId};
use umbra_store::{Bucket, CompleteUpload, CompletedPart};

use super::{Operations, list_objects};
use crate::{
    call::Call,
    convert::{attributes::encryption, attributes::narrowed, checksum, conditions, encoding, encoding::KeyWriter, version},
    error::{Answer, Failure},
    expiration,
    layer::Scheme,
};

/// Turns the parts of an upload into an object.
pub(super) async fn complete_multipart_upload(
    operations: &Operations,
    request: S3Request<CompleteMultipartUploadInput>,
) -> Answer<CompleteMultipartUploadOutput> {
    let call = Call::of(&request)?;
    narrowed::agree(operations, &call, &request, (&request.input.key, &request.input.upload_id)).await?;
    let scheme = request.extensions.get::<Scheme>().copied().unwrap_or_default();
    let input = request.input;
    let (key, upload) = (ObjectKey::parse(&input.key)?, UploadId::parse(&input.upload_id));
    let given = checksum::given!(input)?;
    let whole = given.map(|(algorithm, value)| checksum::of_whole(algorithm, &value)).transpose()?;
    let kind = input.checksum_type.as_ref().map(checksum::parse_kind).transpose()?;
    let customer_key = encryption::given_key!(input)?;
    let parts = input.multipart_upload.and_then(|upload| upload.parts).filter(|parts| !parts.is_empty());
    let parts = parts.ok_or(S3ErrorCode::MalformedXML)?.into_iter().map(part).collect::<Result<Vec<_>, Failure>>()?;
    let size = input.mpu_object_size.map(u64::try_from).transpose();
    let options = CompleteUpload {
        parts,
        preconditions: conditions::on_write(input.if_match.as_ref(), input.if_none_match.as_ref()),
        checksum: whole.clone(),
        size: size.map_err(|_| Error::invalid(Fault::InvalidArgument, "x-amz-mp-object-size must not be negative"))?,
        customer_key,
    };
    let bucket = call.bucket()?;
    agree(operations, &call, bucket, &key, &upload, kind, whole.as_ref()).await?;
    let stored = operations.objects.complete_upload(&call.cx, bucket, &key, &upload, options).await?;
    let mut writer = KeyWriter::new(None)?;
    let mut output = CompleteMultipartUploadOutput {
        bucket: Some(bucket.name.to_string()),
        e_tag: Some(conditions::etag(&stored.etag)),
        location: Some(location(scheme, &request.headers, bucket, &key)),
        key: Some(writer.text(input.key)),
        version_id: version::stored(bucket, stored.version),
        expiration: expiration::of_written(operations, &call, &key).await,
        ..CompleteMultipartUploadOutput::default()
    };
    checksum::show_with_type!(output, checksum::shown(&stored.checksums));
    let shown = encryption::shown(stored.encryption.as_ref());
    encryption::show_ours!(output, shown);
    let mut response = list_objects::finished(output, &writer);
    response.headers.extend(encryption::customer_headers(stored.encryption.as_ref()));
    Ok(response)
}

fn part(part: dto::CompletedPart) -> Result<CompletedPart, Failure> {
    let given = checksum::given!(part)?;
    let number = part.part_number.ok_or(S3ErrorCode::MalformedXML)?;
    let etag = part.e_tag.ok_or(S3ErrorCode::MalformedXML)?;
    let checksum = given.map(|(algorithm, value)| Checksum::parse(algorithm, &value)).transpose();
    Ok(CompletedPart {
        number: PartNumber::new(number.into())?,
        etag: ETag::parse(etag.value()),
        checksum: checksum.map_err(|error| Error::invalid(Fault::InvalidPart, error.message()))?,
    })
}

/// Checks that the completion and the beginning of an upload speak of the same kind of checksum.
///
/// A completion that is repeated finds no upload any more; then the object itself answers for it.
async fn agree(
    operations: &Operations,
    call: &Call,
    bucket: &Bucket,
    key: &ObjectKey,
    upload: &UploadId,
    kind: Option<ChecksumType>,
    whole: Option<&Checksum>,
) -> Result<()> {
    if kind.is_none() && whole.is_none() {
        return Ok(());
    }
    let Ok(begun) = operations.objects.upload(&call.cx, bucket, key, upload).await else { return Ok(()) };
    let Some((algorithm, begun_kind)) = begun.checksum else { return Ok(()) };
    if kind.is_some_and(|kind| kind != begun_kind) {
        let message = format!("the upload was created using the {begun_kind:?} checksum mode; the complete request must use the same");
        return Err(Error::invalid(Fault::InvalidRequest, message));
    }
    if whole.is_some_and(|whole| whole.algorithm != algorithm) {
        let message =
            format!("the upload was created using the {} checksum algorithm; the complete request must use the same", algorithm.name());
        return Err(Error::invalid(Fault::InvalidRequest, message));
    }
    Ok(())
}

/// Where the object is, as the client spelt the way here.
fn location(scheme: Scheme, headers: &HeaderMap, bucket: &Bucket, key: &ObjectKey) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("{}://{host}/{}/{}", scheme.name(), bucket.name, encoding::encode(key.as_str()))
}

/// Drops an upload.
pub(super) async fn abort_multipart_upload(
    operations: &Operations,
    request: S3Request<AbortMultipartUploadInput>,
) -> Answer<AbortMultipartUploadOutput> {
    let call = Call::of(&request)?;
    let (key, upload) = (ObjectKey::parse(&request.input.key)?, UploadId::parse(&request.input.upload_id));
    operations.objects.abort_upload(&call.cx, call.bucket()?, &key, &upload).await?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

//! UploadPart and UploadPartCopy.

use s3s::{
    S3Request, S3Response,
    dto::{CopyPartResult, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput},
};
use umbra_core::{Error, Fault, ObjectKey, PartNumber, Result, UploadId};
use umbra_store::{Copied, CopyPartOptions, Integrity, PartAddress, Sealing, read_part_source, write_part_copy};

use super::{Operations, copy_object};
use crate::{
    body,
    call::Call,
    convert::{attributes::encryption, attributes::narrowed, checksum, conditions, integrity, time, version},
    error::Answer,
};

/// Stores a part.
pub(super) async fn upload_part(operations: &Operations, request: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
    let call = Call::of(&request)?;
    narrowed::agree(operations, &call, &request, (&request.input.key, &request.input.upload_id)).await?;
    let input = request.input;
    let sealing = encryption::given_key!(input)?.map(Sealing::Customer);
    let (key, upload) = (ObjectKey::parse(&input.key)?, UploadId::parse(&input.upload_id));
    let part = PartAddress { key: &key, upload: &upload, number: PartNumber::new(input.part_number.into())? };
    let given = checksum::given!(input)?;
    let integrity = integrity::announced(input.content_md5.as_deref(), given, &request.headers, request.trailing_headers)?;
    let integrity = Integrity { sealing, ..integrity };
    let body = body::incoming(input.body, input.content_length)?;
    let stored = operations.objects.put_part(&call.cx, call.bucket()?, part, body, integrity).await?;
    let mut output = UploadPartOutput { e_tag: Some(conditions::etag(&stored.etag)), ..UploadPartOutput::default() };
    checksum::show!(output, checksum::shown(&stored.checksums));
    encryption::show!(output, stored.encryption.as_ref());
    Ok(S3Response::new(output))
}

/// Stores a part from an object, or a range of one.
pub(super) async fn upload_part_copy(operations: &Operations, request: S3Request<UploadPartCopyInput>) -> Answer<UploadPartCopyOutput> {
    let call = Call::of(&request)?;
    narrowed::agree(operations, &call, &request, (&request.input.key, &request.input.upload_id)).await?;
    let stated = stated!(request);
    let input = request.input;
    let (key, upload) = (ObjectKey::parse(&input.key)?, UploadId::parse(&input.upload_id));
    let part = PartAddress { key: &key, upload: &upload, number: PartNumber::new(input.part_number.into())? };
    let named = copy_object::SourceName { name: &input.copy_source, expected_owner: input.expected_source_bucket_owner.as_deref() };
    let source = copy_object::source(operations, &call, stated, named).await?;
    let source_conditions = conditions::on_read(
        input.copy_source_if_match.as_ref(),
        input.copy_source_if_none_match.as_ref(),
        input.copy_source_if_modified_since.as_ref(),
        input.copy_source_if_unmodified_since.as_ref(),
    );
    let range = input.copy_source_range.as_deref().map(parse_range).transpose()?;
    let options = CopyPartOptions {
        source_version: source.version,
        source_conditions,
        range,
        source_key: encryption::source_key!(input)?,
        customer_key: encryption::given_key!(input)?,
    };
    let (objects, bucket) = (&*operations.objects, &**call.bucket()?);
    let read = read_part_source(objects, &call.cx, (&source.bucket, &source.key), bucket, &part, options).await?;
    source.check(operations, &call, &read.read.info, false).await?;
    let Copied { target: stored, source: copied_version } = write_part_copy(objects, &call.cx, bucket, part, read).await?;
    call.progress.trace.is_of_size(stored.size);
    let mut result = CopyPartResult {
        e_tag: Some(conditions::etag(&stored.etag)),
        last_modified: Some(time::shown(stored.last_modified)),
        ..CopyPartResult::default()
    };
    checksum::show!(result, checksum::shown(&stored.checksums));
    let mut output = UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() };
    output.copy_source_version_id = version::shown(&source.bucket, copied_version);
    encryption::show!(output, stored.encryption.as_ref());
    Ok(S3Response::new(output))
}

/// Takes `bytes=first-last`; S3 wants both here.
fn parse_range(text: &str) -> Result<(u64, u64)> {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let range = text.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let range = range.and_then(|(first, last)| digits(first).zip(digits(last))).filter(|(first, last)| first <= last);
    let message = "the x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of \
                   the first and last bytes to copy";
    range.ok_or_else(|| Error::invalid(Fault::InvalidArgument, message))
}

#[cfg(test)]
mod tests {
    use super::parse_range;

    #[test]
    fn ranges_of_sources_have_both_ends() {
        assert_eq!(parse_range("bytes=0-9").unwrap(), (0, 9));
        assert_eq!(parse_range("bytes=5-5").unwrap(), (5, 5));
        for bad in ["", "0-9", "bytes=0", "bytes=0-", "bytes=-9", "bytes=9-0", "bytes=0-9,11-12", "bytes=+1-2", "bytes=a-b", "bytes= 0-1"] {
            assert!(parse_range(bad).is_err(), "{bad}");
        }
    }
}

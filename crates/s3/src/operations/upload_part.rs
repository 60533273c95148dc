//! UploadPart and UploadPartCopy.

use s3s::{
    S3Request, S3Response,
    dto::{CopyPartResult, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput},
};
use umbra_core::{Error, Fault, ObjectKey, PartNumber, Result, UploadId};
use umbra_store::{Copied, PartAddress, copy_part};

use super::{Operations, copy_object, reads};
use crate::{
    body,
    call::Call,
    convert::{checksum, conditions, integrity, time, version},
    error::Answer,
};

/// Stores a part.
pub(super) async fn upload_part(operations: &Operations, request: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
    let call = Call::of(&request)?;
    let input = request.input;
    reads::refuse_customer_key(input.sse_customer_algorithm.is_some())?;
    let (key, upload) = (ObjectKey::parse(&input.key)?, UploadId::parse(&input.upload_id));
    let part = PartAddress { key: &key, upload: &upload, number: PartNumber::new(input.part_number.into())? };
    let given = checksum::given!(input)?;
    let integrity = integrity::announced(input.content_md5.as_deref(), given, &request.headers, request.trailing_headers)?;
    let body = body::incoming(input.body, input.content_length)?;
    let stored = operations.objects.put_part(&call.cx, call.bucket()?, part, body, integrity).await?;
    let mut output = UploadPartOutput { e_tag: Some(conditions::etag(&stored.etag)), ..UploadPartOutput::default() };
    checksum::show!(output, checksum::shown(&stored.checksums));
    Ok(S3Response::new(output))
}

/// Stores a part from an object, or a range of one.
pub(super) async fn upload_part_copy(operations: &Operations, request: S3Request<UploadPartCopyInput>) -> Answer<UploadPartCopyOutput> {
    let call = Call::of(&request)?;
    let input = request.input;
    reads::refuse_customer_key(input.sse_customer_algorithm.is_some() || input.copy_source_sse_customer_algorithm.is_some())?;
    let (key, upload) = (ObjectKey::parse(&input.key)?, UploadId::parse(&input.upload_id));
    let part = PartAddress { key: &key, upload: &upload, number: PartNumber::new(input.part_number.into())? };
    let (source_bucket, source_key, source_version) =
        copy_object::source(operations, &call, &input.copy_source, input.expected_source_bucket_owner.as_deref()).await?;
    let source_conditions = conditions::on_read(
        input.copy_source_if_match.as_ref(),
        input.copy_source_if_none_match.as_ref(),
        input.copy_source_if_modified_since.as_ref(),
        input.copy_source_if_unmodified_since.as_ref(),
    );
    let range = input.copy_source_range.as_deref().map(parse_range).transpose()?;
    let source = (&*source_bucket, &source_key, source_version);
    let Copied { target: stored, source: copied_version } =
        copy_part(&*operations.objects, &call.cx, source, range, call.bucket()?, part, source_conditions).await?;
    let mut result = CopyPartResult {
        e_tag: Some(conditions::etag(&stored.etag)),
        last_modified: Some(time::shown(stored.last_modified)),
        ..CopyPartResult::default()
    };
    checksum::show!(result, checksum::shown(&stored.checksums));
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: version::shown(&source_bucket, copied_version),
        ..UploadPartCopyOutput::default()
    }))
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

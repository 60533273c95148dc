//! HeadObject.

use http::StatusCode;
use s3s::{
    S3Request, S3Response,
    dto::{HeadObjectInput, HeadObjectOutput, TimestampFormat},
};
use umbra_core::{ByteRange, Error, Fault, ObjectInfo, ObjectKey, PartNumber, Permission, Result};
use umbra_store::GetOptions;

use super::{Operations, reads};
use crate::{
    call::Call,
    convert::{attributes::encryption, attributes::lock, checksum, version},
    error::Answer,
    expiration, extensions,
    layer::Status,
};

/// Tells what is known of an object.
pub(super) async fn head_object(operations: &Operations, request: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
    let call = Call::of(&request)?;
    encryption::refuse_on_read(&request.headers)?;
    let stated = stated!(request);
    let input = request.input;
    let key = ObjectKey::parse(&input.key)?;
    let options = reads::asked!(input);
    let bucket = call.bucket()?;
    let found = if extensions::is_on(&request.headers, extensions::SCHEDULE_MIGRATION) {
        operations.shadow.head_and_schedule(&call.cx, bucket, &key, options.clone()).await
    } else {
        operations.objects.head(&call.cx, bucket, &key, options.clone()).await
    };
    let info = match found {
        Ok(info) => info,
        Err(error) => return Err(reads::failed(operations, &call, stated, &key, options, error).await),
    };
    call.check_reader(&operations.judge, stated, (&key, &info), Permission::Read).await?;
    reads::check_key(&info, &options)?;
    let range = range(&info, &options)?;
    let mut output = reads::described!(HeadObjectOutput, &info);
    lock::show!(output, info);
    output.version_id = version::shown(bucket, info.version);
    output.content_length = i64::try_from(range.map_or(info.size, ByteRange::len)).ok();
    output.content_range = range.and_then(|range| reads::content_range(range, info.size));
    output.expiration = expiration::of_object(operations, &call, &key, &info).await;
    output.parts_count = reads::parts_count(&info, &options);
    if reads::wants_checksum(input.checksum_mode.as_ref()) {
        let checksum = checksum::of_answer(&info, range.is_some(), options.part_number);
        checksum::show_with_type!(output, checksum.as_ref());
    }
    output.cache_control = output.cache_control.or_else(|| bucket.settings.extras.cache_control.clone());
    override_headers(&mut output, &input);
    let mut response = S3Response::new(output);
    if range.is_some() {
        response.extensions.insert(Status(StatusCode::PARTIAL_CONTENT));
    }
    reads::complete(&mut response, &info, bucket);
    Ok(response)
}

/// The range a GET would answer with.
fn range(info: &ObjectInfo, options: &GetOptions) -> Result<Option<ByteRange>> {
    match (options.range, options.part_number) {
        (Some(range), _) => range.resolve(info.size).map(Some),
        (None, Some(number)) => part_range(info, number),
        (None, None) => Ok(None),
    }
}

/// Where part `number` lies, if it holds anything. An object of one piece is its own first part.
fn part_range(info: &ObjectInfo, number: PartNumber) -> Result<Option<ByteRange>> {
    let whole = info.parts.is_empty().then_some((1, info.size));
    let mut start = 0;
    for (part, size) in whole.into_iter().chain(info.parts.iter().map(|part| (part.number, part.size))) {
        if part == number.get() {
            return Ok((size > 0).then(|| ByteRange::new(start, start + size)));
        }
        start += size;
    }
    Err(Error::invalid(Fault::InvalidPartNumber, "the requested partnumber is not satisfiable"))
}

/// Signed readers may choose the headers of the answer. s3s does this for GET alone.
fn override_headers(output: &mut HeadObjectOutput, input: &HeadObjectInput) {
    let fields = [
        (&mut output.cache_control, &input.response_cache_control),
        (&mut output.content_disposition, &input.response_content_disposition),
        (&mut output.content_encoding, &input.response_content_encoding),
        (&mut output.content_language, &input.response_content_language),
        (&mut output.content_type, &input.response_content_type),
    ];
    for (field, chosen) in fields {
        if chosen.is_some() {
            field.clone_from(chosen);
        }
    }
    let mut date = Vec::new();
    if let Some(expires) = &input.response_expires
        && expires.format(TimestampFormat::HttpDate, &mut date).is_ok()
    {
        output.expires = String::from_utf8(date).ok();
    }
}

#[cfg(test)]
mod tests {
    use umbra_core::{ByteRange, ETag, ObjectInfo, PartInfo, PartNumber, ReadSource, SystemHeaders, Timestamp, UserMetadata};

    use super::part_range;

    fn object(size: u64, parts: &[(u16, u64)]) -> ObjectInfo {
        ObjectInfo {
            size,
            etag: ETag::parse("aa"),
            last_modified: Timestamp::default(),
            headers: SystemHeaders::default(),
            metadata: UserMetadata::default(),
            checksums: vec![],
            parts: parts.iter().map(|&(number, size)| PartInfo { number, size, checksums: vec![] }).collect(),
            tag_count: 0,
            tags: None,
            attributes: umbra_core::Attributes::default(),
            version: umbra_core::VersionId::Null,
            source: ReadSource::Local,
        }
    }

    #[test]
    fn parts_lie_one_behind_the_other() {
        let cases = [
            (object(10, &[]), 1, Some(Some(ByteRange::new(0, 10)))),
            (object(0, &[]), 1, Some(None)),
            (object(10, &[]), 2, None),
            (object(10, &[(1, 6), (5, 4)]), 1, Some(Some(ByteRange::new(0, 6)))),
            (object(10, &[(1, 6), (5, 4)]), 5, Some(Some(ByteRange::new(6, 10)))),
            (object(10, &[(1, 6), (5, 4)]), 2, None),
        ];
        for (info, number, expected) in cases {
            assert_eq!(part_range(&info, PartNumber::new(number).unwrap()).ok(), expected, "{number} of {info:?}");
        }
    }
}

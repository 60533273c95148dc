//! GetObject.

use s3s::{
    S3Request, S3Response,
    dto::{GetObjectInput, GetObjectOutput},
};
use umbra_core::{ObjectKey, Permission};

use super::{Operations, reads};
use crate::{
    body,
    call::Call,
    convert::{attributes::encryption, attributes::lock, checksum, version},
    error::Answer,
    expiration,
};

/// Reads an object, or a range or part of it.
pub(super) async fn get_object(operations: &Operations, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
    let call = Call::of(&request)?;
    encryption::refuse_on_read(&request.headers)?;
    let stated = stated!(request);
    let input = request.input;
    let key = ObjectKey::parse(&input.key)?;
    let options = reads::asked!(input);
    let bucket = call.bucket()?;
    let read = operations.objects.get(&call.cx, bucket, &key, options.clone()).await;
    let read = match read {
        Ok(read) => read,
        Err(error) => return Err(reads::failed(operations, &call, stated, &key, options, error).await),
    };
    let info = &read.info;
    call.check_reader(&operations.judge, stated, (&key, info), Permission::Read).await?;
    reads::check_key(info, &options)?;
    let length = read.range.map_or(info.size, |range| range.len());
    let mut output = reads::described!(GetObjectOutput, info);
    output.cache_control = output.cache_control.or_else(|| bucket.settings.extras.cache_control.clone());
    lock::show!(output, info);
    output.version_id = version::shown(bucket, info.version);
    output.content_length = i64::try_from(length).ok();
    output.content_range = read.range.and_then(|range| reads::content_range(range, info.size));
    output.expiration = expiration::of_object(operations, &call, &key, info).await;
    output.parts_count = reads::parts_count(info, &options);
    if reads::wants_checksum(input.checksum_mode.as_ref()) {
        let checksum = checksum::of_answer(info, read.range.is_some(), options.part_number);
        checksum::show_with_type!(output, checksum.as_ref());
    }
    let mut response = S3Response::new(output);
    reads::complete(&mut response, info, bucket);
    response.output.body = Some(body::outgoing(read.body, length));
    Ok(response)
}

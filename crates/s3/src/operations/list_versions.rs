//! ListObjectVersions: in a bucket that never had versions every object is its own, called `null`.

use s3s::{
    S3Request,
    dto::{ListObjectVersionsInput, ListObjectVersionsOutput, ObjectVersion, Owner},
};
use umbra_store::{ListOptions, ListSource, ListedObject};

use super::{Operations, list_objects};
use crate::{
    call::{Call, owner},
    convert::{conditions, encoding::KeyWriter, headers::STANDARD, time},
    error::Answer,
};

/// The only version there is.
const NULL: &str = "null";

/// Lists the versions of objects: one each.
pub(super) async fn list_object_versions(
    operations: &Operations,
    request: S3Request<ListObjectVersionsInput>,
) -> Answer<ListObjectVersionsOutput> {
    let call = Call::of(&request)?;
    let input = request.input;
    let bucket = call.bucket()?;
    let mut writer = KeyWriter::new(input.encoding_type.as_ref())?;
    let limit = list_objects::page_size(input.max_keys)?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let marker = input.key_marker.unwrap_or_default();
    let options = ListOptions {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter.clone().unwrap_or_default(),
        start: list_objects::start_after(&marker),
        limit,
        source: ListSource::Merged,
    };
    let page = operations.objects.list(&call.cx, bucket, options).await?;
    let owner = owner(&bucket.organization);
    let truncated = page.next.is_some();
    let last = page.last.filter(|_| truncated);
    let ends_with_version = last.is_some() && page.objects.last().map(|object| object.key.as_str()) == last.as_deref();
    let output = ListObjectVersionsOutput {
        name: Some(bucket.name.to_string()),
        prefix: Some(writer.text(input.prefix.unwrap_or_default())),
        key_marker: Some(writer.text(marker)),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        max_keys: i32::try_from(limit).ok(),
        is_truncated: Some(truncated),
        versions: Some(page.objects.into_iter().map(|object| shown(&mut writer, object, &owner)).collect()),
        common_prefixes: Some(writer.common_prefixes(page.common_prefixes)),
        delimiter: delimiter.map(|delimiter| writer.text(delimiter)),
        next_key_marker: last.map(|key| writer.text(key)),
        next_version_id_marker: ends_with_version.then(|| NULL.to_owned()),
        encoding_type: input.encoding_type,
        ..ListObjectVersionsOutput::default()
    };
    Ok(list_objects::finished(output, &writer))
}

fn shown(writer: &mut KeyWriter, object: ListedObject, owner: &Owner) -> ObjectVersion {
    ObjectVersion {
        e_tag: Some(conditions::etag(&object.etag)),
        is_latest: Some(true),
        key: Some(writer.text(object.key.as_str())),
        last_modified: Some(time::shown(object.last_modified)),
        owner: Some(owner.clone()),
        size: i64::try_from(object.size).ok(),
        storage_class: Some(object.storage_class.unwrap_or_else(|| STANDARD.to_owned()).into()),
        version_id: Some(NULL.to_owned()),
        ..ObjectVersion::default()
    }
}

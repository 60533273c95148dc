//! ListObjectVersions.

use s3s::{
    S3Request,
    dto::{DeleteMarkerEntry, ListObjectVersionsInput, ListObjectVersionsOutput, ObjectVersion, Owner},
};
use umbra_core::{Error, Fault, VersionId};
use umbra_store::{ListVersions, ListedVersion};

use super::{Operations, list_objects};
use crate::{
    call::{Call, owner},
    convert::{conditions, encoding::KeyWriter, headers::STANDARD, time, version},
    error::Answer,
};

/// Lists the versions of objects, and delete markers. In a bucket that never had versions every object is its own, called `null`.
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
    let key_marker = input.key_marker.filter(|marker| !marker.is_empty());
    let version_marker = input.version_id_marker.filter(|marker| !marker.is_empty());
    if version_marker.is_some() && key_marker.is_none() {
        return Err(Error::invalid(Fault::InvalidArgument, "a version-id marker cannot be specified without a key marker").into());
    }
    let options = ListVersions {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter.clone().unwrap_or_default(),
        key_marker: key_marker.clone(),
        version_marker: version::asked(version_marker.as_deref())?,
        limit,
    };
    let page = operations.objects.list_versions(&call.cx, bucket, options).await?;
    let owner = owner(&bucket.organization);
    let truncated = page.next.is_some();
    let (next_key, next_version) = page.next.unzip();
    let (markers, versions): (Vec<_>, Vec<_>) = page.versions.into_iter().partition(|listed| listed.is_marker);
    let output = ListObjectVersionsOutput {
        name: Some(bucket.name.to_string()),
        prefix: Some(writer.text(input.prefix.unwrap_or_default())),
        key_marker: Some(writer.text(key_marker.unwrap_or_default())),
        version_id_marker: Some(version_marker.unwrap_or_default()),
        max_keys: i32::try_from(limit).ok(),
        is_truncated: Some(truncated),
        versions: Some(versions.into_iter().map(|listed| version_shown(&mut writer, listed, &owner)).collect()),
        delete_markers: Some(markers.into_iter().map(|listed| marker_shown(&mut writer, listed, &owner)).collect()),
        common_prefixes: Some(writer.common_prefixes(page.common_prefixes)),
        delimiter: delimiter.map(|delimiter| writer.text(delimiter)),
        next_key_marker: next_key.map(|key| writer.text(key)),
        next_version_id_marker: next_version.flatten().as_ref().map(VersionId::to_string),
        encoding_type: input.encoding_type,
        ..ListObjectVersionsOutput::default()
    };
    Ok(list_objects::finished(output, &writer))
}

fn version_shown(writer: &mut KeyWriter, listed: ListedVersion, owner: &Owner) -> ObjectVersion {
    let ListedVersion { object, version, is_latest, .. } = listed;
    ObjectVersion {
        e_tag: Some(conditions::etag(&object.etag)),
        is_latest: Some(is_latest),
        key: Some(writer.text(object.key.as_str())),
        last_modified: Some(time::shown(object.last_modified)),
        owner: Some(owner.clone()),
        size: i64::try_from(object.size).ok(),
        storage_class: Some(object.storage_class.unwrap_or_else(|| STANDARD.to_owned()).into()),
        version_id: Some(version.to_string()),
        ..ObjectVersion::default()
    }
}

fn marker_shown(writer: &mut KeyWriter, listed: ListedVersion, owner: &Owner) -> DeleteMarkerEntry {
    let ListedVersion { object, version, is_latest, .. } = listed;
    DeleteMarkerEntry {
        is_latest: Some(is_latest),
        key: Some(writer.text(object.key.as_str())),
        last_modified: Some(time::shown(object.last_modified)),
        owner: Some(owner.clone()),
        version_id: Some(version.to_string()),
    }
}

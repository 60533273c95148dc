//! ListMultipartUploads.

use s3s::{
    S3Request,
    dto::{ListMultipartUploadsInput, ListMultipartUploadsOutput, MultipartUpload},
};
use umbra_core::UploadId;
use umbra_store::{ListUploads, ListedUpload, UploadsPage};

use super::{Operations, list_objects};
use crate::{
    call::{Call, initiator, owner},
    convert::{encoding::KeyWriter, headers::STANDARD, time},
    error::Answer,
};

/// Lists uploads in progress.
pub(super) async fn list_multipart_uploads(
    operations: &Operations,
    request: S3Request<ListMultipartUploadsInput>,
) -> Answer<ListMultipartUploadsOutput> {
    let call = Call::of(&request)?;
    let input = request.input;
    let bucket = call.bucket()?;
    let mut writer = KeyWriter::new(input.encoding_type.as_ref())?;
    let limit = list_objects::page_size(input.max_uploads)?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let key_marker = input.key_marker.filter(|marker| !marker.is_empty());
    // Without a key the other marker says nothing, and S3 ignores it.
    let upload_marker = input.upload_id_marker.filter(|marker| !marker.is_empty() && key_marker.is_some());
    let options = ListUploads {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter.clone().unwrap_or_default(),
        key_marker: key_marker.clone(),
        upload_marker: upload_marker.as_deref().map(UploadId::parse),
        limit,
    };
    let page = operations.objects.list_uploads(&call.cx, bucket, options).await?;
    let (next_key, next_upload) = next_markers(&page);
    let output = ListMultipartUploadsOutput {
        bucket: Some(bucket.name.to_string()),
        delimiter: delimiter.map(|delimiter| writer.text(delimiter)),
        encoding_type: input.encoding_type,
        is_truncated: Some(page.truncated),
        key_marker: Some(writer.text(key_marker.unwrap_or_default())),
        max_uploads: i32::try_from(limit).ok(),
        next_key_marker: next_key.map(|key| writer.text(key)),
        next_upload_id_marker: next_upload,
        prefix: Some(writer.text(input.prefix.unwrap_or_default())),
        request_charged: None,
        upload_id_marker: Some(upload_marker.unwrap_or_default()),
        uploads: Some(page.uploads.into_iter().map(|upload| shown(&mut writer, upload, &bucket.organization)).collect()),
        common_prefixes: Some(writer.common_prefixes(page.common_prefixes)),
    };
    Ok(list_objects::finished(output, &writer))
}

/// Where the next page begins: behind the last upload or the last common prefix, whichever comes later.
fn next_markers(page: &UploadsPage) -> (Option<String>, Option<String>) {
    if !page.truncated {
        return (None, None);
    }
    match (page.uploads.last(), page.common_prefixes.last()) {
        (Some(upload), Some(prefix)) if upload.key.as_str() < prefix.as_str() => (Some(prefix.clone()), None),
        (Some(upload), _) => (Some(upload.key.to_string()), Some(upload.upload.to_string())),
        (None, prefix) => (prefix.cloned(), None),
    }
}

fn shown(writer: &mut KeyWriter, upload: ListedUpload, bucket_owner: &str) -> MultipartUpload {
    MultipartUpload {
        initiated: Some(time::shown(upload.initiated)),
        initiator: Some(initiator(upload.initiator.as_deref().unwrap_or(bucket_owner))),
        key: Some(writer.text(upload.key.as_str())),
        owner: Some(owner(upload.owner.as_deref().unwrap_or(bucket_owner))),
        storage_class: Some(STANDARD.to_owned().into()),
        upload_id: Some(upload.upload.to_string()),
        ..MultipartUpload::default()
    }
}

#[cfg(test)]
mod tests {
    use umbra_core::{ObjectKey, Timestamp, UploadId};
    use umbra_store::{ListedUpload, UploadsPage};

    use super::next_markers;

    #[test]
    fn the_next_page_begins_behind_whatever_came_last() {
        let upload = |key: &str| ListedUpload {
            key: ObjectKey::parse(key).unwrap(),
            upload: UploadId::parse("id"),
            initiated: Timestamp::default(),
            initiator: None,
            owner: None,
        };
        let page = |uploads: &[&str], prefixes: &[&str]| UploadsPage {
            uploads: uploads.iter().map(|key| upload(key)).collect(),
            common_prefixes: prefixes.iter().map(ToString::to_string).collect(),
            truncated: true,
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(next_markers(&page(&["a", "c"], &["b/"])), (some("c"), some("id")));
        assert_eq!(next_markers(&page(&["a"], &["b/"])), (some("b/"), None));
        assert_eq!(next_markers(&page(&[], &["b/"])), (some("b/"), None));
        assert_eq!(next_markers(&UploadsPage { truncated: false, ..page(&["a"], &[]) }), (None, None));
    }
}

//! ListObjects, in both versions.

use http::HeaderMap;
use s3s::{
    S3Request, S3Response,
    dto::{ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object, Owner},
};
use umbra_core::{Error, Fault, Result, limits};
use umbra_store::{ListOptions, ListSource, ListStart, ListedObject};

use super::Operations;
use crate::{
    call::{Call, owner},
    convert::{conditions, encoding::KeyWriter, headers::STANDARD, time},
    error::Answer,
    xml_text::Shielded,
};

/// Lists objects, continued by keys.
pub(super) async fn list_objects(operations: &Operations, request: S3Request<ListObjectsInput>) -> Answer<ListObjectsOutput> {
    let call = Call::of(&request)?;
    let source = source(&request.headers)?;
    let input = request.input;
    let bucket = call.bucket()?;
    let mut writer = KeyWriter::new(input.encoding_type.as_ref())?;
    let limit = page_size(input.max_keys)?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let marker = input.marker.unwrap_or_default();
    let options = ListOptions {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter.clone().unwrap_or_default(),
        start: start_after(&marker),
        limit,
        source,
    };
    let page = operations.objects.list(&call.cx, bucket, options).await?;
    let owner = owner(&bucket.organization);
    let truncated = page.next.is_some();
    // S3 tells the next marker only where a client could not find it: the last entry may be a common prefix, or the page empty.
    let next_marker = page.last.filter(|_| truncated && (delimiter.is_some() || page.objects.is_empty()));
    let output = ListObjectsOutput {
        name: Some(bucket.name.to_string()),
        prefix: Some(writer.text(input.prefix.unwrap_or_default())),
        marker: Some(writer.text(marker)),
        max_keys: i32::try_from(limit).ok(),
        is_truncated: Some(truncated),
        contents: Some(contents(&mut writer, page.objects, Some(&owner))),
        common_prefixes: Some(writer.common_prefixes(page.common_prefixes)),
        delimiter: delimiter.map(|delimiter| writer.text(delimiter)),
        next_marker: next_marker.map(|marker| writer.text(marker)),
        encoding_type: input.encoding_type,
        request_charged: None,
    };
    Ok(finished(output, &writer))
}

/// Lists objects, continued by tokens.
pub(super) async fn list_objects_v2(operations: &Operations, request: S3Request<ListObjectsV2Input>) -> Answer<ListObjectsV2Output> {
    let call = Call::of(&request)?;
    let source = source(&request.headers)?;
    let input = request.input;
    let bucket = call.bucket()?;
    let mut writer = KeyWriter::new(input.encoding_type.as_ref())?;
    let limit = page_size(input.max_keys)?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let start = match &input.continuation_token {
        Some(token) if !token.is_empty() => ListStart::Continue(token.clone()),
        _ => start_after(input.start_after.as_deref().unwrap_or_default()),
    };
    let options = ListOptions {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter.clone().unwrap_or_default(),
        start,
        limit,
        source,
    };
    let page = operations.objects.list(&call.cx, bucket, options).await?;
    let owner = input.fetch_owner.unwrap_or(false).then(|| owner(&bucket.organization));
    let output = ListObjectsV2Output {
        name: Some(bucket.name.to_string()),
        prefix: Some(writer.text(input.prefix.unwrap_or_default())),
        max_keys: i32::try_from(limit).ok(),
        key_count: i32::try_from(page.objects.len() + page.common_prefixes.len()).ok(),
        continuation_token: input.continuation_token,
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next,
        contents: Some(contents(&mut writer, page.objects, owner.as_ref())),
        common_prefixes: Some(writer.common_prefixes(page.common_prefixes)),
        delimiter: delimiter.map(|delimiter| writer.text(delimiter)),
        encoding_type: input.encoding_type,
        start_after: input.start_after.map(|key| writer.text(key)),
        request_charged: None,
    };
    Ok(finished(output, &writer))
}

/// Which side of a shadowed bucket to list; Tigris's clients ask for one at a time.
fn source(headers: &HeaderMap) -> Result<ListSource> {
    match headers.get("x-tigris-list-source").map(|source| source.as_bytes().to_ascii_lowercase()).as_deref() {
        None => Ok(ListSource::Merged),
        Some(b"tigris") => Ok(ListSource::Local),
        Some(b"shadow") => Ok(ListSource::Origin),
        Some(_) => Err(Error::invalid(Fault::InvalidArgument, "X-Tigris-List-Source is either tigris or shadow")),
    }
}

/// The size of a page when the client asks for `wanted`.
pub(super) fn page_size(wanted: Option<i32>) -> Result<usize> {
    let wanted = usize::try_from(wanted.unwrap_or(i32::MAX));
    let wanted =
        wanted.map_err(|_| Error::invalid(Fault::InvalidArgument, "the size of a page must be an integer between 0 and 2147483647"))?;
    Ok(wanted.min(limits::KEYS_PER_PAGE_MAX))
}

/// Where a listing behind `marker` begins.
pub(super) fn start_after(marker: &str) -> ListStart {
    if marker.is_empty() { ListStart::First } else { ListStart::After(marker.to_owned()) }
}

fn contents(writer: &mut KeyWriter, objects: Vec<ListedObject>, owner: Option<&Owner>) -> Vec<Object> {
    let shown = |object: ListedObject| Object {
        e_tag: Some(conditions::etag(&object.etag)),
        key: Some(writer.text(object.key.as_str())),
        last_modified: Some(time::shown(object.last_modified)),
        owner: owner.cloned(),
        size: i64::try_from(object.size).ok(),
        storage_class: Some(object.storage_class.unwrap_or_else(|| STANDARD.to_owned()).into()),
        ..Object::default()
    };
    objects.into_iter().map(shown).collect()
}

/// The response with `output`, marked when the outer layer has something to put right.
pub(super) fn finished<T>(output: T, writer: &KeyWriter) -> S3Response<T> {
    let mut response = S3Response::new(output);
    if writer.has_shielded() {
        response.extensions.insert(Shielded);
    }
    response
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use umbra_store::ListSource;

    use super::{page_size, source};

    #[test]
    fn pages_are_bounded() {
        for (wanted, expected) in [(None, Some(1000)), (Some(0), Some(0)), (Some(7), Some(7)), (Some(5000), Some(1000)), (Some(-1), None)] {
            assert_eq!(page_size(wanted).ok(), expected, "{wanted:?}");
        }
    }

    #[test]
    fn one_side_can_be_asked_for() {
        let asked =
            |value| source(&HeaderMap::from_iter([(HeaderName::from_static("x-tigris-list-source"), HeaderValue::from_static(value))]));
        assert_eq!(source(&HeaderMap::new()).unwrap(), ListSource::Merged);
        assert_eq!(asked("tigris").unwrap(), ListSource::Local);
        assert_eq!(asked("Shadow").unwrap(), ListSource::Origin);
        assert!(asked("both").is_err());
    }
}

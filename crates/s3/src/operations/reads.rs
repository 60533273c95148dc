//! What GetObject and HeadObject have in common.

use http::{HeaderMap, HeaderName, HeaderValue, header::LAST_MODIFIED};
use s3s::{S3Error, S3Response, dto::Range};
use umbra_core::{
    ByteRange, Encryption, Error, ErrorKind, Fault, ObjectInfo, ObjectKey, PartNumber, Permission, RangeSpec, ReadSource, Result,
};
use umbra_store::{Bucket, GetOptions};

use super::Operations;
use crate::{
    access::Stated,
    call::Call,
    convert::{attributes::narrowed, time},
    error::Failure,
};

/// Tells readers that the origin answered; the name and the value are what Tigris's clients look for.
const READ_SOURCE: HeaderName = HeaderName::from_static("x-tigris-read-source");

/// The read that the fields of `$input` ask for.
macro_rules! asked {
    ($input:expr) => {{
        let input = &$input;
        let preconditions = crate::convert::conditions::on_read(
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
            input.if_modified_since.as_ref(),
            input.if_unmodified_since.as_ref(),
        );
        let version = $crate::convert::version::asked(input.version_id.as_deref())?;
        let options = $crate::operations::reads::options(input.range.as_ref(), input.part_number, preconditions)?;
        umbra_store::GetOptions { version, customer_key: $crate::convert::attributes::encryption::given_key!(input)?, ..options }
    }};
}

/// An `$Output` that describes the object in `$info`.
macro_rules! described {
    ($Output:ident, $info:expr) => {{
        let info: &umbra_core::ObjectInfo = $info;
        let content_type = info.headers.content_type.as_deref().unwrap_or($crate::convert::headers::DEFAULT_CONTENT_TYPE);
        let mut output = $Output {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: info.headers.cache_control.clone(),
            content_disposition: info.headers.content_disposition.clone(),
            content_encoding: info.headers.content_encoding.clone(),
            content_language: info.headers.content_language.clone(),
            content_type: Some(content_type.to_owned()),
            e_tag: Some($crate::convert::conditions::etag(&info.etag)),
            expires: info.headers.expires.clone(),
            last_modified: Some($crate::convert::time::shown(info.last_modified)),
            metadata: $crate::convert::headers::shown(&info.metadata),
            storage_class: info.headers.storage_class.clone().map(Into::into),
            tag_count: i32::try_from(info.tag_count).ok().filter(|count| *count > 0),
            website_redirect_location: info.headers.website_redirect_location.clone(),
            ..$Output::default()
        };
        $crate::convert::attributes::encryption::show!(output, info.attributes.encryption.as_ref());
        output
    }};
}

pub(super) use {asked, described};

/// Joins what a reader asks for.
pub(super) fn options(range: Option<&Range>, part_number: Option<i32>, preconditions: umbra_core::Preconditions) -> Result<GetOptions> {
    if range.is_some() && part_number.is_some() {
        return Err(Error::invalid(Fault::InvalidRequest, "cannot specify both Range header and partNumber query parameter"));
    }
    let part_number = part_number.map(|number| PartNumber::new(number.into())).transpose()?;
    let range = range.map(|range| match *range {
        Range::Int { first, last } => RangeSpec::From { first, last },
        Range::Suffix { length } => RangeSpec::Suffix { length },
    });
    Ok(GetOptions { version: None, range, part_number, wants_parts: false, preconditions, customer_key: None, is_of_record: false })
}

/// Refuses a customer's key for an object that is not encrypted with one. What is read at an origin never is.
pub(super) fn check_key(info: &ObjectInfo, options: &GetOptions) -> Result<()> {
    match (&info.attributes.encryption, &options.customer_key) {
        (Some(Encryption::Customer { .. }), _) | (_, None) => Ok(()),
        _ => Err(Error::invalid(Fault::InvalidRequest, "The encryption parameters are not applicable to this object.")),
    }
}

/// Whether the reader wants checksums.
pub(super) fn wants_checksum(mode: Option<&s3s::dto::ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str().eq_ignore_ascii_case("ENABLED"))
}

/// `Content-Range` of `range` within `size` bytes; an empty range has none.
pub(super) fn content_range(range: ByteRange, size: u64) -> Option<String> {
    (!range.is_empty()).then(|| format!("bytes {}-{}/{size}", range.start, range.end - 1))
}

/// How many parts an object has, for readers of one of them.
pub(super) fn parts_count(info: &ObjectInfo, options: &GetOptions) -> Option<i32> {
    options.part_number?;
    i32::try_from(info.parts.len()).ok().filter(|count| *count > 0)
}

/// Says where the answer came from and where the object is to live, and adds what the owner of the bucket wants every reader to get.
pub(super) fn complete<T>(response: &mut S3Response<T>, info: &ObjectInfo, bucket: &Bucket) {
    for (name, value) in &bucket.settings.extras.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers.insert(name, value);
        }
    }
    response.headers.extend(narrowed::shown(info));
    if info.source == ReadSource::Origin {
        response.headers.insert(READ_SOURCE, HeaderValue::from_static("block_shadow"));
    }
}

/// Completes the answer to a read that failed: 304 carries what the reader already has a copy of.
pub(super) async fn failed(
    operations: &Operations,
    call: &Call,
    stated: Stated<'_>,
    key: &ObjectKey,
    options: GetOptions,
    error: Error,
) -> Failure {
    if error.kind() != ErrorKind::NotModified {
        return call.told(error);
    }
    let mut answer = S3Error::from(Failure::from(error));
    let again = GetOptions { version: options.version, customer_key: options.customer_key, ..GetOptions::default() };
    if let Ok(bucket) = call.bucket()
        && let Ok(info) = operations.objects.head(&call.cx, bucket, key, again).await
    {
        if let Err(failure) = call.check_reader(&operations.judge, stated, (key, &info), Permission::Read).await {
            return failure;
        }
        answer.set_headers(validators(&info));
    }
    answer.into()
}

fn validators(info: &ObjectInfo) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(etag) = HeaderValue::try_from(info.etag.quoted()) {
        headers.insert(http::header::ETAG, etag);
    }
    if let Some(date) = time::header(info.last_modified) {
        headers.insert(LAST_MODIFIED, date);
    }
    if let Some(cache) = info.headers.cache_control.as_ref().and_then(|text| HeaderValue::try_from(text).ok()) {
        headers.insert(http::header::CACHE_CONTROL, cache);
    }
    headers
}

#[cfg(test)]
mod tests {
    use s3s::dto::Range;
    use umbra_core::{ByteRange, Preconditions, RangeSpec};

    use super::{content_range, options};

    #[test]
    fn a_range_and_a_part_exclude_each_other() {
        let range = Range::Int { first: 1, last: Some(2) };
        let none = Preconditions::default;
        assert_eq!(options(Some(&range), None, none()).unwrap().range, Some(RangeSpec::From { first: 1, last: Some(2) }));
        assert_eq!(options(None, Some(7), none()).unwrap().part_number.unwrap().get(), 7);
        assert!(options(Some(&range), Some(7), none()).is_err());
        assert!(options(None, Some(0), none()).is_err());
    }

    #[test]
    fn content_ranges_are_inclusive() {
        assert_eq!(content_range(ByteRange::new(2, 5), 10).as_deref(), Some("bytes 2-4/10"));
        assert_eq!(content_range(ByteRange::new(0, 0), 0), None);
    }
}

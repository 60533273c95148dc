//! What tells an object here from the one at the origin: pure.

use umbra_core::{ObjectInfo, SystemHeaders, Tags};
use umbra_store::ObjectRecord;

/// Something that can differ between an object here and the one at the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Field {
    Size,
    ETag,
    LastModified,
    ContentType,
    CacheControl,
    ContentDisposition,
    ContentEncoding,
    ContentLanguage,
    Expires,
    WebsiteRedirectLocation,
    StorageClass,
    UserMetadata,
    Tags,
    Checksums,
}

impl Field {
    /// Its name for a person.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::ETag => "etag",
            Self::LastModified => "last-modified",
            Self::ContentType => "content-type",
            Self::CacheControl => "cache-control",
            Self::ContentDisposition => "content-disposition",
            Self::ContentEncoding => "content-encoding",
            Self::ContentLanguage => "content-language",
            Self::Expires => "expires",
            Self::WebsiteRedirectLocation => "website-redirect-location",
            Self::StorageClass => "storage-class",
            Self::UserMetadata => "user-metadata",
            Self::Tags => "tags",
            Self::Checksums => "checksums",
        }
    }
}

/// In what the two differ. `origin_tags` is `None` where the origin does not show them.
///
/// An object that was copied in is to be as its original in everything. One that was written here has a date of its own, and what it was
/// stored without, the origin may fill in: a content type, which some guess from the content, and a storage class.
pub(crate) fn differing(local: &ObjectRecord, origin: &ObjectInfo, origin_tags: Option<&Tags>) -> Vec<Field> {
    let is_copy = local.hydrated.is_some();
    let mut fields = Vec::new();
    let mut check = |field, differs: bool| {
        if differs {
            fields.push(field);
        }
    };
    check(Field::Size, local.size != origin.size);
    check(Field::ETag, local.etag != origin.etag);
    check(Field::LastModified, is_copy && local.last_modified.as_secs() != origin.last_modified.as_secs());
    for (field, ours, theirs) in headers(&local.headers, &origin.headers) {
        let is_filled_in = !is_copy && ours.is_none() && matches!(field, Field::ContentType | Field::StorageClass);
        check(field, ours != theirs && !is_filled_in);
    }
    check(Field::UserMetadata, local.metadata != origin.metadata);
    let tags_differ = match origin_tags {
        Some(tags) => *tags != local.tags,
        None => origin.tag_count > 0 && origin.tag_count != local.tags.len(),
    };
    check(Field::Tags, tags_differ);
    let contradicts = |theirs: &umbra_core::Checksum| {
        local.checksums.iter().any(|ours| ours.algorithm == theirs.algorithm && ours.kind == theirs.kind && ours.value != theirs.value)
    };
    check(Field::Checksums, origin.checksums.iter().any(contradicts));
    fields
}

type Header<'a> = (Field, Option<&'a str>, Option<&'a str>);

fn headers<'a>(ours: &'a SystemHeaders, theirs: &'a SystemHeaders) -> [Header<'a>; 8] {
    // S3 does not tell the storage class STANDARD; others do.
    fn class(headers: &SystemHeaders) -> Option<&str> {
        headers.storage_class.as_deref().filter(|class| *class != "STANDARD")
    }
    let pick = |field, of: fn(&SystemHeaders) -> &Option<String>| (field, of(ours).as_deref(), of(theirs).as_deref());
    [
        pick(Field::ContentType, |headers| &headers.content_type),
        pick(Field::CacheControl, |headers| &headers.cache_control),
        pick(Field::ContentDisposition, |headers| &headers.content_disposition),
        pick(Field::ContentEncoding, |headers| &headers.content_encoding),
        pick(Field::ContentLanguage, |headers| &headers.content_language),
        pick(Field::Expires, |headers| &headers.expires),
        pick(Field::WebsiteRedirectLocation, |headers| &headers.website_redirect_location),
        (Field::StorageClass, class(ours), class(theirs)),
    ]
}

#[cfg(test)]
pub(crate) mod tests {
    use umbra_core::{
        Checksum, ChecksumAlgorithm, ChecksumType, ETag, ObjectInfo, ReadSource, SystemHeaders, Tags, Timestamp, UserMetadata,
    };
    use umbra_store::{ObjectRecord, Pieces};

    use super::{Field, differing};

    /// An object here and what the origin says of the same one.
    pub(crate) fn twins(hydrated: bool) -> (ObjectRecord, ObjectInfo) {
        let headers = SystemHeaders { content_type: Some("text/plain".into()), ..SystemHeaders::default() };
        let checksums = vec![Checksum { algorithm: ChecksumAlgorithm::Sha1, kind: ChecksumType::FullObject, value: "x".into() }];
        let local = ObjectRecord {
            size: 3,
            etag: ETag::parse("e"),
            last_modified: Timestamp::from_millis(5_000),
            headers: headers.clone(),
            metadata: UserMetadata::new([("a".into(), "b".into())]),
            tags: Tags::default(),
            attributes: umbra_core::Attributes::default(),
            checksums: checksums.clone(),
            parts: vec![],
            content: Pieces::Inline("abc".into()),
            hydrated: hydrated.then(|| Timestamp::from_millis(9_000)),
            completion: None,
            version: umbra_store::Version::default(),
        };
        let origin = ObjectInfo {
            size: 3,
            etag: ETag::parse("e"),
            last_modified: Timestamp::from_millis(5_000),
            headers,
            metadata: local.metadata.clone(),
            checksums,
            parts: vec![],
            tag_count: 0,
            tags: None,
            attributes: umbra_core::Attributes::default(),
            version: umbra_core::VersionId::Null,
            source: ReadSource::Origin,
        };
        (local, origin)
    }

    #[test]
    fn each_field_is_told() {
        type Change = fn(&mut ObjectInfo);
        let cases: [(Change, Field); 9] = [
            (|there| there.size = 4, Field::Size),
            (|there| there.etag = ETag::parse("f"), Field::ETag),
            (|there| there.last_modified = Timestamp::from_millis(6_000), Field::LastModified),
            (|there| there.headers.content_type = None, Field::ContentType),
            (|there| there.headers.expires = Some("never".into()), Field::Expires),
            (|there| there.headers.storage_class = Some("GLACIER".into()), Field::StorageClass),
            (|there| there.metadata = UserMetadata::default(), Field::UserMetadata),
            (|there| there.tag_count = 2, Field::Tags),
            (|there| there.checksums[0].value = "y".into(), Field::Checksums),
        ];
        let (local, origin) = twins(true);
        assert_eq!(differing(&local, &origin, Some(&Tags::default())), []);
        for (change, field) in cases {
            let mut changed = origin.clone();
            change(&mut changed);
            assert_eq!(differing(&local, &changed, None), [field]);
        }
        let tags = Tags::new([("a".into(), "b".into())]);
        assert_eq!(differing(&local, &origin, Some(&tags)), [Field::Tags]);
    }

    #[test]
    fn what_was_written_here_may_be_filled_in_by_the_origin() {
        let (mut local, mut origin) = twins(false);
        origin.last_modified = Timestamp::from_millis(99_000);
        origin.headers.storage_class = Some("STANDARD_IA".into());
        local.headers.content_type = None;
        origin.headers.content_type = Some("binary/octet-stream".into());
        assert_eq!(differing(&local, &origin, None), []);
        local.headers.content_type = Some("text/html".into());
        origin.headers.cache_control = Some("no-store".into());
        assert_eq!(differing(&local, &origin, None), [Field::ContentType, Field::CacheControl]);
        local.headers.content_type = None;
        (local.hydrated, local.headers.cache_control) = (Some(Timestamp::default()), origin.headers.cache_control.clone());
        origin.headers.content_type = Some("binary/octet-stream".into());
        assert_eq!(differing(&local, &origin, None), [Field::LastModified, Field::ContentType, Field::StorageClass]);
    }
}

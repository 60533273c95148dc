//! What headers say of an object, and the headers that say it.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use umbra_client::date;
use umbra_core::{
    Checksum, ChecksumAlgorithm, ChecksumType, ETag, Error, ErrorKind, Fault, ObjectInfo, ReadSource, SystemHeaders, Timestamp,
    UserMetadata,
};

use crate::origin::{OriginAttributes, OriginError, Result, Uncarried};

pub(super) fn header_text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    // Origins send UTF-8 in metadata; `HeaderValue::to_str` would refuse it.
    std::str::from_utf8(headers.get(name)?.as_bytes()).ok()
}

pub(super) fn etag(headers: &HeaderMap) -> Result<ETag> {
    let etag = header_text(headers, "etag").map(ETag::parse).filter(|etag| !etag.as_str().is_empty());
    // The write was taken: only what became of it is not known.
    etag.ok_or_else(|| OriginError {
        error: Error::new(ErrorKind::OriginUnavailable, "the origin does not tell the object's ETag"),
        outcome_unknown: true,
    })
}

/// Whether the ETag is one of the weak kind, which no `If-Match` ever matches: <https://www.rfc-editor.org/rfc/rfc9110#section-13.1.1>.
pub(super) fn is_etag_weak(headers: &HeaderMap) -> bool {
    header_text(headers, "etag").is_some_and(|etag| etag.trim_start().starts_with("W/"))
}

/// Whether the ETag is the MD5 of the content: encryption under a customer's or KMS key makes it something else.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>
pub(super) fn etag_is_md5(headers: &HeaderMap) -> bool {
    let encrypted = header_text(headers, "x-amz-server-side-encryption").is_some_and(|how| how.starts_with("aws:"));
    !encrypted && !headers.contains_key("x-amz-server-side-encryption-customer-algorithm")
}

pub(super) fn object_info(headers: &HeaderMap, size: u64) -> Result<ObjectInfo> {
    let text = |name: &str| header_text(headers, name).map(str::to_owned);
    let metadata = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix("x-amz-meta-")?;
        Some((name.to_owned(), std::str::from_utf8(value.as_bytes()).ok()?.to_owned()))
    });
    Ok(ObjectInfo {
        size,
        etag: etag(headers)?,
        last_modified: last_modified(headers),
        headers: SystemHeaders {
            content_type: text("content-type"),
            cache_control: text("cache-control"),
            content_disposition: text("content-disposition"),
            content_encoding: text("content-encoding"),
            content_language: text("content-language"),
            expires: text("expires"),
            website_redirect_location: text("x-amz-website-redirect-location"),
            storage_class: text("x-amz-storage-class"),
        },
        metadata: UserMetadata::new(metadata),
        checksums: checksums(headers),
        parts: Vec::new(),
        tag_count: text("x-amz-tagging-count").and_then(|count| count.parse().ok()).unwrap_or(0),
        tags: None,
        attributes: umbra_core::Attributes::default(),
        version: umbra_core::VersionId::Null,
        source: ReadSource::Origin,
    })
}

/// When the object was last written. Where the origin does not say, the answer's own date: it was not later.
fn last_modified(headers: &HeaderMap) -> Timestamp {
    let date = |name| date::parse(header_text(headers, name)?);
    let exact = date("last-modified").or_else(|| date("date")).unwrap_or_default();
    // Whole seconds, as the header has it.
    Timestamp::from_millis(exact.as_secs() * 1000)
}

/// What of an object with these headers cannot be brought here.
pub(super) fn uncarried(headers: &HeaderMap) -> Vec<Uncarried> {
    let text = |name: &str| header_text(headers, name);
    let is_archived = text("x-amz-storage-class").is_some_and(|class| matches!(class, "GLACIER" | "DEEP_ARCHIVE"))
        && text("x-amz-restore").is_none_or(|restore| !restore.contains("ongoing-request=\"false\""));
    let acl = ["x-amz-acl", "x-oss-object-acl", "x-cos-acl"].into_iter().find_map(text);
    let mut found = Vec::new();
    let mut note = |is_so: bool, what: Uncarried| found.extend(is_so.then_some(what));
    note(text("x-amz-server-side-encryption-customer-algorithm").is_some(), Uncarried::CustomerKey);
    note(is_archived || text("x-amz-archive-status").is_some(), Uncarried::Archived);
    note(text("x-amz-object-lock-mode").is_some(), Uncarried::Retention);
    note(text("x-amz-object-lock-legal-hold").is_some_and(|hold| hold.eq_ignore_ascii_case("ON")), Uncarried::LegalHold);
    note(acl.is_some_and(|acl| !matches!(acl, "private" | "default")), Uncarried::Acl);
    note(text("x-amz-missing-meta").is_some_and(|count| count.trim() != "0"), Uncarried::HiddenMetadata);
    let unreadable = headers.iter().filter(|(name, value)| is_kept(name.as_str()) && std::str::from_utf8(value.as_bytes()).is_err());
    found.extend(unreadable.map(|(name, _)| Uncarried::UnreadableHeader(name.to_string())));
    found
}

/// Whether a header is part of the object.
fn is_kept(name: &str) -> bool {
    const KEPT: [&str; 7] = [
        "content-type",
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "expires",
        "x-amz-website-redirect-location",
    ];
    name.starts_with("x-amz-meta-") || KEPT.contains(&name)
}

fn checksums(headers: &HeaderMap) -> Vec<Checksum> {
    let composite = header_text(headers, "x-amz-checksum-type").is_some_and(|kind| kind.eq_ignore_ascii_case("COMPOSITE"));
    let one = |algorithm: ChecksumAlgorithm| {
        let value = header_text(headers, algorithm.header())?.to_owned();
        let kind = if composite || value.contains('-') { ChecksumType::Composite } else { ChecksumType::FullObject };
        Some(Checksum { algorithm, kind, value })
    };
    ChecksumAlgorithm::ALL.into_iter().filter_map(one).collect()
}

pub(super) fn request_headers(attributes: &OriginAttributes) -> Result<HeaderMap> {
    let OriginAttributes { headers: stored, metadata, tags } = attributes;
    let mut headers = HeaderMap::new();
    let mut set = |name: &str, value: &str| -> Result<()> {
        let wrong =
            || OriginError::certain(Error::invalid(Fault::InvalidArgument, format!("the header {name} cannot be sent to the origin")));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        headers.insert(name.clone(), HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong())?);
        Ok(())
    };
    let standard = [
        (header::CONTENT_TYPE.as_str(), &stored.content_type),
        (header::CACHE_CONTROL.as_str(), &stored.cache_control),
        (header::CONTENT_DISPOSITION.as_str(), &stored.content_disposition),
        (header::CONTENT_ENCODING.as_str(), &stored.content_encoding),
        (header::CONTENT_LANGUAGE.as_str(), &stored.content_language),
        (header::EXPIRES.as_str(), &stored.expires),
        ("x-amz-website-redirect-location", &stored.website_redirect_location),
        ("x-amz-storage-class", &stored.storage_class),
    ];
    for (name, value) in standard {
        if let Some(value) = value {
            set(name, value)?;
        }
    }
    for (name, value) in metadata.iter() {
        set(&format!("x-amz-meta-{name}"), value)?;
    }
    if !tags.is_empty() {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs: Vec<_> = tags.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
        set("x-amz-tagging", &pairs.join("&"))?;
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use umbra_core::{ChecksumType, Timestamp};

    use super::{object_info, request_headers, uncarried};
    use crate::origin::{OriginAttributes, Uncarried};

    fn headers(entries: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [("etag", "\"e\"")].iter().chain(entries) {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn every_header_is_taken_as_it_is() {
        let given = [
            ("content-type", "text/plain; charset=\"utf-8\""),
            ("cache-control", "max-age=1, private"),
            ("content-disposition", "attachment; filename=\"é.txt\""),
            ("content-encoding", "br"),
            ("content-language", "de"),
            ("expires", "never, I think"),
            ("x-amz-website-redirect-location", "/elsewhere"),
            ("x-amz-storage-class", "STANDARD_IA"),
            ("x-amz-meta-raw", "é🦀"),
            ("x-amz-meta-encoded", "=?UTF-8?B?w6k=?="),
        ];
        let info = object_info(&headers(&given), 5).unwrap();
        assert_eq!(info.headers.expires.as_deref(), Some("never, I think"));
        let attributes = OriginAttributes { headers: info.headers, metadata: info.metadata, ..OriginAttributes::default() };
        let sent = request_headers(&attributes).unwrap();
        assert_eq!(sent.len(), given.len());
        for (name, value) in given {
            assert_eq!(sent[name].as_bytes(), value.as_bytes(), "{name}");
        }
    }

    #[test]
    fn dates_of_any_form_or_none_are_dates() {
        let at = |entries: &[(&'static str, &str)]| object_info(&headers(entries), 0).unwrap().last_modified;
        let expected = Timestamp::from_millis(784_111_777_000);
        assert_eq!(at(&[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"), ("date", "Tue, 15 Nov 1994 08:12:31 GMT")]), expected);
        assert_eq!(at(&[("last-modified", "1994-11-06T08:49:37.123Z")]), expected);
        assert_eq!(at(&[("date", "Sun, 06 Nov 1994 08:49:37 GMT")]), expected);
        assert_eq!(at(&[]), Timestamp::default());
    }

    #[test]
    fn checksums_say_what_they_cover() {
        let kind = |entries: &[(&'static str, &str)]| object_info(&headers(entries), 0).unwrap().checksums[0].kind;
        assert_eq!(kind(&[("x-amz-checksum-crc32", "AAAAAA==")]), ChecksumType::FullObject);
        assert_eq!(kind(&[("x-amz-checksum-crc32", "AAAAAA==-2")]), ChecksumType::Composite);
        assert_eq!(kind(&[("x-amz-checksum-sha256", "x"), ("x-amz-checksum-type", "COMPOSITE")]), ChecksumType::Composite);
    }

    #[test]
    fn what_cannot_be_carried_is_noticed() {
        for (entries, expected) in [
            (&[("x-amz-server-side-encryption-customer-algorithm", "AES256")][..], vec![Uncarried::CustomerKey]),
            (&[("x-amz-storage-class", "GLACIER")], vec![Uncarried::Archived]),
            (&[("x-amz-storage-class", "GLACIER"), ("x-amz-restore", "ongoing-request=\"false\", expiry-date=\"x\"")], vec![]),
            (&[("x-amz-storage-class", "DEEP_ARCHIVE"), ("x-amz-restore", "ongoing-request=\"true\"")], vec![Uncarried::Archived]),
            (&[("x-amz-archive-status", "ARCHIVE_ACCESS")], vec![Uncarried::Archived]),
            (
                &[("x-amz-object-lock-mode", "GOVERNANCE"), ("x-amz-object-lock-legal-hold", "ON")],
                vec![Uncarried::Retention, Uncarried::LegalHold],
            ),
            (&[("x-amz-object-lock-legal-hold", "OFF")], vec![]),
            (&[("x-oss-object-acl", "public-read")], vec![Uncarried::Acl]),
            (&[("x-amz-missing-meta", "2")], vec![Uncarried::HiddenMetadata]),
            (&[("x-amz-meta-a", "b"), ("x-amz-storage-class", "STANDARD_IA")], vec![]),
        ] {
            assert_eq!(uncarried(&headers(entries)), expected, "{entries:?}");
        }
        let mut latin = headers(&[]);
        latin.insert("x-amz-meta-name", HeaderValue::from_bytes(b"caf\xe9").unwrap());
        assert_eq!(uncarried(&latin), [Uncarried::UnreadableHeader("x-amz-meta-name".into())]);
    }
}

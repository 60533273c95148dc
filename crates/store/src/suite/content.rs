//! Objects come back as they were put.

use md5::{Digest as _, Md5};
use umbra_core::{Body, ChecksumAlgorithm, ETag, ObjectInfo, ReadSource, SystemHeaders, Tags, UserMetadata};

use super::fixture::{Fixture, checksum, chunked, content, key, kind};
use crate::{ListStart, PutOptions};

/// Around every size at which something is stored differently.
const SIZES: [usize; 13] = [0, 1, 4_095, 4_096, 4_097, 65_535, 65_536, 262_145, 1_048_575, 1_048_576, 1_048_577, 2_097_153, 3_500_001];

pub(super) async fn run(fixture: &Fixture) {
    sizes(fixture).await;
    descriptions(fixture).await;
    overwriting(fixture).await;
    deleting(fixture).await;
    tagging(fixture).await;
    keys(fixture).await;
}

async fn sizes(fixture: &Fixture) {
    for (seed, size) in (1_u8..).zip(SIZES) {
        let content = content(size, seed);
        for chunk in [None, Some(1_000), Some(100_000), Some(1_500_000)] {
            let name = format!("size/{size}/{chunk:?}");
            let body = chunk.map_or_else(|| Body::from_bytes(content.clone()), |chunk| chunked(&content, chunk));
            let put = fixture.try_put(&name, body, PutOptions::default()).await.expect("it is put");
            assert_eq!(put.size, size as u64, "{name}");
            assert_eq!(put.etag, ETag::from_md5(Md5::digest(&content).into()), "{name}");
            assert_eq!(put.checksums, [checksum(ChecksumAlgorithm::Crc64Nvme, &content)], "{name}");
            assert!(fixture.get(&name).await == content, "{name}: the content");
            let info = fixture.head(&name).await.expect("it is there");
            assert_eq!((info.size, info.etag, info.last_modified), (put.size, put.etag, put.last_modified), "{name}");
        }
    }
}

async fn descriptions(fixture: &Fixture) {
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>();
    let some = |text: &str| Some(text.to_owned());
    let headers = SystemHeaders {
        content_type: some("text/plain; charset=utf-8"),
        cache_control: some("no-cache"),
        content_disposition: some("attachment; filename=\"ü\""),
        content_encoding: some("gzip"),
        content_language: some("de"),
        expires: some("Thu, 01 Dec 1994 16:00:00 GMT"),
        website_redirect_location: some("/elsewhere"),
        storage_class: some("STANDARD_IA"),
    };
    let metadata = UserMetadata::new(pairs(&[("owner", "Zoë"), ("empty", "")]));
    let tags = Tags::new(pairs(&[("team", "blue"), ("no value", "")]));
    let options = || PutOptions { headers: headers.clone(), metadata: metadata.clone(), tags: tags.clone(), ..PutOptions::default() };
    for size in [3, 5_000] {
        let content = content(size, 1);
        let put = fixture.try_put("described", Body::from_bytes(content), options()).await.expect("it is put");
        let info = fixture.head("described").await.expect("it is there");
        let expected = ObjectInfo {
            size: size as u64,
            etag: put.etag,
            last_modified: put.last_modified,
            headers: headers.clone(),
            metadata: metadata.clone(),
            checksums: put.checksums,
            parts: vec![],
            tag_count: 2,
            tags: Some(tags.clone()),
            attributes: umbra_core::Attributes::default(),
            version: umbra_core::VersionId::Null,
            source: ReadSource::Local,
        };
        assert_eq!(info, expected);
        let got = fixture.try_get("described", crate::GetOptions::default()).await.expect("it is read");
        assert_eq!(got.info, expected);
        assert_eq!(fixture.objects.tags(&fixture.cx, &fixture.bucket, &key("described"), None).await.expect("it has tags").0, tags);
    }
    let listed = fixture.list("described", "", ListStart::First, 1).await.objects;
    assert_eq!(listed[0].storage_class.as_deref(), Some("STANDARD_IA"));
    let standard = SystemHeaders { storage_class: some("STANDARD"), ..SystemHeaders::default() };
    let options = PutOptions { headers: standard, ..PutOptions::default() };
    fixture.try_put("described", Body::empty(), options).await.expect("it is put");
    let info = fixture.head("described").await.expect("it is there");
    assert_eq!((info.headers, info.tag_count, info.size), (SystemHeaders::default(), 0, 0), "nothing of the old object is left");
}

async fn overwriting(fixture: &Fixture) {
    let mut last = None;
    for (seed, size) in (1_u8..).zip([10, 100_000, 0, 4_096, 2_000_000, 20]) {
        let content = content(size, seed);
        let put = fixture.put("overwritten", content.clone()).await;
        assert!(fixture.get("overwritten").await == content, "{size}");
        assert!(last < Some(put.last_modified), "the date of a key never goes back, nor stands still");
        last = Some(put.last_modified);
    }
}

async fn deleting(fixture: &Fixture) {
    for size in [10, 100_000] {
        fixture.delete("never/was").await;
        fixture.put("deleted", content(size, 1)).await;
        fixture.delete("deleted").await;
        fixture.assert_absent("deleted").await;
        fixture.delete("deleted").await;
        fixture.put("deleted", content(size, 2)).await;
        assert!(fixture.get("deleted").await == content(size, 2));
    }
}

async fn tagging(fixture: &Fixture) {
    let (objects, cx, bucket) = (&fixture.objects, &fixture.cx, &fixture.bucket);
    let one = Tags::new([("a".to_owned(), "b".to_owned())]);
    for size in [10, 100_000] {
        fixture.put("tagged", content(size, 1)).await;
        let before = fixture.head("tagged").await.expect("it is there");
        for tags in [&one, &Tags::default()] {
            objects.put_tags(cx, bucket, &key("tagged"), None, tags.clone()).await.expect("it is tagged");
            assert_eq!(objects.tags(cx, bucket, &key("tagged"), None).await.expect("it has tags").0, *tags);
            let expected = ObjectInfo { tag_count: tags.len(), tags: Some(tags.clone()), ..before.clone() };
            assert_eq!(fixture.head("tagged").await.expect("it is there"), expected, "tags change nothing else");
            assert!(fixture.get("tagged").await == content(size, 1));
        }
    }
    let absent = key("not/tagged");
    assert_eq!(kind("tags", objects.tags(cx, bucket, &absent, None).await), super::fixture::NO_OBJECT);
    assert_eq!(kind("put_tags", objects.put_tags(cx, bucket, &absent, None, one).await), super::fixture::NO_OBJECT);
}

async fn keys(fixture: &Fixture) {
    let long = "k".repeat(1024);
    let names = ["/", "//", "a\0b", "a\0", "a", "ü/ß", "\u{10ffff}", ".", "..", "a b+c%20", "\u{7f}\r\n", &long];
    for (seed, name) in (1_u8..).zip(names) {
        fixture.put(name, content(10, seed)).await;
    }
    for (seed, name) in (1_u8..).zip(names) {
        assert_eq!(fixture.get(name).await, content(10, seed), "{name:?}");
    }
    for name in names {
        fixture.delete(name).await;
        fixture.assert_absent(name).await;
    }
}

//! Multipart uploads that succeed.

use bytes::Bytes;
use md5::{Digest as _, Md5};
use umbra_core::{ByteRange, Checksum, ChecksumAlgorithm, ChecksumType, ETag, PartInfo, RangeSpec, SystemHeaders, Tags, UserMetadata};

use super::fixture::{Fixture, NO_UPLOAD, PART, checksum, content, key, kind, number};
use crate::{CompleteUpload, CompletedPart, CreateUpload, Expected, ExpectedChecksum, GetOptions, Integrity};

pub(super) async fn run(fixture: &Fixture) {
    three_parts(fixture).await;
    small(fixture).await;
    only_named_parts(fixture).await;
    repeated(fixture).await;
    for (algorithm, kind) in [
        (ChecksumAlgorithm::Crc32, ChecksumType::FullObject),
        (ChecksumAlgorithm::Crc32c, ChecksumType::Composite),
        (ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject),
        (ChecksumAlgorithm::Sha1, ChecksumType::Composite),
        (ChecksumAlgorithm::Sha256, ChecksumType::Composite),
    ] {
        checksums(fixture, algorithm, kind).await;
    }
    listing_parts(fixture).await;
}

fn etag_of(parts: &[Bytes]) -> ETag {
    let digests: Vec<u8> = parts.iter().flat_map(|part| <[u8; 16]>::from(Md5::digest(part))).collect();
    ETag::from_parts(Md5::digest(digests).into(), parts.len())
}

async fn three_parts(fixture: &Fixture) {
    let name = "three";
    let options = CreateUpload {
        headers: SystemHeaders { content_type: Some("video/mp4".to_owned()), ..SystemHeaders::default() },
        metadata: UserMetadata::new([("a".to_owned(), "b".to_owned())]),
        tags: Tags::new([("c".to_owned(), "d".to_owned())]),
        ..CreateUpload::default()
    };
    let upload = fixture.begin(name, options.clone()).await;
    let begun = fixture.objects.upload(&fixture.cx, &fixture.bucket, &key(name), &upload).await;
    assert_eq!(begun.expect("it is in progress"), options);
    let parts = [content(PART, 1), content(PART + 1, 2), content(3, 3)];
    let mut named = Vec::new();
    for (number, part) in [2, 5, 9].into_iter().zip(&parts) {
        named.push(fixture.part(name, &upload, number, part).await);
        fixture.assert_absent(name).await;
    }
    let put = fixture.complete(name, &upload, &named).await.expect("it is completed");
    let whole = Bytes::from(parts.concat());
    assert_eq!(put.etag, etag_of(&parts));
    assert_eq!(put.size, whole.len() as u64);
    assert_eq!(put.checksums, [checksum(ChecksumAlgorithm::Crc64Nvme, &whole)], "the whole's, without reading it");
    assert!(fixture.get(name).await == whole);
    let info = fixture.head(name).await.expect("it is there");
    assert_eq!((&info.headers, &info.metadata, info.tag_count), (&options.headers, &options.metadata, 1));
    assert_eq!((&info.etag, info.size, info.last_modified), (&put.etag, put.size, put.last_modified));
    let boundaries: Vec<_> = info.parts.iter().map(|part: &PartInfo| (part.number, part.size)).collect();
    assert_eq!(boundaries, [(2, PART as u64), (5, PART as u64 + 1), (9, 3)]);
    let parts_left = fixture.objects.list_parts(&fixture.cx, &fixture.bucket, &key(name), &upload, None, 10).await;
    assert_eq!(kind("the upload is over", parts_left), NO_UPLOAD);
    reading(fixture, name, &whole).await;
}

async fn reading(fixture: &Fixture, name: &str, whole: &Bytes) {
    let part = PART as u64;
    for (first, last) in [(part - 1, part), (0, part), (part, 2 * part), (part - 7, 2 * part + 2), (2 * part + 1, 2 * part + 3)] {
        let options = GetOptions { range: Some(RangeSpec::From { first, last: Some(last) }), ..GetOptions::default() };
        let (_, bytes) = fixture.read(name, options).await.expect("the range is read");
        assert!(bytes == whole.slice(first as usize..=last as usize), "{first}-{last}");
    }
    for (wanted, start, end) in [(2, 0, part), (5, part, 2 * part + 1), (9, 2 * part + 1, 2 * part + 4)] {
        let options = || GetOptions { part_number: Some(number(wanted)), ..GetOptions::default() };
        let got = fixture.try_get(name, options()).await.expect("the part is read");
        assert_eq!(got.range, Some(ByteRange::new(start, end)), "part {wanted}");
        let (_, bytes) = fixture.read(name, options()).await.expect("the part is read");
        assert!(bytes == whole.slice(start as usize..end as usize), "part {wanted}");
    }
    for missing in [1, 3, 10_000] {
        let options = GetOptions { part_number: Some(number(missing)), ..GetOptions::default() };
        let refused = kind("part", fixture.try_get(name, options).await);
        assert_eq!(refused, super::fixture::invalid(umbra_core::Fault::InvalidPartNumber), "part {missing}");
    }
}

/// The last part may be of any size, the only part too, even empty.
async fn small(fixture: &Fixture) {
    for size in [0, 1, 4_096, 5_000] {
        let upload = fixture.begin("small", CreateUpload::default()).await;
        let content = content(size, 4);
        let part = fixture.part("small", &upload, 1, &content).await;
        let put = fixture.complete("small", &upload, &[part]).await.expect("it is completed");
        assert_eq!((put.size, put.etag), (size as u64, etag_of(std::slice::from_ref(&content))));
        assert!(fixture.get("small").await == content, "{size}");
    }
}

/// A part that was replaced counts in its last form, a part that is not named is left out.
async fn only_named_parts(fixture: &Fixture) {
    let name = "named";
    let upload = fixture.begin(name, CreateUpload::default()).await;
    fixture.part(name, &upload, 1, &content(PART, 1)).await;
    let first = fixture.part(name, &upload, 1, &content(PART, 2)).await;
    fixture.part(name, &upload, 2, &content(10, 3)).await;
    let last = fixture.part(name, &upload, 3, &content(20, 4)).await;
    fixture.complete(name, &upload, &[first, last]).await.expect("it is completed");
    assert!(fixture.get(name).await == [content(PART, 2), content(20, 4)].concat());
}

/// Repeating a completion that succeeded succeeds while the object stands.
async fn repeated(fixture: &Fixture) {
    let name = "repeated";
    let upload = fixture.begin(name, CreateUpload::default()).await;
    let part = fixture.part(name, &upload, 1, &content(10_000, 1)).await;
    let put = fixture.complete(name, &upload, std::slice::from_ref(&part)).await.expect("it is completed");
    assert_eq!(fixture.complete(name, &upload, std::slice::from_ref(&part)).await.expect("it is completed"), put);
    let other = CompletedPart { number: number(2), ..part.clone() };
    assert_eq!(kind("other parts", fixture.complete(name, &upload, &[other]).await), NO_UPLOAD);
    assert_eq!(kind("abort", fixture.abort(name, &upload).await), NO_UPLOAD);
    assert!(fixture.get(name).await == content(10_000, 1));
    fixture.put(name, "something else").await;
    assert_eq!(kind("replaced", fixture.complete(name, &upload, &[part]).await), NO_UPLOAD);
    assert_eq!(fixture.get(name).await, "something else");
}

async fn checksums(fixture: &Fixture, algorithm: ChecksumAlgorithm, covers: ChecksumType) {
    let name = format!("checksum/{}", algorithm.name());
    let upload = fixture.begin(&name, CreateUpload { checksum: Some((algorithm, covers)), ..CreateUpload::default() }).await;
    let parts = [content(PART, 5), content(1_000, 6)];
    let sums = parts.each_ref().map(|part| checksum(algorithm, part));
    let mut named = Vec::new();
    for (part_number, part, sum, announced) in [(1, &parts[0], &sums[0], true), (2, &parts[1], &sums[1], false)] {
        let value = Expected::Value(sum.value.clone());
        let integrity =
            Integrity { content_md5: None, checksum: announced.then_some(ExpectedChecksum { algorithm, value }), sealing: None };
        let put = fixture.try_part(&name, &upload, part_number, part, integrity).await.expect("the part is stored");
        assert_eq!(put.checksums, std::slice::from_ref(sum), "{name}");
        named.push(CompletedPart { number: number(part_number), etag: put.etag, checksum: Some(sum.clone()) });
    }
    let whole = match covers {
        ChecksumType::FullObject => checksum(algorithm, &parts.concat()),
        ChecksumType::Composite => Checksum::composite(algorithm, &sums),
    };
    let options = CompleteUpload { parts: named, checksum: Some(whole.clone()), size: Some(PART as u64 + 1_000), ..Default::default() };
    let put = fixture.try_complete(&name, &upload, options).await.expect("everything agrees");
    assert_eq!(put.checksums, std::slice::from_ref(&whole), "{name}");
    let info = fixture.head(&name).await.expect("it is there");
    assert_eq!(info.checksums, [whole], "{name}");
    assert_eq!(info.parts.iter().flat_map(|part| part.checksums.clone()).collect::<Vec<_>>(), sums, "{name}");
}

async fn listing_parts(fixture: &Fixture) {
    let name = "parts";
    let upload = fixture.begin(name, CreateUpload::default()).await;
    let list = async |after: Option<i64>, limit| {
        let after = after.map(number);
        let page = fixture.objects.list_parts(&fixture.cx, &fixture.bucket, &key(name), &upload, after, limit).await;
        page.expect("the parts are listed")
    };
    assert_eq!(list(None, 10).await, crate::PartsPage::default());
    for part in [10_000, 7, 300, 1] {
        fixture.part(name, &upload, part, &content(part as usize, 1)).await;
    }
    for (after, limit, expected, truncated) in [
        (None, 10, &[1, 7, 300, 10_000][..], false),
        (None, 4, &[1, 7, 300, 10_000], false),
        (None, 3, &[1, 7, 300], true),
        (Some(7), 1, &[300], true),
        (Some(8), 10, &[300, 10_000], false),
        (Some(10_000), 10, &[], false),
        (None, 0, &[], false),
    ] {
        let page = list(after, limit).await;
        let numbers: Vec<_> = page.parts.iter().map(|part| part.number.get()).collect();
        assert_eq!((numbers.as_slice(), page.truncated), (expected, truncated), "after {after:?} by {limit}");
        for part in page.parts {
            let content = content(part.number.get().into(), 1);
            assert_eq!((part.size, part.etag), (content.len() as u64, ETag::from_md5(Md5::digest(&content).into())));
            assert_eq!(part.checksums, [checksum(ChecksumAlgorithm::Crc64Nvme, &content)]);
        }
    }
    fixture.abort(name, &upload).await.expect("it is aborted");
}

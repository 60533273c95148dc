//! Copies within a bucket and between two.

use umbra_core::{
    Body, ChecksumAlgorithm, ChecksumType, ErrorKind, Fault, ObjectInfo, Preconditions, SystemHeaders, Tags, Timestamp, UserMetadata,
};

use super::{
    conditions::{if_match, if_none_match},
    fixture::{Fixture, NO_OBJECT, NO_UPLOAD, PART, checksum, content, invalid, key, kind, number},
};
use crate::{CopyOptions, CopyPartOptions, CreateUpload, PartAddress, PutObject, PutOptions, copy, copy_part};

pub(super) async fn run(source: &Fixture, target: &Fixture) {
    descriptions(source, target).await;
    multipart_source(source, target).await;
    onto_itself(source).await;
    conditional(source, target).await;
    parts(source, target).await;
}

async fn copy_to(source: &Fixture, name: &str, target: &Fixture, target_name: &str, options: CopyOptions) -> umbra_core::Result<PutObject> {
    let (from, to) = (key(name), key(target_name));
    copy(&*source.objects, &source.cx, (&source.bucket, &from), (&target.bucket, &to), options).await.map(|copied| copied.target)
}

fn described() -> PutOptions {
    let some = |text: &str| Some(text.to_owned());
    PutOptions {
        headers: SystemHeaders {
            content_type: some("text/plain"),
            website_redirect_location: some("/away"),
            storage_class: some("STANDARD_IA"),
            ..SystemHeaders::default()
        },
        metadata: UserMetadata::new([("a".to_owned(), "b".to_owned())]),
        tags: Tags::new([("c".to_owned(), "d".to_owned())]),
        ..PutOptions::default()
    }
}

async fn descriptions(source: &Fixture, target: &Fixture) {
    for size in [0, 10, 100_000, 1_500_000] {
        let content = content(size, 1);
        source.try_put("from", Body::from_bytes(content.clone()), described()).await.expect("it is put");
        let put = copy_to(source, "from", target, "to", CopyOptions::default()).await.expect("it is copied");
        assert!(target.get("to").await == content, "{size}");
        let info = target.head("to").await.expect("it is there");
        let original = source.head("from").await.expect("it is there");
        let headers = SystemHeaders { content_type: described().headers.content_type, ..SystemHeaders::default() };
        let expected = ObjectInfo { last_modified: put.last_modified, headers, ..original };
        assert_eq!(info, expected, "what S3 does not copy: the storage class, the redirect, the date");
        let replaced = CopyOptions {
            replace: Some((SystemHeaders::default(), UserMetadata::default())),
            replace_tags: Some(Tags::default()),
            checksum: Some(ChecksumAlgorithm::Sha256),
            ..CopyOptions::default()
        };
        copy_to(source, "from", target, "to", replaced).await.expect("it is copied");
        let info = target.head("to").await.expect("it is there");
        assert_eq!((&info.headers, &info.metadata, info.tag_count), (&SystemHeaders::default(), &UserMetadata::default(), 0));
        assert_eq!(info.checksums, [checksum(ChecksumAlgorithm::Sha256, &content)]);
    }
    assert_eq!(kind("absent", copy_to(source, "absent", target, "to", CopyOptions::default()).await), NO_OBJECT);
}

async fn multipart_source(source: &Fixture, target: &Fixture) {
    let upload = source.begin("large", CreateUpload::default()).await;
    let named = [source.part("large", &upload, 1, &content(PART, 1)).await, source.part("large", &upload, 2, &content(10, 2)).await];
    source.complete("large", &upload, &named).await.expect("it is completed");
    copy_to(source, "large", target, "large", CopyOptions::default()).await.expect("it is copied");
    let whole = [content(PART, 1), content(10, 2)].concat();
    assert!(target.get("large").await == whole);
    let info = target.head("large").await.expect("it is there");
    assert!(info.parts.is_empty() && info.etag.part_count().is_none(), "the copy is an object stored by one PUT");
}

async fn onto_itself(fixture: &Fixture) {
    fixture.try_put("itself", Body::from_bytes(content(100_000, 1)), described()).await.expect("it is put");
    let refused = copy_to(fixture, "itself", fixture, "itself", CopyOptions::default()).await;
    assert_eq!(kind("unchanged", refused), invalid(Fault::InvalidRequest));
    let metadata = UserMetadata::new([("new".to_owned(), "value".to_owned())]);
    let options = CopyOptions { replace: Some((SystemHeaders::default(), metadata.clone())), ..CopyOptions::default() };
    copy_to(fixture, "itself", fixture, "itself", options).await.expect("its metadata is replaced");
    let info = fixture.head("itself").await.expect("it is there");
    assert_eq!((info.metadata, info.tag_count), (metadata, 1));
    assert!(fixture.get("itself").await == content(100_000, 1));
}

async fn conditional(source: &Fixture, target: &Fixture) {
    let etag = source.put("judged", "content").await.etag.quoted();
    let old = Preconditions { if_modified_since: Some(Timestamp::from_millis(i64::MAX / 2)), ..Preconditions::default() };
    for (source_conditions, passes) in
        [(if_match(&etag), true), (if_match("\"x\""), false), (if_none_match(&etag), false), (if_none_match("\"x\""), true), (old, false)]
    {
        let what = format!("{source_conditions:?}");
        let options = CopyOptions { source_conditions, ..CopyOptions::default() };
        let outcome = copy_to(source, "judged", target, "judged", options).await.map_err(|error| error.kind());
        assert_eq!(outcome.err(), (!passes).then_some(ErrorKind::Precondition), "{what}");
    }
    let options = || CopyOptions { conditions: if_none_match("*"), ..CopyOptions::default() };
    assert_eq!(kind("present", copy_to(source, "judged", target, "judged", options()).await), ErrorKind::Precondition);
    copy_to(source, "judged", target, "judged/new", options()).await.expect("there was nothing");
}

async fn parts(source: &Fixture, target: &Fixture) {
    let content = content(PART + 1_000, 1);
    source.put("whole", content.clone()).await;
    let chosen = Some((ChecksumAlgorithm::Crc32c, ChecksumType::Composite));
    let upload = target.begin("joined", CreateUpload { checksum: chosen, ..CreateUpload::default() }).await;
    let (from, to) = (key("whole"), key("joined"));
    let copy = async |part: i64, range, conditions| {
        let part = PartAddress { key: &to, upload: &upload, number: number(part) };
        let options = CopyPartOptions { source_conditions: conditions, range, ..CopyPartOptions::default() };
        copy_part(&*source.objects, &source.cx, (&source.bucket, &from), &target.bucket, part, options).await.map(|copied| copied.target)
    };
    let size = content.len() as u64;
    let none = Preconditions::default;
    for range in [(0, size), (size, size), (5, size + 5)] {
        let refused = kind("outside", copy(1, Some(range), none()).await);
        assert!([invalid(Fault::InvalidArgument), invalid(Fault::InvalidRange)].contains(&refused), "{range:?}: {refused:?}");
    }
    assert_eq!(kind("condition", copy(1, None, if_none_match("*")).await), ErrorKind::Precondition);
    let named = [
        (1, copy(1, Some((1_000, size - 1)), none()).await.expect("the range is copied")),
        (2, copy(2, Some((0, 0)), none()).await.expect("the range is copied")),
        (3, copy(3, None, none()).await.expect("the whole is copied")),
    ];
    assert_eq!(named[1].1.checksums, [checksum(ChecksumAlgorithm::Crc32c, &content[..1])]);
    let completed = |(part, put): &(i64, PutObject)| crate::CompletedPart { number: number(*part), etag: put.etag.clone(), checksum: None };
    let first = [completed(&named[0]), completed(&named[2])];
    target.complete("joined", &upload, &first).await.expect("it is completed");
    assert!(target.get("joined").await == [&content[1_000..], &content].concat());
    assert_eq!(kind("over", copy(1, None, none()).await), NO_UPLOAD);
}

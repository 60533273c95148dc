//! Multipart uploads that are refused, aborted, or raced.

use bytes::Bytes;
use futures::future::join_all;
use umbra_core::{Checksum, ChecksumAlgorithm, ChecksumType, ETag, ErrorKind, Fault, UploadId};

use super::{
    conditions::{if_match, if_none_match},
    fixture::{Fixture, NO_OBJECT, NO_UPLOAD, PART, checksum, content, invalid, key, kind, number},
};
use crate::{CompleteUpload, CompletedPart, CreateUpload, Expected, ExpectedChecksum, Integrity};

pub(super) async fn run(fixture: &Fixture) {
    unknown(fixture).await;
    refused(fixture).await;
    contradicted(fixture).await;
    conditional(fixture).await;
    aborted(fixture).await;
    raced(fixture).await;
    overtaken(fixture).await;
}

async fn unknown(fixture: &Fixture) {
    let upload = fixture.begin("known", CreateUpload::default()).await;
    let part = fixture.part("known", &upload, 1, &content(10, 1)).await;
    for (name, upload) in [("known", UploadId::parse("never-issued")), ("known", UploadId::parse("")), ("other", upload.clone())] {
        let refused = fixture.try_part(name, &upload, 1, &content(10, 1), Integrity::default()).await;
        assert_eq!(kind("put_part", refused), NO_UPLOAD, "{name} {upload}");
        assert_eq!(kind("complete", fixture.complete(name, &upload, std::slice::from_ref(&part)).await), NO_UPLOAD, "{name} {upload}");
        assert_eq!(kind("abort", fixture.abort(name, &upload).await), NO_UPLOAD, "{name} {upload}");
        let (objects, cx, bucket) = (&fixture.objects, &fixture.cx, &fixture.bucket);
        assert_eq!(kind("upload", objects.upload(cx, bucket, &key(name), &upload).await), NO_UPLOAD, "{name} {upload}");
        assert_eq!(kind("list", objects.list_parts(cx, bucket, &key(name), &upload, None, 1).await), NO_UPLOAD, "{name} {upload}");
    }
    fixture.complete("known", &upload, &[part]).await.expect("it is still there");
}

async fn refused(fixture: &Fixture) {
    let upload = fixture.begin("refused", CreateUpload::default()).await;
    let small = fixture.part("refused", &upload, 1, &content(PART - 1, 1)).await;
    let large = fixture.part("refused", &upload, 2, &content(PART, 2)).await;
    let last = fixture.part("refused", &upload, 3, &content(10, 3)).await;
    let wrong = CompletedPart { etag: ETag::parse("0"), ..last.clone() };
    let missing = CompletedPart { number: number(4), ..last.clone() };
    let sums = |sum| CompletedPart { checksum: Some(checksum(ChecksumAlgorithm::Crc64Nvme, sum)), ..last.clone() };
    let cases = [
        ("none", vec![], Fault::MalformedXml),
        ("order", vec![last.clone(), large.clone()], Fault::InvalidPartOrder),
        ("twice", vec![large.clone(), large.clone()], Fault::InvalidPartOrder),
        ("wrong ETag", vec![large.clone(), wrong], Fault::InvalidPart),
        ("missing", vec![large.clone(), missing], Fault::InvalidPart),
        ("wrong checksum", vec![large.clone(), sums(b"something else")], Fault::InvalidPart),
        ("too small", vec![small.clone(), large.clone()], Fault::EntityTooSmall),
    ];
    for (what, parts, fault) in cases {
        assert_eq!(kind(what, fixture.complete("refused", &upload, &parts).await), invalid(fault), "{what}");
    }
    let whole = |checksum, size| CompleteUpload { parts: vec![large.clone(), last.clone()], checksum, size, ..CompleteUpload::default() };
    let wrong = checksum(ChecksumAlgorithm::Crc64Nvme, b"something else");
    assert_eq!(kind("checksum", fixture.try_complete("refused", &upload, whole(Some(wrong), None)).await), invalid(Fault::BadDigest));
    assert_eq!(kind("size", fixture.try_complete("refused", &upload, whole(None, Some(1))).await), invalid(Fault::InvalidRequest));
    fixture.assert_absent("refused").await;
    let parts = [large.clone(), sums(&content(10, 3))];
    fixture.complete("refused", &upload, &parts).await.expect("a refusal changes nothing");
    assert!(fixture.get("refused").await == [content(PART, 2), content(10, 3)].concat());
}

/// Checksums that contradict the upload's choice or each other.
async fn contradicted(fixture: &Fixture) {
    for (algorithm, covers) in [
        (ChecksumAlgorithm::Sha256, ChecksumType::FullObject),
        (ChecksumAlgorithm::Sha1, ChecksumType::FullObject),
        (ChecksumAlgorithm::Crc64Nvme, ChecksumType::Composite),
    ] {
        let options = CreateUpload { checksum: Some((algorithm, covers)), ..CreateUpload::default() };
        let refused = fixture.objects.create_upload(&fixture.cx, &fixture.bucket, &key("impossible"), options).await;
        assert_eq!(kind("impossible", refused), invalid(Fault::InvalidRequest), "{algorithm:?} {covers:?}");
    }
    let chosen = Some((ChecksumAlgorithm::Sha256, ChecksumType::Composite));
    let upload = fixture.begin("chosen", CreateUpload { checksum: chosen, ..CreateUpload::default() }).await;
    let asks = |algorithm, value| Integrity { content_md5: None, checksum: Some(ExpectedChecksum { algorithm, value }), sealing: None };
    let other = asks(ChecksumAlgorithm::Crc32, Expected::Unknown);
    let part = content(10, 1);
    assert_eq!(kind("other", fixture.try_part("chosen", &upload, 1, &part, other).await), invalid(Fault::InvalidRequest));
    let wrong = asks(ChecksumAlgorithm::Sha256, Expected::Value(checksum(ChecksumAlgorithm::Sha256, b"x").value));
    assert_eq!(kind("wrong", fixture.try_part("chosen", &upload, 1, &part, wrong).await), invalid(Fault::BadDigest));
    let parts = vec![fixture.part("chosen", &upload, 1, &part).await];
    let whole = Checksum::composite(ChecksumAlgorithm::Sha256, [&checksum(ChecksumAlgorithm::Sha256, &part)]);
    let complete = |sum| CompleteUpload { parts: parts.clone(), checksum: Some(sum), ..CompleteUpload::default() };
    let crc = checksum(ChecksumAlgorithm::Crc32, &part);
    assert_eq!(kind("other", fixture.try_complete("chosen", &upload, complete(crc)).await), invalid(Fault::InvalidRequest));
    let bare = Checksum { value: whole.value.trim_end_matches("-1").to_owned(), ..whole.clone() };
    let put = fixture.try_complete("chosen", &upload, complete(bare)).await.expect("the number of parts may be left off");
    assert_eq!(put.checksums, [whole]);
}

async fn conditional(fixture: &Fixture) {
    let upload = fixture.begin("conditional", CreateUpload::default()).await;
    let parts = vec![fixture.part("conditional", &upload, 1, &content(10, 1)).await];
    let complete = |preconditions| {
        let options = CompleteUpload { parts: parts.clone(), preconditions, ..CompleteUpload::default() };
        fixture.try_complete("conditional", &upload, options)
    };
    assert_eq!(kind("absent", complete(if_match("*")).await), NO_OBJECT);
    let put = fixture.put("conditional", "present").await;
    assert_eq!(kind("present", complete(if_none_match("*")).await), ErrorKind::Precondition);
    assert_eq!(kind("other", complete(if_match("\"other\"")).await), ErrorKind::Precondition);
    assert_eq!(fixture.get("conditional").await, "present");
    complete(if_match(&put.etag.quoted())).await.expect("the ETag matches");
    assert!(fixture.get("conditional").await == content(10, 1));
}

async fn aborted(fixture: &Fixture) {
    let upload = fixture.begin("aborted", CreateUpload::default()).await;
    let part = fixture.part("aborted", &upload, 1, &content(10_000, 1)).await;
    fixture.abort("aborted", &upload).await.expect("it is aborted");
    assert_eq!(kind("again", fixture.abort("aborted", &upload).await), NO_UPLOAD);
    let late = fixture.try_part("aborted", &upload, 2, &content(10, 1), Integrity::default()).await;
    assert_eq!(kind("late", late), NO_UPLOAD);
    assert_eq!(kind("complete", fixture.complete("aborted", &upload, &[part]).await), NO_UPLOAD);
    fixture.assert_absent("aborted").await;
}

/// Completions and aborts at a time: one kind wins, and what is there is what the winner left.
async fn raced(fixture: &Fixture) {
    for round in 0..8 {
        let name = format!("raced/{round}");
        let upload = fixture.begin(&name, CreateUpload::default()).await;
        let parts = [fixture.part(&name, &upload, 1, &content(10_000, 1)).await];
        let completions = join_all((0..2).map(|_| fixture.complete(&name, &upload, &parts)));
        let aborts = join_all((0..2).map(|_| fixture.abort(&name, &upload)));
        let (completions, aborts) =
            if round % 2 == 0 { futures::join!(completions, aborts) } else { swap(futures::join!(aborts, completions)) };
        let completed = completions.iter().filter(|outcome| outcome.is_ok()).count();
        let aborted = aborts.iter().filter(|outcome| outcome.is_ok()).count();
        match (completed, aborted) {
            (2, 0) => assert!(fixture.get(&name).await == content(10_000, 1)),
            (0, 1) => fixture.assert_absent(&name).await,
            _ => panic!("{name}: {completed} completions and {aborted} aborts succeeded"),
        }
    }
}

fn swap<A, B>((a, b): (A, B)) -> (B, A) {
    (b, a)
}

/// Parts that arrive while their upload is completed: each is stored before it, or refused.
async fn overtaken(fixture: &Fixture) {
    for round in 0..4 {
        let name = format!("overtaken/{round}");
        let upload = fixture.begin(&name, CreateUpload::default()).await;
        let first: Bytes = content(10_000, 1);
        let parts = [fixture.part(&name, &upload, 1, &first).await];
        let late = (2..6).map(|part| {
            let (name, upload, content) = (&name, &upload, content(10_000, 2));
            async move { fixture.try_part(name, upload, part, &content, Integrity::default()).await }
        });
        let (completed, late) = futures::join!(fixture.complete(&name, &upload, &parts), join_all(late));
        completed.expect("its part stands");
        for outcome in late {
            assert!(outcome.is_ok() || outcome.is_err_and(|error| error.kind() == NO_UPLOAD));
        }
        assert!(fixture.get(&name).await == first);
    }
}

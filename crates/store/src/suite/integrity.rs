//! A body that fails, or contradicts what was announced of it, changes nothing.

use bytes::Bytes;
use futures::stream;
use md5::{Digest as _, Md5};
use umbra_core::{Body, ChecksumAlgorithm, Error, ErrorKind, Fault, Result, limits};

use super::fixture::{Fixture, checksum, content, invalid, kind};
use crate::{Expected, ExpectedChecksum, Integrity, PutObject, PutOptions};

pub(super) async fn run(fixture: &Fixture) {
    for size in [5, 10_000, 1_500_000] {
        for before in [None, Some("what was there")] {
            let fresh = |name: &str| format!("{name}/{size}/{}", before.is_some());
            fails(fixture, &fresh("body"), before, size).await;
            checks(fixture, &fresh("check"), before, size).await;
        }
        agrees(fixture, &format!("good/{size}"), size).await;
    }
    too_large(fixture).await;
}

/// Puts something that must fail with `expected` and change nothing.
async fn refused(fixture: &Fixture, name: &str, before: Option<&'static str>, expected: ErrorKind, body: Body, integrity: Integrity) {
    if let Some(before) = before {
        fixture.put(name, before).await;
    }
    let result = put(fixture, name, body, integrity).await;
    assert_eq!(kind(name, result), expected, "{name}");
    match before {
        Some(before) => assert_eq!(fixture.get(name).await, before, "{name}"),
        None => fixture.assert_absent(name).await,
    }
}

async fn put(fixture: &Fixture, name: &str, body: Body, integrity: Integrity) -> Result<PutObject> {
    fixture.try_put(name, body, PutOptions { integrity, ..PutOptions::default() }).await
}

fn asks(algorithm: ChecksumAlgorithm, value: Expected) -> Integrity {
    Integrity { content_md5: None, checksum: Some(ExpectedChecksum { algorithm, value }), sealing: None }
}

async fn fails(fixture: &Fixture, name: &str, before: Option<&'static str>, size: usize) {
    let content = content(size, 1);
    let broken = Error::new(ErrorKind::Cancelled, "the client went away");
    let chunks = vec![Ok(content.slice(..size / 2)), Err(broken.clone()), Ok(content.slice(size / 2..))];
    let body = Body::new(Some(size as u64), stream::iter(chunks));
    refused(fixture, name, before, broken.kind(), body, Integrity::default()).await;
    for announced in [size - 1, size + 1] {
        let body = Body::new(Some(announced as u64), stream::iter([Ok(content.clone())]));
        refused(fixture, name, before, invalid(Fault::IncompleteBody), body, Integrity::default()).await;
    }
}

async fn checks(fixture: &Fixture, name: &str, before: Option<&'static str>, size: usize) {
    let content = content(size, 2);
    let body = || Body::from_bytes(content.clone());
    let bad_digest = invalid(Fault::BadDigest);
    let wrong_md5 = Integrity { content_md5: Some([0; 16]), checksum: None, sealing: None };
    refused(fixture, name, before, bad_digest, body(), wrong_md5).await;
    for algorithm in ChecksumAlgorithm::ALL {
        let wrong = checksum(algorithm, b"something else").value;
        refused(fixture, name, before, bad_digest, body(), asks(algorithm, Expected::Value(wrong.clone()))).await;
        let trailer = asks(algorithm, Expected::Trailer(Box::new(move || Some(wrong))));
        refused(fixture, name, before, bad_digest, body(), trailer).await;
        refused(fixture, name, before, bad_digest, body(), asks(algorithm, Expected::Value("?".to_owned()))).await;
        let missing = invalid(Fault::InvalidRequest);
        refused(fixture, name, before, missing, body(), asks(algorithm, Expected::Trailer(Box::new(|| None)))).await;
    }
}

async fn agrees(fixture: &Fixture, name: &str, size: usize) {
    let content = content(size, 3);
    for algorithm in ChecksumAlgorithm::ALL {
        let right = checksum(algorithm, &content);
        let value = right.value.clone();
        let ways = [Expected::Unknown, Expected::Value(value.clone()), Expected::Trailer(Box::new(move || Some(value)))];
        for way in ways {
            let integrity = Integrity { content_md5: Some(Md5::digest(&content).into()), ..asks(algorithm, way) };
            let put = put(fixture, name, Body::from_bytes(content.clone()), integrity).await.expect("everything agrees");
            assert_eq!(put.checksums, std::slice::from_ref(&right));
            assert_eq!(fixture.head(name).await.expect("it is there").checksums, std::slice::from_ref(&right));
        }
    }
}

async fn too_large(fixture: &Fixture) {
    let body = Body::new(Some(limits::PUT_BYTES_MAX + 1), stream::iter([Ok(Bytes::from_static(b"begins"))]));
    refused(fixture, "too/large", None, invalid(Fault::EntityTooLarge), body, Integrity::default()).await;
}

//! Conditional requests.

use umbra_core::{Body, ErrorKind, Matches, Preconditions, Timestamp};

use super::fixture::{Fixture, NO_OBJECT, kind};
use crate::GetOptions;

pub(super) async fn run(fixture: &Fixture) {
    reads(fixture).await;
    writes(fixture).await;
    deletes(fixture).await;
    bodies(fixture).await;
}

pub(super) fn if_match(text: &str) -> Preconditions {
    Preconditions { if_match: Some(Matches::parse(text)), ..Preconditions::default() }
}

pub(super) fn if_none_match(text: &str) -> Preconditions {
    Preconditions { if_none_match: Some(Matches::parse(text)), ..Preconditions::default() }
}

async fn reads(fixture: &Fixture) {
    let put = fixture.put("read", "content").await;
    let etag = put.etag.quoted();
    let date = |seconds: i64| Some(Timestamp::from_millis((put.last_modified.as_secs() + seconds) * 1000));
    let cases = [
        (if_match(&etag), None),
        (if_match("*"), None),
        (if_match("\"other\""), Some(ErrorKind::Precondition)),
        (if_none_match("\"other\""), None),
        (if_none_match(&etag), Some(ErrorKind::NotModified)),
        (Preconditions { if_modified_since: date(0), ..Preconditions::default() }, Some(ErrorKind::NotModified)),
        (Preconditions { if_modified_since: date(-1), ..Preconditions::default() }, None),
        (Preconditions { if_unmodified_since: date(0), ..Preconditions::default() }, None),
        (Preconditions { if_unmodified_since: date(-1), ..Preconditions::default() }, Some(ErrorKind::Precondition)),
    ];
    for (preconditions, expected) in cases {
        let options = || GetOptions { preconditions: preconditions.clone(), ..GetOptions::default() };
        let got = fixture.try_get("read", options()).await.err().map(|error| error.kind());
        assert_eq!(got, expected, "GET {preconditions:?}");
        let key = super::fixture::key("read");
        let got = fixture.objects.head(&fixture.cx, &fixture.bucket, &key, options()).await.err().map(|error| error.kind());
        assert_eq!(got, expected, "HEAD {preconditions:?}");
    }
}

async fn writes(fixture: &Fixture) {
    assert_eq!(kind("absent", fixture.put_if("write", "1", if_match("*")).await), NO_OBJECT);
    assert_eq!(kind("absent", fixture.put_if("write", "1", if_match("\"other\"")).await), NO_OBJECT);
    fixture.assert_absent("write").await;
    let first = fixture.put_if("write", "1", if_none_match("*")).await.expect("there was nothing");
    assert_eq!(kind("present", fixture.put_if("write", "2", if_none_match("*")).await), ErrorKind::Precondition);
    assert_eq!(fixture.get("write").await, "1");
    let second = fixture.put_if("write", "2", if_match(&first.etag.quoted())).await.expect("the ETag matches");
    assert_eq!(kind("replaced", fixture.put_if("write", "3", if_match(&first.etag.quoted())).await), ErrorKind::Precondition);
    assert_eq!(kind("named", fixture.put_if("write", "3", if_none_match(&second.etag.quoted())).await), ErrorKind::Precondition);
    assert_eq!(fixture.get("write").await, "2");
    fixture.delete("write").await;
    fixture.put_if("write", "4", if_none_match("*")).await.expect("there is nothing any more");
}

async fn deletes(fixture: &Fixture) {
    for absent in ["*", "\"other\""] {
        fixture.delete_if("gone", if_match(absent)).await.expect("what is absent is deleted already");
    }
    let put = fixture.put("gone", "content").await;
    assert_eq!(kind("other", fixture.delete_if("gone", if_match("\"other\"")).await), ErrorKind::Precondition);
    assert_eq!(fixture.get("gone").await, "content");
    fixture.delete_if("gone", if_match(&put.etag.quoted())).await.expect("the ETag matches");
    fixture.assert_absent("gone").await;
    fixture.put("gone", "content").await;
    fixture.delete_if("gone", if_match("*")).await.expect("it exists");
    fixture.assert_absent("gone").await;
}

/// A condition that does not hold is told before the body is read.
async fn bodies(fixture: &Fixture) {
    fixture.put("unread", "content").await;
    let body = Body::new(None, futures::stream::pending());
    let options = crate::PutOptions { preconditions: if_none_match("*"), ..crate::PutOptions::default() };
    assert_eq!(kind("unread", fixture.try_put("unread", body, options).await), ErrorKind::Precondition);
}

//! Many at a time.

use bytes::Bytes;
use futures::future::join_all;
use umbra_core::{ErrorKind, Preconditions};

use super::{
    conditions::{if_match, if_none_match},
    fixture::{Fixture, content},
};
use crate::GetOptions;

const WRITERS: usize = 8;

pub(super) async fn run(fixture: &Fixture) {
    one_creates(fixture).await;
    no_update_is_lost(fixture).await;
    whole_objects_only(fixture).await;
    one_deletes(fixture).await;
}

async fn one_creates(fixture: &Fixture) {
    for round in 0..5 {
        let name = format!("created/{round}");
        let outcomes = join_all((0..WRITERS).map(|_| fixture.put_if(&name, "content", if_none_match("*")))).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "exactly one creates it");
        let refused = |error: &umbra_core::Error| error.kind() == ErrorKind::Precondition;
        assert!(outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).all(refused), "{outcomes:?}");
    }
}

/// Writers who each add one to a number, by If-Match.
async fn no_update_is_lost(fixture: &Fixture) {
    fixture.put("number", "0").await;
    let add = || async {
        loop {
            let (info, bytes) = fixture.read("number", GetOptions::default()).await.expect("it is read");
            let number: u32 = String::from_utf8_lossy(&bytes).parse().expect("it is a number");
            let preconditions = if_match(&info.etag.quoted());
            let options = crate::PutOptions { preconditions, ..crate::PutOptions::default() };
            let body = umbra_core::Body::from_bytes(Bytes::from((number + 1).to_string()));
            match fixture.try_put("number", body, options).await {
                Ok(_) => return,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Precondition, "{error:?}"),
            }
        }
    };
    join_all((0..WRITERS).map(|_| add())).await;
    assert_eq!(fixture.get("number").await, WRITERS.to_string());
}

/// Readers beside writers see one of the contents, never a mixture, and never nothing.
async fn whole_objects_only(fixture: &Fixture) {
    let contents: Vec<Bytes> = [10, 5_000, 200_000, 1_200_000].into_iter().zip(1_u8..).map(|(size, seed)| content(size, seed)).collect();
    fixture.put("shared", contents[0].clone()).await;
    let write = |writer: usize| {
        let contents = &contents;
        async move {
            for round in 0..6 {
                fixture.put("shared", contents[(writer + round) % contents.len()].clone()).await;
            }
        }
    };
    let read = || async {
        for _ in 0..12 {
            let (info, bytes) = fixture.read("shared", GetOptions::default()).await.expect("it is always there");
            assert!(contents.contains(&bytes), "{} bytes that nobody wrote", info.size);
        }
    };
    futures::join!(join_all((0..3).map(write)), join_all((0..3).map(|_| read())));
    assert!(contents.contains(&fixture.get("shared").await));
}

async fn one_deletes(fixture: &Fixture) {
    let put = fixture.put("once", content(10_000, 1)).await;
    let conditions = || if_match(&put.etag.quoted());
    let outcomes = join_all((0..WRITERS).map(|_| fixture.delete_if("once", conditions()))).await;
    assert!(outcomes.iter().all(Result::is_ok), "one deletes it; to the others it is deleted already: {outcomes:?}");
    fixture.assert_absent("once").await;
    fixture.put("once", content(10_000, 1)).await;
    let unconditional = join_all((0..WRITERS).map(|_| fixture.delete_if("once", Preconditions::default()))).await;
    assert!(unconditional.iter().all(Result::is_ok));
    fixture.assert_absent("once").await;
}

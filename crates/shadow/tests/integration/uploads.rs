//! semantics.md: "Multipart uploads are mirrored part by part with the same boundaries, so both sides end with the same ETag; completion goes
//! to the origin first; abort aborts both."

use umbra_core::{Body, Entity, ErrorKind, PartNumber, UploadId};
use umbra_meta::{CommitFault, Write, key};
use umbra_shadow::origin::memory::Fault;
use umbra_store::{CompleteUpload, CompletedPart, CreateUpload, Integrity, Objects, PartAddress, PutObject};

use crate::world::{World, content, k, kind};

const PART: usize = 5 * 1024 * 1024;

pub(crate) async fn begin(world: &World) -> UploadId {
    world.shadow.create_upload(&world.cx, &*world.bucket().await, &k("k"), CreateUpload::default()).await.unwrap()
}

pub(crate) async fn part(world: &World, upload: &UploadId, number: i64, size: usize) -> umbra_core::Result<CompletedPart> {
    let number = PartNumber::new(number).unwrap();
    let address = PartAddress { key: &k("k"), upload, number };
    let body = Body::from_bytes(content(size));
    let stored = world.shadow.put_part(&world.cx, &*world.bucket().await, address, body, Integrity::default()).await?;
    Ok(CompletedPart { number, etag: stored.etag, checksum: None })
}

pub(crate) async fn complete(world: &World, upload: &UploadId, parts: &[CompletedPart]) -> umbra_core::Result<PutObject> {
    let options = CompleteUpload { parts: parts.to_vec(), ..CompleteUpload::default() };
    world.shadow.complete_upload(&world.cx, &*world.bucket().await, &k("k"), upload, options).await
}

#[tokio::test]
async fn both_sides_end_with_the_same_etag() {
    let world = World::attached(true).await;
    let upload = begin(&world).await;
    let parts = [part(&world, &upload, 2, PART).await.unwrap(), part(&world, &upload, 7, 99).await.unwrap()];
    let object = complete(&world, &upload, &parts).await.unwrap();
    assert_eq!(world.origin.etag("k").unwrap(), object.etag);
    assert!(object.etag.as_str().ends_with("-2"));
    assert_eq!(world.origin.content("k"), world.here("k").await);
    assert_eq!((world.origin.open_uploads(), world.intents().await), (0, 0));
    assert_eq!(complete(&world, &upload, &parts).await.unwrap().etag, object.etag, "repeated");
}

#[tokio::test]
async fn abort_aborts_both() {
    let world = World::attached(true).await;
    let upload = begin(&world).await;
    part(&world, &upload, 1, 10).await.unwrap();
    assert_eq!(world.origin.open_uploads(), 1);
    world.shadow.abort_upload(&world.cx, &*world.bucket().await, &k("k"), &upload).await.unwrap();
    assert_eq!(world.origin.open_uploads(), 0);
    assert!(part(&world, &upload, 1, 10).await.is_err());
}

#[tokio::test]
async fn an_origin_that_fails_is_told_to_the_client() {
    let world = World::attached(true).await;
    let upload = begin(&world).await;
    world.origin.fail_next("put_part", Fault::Unavailable);
    assert_eq!(kind(part(&world, &upload, 1, 10).await), ErrorKind::OriginUnavailable);
    let parts = [part(&world, &upload, 1, 10).await.unwrap()];
    world.origin.fail_next("complete", Fault::Unavailable);
    assert_eq!(kind(complete(&world, &upload, &parts).await), ErrorKind::OriginUnavailable);
    assert_eq!((world.here("k").await, world.intents().await), (None, 0));
    complete(&world, &upload, &parts).await.unwrap();
}

#[tokio::test]
async fn a_completion_whose_answer_was_lost_can_be_repeated() {
    let world = World::attached(true).await;
    let upload = begin(&world).await;
    let parts = [part(&world, &upload, 1, PART).await.unwrap(), part(&world, &upload, 2, 5).await.unwrap()];
    world.origin.fail_next("complete", Fault::LoseAnswer);
    assert_eq!(kind(complete(&world, &upload, &parts).await), ErrorKind::Unavailable);
    assert_eq!(world.get("k").await.unwrap(), world.origin.content("k").unwrap());
    let object = complete(&world, &upload, &parts).await.unwrap();
    assert_eq!(world.origin.etag("k").unwrap(), object.etag);
    assert_eq!((world.intents().await, world.here("k").await), (0, world.origin.content("k")));
}

#[tokio::test]
async fn a_completion_that_we_could_not_apply_is_repaired() {
    let world = World::attached(true).await;
    let upload = begin(&world).await;
    let parts = [part(&world, &upload, 1, PART).await.unwrap(), part(&world, &upload, 2, 5).await.unwrap()];
    world.meta.set(|_, batch| {
        let settles = batch.writes.iter().any(|write| matches!(write, Write::Delete { key } if key.starts_with(b"w/")));
        if settles { CommitFault::Unavailable } else { CommitFault::None }
    });
    assert_eq!(kind(complete(&world, &upload, &parts).await), ErrorKind::Unavailable);
    world.meta.heal();
    let world = world.restarted().await;
    world.eventually(async || (world.intents().await == 0).then_some(())).await;
    assert_eq!(world.here("k").await, world.origin.content("k"));
}

/// "Without write-through: … multipart uploads touch only us."
#[tokio::test]
async fn without_write_through_uploads_stay_here() {
    let world = World::attached(false).await;
    let upload = begin(&world).await;
    let parts = [part(&world, &upload, 1, 10).await.unwrap()];
    complete(&world, &upload, &parts).await.unwrap();
    assert_eq!((world.origin.content("k"), world.origin.requests() > 0), (None, true), "only the probe spoke to the origin");
    assert_eq!(world.get("k").await.unwrap(), content(10));
}

/// A part that reached only the origin, in the place of one that both hold, is not taken for that one: the origin gets ours again.
#[tokio::test]
async fn a_part_that_only_the_origin_has_is_not_completed() {
    let world = World::attached(true).await;
    let upload = begin(&world).await;
    let first = part(&world, &upload, 1, 1000).await.unwrap();
    // Of the same size; the origin takes it, our commit of it fails.
    world.meta.set(|_, batch| {
        let is_part =
            batch.writes.iter().any(|write| matches!(write, Write::Put { key, .. } if key.starts_with(b"m/") && key.contains(&b'p')));
        if is_part { CommitFault::Unavailable } else { CommitFault::None }
    });
    let (number, other) = (PartNumber::new(1).unwrap(), Body::from_bytes(vec![9; 1000]));
    let address = PartAddress { key: &k("k"), upload: &upload, number };
    assert!(world.shadow.put_part(&world.cx, &*world.bucket().await, address, other, Integrity::default()).await.is_err());
    world.meta.heal();
    let world = world.restarted().await;
    complete(&world, &upload, &[first]).await.unwrap();
    assert_eq!(world.here("k").await.unwrap(), content(1000));
    assert_eq!(world.here("k").await, world.origin.content("k"));
    assert_eq!(remembered(&world).await, 0);
}

async fn remembered(world: &World) -> usize {
    world.rows(key::all_origin_uploads()).await
}

async fn abort(world: &World, upload: &UploadId) -> umbra_core::Result<()> {
    world.shadow.abort_upload(&world.cx, &*world.bucket().await, &k("k"), upload).await
}

/// A crash ends no upload: it goes on where it was, or is aborted on both sides.
#[tokio::test]
async fn an_upload_goes_on_after_a_restart_or_is_aborted_on_both_sides() {
    for aborts in [false, true] {
        let world = World::attached(true).await;
        let upload = begin(&world).await;
        let first = part(&world, &upload, 1, PART).await.unwrap();
        let world = world.restarted().await;
        assert_eq!((world.origin.open_uploads(), remembered(&world).await), (1, 1), "it is still open");
        let second = part(&world, &upload, 2, 7).await.unwrap();
        assert_eq!(world.origin.uploads(), [("k".to_owned(), vec![(1, PART), (2, 7)])]);
        let world = world.restarted().await;
        if aborts {
            abort(&world, &upload).await.unwrap();
            assert_eq!((world.here("k").await, world.origin.content("k")), (None, None));
        } else {
            let object = complete(&world, &upload, &[first, second]).await.unwrap();
            assert_eq!(world.origin.etag("k").unwrap(), object.etag);
            assert_eq!(world.here("k").await, world.origin.content("k"));
        }
        assert_eq!((world.origin.open_uploads(), remembered(&world).await), (0, 0));
    }
}

/// An origin may end uploads by itself: that is said clearly, and nothing is completed by halves.
#[tokio::test]
async fn an_upload_that_vanished_at_the_origin_says_so() {
    let world = World::attached(true).await;
    let upload = begin(&world).await;
    let first = part(&world, &upload, 1, 10).await.unwrap();
    world.origin.expire_uploads();
    for result in [part(&world, &upload, 2, 10).await.map(drop), complete(&world, &upload, &[first]).await.map(drop)] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound(Entity::Upload));
        assert!(error.message().contains("gone at the origin"), "{error}");
    }
    assert_eq!((world.here("k").await, world.intents().await), (None, 0));
    abort(&world, &upload).await.unwrap();
    assert_eq!(remembered(&world).await, 0);
}

/// An upload begun before write-through is mirrored when it is completed, as are parts that came while it was off.
#[tokio::test]
async fn what_the_origin_lacks_it_gets_when_the_upload_is_completed() {
    let world = World::attached(false).await;
    let upload = begin(&world).await;
    let mut parts = vec![part(&world, &upload, 2, PART).await.unwrap()];
    world.attach(true).await;
    parts.push(part(&world, &upload, 3, PART + 1).await.unwrap());
    assert_eq!(world.origin.open_uploads(), 0, "nothing goes there before the end");
    // The origin fails once on the way: what it has by then it keeps.
    world.origin.fail_next("put_part", Fault::Unavailable);
    assert_eq!(kind(complete(&world, &upload, &parts).await), ErrorKind::OriginUnavailable);
    assert_eq!((world.origin.open_uploads(), remembered(&world).await, world.here("k").await), (1, 1, None));
    let world = world.restarted().await;
    let mirrored = begin(&world).await;
    world.attach(false).await;
    parts.push(part(&world, &upload, 9, 99).await.unwrap());
    world.attach(true).await;
    let object = complete(&world, &upload, &parts).await.unwrap();
    assert_eq!(world.origin.etag("k").unwrap(), object.etag);
    assert!(object.etag.as_str().ends_with("-3"));
    assert_eq!(world.here("k").await, world.origin.content("k"));
    assert_eq!((world.origin.open_uploads(), remembered(&world).await, world.intents().await), (1, 1, 0), "only the other is open");
    assert_eq!(complete(&world, &upload, &parts).await.unwrap().etag, object.etag, "repeated");
    abort(&world, &mirrored).await.unwrap();
    assert_eq!(world.origin.open_uploads(), 0);
}

/// What was begun at the origin is ended there, however ours ends.
#[tokio::test]
async fn uploads_at_the_origin_end_with_ours() {
    let world = World::attached(true).await;
    world.shadow.start().await.unwrap();
    let (aborted, completed, expired) = (begin(&world).await, begin(&world).await, begin(&world).await);
    assert_eq!((world.origin.open_uploads(), remembered(&world).await), (3, 3));
    world.attach(false).await;
    abort(&world, &aborted).await.unwrap();
    world.eventually(async || (remembered(&world).await == 2).then_some(())).await;
    let parts = [part(&world, &completed, 1, 5).await.unwrap()];
    complete(&world, &completed, &parts).await.unwrap();
    world.eventually(async || (remembered(&world).await == 1).then_some(())).await;
    assert_eq!((world.origin.open_uploads(), world.origin.content("k")), (1, None));
    // Somebody who knows nothing of origins drops ours; the next start finds out.
    world.native.abort_upload(&world.cx, &*world.bucket().await, &k("k"), &expired).await.unwrap();
    let world = world.restarted().await;
    world.eventually(async || (remembered(&world).await == 0).then_some(())).await;
    assert_eq!(world.origin.open_uploads(), 0);
}

/// The end of a shadow ends what is open at the origin, as far as the origin can be reached.
#[tokio::test]
async fn clearing_a_shadow_aborts_what_is_open_there() {
    for reachable in [true, false] {
        let world = World::attached(true).await;
        let upload = begin(&world).await;
        if !reachable {
            world.origin.fail_next("abort", Fault::Unavailable);
        }
        world.shadow.detach(&world.cx, &*world.bucket().await, true).await.unwrap();
        assert_eq!(world.origin.open_uploads(), usize::from(!reachable));
        world.eventually(async || (remembered(&world).await == 0).then_some(())).await;
        let parts = [part(&world, &upload, 1, 5).await.unwrap()];
        complete(&world, &upload, &parts).await.unwrap();
        assert_eq!((world.here("k").await.unwrap(), world.origin.content("k")), (content(5), None), "ours goes on alone");
    }
}

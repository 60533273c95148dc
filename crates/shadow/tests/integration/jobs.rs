//! semantics.md, "Moving the rest": what jobs of every kind have in common.

use umbra_core::{Entity, ErrorKind, Fault as S3Fault};
use umbra_meta::{CommitFault, key};
use umbra_shadow::{
    JobKind, JobOptions, JobRequest, JobState,
    origin::{ListOrder, OriginAttributes, memory::Listing},
};

use crate::world::{World, kind};

const INVENTORY: JobKind = JobKind::Inventory;

async fn world(keys: usize) -> World {
    let world = World::attached(false).await;
    for n in 0..keys {
        world.origin.insert(&format!("k{n:05}"), "x", &OriginAttributes::default());
    }
    world
}

fn request() -> JobRequest {
    JobRequest { kind: INVENTORY, prefix: String::new(), options: JobOptions::default() }
}

/// "start, pause, resume, cancel": and in between it stays where it is, over a restart too.
#[tokio::test]
async fn jobs_are_paused_resumed_and_cancelled() {
    let world = world(9000).await;
    let gate = world.origin.hold_lists();
    gate.add_permits(1);
    world.start(INVENTORY).await;
    world.eventually(async || (world.job(INVENTORY).await.counts.objects_done == 1000).then_some(())).await;
    let bucket = world.bucket().await;
    let paused = world.shadow.pause_job(&bucket, INVENTORY).await.unwrap();
    assert_eq!((paused.state, paused.reason.as_deref()), (JobState::Paused, Some("on request")));
    assert_eq!(world.shadow.pause_job(&bucket, INVENTORY).await.unwrap().state, JobState::Paused);

    world.shadow.shutdown().await;
    let world = world.restarted().await;
    assert_eq!((world.job(INVENTORY).await.state, world.job(INVENTORY).await.counts.objects_done), (JobState::Paused, 1000));
    world.shadow.resume_job(&bucket, INVENTORY, &JobOptions::default()).await.unwrap();
    // Where it had got to may have to be looked up first.
    let goes_on = async || {
        gate.add_permits(1);
        (world.job(INVENTORY).await.counts.objects_done > 1000).then_some(())
    };
    world.eventually(goes_on).await;
    let cancelled = world.shadow.cancel_job(&bucket, INVENTORY).await.unwrap();
    assert!(cancelled.state == JobState::Cancelled && cancelled.ended.is_some() && cancelled.complete.is_none());
    world.shadow.cancel_job(&bucket, INVENTORY).await.unwrap();
    for over in
        [world.shadow.pause_job(&bucket, INVENTORY).await, world.shadow.resume_job(&bucket, INVENTORY, &JobOptions::default()).await]
    {
        assert_eq!(kind(over), ErrorKind::Invalid(S3Fault::InvalidRequest));
    }
    gate.add_permits(100);
    let job = world.run(INVENTORY).await;
    assert_eq!(job.counts.objects_done, 9000, "a new run begins at nothing");
}

/// One of each kind at a time, and only of a bucket with a shadow.
#[tokio::test]
async fn a_job_that_is_under_way_is_not_started_again() {
    let world = world(1).await;
    let bucket = world.bucket().await;
    assert!(world.shadow.job(&bucket, INVENTORY).await.unwrap().is_none());
    assert_eq!(kind(world.shadow.pause_job(&bucket, INVENTORY).await), ErrorKind::NotFound(Entity::Job));
    let gate = world.origin.hold_lists();
    let first = world.start(INVENTORY).await;
    for _ in 0..2 {
        let again = world.shadow.start_job(&bucket, request()).await;
        assert_eq!(kind(again), ErrorKind::Invalid(S3Fault::InvalidRequest));
        world.shadow.pause_job(&bucket, INVENTORY).await.unwrap();
    }
    world.shadow.cancel_job(&bucket, INVENTORY).await.unwrap();
    gate.add_permits(10);
    assert!(world.run(INVENTORY).await.run > first.run);
    let bare = World::bare().await;
    let refused = bare.shadow.start_job(&*bare.bucket().await, request()).await;
    assert_eq!(kind(refused), ErrorKind::NotFound(Entity::Shadow));
    for options in [
        JobOptions { egress_bytes: Some(1), ..JobOptions::default() },
        JobOptions { parallel: Some(0), ..JobOptions::default() },
        JobOptions { bytes_per_second: Some(0), ..JobOptions::default() },
    ] {
        let refused = world.shadow.start_job(&bucket, JobRequest { options, ..request() }).await;
        assert_eq!(kind(refused), ErrorKind::Invalid(S3Fault::InvalidArgument));
    }
}

/// "survives restarts": a job goes on from its cursor, whether the process stopped in order or not; whoever lost the job changes nothing.
#[tokio::test]
async fn jobs_survive_restarts() {
    for in_order in [true, false] {
        let world = world(5000).await;
        let gate = world.origin.hold_lists();
        gate.add_permits(2);
        world.start(INVENTORY).await;
        world.eventually(async || (world.job(INVENTORY).await.counts.objects_done == 2000).then_some(())).await;
        if in_order {
            world.shadow.shutdown().await;
        }
        let requests = world.origin.requests();
        // Otherwise the runner of the process before is still there and takes a step of its own now and then: as bad as it gets.
        let world = world.restarted().await;
        gate.add_permits(100);
        let job = world.job_is(INVENTORY, JobState::Done).await;
        assert_eq!((job.counts.objects_done, world.cold().await), (5000, (5000, 5000)));
        let repeated = u64::from(!in_order);
        assert!(world.origin.requests() - requests <= 4 + repeated, "what was listed is not listed again");
    }
}

/// "never runs twice at once on two nodes".
#[tokio::test]
async fn two_nodes_never_run_a_job_at_once() {
    let world = world(3000).await;
    let gate = world.origin.hold_lists();
    let requests = world.origin.requests();
    world.start(INVENTORY).await;
    world.eventually(async || (world.origin.requests() > requests).then_some(())).await;
    let other = world.beside("other").await;
    other.shadow.start().await.unwrap();
    // The other one looks at the job's lease again and again, and lets it be.
    let reads = world.origin.requests();
    for _ in 0..100 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!((world.origin.requests(), reads), (requests + 1, requests + 1));
    // Where the node stops it gives the job back, and the other one takes it over.
    world.shadow.shutdown().await;
    gate.add_permits(100);
    let job = other.job_is(INVENTORY, JobState::Done).await;
    assert_eq!(job.counts.objects_done, 3000);
}

/// A step that was committed is counted once, also where the answer to the commit was lost or it failed.
#[tokio::test]
async fn a_lost_answer_counts_no_step_twice() {
    for fault in [CommitFault::LostAcknowledgement, CommitFault::Unavailable] {
        let world = world(5000).await;
        world.meta.set(move |number, batch| {
            let is_job = batch.writes.iter().any(|write| matches!(write, umbra_meta::Write::Put { key, .. } if key == b"q/i"));
            if is_job && number % 3 == 0 { fault } else { CommitFault::None }
        });
        let started = world.shadow.start_job(&*world.bucket().await, request()).await;
        if started.is_err() && fault == CommitFault::Unavailable {
            world.meta.heal();
            world.start(INVENTORY).await;
        }
        let job = world.job_is(INVENTORY, JobState::Done).await;
        assert_eq!(job.counts.objects_done, 5000);
    }
}

/// A job of a shadow that is cleared ends, and nothing of it stays.
#[tokio::test]
async fn a_cleared_shadow_ends_its_jobs() {
    let world = world(3000).await;
    let gate = world.origin.hold_lists();
    gate.add_permits(1);
    world.start(INVENTORY).await;
    world.eventually(async || (world.job(INVENTORY).await.counts.objects_done == 1000).then_some(())).await;
    world.shadow.detach(&world.cx, &*world.bucket().await, true).await.unwrap();
    gate.add_permits(100);
    world.eventually(async || (world.rows(key::job::all()).await == 0).then_some(())).await;
    world.eventually(async || (world.rows(key::inventory_range("")).await == 0).then_some(())).await;
    assert!(world.shadow.job(&*world.bucket().await, INVENTORY).await.unwrap().is_none());
    world.attach(false).await;
    assert!(world.shadow.job(&*world.bucket().await, INVENTORY).await.unwrap().is_none());
    assert_eq!(world.run(INVENTORY).await.counts.objects_done, 3000);
}

/// An origin whose listing never ends, and shows nothing more, ends a pass with that as its reason; it goes on when it is told to.
#[tokio::test]
async fn a_listing_that_stands_still_ends_a_job() {
    for (order, tokens, why) in [
        (ListOrder::Unknown, u64::MAX, "10000 pages in a row had nothing on them"),
        (ListOrder::Bytes, u64::MAX, "10000 pages in a row had nothing on them"),
        (ListOrder::Directories, 1, "it leads back to where it was"),
        (ListOrder::Bytes, 3, "it leads back to where it was"),
    ] {
        let world = world(5).await;
        world.origin.list_as(Listing { actual: order, known: order, ..Listing::default() });
        let reason = format!("the origin's listing does not advance: {why}");
        world.origin.stall_lists("k00002", tokens);
        let refused = world.shadow.detach(&world.cx, &*world.bucket().await, false).await.unwrap_err();
        assert!(refused.message().ends_with(&reason), "{refused}");
        world.start(JobKind::Backfill).await;
        let paused = world.job_is(JobKind::Backfill, JobState::Paused).await;
        assert_eq!(paused.reason, Some(format!("the listing of the origin failed: {reason}")));
        for kind in [INVENTORY, JobKind::Verify, JobKind::Rollback] {
            world.origin.stall_lists("k00002", tokens);
            let before = world.origin.requests();
            world.start(kind).await;
            let job = world.job_is(kind, JobState::Failed).await;
            assert_eq!(job.reason.as_ref(), Some(&reason), "{kind} {order:?}");
            assert!(world.origin.requests() - before < 10_100, "{kind} {order:?}");
            world.origin.unstall_lists();
            let bucket = world.bucket().await;
            world.shadow.resume_job(&bucket, kind, &JobOptions::default()).await.unwrap();
            let job = world.job_is(kind, JobState::Done).await;
            assert_eq!(job.counts.objects_done, 5, "{kind} {order:?}");
        }
    }
}

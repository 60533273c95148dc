//! semantics.md, "Moving the rest": backfill.

use std::{sync::Arc, time::Duration};

use umbra_core::{ErrorKind, ManualClock, Timestamp};
use umbra_meta::key;
use umbra_shadow::{
    Job, JobKind, JobOptions, JobOrder, JobState,
    origin::{OriginAttributes, memory::Fault},
};

use crate::world::{World, content, kind};

const BACKFILL: JobKind = JobKind::Backfill;
const INVENTORY: JobKind = JobKind::Inventory;

fn insert(world: &World, key: &str, size: usize) {
    world.origin.insert(key, content(size), &OriginAttributes::default());
}

async fn world(sizes: &[(&str, usize)]) -> World {
    let world = World::attached(false).await;
    for (key, size) in sizes {
        insert(&world, key, *size);
    }
    world
}

fn options() -> JobOptions {
    JobOptions::default()
}

async fn resume(world: &World, options: &JobOptions) {
    world.shadow.resume_job(&*world.bucket().await, BACKFILL, options).await.unwrap();
}

/// What has ended: objects done and failed, and what is left.
fn outcome(job: &Job) -> (u64, u64, Option<u64>) {
    (job.counts.objects_done, job.counts.objects_failed, job.counts.objects_left)
}

/// Everything moves, each byte once, and the counts say so.
#[tokio::test]
async fn everything_moves_once() {
    let world = World::attached(false).await;
    let sizes: Vec<usize> = (0..300).map(|n| n * 37).chain([5_000_000, 0]).collect();
    for (n, size) in sizes.iter().enumerate() {
        insert(&world, &format!("k{n:04}"), *size);
    }
    world.put("k0000", "ours").await.unwrap();
    world.delete("k0001").await.unwrap();
    world.get("k0002").await.unwrap();
    world.hydrated("k0002").await;
    let job = world.run(BACKFILL).await;
    let moved: usize = sizes.iter().skip(3).sum();
    assert_eq!(outcome(&job), (299, 0, Some(0)));
    assert_eq!((job.counts.bytes_done, job.counts.bytes_egress), (moved as u64, moved as u64));
    assert_eq!(world.origin.bytes(), (moved + sizes[2]) as u64, "no byte left the origin twice");
    assert_eq!((world.cold().await, world.inventory().await.len()), ((0, 0), 0));
    for (n, size) in sizes.iter().enumerate().skip(3) {
        assert_eq!(world.here(&format!("k{n:04}")).await.unwrap(), content(*size));
    }
    assert_eq!((world.here("k0000").await.unwrap(), world.here("k0001").await), ("ours".into(), None));
    let requests = world.origin.gets();
    assert_eq!(outcome(&world.run(BACKFILL).await), (0, 0, Some(0)));
    assert_eq!(world.origin.gets(), requests, "there is nothing left to read");
}

/// What nobody reads is stored so, whatever its size; what somebody has begun to read is kept at hand.
#[tokio::test]
async fn what_is_moved_is_stored_as_unread() {
    let sizes = [("a", 100_000), ("b", 3_000_000), ("c", 9_000_000)];
    let moved = world(&sizes).await;
    moved.run(BACKFILL).await;
    assert!(moved.blobs.len() > sizes.len(), "the largest is of several pieces");
    assert_eq!(moved.blobs.unread_len(), moved.blobs.len());

    let read = world(&sizes).await;
    for (key, size) in sizes {
        assert_eq!(read.get(key).await.unwrap(), content(size));
        read.hydrated(key).await;
    }
    assert!(read.blobs.len() >= sizes.len() && read.blobs.unread_len() == 0);
}

/// "by prefix".
#[tokio::test]
async fn a_prefix_moves_alone() {
    let world = world(&[("a/1", 3), ("b/1", 4), ("b/2", 5), ("c/1", 6)]).await;
    world.start_with(BACKFILL, "b/", options()).await;
    let job = world.job_is(BACKFILL, JobState::Done).await;
    assert_eq!((outcome(&job), job.counts.bytes_done), ((2, 0, Some(0)), 9));
    assert!(world.here("b/1").await.is_some() && world.here("b/2").await.is_some());
    assert!(world.here("a/1").await.is_none() && world.here("c/1").await.is_none());
    assert_eq!(world.job(INVENTORY).await.prefix, "b/", "nothing else was listed");
}

/// "survives restarts": what had arrived does not leave the origin again, and what was under way is taken up.
#[tokio::test]
async fn a_restart_loses_nothing() {
    let world = World::attached(false).await;
    for n in 0..200 {
        insert(&world, &format!("k{n:04}"), 1000);
    }
    let gate = world.origin.slow_down();
    gate.add_permits(77);
    world.start(BACKFILL).await;
    world
        .eventually(async || (77 - gate.available_permits() >= 77 && world.job(BACKFILL).await.counts.objects_done > 0).then_some(()))
        .await;
    world.shadow.shutdown().await;
    let before = world.job(BACKFILL).await;
    assert_eq!((before.state, before.counts.objects_done > 0), (JobState::Running, true));
    let world = world.restarted().await;
    gate.add_permits(10_000);
    let job = world.job_is(BACKFILL, JobState::Done).await;
    assert_eq!((world.cold().await, job.counts.objects_failed), ((0, 0), 0));
    for n in 0..200 {
        assert_eq!(world.here(&format!("k{n:04}")).await.unwrap(), content(1000));
    }
    assert!(world.origin.gets() <= 200 + 16, "{} reads: only what was under way is read again", world.origin.gets());
}

/// "pause, resume, cancel": while it is paused nothing leaves the origin for it.
#[tokio::test]
async fn a_paused_backfill_reads_nothing() {
    let world = World::attached(false).await;
    for n in 0..100 {
        insert(&world, &format!("k{n:04}"), 1000);
    }
    let gate = world.origin.slow_down();
    gate.add_permits(20);
    world.start_with(BACKFILL, "", JobOptions { parallel: Some(4), ..options() }).await;
    world.eventually(async || (world.job(BACKFILL).await.counts.objects_done >= 10).then_some(())).await;
    let bucket = world.bucket().await;
    world.shadow.pause_job(&bucket, BACKFILL).await.unwrap();
    gate.add_permits(10_000);
    // It ends once nobody holds its lease: its record changes no more.
    world.eventually(async || world.rows(key::all_pieces()).await.eq(&0).then_some(())).await;
    let paused = settled(&world).await;
    let gets = world.origin.gets();
    assert!(gets < 40, "{gets}");
    assert_eq!(world.get("k0099").await.unwrap(), content(1000), "readers go on");
    assert_eq!(world.job(BACKFILL).await, paused);
    resume(&world, &options()).await;
    let job = world.job_is(BACKFILL, JobState::Done).await;
    assert_eq!((job.run, job.counts.objects_left, world.cold().await), (paused.run, Some(0), (0, 0)));

    insert(&world, "later", 10);
    world.start_with(BACKFILL, "", options()).await;
    world.shadow.cancel_job(&bucket, BACKFILL).await.unwrap();
    assert_eq!(world.job_is(BACKFILL, JobState::Cancelled).await.state, JobState::Cancelled);
}

/// The job once nobody works on it any more.
async fn settled(world: &World) -> Job {
    let mut last = world.job(BACKFILL).await;
    let mut same = 0;
    while same < 50 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = world.job(BACKFILL).await;
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

/// "a total egress budget at which it pauses while readers go on".
#[tokio::test]
async fn the_egress_budget_pauses_it() {
    let world = World::attached(false).await;
    for n in 0..20 {
        insert(&world, &format!("k{n:04}"), 1000);
    }
    world.start_with(BACKFILL, "", JobOptions { egress_bytes: Some(5500), ..options() }).await;
    let job = world.job_is(BACKFILL, JobState::Paused).await;
    assert_eq!((job.counts.objects_done, job.counts.bytes_egress, world.origin.bytes()), (5, 5000, 5000));
    assert!(job.reason.unwrap().contains("budget of 5500 bytes"));
    assert_eq!(world.get("k0019").await.unwrap(), content(1000), "readers go on");
    world.hydrated("k0019").await;
    resume(&world, &options()).await;
    let job = world.job_is(BACKFILL, JobState::Paused).await;
    assert_eq!((job.counts.objects_done, world.cold().await.0), (5, 14));
    resume(&world, &JobOptions { egress_bytes: Some(1_000_000), ..options() }).await;
    let job = world.job_is(BACKFILL, JobState::Done).await;
    assert_eq!((job.counts.objects_done, job.counts.bytes_egress, world.cold().await), (19, 19_000, (0, 0)));
}

/// "backs off when the origin throttles": that counts against no object.
#[tokio::test]
async fn an_origin_that_pushes_back_is_waited_for() {
    let world = World::attached(false).await;
    for n in 0..50 {
        insert(&world, &format!("k{n:04}"), 100);
    }
    world.run(INVENTORY).await;
    // Throttled, and away altogether for a while: the inquiries after each of them fail too.
    for _ in 0..32 {
        world.origin.fail_next("get", Fault::Unavailable);
        world.origin.fail_next("head", Fault::Unavailable);
    }
    let job = world.run(BACKFILL).await;
    assert_eq!((outcome(&job), world.cold().await), ((50, 0, Some(0)), (0, 0)));
    assert_eq!(job.reason, None, "what held it up is over");
}

/// "failed (with reasons)": tried again a few times, then left; another run tries anew.
#[tokio::test]
async fn failures_are_kept_with_their_reasons() {
    let world = world(&[("a", 10), ("bad", 20), ("c", 30)]).await;
    // Its bytes never match: no attempt can succeed.
    world.origin.set_etag("bad", "00000000000000000000000000000000");
    let job = world.run(BACKFILL).await;
    assert_eq!((outcome(&job), job.counts.bytes_failed, job.counts.bytes_left), ((2, 1, Some(0)), 20, Some(0)));
    assert_eq!(world.cold().await, (1, 20), "it is still there, and nowhere else");
    let bucket = world.bucket().await;
    let page = world.shadow.job_notes(&bucket, BACKFILL, None, 10).await.unwrap();
    let [(bad, note)] = &page.notes[..] else { panic!("{page:?}") };
    assert_eq!((bad.as_str(), note.attempts, note.size, page.next), ("bad", 4, Some(20), None));
    assert!(note.reason.contains("do not match"), "{}", note.reason);

    insert(&world, "bad", 20);
    let job = world.run(BACKFILL).await;
    assert_eq!((outcome(&job), world.cold().await), ((1, 0, Some(0)), (0, 0)));
    assert!(world.shadow.job_notes(&bucket, BACKFILL, None, 10).await.unwrap().notes.is_empty(), "another run has its own notes");
}

/// Notes come page by page; one that was mended is gone.
#[tokio::test]
async fn failures_that_are_mended_are_forgotten() {
    let world = World::attached(false).await;
    for n in 0..5 {
        insert(&world, &format!("k{n}"), 10);
        world.origin.set_etag(&format!("k{n}"), "00000000000000000000000000000000");
    }
    world.start(BACKFILL).await;
    world.eventually(async || (world.job(BACKFILL).await.counts.objects_failed == 5).then_some(())).await;
    let bucket = world.bucket().await;
    let first = world.shadow.job_notes(&bucket, BACKFILL, None, 3).await.unwrap();
    assert_eq!((first.notes.len(), first.next.as_deref()), (3, Some("k2")));
    let second = world.shadow.job_notes(&bucket, BACKFILL, first.next.as_deref(), 3).await.unwrap();
    assert_eq!((second.notes[0].0.as_str(), second.notes.len(), second.next), ("k3", 2, None));
    // Users may bring some of them themselves meanwhile.
    world.put("k0", "ours").await.unwrap();
    world.delete("k1").await.unwrap();
    for n in 2..5 {
        insert(&world, &format!("k{n}"), 10);
    }
    let job = world.job_is(BACKFILL, JobState::Done).await;
    // Those that were tried for the last time before they were mended stay noted.
    let noted = world.shadow.job_notes(&bucket, BACKFILL, None, 10).await.unwrap().notes.len() as u64;
    assert_eq!(job.counts.objects_failed, noted);
    world.run(BACKFILL).await;
    assert_eq!(world.cold().await, (0, 0));
}

/// Objects that vanish at the origin between the listing and their turn are no failures.
#[tokio::test]
async fn what_vanishes_at_the_origin_is_no_failure() {
    let world = world(&[("a", 10), ("gone", 20)]).await;
    world.run(INVENTORY).await;
    world.origin.remove("gone");
    let job = world.run(BACKFILL).await;
    assert_eq!((outcome(&job), world.cold().await), ((1, 0, Some(0)), (0, 0)));
}

/// An origin that refuses altogether needs somebody: the job waits and says why.
#[tokio::test]
async fn an_origin_that_refuses_pauses_it() {
    let world = world(&[("a", 10), ("b", 20)]).await;
    world.run(INVENTORY).await;
    for _ in 0..2 {
        world.origin.fail_next("get", Fault::Refused);
        world.origin.fail_next("list", Fault::Refused);
    }
    world.start(BACKFILL).await;
    let job = world.job_is(BACKFILL, JobState::Paused).await;
    assert!(job.reason.unwrap().contains("refuses"));
    assert_eq!(
        kind(world.shadow.start_job(&*world.bucket().await, request()).await),
        ErrorKind::Invalid(umbra_core::Fault::InvalidRequest)
    );
    world
        .eventually(async || {
            // It may be done already.
            drop(world.shadow.resume_job(&*world.bucket().await, BACKFILL, &options()).await);
            Some(world.job(BACKFILL).await).filter(|job| job.state == JobState::Done)
        })
        .await;
    assert_eq!(world.cold().await, (0, 0));
}

fn request() -> umbra_shadow::JobRequest {
    umbra_shadow::JobRequest { kind: BACKFILL, prefix: String::new(), options: options() }
}

/// By class of size, the smallest first.
#[tokio::test]
async fn the_smallest_come_first() {
    let world = world(&[("a", 2_000_000), ("b", 10), ("c", 100_000), ("d", 20), ("e", 90_000)]).await;
    let budget = JobOptions { order: Some(JobOrder::Smallest), egress_bytes: Some(200_000), ..options() };
    world.start_with(BACKFILL, "", budget).await;
    world.job_is(BACKFILL, JobState::Paused).await;
    for key in ["b", "c", "d", "e"] {
        assert!(world.here(key).await.is_some(), "{key}");
    }
    assert!(world.here("a").await.is_none());
    resume(&world, &JobOptions { egress_bytes: Some(10_000_000), ..options() }).await;
    assert_eq!(outcome(&world.job_is(BACKFILL, JobState::Done).await), (5, 0, Some(0)));
}

/// It yields: while users' requests are under way fewer objects are.
#[tokio::test]
async fn users_come_first() {
    let world = World::attached(false).await;
    for n in 0..100 {
        insert(&world, &format!("k{n:04}"), 200_000);
    }
    world.run(INVENTORY).await;
    let gate = world.origin.slow_down();
    let world = Arc::new(world);
    let mut readers = Vec::new();
    for n in [97, 98, 99] {
        let world = world.clone();
        readers.push(tokio::spawn(async move { world.get(&format!("k{n:04}")).await }));
    }
    world.eventually(async || (world.origin.gets() == 3).then_some(())).await;
    world.start_with(BACKFILL, "", JobOptions { parallel: Some(16), ..options() }).await;
    world.eventually(async || (world.origin.gets() == 7).then_some(())).await;
    // It looks again and again, and begins no more.
    let mut last = world.job(BACKFILL).await.updated;
    for _ in 0..3 {
        last = world.eventually(async || Some(world.job(BACKFILL).await.updated).filter(|updated| *updated > last)).await;
    }
    assert_eq!(world.origin.gets(), 7, "a quarter of sixteen beside three readers");
    gate.add_permits(10_000);
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap(), content(200_000));
    }
    world.job_is(BACKFILL, JobState::Done).await;
    assert_eq!(world.origin.gets(), 100);
}

/// Whatever users do meanwhile, the newest write stands and nothing deleted comes back.
#[tokio::test(flavor = "multi_thread")]
async fn newer_writes_win() {
    let world = World::attached(false).await;
    for n in 0..400 {
        insert(&world, &format!("k{n:04}"), 500);
    }
    world.start(BACKFILL).await;
    for n in (0..400).rev() {
        let key = format!("k{n:04}");
        match n % 3 {
            0 => drop(world.put(&key, "ours").await.unwrap()),
            1 => world.delete(&key).await.unwrap(),
            _ => {}
        }
    }
    let job = world.job_is(BACKFILL, JobState::Done).await;
    assert_eq!((job.counts.objects_failed, world.cold().await), (0, (0, 0)));
    for n in 0..400 {
        let here = world.here(&format!("k{n:04}")).await;
        match n % 3 {
            0 => assert_eq!(here.unwrap(), "ours"),
            1 => assert_eq!(here, None),
            _ => assert_eq!(here.unwrap(), content(500)),
        }
    }
}

/// A listing that rests since long ago is made anew instead of waited for.
#[tokio::test]
async fn an_old_listing_that_rests_is_made_anew() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
    let world = World::attached_by(clock.clone()).await;
    for n in 0..1010 {
        insert(&world, &format!("k{n:04}"), 1);
    }
    let lists = world.origin.hold_lists();
    world.start(INVENTORY).await;
    lists.add_permits(1);
    world.eventually(async || (world.job(INVENTORY).await.counts.objects_done == 1000).then_some(())).await;
    world.shadow.pause_job(&*world.bucket().await, INVENTORY).await.unwrap();
    lists.add_permits(1000);
    clock.advance(Duration::from_secs(86_400));
    let before = world.job(INVENTORY).await.run;
    world.start(BACKFILL).await;
    let job = world.end(BACKFILL).await;
    assert_eq!((job.state, job.reason.clone(), outcome(&job)), (JobState::Done, None, (1010, 0, Some(0))));
    assert!(world.job(INVENTORY).await.run > before);
}

/// What an earlier listing told of later keys does not lead past those that are still to be listed.
#[tokio::test]
async fn rows_of_an_earlier_listing_do_not_lead_past_the_rest() {
    let world = world(&[("a/1", 1), ("z/1", 2)]).await;
    world.start_with(INVENTORY, "z/", options()).await;
    world.job_is(INVENTORY, JobState::Done).await;
    assert_eq!(world.cold().await, (1, 2));
    let lists = world.origin.hold_lists();
    world.start(BACKFILL).await;
    world.eventually(async || world.job(INVENTORY).await.prefix.is_empty().then_some(())).await;
    // Time enough for one that would run ahead.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.origin.gets(), 0);
    lists.add_permits(1000);
    let job = world.end(BACKFILL).await;
    assert_eq!((job.state, outcome(&job), world.cold().await), (JobState::Done, (2, 0, Some(0)), (0, 0)));
}

//! semantics.md: "*Roll back*: with write-through the origin already has everything. Without, `rollback` first copies back what is newer
//! here, then says the application can be pointed back."

use std::sync::Arc;

use umbra_core::{Body, ErrorKind, PartNumber, SystemHeaders, Tags, UserMetadata};
use umbra_meta::key;
use umbra_shadow::{
    Job, JobKind, JobOptions, JobState,
    origin::{
        ListOrder, OriginAttributes,
        memory::{Fault, Listing},
    },
};
use umbra_store::{
    Bucket, CompleteUpload, CompletedPart, CreateUpload, GetOptions, Integrity, ListSource, Objects, PartAddress, PutOptions,
};

use crate::world::{World, content, k};

/// The smallest part that may have one behind it.
const PART: usize = 5 * 1024 * 1024;

pub(crate) fn dry_run() -> JobOptions {
    JobOptions { dry_run: Some(true), ..JobOptions::default() }
}

pub(crate) async fn run(world: &World) -> Job {
    let job = world.run_with(JobKind::Rollback, JobOptions::default()).await;
    assert_eq!(job.state, JobState::Done, "{job:?}");
    job
}

pub(crate) fn tally(job: &Job, name: &str) -> (u64, u64) {
    job.counts.tallies().iter().find(|tally| tally.name == name).map_or((0, 0), |tally| (tally.objects, tally.bytes))
}

pub(crate) async fn multipart(world: &World, key: &str, options: CreateUpload) {
    let bucket = world.bucket().await;
    let upload = world.shadow.create_upload(&world.cx, &bucket, &k(key), options).await.unwrap();
    let mut parts = vec![];
    for (number, size) in [(1, PART), (3, 1000)] {
        let number = PartNumber::new(number).unwrap();
        let (key, body) = (k(key), Body::from_bytes(content(size)));
        let address = PartAddress { key: &key, upload: &upload, number };
        let part = world.shadow.put_part(&world.cx, &bucket, address, body, Integrity::default()).await.unwrap();
        parts.push(CompletedPart { number, etag: part.etag, checksum: None });
    }
    let options = CompleteUpload { parts, ..CompleteUpload::default() };
    world.shadow.complete_upload(&world.cx, &bucket, &k(key), &upload, options).await.unwrap();
}

fn labelled(label: &str) -> PutOptions {
    PutOptions {
        headers: SystemHeaders {
            content_type: Some("text/plain".into()),
            content_disposition: Some("inline".into()),
            expires: Some("never".into()),
            ..SystemHeaders::default()
        },
        metadata: UserMetadata::new([("label".into(), label.into())]),
        tags: Tags::new([("label".into(), label.into())]),
        ..PutOptions::default()
    }
}

/// The origin alone equals the bucket: keys, contents, ETags, headers, metadata and tags.
async fn assert_equal(world: &World) {
    let bucket = world.bucket().await;
    let keys = world.list("", "", 1000, ListSource::Merged).await.unwrap();
    assert_eq!(world.origin.keys(), keys);
    for key in keys {
        let ours = world.shadow.head(&world.cx, &bucket, &k(&key), GetOptions::default()).await.unwrap();
        let tags = world.shadow.tags(&world.cx, &bucket, &k(&key), None).await.unwrap().0;
        let (theirs, their_tags) = world.origin.info(&key).unwrap();
        assert_eq!(
            (&ours.etag, &ours.headers, &ours.metadata, tags),
            (&theirs.etag, &theirs.headers, &theirs.metadata, their_tags),
            "{key}"
        );
        assert_eq!(world.get(&key).await.unwrap(), world.origin.content(&key).unwrap(), "{key}");
    }
}

/// A bucket of which everything imaginable was changed here while writes stayed here.
async fn changed() -> World {
    let world = World::attached(false).await;
    for key in ["cold", "copy", "deleted", "gone-at-both", "overwritten", "relabelled", "retagged", "untagged"] {
        let PutOptions { headers, metadata, tags, .. } = labelled("old");
        world.origin.insert(key, content(1000), &OriginAttributes { headers, metadata, tags });
        if key != "cold" && key != "deleted" {
            world.hydrated_by_reading(key).await;
        }
    }
    let bucket = world.bucket().await;
    world.put_with("overwritten", content(2000), labelled("new")).await.unwrap();
    world.put_with("relabelled", content(1000), labelled("new")).await.unwrap();
    world.put_with("new", content(200_000), labelled("new")).await.unwrap();
    world.put("empty", "").await.unwrap();
    let PutOptions { headers, metadata, tags, .. } = labelled("new");
    multipart(&world, "parts", CreateUpload { headers, metadata, tags, ..CreateUpload::default() }).await;
    world.shadow.put_tags(&world.cx, &bucket, &k("retagged"), None, Tags::new([("x".into(), "y".into())])).await.unwrap();
    world.shadow.put_tags(&world.cx, &bucket, &k("untagged"), None, Tags::default()).await.unwrap();
    for key in ["deleted", "gone-at-both", "never-there"] {
        world.delete(key).await.unwrap();
    }
    world.origin.remove("gone-at-both");
    world
}

/// The same before an origin that lists by directories, in pages of any length.
#[tokio::test]
async fn an_origin_that_lists_by_directories_gets_everything() {
    for page_max in [1, 2, 7, 1000] {
        let world = World::attached(false).await;
        world.origin.list_as(Listing { actual: ListOrder::Directories, known: ListOrder::Unknown, passes_over: true, page_max });
        let names = |n: usize| [format!("docs/{n}"), format!("docs-old/{n}"), format!("docs-{n}"), format!("docs.{n}/a")];
        let keys: Vec<_> = (0..6).flat_map(names).chain(["docs".to_owned(), "docs-old".to_owned()]).collect();
        let mut expected = (0, 0);
        for (n, key) in keys.iter().enumerate() {
            if n % 3 > 0 {
                world.origin.insert(key, "old", &OriginAttributes::default());
            }
            match n % 4 {
                0 => {
                    world.put(key, "newer").await.unwrap();
                    expected.0 += 1;
                }
                1 => {
                    world.delete(key).await.unwrap();
                    expected.1 += u64::from(n % 3 > 0);
                }
                _ => {}
            }
        }
        let job = run(&world).await;
        assert_eq!((tally(&job, "copied").0, tally(&job, "deleted").0), expected, "in pages of {page_max}");
        assert_equal(&world).await;
    }
}

#[tokio::test]
async fn what_is_newer_here_goes_back() {
    let world = changed().await;
    let job = run(&world).await;
    assert_equal(&world).await;
    let bytes = 2000 + 1000 + 200_000 + (PART + 1000) as u64;
    assert_eq!((tally(&job, "copied"), tally(&job, "tagged").0, tally(&job, "deleted").0), ((5, bytes), 2, 1));
    assert_eq!((tally(&job, "write-through-switched-on").0, job.counts.objects_failed, tally(&job, "left").0), (1, 0, 0));
    assert_eq!((world.intents().await, world.origin.open_uploads()), (0, 0));
    // From now on writes go both ways, and there is nothing left to do.
    world.put("later", "x").await.unwrap();
    let writes = world.origin.writes();
    let job = run(&world).await;
    assert_eq!((tally(&job, "copied").0, tally(&job, "tagged").0, tally(&job, "deleted").0), (0, 0, 0));
    assert_eq!(world.origin.writes(), writes);
    assert_equal(&world).await;
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_tells_all() {
    let world = changed().await;
    let (writes, rows) = (world.origin.writes(), world.rows(key::tombstone_range("")).await);
    let job = world.run_with(JobKind::Rollback, dry_run()).await;
    assert_eq!((job.state, tally(&job, "copied").0, tally(&job, "tagged").0, tally(&job, "deleted").0), (JobState::Done, 5, 2, 1));
    let told: Vec<_> = world.notes(JobKind::Rollback).await.into_iter().map(|(key, note)| (key, note.finding.unwrap().name)).collect();
    let expected = [
        ("deleted", "deleted"),
        ("empty", "copied"),
        ("new", "copied"),
        ("overwritten", "copied"),
        ("parts", "copied"),
        ("relabelled", "copied"),
        ("retagged", "tagged"),
        ("untagged", "tagged"),
    ];
    assert_eq!(told, expected.map(|(key, what)| (key.to_owned(), what.to_owned())));
    assert_eq!((world.origin.writes(), world.rows(key::tombstone_range("")).await), (writes, rows));
    assert!(!world.bucket().await.settings.shadow.as_ref().unwrap().write_through);
}

/// "With write-through the origin already has everything."
#[tokio::test]
async fn with_write_through_there_is_nothing_to_do() {
    let world = World::attached(true).await;
    for n in 0..20 {
        world.put_with(&format!("k{n}"), content(n), labelled("x")).await.unwrap();
    }
    world.delete("k3").await.unwrap();
    let (writes, bytes) = (world.origin.writes(), world.origin.bytes());
    let job = run(&world).await;
    assert_eq!((job.counts.objects_done, job.counts.tallies().len()), (20, 0));
    assert_eq!((world.origin.writes(), world.origin.bytes()), (writes, bytes), "no content moved");
}

/// What somebody else did at the origin is not undone by an older copy of ours, and is told.
#[tokio::test]
async fn what_others_did_at_the_origin_is_left() {
    let world = World::attached(false).await;
    for key in ["changed", "removed", "same"] {
        world.origin.insert(key, "old", &OriginAttributes::default());
        world.hydrated_by_reading(key).await;
    }
    world.origin.insert("changed", "newer at the origin", &OriginAttributes::default());
    world.origin.remove("removed");
    let job = run(&world).await;
    assert_eq!(world.origin.content("changed").unwrap(), "newer at the origin");
    assert_eq!((world.origin.content("removed"), world.origin.writes()), (None, vec![]));
    assert_eq!(tally(&job, "left").0, 2);
    let kinds: Vec<_> = world.notes(JobKind::Rollback).await.into_iter().map(|(key, note)| (key, note.finding.unwrap().name)).collect();
    assert_eq!(kinds[1], ("removed".to_owned(), "deleted-at-origin".to_owned()));
    assert_eq!(kinds[0].0, "changed");
}

#[tokio::test]
async fn a_missing_right_is_told_before_anything_is_done() {
    let world = changed().await;
    world.origin.fail_next("put", Fault::Refused);
    let job = world.run_with(JobKind::Rollback, JobOptions::default()).await;
    assert_eq!(job.state, JobState::Failed);
    assert!(job.reason.as_ref().unwrap().contains("cannot write to the origin"), "{job:?}");
    assert!(!world.bucket().await.settings.shadow.as_ref().unwrap().write_through);
    assert_eq!(world.origin.writes(), Vec::<String>::new());
}

/// A failure is kept with its reason and tried again.
#[tokio::test]
async fn failures_are_tried_again() {
    let world = changed().await;
    world.attach(true).await;
    let faults = [
        ("put", Fault::Unavailable),
        ("put", Fault::LoseAnswer),
        ("put", Fault::LoseRequest),
        ("delete", Fault::LoseRequest),
        ("put_tags", Fault::LoseAnswer),
        ("put_part", Fault::Unavailable),
        ("create", Fault::Unavailable),
        ("complete", Fault::LoseAnswer),
        ("head", Fault::Unavailable),
    ];
    for (doing, fault) in faults {
        world.origin.fail_next(doing, fault);
    }
    let job = run(&world).await;
    assert_eq!((job.counts.objects_failed, job.reason, world.notes(JobKind::Rollback).await.len()), (0, None, 0));
    assert_equal(&world).await;
    world.eventually(async || (world.intents().await == 0 && world.origin.open_uploads() == 0).then_some(())).await;
}

#[tokio::test]
async fn what_fails_for_good_stands_in_the_way_with_its_reason() {
    let world = World::attached(false).await;
    for key in ["bad", "good"] {
        world.put(key, "x").await.unwrap();
    }
    world.origin.refuse_puts("bad");
    let job = run(&world).await;
    assert_eq!(world.origin.content("good").unwrap(), "x");
    assert_eq!(job.counts.objects_failed, 1);
    assert_eq!(job.reason.as_deref(), Some("1 key could not be brought to the origin"));
    let notes = world.notes(JobKind::Rollback).await;
    assert_eq!((notes.len(), notes[0].0.as_str()), (1, "bad"));
    assert!(notes[0].1.reason.contains("refuses") && notes[0].1.attempts > 1, "{notes:?}");
    assert_eq!(world.here("bad").await.unwrap(), "x");
}

/// An origin whose ETags are no MD5s: its ETag becomes ours, as with write-through, and the next run sees that all is there.
#[tokio::test]
async fn the_origins_etag_is_taken_over() {
    let world = World::attached(false).await;
    world.origin.use_odd_etags();
    world.put_with("k", content(100_000), labelled("x")).await.unwrap();
    assert_eq!(tally(&run(&world).await, "copied").0, 1);
    assert_equal(&world).await;
    assert_eq!(tally(&run(&world).await, "copied").0, 0);
    let verified = world.run_with(JobKind::Verify, JobOptions::default()).await;
    assert_eq!((verified.counts.objects_done, verified.counts.tallies().len()), (1, 0));
}

/// A crash between the two sides: nothing here is lost or asked of the origin, and the run goes on.
#[tokio::test]
async fn a_crash_in_the_middle_is_made_good() {
    for size in [1000, 70 * 1024 * 1024] {
        let world = World::attached(false).await;
        for n in 0..5 {
            world.put(&format!("k{n}"), content(size + n)).await.unwrap();
        }
        world.attach(true).await;
        let gate = world.origin.hold_puts();
        let options = JobOptions { parallel: Some(1), ..JobOptions::default() };
        world.start_with(JobKind::Rollback, "", options).await;
        world.eventually(async || (world.intents().await > 0).then_some(())).await;
        let requests = world.origin.requests();
        let world = world.restarted().await;
        assert_eq!(world.here("k0").await.unwrap(), content(size));
        assert_eq!(world.get("k0").await.unwrap(), content(size), "read here, whatever became of the copy");
        assert!(world.origin.content("k0").is_none());
        world.origin.fail_next("get", Fault::Unavailable);
        assert_eq!(world.get("k1").await.unwrap(), content(size + 1));
        assert!(world.origin.requests() >= requests);
        gate.add_permits(100);
        assert_eq!(world.end(JobKind::Rollback).await.state, JobState::Done);
        world.eventually(async || (world.intents().await == 0).then_some(())).await;
        assert_equal(&world).await;
    }
}

/// A crash in the middle of a multipart copy leaves no upload at the origin.
#[tokio::test]
async fn a_crash_leaves_no_upload_behind() {
    let world = World::attached(false).await;
    multipart(&world, "parts", CreateUpload::default()).await;
    world.attach(true).await;
    let gate = world.origin.hold_puts();
    world.start_with(JobKind::Rollback, "", JobOptions::default()).await;
    world.eventually(async || (world.origin.open_uploads() == 1 && world.intents().await == 1).then_some(())).await;
    let world = world.restarted().await;
    gate.add_permits(100);
    let world = world.restarted().await;
    assert_eq!(world.end(JobKind::Rollback).await.state, JobState::Done);
    assert_equal(&world).await;
    world.eventually(async || (world.intents().await == 0 && world.origin.open_uploads() == 0).then_some(())).await;
}

/// "A concurrent user's write wins": whatever is written meanwhile, both sides end alike.
#[tokio::test(flavor = "multi_thread")]
async fn writes_during_a_rollback_win() {
    for round in 0..8_usize {
        let world = Arc::new(World::attached(false).await);
        for n in 0..30 {
            world.put(&format!("k{n:02}"), content(n * 100)).await.unwrap();
        }
        for n in 0..10 {
            world.origin.insert(&format!("d{n}"), "old", &OriginAttributes::default());
            world.delete(&format!("d{n}")).await.unwrap();
        }
        multipart(&world, "parts", CreateUpload::default()).await;
        world.attach(true).await;
        world.start_with(JobKind::Rollback, "", JobOptions::default()).await;
        let writers: Vec<_> = (0..4_usize)
            .map(|writer| {
                let world = world.clone();
                tokio::spawn(async move {
                    for n in 0..60_usize {
                        let pick = n * 13 + writer * 7 + round;
                        let key = match pick % 5 {
                            0 => "parts".to_owned(),
                            1 => format!("d{}", pick % 10),
                            _ => format!("k{:02}", pick % 30),
                        };
                        match pick % 4 {
                            0 => world.delete(&key).await.unwrap(),
                            _ => drop(world.put(&key, format!("{writer}/{n}")).await.unwrap()),
                        }
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let job = world.end(JobKind::Rollback).await;
        assert_eq!((job.state, job.counts.objects_failed), (JobState::Done, 0), "{job:?}");
        assert_equal(&world).await;
        assert_eq!(world.intents().await, 0);
    }
}

/// "Detaching is final": a copy under way is given up, and nothing goes to the origin any more.
#[tokio::test]
async fn detaching_ends_it() {
    let world = World::attached(false).await;
    world.put("k", content(100)).await.unwrap();
    multipart(&world, "parts", CreateUpload::default()).await;
    world.attach(true).await;
    let gate = world.origin.hold_puts();
    world.start_with(JobKind::Rollback, "", JobOptions::default()).await;
    world.eventually(async || (world.intents().await == 2).then_some(())).await;
    world.shadow.detach(&world.cx, &*world.bucket().await, true).await.unwrap();
    let requests = world.origin.requests();
    gate.add_permits(100);
    world.eventually(async || (world.rows(key::job::all()).await == 0 && world.intents().await == 0).then_some(())).await;
    assert_eq!((world.origin.content("k"), world.origin.content("parts"), world.origin.requests()), (None, None, requests));
    assert_eq!(world.here("k").await.unwrap(), content(100));
}

/// What is written while it is off again is missing at the origin: the run must not end as if it were not.
#[tokio::test]
async fn switching_write_through_off_ends_it() {
    let world = World::attached(false).await;
    for n in 0..5 {
        world.put(&format!("k{n}"), content(100)).await.unwrap();
    }
    world.attach(true).await;
    let gate = world.origin.hold_puts();
    let options = JobOptions { parallel: Some(1), ..JobOptions::default() };
    world.start_with(JobKind::Rollback, "", options).await;
    world.eventually(async || (world.intents().await > 0).then_some(())).await;
    // Switching it off waits for what is on its way.
    let switched = async {
        world.eventually(async || (!world.bucket().await.settings.shadow.as_ref().unwrap().write_through).then_some(())).await;
        gate.add_permits(100);
    };
    tokio::join!(world.attach(false), switched);
    let job = world.end(JobKind::Rollback).await;
    assert_eq!(job.state, JobState::Failed);
    assert!(job.reason.as_ref().unwrap().contains("switched off"), "{job:?}");
    assert_eq!(world.shadow.cancel_job(&*world.bucket().await, JobKind::Rollback).await.unwrap().state, JobState::Cancelled);
    assert_eq!(
        world.shadow.start_job(&*world.bucket().await, bad_request()).await.unwrap_err().kind(),
        ErrorKind::Invalid(umbra_core::Fault::InvalidArgument)
    );
}

fn bad_request() -> umbra_shadow::JobRequest {
    let options = JobOptions { deep: Some(true), ..JobOptions::default() };
    umbra_shadow::JobRequest { kind: JobKind::Rollback, prefix: String::new(), options }
}

/// A write of the key that an abandoned copy was of takes the place of its record, and the upload is aborted all the same.
#[tokio::test]
async fn a_write_over_an_abandoned_copy_leaves_no_upload_behind() {
    for write_through in [false, true] {
        let world = Arc::new(World::attached(false).await);
        multipart(&world, "parts", CreateUpload::default()).await;
        world.attach(true).await;
        let _gate = world.origin.hold_puts();
        world.start_with(JobKind::Rollback, "", JobOptions::default()).await;
        world.eventually(async || (world.origin.open_uploads() == 1 && world.intents().await == 1).then_some(())).await;
        let next = world.beside("local").await;
        next.shadow.cancel_job(&*next.bucket().await, JobKind::Rollback).await.unwrap();
        if !write_through {
            // It is switched off, and does not live to see the copy end.
            let world = world.clone();
            tokio::spawn(async move { world.attach(false).await });
            let is_off = |bucket: &Bucket| bucket.settings.shadow.as_ref().is_some_and(|shadow| !shadow.write_through);
            next.eventually(async || is_off(&next.catalog.refresh(&next.bucket().await.name).await.unwrap()).then_some(())).await;
        }
        next.delete("parts").await.unwrap();
        assert_eq!(next.rows(key::all_origin_uploads()).await, 1);
        next.shadow.start().await.unwrap();
        next.eventually(async || (next.origin.open_uploads() == 0).then_some(())).await;
        next.eventually(async || (next.rows(key::all_origin_uploads()).await == 0).then_some(())).await;
    }
}

/// A run that is cancelled keeps its counts so far; copies that it cut off are settled; and it stands in the way of nothing.
#[tokio::test]
async fn a_cancelled_run_leaves_nothing_half_done() {
    let world = World::attached(false).await;
    for n in 0..1100 {
        world.put(&format!("k{n:04}"), content(10)).await.unwrap();
    }
    world.attach(true).await;
    let gate = world.origin.hold_puts();
    gate.add_permits(1050);
    world.start(JobKind::Rollback).await;
    world
        .eventually(async || {
            (world.job(JobKind::Rollback).await.counts.objects_done > 0 && world.origin.keys().len() == 1050).then_some(())
        })
        .await;
    let bucket = world.bucket().await;
    let cancelled = world.shadow.cancel_job(&bucket, JobKind::Rollback).await.unwrap();
    assert_eq!((cancelled.state, cancelled.reason.as_deref()), (JobState::Cancelled, Some("on request")));
    assert_eq!(tally(&cancelled, "copied").0, cancelled.counts.objects_done);
    assert!(cancelled.counts.objects_done < 1100, "{cancelled:?}");
    // Those under way are cut off, as they do not come to their end by themselves.
    world.start(JobKind::Rollback).await;
    gate.add_permits(1000);
    let job = world.end(JobKind::Rollback).await;
    assert_eq!((job.state, job.counts.objects_failed), (JobState::Done, 0), "{job:?}");
    assert_equal(&world).await;
    world.eventually(async || (world.intents().await == 0).then_some(())).await;
    world.shadow.detach(&world.cx, &*world.bucket().await, false).await.unwrap();
}

//! semantics.md: "*Verify* compares both sides: keys, sizes, ETags, metadata; `--deep` compares contents. It prints and keeps a report of
//! every difference."

use std::collections::BTreeMap;

use umbra_core::{ETag, SystemHeaders, Tags, Timestamp, UserMetadata};
use umbra_meta::{CommitFault, Write};
use umbra_shadow::{
    Job, JobKind, JobOptions, JobState,
    origin::{
        ListOrder, OriginAttributes,
        memory::{Fault, Listing},
    },
};
use umbra_store::Objects;

use crate::world::{World, content, k};

fn deep() -> JobOptions {
    JobOptions { deep: Some(true), ..JobOptions::default() }
}

/// A bucket with `count` objects at the origin, all of them hydrated.
async fn hydrated(write_through: bool, count: usize) -> World {
    let world = World::attached(write_through).await;
    for n in 0..count {
        world.origin.insert(&format!("k{n:04}"), content(100 + n), &attributes());
        world.get(&format!("k{n:04}")).await.unwrap();
        world.hydrated(&format!("k{n:04}")).await;
    }
    world
}

fn attributes() -> OriginAttributes {
    OriginAttributes {
        headers: SystemHeaders { content_type: Some("text/plain".into()), cache_control: Some("no-cache".into()), ..Default::default() },
        metadata: UserMetadata::new([("name".into(), "Grüße".into())]),
        tags: Tags::new([("tag".into(), "value".into())]),
    }
}

/// What a run found: key → kind and whether that is to be expected.
async fn found(world: &World, options: JobOptions) -> (Job, BTreeMap<String, (String, bool)>) {
    let job = world.run_with(JobKind::Verify, options).await;
    assert_eq!(job.state, JobState::Done, "{job:?}");
    let notes = world.notes(JobKind::Verify).await.into_iter();
    let found: BTreeMap<_, _> = notes
        .map(|(key, note)| {
            let finding = note.finding.unwrap();
            (key, (finding.name, finding.explained))
        })
        .collect();
    let unexplained = found.values().filter(|(_, explained)| !explained).count() as u64;
    assert_eq!(job.counts.objects_failed, unexplained);
    assert_eq!(job.counts.tallies().iter().map(|tally| tally.objects).sum::<u64>(), found.len() as u64);
    (job, found)
}

#[tokio::test]
async fn what_was_moved_and_written_through_is_the_same() {
    let world = hydrated(true, 5).await;
    world.put("written", content(300)).await.unwrap();
    world.shadow.put_tags(&world.cx, &*world.bucket().await, &k("k0001"), None, Tags::new([("a".into(), "b".into())])).await.unwrap();
    world.delete("k0002").await.unwrap();
    let before = (world.origin.bytes(), world.origin.writes());
    let (job, nothing) = found(&world, JobOptions::default()).await;
    assert_eq!((job.counts.objects_done, job.counts.bytes_egress, nothing), (5, 0, BTreeMap::new()));
    assert_eq!(world.origin.bytes(), before.0, "no content moved");
    let (job, nothing) = found(&world, deep()).await;
    let bytes = 100 + 101 + 103 + 104 + 300;
    assert_eq!((job.counts.objects_done, job.counts.bytes_egress, nothing), (5, bytes, BTreeMap::new()));
    assert_eq!(world.origin.bytes() - before.0, bytes, "each byte once");
    assert_eq!(world.origin.writes(), before.1);
}

/// What is compared moves nothing: whatever a verification reads, each byte that was moved left the origin once.
#[tokio::test]
async fn what_is_read_to_compare_is_counted_apart() {
    let world = hydrated(false, 5).await;
    world.origin.insert("cold", content(10), &attributes());
    world.shadow.save_counts().await;
    let counts = async || world.shadow.status(&*world.bucket().await).await.unwrap().unwrap().counts;
    let before = counts().await;
    let moved = 100 + 101 + 102 + 103 + 104;
    assert_eq!((before.origin_bytes, before.moved_bytes, before.compared_bytes), (moved, moved, 0));
    found(&world, JobOptions::default()).await;
    assert_eq!(counts().await.compared_bytes, 0);
    for round in 1..=2 {
        let job = found(&world, deep()).await.0;
        assert_eq!(job.counts.bytes_egress, moved);
        let counts = counts().await;
        let told = (counts.origin_bytes, counts.moved_bytes, counts.compared_bytes, counts.egress_ratio());
        assert_eq!(told, (moved, moved, round * moved, Some(1.0)));
        assert_eq!(counts.charged_bytes(), world.origin.bytes());
    }
}

#[tokio::test]
async fn every_kind_of_difference_is_found() {
    let world = hydrated(false, 12).await;
    let origin = &world.origin;
    origin.insert("a-cold", content(10), &attributes());
    world.put("b-only-here", content(10)).await.unwrap();
    world.put("k0000", content(7)).await.unwrap();
    world.delete("k0001").await.unwrap();
    origin.remove("k0002");
    origin.alter("k0003", |info| (info.etag, info.last_modified) = (ETag::parse("new"), Timestamp::from_millis(1_500_000_000_000)));
    origin.alter("k0004", |info| info.size += 1);
    origin.alter("k0005", |info| info.etag = ETag::parse("other"));
    origin.alter("k0006", |info| info.metadata = UserMetadata::default());
    origin.alter("k0007", |info| info.headers.storage_class = Some("GLACIER".into()));
    origin.damage("k0008", vec![1; 108]);
    world.shadow.put_tags(&world.cx, &*world.bucket().await, &k("k0009"), None, Tags::default()).await.unwrap();
    world.put("k0010", content(7)).await.unwrap();
    origin.alter("k0010", |info| info.last_modified = Timestamp::from_millis(9_000_000_000_000));
    let expected = |deep: bool| {
        let mut all = BTreeMap::from([
            ("a-cold", ("cold", true)),
            ("b-only-here", ("only-here", true)),
            ("k0000", ("newer-here", true)),
            ("k0001", ("deleted-here", true)),
            ("k0002", ("deleted-at-origin", false)),
            ("k0003", ("changed-at-origin", false)),
            ("k0004", ("size", false)),
            ("k0005", ("etag", false)),
            ("k0006", ("metadata", false)),
            ("k0007", ("storage-class", true)),
            ("k0009", ("newer-here", true)),
            ("k0010", ("changed-at-origin", false)),
        ]);
        if deep {
            all.insert("k0008", ("content", false));
        }
        all.into_iter().map(|(key, (kind, explained))| (key.to_owned(), (kind.to_owned(), explained))).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(found(&world, JobOptions::default()).await.1, expected(false));
    assert_eq!(found(&world, deep()).await.1, expected(true));
    let notes: BTreeMap<_, _> = world.notes(JobKind::Verify).await.into_iter().collect();
    let etag = &notes["k0005"].differences[0];
    assert_eq!((etag.field.as_str(), etag.origin.as_deref()), ("etag", Some("other")));
    assert!(etag.local.is_some(), "{etag:?}");
    let date = notes["k0003"].differences.iter().find(|difference| difference.field == "last-modified").unwrap();
    assert_eq!(date.origin.as_deref(), Some("2017-07-14T02:40:00Z"));
    assert!(notes["k0008"].reason.contains("from byte 0 on"), "{:?}", notes["k0008"]);
    // The last report stays, also over a restart.
    let world = world.restarted().await;
    assert_eq!(world.notes(JobKind::Verify).await.into_iter().collect::<BTreeMap<_, _>>(), notes);
}

/// With write-through the origin is to have everything: what it lacks is not to be expected.
#[tokio::test]
async fn with_write_through_nothing_may_be_newer_here() {
    let world = hydrated(false, 3).await;
    world.put("k0000", content(7)).await.unwrap();
    world.delete("k0001").await.unwrap();
    world.put("only", content(7)).await.unwrap();
    world.attach(true).await;
    let expected = [("k0000", "newer-here"), ("k0001", "deleted-here"), ("only", "only-here")];
    let expected = expected.map(|(key, kind)| (key.to_owned(), (kind.to_owned(), false)));
    assert_eq!(found(&world, JobOptions::default()).await.1, BTreeMap::from(expected));
}

#[tokio::test]
async fn a_pending_repair_is_told() {
    let world = hydrated(true, 2).await;
    world.meta.set(|_, batch| {
        let settles = batch.writes.iter().any(|write| matches!(write, Write::Delete { key } if key.starts_with(b"w/")));
        if settles { CommitFault::Unavailable } else { CommitFault::None }
    });
    world.put("k0001", content(5)).await.unwrap_err();
    world.put("new", content(5)).await.unwrap_err();
    world.meta.heal();
    let expected = ["k0001", "new"].map(|key| (key.to_owned(), ("pending-repair".to_owned(), false)));
    assert_eq!(found(&world, JobOptions::default()).await.1, BTreeMap::from(expected));
}

/// What the origin does not tell of a key is no guess: it is told that it was not compared.
#[tokio::test]
async fn what_could_not_be_compared_is_told() {
    let world = hydrated(false, 3).await;
    world.origin.fail_next("head", Fault::Refused);
    let options = JobOptions { parallel: Some(1), ..JobOptions::default() };
    let expected = [("k0000".to_owned(), ("not-compared".to_owned(), false))];
    assert_eq!(found(&world, options.clone()).await.1, BTreeMap::from(expected));
    // An origin that fails throughout is waited for.
    for _ in 0..2 * 3 {
        world.origin.fail_next("head", Fault::Unavailable);
    }
    world.origin.fail_next("list", Fault::Unavailable);
    assert_eq!(found(&world, options).await.1, BTreeMap::new());
}

#[tokio::test]
async fn a_prefix_limits_it() {
    let world = hydrated(false, 3).await;
    for key in ["j", "k0001-cold", "l"] {
        world.origin.insert(key, "x", &attributes());
    }
    world.put("k0001-here", "x").await.unwrap();
    world.start_with(JobKind::Verify, "k0001", JobOptions::default()).await;
    let job = world.end(JobKind::Verify).await;
    let keys: Vec<_> = world.notes(JobKind::Verify).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!((job.counts.objects_done, keys), (3, vec!["k0001-cold".to_owned(), "k0001-here".to_owned()]));
}

/// A run that a crash cut off goes on, and counts every key once. It is longer than a page of either side.
#[tokio::test]
async fn a_restart_in_the_middle_loses_and_doubles_nothing() {
    let world = World::attached(false).await;
    for n in 0..2500 {
        match n % 3 {
            0 => world.origin.insert(&format!("k{n:04}"), "x", &attributes()),
            _ => drop(world.put(&format!("k{n:04}"), "x").await.unwrap()),
        }
    }
    world.origin.insert("big", content(300_000), &attributes());
    world.get("big").await.unwrap();
    world.hydrated("big").await;
    // The first key's content does not come: the step hangs until the process is gone.
    let gate = world.origin.slow_down();
    let gets = world.origin.gets();
    world.start_with(JobKind::Verify, "", deep()).await;
    world.eventually(async || (world.origin.gets() > gets).then_some(())).await;
    let world = world.restarted().await;
    gate.add_permits(1000);
    let job = world.end(JobKind::Verify).await;
    let tally = |name: &str| job.counts.tallies().iter().find(|tally| tally.name == name).map_or(0, |tally| tally.objects);
    assert_eq!((job.state, job.counts.objects_done, tally("cold"), tally("only-here")), (JobState::Done, 2501, 834, 1666));
    assert_eq!(world.notes(JobKind::Verify).await.len(), 2500);
}

/// An origin that lists by directories is compared all the same: in pages, over a restart, each key once.
#[tokio::test]
async fn an_origin_that_lists_by_directories_is_compared() {
    let world = World::attached(false).await;
    let listing = Listing { actual: ListOrder::Directories, known: ListOrder::Unknown, passes_over: true, page_max: 7 };
    world.origin.list_as(listing);
    let mut expected = BTreeMap::new();
    let names = |n: usize| {
        [format!("docs/{n:02}"), format!("docs-old/{n:02}"), format!("docs-{n:02}"), format!("docs.{n}/a/b"), format!("docs!/{n}")]
    };
    let keys: Vec<_> = (0..30).flat_map(names).chain(["docs".to_owned(), "docs-old".to_owned()]).collect();
    for (n, key) in keys.iter().enumerate() {
        if n % 5 < 4 {
            world.origin.insert(key, content(70_000), &attributes());
        }
        let kind = match (n / 5 + n) % 5 {
            0 => "cold",
            1 => "same",
            2 => "newer-here",
            3 => "deleted-here",
            _ => "only-here",
        };
        match (kind, n % 5) {
            ("only-here" | "newer-here", at) => {
                world.put(key, content(9)).await.unwrap();
                expected.insert(key.clone(), (if at == 4 { "only-here" } else { "newer-here" }.to_owned(), true));
            }
            ("deleted-here", at) => {
                world.delete(key).await.unwrap();
                expected.extend((at < 4).then(|| (key.clone(), ("deleted-here".to_owned(), true))));
            }
            ("same", 0..4) => drop(world.hydrated_by_reading(key).await),
            (_, 0..4) => drop(expected.insert(key.clone(), ("cold".to_owned(), true))),
            _ => {}
        }
    }
    assert_eq!(found(&world, JobOptions::default()).await.1, expected);
    let same = world.job(JobKind::Verify).await.counts.objects_done - expected.len() as u64;
    // Every object is two chunks: after some, the step under way hangs until the process is gone.
    let gate = world.origin.slow_down();
    gate.add_permits(2 * 10);
    let gets = world.origin.gets();
    world.start_with(JobKind::Verify, "", deep()).await;
    world.eventually(async || (world.origin.gets() > gets + 10).then_some(())).await;
    let world = world.restarted().await;
    gate.add_permits(10_000);
    let job = world.end(JobKind::Verify).await;
    assert_eq!((job.state, job.counts.objects_done), (JobState::Done, same + expected.len() as u64));
    let noted: Vec<_> = world.notes(JobKind::Verify).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(noted, expected.into_keys().collect::<Vec<_>>());
}

/// Writes under way are no differences.
#[tokio::test(flavor = "multi_thread")]
async fn writes_during_a_run_are_no_differences() {
    let world = std::sync::Arc::new(hydrated(true, 20).await);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (world, stop) = (world.clone(), stop.clone());
            tokio::spawn(async move {
                for n in 0_usize.. {
                    if stop.load(std::sync::atomic::Ordering::SeqCst) {
                        return;
                    }
                    let key = format!("k{:04}", (n * 7 + writer) % 20);
                    if n % 5 == 4 { world.delete(&key).await.unwrap() } else { drop(world.put(&key, content(n % 900)).await.unwrap()) }
                }
            })
        })
        .collect();
    for round in 0..20 {
        let (_, found) = found(&world, if round % 2 == 0 { deep() } else { JobOptions::default() }).await;
        let changing = |kind: &str| kind == "not-compared";
        assert!(found.values().all(|(kind, _)| changing(kind)), "{found:?}");
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(found(&world, deep()).await.1, BTreeMap::new());
}

/// A run that is cancelled keeps what it found so far, over a restart too, and stands in the way of nothing.
#[tokio::test]
async fn a_cancelled_run_keeps_its_report_so_far() {
    let world = World::attached(false).await;
    for n in 0..2500 {
        world.origin.insert(&format!("k{n:04}"), "x", &attributes());
    }
    let gate = world.origin.hold_lists();
    gate.add_permits(1);
    world.start(JobKind::Verify).await;
    world.eventually(async || (world.job(JobKind::Verify).await.counts.objects_done == 1000).then_some(())).await;
    let bucket = world.bucket().await;
    let cancelled = world.shadow.cancel_job(&bucket, JobKind::Verify).await.unwrap();
    assert_eq!((cancelled.state, cancelled.reason.as_deref(), cancelled.complete), (JobState::Cancelled, Some("on request"), None));
    let world = world.restarted().await;
    gate.add_permits(100);
    // A page that was under way may still count.
    let is_whole = async || {
        let counts = world.job(JobKind::Verify).await.counts;
        (counts.objects_done == world.notes(JobKind::Verify).await.len() as u64).then_some(counts.objects_done)
    };
    let kept = world.eventually(is_whole).await;
    assert!((1000..2500).contains(&kept) && world.job(JobKind::Verify).await.state == JobState::Cancelled, "{kept}");
    let again = world.run(JobKind::Verify).await;
    assert_eq!((again.counts.objects_done, world.notes(JobKind::Verify).await.len()), (2500, 2500));
    // Nor does one that is cancelled keep the shadow.
    let more = world.origin.hold_lists();
    more.add_permits(1);
    world.start(JobKind::Verify).await;
    world.eventually(async || (world.job(JobKind::Verify).await.counts.objects_done == 1000).then_some(())).await;
    world.shadow.cancel_job(&bucket, JobKind::Verify).await.unwrap();
    more.add_permits(100);
    world.origin.keys().iter().for_each(|key| world.origin.remove(key));
    world.shadow.detach(&world.cx, &*world.bucket().await, false).await.unwrap();
}

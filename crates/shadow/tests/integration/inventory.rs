//! semantics.md, "Moving the rest": the inventory, and the gate that relies on it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use umbra_core::{Entity, ErrorKind, ManualClock, SystemRandom, Timestamp};
use umbra_meta::{CommitFault, Write, key};
use umbra_shadow::{
    AttachRequest, JobKind, JobOptions, JobState, StillListing,
    origin::{OriginAttributes, memory::Fault},
};
use umbra_store::{CompleteUpload, CompletedPart, CopyOptions, CreateUpload, Integrity, Objects, PartAddress, copy};

use crate::world::{World, content, k, kind, request};

const INVENTORY: JobKind = JobKind::Inventory;

fn insert(world: &World, key: &str, size: usize) {
    world.origin.insert(key, content(size), &OriginAttributes::default());
}

/// "what is left is exact, not estimated, once the origin has been listed through."
#[tokio::test]
async fn what_is_left_is_exact_and_costs_the_origin_nothing_to_ask() {
    for write_through in [false, true] {
        let world = World::attached(write_through).await;
        for n in 0..2500 {
            insert(&world, &format!("k{n:04}"), n % 7);
        }
        world.get("k0001").await.unwrap();
        world.hydrated("k0001").await;
        world.put("k0002", "ours").await.unwrap();
        world.delete("k0003").await.unwrap();
        let requests = world.origin.requests();
        let job = world.run(INVENTORY).await;
        assert_eq!(world.origin.requests() - requests, 3, "a request for a thousand keys");
        let listed = if write_through { 2499 } else { 2500 };
        assert_eq!((job.counts.objects_done, job.prefix.as_str(), job.complete.is_some()), (listed, "", true));
        let mut left: BTreeMap<String, u64> = (0..2500).map(|n| (format!("k{n:04}"), n % 7)).collect();
        left.retain(|key, _| !["k0001", "k0002", "k0003"].contains(&key.as_str()));
        expect(&world, &left).await;

        world.get("k0010").await.unwrap();
        world.hydrated("k0010").await;
        world.put("k0011", "ours").await.unwrap();
        world.delete("k0012").await.unwrap();
        let bucket = world.bucket().await;
        copy(&world.shadow, &world.cx, (&bucket, &k("k0010")), (&bucket, &k("k0013")), CopyOptions::default()).await.unwrap();
        upload(&world, "k0014").await;
        world.put("new", "x").await.unwrap();
        left.retain(|key, _| !["k0010", "k0011", "k0012", "k0013", "k0014"].contains(&key.as_str()));
        let requests = world.origin.requests();
        expect(&world, &left).await;
        assert_eq!(world.origin.requests(), requests);
    }
}

/// Holds that the inventory is `left`, row by row and in sum.
async fn expect(world: &World, left: &BTreeMap<String, u64>) {
    assert_eq!(world.inventory().await, left.keys().cloned().collect::<Vec<_>>());
    assert_eq!(world.cold().await, (left.len() as u64, left.values().sum()));
}

async fn upload(world: &World, key: &str) {
    let (bucket, key) = (world.bucket().await, k(key));
    let id = world.shadow.create_upload(&world.cx, &bucket, &key, CreateUpload::default()).await.unwrap();
    let number = umbra_core::PartNumber::new(1).unwrap();
    let part = PartAddress { key: &key, upload: &id, number };
    let body = umbra_core::Body::from_bytes("part");
    let put = world.shadow.put_part(&world.cx, &bucket, part, body, Integrity::default()).await.unwrap();
    let parts = vec![CompletedPart { number, etag: put.etag, checksum: None }];
    let options = CompleteUpload { parts, ..CompleteUpload::default() };
    world.shadow.complete_upload(&world.cx, &bucket, &key, &id, options).await.unwrap();
}

/// A page that was listed before a key was written, deleted or brought here does not bring its row.
#[tokio::test]
async fn a_page_that_is_out_of_date_leaves_no_wrong_row() {
    let world = World::attached(false).await;
    for key in ["cold", "deleted", "hydrated", "written"] {
        insert(&world, key, 5);
    }
    let gate = world.origin.hold_lists();
    let requests = world.origin.requests();
    world.start(INVENTORY).await;
    world.eventually(async || (world.origin.requests() > requests).then_some(())).await;
    world.delete("deleted").await.unwrap();
    world.put("written", "ours").await.unwrap();
    world.get("hydrated").await.unwrap();
    world.hydrated("hydrated").await;
    gate.add_permits(100);
    world.job_is(INVENTORY, JobState::Done).await;
    expect(&world, &BTreeMap::from([("cold".to_owned(), 5)])).await;
}

/// The same with every interleaving that comes up, and with commits that fail or whose answer is lost: what the inventory holds is always
/// what is at the origin and neither here nor deleted here, and its totals are their sums.
#[tokio::test(flavor = "multi_thread")]
async fn no_race_and_no_failing_commit_leaves_a_wrong_row() {
    let world = Arc::new(World::attached(false).await);
    for n in 0..300 {
        insert(&world, &format!("k{n:03}"), n);
    }
    world.meta.set(move |number, _| match number % 23 {
        7 => CommitFault::Unavailable,
        15 => CommitFault::LostAcknowledgement,
        _ => CommitFault::None,
    });
    let users: Vec<_> = (0..4).map(|_| tokio::spawn(use_keys(world.clone()))).collect();
    for _ in 0..6 {
        // Starting is a commit too, and may fail.
        let request = umbra_shadow::JobRequest { kind: INVENTORY, prefix: String::new(), options: Default::default() };
        world.eventually(async || world.shadow.start_job(&*world.bucket().await, request.clone()).await.ok()).await;
        world.eventually(async || world.shadow.job(&*world.bucket().await, INVENTORY).await.unwrap().filter(|job| !job.is_active())).await;
    }
    for user in users {
        user.await.unwrap();
    }
    world.meta.heal();
    // Transfers that were begun may still land.
    world
        .eventually(async || {
            let left = cold_keys(&world).await;
            let rows = left.keys().cloned().collect::<Vec<_>>();
            (world.inventory().await == rows && world.cold().await == (left.len() as u64, left.values().sum())).then_some(())
        })
        .await;
    let totals = world.cold().await;
    world.run(INVENTORY).await;
    assert_eq!(world.cold().await, totals, "another pass finds nothing to correct");
}

/// Reads, writes and deletes keys in no order, whatever comes of it.
async fn use_keys(world: Arc<World>) {
    for _ in 0..150 {
        let [a, b, what] = (&SystemRandom as &dyn umbra_core::Random).array::<3>();
        let key = format!("k{:03}", u16::from_le_bytes([a, b]) % 300);
        match what % 4 {
            0 => drop(world.put(&key, "ours").await),
            1 => drop(world.delete(&key).await),
            _ => drop(world.get(&key).await),
        }
    }
}

/// What is at the origin and neither here nor deleted here, by asking for every key.
async fn cold_keys(world: &World) -> BTreeMap<String, u64> {
    let mut cold = BTreeMap::new();
    let partition = world.bucket().await.partition;
    for n in 0..300_u64 {
        let name = format!("k{n:03}");
        let rows = [key::object(&k(&name)), key::tombstone(&k(&name))];
        let rows = umbra_meta::MetaStore::multi_get(&*world.meta, partition, &rows.each_ref().map(Vec::as_slice)).await.unwrap();
        if rows.iter().all(Option::is_none) {
            cold.insert(name, n);
        }
    }
    cold
}

/// A later pass drops what is gone at the origin, adds what is new and corrects what changed.
#[tokio::test]
async fn a_later_pass_refreshes() {
    let world = World::attached(false).await;
    for n in 0..1500 {
        insert(&world, &format!("k{n:04}"), 2);
    }
    world.run(INVENTORY).await;
    assert_eq!(world.cold().await, (1500, 3000));
    for n in 100..1400 {
        world.origin.remove(&format!("k{n:04}"));
    }
    insert(&world, "k0099", 10);
    insert(&world, "new", 7);
    world.run(INVENTORY).await;
    assert_eq!(world.cold().await, (201, 2 * 199 + 10 + 7));
    assert_eq!(world.inventory().await.len(), 201);
    for n in 0..1500 {
        world.origin.remove(&format!("k{n:04}"));
    }
    world.origin.remove("new");
    world.run(INVENTORY).await;
    assert_eq!((world.cold().await, world.inventory().await.len()), ((0, 0), 0));
}

/// A pass below a prefix speaks for that prefix alone.
#[tokio::test]
async fn a_pass_below_a_prefix_leaves_the_rest_alone() {
    let world = World::attached(false).await;
    for key in ["a/1", "b/1", "b/2", "c/1"] {
        insert(&world, key, 1);
    }
    world.run(INVENTORY).await;
    for key in ["a/1", "b/1", "c/1"] {
        world.origin.remove(key);
    }
    world.start_with(INVENTORY, "b/", Default::default()).await;
    let job = world.job_is(INVENTORY, JobState::Done).await;
    assert_eq!(world.inventory().await, ["a/1", "b/2", "c/1"]);
    assert_eq!(job.counts.objects_done, 1);
    assert!(job.complete.is_some_and(|(began, _)| began < job.started), "the whole bucket was listed by the run before");
}

/// A key of which the origin says with authority that it is gone leaves the inventory; one it cannot speak of stays.
#[tokio::test]
async fn what_the_origin_says_is_gone_leaves() {
    let world = World::attached(false).await;
    for key in ["a", "b", "c"] {
        insert(&world, key, 3);
    }
    world.run(INVENTORY).await;
    world.origin.fail_next("get", Fault::Unavailable);
    world.get("a").await.unwrap_err();
    assert_eq!(world.cold().await, (3, 9));
    for key in ["a", "b"] {
        world.origin.remove(key);
    }
    assert_eq!(kind(world.get("a").await), ErrorKind::NotFound(Entity::Object));
    let bucket = world.bucket().await;
    let head = world.shadow.head(&world.cx, &bucket, &k("b"), Default::default()).await;
    assert_eq!(kind(head), ErrorKind::NotFound(Entity::Object));
    expect(&world, &BTreeMap::from([("c".to_owned(), 3)])).await;
}

/// A write-through that only the origin has is left to be repaired; the repair takes its key out.
#[tokio::test]
async fn repairs_take_their_keys_out() {
    let world = World::attached(true).await;
    insert(&world, "half", 3);
    insert(&world, "cold", 3);
    world.run(INVENTORY).await;
    world.meta.set(|_, batch| {
        let settles = batch.writes.iter().any(|write| matches!(write, Write::Delete { key } if key.starts_with(b"w/")));
        if settles { CommitFault::Unavailable } else { CommitFault::None }
    });
    world.put("half", "ours").await.unwrap_err();
    assert_eq!(world.cold().await, (2, 6));
    world.meta.heal();
    let world = world.restarted().await;
    assert_eq!(world.hydrated("half").await, "ours");
    expect(&world, &BTreeMap::from([("cold".to_owned(), 3)])).await;
}

/// What is known of one origin is not taken for what is known of the next.
#[tokio::test]
async fn another_origin_or_generation_begins_anew() {
    let world = World::attached(false).await;
    insert(&world, "a", 3);
    world.run(INVENTORY).await;
    let other = AttachRequest { endpoint: Some("https://other.example".into()), ..AttachRequest::default() };
    world.shadow.attach(&world.cx, &*world.bucket().await, other).await.unwrap();
    assert_eq!(world.cold().await, (0, 0));
    assert!(world.shadow.job(&*world.bucket().await, INVENTORY).await.unwrap().is_none());
    world.put("a", "ours").await.unwrap();
    insert(&world, "b", 4);
    world.run(INVENTORY).await;
    expect(&world, &BTreeMap::from([("b".to_owned(), 4)])).await;
    world.shadow.detach(&world.cx, &*world.bucket().await, true).await.unwrap();
    world.eventually(async || (world.rows(key::inventory_range("")).await == 0).then_some(())).await;
    world.eventually(async || (world.rows(key::counter_range("cold/")).await == 0).then_some(())).await;
    world.eventually(async || (world.rows(key::job::all()).await == 0).then_some(())).await;
    world.shadow.attach(&world.cx, &*world.bucket().await, request(false)).await.unwrap();
    assert_eq!(world.cold().await, (0, 0));
}

/// An origin that cannot be listed is tried again; one that refuses makes the pass wait for somebody.
#[tokio::test]
async fn a_pass_outlasts_an_origin_that_fails() {
    let world = World::attached(false).await;
    insert(&world, "a", 3);
    for _ in 0..3 {
        world.origin.fail_next("list", Fault::Unavailable);
    }
    world.run(INVENTORY).await;
    assert_eq!(world.cold().await, (1, 3));
    world.origin.fail_next("list", Fault::Refused);
    world.start(INVENTORY).await;
    let job = world.job_is(INVENTORY, JobState::Paused).await;
    assert!(job.reason.unwrap().contains("refuses"));
    world.shadow.resume_job(&*world.bucket().await, INVENTORY, &Default::default()).await.unwrap();
    world.job_is(INVENTORY, JobState::Done).await;
}

/// "It refuses while cold objects remain …, naming how many": at once when a pass said so, and only after a new pass does it let go.
#[tokio::test]
async fn the_gate_lists_the_origin_before_it_lets_go() {
    let world = World::attached(false).await;
    insert(&world, "a", 3);
    world.run(INVENTORY).await;
    let requests = world.origin.requests();
    let refused = world.shadow.detach(&world.cx, &*world.bucket().await, false).await.unwrap_err();
    assert!(refused.message().starts_with("1 object is still only at the origin (\"a\")"), "{refused}");
    assert_eq!(world.origin.requests(), requests, "known without asking");
    world.get("a").await.unwrap();
    world.hydrated("a").await;

    let world = world.restarted().await;
    world.origin.fail_next("list", Fault::Refused);
    age_passes(&world).await;
    let error = world.shadow.detach(&world.cx, &*world.bucket().await, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OriginRefused);
    insert(&world, "new", 3);
    let refused = world.shadow.detach(&world.cx, &*world.bucket().await, false).await.unwrap_err();
    assert!(refused.message().starts_with("1 object "), "{refused}");
    assert_eq!(StillListing::of(&refused), None);
    world.get("new").await.unwrap();
    world.hydrated("new").await;
    world.shadow.detach(&world.cx, &*world.bucket().await, false).await.unwrap();
}

/// Takes the record of the passes away, as if they were long ago.
async fn age_passes(world: &World) {
    let bucket = world.bucket().await;
    let row = key::job::record(b'i');
    umbra_meta::MetaStore::commit(&*world.meta, umbra_meta::Batch::new(bucket.partition).delete(row)).await.unwrap();
}

/// A long pass does not hang the request: it says how far it is, and goes on as a job.
#[tokio::test(start_paused = true)]
async fn a_gate_that_waits_for_a_long_pass_says_so() {
    let world = World::attached(false).await;
    for n in 0..1001 {
        insert(&world, &format!("k{n:04}"), 0);
    }
    let gate = world.origin.hold_lists();
    gate.add_permits(1);
    let still = world.shadow.detach(&world.cx, &*world.bucket().await, false).await.unwrap_err();
    assert_eq!(still.kind(), ErrorKind::Unavailable);
    assert_eq!(StillListing::of(&still), Some(StillListing { listed: 1000, cold: 1000 }));
    gate.add_permits(100);
    let refused = world.shadow.detach(&world.cx, &*world.bucket().await, false).await.unwrap_err();
    assert!(refused.message().starts_with("1001 objects"), "{refused}");
}

/// What a pass listed before it rested is old: it does not open the gate, whoever let it go on.
#[tokio::test]
async fn a_pass_that_rested_does_not_open_the_gate() {
    for resumed in [false, true] {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
        let world = World::attached_by(clock.clone()).await;
        for n in 0..1500 {
            insert(&world, &format!("k{n:04}"), 0);
            world.put(&format!("k{n:04}"), "ours").await.unwrap();
        }
        let lists = world.origin.hold_lists();
        let options = JobOptions { for_detach: Some(true), ..JobOptions::default() };
        world.start_with(INVENTORY, "", options).await;
        lists.add_permits(1);
        world.eventually(async || (world.job(INVENTORY).await.counts.objects_done == 1000).then_some(())).await;
        let bucket = world.bucket().await;
        world.shadow.pause_job(&bucket, INVENTORY).await.unwrap();
        lists.add_permits(1000);
        clock.advance(Duration::from_secs(86_400));
        insert(&world, "k0000-new", 1);
        if resumed {
            world.shadow.resume_job(&bucket, INVENTORY, &JobOptions::default()).await.unwrap();
            world.job_is(INVENTORY, JobState::Done).await;
        }
        let refused = world.shadow.detach(&world.cx, &*world.bucket().await, false).await.unwrap_err();
        assert!(refused.message().starts_with("1 object is"), "{refused}");
    }
}

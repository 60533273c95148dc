//! semantics.md, *Roll back*: what somebody else changed at the origin is never replaced or deleted by what was written here.

use umbra_core::{Clock as _, SystemClock, Tags, Timestamp};
use umbra_meta::key;
use umbra_shadow::{
    Job, JobKind, JobOptions, JobState,
    origin::{OriginAttributes, memory::Fault},
};
use umbra_store::{CreateUpload, Objects};

use crate::{
    rollback::{dry_run, multipart, run, tally},
    world::{World, content, k},
};

impl World {
    /// Puts an object at the origin, as its owner would, now.
    fn insert_now(&self, key: &str, content: &'static str) {
        self.origin.insert(key, content, &OriginAttributes::default());
        self.date(key, SystemClock.now());
    }

    fn date(&self, key: &str, at: Timestamp) {
        self.origin.alter(key, |info| info.last_modified = at);
    }

    /// The keys told as conflicts.
    async fn conflicts(&self) -> Vec<String> {
        let notes = self.notes(JobKind::Rollback).await.into_iter();
        notes.filter(|(_, note)| note.finding.as_ref().is_some_and(|found| found.name == "conflict")).map(|(key, _)| key).collect()
    }

    async fn tag(&self, key: &str, value: &str) {
        let tags = Tags::new([("t".into(), value.into())]);
        self.shadow.put_tags(&self.cx, &*self.bucket().await, &k(key), None, tags).await.unwrap();
    }
}

/// Runs a rollback that ends with so many conflicts and changes nothing at the origin.
async fn run_into(world: &World, conflicts: u64) -> Job {
    let before = world.origin.writes();
    let job = run(world).await;
    assert_eq!((job.counts.objects_failed, tally(&job, "conflict").0), (conflicts, conflicts), "{job:?}");
    assert_eq!(world.origin.writes(), before, "the origin is left as it is");
    job
}

/// Of a key that was copied in and then changed here the original is known.
#[tokio::test]
async fn what_others_did_to_an_original_stands() {
    let world = World::attached(false).await;
    let keys = ["deleted", "overwritten", "retagged", "same-content"];
    for key in keys {
        world.origin.insert(key, "original", &OriginAttributes::default());
        world.hydrated_by_reading(key).await;
    }
    for round in 0..2 {
        // Also what was written twice here differs from what it was first written over.
        world.put("overwritten", format!("ours {round}")).await.unwrap();
        world.put("same-content", format!("ours {round}")).await.unwrap();
        world.tag("retagged", &format!("ours {round}")).await;
        if round == 0 {
            world.delete("deleted").await.unwrap();
            for key in keys {
                world.insert_now(key, if key == "same-content" { "original" } else { "theirs" });
            }
        }
    }
    let job = run_into(&world, 4).await;
    assert_eq!(job.reason.as_deref(), Some("4 keys could not be brought to the origin"));
    assert_eq!(world.conflicts().await, keys);
    let notes = world.notes(JobKind::Rollback).await;
    assert!(notes.iter().all(|(_, note)| note.attempts == 1 && note.reason.contains("by somebody else")), "{notes:?}");
    assert_eq!((world.here("overwritten").await.unwrap(), world.here("deleted").await), ("ours 1".into(), None), "and so is what is here");
    // Somebody says which side is right.
    world.put("overwritten", "ours at last").await.unwrap();
    world.put("same-content", "ours at last").await.unwrap();
    world.put("retagged", "ours at last").await.unwrap();
    world.delete("deleted").await.unwrap();
    let job = run_into(&world, 0).await;
    assert_eq!((job.reason, world.conflicts().await), (None, vec![]));
}

/// What went to the origin from here is known: by a write, a delete, or an earlier rollback.
#[tokio::test]
async fn what_others_did_to_what_we_put_there_stands() {
    let world = World::attached(false).await;
    world.put("copied", "ours").await.unwrap();
    world.put("copied-and-gone", "ours").await.unwrap();
    assert_eq!(tally(&run(&world).await, "copied").0, 2);
    for key in ["deleted", "gone", "gone-and-overwritten", "overwritten", "through"] {
        world.put(key, "ours").await.unwrap();
    }
    multipart(&world, "parts", CreateUpload::default()).await;
    world.delete("deleted").await.unwrap();
    world.attach(false).await;
    world.put("overwritten", "ours, and newer").await.unwrap();
    world.put("gone-and-overwritten", "ours, and newer").await.unwrap();
    for key in ["copied-and-gone", "gone", "gone-and-overwritten"] {
        world.origin.remove(key);
    }
    for key in ["copied", "deleted", "overwritten", "parts", "through"] {
        world.insert_now(key, "theirs");
    }
    let job = run(&world).await;
    let changed = ["copied", "copied-and-gone", "deleted", "gone", "overwritten", "parts", "through"];
    assert_eq!(world.conflicts().await, changed);
    assert_eq!((tally(&job, "conflict").0, tally(&job, "copied").0), (7, 1));
    assert_eq!(world.origin.content("gone-and-overwritten").unwrap(), "ours, and newer", "nothing of anybody's is lost by that");
    assert_eq!((world.origin.content("gone"), world.origin.content("deleted").unwrap()), (None, "theirs".into()));
}

/// Of a cold key only what was listed is known, or that what is there is certainly older.
#[tokio::test]
async fn of_cold_keys_only_what_is_known_or_older_is_replaced() {
    for listed in [false, true] {
        let world = World::attached(false).await;
        for key in ["deleted", "new", "old-deleted", "old", "undated"] {
            world.insert_now(key, "original");
        }
        let old = Timestamp::from_millis(1_000_000_000_000);
        world.date("old", old);
        world.date("old-deleted", old);
        world.date("undated", Timestamp::default());
        if listed {
            world.run(JobKind::Inventory).await;
        }
        for key in ["new", "old", "undated"] {
            world.put(key, "ours").await.unwrap();
        }
        for key in ["deleted", "old-deleted"] {
            world.delete(key).await.unwrap();
        }
        let job = run(&world).await;
        let (copied, deleted) = if listed { (3, 2) } else { (1, 1) };
        assert_eq!((tally(&job, "copied").0, tally(&job, "deleted").0), (copied, deleted), "{listed}");
        let expected = ["deleted", "new", "undated"];
        assert_eq!(world.conflicts().await, if listed { &[] } else { &expected[..] });
        assert_eq!((world.origin.content("old").unwrap(), world.origin.content("old-deleted")), ("ours".into(), None));
        assert_eq!(world.origin.content("new").unwrap(), if listed { "ours" } else { "original" });
    }
}

/// What was here before the shadow was attached is newer only if it is certainly later.
#[tokio::test]
async fn what_was_here_before_is_judged_by_its_date() {
    let world = World::bare().await;
    for key in ["later-there", "older-there", "only-here"] {
        world.put(key, "ours").await.unwrap();
    }
    world.origin.insert("older-there", "theirs", &OriginAttributes::default());
    world.insert_now("later-there", "theirs");
    world.attach(false).await;
    assert_eq!(tally(&run(&world).await, "copied").0, 2);
    assert_eq!(world.conflicts().await, ["later-there"]);
    assert_eq!(world.origin.content("later-there").unwrap(), "theirs");
}

/// Who changes the origin's object between the look at it and the write is not overwritten.
#[tokio::test]
async fn who_comes_between_the_look_and_the_write_stays() {
    for (key, judges) in
        [("whole", true), ("whole", false), ("large", true), ("large", false), ("parts", true), ("tags", true), ("gone", true)]
    {
        let world = World::attached(false).await;
        if !judges {
            world.origin.ignore_conditions();
        }
        match key {
            "parts" => multipart(&world, key, CreateUpload::default()).await,
            "large" => drop(world.put(key, content(65 * 1024 * 1024)).await.unwrap()),
            "whole" => drop(world.put(key, "ours").await.unwrap()),
            _ => {
                world.origin.insert(key, "original", &OriginAttributes::default());
                world.hydrated_by_reading(key).await;
                if key == "tags" { world.tag(key, "ours").await } else { world.delete(key).await.unwrap() }
            }
        }
        world.attach(true).await;
        let gate = world.origin.hold("head");
        world.start_with(JobKind::Rollback, "", JobOptions::default()).await;
        world.eventually(async || (world.origin.waiting() > 0).then_some(())).await;
        world.insert_now(key, "theirs");
        gate.add_permits(100);
        let job = world.end(JobKind::Rollback).await;
        assert_eq!((job.state, tally(&job, "conflict").0), (JobState::Done, 1), "{key} {judges} {job:?}");
        assert_eq!((world.origin.content(key).unwrap(), world.origin.tags_of(key)), ("theirs".into(), Tags::default()));
        assert_eq!((world.intents().await, world.origin.open_uploads()), (0, 0));
    }
}

/// A copy whose answer was lost is ours, whatever ETag it got there, and is known from then on.
#[tokio::test]
async fn a_copy_whose_answer_was_lost_is_no_conflict() {
    for has_odd_etags in [false, true] {
        let world = World::attached(false).await;
        if has_odd_etags {
            world.origin.use_odd_etags();
        }
        world.put("k", content(100_000)).await.unwrap();
        world.origin.insert("d", "old", &OriginAttributes::default());
        world.delete("d").await.unwrap();
        world.attach(true).await;
        world.origin.fail_next("put", Fault::LoseAnswer);
        world.origin.fail_next("delete", Fault::LoseAnswer);
        assert_eq!((run(&world).await.counts.objects_failed, world.conflicts().await), (0, vec![]));
        let there = world.origin.etag("k");
        world.attach(false).await;
        world.put("k", "newer").await.unwrap();
        let job = run(&world).await;
        assert_eq!((tally(&job, "copied").0, job.counts.objects_failed), (1, 0));
        assert_ne!(world.origin.etag("k"), there);
    }
}

#[tokio::test]
async fn a_dry_run_tells_conflicts() {
    let world = World::attached(false).await;
    world.put("k", "ours").await.unwrap();
    world.insert_now("k", "theirs");
    let job = world.run_with(JobKind::Rollback, dry_run()).await;
    assert_eq!((tally(&job, "conflict").0, world.conflicts().await), (1, vec!["k".to_owned()]));
    assert_eq!(world.origin.writes(), Vec::<String>::new());
    assert!(world.rows(key::all_ancestors()).await > 0);
    world.shadow.detach(&world.cx, &*world.bucket().await, true).await.unwrap();
    world.eventually(async || (world.rows(key::all_ancestors()).await == 0).then_some(())).await;
}

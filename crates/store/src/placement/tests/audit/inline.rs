//! Small contents, which are in their records until a location says where they have to be.

use umbra_core::{Encryption, Tags};
use umbra_meta::key::object_range;

use super::*;
use crate::{Pieces, Sealing, Terms, record};

const SMALL: usize = 100;

impl World {
    async fn put_small(&self, key: &str, encryption: Option<Encryption>) {
        let sealing = encryption.as_ref().map(|encryption| Sealing::of(encryption, None).unwrap());
        let mut options = PutOptions { integrity: Integrity { sealing, ..Integrity::default() }, ..PutOptions::default() };
        options.attributes.encryption = encryption;
        let body = Body::from_bytes(content(SMALL));
        self.natives["fra"].put(&cx(), &*self.bucket().await, &object(key), body, options).await.unwrap();
    }

    /// How many objects, and versions before them, are in their records.
    async fn in_records(&self) -> usize {
        let mut found = 0;
        for range in [object_range(""), key::version_range("")] {
            let rows = self.meta.scan(self.bucket().await.partition, range, 100, Projection::Full).await.unwrap();
            let objects = rows.iter().filter(|row| key::parse_object(&row.key).is_some() || key::parse_version(&row.key).is_some());
            found += objects.filter(|row| !matches!(record::object::decode(row).unwrap().content, Pieces::Extents(_))).count();
        }
        found
    }
}

#[tokio::test]
async fn small_contents_leave_their_records_for_where_they_have_to_be() {
    for (location, expected) in [("single:iad", [0, 0, 3]), ("dual:ams,iad", [3, 0, 3]), ("multi:eur", [3, 3, 0])] {
        let world = World::new("global").await;
        world.put_small("plain", None).await;
        world.put_small("sealed", Some(Encryption::Managed)).await;
        let versioned = &mut |settings: &mut BucketSettings| {
            settings.versioning = Versioning::Enabled;
            Ok(())
        };
        world.catalog.update_bucket(&*world.bucket().await, versioned).await.unwrap();
        world.put_small("plain", None).await;
        world.put("fra", "empty", 0).await;
        let before = world.natives["fra"].head(&cx(), &*world.bucket().await, &object("plain"), GetOptions::default()).await.unwrap();
        world.settle().await;
        assert_eq!((world.kept().await, world.in_records().await), ([0, 0, 0], 4), "a global bucket may have them there");
        world.relocate(location).await;
        let last = world.settle().await;
        assert_eq!((world.kept().await, world.in_records().await), (expected, 1), "{location}: all but the empty one");
        let homes: u64 = last.findings.regions.values().map(|used| used.homes).sum();
        assert_eq!(homes, 3, "{location}");
        for key in ["plain", "sealed"] {
            assert_eq!(world.get("iad", key).await.unwrap(), content(SMALL), "{location} {key}");
        }
        let after = world.natives["fra"].head(&cx(), &*world.bucket().await, &object("plain"), GetOptions::default()).await.unwrap();
        assert_eq!((after.etag, after.last_modified, after.version), (before.etag, before.last_modified, before.version));
        // It goes like any other content.
        for key in ["plain", "sealed"] {
            let version = GetOptions::default();
            let found = world.natives["fra"].head(&cx(), &*world.bucket().await, &object(key), version).await.unwrap();
            let options = DeleteOptions { version: Some(found.version), ..DeleteOptions::default() };
            world.natives["fra"].delete(&cx(), &*world.bucket().await, &object(key), options).await.unwrap();
        }
        world.reclaim().await;
        assert_eq!(world.kept().await, expected.map(|count| count / 3), "{location}: the version before is left");
    }
}

#[tokio::test]
async fn small_contents_stay_in_their_records_while_their_region_is_away() {
    let world = World::new("global").await;
    world.put_small("k", None).await;
    world.engines["iad"].go_away(true);
    world.relocate("single:iad").await;
    let findings = world.audit().await;
    assert_eq!((findings.failed, findings.moved, world.in_records().await), (1, 0, 1));
    assert_eq!(world.get("fra", "k").await.unwrap(), content(SMALL));
    world.engines["iad"].go_away(false);
    world.settle().await;
    assert_eq!((world.kept().await, world.in_records().await), ([0, 0, 1], 0));
    assert_eq!(world.get("fra", "k").await.unwrap(), content(SMALL));
}

#[tokio::test]
async fn small_contents_stay_in_their_records_when_these_change_meanwhile() {
    let world = World::new("global").await;
    world.put_small("k", None).await;
    world.relocate("single:iad").await;
    let gate = world.engines["iad"].putting();
    gate.shut();
    let change = async {
        gate.reached().await;
        let tags = Tags::new([("a".to_owned(), "b".to_owned())]);
        world.natives["fra"].replace_tags(&*world.bucket().await, &object("k"), None, tags, Terms::default()).await.unwrap();
        gate.open();
    };
    let (findings, ()) = tokio::join!(world.audit(), change);
    assert_eq!((findings.pending, findings.moved, world.in_records().await), (1, 0, 1));
    assert_eq!(world.kept().await, [0, 0, 0], "what was written for nothing is gone");
    world.settle().await;
    assert_eq!((world.kept().await, world.in_records().await), ([0, 0, 1], 0));
}

/// What comes in by pieces takes the place of the object that it began beside, and of no other.
#[tokio::test]
async fn small_contents_stay_in_their_records_while_their_key_comes_in() {
    let world = World::new("global").await;
    world.put_small("k", None).await;
    world.relocate("single:iad").await;
    let (partition, hydration) = (world.bucket().await.partition, key::hydration(&object("k")));
    world.meta.commit(Batch::new(partition).put(hydration.clone(), "", "")).await.unwrap();
    let findings = world.audit().await;
    assert_eq!((findings.pending, findings.moved, world.in_records().await), (1, 0, 1));
    world.meta.commit(Batch::new(partition).delete(hydration)).await.unwrap();
    world.settle().await;
    assert_eq!((world.kept().await, world.in_records().await), ([0, 0, 1], 0));
}

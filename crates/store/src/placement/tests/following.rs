//! Homes that follow their readers, and copies that nobody reads.

use super::{moving::Three, *};

const WINDOW: Duration = Duration::from_secs(3600);

impl Three {
    /// A window in which `node` reads the blob so often, and `others` as often as they do.
    async fn pass(&self, blob: &StoredBlob, readers: &[(&PlacedBlobStore, usize)]) {
        for (node, reads) in readers {
            for _ in 0..*reads {
                all(node, blob).await.unwrap();
            }
            idle(node).await;
        }
        self.clock.advance(WINDOW);
        for (node, _) in readers {
            node.shared.claim().await.unwrap();
        }
    }

    async fn home(&self, blob: &StoredBlob) -> String {
        let node = self.node("sin");
        let rows = node.shared.index.all(&blob.id).await.unwrap();
        crate::placement::moving::home_of(&rows).map_or("fra", |row| row.region.as_str()).to_owned()
    }
}

#[tokio::test]
async fn a_home_follows_those_who_read() {
    let world = Three::new();
    let (blob, bytes) = put(&world.node("fra"), 10_000).await;
    let [fra, iad, leader] = ["fra", "iad", "sin"].map(|region| world.node(region));
    for window in 0..3 {
        assert_eq!((leader.follow_demand().await.unwrap(), world.home(&blob).await.as_str()), (0, "fra"), "{window}");
        world.pass(&blob, &[(&fra, 4), (&iad, 20), (&leader, 0)]).await;
    }
    assert_eq!((leader.follow_demand().await.unwrap(), world.home(&blob).await.as_str()), (1, "iad"));
    assert_eq!(leader.shared.metrics.moves(), 1);
    world.reclaim().await;
    assert_eq!(world.len(), [0, 1, 0]);
    assert!(all(&fra, &blob).await.unwrap() == bytes);
    // Now fra reads it most: not before a day has passed does it come back, and iad, too, has counted then.
    for window in 0..40 {
        world.pass(&blob, &[(&fra, 20), (&iad, 4), (&leader, 0)]).await;
        let moved = leader.follow_demand().await.unwrap();
        assert!(moved == 0 || window >= 21, "{window}");
        if moved == 1 {
            assert_eq!(world.home(&blob).await, "fra");
            break;
        }
        assert!(window < 30, "it should have moved");
    }
    world.reclaim().await;
    // The claims go when nobody reads it any more.
    for _ in 0..10 {
        world.pass(&blob, &[(&fra, 0), (&iad, 0), (&leader, 0)]).await;
        assert_eq!(leader.follow_demand().await.unwrap(), 0);
    }
    world.assert_deleted(&blob).await;
}

#[tokio::test]
async fn several_nodes_read_as_one_region() {
    let world = Three::new();
    let (blob, _) = put(&world.node("fra"), 10_000).await;
    let [fra, iad, another] = ["fra", "iad", "iad"].map(|region| world.node(region));
    // Each of both less than twice as often as fra, which is claimed for by one of them.
    for _ in 0..3 {
        world.pass(&blob, &[(&fra, 7), (&iad, 9), (&another, 9)]).await;
    }
    assert_eq!((fra.follow_demand().await.unwrap(), world.home(&blob).await.as_str()), (1, "iad"));
}

#[tokio::test]
async fn homes_stay_with_whoever_reads_about_as_much_or_seldom() {
    for (here, there) in [(20, 30), (0, 7), (100, 100)] {
        let world = Three::new();
        let (blob, _) = put(&world.node("fra"), 10_000).await;
        let [fra, iad] = ["fra", "iad"].map(|region| world.node(region));
        for _ in 0..6 {
            world.pass(&blob, &[(&fra, here), (&iad, there)]).await;
            assert_eq!(fra.follow_demand().await.unwrap(), 0, "{here} {there}");
        }
        assert_eq!(world.home(&blob).await, "fra");
    }
}

#[tokio::test]
async fn what_a_location_binds_claims_no_home() {
    use umbra_core::Location;

    let world = Three::new();
    let (fra, iad) = (world.node("fra"), world.node("iad"));
    let of = |node: &PlacedBlobStore, location: &str| {
        node.by(crate::placement::decide(&Location::parse(location).unwrap(), None, None, node.topology()))
    };
    for location in ["single:fra", "dual:fra,iad"] {
        let (blob, _) = put(&of(&fra, location), 10_000).await;
        for _ in 0..4 {
            world.pass(&blob, &[(&of(&fra, location), 0), (&of(&iad, location), 50)]).await;
            assert_eq!(fra.follow_demand().await.unwrap(), 0, "{location}");
        }
        fra.delete(&blob.id).await.unwrap();
    }
}

#[tokio::test]
async fn copies_that_nobody_reads_go() {
    let world = Three::new();
    let day = Duration::from_secs(24 * 3600);
    let (blob, bytes) = world.blob(&["iad", "sin"]).await;
    let (leader, iad) = (world.node("fra"), world.node("iad"));
    // iad reads its copy now and then, sin does not.
    for _ in 0..20 {
        world.clock.advance(2 * day);
        assert!(all(&iad, &blob).await.unwrap() == bytes);
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        assert_eq!(leader.drop_idle_copies(None).await.unwrap(), None);
    }
    world.reclaim().await;
    assert_eq!((world.len(), leader.shared.metrics.idle_copies()), ([1, 1, 0], 1));
    // The home is nobody's copy, wherever it is; and where it does not answer, no copy goes.
    leader.move_home(&blob.id, "iad").await.unwrap();
    assert!(all(&world.node("sin"), &blob).await.unwrap() == bytes);
    let sin = world.node("sin");
    assert!(all(&sin, &blob).await.unwrap() == bytes);
    idle(&sin).await;
    world.clock.advance(40 * day);
    world.engines["iad"].go_away(true);
    leader.drop_idle_copies(None).await.unwrap();
    world.reclaim().await;
    assert_eq!(world.len(), [0, 1, 1]);
    world.engines["iad"].go_away(false);
    leader.drop_idle_copies(None).await.unwrap();
    world.reclaim().await;
    assert_eq!(world.len(), [0, 1, 0]);
    assert!(all(&world.node("sin"), &blob).await.unwrap() == bytes);
    world.assert_deleted(&blob).await;
}

/// A copy may be the only one that is whole, whatever the ends of the home answer: it is the home then, and what is damaged goes.
#[tokio::test]
async fn a_copy_that_nobody_reads_stays_while_its_home_is_damaged() {
    let world = Three::new();
    let (blob, bytes) = world.blob(&["iad"]).await;
    world.engines["fra"].rot(150_000);
    for (home, len) in [("iad", [1, 1, 0]), ("iad", [0, 1, 0])] {
        world.clock.advance(Duration::from_secs(100 * 24 * 3600));
        world.node("fra").drop_idle_copies(None).await.unwrap();
        world.reclaim().await;
        assert_eq!((world.home(&blob).await.as_str(), world.len()), (home, len));
        assert!(all(&world.node("iad"), &blob).await.unwrap() == bytes);
    }
    world.assert_deleted(&blob).await;
}

/// Where neither is whole both are read once, and not by each pass.
#[tokio::test]
async fn a_damaged_copy_of_a_damaged_home_is_put_off() {
    let world = Three::new();
    let (blob, _) = world.blob(&["iad"]).await;
    for region in ["fra", "iad"] {
        world.engines[region].rot(290_000);
    }
    world.clock.advance(Duration::from_secs(100 * 24 * 3600));
    let reads = || ["fra", "iad"].map(|region| world.engines[region].reads());
    let before = reads();
    for _ in 0..10 {
        world.node("fra").drop_idle_copies(None).await.unwrap();
        world.clock.advance(WINDOW);
    }
    assert_eq!(reads(), before.map(|reads| reads + 1));
    world.reclaim().await;
    assert_eq!(world.len(), [1, 1, 0]);
    world.assert_deleted(&blob).await;
}

/// A copy beside its home, which was not found for a moment, goes like any other.
#[tokio::test]
async fn a_copy_that_is_beside_its_home_goes() {
    let world = Three::new();
    let (blob, bytes) = world.blob(&["iad"]).await;
    let node = world.node("fra");
    world.engines["fra"].deny(1);
    assert!(all(&node, &blob).await.unwrap() == bytes);
    idle(&node).await;
    assert_eq!(world.len(), [2, 1, 0]);
    world.clock.advance(Duration::from_secs(100 * 24 * 3600));
    node.drop_idle_copies(None).await.unwrap();
    world.reclaim().await;
    assert_eq!(world.len(), [1, 0, 0]);
    assert!(all(&world.node("fra"), &blob).await.unwrap() == bytes);
    world.assert_deleted(&blob).await;
}

#[tokio::test]
async fn copies_that_have_to_be_there_stay() {
    let world = Three::new();
    let (blob, _) = world.blob(&["iad"]).await;
    let leader = world.node("fra");
    let mut rows = leader.shared.index.all(&blob.id).await.unwrap();
    let mut row = rows.pop().unwrap();
    row.record.is_required = true;
    let key = root::copy(blob.id.as_bytes(), "iad");
    world.meta.commit(Batch::new(Partition::ROOT).put(key, "", row.record.encode())).await.unwrap();
    world.clock.advance(Duration::from_secs(100 * 24 * 3600));
    leader.drop_idle_copies(None).await.unwrap();
    world.reclaim().await;
    assert_eq!(world.len(), [1, 1, 0]);
    // Nor does the home leave for one of them: there would be one copy less.
    let iad = world.node("iad");
    for _ in 0..4 {
        world.pass(&blob, &[(&leader, 0), (&iad, 50)]).await;
        assert_eq!(leader.follow_demand().await.unwrap(), 0);
    }
    world.reclaim().await;
    assert_eq!(world.len(), [1, 1, 0]);
}

#[tokio::test]
async fn rows_of_copies_that_never_came_go() {
    let world = Three::new();
    let (blob, _) = world.blob(&[]).await;
    world.engines["iad"].finishing().shut();
    let node = world.node("iad");
    all(&node, &blob).await.unwrap();
    world.engines["iad"].finishing().reached().await;
    world.node("fra").drop_idle_copies(None).await.unwrap();
    assert_eq!(world.node("fra").shared.index.all(&blob.id).await.unwrap().len(), 1, "it is still coming");
    world.clock.advance(WINDOW);
    world.node("fra").drop_idle_copies(None).await.unwrap();
    assert_eq!(world.node("fra").shared.index.all(&blob.id).await.unwrap().len(), 0);
    world.engines["iad"].finishing().open();
    idle(&node).await;
    assert_eq!(world.len(), [1, 0, 0], "what comes all the same is thrown away");
    world.assert_deleted(&blob).await;
}

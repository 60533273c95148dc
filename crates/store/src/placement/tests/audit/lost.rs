//! Bytes that are lost or damaged: at home, or where they were copied to.

use super::*;

/// What was lost at home is not dropped where it is left.
#[tokio::test]
async fn the_last_copy_stays() {
    let world = World::new("global").await;
    world.put("fra", "k", 9000).await;
    world.get("iad", "k").await.unwrap();
    assert_eq!(world.kept().await, [0, 1, 1]);
    world.engines["fra"].lose_puts().await;
    world.relocate("single:fra").await;
    world.auditor.order(&*world.bucket().await).await.unwrap();
    while world.auditor.step(&world.bucket).await.unwrap() {}
    world.reclaim().await;
    let findings = world.status().await.audit.unwrap().last.unwrap().findings;
    assert_eq!((findings.removed, findings.missing, world.kept().await), (0, 1, [0, 0, 1]));
    assert_eq!(world.get("iad", "k").await.unwrap(), content(9000));
    world.settle().await;
    assert_eq!(world.kept().await, [0, 1, 0]);
}

/// What was lost at home is made again of a copy, wherever that is.
#[tokio::test]
async fn homes_that_are_lost_are_made_again() {
    for (location, regions, expected) in [("dual:fra,iad", ["fra", "iad"], [0, 2, 2]), ("single:fra", ["fra", "fra"], [0, 2, 0])] {
        let world = World::new("global").await;
        for key in ["a", "b"] {
            world.put("fra", key, 9000).await;
            world.get("iad", key).await.unwrap();
        }
        if location != "single:fra" {
            world.relocate(location).await;
            world.settle().await;
        }
        world.engines["fra"].lose_puts().await;
        assert_eq!(world.kept().await, [0, 0, 2]);
        world.relocate(location).await;
        world.auditor.order(&*world.bucket().await).await.unwrap();
        while world.auditor.step(&world.bucket).await.unwrap() {}
        let first = world.status().await.audit.unwrap().last.unwrap().findings;
        assert_eq!((first.lost, first.moved, first.missing, first.gone), (2, 2, 2, 0), "{location}");
        let last = world.settle().await;
        assert_eq!((last.findings.lost, last.findings.gone, world.kept().await), (0, 0, expected), "{location}");
        for region in regions {
            for other in REGIONS.iter().filter(|other| **other != region) {
                world.engines[other].go_away(true);
            }
            assert_eq!(world.get(region, "b").await.unwrap(), content(9000), "{location} {region}");
            world.engines.values().for_each(|engine| engine.go_away(false));
        }
    }
}

/// An engine that answers once, or more often, that it has not got a content that it has destroys none.
#[tokio::test]
async fn a_home_that_is_not_found_for_a_moment_keeps_its_bytes() {
    for is_rotten in [true, false] {
        for denials in 1..6 {
            let world = World::new("dual:fra,iad").await;
            world.put("fra", "k", 9000).await;
            world.work().await;
            if is_rotten {
                world.engines["iad"].rot(4500);
            }
            world.engines["fra"].deny(denials);
            let findings = world.audit().await;
            assert_eq!(findings.moved > 0, !is_rotten && denials > 2, "{denials}");
            world.engines["fra"].deny(0);
            world.reclaim().await;
            assert_eq!(world.kept().await, [0, 1, 1], "{is_rotten} {denials}");
            assert_eq!(world.get("ams", "k").await.unwrap(), content(9000), "{is_rotten} {denials}");
            world.settle().await;
            assert_eq!(world.kept().await, [0, 1, 1]);
            assert_eq!(world.engines["fra"].created(), 0, "its bytes are not brought again");
            world.delete("fra", "k").await;
            world.reclaim().await;
            assert_eq!(world.kept().await, [0, 0, 0]);
        }
    }
}

/// What was taken for lost and is where it may not be goes once its new home is whole.
#[tokio::test]
async fn a_home_that_was_taken_for_lost_leaves_where_it_may_not_be() {
    let world = World::new("dual:fra,iad").await;
    world.put("fra", "k", 9000).await;
    world.work().await;
    world.relocate("single:iad").await;
    world.engines["fra"].deny(3);
    assert_eq!(world.audit().await.lost, 1);
    world.settle().await;
    assert_eq!((world.kept().await, world.get("ams", "k").await.unwrap()), ([0, 0, 1], content(9000)));
}

/// Also where a reader has brought a copy of it there meanwhile.
#[tokio::test]
async fn a_home_that_was_taken_for_lost_beside_a_copy_leaves_where_it_may_not_be() {
    let world = World::new("dual:fra,iad").await;
    world.put("fra", "k", 9000).await;
    world.work().await;
    world.engines["fra"].deny(1);
    assert_eq!(world.get("fra", "k").await.unwrap(), content(9000));
    world.settle().await;
    world.relocate("single:iad").await;
    world.engines["fra"].deny(3);
    assert_eq!(world.audit().await.lost, 1);
    world.engines["fra"].deny(0);
    world.settle().await;
    world.reclaim().await;
    assert_eq!((world.kept().await, world.get("ams", "k").await.unwrap()), ([0, 0, 1], content(9000)));
}

/// A copy that a reader has brought beside a home which was not found for a moment is the home when that is lost for good.
#[tokio::test]
async fn a_copy_beside_a_lost_home_is_the_home() {
    let world = World::new("dual:fra,iad").await;
    world.put("fra", "k", 9000).await;
    world.work().await;
    world.engines["fra"].deny(1);
    assert_eq!(world.get("fra", "k").await.unwrap(), content(9000));
    assert_eq!(world.kept().await, [0, 2, 1]);
    world.engines["fra"].lose_puts().await;
    world.engines["iad"].lose_all().await;
    let findings = world.audit().await;
    assert_eq!((findings.gone, findings.lost, findings.moved), (0, 2, 1), "that of iad is made again, too");
    world.settle().await;
    assert_eq!((world.kept().await, world.get("ams", "k").await.unwrap()), ([0, 1, 1], content(9000)));
}

/// What may not be somewhere stays there while its home is damaged: it is all that is whole, and that is made again of it.
#[tokio::test]
async fn nothing_goes_while_its_home_is_damaged() {
    let world = World::new("global").await;
    world.put("fra", "k", 9000).await;
    world.get("iad", "k").await.unwrap();
    assert_eq!(world.kept().await, [0, 1, 1]);
    world.engines["fra"].rot(4500);
    world.relocate("single:fra").await;
    let findings = world.audit().await;
    world.reclaim().await;
    assert_eq!((findings.removed, findings.moved, findings.pending, world.kept().await), (0, 1, 1, [0, 1, 1]));
    for region in REGIONS {
        assert_eq!(world.get(region, "k").await.unwrap(), content(9000), "{region}");
    }
    world.settle().await;
    world.engines["iad"].go_away(true);
    assert_eq!((world.kept().await, world.get("ams", "k").await.unwrap()), ([0, 1, 0], content(9000)));
}

/// Of several copies of a damaged home one takes its place that has to be there.
#[tokio::test]
async fn a_copy_that_has_to_be_there_takes_the_place_of_a_damaged_home() {
    let world = World::new("global").await;
    world.put("fra", "k", 9000).await;
    for region in ["ams", "iad"] {
        world.get(region, "k").await.unwrap();
    }
    world.relocate("dual:fra,iad").await;
    world.audit().await;
    world.work().await;
    assert_eq!(world.kept().await, [1, 1, 1]);
    world.engines["fra"].rot(4500);
    let findings = world.audit().await;
    assert_eq!((findings.moved, findings.regions["iad"].homes), (1, 1));
    world.settle().await;
    assert_eq!(world.kept().await, [0, 1, 1]);
    for (away, region) in [("iad", "fra"), ("fra", "iad")] {
        world.engines[away].go_away(true);
        assert_eq!(world.get(region, "k").await.unwrap(), content(9000), "{region}");
        world.engines[away].go_away(false);
    }
}

/// A copy beside a home that leaves a region leaves it as well.
#[tokio::test]
async fn a_copy_beside_a_home_leaves_with_it() {
    let world = World::new("dual:fra,iad").await;
    world.put("fra", "k", 9000).await;
    world.work().await;
    world.engines["fra"].deny(1);
    assert_eq!(world.get("fra", "k").await.unwrap(), content(9000));
    world.engines["iad"].lose_all().await;
    assert_eq!(world.kept().await, [0, 2, 0]);
    world.relocate("single:iad").await;
    assert!(!world.audit().await.is_settled());
    world.settle().await;
    assert_eq!((world.kept().await, world.get("ams", "k").await.unwrap()), ([0, 0, 1], content(9000)));
}

/// A copy that has to be there is not found once, and later its home is lost.
#[tokio::test]
async fn a_copy_that_is_not_found_once_is_there_when_its_home_is_lost() {
    let world = World::new("dual:fra,iad").await;
    world.put("fra", "k", 9000).await;
    world.work().await;
    world.engines["fra"].go_away(true);
    world.engines["iad"].deny(1);
    assert_eq!(world.get("iad", "k").await.unwrap(), content(9000));
    world.reclaim().await;
    world.engines["fra"].go_away(false);
    world.engines["fra"].lose_puts().await;
    let findings = world.audit().await;
    assert_eq!((findings.gone, findings.lost, findings.moved), (0, 1, 1));
    world.settle().await;
    assert_eq!((world.kept().await, world.get("fra", "k").await.unwrap()), ([0, 1, 1], content(9000)));
}

/// A copy that is damaged becomes no home: it is made again first.
#[tokio::test]
async fn a_damaged_copy_is_made_again_before_it_is_the_home() {
    let world = World::new("global").await;
    world.put("fra", "k", 9000).await;
    world.get("iad", "k").await.unwrap();
    assert_eq!(world.kept().await, [0, 1, 1]);
    world.engines["iad"].rot(4500);
    world.relocate("single:iad").await;
    world.settle().await;
    assert_eq!((world.kept().await, world.get("ams", "k").await.unwrap()), ([0, 0, 1], content(9000)));
}

/// What is nowhere is told, and nothing of it is dropped: it may come back, by hand.
#[tokio::test]
async fn what_is_nowhere_is_told() {
    let world = World::new("single:fra").await;
    for key in ["a", "b"] {
        world.put("fra", key, 9000).await;
    }
    world.engines["fra"].lose_puts().await;
    world.put("fra", "c", 9000).await;
    let audit = async || {
        world.auditor.order(&*world.bucket().await).await.unwrap();
        while world.auditor.step(&world.bucket).await.unwrap() {}
        world.status().await.audit.unwrap().last.unwrap().findings
    };
    let findings = audit().await;
    assert_eq!((findings.gone, findings.lost, findings.missing, findings.removed, findings.pending), (2, 0, 0, 0, 0));
    assert_eq!((findings.regions["fra"].homes, world.auditor.parts.blobs.metrics().gone()), (1, 2));
    assert!(findings.is_settled(), "nothing can be done about it");
    // While the only region that may have a copy does not answer, nothing is said to be nowhere.
    let world = World::new("dual:fra,iad").await;
    world.put("fra", "k", 9000).await;
    world.work().await;
    world.engines["fra"].lose_puts().await;
    world.engines["iad"].go_away(true);
    world.auditor.order(&*world.bucket().await).await.unwrap();
    while world.auditor.step(&world.bucket).await.unwrap() {}
    let findings = world.status().await.audit.unwrap().last.unwrap().findings;
    assert_eq!((findings.gone, findings.failed, findings.moved), (0, 1, 0));
    assert!(findings.failure.unwrap().starts_with("iad: "), "it says which region is to blame");
    world.engines["iad"].go_away(false);
    world.settle().await;
    assert_eq!(world.kept().await, [0, 1, 1]);
}

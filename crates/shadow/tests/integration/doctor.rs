//! The doctor, before an origin in memory; what it finds of one that speaks S3 is tested black box.

use umbra_shadow::{DoctorFinding, Examination, Verdict, origin::memory::Fault};
use umbra_store::Secret;

use crate::world::World;

async fn findings(world: &World, write_through: bool) -> Vec<DoctorFinding> {
    let examination = Examination {
        endpoint: "https://old.example".into(),
        region: "auto".into(),
        bucket: "old".into(),
        access_key: "key".into(),
        secret_key: Secret::new("hush-hush"),
        write_through,
    };
    let found = world.shadow.diagnose(&world.cx, &examination).await.unwrap();
    assert!(!format!("{examination:?}{found:?}").contains("hush-hush"));
    found
}

#[tokio::test]
async fn what_fails_is_named_and_nothing_stays_behind() {
    for (doing, fault, write_through, check) in [
        ("list", Fault::Unavailable, false, "reach"),
        ("list", Fault::Refused, false, "credentials"),
        ("head", Fault::Refused, false, "absent keys"),
        ("put", Fault::Refused, true, "write"),
        ("get", Fault::Refused, true, "read"),
        ("delete", Fault::Refused, true, "delete"),
    ] {
        let world = World::bare().await;
        world.origin.fail_next(doing, fault);
        let failed: Vec<_> = findings(&world, write_through).await.into_iter().filter(|found| found.verdict == Verdict::Failed).collect();
        assert_eq!(failed.iter().map(|found| found.check).collect::<Vec<_>>(), [check]);
        assert!(failed[0].advice.is_some(), "{failed:?}");
    }
}

#[tokio::test]
async fn without_write_through_nothing_is_written() {
    let world = World::bare().await;
    let found = findings(&world, false).await;
    assert!(found.iter().all(|found| found.verdict != Verdict::Failed), "{found:?}");
    assert!(found.iter().any(|found| found.check == "read" && found.verdict == Verdict::Warning), "there is nothing to read: {found:?}");
    assert_eq!(world.origin.etag(".umbra-probe-"), None);
    let before = world.origin.requests();
    let found = findings(&world, true).await;
    assert!(found.iter().all(|found| found.verdict == Verdict::Ok), "{found:?}");
    assert!(world.origin.requests() > before);
    world.attach(false).await;
    assert_eq!(world.list("", "", 10, umbra_store::ListSource::Origin).await.unwrap(), Vec::<String>::new(), "what was tried is gone");
}

/// An origin that takes keys for paths is noticed, and nothing is left there.
#[tokio::test]
async fn folded_keys_are_noticed() {
    let world = World::bare().await;
    world.origin.fold_paths();
    let found = findings(&world, true).await;
    let told = found.iter().find(|found| found.check == "folded keys").unwrap();
    assert!(told.verdict == Verdict::Warning && told.meaning.contains("a//b") && !told.meaning.contains("a/../b"), "{told:?}");
    assert_eq!(world.origin.keys(), Vec::<String>::new());
}

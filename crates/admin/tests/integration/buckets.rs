//! Buckets with and without an origin: what is done whole, and what is taken back.

use umbra_admin::api::{CreateBucket, SecretText, ShadowRequest, UpdateBucket};
use umbra_meta::CommitFault;
use umbra_shadow::origin::{OriginAttributes, memory::Fault};

use crate::support::{ROOT, World};

fn shadow() -> ShadowRequest {
    ShadowRequest {
        endpoint: Some("https://old.test".into()),
        region: Some("auto".into()),
        access_key: Some("AK".into()),
        secret_key: Some(SecretText::new("hush-hush")),
        ..ShadowRequest::default()
    }
}

fn photos(shadow: Option<ShadowRequest>) -> CreateBucket {
    CreateBucket { name: "photos".into(), organization: Some("acme".into()), shadow, ..CreateBucket::default() }
}

/// Holds that the server is as empty as at its start: no bucket, no organization, no key but the root key.
async fn assert_empty(world: &World, when: &str) {
    let root = world.client(ROOT);
    assert_eq!(root.buckets(None).await.unwrap(), [], "{when}");
    assert_eq!(root.organizations().await.unwrap(), [], "{when}");
    assert_eq!(root.access_keys(None).await.unwrap().access_keys.len(), 1, "{when}");
}

#[tokio::test]
async fn a_creation_that_fails_leaves_nothing() {
    let world = World::start().await;
    let root = world.client(ROOT);
    for (doing, fault, code) in
        [("list", Fault::Refused, "invalid"), ("list", Fault::Unavailable, "origin_unavailable"), ("put", Fault::Refused, "invalid")]
    {
        world.origin.fail_next(doing, fault.clone());
        let shadow = ShadowRequest { write_through: Some(doing == "put"), ..shadow() };
        let error = root.create_bucket(&photos(Some(shadow))).await.unwrap_err();
        assert!(matches!(&error, umbra_admin::ClientError::Answer { code: found, .. } if found == code), "{error:?}");
        assert!(!format!("{error:?}").contains("hush-hush"));
        assert_empty(&world, doing).await;
    }
    let incomplete = ShadowRequest { secret_key: None, region: None, ..shadow() };
    let error = root.create_bucket(&photos(Some(incomplete))).await.unwrap_err();
    assert!(error.to_string().ends_with("missing: secret_key"), "{error}");
    assert_empty(&world, "incomplete").await;
    root.create_bucket(&photos(Some(shadow()))).await.unwrap();
}

#[tokio::test]
async fn whichever_commit_fails_nothing_stays_behind() {
    // Creating takes a handful of commits. Each is made to fail in turn, once.
    for failing in 0..20 {
        let world = World::start().await;
        let before = world.meta.commits();
        let mut done = 0;
        world.meta.set(move |_, _| {
            done += 1;
            if done == failing + 1 { CommitFault::Unavailable } else { CommitFault::None }
        });
        let outcome = world.client(ROOT).create_bucket(&photos(Some(shadow()))).await;
        world.meta.heal();
        if outcome.is_ok() {
            assert!(failing >= 4, "the organization, the bucket, its name, its shadow and its key each take a commit");
            assert!(world.meta.commits() >= before + 4);
            return;
        }
        assert_empty(&world, &format!("commit {failing}")).await;
    }
    panic!("no creation went through");
}

#[tokio::test]
async fn what_an_origin_is_reached_with_is_never_told() {
    let world = World::start().await;
    world.origin.insert("a", "content", &OriginAttributes::default());
    let root = world.client(ROOT);
    let created = root.create_bucket(&photos(Some(shadow()))).await.unwrap();
    assert_eq!((created.endpoint.as_str(), created.region.as_str(), created.organization_created), ("http://s3.test", "fra", true));
    assert_eq!(created.bucket.shadow.unwrap().name, "photos", "the origin's bucket has the same name unless told");
    for path in ["/v1/buckets", "/v1/buckets/photos/status", "/v1/access-keys", "/metrics"] {
        let answer = world.root("GET", path, "").await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.contains("hush-hush") && !answer.body.contains(created.access_key.secret_key.expose()), "{path}");
    }
    let status = root.bucket_status("photos").await.unwrap();
    let shadow = status.shadow.unwrap();
    assert_eq!((shadow.access_key.as_str(), shadow.generation, shadow.hydrated_objects), ("AK", 1, 0));
}

#[tokio::test]
async fn a_shadow_changes_and_ends() {
    let world = World::start().await;
    world.origin.insert("cold", "content", &OriginAttributes::default());
    world.create("photos", "acme").await;
    let root = world.client(ROOT);
    let update = |shadow| UpdateBucket { shadow: Some(shadow), ..UpdateBucket::default() };
    let write_through = |value| ShadowRequest { write_through: Some(value), ..ShadowRequest::default() };
    let early = root.update_bucket("photos", &update(write_through(true))).await.unwrap_err();
    assert!(early.to_string().contains("missing: endpoint"), "{early}");
    root.update_bucket("photos", &update(shadow())).await.unwrap();
    let changed = root.update_bucket("photos", &update(write_through(true))).await.unwrap();
    assert!(changed.shadow.unwrap().write_through);

    world.origin.fail_next("list", Fault::Refused);
    let both =
        UpdateBucket { public: Some(true), ..update(ShadowRequest { secret_key: Some(SecretText::new("x")), ..ShadowRequest::default() }) };
    root.update_bucket("photos", &both).await.unwrap_err();
    assert!(!root.bucket_status("photos").await.unwrap().bucket.public, "a change that fails at the origin changes nothing else");

    let clear = UpdateBucket { clear_shadow: true, ..UpdateBucket::default() };
    let error = root.update_bucket("photos", &clear).await.unwrap_err();
    assert!(error.to_string().starts_with("1 object is still only at the origin"), "{error}");
    let cleared = root.update_bucket("photos", &UpdateBucket { force: true, ..clear }).await.unwrap();
    assert_eq!(cleared.shadow, None);
    assert_eq!(root.bucket_status("photos").await.unwrap().shadow, None);
}

#[tokio::test]
async fn buckets_are_listed_page_by_page() {
    let world = World::start().await;
    for name in ["bucket-1", "bucket-2", "bucket-3", "bucket-4", "bucket-5"] {
        world.create(name, if name == "bucket-3" { "rival" } else { "acme" }).await;
    }
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = world.root("GET", &format!("/v1/buckets?limit=2&organization=acme{after}"), "").await.json();
        let names = page["buckets"].as_array().unwrap().iter().map(|bucket| bucket["name"].as_str().unwrap().to_owned());
        seen.extend(names);
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["bucket-1", "bucket-2", "bucket-4", "bucket-5"]);
    assert_eq!(world.client(ROOT).buckets(None).await.unwrap().len(), 5);
}

#[tokio::test]
async fn the_doctor_sees_whoever_may_attach() {
    let world = World::start().await;
    let root = world.client(ROOT);
    let asked = ShadowRequest { name: Some("old".into()), ..shadow() };
    let report = root.doctor(&asked).await.unwrap();
    assert!(report.healthy && report.findings.iter().any(|finding| finding.check == "reach" && finding.verdict == "ok"), "{report:?}");
    world.origin.fail_next("list", Fault::Refused);
    let report = root.doctor(&asked).await.unwrap();
    assert!(!report.healthy && report.findings.iter().any(|finding| finding.verdict == "failed"), "{report:?}");
    assert!(!format!("{report:?}").contains("hush-hush"));
    let nameless = root.doctor(&shadow()).await.unwrap_err();
    assert!(nameless.to_string().contains("name"), "{nameless}");
    let created = root.create_bucket(&photos(None)).await.unwrap();
    let (access_key, secret_key) = (created.access_key.key.access_key, created.access_key.secret_key);
    let editor = world.client((&access_key, secret_key.expose()));
    let denied = editor.doctor(&asked).await.unwrap_err();
    assert!(matches!(&denied, umbra_admin::ClientError::Answer { code, .. } if code == "denied"), "{denied:?}");
}

//! What every request meets: signatures, limits, refusals in the API's own form.

use std::time::Duration;

use umbra_meta::CommitFault;

use crate::support::{ROOT, World};

#[tokio::test]
async fn readiness_is_told_and_needs_no_signature() {
    let world = World::start().await;
    assert_eq!(world.unsigned("GET", "/readyz").await.status, 503);
    assert_eq!(world.unsigned("GET", "/healthz").await.status, 200);
    world.readiness.set(true);
    assert_eq!(world.unsigned("GET", "/readyz").await.status, 200);
    world.readiness.set(false);
    assert_eq!(world.unsigned("GET", "/readyz").await.status, 503);
    let document = world.unsigned("GET", "/v1/openapi.json").await;
    assert_eq!((document.status, document.json()["openapi"].as_str()), (200, Some("3.1.0")));
}

#[tokio::test]
async fn every_other_call_needs_one() {
    let world = World::start().await;
    let calls = [
        ("GET", "/v1/buckets"),
        ("POST", "/v1/buckets"),
        ("PATCH", "/v1/buckets/photos"),
        ("DELETE", "/v1/buckets/photos"),
        ("GET", "/v1/buckets/photos/status"),
        ("GET", "/v1/organizations"),
        ("POST", "/v1/organizations"),
        ("DELETE", "/v1/organizations/acme"),
        ("GET", "/v1/access-keys"),
        ("POST", "/v1/access-keys"),
        ("DELETE", "/v1/access-keys/ROOT"),
    ];
    for (method, path) in calls {
        world.unsigned(method, path).await.refused(403, "denied");
    }
}

#[tokio::test]
async fn a_signature_must_be_right_and_recent() {
    let world = World::start().await;
    assert_eq!(world.root("GET", "/v1/buckets", "").await.status, 200);
    let tampered = world.signed("POST", "/v1/organizations", r#"{"name":"acme"}"#, r#"{"name":"evil"}"#).await;
    assert_eq!(tampered.refused(403, "denied"), "the signature does not match");
    let stranger = world.client(("NOBODY", "secret")).buckets(None).await.unwrap_err();
    assert_eq!(stranger.to_string(), "there is no such access key");
    let guess = world.client((ROOT.0, "another secret")).buckets(None).await.unwrap_err();
    assert_eq!(guess.to_string(), "the signature does not match");
    world.clock.advance(Duration::from_secs(16 * 60));
    let late = world.root("GET", "/v1/buckets", "").await.refused(403, "denied");
    assert!(late.contains("current time"), "{late}");
}

#[tokio::test]
async fn bodies_are_bounded_and_understood_whole() {
    let world = World::start().await;
    let long = format!(r#"{{"name":"{}"}}"#, "a".repeat(100 * 1024));
    world.root("POST", "/v1/organizations", &long).await.refused(413, "too_large");
    let table = [
        ("/v1/organizations", "", "EOF"),
        ("/v1/organizations", "name", "expected"),
        ("/v1/organizations", r#"{"nam":"acme"}"#, "unknown field `nam`"),
        ("/v1/buckets", r#"{"name":"photos","shadow":{"secret":"x"}}"#, "unknown field `secret`"),
        ("/v1/access-keys", r#"{"role":"owner"}"#, "unknown variant `owner`"),
    ];
    for (path, body, expected) in table {
        let message = world.root("POST", path, body).await.refused(400, "invalid");
        assert!(message.contains(expected) && !message.contains('\n'), "{body}: {message}");
    }
    world.root("GET", "/v1/buckets?organisation=acme", "").await.refused(400, "invalid");
    world.root("GET", "/v1/buckets?limit=0", "").await.refused(400, "invalid");
    world.root("GET", "/v1/buckets/%2e%2e/status", "").await.refused(400, "invalid");
}

#[tokio::test]
async fn what_does_not_exist_is_said_so() {
    let world = World::start().await;
    world.unsigned("GET", "/v2/buckets").await.refused(404, "no_such_path");
    world.root("PUT", "/v1/buckets", "").await.refused(405, "wrong_method");
    world.root("GET", "/v1/buckets/photos/status", "").await.refused(404, "no_such_bucket");
    world.root("DELETE", "/v1/organizations/acme", "").await.refused(404, "no_such_organization");
    world.root("DELETE", "/v1/access-keys/NOBODY", "").await.refused(404, "no_such_access_key");
}

#[tokio::test]
async fn every_answer_has_an_id_and_is_counted() {
    let world = World::start().await;
    let id = |head: &str| head.lines().find_map(|line| line.strip_prefix("x-amz-request-id: ")).unwrap().to_owned();
    let (first, second) = (world.root("GET", "/v1/buckets", "").await, world.unsigned("GET", "/v1/buckets").await);
    assert_ne!(id(&first.head), id(&second.head));
    world.root("GET", "/v1/buckets/photos/status", "").await;
    let metrics = world.unsigned("GET", "/metrics").await.body;
    for line in [
        r#"umbra_admin_requests_total{method="GET",route="/v1/buckets",status="200"} 1"#,
        r#"umbra_admin_requests_total{method="GET",route="/v1/buckets",status="403"} 1"#,
        r#"umbra_admin_requests_total{method="GET",route="/v1/buckets/{name}/status",status="404"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn a_store_that_cannot_answer_is_no_refusal() {
    let world = World::start().await;
    world.meta.fail_after(0, CommitFault::Unavailable);
    world.root("POST", "/v1/organizations", r#"{"name":"acme"}"#).await.refused(503, "unavailable");
    world.meta.heal();
    assert_eq!(world.root("POST", "/v1/organizations", r#"{"name":"acme"}"#).await.status, 201);
}

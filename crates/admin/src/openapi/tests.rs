use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::document;
use crate::{
    api::{
        AccessKeyList, AccessKeyView, AuditView, BucketList, BucketStatus, BucketView, CreateAccessKey, CreateBucket, CreateOrganization,
        CreatedAccessKey, CreatedBucket, DifferenceView, DoctorFindingView, DoctorReport, ErrorBody, ErrorDetail, FindingView, HealthView,
        JobNote, JobNotes, JobSettings, JobView, NodeList, NodeView, OrderName, OrganizationList, OrganizationView, OriginErrorView,
        OriginRequestsView, PlacementView, RegionList, RegionUseView, RegionView, ReplicaView, RoleName, SecretText, ShadowRequest,
        ShadowStatusView, ShadowView, TallyView, UncarriedList, UncarriedObjectView, UncarriedSummaryView, UpdateBucket,
    },
    routes,
};

#[test]
fn every_route_is_described_and_nothing_else() {
    let document = document();
    let routes: BTreeSet<(String, String)> =
        routes::signed().iter().chain(&routes::unsigned()).map(|route| (route.path.to_owned(), route.method.to_owned())).collect();
    let paths = document["paths"].as_object().unwrap();
    let described = paths.iter().flat_map(|(path, calls)| {
        let methods = calls.as_object().unwrap().keys();
        methods.map(|method| (path.clone(), method.clone()))
    });
    assert_eq!(described.collect::<BTreeSet<_>>(), routes);
    let unsigned: BTreeSet<&str> = routes::unsigned().iter().map(|route| route.path).collect();
    for (path, calls) in paths {
        for call in calls.as_object().unwrap().values() {
            assert_eq!(call["security"].as_array().is_some_and(Vec::is_empty), unsigned.contains(path.as_str()), "{path}");
            assert!(!call["summary"].as_str().unwrap().is_empty(), "{path}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| walk(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut references = BTreeSet::new();
    walk(&document, &mut references);
    for reference in references {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

/// Holds a schema to the fields that `full`, a value with every field present, is written with.
fn check(document: &Value, name: &str, full: &impl Serialize) {
    let schema = &document["components"]["schemas"][name];
    let described: BTreeSet<&String> = schema["properties"].as_object().unwrap_or_else(|| panic!("{name}")).keys().collect();
    let full = serde_json::to_value(full).unwrap();
    assert_eq!(full.as_object().unwrap().keys().collect::<BTreeSet<_>>(), described, "{name}");
}

#[test]
fn every_field_of_a_bucket_is_described() {
    let document = document();
    let shadow = ShadowRequest {
        endpoint: Some(String::new()),
        region: Some(String::new()),
        name: Some(String::new()),
        access_key: Some(String::new()),
        secret_key: Some(SecretText::new("")),
        write_through: Some(true),
        hydrate: Some(String::new()),
        revalidate_seconds: Some(0),
        price_per_gb: Some(String::new()),
    };
    check(&document, "ShadowRequest", &shadow);
    let text = || Some(String::new());
    let create = CreateBucket { organization: text(), location: text(), shadow: Some(shadow.clone()), ..CreateBucket::default() };
    check(&document, "CreateBucket", &create);
    let update = UpdateBucket { public: Some(true), location: text(), shadow: Some(shadow), ..UpdateBucket::default() };
    check(&document, "UpdateBucket", &update);
    check(&document, "ShadowView", &shadow_view());
    check(&document, "BucketView", &bucket());
    check(&document, "BucketStatus", &BucketStatus { bucket: bucket(), objects: 0, bytes: 0, shadow: None, jobs: vec![], placement: None });
    let region = RegionUseView {
        region: String::new(),
        homes: 0,
        home_bytes: 0,
        copies: 0,
        copy_bytes: 0,
        due: 0,
        due_since: None,
        failing: 0,
        failure: None,
    };
    check(&document, "RegionUseView", &region);
    let audit = AuditView {
        location: String::new(),
        began: String::new(),
        ended: String::new(),
        missing: 0,
        lost: 0,
        removed: 0,
        moved: 0,
        pending: 0,
        failed: 0,
        failure: None,
        gone: 0,
    };
    check(&document, "AuditView", &audit);
    let placement =
        PlacementView { location: String::new(), regions: vec![region], audit: Some(audit), auditing_since: None, settled: true };
    check(&document, "PlacementView", &placement);

    check(&document, "ShadowStatusView", &ShadowStatusView::default());
    check(&document, "HealthView", &HealthView::default());
    check(&document, "OriginRequestsView", &OriginRequestsView::default());
    let summary = UncarriedSummaryView { reason: String::new(), objects: 0, keys: vec![] };
    check(&document, "UncarriedSummaryView", &summary);
    check(&document, "UncarriedList", &UncarriedList { objects: vec![], next: None });
    let uncarried = UncarriedObjectView { key: String::new(), reasons: vec![], unreadable_headers: vec![], at: String::new() };
    check(&document, "UncarriedObjectView", &uncarried);
    check(&document, "OriginErrorView", &OriginErrorView { at: String::new(), doing: String::new(), message: String::new() });
    check(&document, "BucketList", &BucketList { buckets: vec![], next: None });
    let access_key = CreatedAccessKey { key: key(), secret_key: SecretText::new("") };
    let created =
        CreatedBucket { bucket: bucket(), access_key, endpoint: String::new(), region: String::new(), organization_created: false };
    check(&document, "CreatedBucket", &created);
}

#[test]
fn every_field_of_the_rest_is_described() {
    let document = document();
    let finding = DoctorFindingView { check: String::new(), verdict: String::new(), meaning: String::new(), advice: Some(String::new()) };
    check(&document, "DoctorFindingView", &finding);
    check(&document, "DoctorReport", &DoctorReport { healthy: true, findings: vec![finding] });
    check(&document, "CreateOrganization", &CreateOrganization { name: String::new() });
    check(&document, "OrganizationView", &OrganizationView { name: String::new(), created: String::new() });
    let replica = ReplicaView { trusted: true, behind_ms: 0 };
    check(&document, "ReplicaView", &replica);
    let (name, url, region) = ("n".into(), String::new(), "fra".into());
    let node = NodeView { name, url, region, leads: true, silent_seconds: 0, replica: Some(replica) };
    check(&document, "NodeView", &node);
    check(&document, "NodeList", &NodeList { nodes: vec![node] });
    let region = RegionView { name: "fra".into(), contents: String::new(), nodes: 1, is_own: true };
    check(&document, "RegionView", &region);
    check(&document, "RegionList", &RegionList { regions: vec![region] });
    check(&document, "OrganizationList", &OrganizationList { organizations: vec![] });
    let create = CreateAccessKey { organization: Some(String::new()), role: RoleName::Reader, bucket: Some(String::new()) };
    check(&document, "CreateAccessKey", &create);
    check(&document, "AccessKeyView", &key());
    check(&document, "CreatedAccessKey", &CreatedAccessKey { key: key(), secret_key: SecretText::new("") });
    check(&document, "AccessKeyList", &AccessKeyList { access_keys: vec![] });
    let error = ErrorBody { error: ErrorDetail { code: String::new(), message: String::new() } };
    check(&document, "ErrorBody", &error);
}

#[test]
fn every_field_of_a_job_is_described() {
    let document = document();
    let settings = JobSettings {
        prefix: "p".to_owned(),
        parallel: Some(1),
        bytes_per_second: Some(1),
        requests_per_second: Some(1),
        egress_bytes: Some(1),
        order: Some(OrderName::Key),
        deep: Some(true),
        dry_run: Some(true),
    };
    check(&document, "JobSettings", &settings);
    let (text, number) = (String::new, 0);
    let job = JobView {
        kind: text(),
        run: number,
        state: text(),
        reason: None,
        settings,
        objects_done: number,
        bytes_done: number,
        objects_left: None,
        bytes_left: None,
        objects_failed: number,
        bytes_failed: number,
        bytes_egress: number,
        tallies: vec![],
        bytes_per_second: number,
        seconds_left: None,
        started: text(),
        updated: text(),
        ended: None,
        complete_since: None,
    };
    check(&document, "JobView", &job);
    let note = JobNote { key: text(), reason: text(), attempts: 0, at: text(), size: None, differences: vec![], finding: None };
    check(&document, "JobNote", &note);
    check(&document, "TallyView", &TallyView { name: text(), objects: number, bytes: number });
    check(&document, "FindingView", &FindingView { name: text(), explained: true });
    check(&document, "JobNotes", &JobNotes { notes: vec![], next: None });
    check(&document, "DifferenceView", &DifferenceView { field: text(), local: None, origin: None });
}

fn shadow_view() -> ShadowView {
    ShadowView {
        endpoint: String::new(),
        region: String::new(),
        name: String::new(),
        write_through: false,
        hydrate: String::new(),
        revalidate_seconds: None,
        price_per_gb: None,
    }
}

fn bucket() -> BucketView {
    let text = String::new;
    BucketView { name: text(), organization: text(), created: text(), public: false, location: text(), shadow: Some(shadow_view()) }
}

fn key() -> AccessKeyView {
    AccessKeyView { access_key: String::new(), organization: None, role: RoleName::Editor, bucket: None, created: String::new() }
}

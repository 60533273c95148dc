use std::sync::Arc;

use umbra_core::{Grant, Grantee, Permission, Timestamp};

use crate::{
    BucketSettings, EventHook, EventHookKind, Extras, Lifecycle, LogKeys, Logging, RoutingRule, Website, WebsiteRedirect,
    lifecycle::{Due, Expiration, FilterForm, LifecycleFilter, LifecycleRule, NoncurrentExpiration, NoncurrentTransition, Transition},
    record::{
        bucket::{decode_settings, encode_settings},
        golden,
    },
};

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn rules() -> Vec<LifecycleRule> {
    let filter = LifecycleFilter {
        form: FilterForm::And,
        prefix: some("logs/"),
        tags: vec![("a".to_owned(), "b".to_owned())],
        larger_than: Some(10),
        smaller_than: Some(20),
    };
    let everything = LifecycleRule {
        id: "all".to_owned(),
        enabled: true,
        filter,
        expiration: Some(Expiration::Objects(Due::Date(Timestamp::from_millis(1_896_048_000_000)))),
        transitions: vec![Transition { due: Due::Days(90), class: "GLACIER".to_owned() }],
        noncurrent_expiration: Some(NoncurrentExpiration { days: 30, newer_kept: Some(3) }),
        noncurrent_transitions: vec![NoncurrentTransition { days: 7, newer_kept: None, class: "DEEP_ARCHIVE".to_owned() }],
        abort_uploads_days: Some(2),
    };
    let markers = LifecycleRule {
        id: "markers".to_owned(),
        enabled: false,
        filter: LifecycleFilter { form: FilterForm::Prefix, ..LifecycleFilter::by_prefix(some("")) },
        expiration: Some(Expiration::LoneMarkers),
        transitions: vec![],
        noncurrent_expiration: None,
        noncurrent_transitions: vec![],
        abort_uploads_days: None,
    };
    vec![everything, markers]
}

fn settings() -> BucketSettings {
    let elsewhere =
        WebsiteRedirect { host: some("b.example"), protocol: some("https"), status: Some(302), prefix: some("new/"), key: some("x.html") };
    let extras = Extras {
        lifecycle: Lifecycle { rules: rules(), small_objects_move: true },
        tags: vec![("team".to_owned(), "a".to_owned())],
        website: Some(Website {
            index: some("index.html"),
            error: some("error.html"),
            redirect_all: Some(elsewhere.clone()),
            rules: vec![RoutingRule { prefix: some("old/"), status: Some(404), redirect: elsewhere }],
        }),
        logging: Some(Logging { bucket: "logs".to_owned(), prefix: "p/".to_owned(), keys: LogKeys::ByEventTime, grants: vec![] }),
        event_hooks: vec![EventHook {
            id: "h".to_owned(),
            kind: EventHookKind::Queue,
            arn: "arn:umbra:sqs::h:webhook".to_owned(),
            events: vec!["s3:ObjectCreated:*".to_owned()],
            prefix: some("in/"),
            suffix: some(".jpg"),
        }],
        requester_pays: true,
        accelerated: Some(false),
        ..Extras::default()
    };
    BucketSettings { extras: Arc::new(extras), ..BucketSettings::default() }
}

#[test]
fn every_released_format_is_read() {
    let golden = golden::check("bucket/v1-sub-resources", Some(&encode_settings(&settings())));
    assert_eq!(decode_settings(&golden).unwrap(), settings());
}

#[test]
fn grants_on_logs_are_read() {
    let grants = vec![
        Grant { grantee: Grantee::Organization("evil".to_owned()), permission: Permission::Read },
        Grant { grantee: Grantee::Authenticated, permission: Permission::FullControl },
    ];
    let logging = Logging { bucket: "logs".to_owned(), prefix: String::new(), keys: LogKeys::Simple, grants };
    let extras = Extras { logging: Some(logging), ..Extras::default() };
    let settings = BucketSettings { extras: Arc::new(extras), ..BucketSettings::default() };
    let golden = golden::check("bucket/v1-log-grants", Some(&encode_settings(&settings)));
    assert_eq!(decode_settings(&golden).unwrap(), settings);
    golden::check_refusals(&encode_settings(&settings), decode_settings);
}

#[test]
fn damage_is_refused() {
    golden::check_refusals(&encode_settings(&settings()), decode_settings);
}

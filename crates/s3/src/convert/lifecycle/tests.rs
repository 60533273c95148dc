use s3s::{S3Error, dto};
use umbra_core::Timestamp;

use super::{shown, taken};
use crate::convert::time;

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn date(millis: i64) -> Option<dto::Timestamp> {
    Some(time::shown(Timestamp::from_millis(millis)))
}

/// A rule that ends all objects after a day.
fn rule() -> dto::LifecycleRule {
    dto::LifecycleRule {
        abort_incomplete_multipart_upload: None,
        expiration: Some(dto::LifecycleExpiration { days: Some(1), ..dto::LifecycleExpiration::default() }),
        filter: Some(dto::LifecycleRuleFilter::default()),
        id: text("r"),
        noncurrent_version_expiration: None,
        noncurrent_version_transitions: None,
        prefix: None,
        status: dto::ExpirationStatus::from_static("Enabled"),
        transitions: None,
    }
}

fn moving(days: Option<i32>, date: Option<dto::Timestamp>, class: &str) -> dto::Transition {
    dto::Transition { days, date, storage_class: Some(class.to_owned().into()) }
}

fn code(rules: Vec<dto::LifecycleRule>) -> Option<String> {
    taken(rules).err().map(|failure| S3Error::from(failure).code().as_str().to_owned())
}

#[test]
fn rules_come_back_as_they_were_written() {
    let tag = |key: &str| dto::Tag { key: text(key), value: text("v") };
    let and = dto::LifecycleRuleAndOperator {
        object_size_greater_than: Some(1),
        object_size_less_than: Some(9),
        prefix: text("p/"),
        tags: Some(vec![tag("a"), tag("b")]),
    };
    let filters = [
        dto::LifecycleRuleFilter::default(),
        dto::LifecycleRuleFilter { prefix: text("p/"), ..dto::LifecycleRuleFilter::default() },
        dto::LifecycleRuleFilter { tag: Some(tag("a")), ..dto::LifecycleRuleFilter::default() },
        dto::LifecycleRuleFilter { object_size_greater_than: Some(5), ..dto::LifecycleRuleFilter::default() },
        dto::LifecycleRuleFilter { and: Some(and), ..dto::LifecycleRuleFilter::default() },
    ];
    for filter in filters {
        let written = dto::LifecycleRule { filter: Some(filter), ..rule() };
        assert_eq!(shown(&taken(vec![written.clone()]).ok().unwrap()[0]), written);
    }
    let earlier = dto::LifecycleRule {
        prefix: text("p/"),
        filter: None,
        expiration: Some(dto::LifecycleExpiration { date: date(86_400_000), ..dto::LifecycleExpiration::default() }),
        transitions: Some(vec![moving(None, date(0), "GLACIER")]),
        noncurrent_version_expiration: Some(dto::NoncurrentVersionExpiration {
            newer_noncurrent_versions: Some(3),
            noncurrent_days: Some(40),
        }),
        noncurrent_version_transitions: Some(vec![dto::NoncurrentVersionTransition {
            newer_noncurrent_versions: None,
            noncurrent_days: Some(30),
            storage_class: Some(dto::TransitionStorageClass::from_static("STANDARD_IA")),
        }]),
        abort_incomplete_multipart_upload: Some(dto::AbortIncompleteMultipartUpload { days_after_initiation: Some(7) }),
        ..rule()
    };
    assert_eq!(shown(&taken(vec![earlier.clone()]).ok().unwrap()[0]), earlier);
}

#[test]
fn a_rule_without_a_name_gets_one() {
    let nameless = || dto::LifecycleRule { id: None, ..rule() };
    let names: Vec<_> = taken(vec![nameless(), nameless()]).ok().unwrap().into_iter().map(|rule| rule.id).collect();
    assert_ne!(names[0], names[1]);
    assert_eq!(taken(vec![nameless()]).ok().unwrap()[0].id, names[0]);
}

#[test]
fn conditions_beside_and_hold_together() {
    let tag = |key: &str| dto::Tag { key: text(key), value: text("v") };
    let and =
        dto::LifecycleRuleAndOperator { prefix: text("days1"), tags: Some(vec![tag("b")]), ..dto::LifecycleRuleAndOperator::default() };
    let filter =
        dto::LifecycleRuleFilter { prefix: text("days1/"), tag: Some(tag("a")), and: Some(and), ..dto::LifecycleRuleFilter::default() };
    let taken = taken(vec![dto::LifecycleRule { filter: Some(filter), ..rule() }]).ok().unwrap();
    assert_eq!(taken[0].filter.prefix.as_deref(), Some("days1/"));
    assert_eq!(taken[0].filter.tags.len(), 2);
}

#[test]
fn what_s3_refuses_is_refused_alike() {
    let expiring = |days, date, marker| dto::LifecycleRule {
        expiration: Some(dto::LifecycleExpiration { days, date, expired_object_delete_marker: marker }),
        ..rule()
    };
    let filtered = |filter| dto::LifecycleRule { filter: Some(filter), ..rule() };
    let moved = |transitions| dto::LifecycleRule { transitions: Some(transitions), ..rule() };
    let noncurrent = |days, kept| dto::LifecycleRule {
        noncurrent_version_expiration: Some(dto::NoncurrentVersionExpiration { noncurrent_days: days, newer_noncurrent_versions: kept }),
        ..rule()
    };
    let tagged =
        dto::LifecycleRuleFilter { tag: Some(dto::Tag { key: text("a"), value: text("b") }), ..dto::LifecycleRuleFilter::default() };
    let sizes = dto::LifecycleRuleFilter {
        object_size_greater_than: Some(5),
        object_size_less_than: Some(5),
        ..dto::LifecycleRuleFilter::default()
    };
    let long_prefix = dto::LifecycleRuleFilter { prefix: Some("p".repeat(1025)), ..dto::LifecycleRuleFilter::default() };
    let aborting = dto::LifecycleRule {
        abort_incomplete_multipart_upload: Some(dto::AbortIncompleteMultipartUpload { days_after_initiation: Some(1) }),
        ..filtered(tagged.clone())
    };
    let cases = [
        ("no rules", vec![], "MalformedXML"),
        ("too many", vec![rule(); 1001], "MalformedXML"),
        ("same name", vec![rule(), rule()], "InvalidArgument"),
        ("long name", vec![dto::LifecycleRule { id: Some("a".repeat(256)), ..rule() }], "InvalidArgument"),
        ("status", vec![dto::LifecycleRule { status: dto::ExpirationStatus::from_static("enabled"), ..rule() }], "MalformedXML"),
        ("no filter", vec![dto::LifecycleRule { filter: None, ..rule() }], "MalformedXML"),
        ("two prefixes", vec![dto::LifecycleRule { prefix: text(""), ..rule() }], "MalformedXML"),
        ("no action", vec![dto::LifecycleRule { expiration: None, ..rule() }], "InvalidRequest"),
        ("no days", vec![expiring(None, None, None)], "MalformedXML"),
        ("zero days", vec![expiring(Some(0), None, None)], "InvalidArgument"),
        ("days and date", vec![expiring(Some(1), date(0), None)], "MalformedXML"),
        ("days and marker", vec![expiring(Some(1), None, Some(true))], "MalformedXML"),
        ("not midnight", vec![expiring(None, date(1000), None)], "InvalidArgument"),
        ("sizes", vec![filtered(sizes)], "InvalidRequest"),
        ("long prefix", vec![filtered(long_prefix)], "InvalidRequest"),
        ("tagged uploads", vec![aborting], "InvalidRequest"),
        ("tagged markers", vec![dto::LifecycleRule { filter: Some(tagged), ..expiring(None, None, Some(true)) }], "InvalidRequest"),
        ("class", vec![moved(vec![moving(Some(1), None, "FAST")])], "MalformedXML"),
        ("too soon for a class", vec![moved(vec![moving(Some(29), None, "STANDARD_IA")])], "InvalidArgument"),
        ("negative days", vec![moved(vec![moving(Some(-1), None, "GLACIER")])], "InvalidArgument"),
        ("moved too late", vec![moved(vec![moving(Some(1), None, "GLACIER")])], "InvalidArgument"),
        ("mixed", vec![moved(vec![moving(None, date(0), "GLACIER")])], "InvalidRequest"),
        ("same class", vec![moved(vec![moving(Some(0), None, "GLACIER"), moving(Some(0), None, "GLACIER")])], "InvalidRequest"),
        ("noncurrent days", vec![noncurrent(Some(0), None)], "InvalidArgument"),
        ("kept versions", vec![noncurrent(Some(1), Some(101))], "InvalidArgument"),
    ];
    for (name, rules, expected) in cases {
        assert_eq!(code(rules).as_deref(), Some(expected), "{name}");
    }
}

#[test]
fn of_conditions_within_and_without_and_both_hold() {
    let sizes = |outer: (Option<i64>, Option<i64>), inner: (Option<i64>, Option<i64>)| {
        let and = dto::LifecycleRuleAndOperator {
            object_size_greater_than: inner.0,
            object_size_less_than: inner.1,
            ..dto::LifecycleRuleAndOperator::default()
        };
        let filter = dto::LifecycleRuleFilter {
            and: Some(and),
            object_size_greater_than: outer.0,
            object_size_less_than: outer.1,
            ..dto::LifecycleRuleFilter::default()
        };
        let rules = taken(vec![dto::LifecycleRule { filter: Some(filter), ..rule() }]).ok()?;
        Some((rules[0].filter.larger_than, rules[0].filter.smaller_than))
    };
    assert_eq!(sizes((Some(1), Some(90)), (Some(5), Some(70))), Some((Some(5), Some(70))));
    assert_eq!(sizes((Some(5), Some(70)), (Some(1), Some(90))), Some((Some(5), Some(70))));
    assert_eq!(sizes((None, Some(70)), (Some(1), None)), Some((Some(1), Some(70))));
    assert_eq!(sizes((Some(5), None), (None, Some(5))), None, "nothing is that size");
    assert_eq!(sizes((Some(5), None), (Some(-1), None)), None);
}

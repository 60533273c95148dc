use umbra_core::{Tags, Timestamp};

use super::{
    Aging, Due, Expiration, Lifecycle, LifecycleDay, LifecycleFilter, LifecycleRule, NoncurrentExpiration, NoncurrentTransition, Transition,
};

const DAY: LifecycleDay = LifecycleDay::Short(std::time::Duration::from_secs(1));

fn rule(id: &str, filter: LifecycleFilter) -> LifecycleRule {
    LifecycleRule {
        id: id.to_owned(),
        enabled: true,
        filter,
        expiration: None,
        transitions: vec![],
        noncurrent_expiration: None,
        noncurrent_transitions: vec![],
        abort_uploads_days: None,
    }
}

fn expiring(id: &str, filter: LifecycleFilter, days: u32) -> LifecycleRule {
    LifecycleRule { expiration: Some(Expiration::Objects(Due::Days(days))), ..rule(id, filter) }
}

fn rules(rules: Vec<LifecycleRule>) -> Lifecycle {
    Lifecycle { rules, small_objects_move: false }
}

fn object<'a>(key: &'a str, size: u64, tags: Option<&'a Tags>) -> Aging<'a> {
    Aging { key, size, since: Timestamp::from_millis(1000), tags }
}

fn tags(pairs: &[(&str, &str)]) -> Tags {
    Tags::new(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
}

#[test]
fn a_filter_wants_all_it_says() {
    let pair = |key: &str| (key.to_owned(), "1".to_owned());
    let filter = LifecycleFilter {
        prefix: Some("logs/".to_owned()),
        tags: vec![pair("a"), pair("b")],
        larger_than: Some(10),
        smaller_than: Some(20),
        ..LifecycleFilter::default()
    };
    let both = tags(&[("a", "1"), ("b", "1"), ("c", "2")]);
    let cases = [
        ("logs/x", 11, Some(both.clone()), true),
        ("logs/x", 11, None, true),
        ("log/x", 11, Some(both.clone()), false),
        ("logs/x", 10, Some(both.clone()), false),
        ("logs/x", 20, Some(both.clone()), false),
        ("logs/x", 19, Some(tags(&[("a", "1")])), false),
        ("logs/x", 19, Some(tags(&[("a", "1"), ("b", "2")])), false),
        ("logs/x", 19, Some(Tags::default()), false),
    ];
    for (key, size, tags, expected) in cases {
        assert_eq!(filter.matches(&object(key, size, tags.as_ref())), expected, "{key} {size} {tags:?}");
    }
    assert!(LifecycleFilter::default().matches(&object("anything", 0, Some(&Tags::default()))));
}

#[test]
fn the_soonest_rule_that_is_on_ends_an_object() {
    let all = LifecycleFilter::default;
    let mut off = expiring("off", all(), 1);
    off.enabled = false;
    let date = LifecycleRule { expiration: Some(Expiration::Objects(Due::Date(Timestamp::from_millis(500_000)))), ..rule("date", all()) };
    let lifecycle = rules(vec![off, expiring("late", all(), 9), date, expiring("soon", LifecycleFilter::by_prefix(Some("a".into())), 4)]);
    let told = |key: &str| lifecycle.expiry(&object(key, 1, None), DAY).map(|(at, rule)| (at.as_millis(), rule.id.as_str()));
    assert_eq!(told("a"), Some((5000, "soon")));
    assert_eq!(told("b"), Some((10_000, "late")));
    assert_eq!(rules(vec![]).expiry(&object("a", 1, None), DAY), None);
}

#[test]
fn objects_only_become_colder() {
    let to = |days: u32, class: &str| Transition { due: Due::Days(days), class: class.to_owned() };
    let filter = LifecycleFilter { larger_than: Some(0), ..LifecycleFilter::default() };
    let moving = LifecycleRule { transitions: vec![to(1, "STANDARD_IA"), to(5, "GLACIER")], ..rule("r", filter) };
    let lifecycle = rules(vec![moving]);
    let at = |class, ms| lifecycle.transition(&object("k", 9, None), class, Timestamp::from_millis(ms), DAY);
    assert_eq!(at(None, 1999), None);
    assert_eq!(at(None, 2000), Some("STANDARD_IA"));
    assert_eq!(at(None, 6000), Some("GLACIER"));
    assert_eq!(at(Some("STANDARD_IA"), 2000), None);
    assert_eq!(at(Some("DEEP_ARCHIVE"), 6000), None);
    assert_eq!(at(Some("SOMETHING_ELSE"), 6000), None);
}

#[test]
fn small_objects_stay_unless_a_rule_speaks_of_size() {
    let to = |class: &str| Transition { due: Due::Days(1), class: class.to_owned() };
    let moving = |class: &str, filter| LifecycleRule { transitions: vec![to(class)], ..rule("r", filter) };
    let sized = LifecycleFilter { smaller_than: Some(100), ..LifecycleFilter::default() };
    let cases = [
        (moving("GLACIER", LifecycleFilter::default()), false, 128 * 1024 - 1, false),
        (moving("GLACIER", LifecycleFilter::default()), false, 128 * 1024, true),
        (moving("GLACIER", LifecycleFilter::default()), true, 1, true),
        (moving("STANDARD_IA", LifecycleFilter::default()), true, 1, false),
        (moving("STANDARD_IA", sized), false, 1, true),
    ];
    for (rule, small_objects_move, size, expected) in cases {
        let lifecycle = Lifecycle { rules: vec![rule.clone()], small_objects_move };
        let moved = lifecycle.transition(&object("k", size, None), None, Timestamp::from_millis(9000), DAY);
        assert_eq!(moved.is_some(), expected, "{rule:?} {size}");
    }
}

#[test]
fn the_youngest_noncurrent_versions_can_be_kept() {
    let all = LifecycleFilter { larger_than: Some(0), ..LifecycleFilter::default() };
    let ending = LifecycleRule {
        noncurrent_expiration: Some(NoncurrentExpiration { days: 2, newer_kept: Some(3) }),
        noncurrent_transitions: vec![NoncurrentTransition { days: 1, newer_kept: None, class: "GLACIER".to_owned() }],
        ..rule("r", all)
    };
    let lifecycle = rules(vec![ending]);
    let ends = |newer| lifecycle.noncurrent_expiry(&object("k", 1, None), newer, DAY).map(|(at, _)| at.as_millis());
    assert_eq!([ends(0), ends(2), ends(3)], [None, None, Some(3000)]);
    let class = |ms| lifecycle.noncurrent_transition(&object("k", 1, None), 0, None, Timestamp::from_millis(ms), DAY);
    assert_eq!([class(1999), class(2000)], [None, Some("GLACIER")]);
}

#[test]
fn lone_markers_end_at_once_or_with_age() {
    let markers = LifecycleRule { expiration: Some(Expiration::LoneMarkers), ..rule("m", LifecycleFilter::default()) };
    let tagged = LifecycleFilter { tags: vec![("a".into(), "b".into())], ..LifecycleFilter::default() };
    let ends = |rule| rules(vec![rule]).marker_expiry(&object("k", 0, None), DAY).map(|(at, _)| at.as_millis());
    assert_eq!(ends(markers), Some(1000));
    assert_eq!(ends(expiring("days", LifecycleFilter::default(), 3)), Some(4000));
    assert_eq!(ends(expiring("tags", tagged, 3)), None);
}

#[test]
fn uploads_end_by_the_soonest_rule() {
    let aborting = |id: &str, prefix: &str, days| LifecycleRule {
        abort_uploads_days: Some(days),
        ..rule(id, LifecycleFilter::by_prefix(Some(prefix.to_owned())))
    };
    let lifecycle = rules(vec![aborting("all", "", 9), aborting("some", "tmp/", 2)]);
    let ends =
        |key: &str| lifecycle.upload_expiry(key, Timestamp::from_millis(0), DAY).map(|(at, rule)| (at.as_millis(), rule.id.as_str()));
    assert_eq!(ends("tmp/x"), Some((2000, "some")));
    assert_eq!(ends("x"), Some((9000, "all")));
}

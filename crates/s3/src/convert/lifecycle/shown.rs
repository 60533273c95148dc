//! Rules on their way out.

use s3s::dto;
use umbra_store::lifecycle::{Due, Expiration, FilterForm, LifecycleFilter, LifecycleRule};

use crate::convert::time;

/// A rule, written as it was set.
pub(crate) fn shown(rule: &LifecycleRule) -> dto::LifecycleRule {
    let status = if rule.enabled { dto::ExpirationStatus::ENABLED } else { dto::ExpirationStatus::DISABLED };
    let (prefix, filter) = filter(&rule.filter);
    let transitions = rule.transitions.iter().map(|transition| {
        let (days, date) = due(transition.due);
        dto::Transition { days, date, storage_class: Some(transition.class.clone().into()) }
    });
    let noncurrent = rule.noncurrent_transitions.iter().map(|transition| dto::NoncurrentVersionTransition {
        newer_noncurrent_versions: transition.newer_kept.map(number),
        noncurrent_days: Some(number(transition.days)),
        storage_class: Some(transition.class.clone().into()),
    });
    dto::LifecycleRule {
        abort_incomplete_multipart_upload: rule
            .abort_uploads_days
            .map(|days| dto::AbortIncompleteMultipartUpload { days_after_initiation: Some(number(days)) }),
        expiration: rule.expiration.as_ref().map(expiration),
        filter,
        id: Some(rule.id.clone()),
        noncurrent_version_expiration: rule.noncurrent_expiration.map(|expiration| dto::NoncurrentVersionExpiration {
            newer_noncurrent_versions: expiration.newer_kept.map(number),
            noncurrent_days: Some(number(expiration.days)),
        }),
        noncurrent_version_transitions: some(noncurrent.collect()),
        prefix,
        status: status.to_owned().into(),
        transitions: some(transitions.collect()),
    }
}

fn filter(filter: &LifecycleFilter) -> (Option<String>, Option<dto::LifecycleRuleFilter>) {
    let LifecycleFilter { form, prefix, tags, larger_than, smaller_than } = filter.clone();
    if form == FilterForm::Prefix {
        return (prefix, None);
    }
    let bytes = |count: Option<u64>| count.and_then(|count| i64::try_from(count).ok());
    let (larger, smaller) = (bytes(larger_than), bytes(smaller_than));
    let mut tags: Vec<_> = tags.into_iter().map(|(key, value)| dto::Tag { key: Some(key), value: Some(value) }).collect();
    let conditions = usize::from(prefix.is_some()) + tags.len() + usize::from(larger.is_some()) + usize::from(smaller.is_some());
    let shown = if form == FilterForm::And || conditions > 1 {
        let and =
            dto::LifecycleRuleAndOperator { object_size_greater_than: larger, object_size_less_than: smaller, prefix, tags: some(tags) };
        dto::LifecycleRuleFilter { and: Some(and), ..dto::LifecycleRuleFilter::default() }
    } else {
        dto::LifecycleRuleFilter {
            object_size_greater_than: larger,
            object_size_less_than: smaller,
            prefix,
            tag: tags.pop(),
            ..dto::LifecycleRuleFilter::default()
        }
    };
    (None, Some(shown))
}

fn expiration(expiration: &Expiration) -> dto::LifecycleExpiration {
    match expiration {
        Expiration::Objects(when) => {
            let (days, date) = due(*when);
            dto::LifecycleExpiration { days, date, ..dto::LifecycleExpiration::default() }
        }
        Expiration::LoneMarkers => {
            dto::LifecycleExpiration { expired_object_delete_marker: Some(true), ..dto::LifecycleExpiration::default() }
        }
    }
}

fn due(due: Due) -> (Option<i32>, Option<dto::Timestamp>) {
    match due {
        Due::Days(days) => (Some(number(days)), None),
        Due::Date(date) => (None, Some(time::shown(date))),
    }
}

/// Numbers came as this type, or from where they are small.
fn number(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

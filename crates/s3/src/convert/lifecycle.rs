//! Lifecycle rules, as S3 writes them.

mod shown;

use std::collections::HashSet;

use http::StatusCode;
use md5::{Digest as _, Md5};
use s3s::{S3Error, S3ErrorCode, dto};
use umbra_core::{Error, Fault, Tags, Timestamp, limits};
use umbra_store::lifecycle::{
    Due, Expiration, FilterForm, LifecycleFilter, LifecycleRule, NoncurrentExpiration, NoncurrentTransition, Transition,
};

pub(crate) use shown::shown;

use super::{tags, time};
use crate::error::Failure;

/// Rules of one bucket. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/how-to-set-lifecycle-configuration-intro.html>
const RULES_MAX: usize = 1000;
/// Characters of a rule's name.
const ID_CHARACTERS_MAX: usize = 255;
/// Versions that a rule may keep.
const NEWER_KEPT_MAX: i32 = 100;
/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;
/// The classes that objects move to, and after how many days at the earliest.
const CLASSES: [(&str, i32); 6] =
    [("STANDARD_IA", 30), ("ONEZONE_IA", 30), ("INTELLIGENT_TIERING", 0), ("GLACIER_IR", 0), ("GLACIER", 0), ("DEEP_ARCHIVE", 0)];

/// The rules of a document.
pub(crate) fn taken(rules: Vec<dto::LifecycleRule>) -> Result<Vec<LifecycleRule>, Failure> {
    if rules.is_empty() || rules.len() > RULES_MAX {
        return Err(malformed());
    }
    let mut ids = HashSet::new();
    let mut taken = Vec::with_capacity(rules.len());
    for rule in rules {
        let rule = rule_taken(rule, taken.len())?;
        if !ids.insert(rule.id.clone()) {
            return Err(argument("Rule ID must be unique. Found same ID for more than one rule"));
        }
        taken.push(rule);
    }
    Ok(taken)
}

fn rule_taken(rule: dto::LifecycleRule, place: usize) -> Result<LifecycleRule, Failure> {
    let enabled = match rule.status.as_str() {
        dto::ExpirationStatus::ENABLED => true,
        dto::ExpirationStatus::DISABLED => false,
        _ => return Err(malformed()),
    };
    let id = rule.id.clone().filter(|id| !id.is_empty()).unwrap_or_else(|| name_of(&rule, place));
    if id.chars().count() > ID_CHARACTERS_MAX {
        return Err(argument("ID length should not exceed allowed limit of 255"));
    }
    let filter = filter(rule.prefix, rule.filter)?;
    let taken = LifecycleRule {
        id,
        enabled,
        expiration: rule.expiration.map(expiration).transpose()?.flatten(),
        transitions: rule.transitions.unwrap_or_default().into_iter().map(transition).collect::<Result<_, _>>()?,
        noncurrent_expiration: rule.noncurrent_version_expiration.map(noncurrent_expiration).transpose()?,
        noncurrent_transitions: rule
            .noncurrent_version_transitions
            .unwrap_or_default()
            .into_iter()
            .map(noncurrent_transition)
            .collect::<Result<_, _>>()?,
        abort_uploads_days: rule
            .abort_incomplete_multipart_upload
            .map(|abort| positive(abort.days_after_initiation, "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action"))
            .transpose()?,
        filter,
    };
    check(&taken)?;
    Ok(taken)
}

/// A name for a rule that came without one: the same for the same rule, so that setting it twice changes nothing.
fn name_of(rule: &dto::LifecycleRule, place: usize) -> String {
    let digest = Md5::digest(format!("{place} {rule:?}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// S3 wants exactly one condition, or `And` with several; here several without it hold together as well.
fn filter(prefix: Option<String>, filter: Option<dto::LifecycleRuleFilter>) -> Result<LifecycleFilter, Failure> {
    let (Some(filter), None) = (&filter, &prefix) else {
        return match (prefix, filter) {
            (Some(prefix), None) => {
                Ok(LifecycleFilter { form: FilterForm::Prefix, ..LifecycleFilter::by_prefix(Some(checked_prefix(prefix)?)) })
            }
            _ => Err(malformed()),
        };
    };
    let dto::LifecycleRuleFilter { and, object_size_greater_than, object_size_less_than, prefix, tag, .. } = filter.clone();
    let form = if and.is_some() { FilterForm::And } else { FilterForm::One };
    let and = and.unwrap_or_default();
    let (outer, inner) = (prefix.map(checked_prefix).transpose()?, and.prefix.map(checked_prefix).transpose()?);
    let prefix = match (outer, inner) {
        // Of two that must both hold the longer says it all, unless they contradict each other.
        (Some(outer), Some(inner)) if outer.starts_with(&inner) => Some(outer),
        (Some(outer), Some(inner)) if inner.starts_with(&outer) => Some(inner),
        (Some(_), Some(_)) => return Err(malformed()),
        (outer, inner) => outer.or(inner),
    };
    let tags = tags::from_set(tag.into_iter().chain(and.tags.unwrap_or_default()).collect())?;
    let bytes = |bytes: Option<i64>| bytes.map(u64::try_from).transpose().map_err(|_| malformed());
    // Of two that must both hold the narrower says it all.
    let larger_than = bytes(object_size_greater_than)?.max(bytes(and.object_size_greater_than)?);
    let smaller_than = [bytes(object_size_less_than)?, bytes(and.object_size_less_than)?].into_iter().flatten().min();
    if larger_than.zip(smaller_than).is_some_and(|(larger, smaller)| smaller <= larger) {
        return Err(request("'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'."));
    }
    Ok(LifecycleFilter { form, prefix, tags: pairs(&tags), larger_than, smaller_than })
}

fn pairs(tags: &Tags) -> Vec<(String, String)> {
    tags.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn checked_prefix(prefix: String) -> Result<String, Failure> {
    if prefix.len() > limits::KEY_BYTES_MAX { Err(request("The maximum size of a prefix is 1024.")) } else { Ok(prefix) }
}

/// `None` for an expiration that says only that delete markers do not end.
fn expiration(expiration: dto::LifecycleExpiration) -> Result<Option<Expiration>, Failure> {
    match (expiration.days, expiration.date, expiration.expired_object_delete_marker) {
        (Some(days), None, None) => {
            let days = positive(Some(days), "'Days' for Expiration action")?;
            Ok(Some(Expiration::Objects(Due::Days(days))))
        }
        (None, Some(date), None) => Ok(Some(Expiration::Objects(Due::Date(midnight(&date)?)))),
        (None, None, Some(true)) => Ok(Some(Expiration::LoneMarkers)),
        (None, None, Some(false)) => Ok(None),
        _ => Err(malformed()),
    }
}

fn transition(transition: dto::Transition) -> Result<Transition, Failure> {
    let (class, days_min) = class(transition.storage_class.as_ref())?;
    let due = match (transition.days, transition.date) {
        (Some(days), None) => Due::Days(since(days, days_min, &class)?),
        (None, Some(date)) => Due::Date(midnight(&date)?),
        _ => return Err(malformed()),
    };
    Ok(Transition { due, class })
}

fn noncurrent_expiration(expiration: dto::NoncurrentVersionExpiration) -> Result<NoncurrentExpiration, Failure> {
    let days = positive(expiration.noncurrent_days, "'NoncurrentDays' for NoncurrentVersionExpiration action")?;
    Ok(NoncurrentExpiration { days, newer_kept: newer_kept(expiration.newer_noncurrent_versions)? })
}

fn noncurrent_transition(transition: dto::NoncurrentVersionTransition) -> Result<NoncurrentTransition, Failure> {
    let (class, days_min) = class(transition.storage_class.as_ref())?;
    let days = since(transition.noncurrent_days.ok_or_else(malformed)?, days_min, &class)?;
    Ok(NoncurrentTransition { days, newer_kept: newer_kept(transition.newer_noncurrent_versions)?, class })
}

fn newer_kept(count: Option<i32>) -> Result<Option<u32>, Failure> {
    let Some(count) = count else { return Ok(None) };
    let kept = u32::try_from(count).ok().filter(|_| (1..=NEWER_KEPT_MAX).contains(&count));
    kept.map(Some).ok_or_else(|| argument("'NewerNoncurrentVersions' must be between 1 and 100"))
}

fn class(class: Option<&dto::TransitionStorageClass>) -> Result<(String, i32), Failure> {
    let class = class.ok_or_else(malformed)?.as_str();
    let known = CLASSES.iter().find(|(name, _)| *name == class).ok_or_else(malformed)?;
    Ok((class.to_owned(), known.1))
}

fn since(days: i32, days_min: i32, class: &str) -> Result<u32, Failure> {
    let days = u32::try_from(days).map_err(|_| argument("'Days' in Transition action must be nonnegative"))?;
    if days < days_min.unsigned_abs() {
        let message = format!("'Days' in Transition action must be greater than or equal to {days_min} for storageClass '{class}'");
        return Err(argument(&message));
    }
    Ok(days)
}

fn positive(days: Option<i32>, what: &str) -> Result<u32, Failure> {
    let days = days.ok_or_else(malformed)?;
    u32::try_from(days).ok().filter(|days| *days > 0).ok_or_else(|| argument(&format!("{what} must be a positive integer")))
}

fn midnight(date: &dto::Timestamp) -> Result<Timestamp, Failure> {
    let date = time::taken(date);
    if date.as_millis().rem_euclid(DAY_MS) == 0 { Ok(date) } else { Err(argument("'Date' must be at midnight GMT")) }
}

/// What the members of a rule must be to each other.
fn check(rule: &LifecycleRule) -> Result<(), Failure> {
    let acts = rule.expiration.is_some()
        || !rule.transitions.is_empty()
        || rule.noncurrent_expiration.is_some()
        || !rule.noncurrent_transitions.is_empty()
        || rule.abort_uploads_days.is_some();
    if !acts {
        return Err(request("At least one action needs to be specified in a rule"));
    }
    if !rule.filter.is_by_prefix() && rule.abort_uploads_days.is_some() {
        return Err(request("AbortIncompleteMultipartUpload cannot be specified with Tags or object sizes"));
    }
    if !rule.filter.tags.is_empty() && rule.expiration == Some(Expiration::LoneMarkers) {
        return Err(request("ExpiredObjectDeleteMarker cannot be specified with Tags"));
    }
    check_classes(rule.transitions.iter().map(|transition| transition.class.as_str()), "Transition")?;
    check_classes(rule.noncurrent_transitions.iter().map(|transition| transition.class.as_str()), "NoncurrentVersionTransition")?;
    check_order(rule)
}

fn check_classes<'a>(mut classes: impl Iterator<Item = &'a str>, action: &str) -> Result<(), Failure> {
    let mut seen = HashSet::new();
    let message = || request(&format!("'StorageClass' must be different for '{action}' actions in same 'Rule'"));
    if classes.all(|class| seen.insert(class)) { Ok(()) } else { Err(message()) }
}

/// What moves must have done so before it ends, and both are said in days or both in dates.
fn check_order(rule: &LifecycleRule) -> Result<(), Failure> {
    let end = rule.expiration.as_ref().and_then(Expiration::due);
    let dues: Vec<Due> = rule.transitions.iter().map(|transition| transition.due).chain(end).collect();
    if dues.iter().any(|due| matches!(due, Due::Days(_))) && dues.iter().any(|due| matches!(due, Due::Date(_))) {
        return Err(request("Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule"));
    }
    let too_soon = rule.transitions.iter().any(|transition| match (transition.due, end) {
        (Due::Days(moved), Some(Due::Days(ended))) => ended <= moved,
        (Due::Date(moved), Some(Due::Date(ended))) => ended <= moved,
        _ => false,
    });
    if too_soon {
        return Err(argument("'Days' in the Expiration action must be greater than 'Days' in the Transition action"));
    }
    let end = rule.noncurrent_expiration.map(|expiration| expiration.days);
    if rule.noncurrent_transitions.iter().any(|transition| end.is_some_and(|end| end <= transition.days)) {
        return Err(argument(
            "'NoncurrentDays' in the NoncurrentVersionExpiration action must be greater than 'NoncurrentDays' in the NoncurrentVersionTransition action",
        ));
    }
    Ok(())
}

fn malformed() -> Failure {
    let mut error = S3Error::new(S3ErrorCode::MalformedXML);
    error.set_status_code(StatusCode::BAD_REQUEST);
    error.into()
}

fn argument(message: &str) -> Failure {
    Error::invalid(Fault::InvalidArgument, message).into()
}

fn request(message: &str) -> Failure {
    Error::invalid(Fault::InvalidRequest, message).into()
}

#[cfg(test)]
mod tests;

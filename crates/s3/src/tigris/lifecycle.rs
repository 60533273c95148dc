//! Lifecycle rules as Tigris's clients write them.

use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime, macros::format_description};
use umbra_core::{Error, Fault, Result, Timestamp};
use umbra_store::lifecycle::{Due, Expiration as Ending, LifecycleFilter, LifecycleRule, Transition as Move};

/// Rules of one bucket, as Tigris has it.
const RULES_MAX: usize = 10;
/// The longest name of a rule; S3 has the same.
const ID_CHARACTERS_MAX: usize = 255;
/// The longest prefix: that of a key.
const PREFIX_BYTES_MAX: usize = 1024;
/// The classes objects can move to.
const CLASSES: [&str; 3] = ["STANDARD_IA", "GLACIER", "GLACIER_IR"];
/// A rule that is carried out.
const ENABLED: u8 = 1;
/// A rule that is not.
const DISABLED: u8 = 2;

/// One of `lifecycle_rules`.
#[derive(Deserialize, Serialize)]
pub(super) struct Rule {
    id: String,
    status: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    transitions: Vec<Transition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<Expiration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<Filter>,
}

#[derive(Deserialize, Serialize)]
struct Transition {
    storage_class: String,
    #[serde(flatten)]
    due: When,
}

#[derive(Deserialize, Serialize)]
struct Expiration {
    #[serde(flatten)]
    due: When,
    /// Follows the rule's status in everything Tigris's clients write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
}

#[derive(Deserialize, Serialize)]
struct When {
    #[serde(skip_serializing_if = "Option::is_none")]
    days: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Filter {
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
}

/// The rules as they are shown: those that can be said in this way. The others are S3's to show.
pub(super) fn shown(rules: &[LifecycleRule]) -> Vec<Rule> {
    let when = |due: Due| match due {
        Due::Days(days) => When { days: Some(days), date: None },
        Due::Date(date) => When { days: None, date: Some(day(date)) },
    };
    let rule = |rule: &LifecycleRule| Rule {
        id: rule.id.clone(),
        status: if rule.enabled { ENABLED } else { DISABLED },
        transitions: rule.transitions.iter().map(|to| Transition { storage_class: to.class.clone(), due: when(to.due) }).collect(),
        expiration: rule.expiration.as_ref().and_then(Ending::due).map(|due| Expiration { due: when(due), enabled: Some(rule.enabled) }),
        filter: rule.filter.prefix.clone().map(|prefix| Filter { prefix: Some(prefix) }),
    };
    rules.iter().filter(|rule| is_sayable(rule)).map(rule).collect()
}

/// What becomes of `rules` when a client sets `new` ones: those that it could not have seen stay.
pub(super) fn replaced(rules: &[LifecycleRule], new: &[LifecycleRule]) -> Vec<LifecycleRule> {
    let stays = |rule: &&LifecycleRule| !is_sayable(rule) && new.iter().all(|new| new.id != rule.id);
    rules.iter().filter(stays).chain(new).cloned().collect()
}

fn is_sayable(rule: &LifecycleRule) -> bool {
    rule.filter.is_by_prefix()
        && rule.transitions.len() <= 1
        && rule.transitions.iter().all(|to| CLASSES.contains(&to.class.as_str()))
        && rule.expiration.as_ref().is_none_or(|expiration| expiration.due().is_some())
        && (rule.expiration.is_some() || !rule.transitions.is_empty())
        && rule.noncurrent_expiration.is_none()
        && rule.noncurrent_transitions.is_empty()
        && rule.abort_uploads_days.is_none()
}

fn day(date: Timestamp) -> String {
    let day = OffsetDateTime::from_unix_timestamp(date.as_secs()).unwrap_or(OffsetDateTime::UNIX_EPOCH).date();
    day.to_string()
}

/// The rules that `document` sets.
pub(super) fn taken(document: Vec<Rule>) -> Result<Vec<LifecycleRule>> {
    if document.len() > RULES_MAX {
        return Err(refused(format!("a bucket has at most {RULES_MAX} lifecycle rules")));
    }
    document.into_iter().map(taken_rule).collect()
}

fn taken_rule(rule: Rule) -> Result<LifecycleRule> {
    let Rule { id, status, transitions, expiration, filter } = rule;
    let prefix = filter.and_then(|filter| filter.prefix).filter(|prefix| !prefix.is_empty());
    if id.is_empty() || id.chars().count() > ID_CHARACTERS_MAX || prefix.as_ref().is_some_and(|prefix| prefix.len() > PREFIX_BYTES_MAX) {
        return Err(refused("a lifecycle rule has a name of up to 255 characters and a prefix of up to 1024 bytes"));
    }
    if !matches!(status, ENABLED | DISABLED) {
        return Err(refused("the status of a lifecycle rule is 1 (on) or 2 (off)"));
    }
    let mut transitions = transitions.into_iter();
    let transition = transitions.next().map(|Transition { storage_class, due: when }| {
        if !CLASSES.contains(&storage_class.as_str()) {
            return Err(refused(format!("objects move to one of {}, not to {storage_class:?}", CLASSES.join(", "))));
        }
        Ok(Move { due: due(when)?, class: storage_class })
    });
    if transitions.next().is_some() {
        return Err(refused("a lifecycle rule has at most one transition"));
    }
    // An expiration that is off while its rule is on is none.
    let enabled = status == ENABLED;
    let expiration = expiration.filter(|expiration| !enabled || expiration.enabled != Some(false));
    let expiration = expiration.map(|expiration| due(expiration.due).map(Ending::Objects)).transpose()?;
    let transition = transition.transpose()?;
    if transition.is_none() && expiration.is_none() {
        return Err(refused("a lifecycle rule has a transition or an expiration"));
    }
    Ok(LifecycleRule {
        id,
        enabled,
        filter: LifecycleFilter::by_prefix(prefix),
        expiration,
        transitions: transition.into_iter().collect(),
        noncurrent_expiration: None,
        noncurrent_transitions: Vec::new(),
        abort_uploads_days: None,
    })
}

fn due(when: When) -> Result<Due> {
    match when {
        When { days: Some(days), date: None } if days > 0 => Ok(Due::Days(days)),
        When { days: None, date: Some(date) } => {
            let day = date.get(..10).filter(|_| date.len() == 10 || date[10..].starts_with('T'));
            let day = day.and_then(|day| Date::parse(day, format_description!("[year]-[month]-[day]")).ok());
            let day = day.filter(|_| date.len() <= 32).ok_or_else(|| refused("a date is written as 2030-01-31"))?;
            let seconds = day.midnight().assume_utc().unix_timestamp();
            Ok(Due::Date(Timestamp::from_millis(seconds.saturating_mul(1000))))
        }
        _ => Err(refused("a lifecycle rule is due after a number of days or on a date")),
    }
}

fn refused(message: impl Into<String>) -> Error {
    Error::invalid(Fault::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use umbra_store::lifecycle::LifecycleRule;

    use super::{Rule, replaced, shown, taken};

    #[test]
    fn rules_come_back_as_they_were_written() {
        let rules = json!([
            { "id": "a", "status": 1, "transitions": [{ "storage_class": "GLACIER", "days": 90 }],
              "expiration": { "days": 365, "enabled": true }, "filter": { "prefix": "logs/" } },
            { "id": "b", "status": 2, "expiration": { "date": "2030-01-31", "enabled": false } },
        ]);
        let stored = taken(from_value(rules.clone()).unwrap()).unwrap();
        assert_eq!(to_value(shown(&stored)).unwrap(), rules);
    }

    #[test]
    fn rules_that_only_s3_can_say_stay() {
        let rules = |ids: &[&str]| {
            let rule = |id: &&str| json!({ "id": id, "status": 1, "expiration": { "days": 1, "enabled": true } });
            taken(from_value(ids.iter().map(rule).collect()).unwrap()).unwrap()
        };
        let unsayable = |rule: LifecycleRule| LifecycleRule { abort_uploads_days: Some(1), ..rule };
        let mut before = rules(&["seen", "unseen", "both"]);
        before[1] = unsayable(before[1].clone());
        before[2] = unsayable(before[2].clone());
        assert_eq!(to_value(shown(&before)).unwrap().as_array().unwrap().len(), 1);
        let after: Vec<_> = replaced(&before, &rules(&["new", "both"])).into_iter().map(|rule| rule.id).collect();
        assert_eq!(after, ["unseen", "new", "both"]);
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        let expires = json!({ "days": 1, "enabled": true });
        let bad = [
            json!([{ "id": "", "status": 1, "expiration": expires }]),
            json!([{ "id": "a", "status": 3, "expiration": expires }]),
            json!([{ "id": "a", "status": 1 }]),
            json!([{ "id": "a", "status": 1, "expiration": { "days": 0 } }]),
            json!([{ "id": "a", "status": 1, "expiration": { "date": "tomorrow" } }]),
            json!([{ "id": "a", "status": 1, "expiration": { "date": "2030-02-31" } }]),
            json!([{ "id": "a", "status": 1, "expiration": { "date": "2030-01-é1" } }]),
            json!([{ "id": "a", "status": 1, "transitions": [{ "storage_class": "FAST", "days": 1 }] }]),
            json!([{ "id": "a", "status": 1, "transitions": [{ "storage_class": "GLACIER" }] }]),
            json!([{ "id": "a", "status": 1, "expiration": expires, "filter": { "prefix": "p".repeat(1025) } }]),
            json!(vec![json!({ "id": "a", "status": 1, "expiration": expires }); 11]),
        ];
        for rules in bad {
            let document: Vec<Rule> = from_value(rules.clone()).unwrap();
            assert!(taken(document).is_err(), "{rules:.200}");
        }
    }
}

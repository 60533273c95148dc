//! What a statement asks of a request beside who, what and where.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>

use std::{cmp::Ordering, net::IpAddr};

use serde_json::Value;
use time::{Date, OffsetDateTime, Time, format_description::well_known::Iso8601};

use super::{
    Malformed,
    effort::Effort,
    keys::{canonical, is_known, is_of_existing_tag},
    pattern::{Pattern, Style},
};
use crate::network::Network;

/// One key that one operator holds against values.
#[derive(Debug)]
pub(super) struct Condition {
    key: String,
    operator: Operator,
    /// Whether it holds where the operator does not.
    is_negated: bool,
    /// Whether it holds for requests without the key.
    if_exists: bool,
    set: Set,
    values: Vec<Wanted>,
}

/// Which of several values of a request must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    /// One, as there is one.
    One,
    /// `ForAnyValue`.
    Any,
    /// `ForAllValues`: every one, or there is none.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Text { folds: bool, wildcards: bool },
    Arn,
    Number(Order),
    Date(Order),
    Bool,
    Address,
    Null,
}

/// How a value must stand to the one of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug)]
enum Wanted {
    Text(Pattern),
    Number(f64),
    Date(OffsetDateTime),
    Bool(bool),
    Address(Network),
}

impl Condition {
    /// Takes what one operator says of one key.
    pub(super) fn parse(operator: &str, key: &str, values: &Value, variables: bool) -> Result<Self, Malformed> {
        let (set, name) = match operator.split_once(':') {
            Some(("ForAnyValue", name)) => (Set::Any, name),
            Some(("ForAllValues", name)) => (Set::All, name),
            Some(_) => return unknown(operator),
            None => (Set::One, operator),
        };
        let (name, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |name| (name, true));
        let Some((kind, is_negated)) = named(name).filter(|(kind, _)| *kind != Operator::Null || !if_exists) else {
            return unknown(operator);
        };
        let key = canonical(key);
        if !is_known(&key) {
            return Malformed::because(format!("Policy has an invalid condition key: {key}"));
        }
        let values = match values {
            Value::Array(list) if !list.is_empty() => {
                list.iter().map(|value| Wanted::parse(kind, value, variables)).collect::<Result<_, _>>()?
            }
            one => vec![Wanted::parse(kind, one, variables)?],
        };
        Ok(Self { key, operator: kind, is_negated, if_exists, set, values })
    }

    /// Whether it holds for a request.
    pub(super) fn holds(&self, effort: &Effort<'_>) -> bool {
        let given = effort.values(&self.key);
        if self.operator == Operator::Null {
            return self.values.iter().any(|wanted| matches!(wanted, Wanted::Bool(is_absent) if *is_absent == given.is_empty()));
        }
        if given.is_empty() {
            return match self.set {
                Set::All => true,
                Set::Any => self.if_exists,
                Set::One => self.if_exists || self.is_negated,
            };
        }
        let is_wanted = |given: &String| self.values.iter().any(|wanted| wanted.is(self.operator, given, effort));
        match (self.set, self.is_negated) {
            (Set::One | Set::Any, false) => given.iter().any(is_wanted),
            (Set::One, true) => !given.iter().any(is_wanted),
            (Set::Any, true) => !given.iter().all(is_wanted),
            (Set::All, negated) => given.iter().all(|given| is_wanted(given) != negated),
        }
    }

    /// Whether it leaves so few requests that what it guards is not public.
    pub(super) fn narrows(&self) -> bool {
        const FIXING: [&str; 12] = [
            "aws:principalaccount",
            "aws:principalarn",
            "aws:principalorgid",
            "aws:principalorgpaths",
            "aws:sourceaccount",
            "aws:sourcearn",
            "aws:sourceip",
            "aws:sourceorgid",
            "aws:sourcevpc",
            "aws:sourcevpce",
            "aws:userid",
            "aws:username",
        ];
        let is_fixed = |wanted: &Wanted| match wanted {
            Wanted::Text(pattern) => pattern.is_fixed(),
            Wanted::Address(network) => !network.is_broad(),
            _ => false,
        };
        FIXING.contains(&self.key.as_str())
            && !self.is_negated
            && !self.if_exists
            && self.set != Set::All
            && self.operator != Operator::Null
            && self.values.iter().all(is_fixed)
    }

    /// Whether it asks for what is told of one object and not of its bucket.
    pub(super) fn is_of_objects(&self) -> bool {
        self.key == "s3:versionid" || self.asks_for_tags()
    }

    /// Whether it asks for the tags that an object has.
    pub(super) fn asks_for_tags(&self) -> bool {
        let asks = |wanted: &Wanted| match wanted {
            Wanted::Text(pattern) => pattern.variables().any(is_of_existing_tag),
            _ => false,
        };
        is_of_existing_tag(&self.key) || self.values.iter().any(asks)
    }
}

/// The operator of this name, and whether it is the opposite of one.
fn named(name: &str) -> Option<(Operator, bool)> {
    let text = |folds, wildcards| Operator::Text { folds, wildcards };
    Some(match name {
        "StringEquals" => (text(false, false), false),
        "StringNotEquals" => (text(false, false), true),
        "StringEqualsIgnoreCase" => (text(true, false), false),
        "StringNotEqualsIgnoreCase" => (text(true, false), true),
        "StringLike" => (text(false, true), false),
        "StringNotLike" => (text(false, true), true),
        "ArnEquals" | "ArnLike" => (Operator::Arn, false),
        "ArnNotEquals" | "ArnNotLike" => (Operator::Arn, true),
        "Bool" => (Operator::Bool, false),
        "IpAddress" => (Operator::Address, false),
        "NotIpAddress" => (Operator::Address, true),
        "Null" => (Operator::Null, false),
        _ => {
            let (order, is_negated) = match name.strip_prefix("Numeric").or_else(|| name.strip_prefix("Date"))? {
                "Equals" => (Order::Equal, false),
                "NotEquals" => (Order::Equal, true),
                "LessThan" => (Order::Less, false),
                "LessThanEquals" => (Order::LessOrEqual, false),
                "GreaterThan" => (Order::Greater, false),
                "GreaterThanEquals" => (Order::GreaterOrEqual, false),
                _ => return None,
            };
            (if name.starts_with('N') { Operator::Number(order) } else { Operator::Date(order) }, is_negated)
        }
    })
}

impl Wanted {
    fn parse(operator: Operator, value: &Value, variables: bool) -> Result<Self, Malformed> {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => return Malformed::because("A condition's value is a text, a number, a flag, or a list of them"),
        };
        let wanted = match operator {
            Operator::Text { wildcards, .. } => Some(Self::Text(Pattern::parse(&text, Style { wildcards, variables })?)),
            Operator::Arn => Some(Self::Text(Pattern::parse(&text, Style { wildcards: true, variables })?)),
            Operator::Number(_) => number(&text).map(Self::Number),
            Operator::Date(_) => date(&text).map(Self::Date),
            Operator::Bool | Operator::Null => flag(&text).map(Self::Bool),
            Operator::Address => Network::parse(&text).map(Self::Address),
        };
        wanted.map_or_else(|| Malformed::because(format!("Invalid value {text:?} in a condition")), Ok)
    }

    /// Whether `given` is what is wanted.
    fn is(&self, operator: Operator, given: &str, effort: &Effort<'_>) -> bool {
        if !effort.spend(given.len()) {
            return false;
        }
        match (self, operator) {
            (Self::Text(pattern), Operator::Text { folds, .. }) => pattern.matches(given, effort, folds),
            (Self::Text(pattern), _) => pattern.matches(given, effort, false),
            (Self::Number(wanted), Operator::Number(order)) => number(given).is_some_and(|given| order.holds(given.partial_cmp(wanted))),
            (Self::Date(wanted), Operator::Date(order)) => date(given).is_some_and(|given| order.holds(Some(given.cmp(wanted)))),
            (Self::Bool(wanted), _) => flag(given) == Some(*wanted),
            (Self::Address(network), _) => given.parse::<IpAddr>().is_ok_and(|given| network.contains(given)),
            _ => false,
        }
    }
}

impl Order {
    fn holds(self, given: Option<Ordering>) -> bool {
        let Some(given) = given else { return false };
        match self {
            Self::Equal => given.is_eq(),
            Self::Less => given.is_lt(),
            Self::LessOrEqual => given.is_le(),
            Self::Greater => given.is_gt(),
            Self::GreaterOrEqual => given.is_ge(),
        }
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// A moment: a date, a date and a time, or seconds since 1970.
fn date(text: &str) -> Option<OffsetDateTime> {
    if let Ok(seconds) = text.parse() {
        return OffsetDateTime::from_unix_timestamp(seconds).ok();
    }
    let moment = OffsetDateTime::parse(text, &Iso8601::PARSING).ok();
    moment.or_else(|| Some(Date::parse(text, &Iso8601::PARSING).ok()?.with_time(Time::MIDNIGHT).assume_utc()))
}

fn unknown<T>(operator: &str) -> Result<T, Malformed> {
    Malformed::because(format!("Invalid Condition type : {operator}"))
}

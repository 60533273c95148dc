//! The document: JSON in, statements out.

use serde_json::{Map, Value};

use super::{
    BYTES_MAX, Malformed, Patterns, Policy, Statement,
    condition::Condition,
    json::Unique,
    pattern::{ARN, Pattern, Style},
    principal::Principals,
};

/// Understands `text`, the policy of `bucket`.
pub(super) fn parse(text: &str, bucket: &str) -> Result<Policy, Malformed> {
    if text.len() > BYTES_MAX {
        return Malformed::because(format!("Normalized policy document exceeds the maximum allowed size of {BYTES_MAX} bytes"));
    }
    let Ok(Unique(Value::Object(document))) = serde_json::from_str(text) else {
        return Malformed::because("Policies must be valid JSON without members of the same name, and the first byte must be '{'");
    };
    only(&document, &["Version", "Id", "Statement"])?;
    let variables = match document.get("Version").map(Value::as_str) {
        None | Some(Some("2008-10-17")) => false,
        Some(Some("2012-10-17")) => true,
        Some(_) => return Malformed::because("The policy must contain a valid version string"),
    };
    if document.get("Id").is_some_and(|id| !id.is_string()) {
        return Malformed::because("The policy's Id is a text");
    }
    let statements = match document.get("Statement") {
        Some(Value::Array(list)) if !list.is_empty() => {
            list.iter().map(|one| statement(one, variables, bucket)).collect::<Result<_, _>>()?
        }
        Some(one @ Value::Object(_)) => vec![statement(one, variables, bucket)?],
        _ => return Malformed::because("Missing required field Statement"),
    };
    Ok(Policy { statements })
}

fn statement(value: &Value, variables: bool, bucket: &str) -> Result<Statement, Malformed> {
    let Value::Object(fields) = value else { return Malformed::because("A statement is an object") };
    only(fields, &["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"])?;
    if fields.get("Sid").is_some_and(|sid| !sid.is_string()) {
        return Malformed::because("A statement's Sid is a text");
    }
    let allows = match fields.get("Effect").map(Value::as_str) {
        Some(Some("Allow")) => true,
        Some(Some("Deny")) => false,
        None => return Malformed::because("Missing required field Effect"),
        Some(_) => return Malformed::because("Invalid effect: it is Allow or Deny"),
    };
    let (is_negated, principals) = one_of(fields, "Principal", "NotPrincipal")?;
    if is_negated && allows {
        return Malformed::because("Allow with NotPrincipal is not allowed");
    }
    let principals = Principals::parse(principals, is_negated)?;
    let (is_negated, named) = one_of(fields, "Action", "NotAction")?;
    let actions = Patterns { is_negated, list: actions(named)? };
    let (is_negated, named) = one_of(fields, "Resource", "NotResource")?;
    let resources = Patterns { is_negated, list: resources(named, variables, (!is_negated).then_some(bucket))? };
    let conditions = fields.get("Condition").map(|value| conditions(value, variables)).transpose()?.unwrap_or_default();
    Ok(Statement { allows, principals, actions, resources, conditions })
}

fn actions(named: &Value) -> Result<Vec<Pattern>, Malformed> {
    let invalid = || Malformed("Policy has invalid action".to_owned());
    let mut list = Vec::new();
    for action in some_texts(named).ok_or_else(invalid)? {
        let is_ours = action == "*" || action.get(..3).is_some_and(|service| service.eq_ignore_ascii_case("s3:"));
        if !is_ours || action.len() == 3 {
            return Err(invalid());
        }
        list.push(Pattern::parse(action, Style { wildcards: true, variables: false })?);
    }
    Ok(list)
}

/// Takes names of resources. Each must be of `bucket`, if one is given, or it would never say anything.
fn resources(named: &Value, variables: bool, bucket: Option<&str>) -> Result<Vec<Pattern>, Malformed> {
    let invalid = || Malformed("Policy has invalid resource".to_owned());
    let mut list = Vec::new();
    for resource in some_texts(named).ok_or_else(invalid)? {
        let Some(name) = resource.strip_prefix(ARN).or_else(|| (resource == "*").then_some("*")) else { return Err(invalid()) };
        let style = Style { wildcards: true, variables };
        let of_bucket = Pattern::parse(bucket_of(name), style)?;
        if bucket.is_some_and(|bucket| !of_bucket.may_match(bucket)) {
            return Err(invalid());
        }
        list.push(Pattern::parse(resource, style)?);
    }
    Ok(list)
}

/// The part of a resource's name that is the bucket's; a variable may hold a slash.
fn bucket_of(name: &str) -> &str {
    let end = name.find('/').unwrap_or(name.len());
    match name.find("${") {
        Some(variable) if variable < end => "*",
        _ => &name[..end],
    }
}

fn conditions(value: &Value, variables: bool) -> Result<Vec<Condition>, Malformed> {
    let Value::Object(operators) = value else { return Malformed::because("A Condition is an object") };
    let mut list = Vec::new();
    for (operator, keys) in operators {
        let Value::Object(keys) = keys else { return Malformed::because("A condition's operator holds an object of keys") };
        for (key, values) in keys {
            list.push(Condition::parse(operator, key, values, variables)?);
        }
    }
    Ok(list)
}

fn only(fields: &Map<String, Value>, known: &[&str]) -> Result<(), Malformed> {
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Malformed::because(format!("Unknown field {unknown}")),
        None => Ok(()),
    }
}

/// The one of two fields that there is, and whether it is the second.
fn one_of<'a>(fields: &'a Map<String, Value>, name: &str, negated: &str) -> Result<(bool, &'a Value), Malformed> {
    match (fields.get(name), fields.get(negated)) {
        (Some(value), None) => Ok((false, value)),
        (None, Some(value)) => Ok((true, value)),
        (None, None) => Malformed::because(format!("Missing required field {name}")),
        (Some(_), Some(_)) => Malformed::because(format!("A statement has {name} or {negated}, not both")),
    }
}

/// A text, or a list of them.
pub(super) fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

fn some_texts(value: &Value) -> Option<Vec<&str>> {
    texts(value).filter(|texts| !texts.is_empty())
}

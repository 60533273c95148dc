//! What the signer of a form allows it to be.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>

use std::ops::RangeInclusive;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use s3s::{S3Error, S3ErrorCode, S3Result};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use umbra_core::Timestamp;

use super::form::{Form, policy_says};

/// Fields that no condition need name: they are the signature's, or only say more of what is in the file.
const EXEMPT: [&str; 5] = ["awsaccesskeyid", "signature", "x-amz-signature", "policy", "file"];

/// A policy.
#[derive(Debug)]
pub(super) struct Policy {
    expiration: Timestamp,
    conditions: Vec<Condition>,
}

#[derive(Debug, PartialEq, Eq)]
enum Condition {
    /// The field has the value.
    Is(String, String),
    /// The field begins with the text.
    Begins(String, String),
    /// The file has so many bytes.
    Length(RangeInclusive<u64>),
}

impl Policy {
    /// Takes the policy field of a form.
    pub(super) fn parse(field: &str) -> S3Result<Self> {
        let compact: String = field.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let document = BASE64.decode(compact).map_err(|_| invalid("it is not base64"))?;
        let document: Value = serde_json::from_slice(&document).map_err(|_| invalid("Invalid JSON."))?;
        let expiration = document.get("expiration").ok_or_else(|| invalid("Policy missing expiration."))?;
        let expiration = expiration.as_str().and_then(time).ok_or_else(|| invalid("Invalid 'expiration' value"))?;
        let conditions = document.get("conditions").ok_or_else(|| invalid("Policy missing conditions."))?;
        let conditions = conditions.as_array().ok_or_else(|| invalid("Invalid 'conditions' value: must be a List."))?;
        let conditions: Option<Vec<Vec<_>>> = conditions.iter().map(condition).collect();
        let conditions = conditions.ok_or_else(|| invalid("Invalid condition"))?.into_iter().flatten().collect();
        Ok(Self { expiration, conditions })
    }

    /// Checks `form` against the policy, and returns how large its file may be.
    pub(super) fn check(&self, form: &Form, now: Timestamp) -> S3Result<RangeInclusive<u64>> {
        if now > self.expiration {
            return Err(policy_says("Policy expired."));
        }
        let mut sizes = 0..=u64::MAX;
        for condition in &self.conditions {
            let holds = match condition {
                Condition::Is(field, value) => form.get(field) == Some(value),
                Condition::Begins(field, begin) => form.get(field).unwrap_or_default().starts_with(begin.as_str()),
                Condition::Length(range) => {
                    sizes = *sizes.start().max(range.start())..=*sizes.end().min(range.end());
                    true
                }
            };
            if !holds {
                return Err(policy_says(format_args!("Policy Condition failed: {condition}")));
            }
        }
        match form.fields().find(|(name, _)| !self.covers(name)) {
            Some((name, _)) => Err(policy_says(format_args!("Extra input fields: {name}"))),
            None => Ok(sizes),
        }
    }

    fn covers(&self, name: &str) -> bool {
        let names = |condition: &Condition| matches!(condition, Condition::Is(field, _) | Condition::Begins(field, _) if field == name);
        // A checksum can only make an upload fail.
        let is_free = EXEMPT.contains(&name) || name.starts_with("x-ignore-") || name.starts_with("x-amz-checksum-");
        is_free || self.conditions.iter().any(names)
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Is(field, value) => write!(f, "[\"eq\", \"${field}\", {value:?}]"),
            Self::Begins(field, begin) => write!(f, "[\"starts-with\", \"${field}\", {begin:?}]"),
            Self::Length(range) => write!(f, "[\"content-length-range\", {}, {}]", range.start(), range.end()),
        }
    }
}

/// Takes one member of the list: a list of operator, field and value, or an object of fields and values.
fn condition(value: &Value) -> Option<Vec<Condition>> {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().map(|(field, value)| Some(Condition::Is(field.to_ascii_lowercase(), value.as_str()?.to_owned()))).collect()
        }
        Value::Array(members) => {
            let [operator, first, second] = members.as_slice() else { return None };
            let operator = operator.as_str()?.to_ascii_lowercase();
            if operator == "content-length-range" {
                return Some(vec![Condition::Length(size(first)?..=size(second)?)]);
            }
            let field = first.as_str()?.strip_prefix('$')?.to_ascii_lowercase();
            let value = second.as_str()?.to_owned();
            match operator.as_str() {
                "eq" => Some(vec![Condition::Is(field, value)]),
                "starts-with" => Some(vec![Condition::Begins(field, value)]),
                _ => None,
            }
        }
        _ => None,
    }
}

fn size(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// A time as the policy has it: RFC 3339 in UTC.
fn time(text: &str) -> Option<Timestamp> {
    let plain = text.as_bytes().get(10) == Some(&b'T') && text.ends_with('Z');
    let at = OffsetDateTime::parse(text, &Rfc3339).ok().filter(|_| plain)?;
    Some(Timestamp::from_millis(at.unix_timestamp().saturating_mul(1000).saturating_add(at.millisecond().into())))
}

fn invalid(why: &str) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidPolicyDocument, format!("Invalid Policy: {why}"))
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
    use serde_json::{Value, json};
    use umbra_core::Timestamp;

    use super::{Policy, time};
    use crate::post::form::Form;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn policy(document: &Value) -> Result<Policy, String> {
        Policy::parse(&BASE64.encode(document.to_string())).map_err(|error| error.code().as_str().to_owned())
    }

    fn judged(conditions: &Value, form: &[(&str, &str)]) -> Result<(u64, u64), String> {
        let policy = policy(&json!({ "expiration": "2100-01-01T00:00:00Z", "conditions": conditions }))?;
        let sizes = policy.check(&Form::of(form), NOW).map_err(|error| error.code().as_str().to_owned())?;
        Ok((*sizes.start(), *sizes.end()))
    }

    #[test]
    fn a_form_is_what_its_policy_says() {
        let denied = || Err("AccessDenied".to_owned());
        let any = Ok((0, u64::MAX));
        let form = [("bucket", "b"), ("key", "photos/a"), ("acl", "private")];
        let (bucket, key) = (json!({ "Bucket": "b" }), json!(["Starts-With", "$KEY", "photos/"]));
        let cases = [
            (json!([bucket, key, ["eq", "$acl", "private"]]), any.clone()),
            (json!([{ "bucket": "b", "acl": "private" }, key]), any.clone()),
            (json!([bucket, key, { "acl": "public-read" }]), denied()),
            (json!([bucket, key]), denied()),
            (json!([key, { "acl": "private" }]), denied()),
            (json!([bucket, ["starts-with", "$key", "music/"], { "acl": "private" }]), denied()),
            (json!([bucket, key, { "acl": "private" }, ["starts-with", "$x-amz-meta-a", ""]]), any),
            (json!([bucket, key, { "acl": "private" }, ["starts-with", "$x-amz-meta-a", "b"]]), denied()),
            (json!([bucket, key, { "acl": "private" }, ["eq", "$x-amz-meta-a", ""]]), denied()),
            (json!([bucket, key, { "acl": "private" }, ["content-length-range", 1, "9"], ["content-length-range", 0, 5]]), Ok((1, 5))),
        ];
        for (conditions, expected) in cases {
            assert_eq!(judged(&conditions, &form), expected, "{conditions}");
        }
        let free = [("bucket", "b"), ("x-ignore-me", "1"), ("x-amz-checksum-sha256", "c"), ("x-amz-signature", "s"), ("policy", "p")];
        assert!(judged(&json!([bucket]), &free).is_ok());
        assert_eq!(judged(&json!([bucket]), &[("bucket", "b"), ("x-amz-meta-a", "c")]), denied());
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let expiration = "2100-01-01T00:00:00Z";
        let cases = [
            json!({ "conditions": [] }),
            json!({ "expiration": expiration }),
            json!({ "EXPIRATION": expiration, "conditions": [] }),
            json!({ "expiration": "2100-01-01 00:00:00", "conditions": [] }),
            json!({ "expiration": expiration, "conditions": {} }),
            json!({ "expiration": expiration, "conditions": [{}] }),
            json!({ "expiration": expiration, "conditions": [["eq", "key", "k"]] }),
            json!({ "expiration": expiration, "conditions": [["like", "$key", "k"]] }),
            json!({ "expiration": expiration, "conditions": [["eq", "$key"]] }),
            json!({ "expiration": expiration, "conditions": [["content-length-range", 0]] }),
            json!({ "expiration": expiration, "conditions": [["content-length-range", -1, 0]] }),
            json!([]),
        ];
        for document in cases {
            assert_eq!(policy(&document).map(|_| ()), Err("InvalidPolicyDocument".to_owned()), "{document}");
        }
        assert!(Policy::parse("!").is_err());
        assert!(Policy::parse(&BASE64.encode("{")).is_err());
    }

    #[test]
    fn policies_expire() {
        let policy = policy(&json!({ "expiration": "2020-01-01T00:00:00.5Z", "conditions": [] })).unwrap();
        let form = Form::default();
        assert!(policy.check(&form, Timestamp::from_millis(1_577_836_800_500)).is_ok());
        assert_eq!(policy.check(&form, Timestamp::from_millis(1_577_836_800_501)).unwrap_err().code().as_str(), "AccessDenied");
        for bad in ["2020-01-01 00:00:00Z", "2020-01-01T00:00:00+00:00", "2020-01-01T00:00:00", "2020-13-01T00:00:00Z", ""] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }
}

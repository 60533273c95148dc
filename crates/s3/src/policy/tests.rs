use std::collections::BTreeMap;

use serde_json::{Value, json};
use umbra_core::{Random, SeededRandom};

use super::{Asked, BYTES_MAX, Caller, Facts, Named, Policy, Verdict};

/// Facts by their keys.
#[derive(Default)]
struct Given(BTreeMap<&'static str, Vec<&'static str>>);

impl Given {
    fn new(facts: &[(&'static str, &[&'static str])]) -> Self {
        Self(facts.iter().map(|(key, values)| (*key, values.to_vec())).collect())
    }
}

impl Facts for Given {
    fn values(&self, key: &str) -> Vec<String> {
        self.0.get(key).into_iter().flatten().map(ToString::to_string).collect()
    }
}

const ALICE: Caller<'_> = Caller { organization: Some("acme"), key: Some("ALICE"), service: None };
const STRANGER: Caller<'_> = Caller { organization: Some("evil"), key: Some("MALLORY"), service: None };
const NOBODY: Caller<'_> = Caller { organization: None, key: None, service: None };

fn statement(changes: Value) -> Value {
    let mut statement = json!({ "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/*" });
    for (name, value) in changes.as_object().unwrap() {
        statement[name] = value.clone();
    }
    if let Some(fields) = statement.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    statement
}

fn policy(statements: &[Value]) -> Result<Policy, super::Malformed> {
    Policy::parse(&json!({ "Version": "2012-10-17", "Statement": statements }).to_string(), "photos")
}

fn judge(policy: &Policy, action: &str, resource: &str, caller: Caller<'_>, facts: &Given) -> Verdict {
    policy.judge(Asked { action, resource, caller, facts })
}

fn verdict(changes: Value, action: &str, resource: &str, caller: Caller<'_>) -> Verdict {
    judge(&policy(&[statement(changes)]).unwrap(), action, resource, caller, &Given::default())
}

#[test]
fn principals() {
    const EVERYONE: Verdict = Verdict::Allowed(Named::Everyone);
    const ORGANIZATION: Verdict = Verdict::Allowed(Named::Organization);
    const KEY: Verdict = Verdict::Allowed(Named::Key);
    use Verdict::{Denied, Silent};
    let (is, but) = (
        |value: Value| json!({ "Principal": value }),
        |value: Value| json!({ "Effect": "Deny", "Principal": null, "NotPrincipal": value }),
    );
    let cases = [
        (is(json!("*")), [EVERYONE, EVERYONE, EVERYONE]),
        (is(json!({ "AWS": "*" })), [EVERYONE, EVERYONE, EVERYONE]),
        (is(json!({ "AWS": "acme" })), [ORGANIZATION, Silent, Silent]),
        (is(json!({ "AWS": "arn:aws:iam::acme:root" })), [ORGANIZATION, Silent, Silent]),
        (is(json!({ "AWS": ["arn:aws:iam::acme:root", "arn:aws:iam::evil:root"] })), [ORGANIZATION, ORGANIZATION, Silent]),
        (is(json!({ "AWS": "arn:aws:iam::acme:user/ALICE" })), [KEY, Silent, Silent]),
        (is(json!({ "AWS": "arn:aws:iam::acme:user/BOB" })), [Silent, Silent, Silent]),
        (is(json!({ "AWS": "arn:aws:iam::evil:user/ALICE" })), [Silent, Silent, Silent]),
        (is(json!({ "AWS": ["acme", "*"] })), [EVERYONE, EVERYONE, EVERYONE]),
        (is(json!({ "CanonicalUser": "acme" })), [ORGANIZATION, Silent, Silent]),
        (is(json!({ "Service": "logging.s3.amazonaws.com" })), [Silent, Silent, Silent]),
        (is(json!({ "AWS": "arn:aws:iam::acme:role/Reader" })), [Silent, Silent, Silent]),
        (but(json!({ "AWS": "acme" })), [Silent, Denied, Denied]),
        (but(json!({ "AWS": "*" })), [Silent, Silent, Silent]),
    ];
    for (changes, expected) in cases {
        for (caller, expected) in [ALICE, STRANGER, NOBODY].into_iter().zip(expected) {
            assert_eq!(verdict(changes.clone(), "s3:GetObject", "photos/a", caller), expected, "{changes} {caller:?}");
        }
    }
}

#[test]
fn a_service_is_let_in_by_its_name_alone() {
    const SERVICE: Caller<'_> = Caller::of_service("logging.s3.amazonaws.com");
    let allowed = Verdict::Allowed(Named::Service);
    let service = |name: &str| json!({ "Principal": { "Service": name } });
    let cases = [
        (service("logging.s3.amazonaws.com"), allowed),
        (json!({ "Principal": { "AWS": "*", "Service": "logging.s3.amazonaws.com" } }), allowed),
        (service("logging.s3.amazonaws.comx"), Verdict::Silent),
        (json!({ "Principal": "*" }), Verdict::Silent),
        (json!({ "Principal": { "AWS": "*" } }), Verdict::Silent),
        (json!({ "Principal": { "AWS": "acme" } }), Verdict::Silent),
        (json!({ "Effect": "Deny", "Principal": "*" }), Verdict::Denied),
        (json!({ "Effect": "Deny", "Principal": { "Service": "logging.s3.amazonaws.com" } }), Verdict::Denied),
        (json!({ "Effect": "Deny", "Principal": null, "NotPrincipal": { "AWS": "acme" } }), Verdict::Denied),
    ];
    for (changes, expected) in cases {
        assert_eq!(verdict(changes.clone(), "s3:GetObject", "photos/a", SERVICE), expected, "{changes}");
    }
}

#[test]
fn actions_and_resources() {
    let cases = [
        (json!({}), "s3:GetObject", "photos/a/b", true),
        (json!({}), "s3:GetObjectVersion", "photos/a/b", false),
        (json!({}), "s3:GetObject", "photos", false),
        (json!({}), "s3:GetObject", "photos2/a", false),
        (json!({ "Action": "S3:getobject" }), "s3:GetObject", "photos/a", true),
        (json!({ "Action": "s3:Get*" }), "s3:GetObjectTagging", "photos/a", true),
        (json!({ "Action": "s3:Get*" }), "s3:PutObject", "photos/a", false),
        (json!({ "Action": "s3:Get?bject" }), "s3:GetObject", "photos/a", true),
        (json!({ "Action": "*" }), "s3:DeleteObject", "photos/a", true),
        (json!({ "Action": ["s3:PutObject", "s3:GetObject"] }), "s3:GetObject", "photos/a", true),
        (json!({ "Action": null, "NotAction": "s3:GetObject" }), "s3:GetObject", "photos/a", false),
        (json!({ "Action": null, "NotAction": "s3:Delete*" }), "s3:GetObject", "photos/a", true),
        (json!({ "Resource": "arn:aws:s3:::photos" }), "s3:GetObject", "photos/a", false),
        (json!({ "Resource": "arn:aws:s3:::photos/a?c" }), "s3:GetObject", "photos/abc", true),
        (json!({ "Resource": "arn:aws:s3:::photos/a?c" }), "s3:GetObject", "photos/ac", false),
        (json!({ "Resource": "arn:aws:s3:::photos/a?c" }), "s3:GetObject", "photos/aéc", true),
        (json!({ "Resource": "arn:aws:s3:::photos/A" }), "s3:GetObject", "photos/a", false),
        (json!({ "Resource": "arn:aws:s3:::*" }), "s3:GetObject", "photos/a", true),
        (json!({ "Resource": "*" }), "s3:GetObject", "photos/a", true),
        (json!({ "Resource": "arn:aws:s3:::ph*os/*x*" }), "s3:GetObject", "photos/axb", true),
        (json!({ "Resource": null, "NotResource": "arn:aws:s3:::photos/secret/*" }), "s3:GetObject", "photos/secret/a", false),
        (json!({ "Resource": null, "NotResource": "arn:aws:s3:::photos/secret/*" }), "s3:GetObject", "photos/a", true),
    ];
    for (changes, action, resource, expected) in cases {
        let verdict = verdict(changes.clone(), action, resource, NOBODY);
        assert_eq!(verdict != Verdict::Silent, expected, "{changes} {action} {resource}");
    }
}

#[test]
fn a_denial_wins_wherever_it_stands() {
    let allow = statement(json!({}));
    let deny = statement(json!({ "Effect": "Deny", "Resource": "arn:aws:s3:::photos/secret*" }));
    for statements in [[allow.clone(), deny.clone()], [deny, allow]] {
        let policy = policy(&statements).unwrap();
        assert_eq!(judge(&policy, "s3:GetObject", "photos/secret", NOBODY, &Given::default()), Verdict::Denied);
        assert_eq!(judge(&policy, "s3:GetObject", "photos/a", NOBODY, &Given::default()), Verdict::Allowed(Named::Everyone));
    }
}

type Case<'a> = (Value, &'a [(&'static str, &'a [&'static str])], bool);

fn check_conditions(cases: &[Case<'_>]) {
    for (condition, facts, expected) in cases {
        let given = Given(facts.iter().map(|(key, values)| (*key, values.to_vec())).collect());
        let policy = policy(&[statement(json!({ "Condition": condition }))]).unwrap();
        let verdict = judge(&policy, "s3:GetObject", "photos/a", ALICE, &given);
        assert_eq!(verdict != Verdict::Silent, *expected, "{condition} {facts:?}");
    }
}

#[test]
fn conditions_on_texts() {
    let prefix = |operator: &str, value: Value| json!({ operator: { "s3:prefix": value } });
    let cases: &[Case<'_>] = &[
        (prefix("StringEquals", json!("a")), &[("s3:prefix", &["a"])], true),
        (prefix("StringEquals", json!("a")), &[("s3:prefix", &["A"])], false),
        (prefix("StringEquals", json!("a*")), &[("s3:prefix", &["ab"])], false),
        (prefix("StringEquals", json!(["b", "a"])), &[("s3:prefix", &["a"])], true),
        (prefix("StringEquals", json!("a")), &[], false),
        (prefix("StringEqualsIfExists", json!("a")), &[], true),
        (prefix("StringEqualsIfExists", json!("a")), &[("s3:prefix", &["b"])], false),
        (prefix("StringNotEquals", json!(["b", "a"])), &[("s3:prefix", &["a"])], false),
        (prefix("StringNotEquals", json!(["b", "a"])), &[("s3:prefix", &["c"])], true),
        (prefix("StringNotEquals", json!("a")), &[], true),
        (prefix("StringEqualsIgnoreCase", json!("ÄB")), &[("s3:prefix", &["äb"])], true),
        (prefix("StringNotEqualsIgnoreCase", json!("AB")), &[("s3:prefix", &["ab"])], false),
        (prefix("StringLike", json!("a*")), &[("s3:prefix", &["abc"])], true),
        (prefix("StringLike", json!("a?c")), &[("s3:prefix", &["abc"])], true),
        (prefix("StringLike", json!("a*")), &[("s3:prefix", &["ba"])], false),
        (prefix("StringNotLike", json!("a*")), &[("s3:prefix", &["ab"])], false),
        (json!({ "StringEquals": { "S3:Prefix": "a", "aws:userid": "u" } }), &[("s3:prefix", &["a"]), ("aws:userid", &["u"])], true),
        (json!({ "StringEquals": { "s3:prefix": "a" }, "Bool": { "aws:SecureTransport": true } }), &[("s3:prefix", &["a"])], false),
        (prefix("Null", json!("true")), &[], true),
        (prefix("Null", json!(true)), &[("s3:prefix", &[""])], false),
        (prefix("Null", json!("false")), &[("s3:prefix", &[""])], true),
        (
            json!({ "ArnLike": { "aws:PrincipalArn": "arn:aws:iam::acme:user/*" } }),
            &[("aws:principalarn", &["arn:aws:iam::acme:user/A"])],
            true,
        ),
        (
            json!({ "ArnNotEquals": { "aws:PrincipalArn": "arn:aws:iam::acme:*" } }),
            &[("aws:principalarn", &["arn:aws:iam::acme:user/A"])],
            false,
        ),
        (json!({ "StringEquals": { "s3:ExistingObjectTag/Class": "x" } }), &[("s3:existingobjecttag/Class", &["x"])], true),
        (json!({ "StringEquals": { "s3:ExistingObjectTag/class": "x" } }), &[("s3:existingobjecttag/Class", &["x"])], false),
    ];
    check_conditions(cases);
}

#[test]
fn conditions_on_other_kinds() {
    let number = |operator: &str, value: Value| json!({ operator: { "s3:max-keys": value } });
    let date = |operator: &str, value: &str| json!({ operator: { "aws:CurrentTime": value } });
    let address = |operator: &str, value: Value| json!({ operator: { "aws:SourceIp": value } });
    let now: &[(&str, &[&str])] = &[("aws:currenttime", &["2026-11-26T12:00:00Z"])];
    let cases: &[Case<'_>] = &[
        (number("NumericEquals", json!(10)), &[("s3:max-keys", &["10"])], true),
        (number("NumericEquals", json!("10")), &[("s3:max-keys", &["10.0"])], true),
        (number("NumericNotEquals", json!(10)), &[("s3:max-keys", &["10"])], false),
        (number("NumericLessThanEquals", json!(10)), &[("s3:max-keys", &["10"])], true),
        (number("NumericLessThan", json!(10)), &[("s3:max-keys", &["10"])], false),
        (number("NumericGreaterThan", json!(10)), &[("s3:max-keys", &["11"])], true),
        (number("NumericGreaterThanEquals", json!(10)), &[("s3:max-keys", &["9"])], false),
        (number("NumericLessThan", json!(10)), &[("s3:max-keys", &["few"])], false),
        (date("DateLessThan", "2026-11-27"), now, true),
        (date("DateGreaterThan", "2026-11-26T13:00:00+02:00"), now, true),
        (date("DateEquals", "1795694400"), now, true),
        (date("DateGreaterThanEquals", "2026-11-26T12:00:01Z"), now, false),
        (json!({ "Bool": { "aws:SecureTransport": "false" } }), &[("aws:securetransport", &["false"])], true),
        (json!({ "Bool": { "aws:SecureTransport": true } }), &[("aws:securetransport", &["false"])], false),
        (address("IpAddress", json!("10.0.0.0/8")), &[("aws:sourceip", &["10.9.8.7"])], true),
        (address("IpAddress", json!("10.0.0.0/8")), &[("aws:sourceip", &["11.0.0.0"])], false),
        (address("IpAddress", json!("10.0.0.1")), &[("aws:sourceip", &["::ffff:10.0.0.1"])], true),
        (address("IpAddress", json!(["192.0.2.0/24", "2001:db8::/32"])), &[("aws:sourceip", &["2001:db8:1::2"])], true),
        (address("NotIpAddress", json!("10.0.0.0/8")), &[("aws:sourceip", &["10.9.8.7"])], false),
        (address("NotIpAddress", json!("0.0.0.0/0")), &[("aws:sourceip", &["::1"])], true),
    ];
    check_conditions(cases);
}

#[test]
fn conditions_on_several_values() {
    let keys = |operator: &str, value: Value| json!({ operator: { "s3:RequestObjectTagKeys": value } });
    let given: &[(&str, &[&str])] = &[("s3:requestobjecttagkeys", &["a", "b"])];
    let cases: &[Case<'_>] = &[
        (keys("ForAllValues:StringEquals", json!(["a", "b", "c"])), given, true),
        (keys("ForAllValues:StringEquals", json!(["a"])), given, false),
        (keys("ForAllValues:StringEquals", json!(["a"])), &[], true),
        (keys("ForAllValues:StringNotEquals", json!(["c"])), given, true),
        (keys("ForAllValues:StringNotEquals", json!(["b"])), given, false),
        (keys("ForAnyValue:StringEquals", json!(["b", "c"])), given, true),
        (keys("ForAnyValue:StringEquals", json!(["c"])), given, false),
        (keys("ForAnyValue:StringEquals", json!(["a"])), &[], false),
        (keys("ForAnyValue:StringNotEquals", json!(["a"])), given, true),
        (keys("ForAnyValue:StringLikeIfExists", json!(["c*"])), &[], true),
    ];
    check_conditions(cases);
}

#[test]
fn variables_stand_for_what_the_request_says() {
    let home = json!({ "Resource": "arn:aws:s3:::photos/home/${aws:username}/*" });
    let read = |facts: &[(&'static str, &[&'static str])], version: &str, resource: &str| {
        let text = json!({ "Version": version, "Statement": statement(home.clone()) }).to_string();
        let policy = Policy::parse(&text, "photos").unwrap();
        judge(&policy, "s3:GetObject", resource, ALICE, &Given::new(facts)) != Verdict::Silent
    };
    assert!(read(&[("aws:username", &["bob"])], "2012-10-17", "photos/home/bob/a"));
    assert!(!read(&[("aws:username", &["bob"])], "2012-10-17", "photos/home/eve/a"));
    assert!(!read(&[], "2012-10-17", "photos/home/bob/a"), "nobody has no home");
    assert!(!read(&[("aws:username", &["*"])], "2012-10-17", "photos/home/bob/a"), "a value is no wildcard");
    assert!(!read(&[("aws:username", &["bob"])], "2008-10-17", "photos/home/bob/a"), "there were none in 2008");
    assert!(read(&[], "2008-10-17", "photos/home/${aws:username}/a"));
    let cases: &[Case<'_>] = &[
        (json!({ "StringEquals": { "s3:prefix": "${aws:username, 'guest'}" } }), &[("s3:prefix", &["guest"])], true),
        (json!({ "StringLike": { "s3:prefix": "a${*}${?}${$}" } }), &[("s3:prefix", &["a*?$"])], true),
        (json!({ "StringLike": { "s3:prefix": "a${*}" } }), &[("s3:prefix", &["ab"])], false),
    ];
    check_conditions(cases);
}

#[test]
fn what_is_public_is_seen() {
    let when = |condition: Value| json!({ "Condition": condition });
    let cases = [
        (json!({}), true),
        (json!({ "Effect": "Deny" }), false),
        (json!({ "Principal": { "AWS": "acme" } }), false),
        (json!({ "Principal": { "AWS": ["acme", "*"] } }), true),
        (when(json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/32" } })), false),
        (when(json!({ "IpAddress": { "aws:SourceIp": ["10.0.0.0/8", "0.0.0.0/1"] } })), true),
        (when(json!({ "NotIpAddress": { "aws:SourceIp": "10.0.0.0/8" } })), true),
        (when(json!({ "StringEquals": { "aws:PrincipalAccount": "acme" } })), false),
        (when(json!({ "StringEqualsIfExists": { "aws:PrincipalAccount": "acme" } })), true),
        (when(json!({ "StringLike": { "aws:PrincipalAccount": "*" } })), true),
        (when(json!({ "ForAllValues:StringEquals": { "aws:PrincipalAccount": "acme" } })), true),
        (when(json!({ "StringEquals": { "s3:x-amz-server-side-encryption-aws-kms-key-id": "anyone-can-say-it" } })), true),
        (when(json!({ "StringLike": { "aws:Referer": "https://a.example/*" } })), true),
    ];
    for (changes, expected) in cases {
        assert_eq!(policy(&[statement(changes.clone())]).unwrap().is_public(), expected, "{changes}");
    }
}

#[test]
fn tags_are_asked_for_where_they_count() {
    let cases = [
        (json!({}), false),
        (json!({ "Condition": { "StringEquals": { "s3:RequestObjectTag/a": "b" } } }), false),
        (json!({ "Condition": { "StringEquals": { "s3:ExistingObjectTag/a": "b" } } }), true),
        (json!({ "Condition": { "StringEquals": { "s3:prefix": "${s3:ExistingObjectTag/a}" } } }), true),
        (json!({ "Resource": "arn:aws:s3:::photos/${s3:ExistingObjectTag/a}" }), true),
    ];
    for (changes, expected) in cases {
        assert_eq!(policy(&[statement(changes.clone())]).unwrap().asks_for_tags(), expected, "{changes}");
    }
}

/// Facts that are as long as a request can make them.
struct Long(usize);

impl Facts for Long {
    fn values(&self, _: &str) -> Vec<String> {
        vec!["a".repeat(self.0)]
    }
}

#[test]
fn what_costs_too_much_is_denied() {
    let of = |statements: &[Value], length: usize| {
        let resource = format!("photos/{}", "a".repeat(1000));
        policy(statements).unwrap().judge(Asked { action: "s3:GetObject", resource: &resource, caller: ALICE, facts: &Long(length) })
    };
    let when = |effect: &str, condition: Value| statement(json!({ "Effect": effect, "Condition": condition }));
    let like = |text: &str| json!({ "StringLike": { "aws:Referer": text } });
    let unlike = |text: &str| json!({ "StringNotLike": { "aws:Referer": text } });
    let many = "${aws:UserAgent}".repeat(3);
    let hard = json!({ "StringLike": { "aws:Referer": vec![format!("*{}b*", "a".repeat(800)); 20] } });
    let cases = [
        (vec![when("Allow", like("a*"))], 2048, Verdict::Allowed(Named::Everyone)),
        // Too long a value: neither like it nor unlike it.
        (vec![when("Allow", like("a*"))], 2049, Verdict::Silent),
        (vec![when("Allow", unlike("b*"))], 2049, Verdict::Silent),
        (vec![when("Deny", like("b*"))], 2048, Verdict::Silent),
        (vec![when("Deny", like("b*"))], 2049, Verdict::Denied),
        (vec![when("Deny", unlike("a*"))], 2049, Verdict::Denied),
        // Too long a pattern, by its variables.
        (vec![when("Deny", like(&many))], 1000, Verdict::Silent),
        (vec![when("Deny", like(&many))], 2000, Verdict::Denied),
        (vec![when("Allow", like(&many))], 2000, Verdict::Silent),
        // Too many steps: whatever comes after is not read any more.
        (vec![when("Allow", hard.clone()), statement(json!({}))], 100, Verdict::Allowed(Named::Everyone)),
        (vec![when("Allow", hard), statement(json!({}))], 2000, Verdict::Denied),
        // Who is not meant is not concerned.
        (vec![statement(json!({ "Effect": "Deny", "Principal": { "AWS": "evil" }, "Condition": like("b*") }))], 2049, Verdict::Silent),
    ];
    for (at, (statements, length, expected)) in cases.into_iter().enumerate() {
        assert_eq!(of(&statements, length), expected, "case {at}");
    }
}

#[test]
fn a_denial_of_some_objects_is_seen_without_one() {
    let deny = |changes: Value| {
        let mut statement = statement(json!({ "Effect": "Deny", "Action": "s3:DeleteObject" }));
        for (name, value) in changes.as_object().unwrap() {
            statement[name] = value.clone();
        }
        statement
    };
    let cases = [
        (deny(json!({})), true),
        (deny(json!({ "Action": "s3:Delete*" })), true),
        (deny(json!({ "Resource": "arn:aws:s3:::photos/one" })), true),
        (deny(json!({ "Resource": "*" })), true),
        (deny(json!({ "Condition": { "StringEquals": { "s3:ExistingObjectTag/keep": "yes" } } })), true),
        (deny(json!({ "Condition": { "StringEquals": { "s3:versionid": "null" } } })), true),
        (deny(json!({ "Resource": "arn:aws:s3:::photos" })), false),
        (deny(json!({ "Action": "s3:PutObject" })), false),
        (deny(json!({ "Principal": { "AWS": "evil" } })), false),
        (deny(json!({ "Effect": "Allow" })), false),
        (deny(json!({ "Condition": { "Bool": { "aws:SecureTransport": "false" } } })), false),
    ];
    for (statement, expected) in cases {
        let given = Given::new(&[("aws:securetransport", &["true"])]);
        let denies = policy(std::slice::from_ref(&statement)).unwrap().may_deny_objects("s3:DeleteObject", ALICE, &given);
        assert_eq!(denies, expected, "{statement}");
    }
}

#[test]
fn malformed_policies_are_refused() {
    let documents = [
        String::new(),
        "[]".to_owned(),
        "{".to_owned(),
        json!({ "Version": "2012-10-17" }).to_string(),
        json!({ "Version": "2012-10-17", "Statement": [] }).to_string(),
        json!({ "Version": "2020-01-01", "Statement": statement(json!({})) }).to_string(),
        json!({ "Version": "2012-10-17", "Statement": statement(json!({})), "Extra": 1 }).to_string(),
        " ".repeat(BYTES_MAX + 1),
        json!({ "Version": "2012-10-17", "Statement": statement(json!({})) }).to_string().replacen('{', "{\"Statement\":[],", 1),
        json!({ "Version": "2012-10-17", "Statement": statement(json!({})) })
            .to_string()
            .replace("\"Effect\"", "\"Effect\":\"Deny\",\"Effect\""),
    ];
    for document in documents {
        assert!(Policy::parse(&document, "photos").is_err(), "{document:.60}");
    }
    let statements = [
        json!({ "Effect": null }),
        json!({ "Effect": "allow" }),
        json!({ "Principal": null }),
        json!({ "Principal": "acme" }),
        json!({ "Principal": {} }),
        json!({ "Principal": { "AWS": [] } }),
        json!({ "Principal": { "AWS": "arn:aws:iam::acme:user/*" } }),
        json!({ "Principal": { "AWS": "arn:aws:s3:::photos" } }),
        json!({ "Principal": { "Unknown": "x" } }),
        json!({ "NotPrincipal": { "AWS": "acme" } }),
        json!({ "Principal": null, "NotPrincipal": { "AWS": "acme" } }),
        json!({ "Action": null }),
        json!({ "Action": [] }),
        json!({ "Action": "ec2:RunInstances" }),
        json!({ "Action": "s3:" }),
        json!({ "NotAction": "s3:GetObject" }),
        json!({ "Resource": null }),
        json!({ "Resource": "photos/*" }),
        json!({ "Resource": "arn:aws:s3:::others/*" }),
        json!({ "Resource": format!("arn:aws:s3:::photos/{}", "a".repeat(2048)) }),
        json!({ "Resource": "arn:aws:s3:::photos/${aws:username" }),
        json!({ "Condition": { "StringEqual": { "s3:prefix": "a" } } }),
        json!({ "Condition": { "StringEquals": { "s3:prefx": "a" } } }),
        json!({ "Condition": { "StringEquals": { "s3:ExistingObjectTag": "a" } } }),
        json!({ "Condition": { "NumericEquals": { "s3:max-keys": "ten" } } }),
        json!({ "Condition": { "IpAddress": { "aws:SourceIp": "10.0.0.0/33" } } }),
        json!({ "Condition": { "DateLessThan": { "aws:CurrentTime": "tomorrow" } } }),
        json!({ "Condition": { "Bool": { "aws:SecureTransport": "yes" } } }),
        json!({ "Condition": { "StringEquals": "a" } }),
        json!({ "Sid": 1 }),
        json!({ "Colour": "red" }),
    ];
    for changes in statements {
        assert!(policy(&[statement(changes.clone())]).is_err(), "{changes}");
    }
}

/// Whatever a client sends, and whatever a request then says, nothing panics.
#[test]
fn no_text_panics() {
    let random: &dyn Random = &SeededRandom::new(7);
    let base = json!({ "Version": "2012-10-17", "Statement": [
        statement(json!({ "Resource": "arn:aws:s3:::photos/${aws:username, 'é'}/*?", "Principal": { "AWS": ["arn:aws:iam::acme:user/A", "*"] } })),
        statement(json!({ "Condition": { "ForAnyValue:StringLikeIfExists": { "s3:RequestObjectTagKeys": ["a*", 1] },
            "IpAddress": { "aws:SourceIp": "::/0" }, "DateLessThan": { "aws:CurrentTime": "2026-11-26T12:00:00Z" },
            "NumericLessThan": { "s3:max-keys": 1e3 } } })),
    ] })
    .to_string();
    let alphabet: Vec<char> = "{}[]\":,*?$/'é0-9aE.+ ".chars().collect();
    let facts = Given::new(&[("s3:requestobjecttagkeys", &["a", "\u{1F600}"]), ("aws:sourceip", &["x"]), ("s3:max-keys", &["1e999"])]);
    for _ in 0..20_000 {
        let mut text: Vec<char> = base.chars().collect();
        for _ in 0..=random.array::<1>()[0] % 4 {
            let [a, b, c, d] = random.array::<4>();
            let at = (usize::from(a) << 8 | usize::from(b)) % text.len();
            match c % 3 {
                0 => drop(text.remove(at)),
                1 => text.insert(at, alphabet[usize::from(d) % alphabet.len()]),
                _ => text[at] = alphabet[usize::from(d) % alphabet.len()],
            }
        }
        let text: String = text.into_iter().collect();
        if let Ok(policy) = Policy::parse(&text, "photos") {
            judge(&policy, "s3:GetObject", "photos/a", ALICE, &facts);
            policy.is_public();
            policy.asks_for_tags();
        }
    }
}

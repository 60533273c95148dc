//! Requests that a browser makes for a page from elsewhere: which of them a bucket's rules allow, and what the answer says of it.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/cors.html>

use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};
use s3s::{Body, S3Error, S3Result};
use umbra_core::{Error, Fault, Result};
use umbra_store::CorsRule;

use crate::error::custom;

/// The methods a rule may name.
pub(crate) const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];
/// Rules of one bucket, as S3 has it. <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketCors.html>
const RULES_MAX: usize = 100;
/// Characters of all rules of a bucket together. S3 takes a document of 64 KB.
const CHARACTERS_MAX: usize = 32 * 1024;

/// Answers the question a browser asks before the request itself. `rules` are those of the bucket; of none when there is no such bucket.
pub(crate) fn preflight(rules: &[CorsRule], headers: &HeaderMap) -> S3Result<Response<Body>> {
    let bad = |message: &str| custom("BadRequest", StatusCode::BAD_REQUEST, message);
    let origin = text(headers, &ORIGIN).ok_or_else(|| bad("Insufficient information. Origin request header needed."))?;
    let method = text(headers, &ACCESS_CONTROL_REQUEST_METHOD);
    let method = method.ok_or_else(|| bad("Invalid Access-Control-Request-Method: null"))?;
    let asked = text(headers, &ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
    let asked: Vec<_> = asked.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let Some(rule) = find(rules, origin, method, &asked) else { return Err(forbidden(rules)) };
    let mut response = Response::new(Body::empty());
    let answer = response.headers_mut();
    allow(rule, origin, answer);
    set(answer, ACCESS_CONTROL_ALLOW_METHODS, &methods(rule).join(", "));
    if !asked.is_empty() {
        set(answer, ACCESS_CONTROL_ALLOW_HEADERS, &asked.join(", ").to_ascii_lowercase());
    }
    if let Some(seconds) = rule.max_age_seconds {
        set(answer, ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
    }
    Ok(response)
}

/// Adds to the answer of a request from `asked` what lets the browser's page see it.
pub(crate) fn expose(rules: &[CorsRule], asked: &HeaderMap, method: &str, answer: &mut HeaderMap) {
    let Some(origin) = text(asked, &ORIGIN) else { return };
    // A page may announce with the request itself what it is for, and then that is judged: the headers allow nothing by themselves.
    let method = text(asked, &ACCESS_CONTROL_REQUEST_METHOD).unwrap_or(method);
    if let Some(rule) = find(rules, origin, method, &[]) {
        allow(rule, origin, answer);
        set(answer, ACCESS_CONTROL_ALLOW_METHODS, &methods(rule).join(", "));
    } else if !rules.is_empty() {
        answer.append(VARY, HeaderValue::from_static("Origin"));
    }
}

/// The first rule that allows `method` with the request headers `asked` to pages from `origin`.
fn find<'a>(rules: &'a [CorsRule], origin: &str, method: &str, asked: &[&str]) -> Option<&'a CorsRule> {
    rules.iter().find(|rule| {
        let is_allowed =
            |name: &&str| rule.headers.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), &name.to_ascii_lowercase()));
        rule.origins.iter().any(|pattern| matches(pattern, origin)) && methods(rule).contains(&method) && asked.iter().all(is_allowed)
    })
}

fn methods(rule: &CorsRule) -> Vec<&str> {
    if rule.methods.iter().any(|method| method == "*") { METHODS.to_vec() } else { rule.methods.iter().map(String::as_str).collect() }
}

/// Whether `text` fits `pattern`, in which one `*` may stand for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((begin, end)) => text.len() >= begin.len() + end.len() && text.starts_with(begin) && text.ends_with(end),
    }
}

/// What both kinds of answer say.
fn allow(rule: &CorsRule, origin: &str, answer: &mut HeaderMap) {
    if rule.origins.iter().any(|pattern| pattern == "*") {
        set(answer, ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    } else {
        set(answer, ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        set(answer, ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    if !rule.exposed.is_empty() {
        set(answer, ACCESS_CONTROL_EXPOSE_HEADERS, &rule.exposed.join(", "));
    }
    answer.append(VARY, HeaderValue::from_static("Origin, Access-Control-Request-Headers, Access-Control-Request-Method"));
}

fn forbidden(rules: &[CorsRule]) -> S3Error {
    let why = if rules.is_empty() {
        "CORSResponse: CORS is not enabled for this bucket."
    } else {
        "CORSResponse: This CORS request is not allowed."
    };
    custom("AccessForbidden", StatusCode::FORBIDDEN, why)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// What cannot be a header's value is left out: rules are checked when they are set, origins when they are matched.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// Refuses rules that make no sense or are too many.
pub(crate) fn check(rules: &[CorsRule]) -> Result<()> {
    let refuse = |message: String| Err(Error::invalid(Fault::InvalidRequest, message));
    if rules.len() > RULES_MAX {
        return refuse(format!("a bucket has at most {RULES_MAX} CORS rules"));
    }
    let texts = |rule: &CorsRule| [&rule.origins, &rule.methods, &rule.headers, &rule.exposed].map(Clone::clone).concat();
    let characters: usize = rules.iter().flat_map(|rule| texts(rule).into_iter().chain(rule.id.clone())).map(|text| text.len() + 8).sum();
    if characters > CHARACTERS_MAX {
        return refuse(format!("the CORS rules of a bucket have at most {CHARACTERS_MAX} characters"));
    }
    for rule in rules {
        if rule.origins.is_empty() || rule.methods.is_empty() {
            return refuse("a CORS rule names at least one origin and one method".to_owned());
        }
        if let Some(method) = rule.methods.iter().find(|method| *method != "*" && !METHODS.contains(&method.as_str())) {
            return refuse(format!("{method:?} is no method of a CORS rule: they are {}", METHODS.join(", ")));
        }
        if let Some(twice) = rule.origins.iter().chain(&rule.headers).find(|pattern| pattern.matches('*').count() > 1) {
            return refuse(format!("{twice:?} has more than one *"));
        }
        if let Some(text) = texts(rule).iter().find(|text| text.is_empty() || HeaderValue::try_from(text.as_str()).is_err()) {
            return refuse(format!("{text:?} cannot be in a CORS rule"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use umbra_store::CorsRule;

    use super::{CHARACTERS_MAX, RULES_MAX, check, expose, matches, preflight};

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(ToString::to_string).collect()
    }

    fn rule(origins: &[&str], methods: &[&str], headers: &[&str]) -> CorsRule {
        CorsRule { origins: list(origins), methods: list(methods), headers: list(headers), ..CorsRule::default() }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn one_star_stands_for_anything() {
        let cases = [
            ("*", "https://a", true),
            ("https://*.a.example", "https://b.a.example", true),
            ("https://*.a.example", "https://.a.exampl", false),
            ("https://a", "https://a", true),
            ("https://a", "https://A", false),
            ("ab*ba", "aba", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn browsers_are_told_what_they_may() {
        let rules = [
            CorsRule { max_age_seconds: Some(60), ..rule(&["https://*.example"], &["PUT"], &["X-*", "content-type"]) },
            CorsRule { exposed: list(&["ETag"]), ..rule(&["*"], &["GET"], &[]) },
        ];
        let ask = |origin, method, names| {
            let pairs = [("origin", origin), ("access-control-request-method", method), ("access-control-request-headers", names)];
            preflight(&rules, &headers(&pairs)).map(|response| response.headers().clone())
        };
        let put = ask("https://a.example", "PUT", "Content-Type, x-amz-date").unwrap();
        assert_eq!(put["access-control-allow-origin"], "https://a.example");
        assert_eq!(put["access-control-allow-headers"], "content-type, x-amz-date");
        assert_eq!(put["access-control-max-age"], "60");
        assert_eq!(put["access-control-allow-credentials"], "true");
        let get = ask("https://elsewhere", "GET", "").unwrap();
        assert_eq!(
            (&get["access-control-allow-origin"], &get["access-control-expose-headers"]),
            (&HeaderValue::from_static("*"), &HeaderValue::from_static("ETag"))
        );
        assert!(!get.contains_key("access-control-allow-credentials"));
        for (origin, method, names) in
            [("https://elsewhere", "PUT", ""), ("https://a.example", "PUT", "authorization"), ("null", "DELETE", "")]
        {
            assert_eq!(ask(origin, method, names).unwrap_err().code().as_str(), "AccessForbidden", "{origin} {method} {names}");
        }
        assert_eq!(preflight(&[], &headers(&[("origin", "https://a")])).unwrap_err().code().as_str(), "BadRequest");
        assert_eq!(preflight(&rules, &HeaderMap::new()).unwrap_err().code().as_str(), "BadRequest");
    }

    #[test]
    fn answers_are_exposed_to_pages_that_may_see_them() {
        let rules = [rule(&["https://a"], &["*"], &[])];
        let answer = |origin| {
            let mut answer = HeaderMap::new();
            expose(&rules, &headers(&[("origin", origin)]), "DELETE", &mut answer);
            answer
        };
        assert_eq!(answer("https://a")["access-control-allow-origin"], "https://a");
        assert_eq!(answer("https://a")["access-control-allow-methods"], "GET, PUT, POST, DELETE, HEAD");
        assert!(!answer("https://b").contains_key("access-control-allow-origin"));
        assert_eq!(answer("https://b")["vary"], "Origin", "a cache must not give one page the other's answer");
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        let good = rule(&["*"], &["GET"], &["*"]);
        assert!(check(&vec![good.clone(); RULES_MAX]).is_ok());
        let bad = [
            vec![good.clone(); RULES_MAX + 1],
            vec![rule(&[], &["GET"], &[])],
            vec![rule(&["*"], &[], &[])],
            vec![rule(&["*"], &["PATCH"], &[])],
            vec![rule(&["http://*.*"], &["GET"], &[])],
            vec![rule(&["a\r\nb"], &["GET"], &[])],
            vec![rule(&[&"a".repeat(CHARACTERS_MAX)], &["GET"], &[])],
        ];
        for rules in bad {
            assert!(check(&rules).is_err(), "{:.200}", format!("{rules:?}"));
        }
    }
}

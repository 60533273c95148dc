use std::time::Duration;

use http::{Request, request::Parts};
use proptest::{prop_assert, proptest};
use umbra_core::Timestamp;

use super::{EMPTY_SHA256, SignError, UNSIGNED_PAYLOAD, VerifyError, sha256_hex, sign_request, verify_request};
use crate::Credentials;

/// 24 May 2013, midnight: the day of the examples in Amazon's documentation.
const EXAMPLE_TIME: Timestamp = Timestamp::from_millis(1_369_353_600_000);
const SKEW: Duration = Duration::from_secs(15 * 60);

fn example_credentials() -> Credentials {
    Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
}

fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let request = headers.iter().fold(Request::builder().method(method).uri(uri), |request, (name, value)| request.header(*name, *value));
    request.body(()).unwrap().into_parts().0
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>, the four examples.
#[test]
fn signatures_are_those_of_the_documentation() {
    let put_body = sha256_hex(b"Welcome to Amazon S3.");
    let put_headers = [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
    let range = [("range", "bytes=0-9")];
    let cases = [
        ("GET", "/test.txt", range.as_slice(), EMPTY_SHA256, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        ("PUT", "/test%24file.text", put_headers.as_slice(), &put_body, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
        ("GET", "/?lifecycle", &[], EMPTY_SHA256, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("GET", "/?max-keys=2&prefix=J", &[], EMPTY_SHA256, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ];
    for (method, target, headers, body, signature) in cases {
        let mut parts = parts(method, &format!("https://examplebucket.s3.amazonaws.com{target}"), headers);
        sign_request(&mut parts, body, &example_credentials(), "us-east-1", "s3", EXAMPLE_TIME).unwrap();
        let authorization = parts.headers["authorization"].to_str().unwrap();
        assert!(authorization.ends_with(&format!("Signature={signature}")), "{method} {target}: {authorization}");
        assert!(authorization.contains("Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"));
        assert_eq!(parts.headers["x-amz-date"], "20130524T000000Z");
        assert_eq!(parts.headers["x-amz-content-sha256"], body);
        assert_eq!(parts.headers["host"], "examplebucket.s3.amazonaws.com");
    }
}

#[test]
fn everything_but_what_proxies_change_is_signed() {
    let headers = [
        ("x-umbra-shadow-path", "a/b"),
        ("accept-encoding", "identity"),
        ("user-agent", "umbra"),
        ("content-length", "4"),
        ("if-match", "\"e\""),
    ];
    let mut parts = parts("PUT", "http://localhost:9000/b/k", &headers);
    let credentials = example_credentials().with_session_token("token");
    sign_request(&mut parts, UNSIGNED_PAYLOAD, &credentials, "us-east-1", "s3", EXAMPLE_TIME).unwrap();
    let authorization = parts.headers["authorization"].to_str().unwrap();
    let signed = "SignedHeaders=host;if-match;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-umbra-shadow-path,";
    assert!(authorization.contains(signed), "{authorization}");
    assert_eq!(parts.headers["host"], "localhost:9000");
    assert_eq!(parts.headers["x-amz-content-sha256"], UNSIGNED_PAYLOAD);
    assert!(parts.headers["x-amz-security-token"].is_sensitive());
}

#[test]
fn what_cannot_be_signed_is_refused() {
    let credentials = example_credentials();
    let sign = |parts: &mut Parts, credentials: &Credentials| sign_request(parts, EMPTY_SHA256, credentials, "r", "s3", EXAMPLE_TIME);
    assert!(matches!(sign(&mut parts("GET", "/k", &[]), &credentials), Err(SignError::NoHost)));
    let mut binary = parts("GET", "http://h/k", &[]);
    binary.headers.insert("x-amz-meta-a", http::HeaderValue::from_bytes(b"\xff\xfe").unwrap());
    assert!(matches!(sign(&mut binary, &credentials), Err(SignError::Header(_))));
    let odd = Credentials::new("a\nb", "s");
    assert!(matches!(sign(&mut parts("GET", "http://h/k", &[]), &odd), Err(SignError::Unsignable(_))));
    let odd = Credentials::new("a", "s").with_session_token("a\nb");
    assert!(matches!(sign(&mut parts("GET", "http://h/k", &[]), &odd), Err(SignError::Unsignable(_))));
}

/// A request to the admin API as the server sees it: the target without scheme and host.
fn signed_admin_request() -> (Parts, String) {
    let body = sha256_hex(b"{\"name\":\"photos\"}");
    let mut parts = parts(
        "POST",
        "http://localhost:9001/v1/buckets?a=b%20c&flag",
        &[("content-type", "application/json"), ("x-amz-meta-two", "1"), ("x-amz-meta-two", "2")],
    );
    sign_request(&mut parts, &body, &example_credentials(), "local", "umbra", EXAMPLE_TIME).unwrap();
    parts.uri = parts.uri.path_and_query().unwrap().as_str().parse().unwrap();
    (parts, body)
}

async fn verify(parts: &Parts, body: &str, now: Timestamp) -> Result<String, VerifyError> {
    let lookup = |key: String| std::future::ready((key == "AKIAIOSFODNN7EXAMPLE").then(example_credentials));
    verify_request(parts, body, "umbra", now, SKEW, lookup).await
}

#[tokio::test]
async fn what_was_signed_verifies() {
    let (parts, body) = signed_admin_request();
    assert_eq!(verify(&parts, &body, EXAMPLE_TIME).await, Ok("AKIAIOSFODNN7EXAMPLE".into()));
    let mut with_hops = parts.clone();
    with_hops.headers.insert("x-forwarded-for", "10.0.0.1".parse().unwrap());
    assert!(verify(&with_hops, &body, EXAMPLE_TIME).await.is_ok(), "a header that is no business of the signature");
}

#[tokio::test]
async fn the_time_of_signing_must_be_near() {
    let (parts, body) = signed_admin_request();
    let at = |secs: i64| Timestamp::from_millis(EXAMPLE_TIME.as_millis() + secs * 1000);
    for (secs, near) in [(900, true), (-900, true), (901, false), (-901, false)] {
        let outcome = verify(&parts, &body, at(secs)).await;
        assert_eq!(outcome.err(), (!near).then_some(VerifyError::Skewed), "{secs}");
    }
}

#[tokio::test]
async fn whatever_is_changed_afterwards_is_noticed() {
    type Tamper = Box<dyn Fn(&mut Parts)>;
    let set = |parts: &mut Parts, name: &'static str, value: &str| drop(parts.headers.insert(name, value.parse().unwrap()));
    let replace = |parts: &mut Parts, from: &str, to: &str| {
        let value = parts.headers["authorization"].to_str().unwrap().replace(from, to);
        assert_ne!(value, parts.headers["authorization"]);
        parts.headers.insert("authorization", value.parse().unwrap());
    };
    let cases: Vec<(&str, Tamper, VerifyError)> = vec![
        ("method", Box::new(|p| p.method = http::Method::DELETE), VerifyError::Mismatch),
        ("path", Box::new(|p| p.uri = "/v1/keys?a=b%20c&flag".parse().unwrap()), VerifyError::Mismatch),
        ("query", Box::new(|p| p.uri = "/v1/buckets?a=b&flag".parse().unwrap()), VerifyError::Mismatch),
        ("host", Box::new(move |p| set(p, "host", "elsewhere:9001")), VerifyError::Mismatch),
        ("signed header", Box::new(move |p| set(p, "content-type", "text/plain")), VerifyError::Mismatch),
        ("one of two values", Box::new(move |p| set(p, "x-amz-meta-two", "1")), VerifyError::Mismatch),
        ("announced hash", Box::new(move |p| set(p, "x-amz-content-sha256", EMPTY_SHA256)), VerifyError::Mismatch),
        ("date within the day", Box::new(move |p| set(p, "x-amz-date", "20130524T000001Z")), VerifyError::Mismatch),
        (
            "date",
            Box::new(move |p| set(p, "x-amz-date", "20130525T000000Z")),
            VerifyError::Malformed("the credential's day is not that of x-amz-date"),
        ),
        ("date's form", Box::new(move |p| set(p, "x-amz-date", "2013-05-24T00:00:00Z")), VerifyError::Malformed("x-amz-date")),
        ("new amz header", Box::new(move |p| set(p, "x-amz-acl", "public-read")), VerifyError::Uncovered),
        ("removed header", Box::new(|p| drop(p.headers.remove("content-type"))), VerifyError::Malformed("a signed header is missing")),
        ("removed date", Box::new(|p| drop(p.headers.remove("x-amz-date"))), VerifyError::Malformed("a signed header is missing")),
        ("uncovered host", Box::new(move |p| replace(p, ";host", "")), VerifyError::Uncovered),
        ("uncovered date", Box::new(move |p| replace(p, "x-amz-date;", "")), VerifyError::Uncovered),
        ("key", Box::new(move |p| replace(p, "AKIAIOSFODNN7EXAMPLE", "somebody")), VerifyError::UnknownKey),
        ("region", Box::new(move |p| replace(p, "/local/", "/other/")), VerifyError::Mismatch),
        ("service", Box::new(move |p| replace(p, "/umbra/", "/s3/")), VerifyError::WrongService),
        ("scope", Box::new(move |p| replace(p, "aws4_request", "aws5_request")), VerifyError::Malformed("the credential's scope")),
        ("scheme", Box::new(move |p| replace(p, "AWS4-HMAC-SHA256", "Bearer")), VerifyError::Missing),
        ("signature", Box::new(move |p| replace(p, "Signature=", "Signature=0")), VerifyError::Mismatch),
        ("field", Box::new(move |p| replace(p, "Signature=", "Signatur=")), VerifyError::Malformed("an unknown field")),
        (
            "twice",
            Box::new(|p| assert!(p.headers.append("authorization", "AWS4-HMAC-SHA256 x".parse().unwrap()))),
            VerifyError::Malformed("a header given twice"),
        ),
        ("none", Box::new(|p| drop(p.headers.remove("authorization"))), VerifyError::Missing),
    ];
    for (name, tamper, expected) in cases {
        let (mut parts, body) = signed_admin_request();
        tamper(&mut parts);
        assert_eq!(verify(&parts, &body, EXAMPLE_TIME).await, Err(expected), "{name}");
    }
    let (parts, _) = signed_admin_request();
    assert_eq!(verify(&parts, &sha256_hex(b"{}"), EXAMPLE_TIME).await, Err(VerifyError::Mismatch), "body");
}

#[tokio::test]
async fn another_secret_does_not_match() {
    let (parts, body) = signed_admin_request();
    let lookup = |_| std::future::ready(Some(Credentials::new("AKIAIOSFODNN7EXAMPLE", "guess")));
    assert_eq!(verify_request(&parts, &body, "umbra", EXAMPLE_TIME, SKEW, lookup).await, Err(VerifyError::Mismatch));
}

proptest! {
    #[test]
    fn no_authorization_is_too_odd_to_be_refused(odd in "(AWS4-HMAC-SHA256 )?([ -~]*|Credential=[ -~]*/20130524/r/umbra/aws4_request, SignedHeaders=[a-z;-]*, Signature=[0-9a-z]*)") {
        let (mut parts, body) = signed_admin_request();
        parts.headers.insert("authorization", odd.parse().unwrap());
        let outcome = futures::executor::block_on(verify(&parts, &body, EXAMPLE_TIME));
        prop_assert!(outcome.is_err());
    }
}

//! Verifying a signed request.

use std::time::Duration;

use aws_sigv4::http_request::PayloadChecksumKind;
use http::{HeaderMap, header::AUTHORIZATION, request::Parts};
use ring::hmac;
use time::{PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description};
use umbra_core::Timestamp;

use super::{Scope, X_AMZ_CONTENT_SHA256, X_AMZ_DATE, calculate};
use crate::Credentials;

const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// Why a request is not taken for what it says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It is not signed at all.
    #[error("the request is not signed")]
    Missing,
    /// Its `Authorization` or `x-amz-date` header is malformed.
    #[error("the signature is malformed: {0}")]
    Malformed(&'static str),
    /// It was signed for something else.
    #[error("the signature is for another service")]
    WrongService,
    /// The signature does not cover what it must.
    #[error("the signature must cover host, x-amz-date and every other x-amz header")]
    Uncovered,
    /// It was signed too long ago, or by a clock that runs ahead.
    #[error("the difference between the request time and the current time is too large")]
    Skewed,
    /// Nobody has that access key.
    #[error("there is no such access key")]
    UnknownKey,
    /// The signature is not the one the secret gives.
    #[error("the signature does not match")]
    Mismatch,
}

/// The parts of an `Authorization` header.
#[derive(Debug, PartialEq, Eq)]
struct Authorization<'a> {
    access_key: &'a str,
    day: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

/// Verifies the signature of a request whose body has the SHA-256 `body_sha256`, and returns the access key that signed it.
///
/// `lookup` finds the credentials of an access key. The time of signing may differ from `now` by `skew_max`. The region is not judged.
pub async fn verify_request<F: Future<Output = Option<Credentials>>>(
    parts: &Parts,
    body_sha256: &str,
    service: &str,
    now: Timestamp,
    skew_max: Duration,
    lookup: impl FnOnce(String) -> F,
) -> Result<String, VerifyError> {
    let authorization = Authorization::parse(&parts.headers)?;
    if authorization.service != service {
        return Err(VerifyError::WrongService);
    }
    let headers = authorization.covered(&parts.headers)?;
    let time = signing_time(&parts.headers, authorization.day)?;
    if (now.as_millis() - time.as_millis()).unsigned_abs() > u64::try_from(skew_max.as_millis()).unwrap_or(u64::MAX) {
        return Err(VerifyError::Skewed);
    }
    let announced = single(&parts.headers, X_AMZ_CONTENT_SHA256.as_str())?;
    if announced.is_some_and(|announced| announced != body_sha256) {
        return Err(VerifyError::Mismatch);
    }
    let credentials = lookup(authorization.access_key.to_owned()).await.ok_or(VerifyError::UnknownKey)?;
    // A session token is a header like any other here: what was signed says whether it was there.
    let credentials = Credentials::new(authorization.access_key, credentials.secret());
    let scope = Scope { region: authorization.region, service, time };
    let (_, expected) = calculate(parts, &headers, body_sha256, &credentials, &scope, PayloadChecksumKind::NoHeader)
        .map_err(|_| VerifyError::Malformed("a header that cannot be signed"))?;
    if equal_in_constant_time(expected.as_bytes(), authorization.signature.as_bytes()) {
        Ok(authorization.access_key.to_owned())
    } else {
        Err(VerifyError::Mismatch)
    }
}

impl<'a> Authorization<'a> {
    fn parse(headers: &'a HeaderMap) -> Result<Self, VerifyError> {
        let text = single(headers, AUTHORIZATION.as_str())?.ok_or(VerifyError::Missing)?;
        let fields = text.strip_prefix("AWS4-HMAC-SHA256 ").ok_or(VerifyError::Missing)?;
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for field in fields.split(',') {
            let (name, value) = field.trim().split_once('=').ok_or(VerifyError::Malformed("a field without a value"))?;
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return Err(VerifyError::Malformed("an unknown field")),
            };
            if slot.replace(value).is_some() {
                return Err(VerifyError::Malformed("a field given twice"));
            }
        }
        let (Some(credential), Some(signed_headers), Some(signature)) = (credential, signed_headers, signature) else {
            return Err(VerifyError::Malformed("a field is missing"));
        };
        // An access key may contain slashes; the scope behind it has exactly four parts.
        let mut scope = credential.rsplitn(5, '/');
        let (Some("aws4_request"), Some(service), Some(region), Some(day), Some(access_key)) =
            (scope.next(), scope.next(), scope.next(), scope.next(), scope.next())
        else {
            return Err(VerifyError::Malformed("the credential's scope"));
        };
        Ok(Self { access_key, day, region, service, signed_headers: signed_headers.split(';').collect(), signature })
    }

    /// The headers the signature covers, each value by itself. Refuses a signature that leaves out what must be covered.
    fn covered(&self, headers: &'a HeaderMap) -> Result<Vec<(&'a str, &'a str)>, VerifyError> {
        let is_signed = |name: &str| self.signed_headers.contains(&name);
        let is_due = |name: &str| name == "host" || name.starts_with("x-amz-");
        let required = is_signed("host") && is_signed(X_AMZ_DATE.as_str());
        if !required || !headers.keys().all(|name| !is_due(name.as_str()) || is_signed(name.as_str())) {
            return Err(VerifyError::Uncovered);
        }
        if !self.signed_headers.iter().all(|name| headers.contains_key(*name)) {
            return Err(VerifyError::Malformed("a signed header is missing"));
        }
        let covered = headers.iter().filter(|(name, _)| is_signed(name.as_str())).map(|(name, value)| {
            let value = std::str::from_utf8(value.as_bytes()).map_err(|_| VerifyError::Malformed("a signed header is not UTF-8"))?;
            Ok((name.as_str(), value))
        });
        covered.collect()
    }
}

/// The value of a header that may be there once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, VerifyError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(|value| value.to_str().map_err(|_| VerifyError::Malformed("a header is not text"))).transpose()?;
    if values.next().is_some() { Err(VerifyError::Malformed("a header given twice")) } else { Ok(first) }
}

fn signing_time(headers: &HeaderMap, day: &str) -> Result<Timestamp, VerifyError> {
    let text = single(headers, X_AMZ_DATE.as_str())?.ok_or(VerifyError::Malformed("x-amz-date is missing"))?;
    let time = PrimitiveDateTime::parse(text, DATE).map_err(|_| VerifyError::Malformed("x-amz-date"))?;
    if text.get(..8) != Some(day) {
        return Err(VerifyError::Malformed("the credential's day is not that of x-amz-date"));
    }
    Ok(Timestamp::from_millis(time.assume_utc().unix_timestamp() * 1000))
}

/// Compares without telling by its duration where the two differ: by their tags under a key nobody knows.
fn equal_in_constant_time(expected: &[u8], given: &[u8]) -> bool {
    let Ok(key) = hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new()) else { return false };
    hmac::verify(&key, given, hmac::sign(&key, expected).as_ref()).is_ok()
}

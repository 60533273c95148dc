//! Signatures, cheaply: the day's key is derived once, and the payload is not signed.
//!
//! The signer of the client crate signs anything for anybody, and costs as much as the request that it signs; here it would take CPU
//! time from the server that is measured. <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>

use std::fmt::Write;

use parking_lot::Mutex;
use ring::{digest, hmac};
use time::OffsetDateTime;
use umbra_admin::api::SecretText;
use umbra_core::Timestamp;

/// What stands for the hash of the payload.
pub(super) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

const REGION: &str = "us-east-1";
const SIGNED_HEADERS: &str = "host;x-amz-content-sha256;x-amz-date";
const MILLIS_PER_DAY: i64 = 86_400_000;

/// Signs requests to one host with one key.
pub(super) struct Signer {
    access_key: String,
    secret_key: SecretText,
    host: String,
    day: Mutex<Option<(i64, hmac::Key)>>,
}

/// The headers that carry a signature.
#[derive(Debug)]
pub(super) struct Signature {
    /// `x-amz-date`.
    pub(super) date: String,
    /// `Authorization`.
    pub(super) authorization: String,
}

impl Signer {
    pub(super) fn new(access_key: &str, secret_key: &SecretText, host: &str) -> Self {
        Self { access_key: access_key.to_owned(), secret_key: secret_key.clone(), host: host.to_owned(), day: Mutex::default() }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Signs a request. `path` and `query` are as they are sent, the parameters in order.
    pub(super) fn sign(&self, now: Timestamp, method: &str, path: &str, query: &str) -> Signature {
        let date = date(now);
        let day = &date[..8];
        let host = &self.host;
        let request = format!(
            "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{UNSIGNED_PAYLOAD}\nx-amz-date:{date}\n\n{SIGNED_HEADERS}\n{UNSIGNED_PAYLOAD}"
        );
        let hash = hex::encode(digest::digest(&digest::SHA256, request.as_bytes()));
        let scope = format!("{day}/{REGION}/s3/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}");
        let signature = hex::encode(hmac::sign(&self.key(now, day), text.as_bytes()));
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={SIGNED_HEADERS}, Signature={signature}", self.access_key);
        Signature { date, authorization }
    }

    fn key(&self, now: Timestamp, day: &str) -> hmac::Key {
        let number = now.as_millis().div_euclid(MILLIS_PER_DAY);
        let mut known = self.day.lock();
        match &*known {
            Some((of, key)) if *of == number => key.clone(),
            _ => {
                let secret = format!("AWS4{}", self.secret_key.expose());
                let key = [day, REGION, "s3", "aws4_request"]
                    .into_iter()
                    .fold(hmac_key(secret.as_bytes()), |key, text| hmac_key(hmac::sign(&key, text.as_bytes()).as_ref()));
                known.insert((number, key)).1.clone()
            }
        }
    }
}

fn hmac_key(bytes: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}

fn date(now: Timestamp) -> String {
    let time = OffsetDateTime::from_unix_timestamp(now.as_secs()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let mut date = String::with_capacity(16);
    // Writing to a string cannot fail.
    let _ = write!(date, "{:04}{:02}{:02}", time.year(), u8::from(time.month()), time.day());
    let _ = write!(date, "T{:02}{:02}{:02}Z", time.hour(), time.minute(), time.second());
    date
}

#[cfg(test)]
mod tests {
    use http::{Request, header};
    use umbra_admin::api::SecretText;
    use umbra_client::{Credentials, sigv4};
    use umbra_core::Timestamp;

    use super::{Signer, UNSIGNED_PAYLOAD};

    #[test]
    fn the_signatures_are_those_of_the_client() {
        let signer = Signer::new("AKIDEXAMPLE", &SecretText::new("se/cret+key"), "127.0.0.1:9000");
        let credentials = Credentials::new("AKIDEXAMPLE", "se/cret+key");
        let times = [1_700_000_000_123, 1_700_000_001_000, 1_709_164_800_000, 4_102_444_799_999].map(Timestamp::from_millis);
        let targets =
            [("GET", "/b/put/0f", ""), ("PUT", "/b", ""), ("GET", "/b", "delimiter=%2F&list-type=2&max-keys=1000&start-after=d1~")];
        for time in times {
            for (method, path, query) in targets {
                let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
                let request = Request::builder().method(method).uri(uri).header(header::HOST, "127.0.0.1:9000");
                let mut parts = request.body(()).unwrap().into_parts().0;
                sigv4::sign_request(&mut parts, UNSIGNED_PAYLOAD, &credentials, "us-east-1", "s3", time).unwrap();
                let signature = signer.sign(time, method, path, query);
                assert_eq!(parts.headers[header::AUTHORIZATION], signature.authorization, "{method} {path}?{query} at {time:?}");
                assert_eq!(parts.headers["x-amz-date"], signature.date);
            }
        }
    }
}

//! URLs for others, signed here with the key of whoever asks.

use std::time::Duration;

use http::{Method, header::HOST};
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response};
use serde::Deserialize;
use serde_json::{Value, json};
use umbra_client::{Credentials, encode_path, sigv4};
use umbra_core::{BucketName, Error, Fault, ObjectKey};

use super::{answer, document, routes::Tigris};
use crate::{call::Call, error::Failure, layer::Scheme};

/// The longest a URL may be good for: a week, as S3 has it.
const EXPIRES_SECONDS_MAX: u64 = 7 * 24 * 60 * 60;
/// How long it is good for when nothing is said.
const EXPIRES_SECONDS: u64 = 60 * 60;

/// How the client reached us.
pub(super) struct Address {
    scheme: Scheme,
    host: Option<String>,
}

impl Address {
    pub(super) fn of<T>(request: &S3Request<T>) -> Self {
        let scheme = request.extensions.get::<Scheme>().copied().unwrap_or_default();
        let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
        Self { scheme, host: host.map(str::to_owned) }
    }
}

#[derive(Deserialize)]
struct Document {
    bucket: String,
    key: String,
    key_id: String,
    #[serde(rename = "type")]
    kind: String,
    expires_in: Option<u64>,
    version_id: Option<String>,
}

/// Signs a URL. Whether its bearer may do what it is for is judged when it is used.
pub(super) fn presign(tigris: &Tigris, call: &Call, address: &Address, document: Value) -> Result<S3Response<Body>, Failure> {
    let document: Document = serde_json::from_value(document).map_err(|error| document::malformed(&error))?;
    let key = call.key.as_ref().filter(|key| key.id == document.key_id);
    let message = "URLs are signed with the access key that asks for them, and with no other";
    let key = key.ok_or_else(|| S3Error::with_message(S3ErrorCode::AccessDenied, message))?;
    let (bucket, object) = (BucketName::parse(&document.bucket)?, ObjectKey::parse(&document.key)?);
    let refuse = |message: &str| Err(Error::invalid(Fault::InvalidArgument, message).into());
    let method = match document.kind.as_str() {
        "get" => Method::GET,
        "put" => Method::PUT,
        _ => return refuse("the type is get or put"),
    };
    let expires = document.expires_in.unwrap_or(EXPIRES_SECONDS);
    if !(1..=EXPIRES_SECONDS_MAX).contains(&expires) {
        return refuse("a URL expires within 1 to 604800 seconds");
    }
    if document.version_id.is_some_and(|version| !version.is_empty() && version != "null") {
        return refuse("invalid version id specified");
    }
    let endpoint = match (&tigris.settings.public_url, &address.host) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(host)) => format!("{}://{host}", address.scheme.name()),
        (None, None) => return Err(S3Error::new(S3ErrorCode::InvalidRequest).into()),
    };
    let url = format!("{endpoint}/{bucket}/{}", encode_path(object.as_str()));
    let credentials = Credentials::new(&key.id, key.secret.expose());
    let (time, region) = (tigris.clock.now(), &tigris.settings.region);
    let url = sigv4::presign(&method, &url, &credentials, region, time, Duration::from_secs(expires));
    let url = url.map_err(|error| Error::internal("a URL cannot be signed").because(error))?;
    answer::json(&json!({ "url": url }))
}

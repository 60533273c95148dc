//! How calls travel: HTTP/1.1, over TLS when the address says so.

use std::{error::Error as StdError, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use umbra_client::{
    Credentials,
    sigv4::{sha256_hex, sign_request},
};
use umbra_core::Timestamp;
use url::Url;

use super::ClientError;
use crate::signature::SERVICE;

/// The region calls are signed for; the server does not judge it.
const REGION: &str = "auto";
/// Longer than the server lets a request take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);
/// The largest answer: a page of a thousand buckets is well below.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Whose certificates are trusted.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// The public authorities.
    #[default]
    Public,
    /// These authorities alone.
    Only(Vec<CertificateDer<'static>>),
}

/// Signs requests, sends them, and reads the answers whole.
pub(super) struct Transport(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Transport {
    pub(super) fn new(trust: Trust) -> Result<Self, ClientError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(ClientError::Trust)?;
        let tls = match trust {
            Trust::Public => tls.with_webpki_roots(),
            Trust::Only(authorities) => {
                let mut roots = RootCertStore::empty();
                for authority in authorities {
                    roots.add(authority).map_err(ClientError::Trust)?;
                }
                tls.with_root_certificates(roots)
            }
        };
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls.with_no_client_auth()).https_or_http().enable_http1().build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    /// Sends one request and gathers its answer.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &Url,
        body: Vec<u8>,
        credentials: &Credentials,
        now: Timestamp,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let request =
            Request::builder().method(method).uri(url.as_str()).header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let (mut parts, ()) = request.body(()).map_err(|_| ClientError::Address(url.to_string()))?.into_parts();
        sign_request(&mut parts, &sha256_hex(&body), credentials, REGION, SERVICE, now).map_err(ClientError::Sign)?;
        let request = Request::from_parts(parts, Full::from(body));
        let exchange = async {
            let answer = self.0.request(request).await.map_err(|error| unreachable(url, &error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| ClientError::Unreachable(origin(url), error.to_string()))?;
            Ok((status, body.to_bytes()))
        };
        let late = |_| ClientError::Unreachable(origin(url), format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()));
        tokio::time::timeout(ANSWER_TIMEOUT, exchange).await.map_err(late)?
    }
}

/// The address without the path of the call at hand.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn unreachable(url: &Url, error: &(dyn StdError + 'static)) -> ClientError {
    let mut last = error;
    loop {
        if last.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return ClientError::Refused(origin(url));
        }
        if is_no_tls(last) {
            return ClientError::Plain(origin(url));
        }
        if last.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return ClientError::NotHttp(origin(url));
        }
        match last.source() {
            Some(source) => last = source,
            None => return ClientError::Unreachable(origin(url), last.to_string()),
        }
    }
}

/// Whether the answer to a TLS greeting was no TLS.
fn is_no_tls(error: &(dyn StdError + 'static)) -> bool {
    // The source of an error of I/O is not what it wraps, but the source of that.
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => is_no_tls(wrapped),
        None => matches!(error.downcast_ref(), Some(rustls::Error::InvalidMessage(_))),
    }
}

//! Connections, and one request over one of them.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::time::{sleep, timeout};
use tower::Service;
use umbra_core::with_causes;

use crate::{
    ClientSettings, EndpointGuard, Error, GuardError, Result,
    error::Cause,
    guard::{GuardedConnector, GuardedStream},
    request_body::{RequestBody, Upload},
};

/// User metadata of 2 KiB can be spread over hundreds of headers; hyper's own limit of 100 would make such an object unreadable.
const HEADERS_MAX: usize = 512;

/// A pool of connections behind the guard.
#[derive(Clone)]
pub(crate) struct Transport {
    http: Client<Connector, RequestBody>,
    connect_timeout: Duration,
}

impl Transport {
    pub(crate) fn new(guard: EndpointGuard, settings: &ClientSettings) -> Result<Self> {
        let tcp = GuardedConnector::new(guard, settings.connect_timeout, settings.idle_timeout);
        let connector = Connector { inner: HttpsConnector::from((tcp, tls(settings)?)), timeout: settings.connect_timeout };
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.idle_connection_timeout)
            .pool_max_idle_per_host(settings.idle_connections_max)
            .http1_max_headers(HEADERS_MAX)
            .build(connector);
        Ok(Self { http, connect_timeout: settings.connect_timeout })
    }

    /// Sends `request` and waits for the head of the answer. Redirects are answers like any other.
    ///
    /// `upload` is the other end of the request's body, where that streams. While it does, the origin has no reason to answer, and how
    /// fast it goes is up to the source; only an origin that takes no bytes is at fault, which the connection watches.
    pub(crate) async fn send(
        &self,
        request: Request<RequestBody>,
        upload: Option<&Upload>,
        response_timeout: Duration,
    ) -> Result<Response<Incoming>> {
        let overdue = async {
            match upload {
                Some(upload) => upload.sent().await,
                None => sleep(self.connect_timeout).await,
            }
            sleep(response_timeout).await;
        };
        let is_sent = || upload.is_none_or(Upload::is_sent);
        tokio::select! {
            biased;
            answer = self.http.request(request) => match answer {
                Ok(response) => Ok(response),
                Err(error) => Err(upload.and_then(Upload::take_fault).unwrap_or_else(|| broken(error, is_sent()))),
            },
            () = overdue => Err(Error::Timeout),
        }
    }
}

/// Sorts a failure of the connection. hyper-util has itself tried again if the connection was an old one and nothing was written to it.
fn broken(error: hyper_util::client::legacy::Error, sent: bool) -> Error {
    if !error.is_connect() {
        return Error::Broken { sent, source: error.into() };
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(GuardError::Refused { host, address, reason }) = inner.downcast_ref() {
            return Error::Blocked(GuardError::Refused { host: host.clone(), address: *address, reason }.into());
        }
        if is_no_tls(inner) {
            return Error::Connect("it speaks no TLS: write http:// instead of https://".into());
        }
        cause = inner.source();
    }
    // What the connector said, without the name that hyper gives it.
    Error::Connect(std::error::Error::source(&error).map_or_else(|| error.to_string(), with_causes).into())
}

/// Whether the answer to a TLS greeting was no TLS.
fn is_no_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    // The source of an error of I/O is not what it wraps, but the source of that.
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(wrapped) => is_no_tls(wrapped),
        None => matches!(error.downcast_ref(), Some(rustls::Error::InvalidMessage(_))),
    }
}

fn tls(settings: &ClientSettings) -> Result<ClientConfig> {
    let unusable = |error: rustls::Error| Error::Request(format!("TLS cannot be set up: {error}"));
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for certificate in &settings.extra_roots {
        roots.add(certificate.clone()).map_err(unusable)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(unusable)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Connects within a time, TLS included.
#[derive(Clone)]
struct Connector {
    inner: HttpsConnector<GuardedConnector>,
    timeout: Duration,
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<GuardedStream>>;
    type Error = Cause;
    type Future = BoxFuture<'static, Result<Self::Response, Cause>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let host = uri.host().unwrap_or_default().to_owned();
        let connection = timeout(self.timeout, self.inner.call(uri));
        Box::pin(async move { connection.await.unwrap_or_else(|_| Err(GuardError::Timeout { host }.into())) })
    }
}

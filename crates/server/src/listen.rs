//! Serves the admin API on an address: connections, TLS, and an orderly end.

use std::{convert::Infallible, error::Error, io, sync::Arc, time::Duration};

use axum::Router;
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
    service::Service,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How many admin connections are served at once.
const CONNECTIONS_MAX: usize = 256;
/// How long a client may take over TLS, and over the head of a request.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait when the system has no connection to give, as when file descriptors are used up.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves the admin API until `stop`, then lets the requests under way finish.
pub(crate) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router, stop: CancellationToken) {
    serve_any(listener, tls, TowerToHyperService::new(router), CONNECTIONS_MAX, stop).await;
}

/// Serves `service` until `stop`, on at most so many connections at once, then lets the requests under way finish.
pub(crate) async fn serve_any<S, B>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    service: S,
    connections: usize,
    stop: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send + 'static> + Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(connections));
    while let Some(stream) = accept(&listener, &stop).await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let (tls, service, watcher) = (tls.clone(), service.clone(), graceful.watcher());
        tokio::spawn(async move {
            let served = connection(stream, tls, service, watcher).await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The next connection; none once it is time to stop.
async fn accept(listener: &TcpListener, stop: &CancellationToken) -> Option<TcpStream> {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => return Some(stream),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn connection<S, B>(stream: TcpStream, tls: Option<TlsAcceptor>, service: S, watcher: Watcher) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send + 'static> + Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    stream.set_nodelay(true)?;
    match tls {
        None => requests(stream, service, watcher).await,
        Some(tls) => {
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await.map_err(late)??;
            requests(stream, service, watcher).await
        }
    }
}

async fn requests<S, B>(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, service: S, watcher: Watcher) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send + 'static> + Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).serve_connection(TokioIo::new(stream), service);
    watcher.watch(connection).await.map_err(io::Error::other)
}

//! The server loop: accepts connections, speaks HTTP/1.1 on each, and drains them when it is told to stop.

use std::{fmt, io, net::IpAddr, sync::Arc, time::Duration};

use futures::future::Either;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    S3Front,
    access::{CIPHERS, Peer, TLS_VERSIONS, word},
    layer::Scheme,
};

/// The most bytes the head of a request may have. The front refuses less than this with a proper error document.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long to wait when no connection can be accepted, which is when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What connections speak below HTTP.
#[derive(Clone)]
pub enum Transport {
    /// Nothing.
    Plain,
    /// TLS.
    Tls(TlsAcceptor),
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Tls(_) => "Tls",
        })
    }
}

/// Serves `front` on `listener` until `stop` turns true or is dropped. Then no connection is accepted any more, requests that have begun
/// may finish within `drain`, and what is left is cut off. Beyond [`crate::S3Settings::max_connections`] clients wait to be accepted.
pub async fn serve(front: Arc<S3Front>, listener: TcpListener, transport: Transport, stop: watch::Receiver<bool>, drain: Duration) {
    serve_as(Face::S3, front, listener, transport, stop, drain).await;
}

/// Serves the buckets of `front` as websites, within the same limits.
pub async fn serve_websites(
    front: Arc<S3Front>,
    listener: TcpListener,
    transport: Transport,
    stop: watch::Receiver<bool>,
    drain: Duration,
) {
    serve_as(Face::Websites, front, listener, transport, stop, drain).await;
}

/// What an address shows of a front.
#[derive(Clone, Copy, Debug)]
enum Face {
    S3,
    Websites,
}

async fn serve_as(
    face: Face,
    front: Arc<S3Front>,
    listener: TcpListener,
    transport: Transport,
    mut stop: watch::Receiver<bool>,
    drain: Duration,
) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let places = Arc::new(Semaphore::new(front.settings.max_connections));
    loop {
        // A place first: a client that waits for one costs no file descriptor.
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("the places are never closed");
            listener.accept().await.map(|(stream, address)| (stream, address.ip(), place))
        };
        tokio::select! {
            // An error means that nobody is left who could tell us to stop: stop.
            // The value is a lock: it must not be held while anything else is awaited.
            _ = async { stop.wait_for(|stop| *stop).await.map(drop) } => break,
            accepted = accepted => match accepted {
                Ok((stream, address, place)) => {
                    let connection = connection((Arc::clone(&front), face), stream, address, transport.clone(), graceful.watcher());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    if timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::info!(connections = connections.len(), "cutting off connections that did not finish in time");
    }
    connections.shutdown().await;
}

/// Whether the client of this very connection went away before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused)
}

async fn connection(front: (Arc<S3Front>, Face), stream: TcpStream, address: IpAddr, transport: Transport, watcher: Watcher) {
    // Small answers must not wait for more to come. Where it cannot be set the connection works all the same.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps waiting to fill packets");
    }
    let outcome = match transport {
        Transport::Plain => Either::Left(speak(front, stream, Peer { address, tls: None, cipher: None }, watcher)),
        Transport::Tls(acceptor) => Either::Right(async move {
            match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let session = stream.get_ref().1;
                    let tls = session.protocol_version().and_then(|version| word(&TLS_VERSIONS, version)).or(Some(""));
                    let cipher = session.negotiated_cipher_suite().and_then(|suite| word(&CIPHERS, suite.suite()));
                    speak(front, stream, Peer { address, tls, cipher }, watcher).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
        }),
    };
    outcome.await;
}

async fn speak<S>((front, face): (Arc<S3Front>, Face), stream: S, peer: Peer, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let head_timeout = front.settings.head_timeout;
    let scheme = if peer.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let front = Arc::clone(&front);
        request.extensions_mut().insert(peer);
        async move {
            Ok::<_, std::convert::Infallible>(match face {
                Face::S3 => front.layer.answer(scheme, request).await,
                Face::Websites => front.websites.answer(&front.layer, scheme, request).await,
            })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection broke");
    }
}

//! The connector: the only way out of this crate to the network.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep, timeout},
};
use tower::Service;

use super::{EndpointGuard, GuardError};

/// Connects to the host of a URI, at an address the guard has just let pass.
#[derive(Clone, Debug)]
pub(crate) struct GuardedConnector {
    guard: EndpointGuard,
    connect_timeout: Duration,
    write_idle_timeout: Duration,
}

impl GuardedConnector {
    /// A connector behind `guard`. A connection that takes no bytes for `write_idle_timeout` breaks.
    pub(crate) const fn new(guard: EndpointGuard, connect_timeout: Duration, write_idle_timeout: Duration) -> Self {
        Self { guard, connect_timeout, write_idle_timeout }
    }
}

impl Service<Uri> for GuardedConnector {
    type Response = TokioIo<GuardedStream>;
    type Error = GuardError;
    type Future = BoxFuture<'static, Result<Self::Response, GuardError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), GuardError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
            let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
            let addresses = this.guard.addresses(host, uri.port_u16().unwrap_or(default_port)).await?;
            let stream = connect_any(host, &addresses, this.connect_timeout).await?;
            Ok(TokioIo::new(GuardedStream { stream, write_idle_timeout: this.write_idle_timeout, stalled: None }))
        })
    }
}

/// Tries `addresses` in turn, giving each its share of `within`, so that one dead address does not use it up.
async fn connect_any(host: &str, addresses: &[SocketAddr], within: Duration) -> Result<TcpStream, GuardError> {
    let share = within / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Without it Nagle's algorithm and delayed acknowledgements cost 40 ms per request.
                stream.set_nodelay(true).map_err(|source| GuardError::Connect { host: host.to_owned(), source })?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(GuardError::Connect { host: host.to_owned(), source: last })
}

/// A TCP connection that breaks when the other side stops taking bytes.
#[derive(Debug)]
pub(crate) struct GuardedStream {
    stream: TcpStream,
    write_idle_timeout: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl GuardedStream {
    fn watch<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let within = self.write_idle_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(within)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other side takes no bytes"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Connection for GuardedStream {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, outcome)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

//! A request's body on its way to s3s.
//!
//! It reports how it fared, checks what s3s does not ([`Digests`] of documents, the last of its chunks), and sees to its own end: a rest
//! that nobody wanted is read and dropped, so that the client can read the answer and the connection can go on.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use s3s::StdError;

use super::{
    chunks::Chunks,
    digests::Digests,
    progress::{Fault, Progress},
};
use crate::slow_body::{SlowBody, TimedBody};

/// The longest rest that is read for the sake of the connection.
const REST_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How long reading a rest may take.
const REST_TIMEOUT: Duration = Duration::from_secs(30);

/// A body is not what it was announced to be.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Deceit {
    #[error("the body ended before its last chunk")]
    NoLastChunk,
    #[error("the body does not have the digest that was announced")]
    OtherDigest,
}

/// What to check of a body.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// Its digests, when it is a document.
    pub(super) digests: Option<Digests>,
    /// Its framing, when it comes in chunks of S3's own.
    pub(super) chunks: Option<Chunks>,
    /// Whether the client waits to be asked for it.
    pub(super) is_awaited: bool,
}

/// The body.
pub(super) struct RequestBody<B: Body<Data = Bytes, Error: Into<StdError>> + Unpin + Send + 'static> {
    body: Option<TimedBody<B>>,
    checks: Checks,
    progress: Arc<Progress>,
}

impl<B: Body<Data = Bytes, Error: Into<StdError>> + Unpin + Send + 'static> RequestBody<B> {
    pub(super) fn new(body: B, patience: Duration, checks: Checks, progress: Arc<Progress>) -> Self {
        Self { body: Some(TimedBody::new(body, patience)), checks, progress }
    }

    fn take(&mut self, bytes: &[u8]) {
        if let Some(digests) = &mut self.checks.digests {
            digests.update(bytes);
        }
        if let Some(chunks) = &mut self.checks.chunks {
            chunks.update(bytes);
        }
    }

    /// What the whole body turns out to be.
    fn end(&mut self) -> Result<(), Deceit> {
        self.body = None;
        if self.checks.chunks.take().is_some_and(|chunks| !chunks.is_complete()) {
            self.progress.fail(Fault::Broken);
            return Err(Deceit::NoLastChunk);
        }
        if self.checks.digests.take().is_some_and(|digests| !digests.agree()) {
            self.progress.fail(Fault::Digest);
            return Err(Deceit::OtherDigest);
        }
        Ok(())
    }
}

impl<B: Body<Data = Bytes, Error: Into<StdError>> + Unpin + Send + 'static> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        this.checks.is_awaited = false;
        let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else { return Poll::Pending };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if let Some(bytes) = frame.data_ref() {
                    this.take(bytes);
                }
                if this.body.as_ref().is_some_and(Body::is_end_stream) {
                    this.progress.trace.body_ended();
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                this.body = None;
                this.progress.fail(if error.is::<SlowBody>() { Fault::Slow } else { Fault::Broken });
                Some(Err(error))
            }
            None => {
                this.progress.trace.body_ended();
                this.end().err().map(|error| Err(error.into()))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream) && self.checks.digests.is_none() && self.checks.chunks.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Body<Data = Bytes, Error: Into<StdError>> + Unpin + Send + 'static> Drop for RequestBody<B> {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        let is_short = match body.size_hint().upper() {
            Some(rest) => rest <= REST_BYTES_MAX,
            // Behind the last chunk of S3's own framing only HTTP's is left.
            None => self.checks.chunks.as_ref().is_some_and(Chunks::is_complete),
        };
        // A client that waits to be asked may never send the body, and its next request would be taken for it.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if is_short && !self.checks.is_awaited => {
                runtime.spawn(tokio::time::timeout(REST_TIMEOUT, read_to_end(body)));
            }
            _ => self.progress.end_connection(),
        }
    }
}

async fn read_to_end<B: Body<Data = Bytes> + Unpin>(mut body: B) {
    let mut left = REST_BYTES_MAX;
    while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        let Some(rest) = left.checked_sub(length) else { return };
        left = rest;
    }
}

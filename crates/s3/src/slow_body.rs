//! Request bodies that stand still are given up.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use s3s::StdError;
use tokio::time::{Instant, Sleep};

/// A body stood still for too long.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no byte of the request body arrived in time")]
pub(crate) struct SlowBody;

/// A body that fails with [`SlowBody`] once nothing arrives for `patience` while it is being waited for.
///
/// Time the server itself takes does not count: the clock runs only while a read is pending.
pub(crate) struct TimedBody<B> {
    body: B,
    patience: Duration,
    sleep: Pin<Box<Sleep>>,
    waiting: bool,
}

impl<B> TimedBody<B> {
    /// Watches `body`.
    pub(crate) fn new(body: B, patience: Duration) -> Self {
        Self { body, patience, sleep: Box::pin(tokio::time::sleep(patience)), waiting: false }
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.waiting {
            self.waiting = true;
            self.sleep.as_mut().reset(Instant::now() + self.patience);
        }
        self.sleep.as_mut().poll(cx)
    }
}

impl<B> Body for TimedBody<B>
where
    B: Body<Data = Bytes, Error: Into<StdError>> + Unpin,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            ready!(self.poll_patience(cx));
            return Poll::Ready(Some(Err(SlowBody.into())));
        };
        self.waiting = false;
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> fmt::Debug for TimedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimedBody").field("patience", &self.patience).finish_non_exhaustive()
    }
}

//! What comes in.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::Stream;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep, timeout};
use umbra_core::{Error as CoreError, ErrorKind};

use crate::{Error, Result};

/// The content of an answer, watched: an error, never a silent end, when the connection breaks, when fewer or more bytes come than
/// announced, or when none come for too long.
pub(crate) struct ResponseBody {
    incoming: Incoming,
    remaining: Option<u64>,
    idle_timeout: Duration,
    /// Runs while bytes are waited for, so that a reader that takes its time is not mistaken for an origin that does.
    waiting: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl ResponseBody {
    pub(crate) fn new(incoming: Incoming, idle_timeout: Duration) -> Self {
        let remaining = incoming.size_hint().exact();
        Self { incoming, remaining, idle_timeout, waiting: None, ended: false }
    }

    /// The announced size, where there is one.
    pub(crate) const fn size(&self) -> Option<u64> {
        self.remaining
    }

    /// Gathers it all, up to `limit` bytes, within a time: an origin that sends a byte now and then is not waited for.
    pub(crate) async fn collect(self, limit: usize, within: Duration) -> Result<Vec<u8>> {
        timeout(within, self.gather(limit)).await.unwrap_or_else(|_| Err(Error::bad_response("it does not come to its end")))
    }

    async fn gather(mut self, limit: usize) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(chunk) = std::future::poll_fn(|cx| Pin::new(&mut self).poll_next(cx)).await {
            let chunk = chunk.map_err(|source| Error::Broken { sent: true, source: source.into() })?;
            if all.len() + chunk.len() > limit {
                return Err(Error::bad_response(format!("it exceeds {limit} bytes")));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CoreError>>> {
        loop {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(frame) => {
                    self.waiting = None;
                    match frame.map(|frame| frame.map(Frame::into_data)) {
                        Some(Ok(Ok(bytes))) => return Poll::Ready(self.count(bytes)),
                        // Trailers are of no interest.
                        Some(Ok(Err(_))) => {}
                        Some(Err(error)) => return Poll::Ready(Some(Err(broken("the answer of the origin broke off").because(error)))),
                        None if self.remaining.is_some_and(|remaining| remaining > 0) => {
                            return Poll::Ready(Some(Err(broken("the origin sent fewer bytes than it announced"))));
                        }
                        None => return Poll::Ready(None),
                    }
                }
                Poll::Pending => {
                    let within = self.idle_timeout;
                    let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(within)));
                    std::task::ready!(waiting.as_mut().poll(cx));
                    return Poll::Ready(Some(Err(broken("the origin stopped sending"))));
                }
            }
        }
    }

    fn count(&mut self, bytes: Bytes) -> Option<Result<Bytes, CoreError>> {
        if let Some(remaining) = &mut self.remaining {
            match remaining.checked_sub(bytes.len() as u64) {
                Some(left) => *remaining = left,
                None => return Some(Err(broken("the origin sent more bytes than it announced"))),
            }
        }
        Some(Ok(bytes))
    }
}

fn broken(message: &str) -> CoreError {
    CoreError::new(ErrorKind::OriginUnavailable, message)
}

impl Stream for ResponseBody {
    type Item = Result<Bytes, CoreError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let item = std::task::ready!(self.poll_bytes(cx));
        self.ended = !matches!(item, Some(Ok(_)));
        Poll::Ready(item)
    }
}

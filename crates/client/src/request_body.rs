//! What goes out.
//!
//! Streamed content is sent with its length fixed, and its last bytes are held back until the stream has ended well: content that
//! fails, at the very end too (a wrong checksum), or that is shorter or longer than announced, never reaches the origin whole. The
//! connection is closed instead.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::StreamExt;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use umbra_core::BodyStream;

use crate::Error;

/// The body of a request.
pub(crate) enum RequestBody {
    /// Bytes at hand.
    Whole(Bytes),
    /// Content that streams.
    Stream(UploadBody),
}

/// Content on its way out.
pub(crate) struct UploadBody {
    stream: BodyStream,
    remaining: u64,
    size: u64,
    /// The last bytes, until the stream has ended.
    held: Option<Bytes>,
    progress: Arc<Progress>,
    sent: watch::Sender<bool>,
    /// Resolves when nobody waits for the upload any more.
    abandoned: oneshot::Receiver<()>,
}

/// The other end of an [`UploadBody`]: tells how far it got, and stops it when dropped.
pub(crate) struct Upload {
    progress: Arc<Progress>,
    sent: watch::Receiver<bool>,
    _abandon: oneshot::Sender<()>,
}

#[derive(Default)]
struct Progress {
    fault: Mutex<Option<Error>>,
}

/// Why a body stops; the reason proper is in [`Progress`].
#[derive(Debug, thiserror::Error)]
#[error("the content is withheld")]
pub(crate) struct Withheld;

impl RequestBody {
    pub(crate) fn empty() -> Self {
        Self::Whole(Bytes::new())
    }

    /// A body of `size` bytes out of `stream`. Waits for the end of a stream that should be empty.
    pub(crate) async fn stream(size: u64, mut stream: BodyStream) -> Result<(Self, Option<Upload>), Error> {
        if size == 0 {
            while let Some(chunk) = stream.next().await {
                let got = chunk.map_err(Error::Body)?.len() as u64;
                if got > 0 {
                    return Err(Error::BodySize { expected: 0, got });
                }
            }
            return Ok((Self::empty(), None));
        }
        let progress = Arc::new(Progress::default());
        let (sent, is_sent) = watch::channel(false);
        let (abandon, abandoned) = oneshot::channel();
        let upload = Upload { progress: progress.clone(), sent: is_sent, _abandon: abandon };
        Ok((Self::Stream(UploadBody { stream, remaining: size, size, held: None, progress, sent, abandoned }), Some(upload)))
    }
}

impl Upload {
    /// Whether every byte was handed over to the connection.
    pub(crate) fn is_sent(&self) -> bool {
        *self.sent.borrow()
    }

    /// Waits until every byte was handed over; for ever, if that never happens.
    pub(crate) async fn sent(&self) {
        if self.sent.clone().wait_for(|sent| *sent).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What was wrong with the content, if something was.
    pub(crate) fn take_fault(&self) -> Option<Error> {
        self.progress.fault.lock().take()
    }
}

impl UploadBody {
    fn is_sent(&self) -> bool {
        *self.sent.borrow()
    }

    fn fail(&self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Withheld>>> {
        *self.progress.fault.lock() = Some(error);
        Poll::Ready(Some(Err(Withheld)))
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Withheld>>> {
        if self.is_sent() {
            return Poll::Ready(None);
        }
        if Pin::new(&mut self.abandoned).poll(cx).is_ready() {
            return Poll::Ready(Some(Err(Withheld)));
        }
        loop {
            let chunk = match std::task::ready!(self.stream.as_mut().poll_next(cx)) {
                Some(Ok(chunk)) => chunk,
                Some(Err(error)) => return self.fail(Error::Body(error)),
                None => break,
            };
            if chunk.is_empty() {
                continue;
            }
            let Some(remaining) = self.remaining.checked_sub(chunk.len() as u64) else {
                let got = self.size - self.remaining + chunk.len() as u64;
                return self.fail(Error::BodySize { expected: self.size, got });
            };
            self.remaining = remaining;
            if remaining > 0 {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            self.held = Some(chunk);
        }
        match self.held.take() {
            Some(last) => {
                self.sent.send_replace(true);
                Poll::Ready(Some(Ok(Frame::data(last))))
            }
            None => self.fail(Error::BodySize { expected: self.size, got: self.size - self.remaining }),
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Withheld;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Withheld>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(upload) => upload.poll_chunk(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Stream(upload) => upload.is_sent(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Stream(upload) => upload.remaining + upload.held.as_ref().map_or(0, |held| held.len() as u64),
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{StreamExt, stream};
    use http_body_util::BodyExt;
    use umbra_core::{Body, Error as CoreError, ErrorKind};

    use super::RequestBody;
    use crate::Error;

    /// What comes out for a body announced with `size` bytes, whether it ended well, and what was wrong with it.
    async fn sent(size: u64, chunks: Vec<Result<&'static str, ErrorKind>>) -> (String, bool, Option<Error>) {
        let stream = stream::iter(chunks).map(|chunk| chunk.map(Bytes::from).map_err(|kind| CoreError::new(kind, "broken")));
        let (mut body, upload) = RequestBody::stream(size, Body::new(None, stream).into_stream()).await.unwrap();
        let upload = upload.unwrap();
        let (mut out, mut failed) = (String::new(), false);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => out.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap()),
                Err(_) => {
                    failed = true;
                    break;
                }
            }
        }
        assert_eq!(upload.is_sent(), !failed);
        (out, failed, upload.take_fault())
    }

    #[tokio::test]
    async fn the_last_bytes_wait_for_the_end() {
        assert!(matches!(sent(6, vec![Ok("abc"), Ok(""), Ok("def"), Ok("")]).await, (all, false, None) if all == "abcdef"));
        let late = sent(6, vec![Ok("abc"), Ok("def"), Err(ErrorKind::Corrupt)]).await;
        assert!(matches!(&late, (part, true, Some(Error::Body(error))) if part == "abc" && error.kind() == ErrorKind::Corrupt), "{late:?}");
        let short = sent(6, vec![Ok("abc"), Ok("de")]).await;
        assert!(matches!(&short, (part, true, Some(Error::BodySize { expected: 6, got: 5 })) if part == "abcde"), "{short:?}");
        let long = sent(6, vec![Ok("abc"), Ok("def"), Ok("g")]).await;
        assert!(matches!(&long, (part, true, Some(Error::BodySize { expected: 6, got: 7 })) if part == "abc"), "{long:?}");
        let longer = sent(2, vec![Ok("abc")]).await;
        assert!(matches!(&longer, (part, true, Some(Error::BodySize { expected: 2, got: 3 })) if part.is_empty()), "{longer:?}");
    }

    #[tokio::test]
    async fn an_empty_body_is_checked_before_anything_is_sent() {
        let stream = |chunks: Vec<Result<Bytes, CoreError>>| Body::new(None, stream::iter(chunks)).into_stream();
        assert!(matches!(RequestBody::stream(0, stream(vec![Ok(Bytes::new())])).await, Ok((_, None))));
        let more = RequestBody::stream(0, stream(vec![Ok("a".into())])).await;
        assert!(matches!(more, Err(Error::BodySize { expected: 0, got: 1 })));
        let failing = RequestBody::stream(0, stream(vec![Err(CoreError::internal("x"))])).await;
        assert!(matches!(failing, Err(Error::Body(_))));
    }

    #[tokio::test]
    async fn an_abandoned_upload_stops() {
        let stream = stream::iter([Ok(Bytes::from("abc"))]).chain(stream::pending());
        let (mut body, upload) = RequestBody::stream(6, Body::new(None, stream).into_stream()).await.unwrap();
        assert!(body.frame().await.unwrap().is_ok());
        drop(upload);
        assert!(body.frame().await.unwrap().is_err());
    }
}

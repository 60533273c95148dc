//! What goes out.
//!
//! Streamed content is sent with its length fixed, and its last bytes are held back until the stream has ended well: content that
//! fails, at the very end too (a wrong checksum), or that is shorter or longer than announced, never reaches the origin whole. The
//! connection is closed instead. Nor does the origin see anything of a request before its first bytes are there to go with it: some keep an
//! upload that breaks off before its first byte as an empty object. To one that is known to do so, content goes in the form that ends with a
//! checksum, which an upload that breaks off has not.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use umbra_core::{BodyStream, ChecksumAlgorithm, ChecksumHasher};

use crate::Error;

/// How much of content at hand is handed over at once.
const SLICE_BYTES: usize = 128 * 1024;

/// The body of a request.
pub(crate) enum RequestBody {
    /// Bytes at hand.
    Whole(Bytes),
    /// Content that streams.
    Stream(Box<UploadBody>),
}

/// Content on its way out.
pub(crate) struct UploadBody {
    stream: BodyStream,
    remaining: u64,
    size: u64,
    /// The last bytes, until the stream has ended.
    held: Option<Bytes>,
    /// The first bytes, read before anything is sent.
    first: Option<Bytes>,
    seal: Option<Seal>,
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

/// What encloses content that ends with its checksum: one chunk of all of it, and a trailer.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>
struct Seal {
    opening: Option<Bytes>,
    hasher: Option<ChecksumHasher>,
    closing: Option<Bytes>,
}

/// The algorithm of the trailer.
pub(crate) const SEAL: ChecksumAlgorithm = ChecksumAlgorithm::Crc32;

impl Seal {
    fn new(size: u64) -> Self {
        let opening = format!("{size:x}\r\n").into();
        Self { opening: Some(opening), hasher: Some(ChecksumHasher::new(SEAL)), closing: None }
    }

    fn close(checksum: &str) -> Bytes {
        format!("\r\n0\r\n{}:{checksum}\r\n\r\n", SEAL.header()).into()
    }

    /// What of it is still to be sent.
    fn remaining(&self) -> u64 {
        let closing = match (&self.closing, &self.hasher) {
            (Some(closing), _) => closing.len(),
            // A CRC of four bytes makes eight characters.
            (None, Some(_)) => Self::close("12345678").len(),
            (None, None) => 0,
        };
        (self.opening.as_ref().map_or(0, Bytes::len) + closing) as u64
    }
}

/// Why a body stops; the reason proper is in [`Progress`].
#[derive(Debug, thiserror::Error)]
#[error("the content is withheld")]
pub(crate) struct Withheld;

impl RequestBody {
    pub(crate) fn empty() -> Self {
        Self::Whole(Bytes::new())
    }

    /// Content that is at hand, in slices, so that how far it got is known.
    pub(crate) async fn bytes(content: &Bytes) -> Result<(Self, Option<Upload>), Error> {
        let slices: Vec<_> =
            (0..content.len()).step_by(SLICE_BYTES).map(|start| Ok(content.slice(start..content.len().min(start + SLICE_BYTES)))).collect();
        Self::stream(content.len() as u64, stream::iter(slices).boxed(), false).await
    }

    /// A body of `size` bytes out of `stream`, followed by its checksum if it is to be `sealed`. Waits for the first bytes; where they are all
    /// there is, for the end.
    pub(crate) async fn stream(size: u64, mut stream: BodyStream, sealed: bool) -> Result<(Self, Option<Upload>), Error> {
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
        let seal = sealed.then(|| Seal::new(size));
        let mut body = UploadBody { stream, remaining: size, size, held: None, first: None, seal, progress, sent, abandoned };
        match std::future::poll_fn(|cx| body.poll_content(cx)).await {
            Some(Ok(first)) => body.first = Some(first),
            Some(Err(Withheld)) | None => return Err(upload.take_fault().unwrap_or(Error::BodySize { expected: size, got: 0 })),
        }
        Ok((Self::Stream(Box::new(body)), Some(upload)))
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

    fn fail<T>(&self, error: Error) -> Poll<Option<Result<T, Withheld>>> {
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
        if let Some(opening) = self.seal.as_mut().and_then(|seal| seal.opening.take()) {
            return Poll::Ready(Some(Ok(Frame::data(opening))));
        }
        let content = match self.first.take() {
            Some(first) => Some(Ok(first)),
            // Behind the last of the content.
            None if self.is_whole() => None,
            None => std::task::ready!(self.poll_content(cx)),
        };
        let frame = match (content, &mut self.seal) {
            (Some(content), Some(Seal { hasher: Some(hasher), .. })) => content.inspect(|bytes| hasher.update(bytes)),
            (Some(content), _) => content,
            (None, Some(seal)) => {
                let checksum = seal.hasher.take().map(|hasher| hasher.finish().value).unwrap_or_default();
                Ok(Seal::close(&checksum))
            }
            (None, None) => return Poll::Ready(None),
        };
        let is_last = self.is_whole() && self.first.is_none() && self.seal.as_ref().is_none_or(|seal| seal.hasher.is_none());
        if is_last && frame.is_ok() {
            self.sent.send_replace(true);
        }
        Poll::Ready(Some(frame.map(Frame::data)))
    }

    /// Whether all of the content has been let go.
    fn is_whole(&self) -> bool {
        self.remaining == 0 && self.held.is_none()
    }

    /// The next bytes that may be let go. Not to be asked again behind the last ones.
    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Withheld>>> {
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
                return Poll::Ready(Some(Ok(chunk)));
            }
            self.held = Some(chunk);
        }
        match self.held.take() {
            Some(last) => Poll::Ready(Some(Ok(last))),
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
            Self::Stream(upload) => {
                let waiting = [&upload.held, &upload.first].into_iter().flatten().map(|bytes| bytes.len() as u64).sum::<u64>();
                upload.remaining + waiting + upload.seal.as_ref().map_or(0, Seal::remaining)
            }
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
        sent_as(size, chunks, false).await
    }

    async fn sent_as(size: u64, chunks: Vec<Result<&'static str, ErrorKind>>, sealed: bool) -> (String, bool, Option<Error>) {
        let stream = stream::iter(chunks).map(|chunk| chunk.map(Bytes::from).map_err(|kind| CoreError::new(kind, "broken")));
        let (mut body, upload) = match RequestBody::stream(size, Body::new(None, stream).into_stream(), sealed).await {
            Ok((body, upload)) => (body, upload.unwrap()),
            Err(error) => return (String::new(), true, Some(error)),
        };
        let (mut out, mut failed) = (String::new(), false);
        let announced = http_body::Body::size_hint(&body).exact().unwrap();
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
        assert_eq!(announced == out.len() as u64, !failed, "{out:?}");
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
    async fn sealed_content_ends_with_its_checksum() {
        // The CRC-32 of "abcdef" is 4b8e39ef.
        let expected = "6\r\nabcdef\r\n0\r\nx-amz-checksum-crc32:S4457w==\r\n\r\n";
        for chunks in [vec![Ok("abc"), Ok("def")], vec![Ok("abcdef")], vec![Ok("a"), Ok(""), Ok("bcde"), Ok("f"), Ok("")]] {
            let whole = sent_as(6, chunks.clone(), true).await;
            assert!(matches!(&whole, (all, false, None) if all == expected), "{whole:?}");
        }
        let late = sent_as(6, vec![Ok("abc"), Ok("def"), Err(ErrorKind::Corrupt)], true).await;
        assert!(matches!(&late, (part, true, Some(Error::Body(_))) if part == "6\r\nabc"), "{late:?}");
    }

    #[tokio::test]
    async fn nothing_is_sent_before_there_is_something_to_send() {
        let stream = stream::pending::<Result<Bytes, CoreError>>();
        let waiting = RequestBody::stream(6, Body::new(None, stream).into_stream(), false);
        assert!(futures::FutureExt::now_or_never(waiting).is_none());
        let failing = sent(6, vec![Err(ErrorKind::Corrupt)]).await;
        assert!(matches!(&failing, (part, true, Some(Error::Body(_))) if part.is_empty()), "{failing:?}");
        // All that there is might still turn out to be wrong.
        let only = sent(6, vec![Ok("abcdef"), Err(ErrorKind::Corrupt)]).await;
        assert!(matches!(&only, (part, true, Some(Error::Body(_))) if part.is_empty()), "{only:?}");
    }

    #[tokio::test]
    async fn an_empty_body_is_checked_before_anything_is_sent() {
        let stream = |chunks: Vec<Result<Bytes, CoreError>>| Body::new(None, stream::iter(chunks)).into_stream();
        assert!(matches!(RequestBody::stream(0, stream(vec![Ok(Bytes::new())]), false).await, Ok((_, None))));
        let more = RequestBody::stream(0, stream(vec![Ok("a".into())]), false).await;
        assert!(matches!(more, Err(Error::BodySize { expected: 0, got: 1 })));
        let failing = RequestBody::stream(0, stream(vec![Err(CoreError::internal("x"))]), true).await;
        assert!(matches!(failing, Err(Error::Body(_))));
    }

    #[tokio::test]
    async fn an_abandoned_upload_stops() {
        let stream = stream::iter([Ok(Bytes::from("abc"))]).chain(stream::pending());
        let (mut body, upload) = RequestBody::stream(6, Body::new(None, stream).into_stream(), false).await.unwrap();
        assert!(body.frame().await.unwrap().is_ok());
        drop(upload);
        assert!(body.frame().await.unwrap().is_err());
    }
}

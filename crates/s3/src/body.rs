//! Bodies across the border: s3s's streams on one side, ours on the other.

use std::{
    fmt,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use s3s::{
    S3Error, S3ErrorCode, StdError,
    dto::StreamingBlob,
    stream::{ByteStream, RemainingLength},
};
use umbra_core::{Body, BodyStream, Error, Fault};
use umbra_store::Bucket;

use crate::{
    error::{Failure, log},
    post::FormFile,
};

/// Takes a request's body. Its size must be known, as S3 has it.
pub(crate) fn incoming(blob: Option<StreamingBlob>, announced: Option<i64>) -> Result<Body, Failure> {
    let Some(blob) = blob else {
        return Ok(Body::empty());
    };
    let known = blob.remaining_length().exact().map(|size| size as u64);
    let Some(size) = known.or_else(|| announced.and_then(|size| u64::try_from(size).ok())) else {
        return Err(S3Error::new(S3ErrorCode::MissingContentLength).into());
    };
    Ok(Body::new(Some(size), blob.map_err(unreadable)))
}

/// Takes the file of a form. Its size is known only when it ends, but an origin that is written through must be told before.
pub(crate) fn of_form(blob: Option<StreamingBlob>, file: FormFile, bucket: &Bucket) -> Body {
    let is_written_through = bucket.settings.shadow.as_ref().is_some_and(|shadow| shadow.write_through);
    let size = file.size_if_last.filter(|_| is_written_through);
    blob.map_or_else(Body::empty, |blob| Body::new(size, blob.map_err(unreadable)))
}

/// A body that broke off, or failed a check on its way in: the cause says which.
fn unreadable(cause: StdError) -> Error {
    Error::invalid(Fault::IncompleteBody, "the request body could not be read to its end").because(cause)
}

/// Sends a body of `size` bytes.
pub(crate) fn outgoing(body: Body, size: u64) -> StreamingBlob {
    StreamingBlob::new(Outgoing { stream: Mutex::new(body.into_stream()), remaining: size })
}

/// A body on its way out. s3s wants it `Sync`; the lock is never waited for.
struct Outgoing {
    stream: Mutex<BodyStream>,
    remaining: u64,
}

impl Stream for Outgoing {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let stream = self.stream.get_mut().unwrap_or_else(PoisonError::into_inner);
        let next = stream.as_mut().poll_next(cx);
        match &next {
            Poll::Ready(Some(Ok(bytes))) => self.remaining = self.remaining.saturating_sub(bytes.len() as u64),
            // The status is long gone: cutting the connection is all that is left to say, so the reason must be logged here.
            Poll::Ready(Some(Err(error))) => log(error),
            _ => {}
        }
        next.map_err(|error| Box::new(error) as StdError)
    }
}

impl ByteStream for Outgoing {
    fn remaining_length(&self) -> RemainingLength {
        usize::try_from(self.remaining).map_or_else(|_| RemainingLength::unknown(), RemainingLength::new_exact)
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

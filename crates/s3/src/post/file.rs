//! The file of a form, on its way.

use std::{
    fmt,
    ops::RangeInclusive,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::Stream;
use s3s::{S3ErrorCode, StdError, stream::ByteStream};
use s3s_multipart::{Error as PartError, PartDataStream};

/// Says that an object comes out of a form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FormFile {
    /// The size of the file, provided that nothing but the end of the form follows it. Only the end tells.
    pub(crate) size_if_last: Option<u64>,
}

/// The body that a form is read from.
pub(super) type Source = Pin<Box<dyn Stream<Item = Result<Bytes, PartError>> + Send + Sync>>;

/// The file of a form.
#[derive(Debug)]
pub(super) struct File {
    /// Its content.
    pub(super) stream: Content,
    /// Its size, if it is the last part.
    pub(super) size_if_last: Option<u64>,
}

impl File {
    pub(super) const fn new(content: PartDataStream<Source>, size_if_last: Option<u64>) -> Self {
        Self { stream: Content { content, taken: 0, sizes: 0..=u64::MAX, ended: false }, size_if_last }
    }

    /// Lets the content fail unless its size is among `sizes`.
    pub(super) fn limit(&mut self, sizes: RangeInclusive<u64>) {
        self.stream.sizes = sizes;
    }
}

/// What is wrong with a file, as far as its form and its policy go.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("the file is larger than its policy allows")]
    TooLarge,
    #[error("the file is smaller than its policy demands")]
    TooSmall,
    #[error("the form ends before its file does")]
    Incomplete,
    #[error("the form is malformed")]
    Malformed,
}

impl FileError {
    /// S3's word for it.
    pub(crate) fn code(self) -> S3ErrorCode {
        match self {
            Self::TooLarge => S3ErrorCode::EntityTooLarge,
            Self::TooSmall => S3ErrorCode::EntityTooSmall,
            Self::Incomplete => S3ErrorCode::IncompleteBody,
            Self::Malformed => S3ErrorCode::MalformedPOSTRequest,
        }
    }
}

/// S3's word for what is wrong with a form.
pub(super) fn code(error: &PartError) -> S3ErrorCode {
    match error {
        PartError::StreamReadFailed(cause) => crate::error::body_code(&**cause).unwrap_or(S3ErrorCode::IncompleteBody),
        _ => FileError::Malformed.code(),
    }
}

/// The content of a file. It fails as soon as it is too large, and in the end if it is too small: nothing is stored then.
pub(super) struct Content {
    content: PartDataStream<Source>,
    taken: u64,
    sizes: RangeInclusive<u64>,
    ended: bool,
}

impl Content {
    fn fail(&mut self, error: impl Into<StdError>) -> Poll<Option<Result<Bytes, StdError>>> {
        self.ended = true;
        Poll::Ready(Some(Err(error.into())))
    }
}

impl Stream for Content {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.content).poll_next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(bytes))) => {
                self.taken += bytes.len() as u64;
                if self.taken > *self.sizes.end() { self.fail(FileError::TooLarge) } else { Poll::Ready(Some(Ok(bytes))) }
            }
            Poll::Ready(Some(Err(PartError::StreamReadFailed(cause)))) => self.fail(cause),
            Poll::Ready(Some(Err(PartError::IncompleteStreamPart))) => self.fail(FileError::Incomplete),
            Poll::Ready(Some(Err(_))) => self.fail(FileError::Malformed),
            Poll::Ready(None) if self.taken < *self.sizes.start() => self.fail(FileError::TooSmall),
            Poll::Ready(None) => {
                self.ended = true;
                Poll::Ready(None)
            }
        }
    }
}

impl ByteStream for Content {}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("taken", &self.taken).field("sizes", &self.sizes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{StreamExt as _, stream};
    use s3s_multipart::{Boundary, Multipart};

    use super::{File, FileError, Source};

    async fn file(document: &'static [u8]) -> File {
        let source: Source = Box::pin(stream::iter(document.chunks(7).map(|bytes| Ok(Bytes::from_static(bytes)))));
        let mut parts = Multipart::new(source, &Boundary::new(b"X").unwrap(), 1024);
        let mut part = parts.next_part().await.unwrap().unwrap();
        part.next_header().await.unwrap();
        File::new(part.take_data_stream().unwrap(), None)
    }

    async fn outcome(mut file: File) -> Result<usize, String> {
        let mut taken = 0;
        while let Some(bytes) = file.stream.next().await {
            taken += bytes.map_err(|error| error.downcast_ref::<FileError>().unwrap().code().as_str().to_owned())?.len();
        }
        Ok(taken)
    }

    #[tokio::test]
    async fn files_have_the_size_their_policy_wants_and_an_end() {
        let whole = b"--X\r\nA: b\r\n\r\n0123456789\r\n--X--\r\n";
        for (sizes, expected) in [
            (0..=u64::MAX, Ok(10)),
            (10..=10, Ok(10)),
            (0..=9, Err("EntityTooLarge")),
            (11..=20, Err("EntityTooSmall")),
            (0..=0, Err("EntityTooLarge")),
        ] {
            let mut file = file(whole).await;
            file.limit(sizes.clone());
            assert_eq!(outcome(file).await, expected.map_err(str::to_owned), "{sizes:?}");
        }
        let cut = file(b"--X\r\nA: b\r\n\r\n0123456789\r\n--").await;
        assert_eq!(outcome(cut).await, Err("IncompleteBody".to_owned()));
    }
}

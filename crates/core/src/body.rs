//! The content of an object on its way through.

use std::{fmt, pin::Pin};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};

use crate::{Error, Fault, Result};

/// Bytes as they arrive.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send + 'static>>;

/// Content that streams: never held whole.
pub struct Body {
    size: Option<u64>,
    stream: BodyStream,
}

impl Body {
    /// A body of `size` bytes, when known. The stream is not checked against it.
    pub fn new(size: Option<u64>, stream: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Self {
        Self { size, stream: Box::pin(stream) }
    }

    /// A body that is already here.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::new(Some(bytes.len() as u64), stream::iter((!bytes.is_empty()).then_some(Ok(bytes))))
    }

    /// A body without content.
    pub fn empty() -> Self {
        Self::from_bytes(Bytes::new())
    }

    /// The announced size.
    pub const fn size(&self) -> Option<u64> {
        self.size
    }

    /// The bytes.
    pub fn into_stream(self) -> BodyStream {
        self.stream
    }

    /// Gathers the whole content; [`Fault::EntityTooLarge`] past `limit` bytes.
    pub async fn collect(self, limit: usize) -> Result<Bytes> {
        let gather = |mut all: Vec<u8>, chunk: Bytes| async move {
            if all.len() + chunk.len() > limit {
                return Err(Error::invalid(Fault::EntityTooLarge, format!("the body exceeds {limit} bytes")));
            }
            all.extend_from_slice(&chunk);
            Ok(all)
        };
        self.stream.try_fold(Vec::new(), gather).await.map(Bytes::from)
    }

    /// Applies `change` to the stream, keeping the size.
    #[must_use]
    pub fn map_stream<S: Stream<Item = Result<Bytes>> + Send + 'static>(self, change: impl FnOnce(BodyStream) -> S) -> Self {
        Self { size: self.size, stream: change(self.stream).boxed() }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("size", &self.size).finish_non_exhaustive()
    }
}

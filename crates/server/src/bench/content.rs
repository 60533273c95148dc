//! Content: incompressible, different in every object, and copied nowhere on its way to the socket.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use umbra_core::{Random, SystemRandom};

/// The bytes at the start of every object that tell it from every other: the number in its key, in hexadecimal.
pub(super) const STAMP_LEN: usize = 16;

/// Random bytes that all content is cut from.
pub(super) struct Pool(Bytes);

impl Pool {
    /// A pool for content of up to `size_max` bytes.
    pub(super) fn new(size_max: u64) -> Self {
        let mut bytes = vec![0; usize::try_from(size_max).expect("sizes fit into memory")];
        SystemRandom.fill(&mut bytes);
        Self(bytes.into())
    }

    /// The content of the object that ends in `stamp`, of `size` bytes: its stamp, then the pool from a place that goes with the stamp.
    pub(super) fn content(&self, number: u64, size: u64) -> Content {
        let stamp = Bytes::from(stamp(number));
        let rest = usize::try_from(size).expect("sizes fit into memory").saturating_sub(stamp.len()).min(self.0.len());
        let start = usize::try_from(number % (self.0.len().max(1) as u64)).expect("a place in the pool");
        let first = rest.min(self.0.len() - start);
        Content { parts: [stamp, self.0.slice(start..start + first), self.0.slice(..rest - first)], next: 0 }
    }
}

/// The stamp that goes with a number.
pub(super) fn stamp(number: u64) -> String {
    format!("{number:016x}")
}

/// A body.
#[derive(Default)]
pub(super) struct Content {
    parts: [Bytes; 3],
    next: usize,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.parts[self.next..].iter().map(|part| part.len() as u64).sum()
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while self.next < self.parts.len() {
            let next = self.next;
            self.next += 1;
            let part = std::mem::take(&mut self.parts[next]);
            if !part.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Content, Pool, stamp};

    fn bytes(content: &Content) -> Vec<u8> {
        content.parts.concat()
    }

    #[test]
    fn content_has_its_size_and_its_stamp_and_is_like_no_other() {
        let pool = Pool::new(4096);
        let mut seen = HashSet::new();
        for number in [0, 1, 4095, 4096, u64::MAX] {
            for size in [16, 17, 1000, 4096] {
                let content = pool.content(number, size);
                assert_eq!(content.len(), size);
                let bytes = bytes(&content);
                assert_eq!((bytes.len() as u64, &bytes[..16]), (size, stamp(number).as_bytes()));
                assert!(seen.insert(bytes));
            }
        }
    }

    #[test]
    fn nothing_is_an_empty_body() {
        assert_eq!(Content::default().len(), 0);
        assert_eq!(bytes(&Pool::new(16).content(7, 16)), stamp(7).into_bytes());
    }
}

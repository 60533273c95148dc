//! Two contents, compared byte by byte as they stream.

use bytes::{Buf, Bytes};
use futures::StreamExt;
use umbra_core::{BodyStream, Error};

/// What became of a comparison.
#[derive(Debug)]
pub(crate) enum Compared {
    /// They are the same.
    Same,
    /// This is the first byte in which they differ, or where the shorter one ends.
    DifferFrom(u64),
    /// Ours cannot be read.
    LocalFailed(Error),
    /// The origin's cannot be read.
    OriginFailed(Error),
}

/// Compares two contents and stops at the first difference.
pub(crate) async fn compare(local: BodyStream, origin: BodyStream) -> Compared {
    let (mut local, mut origin) = (Chunks::new(local), Chunks::new(origin));
    let mut at = 0;
    loop {
        // Ours first: where it cannot be read, nothing more need leave the origin.
        if let Err(error) = local.fill().await {
            return Compared::LocalFailed(error);
        }
        if let Err(error) = origin.fill().await {
            return Compared::OriginFailed(error);
        }
        let common = local.chunk.len().min(origin.chunk.len());
        if common == 0 {
            let both_ended = local.chunk.is_empty() && origin.chunk.is_empty();
            return if both_ended { Compared::Same } else { Compared::DifferFrom(at) };
        }
        if local.chunk[..common] != origin.chunk[..common] {
            let same = local.chunk.iter().zip(&origin.chunk).take_while(|(ours, theirs)| ours == theirs).count();
            return Compared::DifferFrom(at + same as u64);
        }
        at += common as u64;
        local.chunk.advance(common);
        origin.chunk.advance(common);
    }
}

struct Chunks {
    stream: BodyStream,
    chunk: Bytes,
}

impl Chunks {
    fn new(stream: BodyStream) -> Self {
        Self { stream, chunk: Bytes::new() }
    }

    /// Sees to it that the chunk is not empty, unless the stream has ended.
    async fn fill(&mut self) -> Result<(), Error> {
        while self.chunk.is_empty() {
            match self.stream.next().await {
                Some(chunk) => self.chunk = chunk?,
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{StreamExt, stream};
    use umbra_core::{BodyStream, Error, ErrorKind};

    use super::{Compared, compare};

    fn chunked(content: &'static [u8], size: usize) -> BodyStream {
        stream::iter(content.chunks(size).map(|chunk| Ok(Bytes::from_static(chunk))).collect::<Vec<_>>()).boxed()
    }

    #[tokio::test]
    async fn the_first_difference_is_found_however_they_arrive() {
        let cases: [(&[u8], &[u8], Option<u64>); 7] = [
            (b"", b"", None),
            (b"abcdefgh", b"abcdefgh", None),
            (b"abcdefgh", b"abcdeXgh", Some(5)),
            (b"Xbcdefgh", b"abcdefgh", Some(0)),
            (b"abcdefgh", b"abcdefgX", Some(7)),
            (b"abcd", b"abcdefgh", Some(4)),
            (b"abcdefgh", b"abc", Some(3)),
        ];
        for (ours, theirs, expected) in cases {
            for (left, right) in [(1, 1), (1, 8), (3, 2), (8, 3)] {
                match (compare(chunked(ours, left), chunked(theirs, right)).await, expected) {
                    (Compared::Same, None) => {}
                    (Compared::DifferFrom(at), Some(expected)) => assert_eq!(at, expected),
                    (other, _) => panic!("{ours:?} {theirs:?}: {other:?}"),
                }
            }
        }
    }

    #[tokio::test]
    async fn the_side_that_fails_is_named() {
        let broken = || stream::iter([Err(Error::new(ErrorKind::Corrupt, "x"))]).boxed();
        assert!(matches!(compare(broken(), chunked(b"a", 1)).await, Compared::LocalFailed(_)));
        assert!(matches!(compare(chunked(b"a", 1), broken()).await, Compared::OriginFailed(_)));
    }
}

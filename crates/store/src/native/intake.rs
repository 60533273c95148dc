//! Reads a body in blocks of useful size, and holds it to what was announced.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use umbra_core::{Body, BodyStream, Error, Fault, Result, limits};

/// Chunks smaller than this are copied together: a chunk pins the buffer it was cut from, and costs its bookkeeping.
const SMALL_BYTES: usize = 32 * 1024;
/// Blocks are at most this large.
pub(super) const BLOCK_BYTES_MAX: usize = 256 * 1024;
/// Small chunks are gathered up to this.
const GATHERED_BYTES: usize = 64 * 1024;

/// A body on its way in.
pub(super) struct Intake {
    /// `None` once it ended: it must not be polled again.
    stream: Option<BodyStream>,
    announced: Option<u64>,
    size: u64,
    gathered: BytesMut,
    pending: Bytes,
}

impl Intake {
    /// Begins to read `body`; refuses at once what is announced to be too large.
    pub(super) fn new(body: Body) -> Result<Self> {
        let announced = body.size();
        if announced.is_some_and(|size| size > limits::PUT_BYTES_MAX) {
            return Err(too_large());
        }
        Ok(Self { stream: Some(body.into_stream()), announced, size: 0, gathered: BytesMut::new(), pending: Bytes::new() })
    }

    /// The size that was announced.
    pub(super) const fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// Bytes taken so far.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// The next block, never empty; `None` once the body ended with exactly what was announced.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.gathered.len() >= GATHERED_BYTES || (!self.gathered.is_empty() && !self.pending.is_empty()) {
                return Ok(Some(self.gathered.split().freeze()));
            }
            if !self.pending.is_empty() {
                return Ok(Some(self.pending.split_to(self.pending.len().min(BLOCK_BYTES_MAX))));
            }
            let Some(stream) = &mut self.stream else {
                if self.gathered.is_empty() {
                    return self.end().map(|()| None);
                }
                return Ok(Some(self.gathered.split().freeze()));
            };
            match stream.next().await.transpose()? {
                Some(chunk) => self.take(chunk)?,
                None => self.stream = None,
            }
        }
    }

    fn take(&mut self, chunk: Bytes) -> Result<()> {
        let before = self.size;
        self.size += chunk.len() as u64;
        if self.announced.is_some_and(|announced| self.size > announced) {
            return Err(incomplete());
        }
        if self.size > limits::PUT_BYTES_MAX {
            return Err(too_large());
        }
        if chunk.len() < SMALL_BYTES {
            if self.gathered.is_empty() {
                // What is announced to come; else as much again as came.
                let hint = usize::try_from(self.announced.map_or(before, |announced| announced - before));
                self.gathered.reserve(hint.unwrap_or(usize::MAX).clamp(chunk.len(), GATHERED_BYTES));
            }
            self.gathered.extend_from_slice(&chunk);
        } else {
            self.pending = chunk;
        }
        Ok(())
    }

    fn end(&self) -> Result<()> {
        if self.announced.is_some_and(|announced| announced != self.size) { Err(incomplete()) } else { Ok(()) }
    }
}

fn incomplete() -> Error {
    Error::invalid(Fault::IncompleteBody, "you did not provide the number of bytes that you announced")
}

fn too_large() -> Error {
    Error::invalid(Fault::EntityTooLarge, "your proposed upload exceeds the maximum allowed size")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::stream;
    use umbra_core::{Body, Error, ErrorKind, Fault, limits};

    use super::{BLOCK_BYTES_MAX, GATHERED_BYTES, Intake};

    async fn blocks(announced: Option<u64>, chunks: &[usize]) -> Result<Vec<Bytes>, Error> {
        let mut next = 0_u8;
        let chunks: Vec<_> = chunks
            .iter()
            .map(|length| {
                next = next.wrapping_add(1);
                Ok(Bytes::from(vec![next; *length]))
            })
            .collect();
        // It panics when polled behind its end.
        let chunks = stream::unfold(chunks.into_iter(), async |mut chunks| chunks.next().map(|chunk| (chunk, chunks)));
        let mut intake = Intake::new(Body::new(announced, chunks))?;
        let mut blocks = Vec::new();
        while let Some(block) = intake.next().await? {
            blocks.push(block);
        }
        assert!(intake.next().await?.is_none());
        assert_eq!(intake.size(), blocks.iter().map(|block| block.len() as u64).sum::<u64>());
        Ok(blocks)
    }

    #[tokio::test]
    async fn small_chunks_are_gathered_and_large_ones_are_cut() {
        let sizes = |blocks: Vec<Bytes>| blocks.iter().map(Bytes::len).collect::<Vec<_>>();
        assert_eq!(sizes(blocks(None, &[]).await.unwrap()), [] as [usize; 0]);
        assert_eq!(sizes(blocks(Some(3), &[0, 1, 0, 2, 0]).await.unwrap()), [3]);
        assert_eq!(sizes(blocks(None, &[BLOCK_BYTES_MAX + 1]).await.unwrap()), [BLOCK_BYTES_MAX, 1]);
        assert_eq!(sizes(blocks(None, &[10, 40_000, 10]).await.unwrap()), [10, 40_000, 10]);
        assert_eq!(sizes(blocks(None, &[GATHERED_BYTES / 4; 9]).await.unwrap()), [GATHERED_BYTES, GATHERED_BYTES, GATHERED_BYTES / 4]);
    }

    #[tokio::test]
    async fn the_order_of_bytes_is_kept() {
        let lengths = [1, 50_000, 2, 3, 300_000, 4];
        let all = blocks(None, &lengths).await.unwrap().concat();
        let expected: Vec<u8> = lengths.iter().zip(1_u8..).flat_map(|(length, byte)| vec![byte; *length]).collect();
        assert!(all == expected);
    }

    #[tokio::test]
    async fn a_body_is_held_to_what_was_announced() {
        for (announced, chunks, fault) in [
            (Some(4), &[3][..], Fault::IncompleteBody),
            (Some(4), &[3, 2], Fault::IncompleteBody),
            (Some(1), &[], Fault::IncompleteBody),
            (Some(limits::PUT_BYTES_MAX + 1), &[], Fault::EntityTooLarge),
        ] {
            let error = blocks(announced, chunks).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid(fault), "{announced:?} {chunks:?}");
        }
    }
}

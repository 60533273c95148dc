//! Reading a blob: one GET for what a range touches, verified block by block as it comes.
//!
//! An answer that breaks off is asked for again from the block it broke off in, as long as that brings progress. A block that contradicts
//! its checksum is fetched once more, for it may have been damaged on its way; then it is [`Error::Corrupt`].

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::time::sleep;
use umbra_client::{GetOptions, GetResponse};
use umbra_core::{BodyStream, ByteRange};

use super::{
    Engine,
    address::Address,
    blocks::{self, BLOCK_LEN, CRC_LEN, HEADER_LEN, Nonce},
    failed, is_gone,
};
use crate::{BlobId, Error, Result};

/// How often in a row an answer may break off within one block.
const BREAKS_MAX: u32 = 4;
/// The pause after the first break, doubled for each further one.
const PAUSE: Duration = Duration::from_millis(100);

/// A range that is being read.
pub(super) struct Reader {
    pin: Pin,
    id: BlobId,
    length: u64,
    /// The next byte of content to give.
    next: u64,
    end: u64,
    answer: BodyStream,
    /// What came of the block at hand.
    buffer: BytesMut,
    /// Whether the header comes first.
    at_header: bool,
    breaks: u32,
    /// Whether the block at hand contradicted its checksum once.
    mistrusted: bool,
}

/// Keeps a blob's object from being deleted.
struct Pin {
    engine: Arc<Engine>,
    nonce: Nonce,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.engine.unpin(self.nonce);
    }
}

/// Why the block at hand is not here.
enum Flaw {
    Break(umbra_core::Error),
    Damage,
}

impl Reader {
    /// Asks for `range` of the blob `id`; returns when the engine has begun to answer.
    pub(super) async fn open(engine: Arc<Engine>, id: &BlobId, range: ByteRange) -> Result<Self> {
        let Some(Address { length, nonce }) = Address::decode(id) else { return Err(Error::NotFound(id.clone())) };
        if range.end > length {
            return Err(Error::corrupt(id, format!("{}..{} lies outside of its {length} bytes", range.start, range.end)));
        }
        if !engine.pins.enter(nonce) {
            return Err(Error::NotFound(id.clone()));
        }
        let mut reader = Self {
            pin: Pin { engine, nonce },
            id: id.clone(),
            length,
            next: range.start,
            end: range.end,
            answer: stream::empty().boxed(),
            buffer: BytesMut::new(),
            at_header: false,
            breaks: 0,
            mistrusted: false,
        };
        if range.is_empty() {
            // Whether it is there has to be known all the same; the header tells.
            (reader.next, reader.end) = (0, 0);
        }
        reader.ask().await?;
        Ok(reader)
    }

    /// The content, as it comes.
    pub(super) fn into_stream(self) -> BoxStream<'static, Result<Bytes>> {
        stream::unfold(Some(self), |reader| async {
            let mut reader = reader?;
            match reader.advance().await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some(reader))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    /// Sends the request for what is still to be read.
    async fn ask(&mut self) -> Result<()> {
        let engine = &self.pin.engine;
        let span = blocks::span(self.next, self.end, self.length);
        let range = ByteRange::new(span.start, span.end);
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let answer = match engine.client.get_object(&engine.key(&self.pin.nonce), &options).await {
            Ok(answer) => answer,
            Err(error) if is_gone(&error) => return Err(Error::NotFound(self.id.clone())),
            Err(error) if error.s3().is_some_and(|told| told.status == 416) => return Err(self.wrong_length()),
            Err(error) => return Err(failed("read a blob")(error)),
        };
        self.check_length(&answer)?;
        // An engine that knows no ranges sends all of it.
        let superfluous = if answer.content_range.is_some() { 0 } else { span.start };
        self.answer = skip(answer.body.into_stream(), superfluous);
        self.at_header = span.start == 0;
        self.buffer.clear();
        Ok(())
    }

    fn check_length(&self, answer: &GetResponse) -> Result<()> {
        let size = match answer.content_range {
            Some(given) => given.size,
            None => answer.content_length,
        };
        if size.is_some_and(|size| size != blocks::object_len(self.length)) { Err(self.wrong_length()) } else { Ok(()) }
    }

    fn wrong_length(&self) -> Error {
        Error::corrupt(&self.id, "its object has another length")
    }

    /// The next chunk; `None` at the end.
    async fn advance(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.next == self.end && !self.at_header {
                // The end of the answer is heard too: then its connection serves again.
                self.answer.next().await;
                return Ok(None);
            }
            let flaw = match self.block().await {
                Ok(chunk) => {
                    (self.breaks, self.mistrusted) = (0, false);
                    match chunk {
                        Some(chunk) => return Ok(Some(chunk)),
                        None => continue,
                    }
                }
                Err(flaw) => flaw,
            };
            match flaw {
                Flaw::Break(error) if self.breaks == BREAKS_MAX => {
                    return Err(Error::Io { doing: "read a blob", source: std::io::Error::other(error) });
                }
                Flaw::Break(error) => {
                    tracing::debug!(key = self.pin.engine.key(&self.pin.nonce), %error, "the blob is asked for again");
                    sleep(PAUSE * (1 << self.breaks)).await;
                    self.breaks += 1;
                }
                Flaw::Damage if self.mistrusted => {
                    let block = self.next / BLOCK_LEN;
                    return Err(Error::corrupt(&self.id, format!("block {block} contradicts its checksum")));
                }
                Flaw::Damage => self.mistrusted = true,
            }
            self.ask().await?;
        }
    }

    /// The part of the next block that is wanted; `None` when only the header was.
    async fn block(&mut self) -> Result<Option<Bytes>, Flaw> {
        if self.at_header {
            let header = self.gather(HEADER_LEN).await?;
            if header[..] != blocks::header(&self.pin.nonce) {
                return Err(Flaw::Damage);
            }
            self.at_header = false;
            if self.next == self.end {
                return Ok(None);
            }
        }
        let number = self.next / BLOCK_LEN;
        let start = number * BLOCK_LEN;
        let len = (self.length - start).min(BLOCK_LEN);
        let block = self.gather(usize::try_from(len).expect("a block fits into memory") + CRC_LEN).await?;
        let content = blocks::open(block, &self.pin.nonce, number).ok_or(Flaw::Damage)?;
        let end = self.end.min(start + len);
        let chunk = content.slice((self.next - start) as usize..(end - start) as usize);
        self.next = end;
        Ok(Some(chunk))
    }

    /// The next `len` bytes of the answer.
    async fn gather(&mut self, len: usize) -> Result<Bytes, Flaw> {
        while self.buffer.len() < len {
            match self.answer.next().await {
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(error)) => return Err(Flaw::Break(error)),
                None => return Err(Flaw::Break(umbra_core::Error::internal("the engine's answer ended early"))),
            }
        }
        Ok(self.buffer.split_to(len).freeze())
    }
}

/// `stream` without its first `count` bytes.
fn skip(stream: BodyStream, mut count: u64) -> BodyStream {
    stream
        .filter_map(move |chunk| {
            let chunk = chunk.map(|mut chunk| {
                let skipped = chunk.split_to(usize::try_from(count).unwrap_or(usize::MAX).min(chunk.len()));
                count -= skipped.len() as u64;
                chunk
            });
            std::future::ready(Some(chunk).filter(|chunk| chunk.as_ref().map_or(true, |chunk| !chunk.is_empty())))
        })
        .boxed()
}

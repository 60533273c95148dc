//! The bytes of a blob's object.
//!
//! ```text
//!  0        8   9      16              32
//! ┌────────┬───┬──────┬───────────────┬─────────┬─────┬─────────┬─────┬─
//! │UMBROBJ1│ v │  0   │     nonce     │ content │ crc │ content │ crc │ …
//! └────────┴───┴──────┴───────────────┴─────────┴─────┴─────────┴─────┴─
//! header: magic · format version 1 · seven zero bytes · nonce (16)
//! blocks: 64 KiB of content, in the last one what is left · crc32c of the nonce, the block's number (8) and its content
//! ```
//!
//! Numbers are little-endian. An empty blob has no blocks. Where a block begins follows from its number, and where the object ends from the
//! length that the blob's identifier tells: an object that is longer or shorter is not the blob's. The checksum covers the nonce and the
//! number, so that a block of another object, or of another place, is no more taken for it than one that was damaged.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};

pub(super) const HEADER_LEN: usize = 32;
/// How much content one checksum covers.
pub(super) const BLOCK_LEN: u64 = 64 * 1024;
/// Bytes of a checksum.
pub(super) const CRC_LEN: usize = 4;

const MAGIC: &[u8; 8] = b"UMBROBJ1";
const FORMAT_VERSION: u8 = 1;

/// Sixteen random bytes that tell an object from every other.
pub(super) type Nonce = [u8; 16];

/// Draws the header.
pub(super) fn header(nonce: &Nonce) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8] = FORMAT_VERSION;
    bytes[16..].copy_from_slice(nonce);
    bytes
}

/// How long the object of `length` bytes of content is.
pub(super) const fn object_len(length: u64) -> u64 {
    HEADER_LEN as u64 + length + length.div_ceil(BLOCK_LEN) * CRC_LEN as u64
}

/// Where in the object the blocks are that hold the content `start..end` of `length` bytes; with the header, where the first block is among them.
pub(super) fn span(start: u64, end: u64, length: u64) -> Range<u64> {
    let first = start / BLOCK_LEN;
    let begin = if first == 0 { 0 } else { HEADER_LEN as u64 + first * (BLOCK_LEN + CRC_LEN as u64) };
    let content_end = end.next_multiple_of(BLOCK_LEN).min(length);
    begin..object_len(content_end)
}

fn digest(nonce: &Nonce, number: u64) -> Digest {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(nonce);
    digest.update(&number.to_le_bytes());
    digest
}

fn narrow(crc: u64) -> u32 {
    u32::try_from(crc).expect("crc32c has 32 bits")
}

/// Takes the content out of block `number`, given with its checksum; `None` when they contradict each other.
pub(super) fn open(mut block: Bytes, nonce: &Nonce, number: u64) -> Option<Bytes> {
    let crc = block.split_off(block.len().checked_sub(CRC_LEN)?);
    let mut digest = digest(nonce, number);
    digest.update(&block);
    (narrow(digest.finalize()).to_le_bytes() == *crc).then_some(block)
}

/// Makes an object out of content as it comes.
pub(super) struct Sealer {
    nonce: Nonce,
    /// What is made and not taken yet.
    made: BytesMut,
    /// Of the block at hand.
    digest: Digest,
    length: u64,
}

impl Sealer {
    /// Begins an object of about `size` bytes.
    pub(super) fn new(nonce: Nonce, size: usize) -> Self {
        let mut made = BytesMut::with_capacity(usize::try_from(object_len(size as u64)).unwrap_or(0));
        made.extend_from_slice(&header(&nonce));
        Self { nonce, made, digest: digest(&nonce, 0), length: 0 }
    }

    /// Takes the next bytes of content.
    pub(super) fn push(&mut self, mut content: &[u8]) {
        while !content.is_empty() {
            let room = usize::try_from(BLOCK_LEN - self.length % BLOCK_LEN).expect("a block fits into memory");
            let (now, later) = content.split_at(content.len().min(room));
            self.made.extend_from_slice(now);
            self.digest.update(now);
            self.length += now.len() as u64;
            content = later;
            if self.length.is_multiple_of(BLOCK_LEN) {
                self.close_block();
            }
        }
    }

    /// Bytes of content so far.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    pub(super) const fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// How many bytes of the object wait to be taken.
    pub(super) fn waiting(&self) -> usize {
        self.made.len()
    }

    /// Takes the first `len` of them.
    pub(super) fn take(&mut self, len: usize) -> Bytes {
        self.made.split_to(len).freeze()
    }

    /// Ends the object and gives what was not taken.
    pub(super) fn finish(&mut self) -> Bytes {
        if !self.length.is_multiple_of(BLOCK_LEN) {
            self.close_block();
        }
        self.made.split().freeze()
    }

    fn close_block(&mut self) {
        self.made.extend_from_slice(&narrow(self.digest.finalize()).to_le_bytes());
        self.digest = digest(&self.nonce, self.length / BLOCK_LEN);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{BLOCK_LEN, HEADER_LEN, Nonce, Sealer, object_len, open, span};

    const NONCE: Nonce = *b"0123456789abcdef";

    fn sealed(content: &[u8], cut: usize) -> Bytes {
        let mut sealer = Sealer::new(NONCE, 0);
        content.chunks(cut).for_each(|piece| sealer.push(piece));
        assert_eq!(sealer.length(), content.len() as u64);
        sealer.finish()
    }

    #[test]
    fn the_bytes_are_those_that_were_drawn() {
        let expected = concat!(
            "554d42524f424a31", // magic
            "0100000000000000", // version, zero
            "30313233343536373839616263646566",
            "313233343536373839",
            "0d3eda56",
        );
        assert_eq!(hex::encode(sealed(b"123456789", 9)), expected);
        assert_eq!(sealed(b"", 1).len(), HEADER_LEN);
    }

    #[test]
    fn blocks_do_not_depend_on_how_the_content_is_cut() {
        let content: Vec<u8> = (0..2 * BLOCK_LEN + 17).map(|at| (at % 251) as u8).collect();
        let whole = sealed(&content, content.len());
        assert_eq!(whole.len() as u64, object_len(content.len() as u64));
        for cut in [1, 7, 65_535, 65_536, 65_537] {
            assert_eq!(sealed(&content, cut), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_block_opens_only_as_what_it_is() {
        let content: Vec<u8> = (0..BLOCK_LEN + 17).map(|at| (at % 251) as u8).collect();
        let (object, length) = (sealed(&content, 1000), content.len() as u64);
        let second = span(BLOCK_LEN, length, length);
        let block = object.slice(second.start as usize..second.end as usize);
        assert_eq!(open(block.clone(), &NONCE, 1).unwrap(), content[BLOCK_LEN as usize..]);
        assert_eq!(open(block.clone(), &NONCE, 0), None, "another place");
        assert_eq!(open(block.clone(), b"another nonce...", 1), None, "another object");
        for at in 0..block.len() {
            let mut bad = block.to_vec();
            bad[at] ^= 4;
            assert_eq!(open(bad.into(), &NONCE, 1), None, "byte {at}");
        }
        for len in 0..block.len() {
            assert_eq!(open(block.slice(..len), &NONCE, 1), None, "{len} bytes");
        }
    }

    #[test]
    fn ranges_are_widened_to_blocks() {
        let block = BLOCK_LEN + 4;
        let length = 3 * BLOCK_LEN + 10;
        for (start, end, expected) in [
            (0, 1, 0..32 + block),
            (0, length, 0..32 + 3 * block + 14),
            (BLOCK_LEN - 1, BLOCK_LEN, 0..32 + block),
            (BLOCK_LEN, BLOCK_LEN + 1, 32 + block..32 + 2 * block),
            (3 * BLOCK_LEN + 5, length, 32 + 3 * block..32 + 3 * block + 14),
            (0, 0, 0..32),
        ] {
            assert_eq!(span(start, end, length), expected, "{start}..{end}");
        }
        assert_eq!(span(0, 0, 0), 0..32);
    }
}

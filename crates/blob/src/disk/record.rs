//! The bytes of a blob on disk: one format for records in segments and for files of their own.
//!
//! ```text
//!  0        8   9  10      12              28        36      40
//! ┌────────┬───┬───┬───────┬───────────────┬─────────┬───────┬──────┬───────┬────────┐
//! │UMBRBLOB│ v │ f │   0   │     nonce     │ length  │  crc  │ data │ table │ footer │
//! └────────┴───┴───┴───────┴───────────────┴─────────┴───────┴──────┴───────┴────────┘
//! header: magic · format version 1 · flags · two zero bytes · nonce (16) · length of the data · crc32c of bytes 0 to 36
//!   flags bit 0: the length was unknown when the header was written; it is 0 here and stands in the footer
//! data:   the content as it is
//! table:  one crc32c per block of 64 KiB of data, the last block may be shorter; empty for an empty blob
//! footer (24 bytes):
//!  0        8           12          16       24
//! ┌────────┬───────────┬───────────┬────────┐
//! │ length │ crc table │ crc total │BLOB-END│
//! └────────┴───────────┴───────────┴────────┘
//!   crc table: crc32c of the table · crc total: crc32c of the nonce followed by bytes 0 to 12 of the footer
//! ```
//!
//! All numbers are little-endian. A record begins and ends with bytes that are not zero, and between records there is nothing, or zeros:
//! a page of a segment that is all zero, and holds an end of a record, holds nothing that lives (see `hole.rs`).
//!
//! A read checks the header (the nonce above all: an identifier that has gone stale reads nobody else's bytes) and every block it
//! touches against its entry in the table. It does not need the footer, which says the same about the whole.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};

pub(super) const HEADER_LEN: usize = 40;
pub(super) const FOOTER_LEN: usize = 24;
/// How much data one checksum covers.
pub(super) const BLOCK_LEN: u64 = 64 * 1024;
/// Bytes of one entry of the table.
pub(super) const ENTRY_LEN: u64 = 4;

const MAGIC: &[u8; 8] = b"UMBRBLOB";
const END_MAGIC: &[u8; 8] = b"BLOB-END";
const FORMAT_VERSION: u8 = 1;
const FLAG_STREAMED: u8 = 1;

/// Sixteen random bytes that tell a record from every other.
pub(super) type Nonce = [u8; 16];

/// How the length came to be known, and with it where it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Before the data: the header holds it.
    Whole {
        /// Bytes of data.
        length: u64,
    },
    /// After the data: the footer holds it.
    Streamed,
}

/// Why no data can be read where an identifier points.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// There is nothing, or somebody else's record.
    Gone,
    /// There is something that is no sound record.
    Damaged(String),
}

/// How many bytes a record of `length` bytes of data takes.
pub(super) const fn record_len(length: u64) -> u64 {
    HEADER_LEN as u64 + length + table_len(length) + FOOTER_LEN as u64
}

/// How many bytes the table for `length` bytes of data takes.
pub(super) const fn table_len(length: u64) -> u64 {
    length.div_ceil(BLOCK_LEN) * ENTRY_LEN
}

/// The crc32c of `bytes`.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    narrow(crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes))
}

fn narrow(crc: u64) -> u32 {
    u32::try_from(crc).expect("crc32c has 32 bits")
}

/// Draws a header.
pub(super) fn header(nonce: &Nonce, form: Form) -> [u8; HEADER_LEN] {
    let (flags, length) = match form {
        Form::Whole { length } => (0, length),
        Form::Streamed => (FLAG_STREAMED, 0),
    };
    let mut bytes = [0; HEADER_LEN];
    bytes[0..8].copy_from_slice(MAGIC);
    bytes[8] = FORMAT_VERSION;
    bytes[9] = flags;
    bytes[12..28].copy_from_slice(nonce);
    bytes[28..36].copy_from_slice(&length.to_le_bytes());
    let crc = crc32c(&bytes[..36]);
    bytes[36..40].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Whether `bytes` is the header of the record that `nonce` and `form` describe.
pub(super) fn check_header(bytes: &[u8], nonce: &Nonce, form: Form) -> Result<(), Absent> {
    let expected = header(nonce, form);
    if bytes == expected {
        return Ok(());
    }
    if bytes.iter().all(|&byte| byte == 0) {
        return Err(Absent::Gone);
    }
    let damaged = |why: &str| Err(Absent::Damaged(why.to_owned()));
    if bytes.len() < HEADER_LEN {
        return damaged("its header is cut off");
    }
    if bytes[..8] != *MAGIC {
        return damaged("there is no record where it should begin");
    }
    if bytes[36..40] != crc32c(&bytes[..36]).to_le_bytes() {
        return damaged("its header contradicts its checksum");
    }
    if bytes[8] != FORMAT_VERSION {
        return Err(Absent::Damaged(format!("its format version {} is unknown", bytes[8])));
    }
    if bytes[12..28] != *nonce {
        return Err(Absent::Gone);
    }
    damaged("its header tells another length")
}

/// Gathers the checksums of the blocks while the data passes by.
pub(super) struct BlockChecksums {
    table: Vec<u8>,
    block: Digest,
    length: u64,
}

impl BlockChecksums {
    pub(super) fn new() -> Self {
        Self { table: Vec::new(), block: Digest::new(CrcAlgorithm::Crc32Iscsi), length: 0 }
    }

    /// The checksums of content that is all here.
    pub(super) fn of(content: &[Bytes]) -> Self {
        let mut checksums = Self::new();
        content.iter().for_each(|chunk| checksums.update(chunk));
        checksums
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BLOCK_LEN - self.length % BLOCK_LEN;
            let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(room).expect("a block fits into memory")));
            self.block.update(now);
            self.length += now.len() as u64;
            bytes = later;
            if self.length.is_multiple_of(BLOCK_LEN) {
                self.close_block();
            }
        }
    }

    /// How many bytes were taken.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// The table and the footer, as they follow the data.
    pub(super) fn finish(mut self, nonce: &Nonce) -> Vec<u8> {
        if !self.length.is_multiple_of(BLOCK_LEN) {
            self.close_block();
        }
        let mut footer = [0; FOOTER_LEN];
        footer[0..8].copy_from_slice(&self.length.to_le_bytes());
        footer[8..12].copy_from_slice(&crc32c(&self.table).to_le_bytes());
        let total = crc32c(&[nonce, &footer[..12]].concat());
        footer[12..16].copy_from_slice(&total.to_le_bytes());
        footer[16..24].copy_from_slice(END_MAGIC);
        self.table.extend_from_slice(&footer);
        self.table
    }

    fn close_block(&mut self) {
        let crc = narrow(self.block.finalize_reset());
        self.table.extend_from_slice(&crc.to_le_bytes());
    }
}

/// Whether `data`, which begins with block `first` of the blob, agrees with `entries`, the table from that block on.
pub(super) fn check_blocks(data: &[u8], entries: &[u8], first: u64) -> Result<(), String> {
    let blocks = data.chunks(BLOCK_LEN as usize);
    let entries = entries.chunks(ENTRY_LEN as usize);
    debug_assert_eq!(blocks.len(), entries.len());
    for (number, (block, entry)) in (first..).zip(blocks.zip(entries)) {
        if crc32c(block).to_le_bytes() != *entry {
            return Err(format!("block {number} contradicts its checksum"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Absent, BLOCK_LEN, BlockChecksums, Form, HEADER_LEN, Nonce, check_blocks, check_header, header, record_len};

    const NONCE: Nonce = *b"0123456789abcdef";

    #[test]
    fn the_bytes_are_those_that_were_drawn() {
        let record = [
            &header(&NONCE, Form::Whole { length: 9 })[..],
            b"123456789",
            &BlockChecksums::of(&[Bytes::from_static(b"123456789")]).finish(&NONCE),
        ];
        let expected = concat!(
            "554d4252424c4f42", // magic
            "01000000",         // version, flags, zero
            "30313233343536373839616263646566",
            "0900000000000000", // length
            "371d086f",
            "313233343536373839",
            "839206e3", // crc32c of the published check string, e3069283
            "0900000000000000",
            "d959a055",
            "d1b27bf8",
            "424c4f422d454e44",
        );
        assert_eq!(hex::encode(record.concat()), expected);
        assert_eq!(record.concat().len() as u64, record_len(9));
    }

    #[test]
    fn headers_are_told_apart() {
        let form = Form::Whole { length: 9 };
        let good = header(&NONCE, form);
        assert_eq!(check_header(&good, &NONCE, form), Ok(()));
        assert_eq!(check_header(&[0; HEADER_LEN], &NONCE, form), Err(Absent::Gone));
        assert_eq!(check_header(&[], &NONCE, form), Err(Absent::Gone));
        assert_eq!(check_header(&good, b"another nonce...", form), Err(Absent::Gone));
        assert!(matches!(check_header(&good, &NONCE, Form::Whole { length: 8 }), Err(Absent::Damaged(_))));
        assert!(matches!(check_header(&good, &NONCE, Form::Streamed), Err(Absent::Damaged(_))));
        assert!(matches!(check_header(&good[..20], &NONCE, form), Err(Absent::Damaged(_))));
        for at in 0..HEADER_LEN {
            let mut bad = good;
            bad[at] ^= 0x10;
            assert!(matches!(check_header(&bad, &NONCE, form), Err(Absent::Damaged(_))), "byte {at}");
        }
    }

    #[test]
    fn block_checksums_do_not_depend_on_how_the_data_is_cut() {
        let data: Vec<u8> = (0..2 * BLOCK_LEN + 17).map(|at| (at % 251) as u8).collect();
        let whole = BlockChecksums::of(&[Bytes::copy_from_slice(&data)]).finish(&NONCE);
        for cut in [1, 7, 65_535, 65_536, 65_537] {
            let pieces: Vec<Bytes> = data.chunks(cut).map(Bytes::copy_from_slice).collect();
            assert_eq!(BlockChecksums::of(&pieces).finish(&NONCE), whole, "cut at {cut}");
        }
        assert_eq!(check_blocks(&data, &whole[..12], 0), Ok(()));
        assert_eq!(check_blocks(&data[65_536..], &whole[4..12], 1), Ok(()));
        let mut bad = data;
        bad[65_536] ^= 1;
        assert_eq!(check_blocks(&bad, &whole[..12], 0), Err("block 1 contradicts its checksum".to_owned()));
    }
}

//! The bytes of one fetch: a range of a cold object that one request to the origin brings.

use std::collections::VecDeque;

use bytes::Bytes;
use umbra_core::ByteRange;

/// A range that one fetch owns, and those of its bytes that are in memory.
#[derive(Debug)]
pub(crate) struct Arriving {
    pub(crate) id: u64,
    /// The first byte that is not stored.
    pub(crate) start: u64,
    /// The next byte to arrive.
    pub(crate) arrived: u64,
    /// One past the last byte it owns; beyond every object while the origin has not told a length.
    pub(crate) end: u64,
    /// From `start` to `arrived`; the first may begin before.
    pub(crate) recent: VecDeque<Bytes>,
    /// Where the first of `recent` begins.
    recent_start: u64,
}

impl Arriving {
    pub(crate) fn new(id: u64, range: ByteRange) -> Self {
        Self { id, start: range.start, arrived: range.start, end: range.end, recent: VecDeque::new(), recent_start: range.start }
    }

    /// Takes the next bytes, as many as it owns; gives how many.
    pub(crate) fn append(&mut self, mut bytes: Bytes) -> usize {
        bytes.truncate(usize::try_from(self.end - self.arrived).unwrap_or(usize::MAX));
        let taken = bytes.len();
        self.arrived += taken as u64;
        if taken > 0 {
            self.recent.push_back(bytes);
        }
        taken
    }

    /// Drops from memory what is stored, everything before `position`.
    pub(crate) fn trim(&mut self, position: u64) {
        self.start = self.start.max(position);
        while let Some(first) = self.recent.front() {
            let end = self.recent_start + first.len() as u64;
            if end > self.start {
                break;
            }
            self.recent_start = end;
            self.recent.pop_front();
        }
    }

    /// The bytes at `position`, if they have arrived.
    pub(crate) fn at(&self, position: u64) -> Option<Bytes> {
        if !(self.recent_start..self.arrived).contains(&position) {
            return None;
        }
        let mut end = self.arrived;
        // Readers follow closely: what they want is among the latest.
        for bytes in self.recent.iter().rev() {
            let start = end - bytes.len() as u64;
            if start <= position {
                return Some(bytes.slice(usize::try_from(position - start).expect("an offset within a chunk fits")..));
            }
            end = start;
        }
        None
    }
}

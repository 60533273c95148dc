//! What is known of a cold object on its way here: who brings which bytes, and what is to be done next.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use umbra_core::{ByteRange, Error, ObjectInfo, Result};

use super::{End, Sizes, Step, StoredPiece, changed};
use crate::{
    arriving::Arriving,
    hashes::{Hashes, Sums},
    reader::At,
};

/// Requests in the background for one object at a time.
const FILLERS_MAX: usize = 2;

/// The account of every byte.
#[derive(Debug)]
pub(super) struct State {
    sizes: Sizes,
    pub(super) info: Option<Arc<ObjectInfo>>,
    /// Bytes of the whole; `None` while the origin has not told.
    pub(super) size: Option<u64>,
    /// Disjoint, by their offset.
    pub(super) stored: BTreeMap<u64, StoredPiece>,
    /// Everything before it is stored.
    pub(super) frontier: u64,
    /// The fetches queued or under way, disjoint with each other and with what is stored.
    pub(super) fetches: Vec<Arriving>,
    pub(super) fetches_begun: u64,
    pub(super) queue: Vec<(u64, ByteRange)>,
    /// The whole, when it came by one fetch and is small enough to be kept in memory.
    pub(super) small: Option<Vec<Bytes>>,
    pub(super) hashes: Option<Hashes>,
    /// What they came to, once every byte passed them.
    pub(super) sums: Option<Result<Sums>>,
    pub(super) readers: usize,
    /// Somebody has begun to read it.
    pub(super) is_read: bool,
    /// Somebody needs every byte.
    pub(super) wants_whole: bool,
    pub(super) fillers: usize,
    /// The origin answers a request for a range with the whole.
    pub(super) ignores_ranges: bool,
    /// The origin has answered to this transfer: what is missing can be had.
    pub(super) answered: bool,
    /// The whole matches what the origin says of it.
    pub(super) verified: bool,
    pub(super) end: Option<End>,
}

impl State {
    pub(super) const fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            info: None,
            size: None,
            stored: BTreeMap::new(),
            frontier: 0,
            fetches: Vec::new(),
            fetches_begun: 0,
            queue: Vec::new(),
            small: None,
            hashes: None,
            sums: None,
            readers: 0,
            is_read: false,
            wants_whole: false,
            fillers: 0,
            ignores_ranges: false,
            answered: false,
            verified: false,
            end: None,
        }
    }

    pub(super) fn fetch(&mut self, id: u64) -> Option<&mut Arriving> {
        self.fetches.iter_mut().find(|fetch| fetch.id == id)
    }

    pub(super) fn claim(&mut self, range: ByteRange) -> u64 {
        let is_free = |other: &Arriving| other.end <= range.start || range.end <= other.start;
        debug_assert!(self.fetches.iter().all(is_free), "two fetches own the same bytes");
        self.fetches_begun += 1;
        self.fetches.push(Arriving::new(self.fetches_begun, range));
        self.fetches_begun
    }

    pub(super) fn store(&mut self, piece: StoredPiece) {
        self.stored.insert(piece.offset, piece);
        while let Some(piece) = self.stored.get(&self.frontier) {
            self.frontier = piece.end();
        }
    }

    /// Takes over what a fetch has stored. What lies before it and could not be stored stays the fetch's: a row of it may be there.
    pub(super) fn store_of(&mut self, fetch: u64, piece: StoredPiece) {
        if let Some(fetch) = self.fetch(fetch).filter(|fetch| piece.offset <= fetch.start) {
            fetch.trim(piece.end());
        }
        self.store(piece);
    }

    fn stored_at(&self, position: u64) -> Option<&StoredPiece> {
        self.stored.range(..=position).next_back().map(|(_, piece)| piece).filter(|piece| position < piece.end())
    }

    /// The first byte of `range` that is not stored.
    pub(super) fn not_stored(&self, range: ByteRange) -> Option<u64> {
        let mut position = range.start;
        while position < range.end {
            match self.stored_at(position) {
                Some(piece) => position = piece.end(),
                None => return Some(position),
            }
        }
        None
    }

    fn fetch_at(&mut self, position: u64) -> Option<&mut Arriving> {
        self.fetches.iter_mut().find(|fetch| fetch.start <= position && position < fetch.end)
    }

    /// Where what is missing at `position` ends, at most at `end`.
    fn missing_up_to(&self, position: u64, end: u64) -> u64 {
        let stored = self.stored.range(position..).next().map_or(end, |(offset, _)| *offset);
        let fetched = self.fetches.iter().map(|fetch| fetch.start).filter(|start| *start > position).min().unwrap_or(end);
        end.min(stored).min(fetched)
    }

    /// Where a request ends that begins with what is missing at `position` and is wanted up to `end`.
    fn claim_up_to(&self, position: u64, end: u64, size: u64) -> u64 {
        let end = if self.ignores_ranges { size } else { end.min(position + self.sizes.fetch) };
        self.missing_up_to(position, end)
    }

    /// Gives a fetch that is answered with the whole what is missing behind its range as well.
    pub(super) fn extend(&mut self, id: u64) {
        let Some(end) = self.fetch(id).map(|fetch| fetch.end) else { return };
        let Some(size) = self.size.filter(|size| end < *size) else { return };
        if self.stored_at(end).is_some() || self.fetch_at(end).is_some() {
            return;
        }
        let upto = self.missing_up_to(end, size);
        if let Some(fetch) = self.fetch(id) {
            fetch.end = upto;
        }
    }

    pub(super) fn demand(&mut self, range: ByteRange) {
        let (Some(size), None) = (self.size, &self.end) else { return };
        let piece = self.sizes.piece;
        let mut position = range.start - range.start % piece;
        let end = range.end.div_ceil(piece).saturating_mul(piece).min(size);
        while position < end {
            if let Some(piece) = self.stored_at(position) {
                position = piece.end();
                continue;
            }
            if let Some(fetch) = self.fetch_at(position) {
                position = fetch.end;
                continue;
            }
            let upto = self.claim_up_to(position, end, size);
            let range = ByteRange::new(position, upto);
            let id = self.claim(range);
            self.queue.push((id, range));
            position = upto;
        }
    }

    /// Claims the first bytes that nobody is bringing.
    pub(super) fn claim_next(&mut self) -> Option<(u64, ByteRange)> {
        let range = self.next_missing()?;
        Some((self.claim(range), range))
    }

    fn next_missing(&mut self) -> Option<ByteRange> {
        let size = self.size?;
        let mut position = self.frontier;
        while position < size {
            position = match (self.stored_at(position).map(StoredPiece::end), self.fetch_at(position).map(|fetch| fetch.end)) {
                (Some(end), _) | (None, Some(end)) => end,
                (None, None) => {
                    return Some(ByteRange::new(position, self.claim_up_to(position, size, size)));
                }
            };
        }
        None
    }

    fn is_complete(&self) -> bool {
        self.small.is_some() || self.size == Some(self.frontier)
    }

    pub(super) fn step(&mut self) -> Option<Step> {
        if !self.queue.is_empty() {
            return Some(Step::Fetch(std::mem::take(&mut self.queue)));
        }
        if self.is_complete() {
            return Some(Step::Complete);
        }
        let is_room = if self.ignores_ranges { self.fillers == 0 && self.fetches.is_empty() } else { self.fillers < FILLERS_MAX };
        if self.wants_whole && is_room && self.next_missing().is_some() {
            self.fillers += 1;
            return Some(Step::Fill);
        }
        let is_idle = self.info.is_some() && self.fetches.is_empty() && self.fillers == 0 && self.readers == 0;
        if is_idle && !self.wants_whole {
            self.end.get_or_insert(End::Superseded);
            return Some(Step::Park);
        }
        None
    }

    pub(super) fn at(&mut self, position: u64, is_last: impl FnOnce(u64) -> bool) -> At {
        let mut is_coming = false;
        let found = if let Some(piece) = self.stored_at(position) {
            Some((At::Stored(piece.clone()), piece.end()))
        } else {
            let fetch = self.fetch_at(position);
            is_coming = fetch.is_some();
            fetch.and_then(|fetch| fetch.at(position)).map(|bytes| {
                let end = position + bytes.len() as u64;
                (At::Bytes(bytes), end)
            })
        };
        let is_withheld = |end| is_last(end) && !self.verified;
        match (found, &self.end) {
            (Some((found, end)), _) if !is_withheld(end) => found,
            (_, Some(End::Failed(error))) => At::Failed(error.clone()),
            (_, Some(End::Superseded)) => At::Failed(changed()),
            (None, Some(End::Complete { .. })) => At::Failed(Error::internal("a transfer ended before its last byte")),
            (Some((found, _)), Some(End::Complete { .. })) => found,
            (Some(_), None) => At::NotYet,
            (None, None) if is_coming => At::NotYet,
            (None, None) => At::Missing,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use umbra_blob::BlobId;
    use umbra_core::ByteRange;
    use umbra_store::Extent;

    use super::{At, Sizes, State, StoredPiece};

    fn stored(offset: u64) -> StoredPiece {
        StoredPiece::new(offset, Extent { blob: BlobId::from_bytes(&offset.to_be_bytes()), size: 10, seal: None })
    }

    /// Brought once more besides the row that may be there, it would lie over that.
    #[test]
    fn what_could_not_be_stored_is_not_brought_by_another_fetch() {
        let mut state = State { size: Some(40), ..State::new(Sizes::of_piece(10)) };
        let id = state.claim(ByteRange::new(0, 40));
        state.fetch(id).unwrap().append(Bytes::from(vec![0; 30]));
        state.store_of(id, stored(0));
        state.store_of(id, stored(20));
        assert!(matches!(state.at(10, |_| false), At::Bytes(bytes) if bytes.len() == 20), "it is in memory still");
        state.demand(ByteRange::new(0, 40));
        assert!(state.queue.is_empty() && state.claim_next().is_none());
    }
}

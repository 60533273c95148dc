//! How a cold object is cut on its way here.

/// Bytes by which an object is asked for and stored. All follow from one: the piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// What ranges are widened to before the origin is asked. A reader waits for at most so much before its first byte, 8 ms at a gigabit a
    /// second; smaller pieces would make more requests and more records of the same object.
    pub(crate) piece: u64,
    /// The most that one request for a range asks of the origin: what a fetch that dies may have to fetch again.
    pub(crate) fetch: u64,
    /// The largest object that is brought by one request from the first byte to the last, if nobody waits for a part of it: the fewest requests,
    /// hashed as it comes. What is larger comes in ranges, so that a crash costs little of it; where the size is not known, so many bytes are
    /// asked for first, which is as long as readers of later ones may have to wait.
    pub(crate) whole_max: u64,
    /// What of a long answer is stored at once: as much as keeps a flush cheap.
    pub(crate) store: u64,
    /// The largest object that is kept in memory until it is whole, and needs no piece of its own.
    pub(crate) small_max: u64,
    /// What is worth storing of a fetch that broke off.
    pub(crate) rest_min: u64,
}

impl Sizes {
    /// Those that go with pieces of so many bytes.
    pub(crate) const fn of_piece(piece: u64) -> Self {
        Self { piece, fetch: 4 * piece, whole_max: 16 * piece, store: 2 * piece, small_max: 4 * piece, rest_min: piece / 16 }
    }
}

//! Checked batches: the only way to write.

use bytes::Bytes;

use crate::{Partition, Revision};

/// Checks and writes that land together or not at all, within one partition.
///
/// etcd calls it a mini-transaction; it is one round trip on every engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The partition all keys belong to.
    pub partition: Partition,
    /// What must hold, judged in order against the state before the batch.
    pub checks: Vec<Check>,
    /// What is written when every check holds. A key may be written once.
    pub writes: Vec<Write>,
}

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The key.
    pub key: Vec<u8>,
    /// Its expected state.
    pub expect: Expect,
}

/// The expected state of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It holds nothing.
    Absent,
    /// It holds something.
    Exists,
    /// It holds exactly the entry read at this revision.
    Revision(Revision),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Stores an entry, replacing what was there.
    Put {
        /// The key.
        key: Vec<u8>,
        /// What a listing needs; at most a hundred bytes or so.
        head: Bytes,
        /// The rest.
        body: Bytes,
    },
    /// Removes an entry; removing what is absent is no error.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
    /// Adds to a counter, which starts at 0. A counter's head is its value as eight little-endian bytes.
    Add {
        /// The key.
        key: Vec<u8>,
        /// How much.
        delta: i64,
    },
}

impl Batch {
    /// An empty batch.
    pub const fn new(partition: Partition) -> Self {
        Self { partition, checks: Vec::new(), writes: Vec::new() }
    }

    /// Adds a check.
    #[must_use]
    pub fn check(mut self, key: impl Into<Vec<u8>>, expect: Expect) -> Self {
        self.checks.push(Check { key: key.into(), expect });
        self
    }

    /// Adds a put.
    #[must_use]
    pub fn put(mut self, key: impl Into<Vec<u8>>, head: impl Into<Bytes>, body: impl Into<Bytes>) -> Self {
        self.writes.push(Write::Put { key: key.into(), head: head.into(), body: body.into() });
        self
    }

    /// Adds a delete.
    #[must_use]
    pub fn delete(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.writes.push(Write::Delete { key: key.into() });
        self
    }

    /// Adds an addition to a counter.
    #[must_use]
    pub fn add(mut self, key: impl Into<Vec<u8>>, delta: i64) -> Self {
        self.writes.push(Write::Add { key: key.into(), delta });
        self
    }
}

impl Expect {
    /// What a reader who saw `revision` (or nothing) expects to still find.
    pub fn unchanged(revision: Option<Revision>) -> Self {
        revision.map_or(Self::Absent, Self::Revision)
    }

    /// Whether a key whose entry has `revision` (or which holds nothing) is as expected.
    pub fn holds(self, revision: Option<Revision>) -> bool {
        match self {
            Self::Absent => revision.is_none(),
            Self::Exists => revision.is_some(),
            Self::Revision(expected) => revision == Some(expected),
        }
    }
}

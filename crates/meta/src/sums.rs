//! The checksums that an entry is kept with, the same in every engine.

use crc_fast::{CrcAlgorithm, Digest};

use crate::{Partition, Revision};

/// CRC-32C over where a value belongs (`p:u64 rev:u64 len(k):u64 k`, big-endian), ready to go on over the value itself.
pub(crate) struct Sums(Digest);

impl Sums {
    pub(crate) fn new(partition: Partition, key: &[u8], revision: Revision) -> Self {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        for number in [partition.0, revision.0, key.len() as u64] {
            digest.update(&number.to_be_bytes());
        }
        digest.update(key);
        Self(digest)
    }

    /// The checksum of a head or a body, as a column holds it.
    pub(crate) fn over(&self, value: &[u8]) -> i64 {
        let mut digest = self.0;
        digest.update(value);
        digest.finalize().cast_signed()
    }
}

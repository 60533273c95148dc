//! Counters: what [`Write::Add`](crate::Write::Add) adds to.

use bytes::Bytes;

use crate::{Error, Partition, Result};

/// The head that a counter of `value` has.
pub fn counter_head(value: i64) -> Bytes {
    Bytes::copy_from_slice(&value.to_le_bytes())
}

/// The value of a counter with this `head`; `None` when it is no counter's.
pub fn counter_value(head: &[u8]) -> Option<i64> {
    head.try_into().ok().map(i64::from_le_bytes)
}

/// The value of the counter at `key`, or [`Error::Corrupt`].
pub(crate) fn value_at(partition: Partition, key: &[u8], head: &[u8]) -> Result<i64> {
    counter_value(head).ok_or_else(|| Error::corrupt(partition, key, "it is added to, and is not a counter"))
}

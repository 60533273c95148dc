//! One entry as a row: the columns, and the checksums that cover them.

use bytes::Bytes;
use tokio_postgres::Row;

use super::failure::Failure;
use crate::{Entry, Error, Partition, Projection, Revision, sums::Sums};

/// The partition as the database stores it.
pub(super) const fn column(partition: Partition) -> i64 {
    partition.0.cast_signed()
}

/// The key of a row, wherever it leads.
pub(super) fn key(row: &Row) -> Result<&[u8], Failure> {
    Ok(row.try_get(0)?)
}

/// The entry in a row, once its checksums are found to be right.
pub(super) fn decode(row: &Row, partition: Partition, projection: Projection) -> Result<Entry, Failure> {
    let (key, head): (&[u8], &[u8]) = (key(row)?, row.try_get(2)?);
    let revision = Revision(row.try_get::<_, i64>(1)?.cast_unsigned());
    let sums = Sums::new(partition, key, revision);
    if sums.over(head) != row.try_get::<_, i64>(3)? {
        return Err(Error::corrupt(partition, key, "its head does not match its checksum").into());
    }
    let body = match projection {
        Projection::Head => Bytes::new(),
        Projection::Full => {
            let body: &[u8] = row.try_get(5)?;
            if sums.over(body) != row.try_get::<_, i64>(4)? {
                return Err(Error::corrupt(partition, key, "its body does not match its checksum").into());
            }
            Bytes::copy_from_slice(body)
        }
    };
    Ok(Entry { key: Bytes::copy_from_slice(key), revision, head: Bytes::copy_from_slice(head), body })
}

//! Hydrations that are not complete: what they have brought is durable, and a later transfer goes on from there.
//!
//! A row `h/<key>` says which object of the origin it is and what the key held here when it began; the rows behind it are the pieces. Without
//! the first the others count for nothing: to drop a hydration its first row goes, then the blobs, then the rows of the pieces, so that a
//! crash in between leaves nothing that could be taken for content.

use std::collections::HashMap;

use bytes::Bytes;
use umbra_core::{Error, ErrorKind, ObjectKey, Result};
use umbra_meta::{Batch, Entry, Expect, KeyRange, Projection, Revision, key};
use umbra_store::{Bucket, Extent, Native, decode_piece, encode_piece};

use crate::{
    record::{Hydrating, decode, encode},
    transfer::StoredPiece,
};

/// Pieces that one hydration may number. Each begins at a random multiple of it, so that two of one key never share a row.
const PIECES_MAX: u64 = 1 << 20;
/// Rows read or dropped at once.
const PAGE: usize = 1000;

/// A hydration found in its rows.
#[derive(Debug)]
pub(crate) struct Partial {
    /// What its first row says.
    pub(crate) record: Hydrating,
    /// The revision of that row.
    pub(crate) revision: Revision,
    /// Its pieces, and the rows that hold them.
    pub(crate) pieces: Vec<(StoredPiece, Vec<u8>)>,
}

impl Partial {
    /// Whether its pieces lie side by side within the object, whose size is known.
    pub(crate) fn is_sound(&self) -> bool {
        let mut places: Vec<_> = self.pieces.iter().map(|(piece, _)| (piece.offset, piece.offset + piece.size)).collect();
        places.sort_unstable();
        let are_apart = places.is_sorted_by(|left, right| left.1 <= right.0);
        self.record.size != Hydrating::SIZE_UNKNOWN && are_apart && places.last().is_none_or(|(_, end)| *end <= self.record.size)
    }
}

/// The number of the first piece of a new hydration.
pub(crate) fn first_piece(random: u64) -> u64 {
    random & !(PIECES_MAX - 1)
}

/// The row of the `n`th piece; `None` past the last that a hydration may have.
pub(crate) fn piece_row(key: &ObjectKey, first: u64, n: u64) -> Option<Vec<u8>> {
    (n < PIECES_MAX).then(|| key::piece(key, first + n))
}

/// What begins a hydration: its first row, in the same batch as its first piece.
pub(crate) fn begin(batch: Batch, key: &ObjectKey, record: &Hydrating) -> Batch {
    let row = key::hydration(key);
    batch.check(row.clone(), Expect::Absent).put(row, Bytes::new(), encode(record))
}

/// What puts a piece.
pub(crate) fn put_piece(bucket: &Bucket, row: Vec<u8>, extent: &Extent, offset: u64) -> Batch {
    Batch::new(bucket.partition).check(key::settings(), Expect::Exists).put(row, Bytes::new(), encode_piece(extent, offset))
}

/// The hydration of `key` that an earlier transfer left.
pub(crate) async fn load(native: &Native, bucket: &Bucket, key: &ObjectKey) -> Result<Option<Partial>> {
    // Most keys have none, and to look at one row is much cheaper than to begin a scan.
    if native.meta().get(bucket.partition, &key::hydration(key)).await?.is_none() {
        return Ok(None);
    }
    let mut range = key::piece_range(key);
    let mut partial: Option<Partial> = None;
    loop {
        let rows = native.meta().scan(bucket.partition, range.clone(), PAGE, Projection::Full).await?;
        for row in &rows {
            if key::parse_hydration(&row.key).is_some() {
                let record = decode("hydration", &row.body)?;
                partial = Some(Partial { record, revision: row.revision, pieces: Vec::new() });
            } else if let Some(partial) = &mut partial {
                partial.pieces.extend(partial.record.piece(row)?);
            }
        }
        match rows.last() {
            Some(last) if rows.len() == PAGE && partial.is_some() => range = range.after(&last.key),
            _ => return Ok(partial),
        }
    }
}

impl Hydrating {
    /// The piece that `row` holds, if it belongs to this hydration.
    fn piece(&self, row: &Entry) -> Result<Option<(StoredPiece, Vec<u8>)>> {
        let numbers = self.first_piece..self.first_piece.saturating_add(PIECES_MAX);
        let is_ours = key::parse_piece(&row.key).is_some_and(|(_, number)| numbers.contains(&number));
        Ok(if is_ours { Some(decoded(row)?) } else { None })
    }
}

/// The piece that `row` holds, and the row.
fn decoded(row: &Entry) -> Result<(StoredPiece, Vec<u8>)> {
    let (extent, offset) = decode_piece(&row.body)?;
    Ok((StoredPiece::new(offset, extent), row.key.to_vec()))
}

/// Drops a hydration whose first row is at `revision`: that row, then its blobs, then the rows of its pieces.
pub(crate) async fn drop_hydration(
    native: &Native,
    bucket: &Bucket,
    key: &ObjectKey,
    revision: Revision,
    pieces: Vec<(StoredPiece, Vec<u8>)>,
) -> Result<()> {
    if forget(native, bucket, key, revision).await? { drop_pieces(native, bucket, pieces).await } else { Ok(()) }
}

/// Deletes the first row of a hydration, if it is still at `revision`: from then on its pieces are nobody's. False when it is not: somebody
/// else drops it, or made it an object, or it was dropped and another one has begun.
pub(crate) async fn forget(native: &Native, bucket: &Bucket, key: &ObjectKey, revision: Revision) -> Result<bool> {
    let row = key::hydration(key);
    let batch = Batch::new(bucket.partition).check(row.clone(), Expect::Revision(revision)).delete(row);
    match native.meta().commit(batch).await.map_err(Error::from) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deletes the blobs of pieces that belong to no hydration, then their rows. A row outlives a blob that could not be deleted, for the next try.
pub(crate) async fn drop_pieces(native: &Native, bucket: &Bucket, pieces: Vec<(StoredPiece, Vec<u8>)>) -> Result<()> {
    for (piece, _) in &pieces {
        native.blobs().delete(&piece.blob).await?;
    }
    for rows in pieces.chunks(PAGE) {
        let batch = rows.iter().fold(Batch::new(bucket.partition), |batch, (_, row)| batch.delete(row.clone()));
        native.meta().commit(batch).await?;
    }
    Ok(())
}

/// A page of the hydrations in the rows of a bucket.
pub(crate) struct Found {
    /// Keys that have a hydration.
    pub(crate) keys: Vec<ObjectKey>,
    /// Where the next page begins; `None` behind the last.
    pub(crate) next: Option<KeyRange>,
}

/// Finds hydrations, and drops pieces that belong to none: a crash came between dropping one and its pieces. A key whose
/// pieces readers may still want, as `is_read` tells, keeps them.
pub(crate) async fn sweep(native: &Native, bucket: &Bucket, range: KeyRange, is_read: impl Fn(&ObjectKey) -> bool) -> Result<Found> {
    let rows = native.meta().scan(bucket.partition, range.clone(), PAGE, Projection::Full).await?;
    let keys: Vec<_> = rows.iter().filter_map(|row| key::parse_hydration(&row.key)).collect();
    let mut records: HashMap<ObjectKey, Option<Hydrating>> = HashMap::new();
    let mut orphans = Vec::new();
    for row in &rows {
        let Some((key, _)) = key::parse_piece(&row.key) else { continue };
        if !records.contains_key(&key) {
            let entry = native.meta().get(bucket.partition, &key::hydration(&key)).await?;
            records.insert(key.clone(), entry.map(|entry| decode("hydration", &entry.body)).transpose()?);
        }
        let is_owned = match &records[&key] {
            Some(record) => record.piece(row)?.is_some(),
            None => false,
        };
        // Asked after the look: one that drops its hydration is known before.
        if !is_owned && !is_read(&key) {
            orphans.push(row);
        }
    }
    // A hydration that became an object took its rows along. What is still there now that its first row is not will never be an object's.
    let names: Vec<_> = orphans.iter().map(|row| &row.key[..]).collect();
    let still_there = native.meta().multi_get(bucket.partition, &names).await?;
    drop_pieces(native, bucket, still_there.iter().flatten().map(decoded).collect::<Result<_>>()?).await?;
    let next = rows.last().filter(|_| rows.len() == PAGE).map(|last| range.after(&last.key));
    Ok(Found { keys, next })
}

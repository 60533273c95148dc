//! Reading: keys, ranges, and listings with a delimiter.

use std::collections::HashMap;

use futures::{future::join_all, join};
use tokio_postgres::Row;

use super::{failure::Failure, pool::Connection, row, sql::Sql};
use crate::{
    DelimPage, Entry, KeyRange, Partition, Projection, ScanDelim,
    delim::{DelimWalk, Step},
    successor,
};

/// Rows that a listing reads in a row, at least and at most, before it looks whether jumping would be better.
const ROWS_MIN: usize = 64;
const ROWS_MAX: usize = 1001;
/// Rows per entry or common prefix from which on jumping is better. Measured on PostgreSQL: 10 to 30.
const ROWS_PER_ITEM_MAX: usize = 16;

const ONE_MOMENT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The entries of `keys`, in their order, at one moment: it is one statement.
pub(super) async fn multi_get(conn: &Connection, partition: Partition, keys: &[Vec<u8>]) -> Result<Vec<Option<Entry>>, Failure> {
    let p = row::column(partition);
    let decode = |row: &Row| row::decode(row, partition, Projection::Full);
    match keys {
        [] => Ok(Vec::new()),
        [key] => {
            let rows = conn.seen(Sql::Find, &[&p, key]).await?;
            Ok(vec![rows.first().map(decode).transpose()?])
        }
        keys => {
            let rows = conn.seen(Sql::FindMany, &[&p, &keys]).await?;
            let found: HashMap<_, _> =
                rows.iter().map(|row| decode(row).map(|entry| (entry.key.clone(), entry))).collect::<Result<_, _>>()?;
            Ok(keys.iter().map(|key| found.get(key.as_slice()).cloned()).collect())
        }
    }
}

/// The first entries of each range, at one moment: several are read in one transaction that keeps its snapshot, in one round trip.
pub(super) async fn multi_scan(
    conn: &Connection,
    partition: Partition,
    ranges: &[(KeyRange, usize)],
    projection: Projection,
) -> Result<Vec<Vec<Entry>>, Failure> {
    match ranges {
        [] => Ok(Vec::new()),
        [(range, limit)] => Ok(vec![scan(conn, partition, range, *limit, projection).await?]),
        ranges => {
            let scans = ranges.iter().map(|(range, limit)| scan(conn, partition, range, *limit, projection));
            // Polled in this order, hence sent in this order.
            let (begun, found, ended) = join!(conn.batch(ONE_MOMENT), join_all(scans), conn.batch("COMMIT"));
            begun?;
            let found = found.into_iter().collect::<Result<_, _>>()?;
            ended?;
            Ok(found)
        }
    }
}

/// The first `limit` entries of `range`.
async fn scan(
    conn: &Connection,
    partition: Partition,
    range: &KeyRange,
    limit: usize,
    projection: Projection,
) -> Result<Vec<Entry>, Failure> {
    let rows = rows(conn, partition, range, limit, projection).await?;
    rows.iter().map(|row| row::decode(row, partition, projection)).collect()
}

async fn rows(
    conn: &Connection,
    partition: Partition,
    range: &KeyRange,
    limit: usize,
    projection: Projection,
) -> Result<Vec<Row>, Failure> {
    let (p, limit) = (row::column(partition), i64::try_from(limit).unwrap_or(i64::MAX));
    let (open, bounded) = match projection {
        Projection::Head => (Sql::ScanHeads, Sql::ScanHeadsTo),
        Projection::Full => (Sql::ScanFull, Sql::ScanFullTo),
    };
    Ok(match &range.end {
        None => conn.seen(open, &[&p, &range.start, &limit]).await?,
        Some(end) => conn.seen(bounded, &[&p, &range.start, &limit, end]).await?,
    })
}

/// One page of a listing with a delimiter.
///
/// Rows are read one after another as long as most of them are on the page; where common prefixes hide too many, one statement jumps from
/// each to the next for the rest of the page.
pub(super) async fn scan_delim(conn: &Connection, partition: Partition, scan: ScanDelim) -> Result<DelimPage, Failure> {
    let mut walk = DelimWalk::new(scan);
    let Some(mut range) = walk.range() else { return Ok(walk.finish()) };
    loop {
        let asked = (walk.room() + 1).clamp(ROWS_MIN, ROWS_MAX);
        let room = walk.room();
        let rows = rows(conn, partition, &range, asked, Projection::Head).await?;
        let Some(next) = offer(&mut walk, partition, &rows)? else { return Ok(walk.finish()) };
        if rows.len() < asked {
            return Ok(walk.finish());
        }
        range.start = next;
        let items = room - walk.room();
        let jump = successor(&walk.scan().delimiter).filter(|_| items * ROWS_PER_ITEM_MAX < rows.len());
        if let Some(behind) = jump {
            let rows = jumps(conn, partition, &range, walk.scan(), &behind, walk.room() + 1).await?;
            offer(&mut walk, partition, &rows)?;
            return Ok(walk.finish());
        }
    }
}

/// Offers `rows` to the walk; answers where to go on behind them, or nothing when the page is whole.
fn offer(walk: &mut DelimWalk, partition: Partition, rows: &[Row]) -> Result<Option<Vec<u8>>, Failure> {
    let mut next = Some(Vec::new());
    for row in rows {
        let key = row::key(row)?;
        next = match walk.offer(key) {
            Step::Take => {
                walk.take(row::decode(row, partition, Projection::Head)?);
                None
            }
            Step::Next => None,
            // They are here already: what is to be jumped over is looked at all the same.
            Step::Seek(start) => Some(start),
            Step::Stop => return Ok(None),
        }
        .or_else(|| Some([key, b"\0"].concat()));
    }
    Ok(next)
}

/// The first `limit` rows of `range` that are entries of the page, or the first of a common prefix.
async fn jumps(
    conn: &Connection,
    partition: Partition,
    range: &KeyRange,
    scan: &ScanDelim,
    behind: &[u8],
    limit: usize,
) -> Result<Vec<Row>, Failure> {
    let (p, limit) = (row::column(partition), i64::try_from(limit).unwrap_or(i64::MAX));
    // A key has a length that fits.
    let prefix = i32::try_from(scan.prefix.len()).unwrap_or(i32::MAX - 1);
    let sql = if range.end.is_some() { Sql::WalkTo } else { Sql::Walk };
    Ok(conn.seen(sql, &[&p, &range.start, &range.end, &limit, &scan.delimiter, &prefix, &behind]).await?)
}

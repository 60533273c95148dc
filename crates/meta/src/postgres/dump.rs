//! All rows of a database, and a database of all rows.

use tokio_postgres::{Client, Row};

use super::{failure::Failure, pool, row, schema, target::Target};
use crate::{Entry, Error, Partition, Projection, Result, sums::Sums};

/// Rows that are asked for at once: some may hold the parts of an object.
const ROWS: i64 = 256;
/// How much is gathered before it is sent.
const BATCH_BYTES: usize = 4 << 20;
const BATCH_ROWS: usize = 2000;

const SELECT: &str = "SELECT k, rev, head, hsum, bsum, body, p FROM umbra_kv";

const INSERT: &str = "INSERT INTO umbra_kv (p, k, rev, head, hsum, bsum, body)
    SELECT * FROM unnest($1::int8[], $2::bytea[], $3::int8[], $4::bytea[], $5::int8[], $6::int8[], $7::bytea[])";

/// Shows every row of the database to `each`, as they stand at one moment. It may be in use.
pub(super) async fn export(target: &Target, mut each: impl FnMut(Partition, &Entry) -> Result<()>) -> Result<(), Failure> {
    let client = pool::connect(target).await?;
    schema::require(&client).await?;
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
    let first = client.prepare(&format!("{SELECT} ORDER BY p, k LIMIT $1::int8")).await?;
    let more = client.prepare(&format!("{SELECT} WHERE (p, k) > ($2::int8, $3::bytea) ORDER BY p, k LIMIT $1::int8")).await?;
    let mut rows = client.query(&first, &[&ROWS]).await?;
    while let Some(last) = rows.last() {
        let place: (i64, Vec<u8>) = (last.try_get(6)?, last.try_get(0)?);
        for row in &rows {
            let (partition, entry) = decode(row)?;
            each(partition, &entry)?;
        }
        rows = client.query(&more, &[&ROWS, &place.0, &place.1]).await?;
    }
    Ok(client.batch_execute("COMMIT").await?)
}

fn decode(row: &Row) -> Result<(Partition, Entry), Failure> {
    let partition = Partition(row.try_get::<_, i64>(6)?.cast_unsigned());
    Ok((partition, row::decode(row, partition, Projection::Full)?))
}

/// Fills the database, which must be empty, with the rows that `next` answers: all of them, or none.
///
/// The row of the schema stays locked meanwhile, and no server can open the store.
pub(super) async fn import(target: &Target, mut next: impl FnMut() -> Result<Option<(Partition, Entry)>>) -> Result<(), Failure> {
    let (client, worker) = (pool::connect(target).await?, pool::connect(target).await?);
    schema::migrate(&client, &worker).await?;
    drop(worker);
    client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    client.query("SELECT version FROM umbra_schema WHERE id = 1 FOR UPDATE", &[]).await?;
    refuse_what_is_used(&client).await?;
    let insert = client.prepare(INSERT).await?;
    let mut last = 0;
    loop {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES && batch.len() < BATCH_ROWS {
            let Some((partition, entry)) = next()? else { break };
            bytes += entry.key.len() + entry.head.len() + entry.body.len();
            last = last.max(entry.revision.0);
            batch.push((partition, entry));
        }
        if batch.is_empty() {
            break;
        }
        put(&client, &insert, &batch).await?;
    }
    let bound = last.cast_signed();
    client.query("SELECT setval('umbra_revision', greatest(nextval('umbra_revision'), $1::int8))", &[&bound]).await?;
    Ok(client.batch_execute("COMMIT").await?)
}

async fn put(client: &Client, insert: &tokio_postgres::Statement, batch: &[(Partition, Entry)]) -> Result<(), Failure> {
    let column = |of: fn(&Entry) -> &[u8]| batch.iter().map(|(_, entry)| of(entry)).collect::<Vec<_>>();
    let (keys, heads, bodies) = (column(|entry| &entry.key), column(|entry| &entry.head), column(|entry| &entry.body));
    let partitions: Vec<i64> = batch.iter().map(|(partition, _)| row::column(*partition)).collect();
    let revisions: Vec<i64> = batch.iter().map(|(_, entry)| entry.revision.0.cast_signed()).collect();
    let (mut head_sums, mut body_sums) = (Vec::new(), Vec::new());
    for (partition, entry) in batch {
        let sums = Sums::new(*partition, &entry.key, entry.revision);
        head_sums.push(sums.over(&entry.head));
        body_sums.push(sums.over(&entry.body));
    }
    client.execute(insert, &[&partitions, &keys, &revisions, &heads, &head_sums, &body_sums, &bodies]).await?;
    Ok(())
}

async fn refuse_what_is_used(client: &Client) -> Result<(), Failure> {
    let refused = |why: &str| Failure::Answer(Error::Unavailable(why.to_owned()));
    if !client.query("SELECT 1 FROM umbra_node LIMIT 1", &[]).await?.is_empty() {
        return Err(refused("a server is running on the metadata database; stop it first"));
    }
    if !client.query("SELECT 1 FROM umbra_kv LIMIT 1", &[]).await?.is_empty() {
        return Err(refused("there is metadata in the database already; only an empty store can be filled"));
    }
    Ok(())
}

//! The tables, and how an older store becomes a newer one.
//!
//! Migrations are numbered from 1. Whoever opens a store locks the one row of `umbra_schema`, does what is missing on a second connection,
//! and then writes the new number: so one does it while the others wait, on databases too that cannot take back the making of a
//! table. For their sake each statement may be run again.

use tokio_postgres::{Client, error::SqlState};

use super::{failure::Failure, slots::SLOTS};
use crate::Error;

/// One migration: statements in their order.
type Migration = fn(&Server) -> Vec<String>;

/// All of them; the version of the schema is how many there are.
const MIGRATIONS: [Migration; 2] = [first, several_nodes];

/// What has to be known about the server to make a table.
pub(super) struct Server {
    is_yugabyte: bool,
}

/// Brings the schema to the version that this code knows; refuses a newer one.
///
/// `client` holds the lock and `worker` does the work.
pub(super) async fn migrate(client: &Client, worker: &Client) -> Result<(), Failure> {
    let server = Server::of(client).await?;
    begin_with_schema_table(client).await?;
    client.batch_execute("BEGIN").await?;
    let row = client.query_one("SELECT version FROM umbra_schema WHERE id = 1 FOR UPDATE", &[]).await?;
    let version = known(row.try_get(0)?)?;
    for migration in &MIGRATIONS[version..] {
        for statement in migration(&server) {
            worker.batch_execute(&statement).await?;
        }
    }
    if version < MIGRATIONS.len() {
        client.execute("UPDATE umbra_schema SET version = $1 WHERE id = 1", &[&(MIGRATIONS.len() as i64)]).await?;
    }
    client.batch_execute("COMMIT").await?;
    for hint in HINTS {
        // For space and vacuuming in PostgreSQL: what does not know them does without, and so does one who may not alter.
        worker.batch_execute(hint).await.ok();
    }
    Ok(())
}

/// Refuses a database without the tables, or with those of another version.
pub(super) async fn require(client: &Client) -> Result<(), Failure> {
    let version = version(client).await?.unwrap_or(0);
    if known(version)? == MIGRATIONS.len() {
        return Ok(());
    }
    Err(Failure::Answer(Error::Unavailable("there is no metadata in the database, or not of this version yet".to_owned())))
}

/// The version of the tables that the database has, if it has any.
async fn version(client: &Client) -> Result<Option<i64>, Failure> {
    match client.query_opt("SELECT version FROM umbra_schema WHERE id = 1", &[]).await {
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(None),
        found => Ok(found?.map(|row| row.try_get(0)).transpose()?),
    }
}

/// The version of a schema, if this code can work with it.
fn known(version: i64) -> Result<usize, Failure> {
    let known = MIGRATIONS.len();
    usize::try_from(version).ok().filter(|version| *version <= known).ok_or_else(|| {
        Failure::Answer(Error::Unavailable(format!(
            "the metadata database has format {version}, this version of umbra knows {known} only: use the version that wrote it, or a newer one"
        )))
    })
}

/// Makes the table with the one row that everything else is done under. Asks first: PostgreSQL remarks on what it skips, and it is told in the log.
async fn begin_with_schema_table(client: &Client) -> Result<(), Failure> {
    if version(client).await?.is_some() {
        return Ok(());
    }
    let made = client.batch_execute("CREATE TABLE IF NOT EXISTS umbra_schema (id int8 PRIMARY KEY, version int8 NOT NULL)").await;
    if let Err(error) = made {
        // Two at once: PostgreSQL lets one of them fail although it says IF NOT EXISTS.
        let another = [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_OBJECT];
        return Err(match error.code() {
            Some(code) if another.contains(code) => Failure::Again("another process is making the tables".to_owned()),
            _ => error.into(),
        });
    }
    client.batch_execute("INSERT INTO umbra_schema (id, version) VALUES (1, 0) ON CONFLICT (id) DO NOTHING").await?;
    Ok(())
}

impl Server {
    async fn of(client: &Client) -> Result<Self, Failure> {
        let row = client.query_one("SELECT version()", &[]).await?;
        let version: String = row.try_get(0)?;
        let server = Self { is_yugabyte: version.contains("-YB-") };
        if server.is_yugabyte {
            server.require_read_committed(client).await?;
        }
        Ok(server)
    }

    /// YugabyteDB may run what asks for READ COMMITTED on a snapshot, and then a lock does not show what was written before it was given.
    async fn require_read_committed(&self, client: &Client) -> Result<(), Failure> {
        client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
        let row = client.query_one("SHOW yb_effective_transaction_isolation_level", &[]).await?;
        let level: String = row.try_get(0)?;
        client.batch_execute("ROLLBACK").await?;
        if level.eq_ignore_ascii_case("read committed") {
            return Ok(());
        }
        let refusal = "YugabyteDB has to run with yb_enable_read_committed_isolation=true to hold metadata";
        Err(Failure::Answer(Error::Unavailable(refusal.to_owned())))
    }
}

const HINTS: [&str; 3] = [
    "ALTER TABLE umbra_kv SET (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1)",
    "ALTER TABLE umbra_session SET (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)",
    "ALTER TABLE umbra_kv ALTER COLUMN body SET STORAGE EXTERNAL",
];

/// The first schema. Bytes compare by their values in every one of the databases, so there is no collation in it.
fn first(server: &Server) -> Vec<String> {
    // YugabyteDB would spread the first column by its hash, and a listing could not walk it; PostgreSQL does not take the word.
    let key = if server.is_yugabyte { "p ASC, k ASC" } else { "p, k" };
    let slot = if server.is_yugabyte { "n ASC" } else { "n" };
    vec![
        format!(
            "CREATE TABLE IF NOT EXISTS umbra_kv (
                p int8 NOT NULL,
                k bytea NOT NULL,
                rev int8 NOT NULL,
                hsum int8 NOT NULL,
                bsum int8 NOT NULL,
                head bytea NOT NULL,
                body bytea NOT NULL,
                PRIMARY KEY ({key})
            )"
        ),
        format!("CREATE TABLE IF NOT EXISTS umbra_slot (n int4 NOT NULL, PRIMARY KEY ({slot}))"),
        format!("INSERT INTO umbra_slot (n) SELECT generate_series(0, {}) ON CONFLICT (n) DO NOTHING", SLOTS - 1),
        "CREATE TABLE IF NOT EXISTS umbra_session (
            id int8 NOT NULL PRIMARY KEY,
            node text NOT NULL,
            rev int8 NOT NULL,
            opened timestamptz NOT NULL
        )"
        .to_owned(),
        "CREATE TABLE IF NOT EXISTS umbra_lease (
            id int8 NOT NULL PRIMARY KEY,
            holder text NOT NULL,
            turn int8 NOT NULL,
            until timestamptz NOT NULL
        )"
        .to_owned(),
        "INSERT INTO umbra_lease (id, holder, turn, until) VALUES (1, '', 0, now()) ON CONFLICT (id) DO NOTHING".to_owned(),
        "CREATE SEQUENCE IF NOT EXISTS umbra_revision".to_owned(),
    ]
}

/// The second: several servers at a time. One of the first schema that still runs finds its lease gone, and stops.
fn several_nodes(_server: &Server) -> Vec<String> {
    vec![
        "CREATE TABLE IF NOT EXISTS umbra_node (id text NOT NULL PRIMARY KEY, opened timestamptz NOT NULL)".to_owned(),
        "DELETE FROM umbra_session".to_owned(),
        "DROP TABLE IF EXISTS umbra_lease".to_owned(),
    ]
}

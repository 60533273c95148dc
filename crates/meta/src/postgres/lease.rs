//! One server to a database: the row that says which, and what keeps an earlier one out.
//!
//! The holder renews the row; a server that finds it held by another waits only as long as it takes to see that the other is alive, or
//! gone. Whoever takes it over removes the sessions of all earlier connections. That waits for the transactions on them, and none
//! can begin there afterwards: so a server that was taken for dead commits nothing any more.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use super::{Store, failure::Failure, sql::Sql};
use crate::Error;

/// How long the holder may be silent.
const LEASE: Duration = Duration::from_secs(20);
const RENEW_EVERY: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(500);

fn millis() -> i64 {
    // Some thousands.
    LEASE.as_millis() as i64
}

/// Makes `node` the holder, and ends whatever an earlier one, or an earlier life of this one, has under way.
pub(super) async fn take(client: &Client, node: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + LEASE + RENEW_EVERY;
    let mut seen = None;
    loop {
        let taken = client
            .execute(
                "UPDATE umbra_lease SET holder = $1, turn = turn + 1, until = now() + $2::int8 * interval '1 millisecond'
                  WHERE id = 1 AND (holder = $1 OR holder = '' OR until < now())",
                &[&node, &millis()],
            )
            .await?;
        if taken > 0 {
            client.batch_execute("DELETE FROM umbra_session").await?;
            return Ok(());
        }
        let row = client.query_one("SELECT holder, turn FROM umbra_lease WHERE id = 1", &[]).await?;
        let (holder, turn): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        if seen.is_some_and(|seen| seen != turn) || Instant::now() > deadline {
            let refusal = format!("another server ({holder}) is running on the metadata database; stop it first: one server at a time may");
            return Err(Error::Unavailable(refusal).into());
        }
        if seen.is_none() {
            tracing::warn!(holder, "the metadata database is held by another server; waiting to see whether it is alive");
        }
        seen = Some(turn);
        sleep(LOOK_EVERY).await;
    }
}

/// Renews the lease until the store is shut down or finds that it is another's.
pub(super) async fn keep(store: Arc<Store>) {
    loop {
        sleep(RENEW_EVERY).await;
        match renew(&store).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::error!("another server has taken over the metadata database; this one serves nothing any more");
                store.pool.close();
                return;
            }
            Err(failure) => tracing::warn!(error = %Error::from(failure), "the lease of the metadata database is not renewed"),
        }
    }
}

async fn renew(store: &Store) -> Result<bool, Failure> {
    let conn = store.pool.take().await?;
    let rows = conn.rows(Sql::Renew, &[&store.settings.node, &millis()]).await?;
    store.pool.give_back(conn);
    Ok(!rows.is_empty())
}

/// Lets the next server begin at once.
pub(super) async fn release(store: &Store) -> Result<(), Failure> {
    let conn = store.pool.take().await?;
    Ok(conn.run(Sql::Release, &[&store.settings.node]).await?)
}

//! Several servers to a database: each is an *incarnation* with a row of its own, and what keeps one out that was taken for dead.
//!
//! A connection may only be entered into `umbra_session` while the row of its incarnation is there. Whoever fences an incarnation removes
//! that row, and then the sessions. The latter waits for the transactions on them, and none can begin there afterwards: so a server that was
//! taken for dead commits nothing any more. Who is dead is not decided here, see the crate `cluster`.

use tokio_postgres::Client;

use super::failure::Failure;

/// Enters `incarnation`.
pub(super) async fn enter(client: &Client, incarnation: &str) -> Result<(), Failure> {
    let entered = "INSERT INTO umbra_node (id, opened) VALUES ($1, now()) ON CONFLICT (id) DO NOTHING";
    client.execute(entered, &[&incarnation]).await?;
    Ok(())
}

/// Ends whatever `incarnation` has under way. When this returns, what it had not committed is not, and will never be.
pub(super) async fn fence(client: &Client, incarnation: &str) -> Result<(), Failure> {
    client.execute("DELETE FROM umbra_node WHERE id = $1", &[&incarnation]).await?;
    client.execute("DELETE FROM umbra_session WHERE node = $1", &[&incarnation]).await?;
    Ok(())
}

//! What a standby is read for, on real PostgreSQL that streams.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use umbra_meta::{Batch, MetaStore, Nearby, Neighbours, PostgresMetaStore, PostgresSettings, ReplicaMetrics, ReplicaSettings, suite};

use super::{
    P,
    server::{Server, needs_postgres},
    settings,
};

/// A database with a standby, as a node reads them that is alone in its region.
struct Region {
    nearby: Nearby,
    beats: JoinHandle<()>,
}

impl Region {
    /// Returns once the standby is read.
    async fn open(server: &Server, standby: &Server) -> Self {
        let settings = PostgresSettings { has_replica: true, ..settings() };
        let primary = Arc::new(PostgresMetaStore::open(&server.url(), None, settings).await.unwrap());
        let neighbours = Arc::new(Neighbours::new("fra"));
        let beats = tokio::spawn(beat(Arc::clone(&neighbours)));
        let replica = ReplicaSettings { url: standby.url(), password: None, connections_max: 4 };
        let nearby = Nearby::open(primary, Some(replica), neighbours, ReplicaMetrics::default()).unwrap();
        while !nearby.is_trusted() {
            sleep(Duration::from_millis(20)).await;
        }
        Self { nearby, beats }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.beats.abort();
    }
}

/// What the heartbeats of a node do for its neighbours.
async fn beat(neighbours: Arc<Neighbours>) {
    loop {
        let (began, declaration) = (Instant::now(), neighbours.declaration());
        neighbours.note(began, [("fra", Duration::ZERO, declaration)].into_iter());
        neighbours.declared(declaration, began);
        sleep(Duration::from_millis(50)).await;
    }
}

/// Whoever commits and reads there sees what an engine is to show.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_conforms() {
    let server = needs_postgres!();
    let standby = server.standby();
    let region = Region::open(&server, &standby).await;
    suite::run(region.nearby.reads().unwrap()).await;
    region.nearby.shutdown();
    assert!(!region.nearby.is_trusted());
}

/// What was read at the primary is read at the standby as well, or not there: also by whom who wrote it told nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_seen_is_unseen() {
    let server = needs_postgres!();
    let standby = server.standby();
    let region = Region::open(&server, &standby).await;
    // A node of another region, which waits for nobody.
    let elsewhere =
        PostgresMetaStore::open(&server.url(), None, PostgresSettings { node: "elsewhere".to_owned(), ..settings() }).await.unwrap();
    let (reads, writes) = (region.nearby.reads().unwrap(), region.nearby.writes());
    let pauses = standby.client().await;
    for round in 0..60_u32 {
        if round % 20 == 5 {
            pauses.batch_execute("SELECT pg_wal_replay_pause()").await.unwrap();
        }
        if round % 20 == 15 {
            pauses.batch_execute("SELECT pg_wal_replay_resume()").await.unwrap();
        }
        let head = round.to_string();
        elsewhere.commit(Batch::new(P).put("key", head.clone(), "")).await.unwrap();
        assert_eq!(writes.get(P, b"key").await.unwrap().unwrap().head, head);
        assert_eq!(reads.get(P, b"key").await.unwrap().unwrap().head, head);
    }
}

/// A standby of another database, however alike they are, is not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_not_read() {
    let (server, another) = (needs_postgres!(), needs_postgres!());
    let standby = another.standby();
    let made = PostgresMetaStore::open(&another.url(), None, settings()).await.unwrap();
    made.commit(Batch::new(P).put("key", "another", "")).await.unwrap();
    let settings = PostgresSettings { has_replica: true, ..settings() };
    let primary = Arc::new(PostgresMetaStore::open(&server.url(), None, settings).await.unwrap());
    // So that the stranger's log is longer.
    another.client().await.batch_execute("SELECT pg_logical_emit_message(false, 'x', repeat('x', 10000000))").await.unwrap();
    let neighbours = Arc::new(Neighbours::new("fra"));
    let beats = tokio::spawn(beat(Arc::clone(&neighbours)));
    let replica = ReplicaSettings { url: standby.url(), password: None, connections_max: 4 };
    let nearby = Nearby::open(primary, Some(replica), Arc::clone(&neighbours), ReplicaMetrics::default()).unwrap();
    nearby.writes().commit(Batch::new(P).put("key", "ours", "")).await.unwrap();
    // Longer than it takes one that is ours.
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        assert!(!nearby.is_trusted() && neighbours.declaration().is_none_or(|declaration| declaration.server.is_none()));
        assert_eq!(nearby.reads().unwrap().get(P, b"key").await.unwrap().unwrap().head, "ours");
        sleep(Duration::from_millis(50)).await;
    }
    beats.abort();
}

/// Who names several standbys, or none that can be read, is told at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_of_several_standbys_is_refused() {
    let server = needs_postgres!();
    let primary = Arc::new(PostgresMetaStore::open(&server.url(), None, settings()).await.unwrap());
    for (url, why) in [("postgres://u@a.example,b.example/db?sslmode=disable", "several hosts"), ("mysql://u@h/db", "postgres://")] {
        let replica = ReplicaSettings { url: url.to_owned(), password: None, connections_max: 4 };
        let refused = Nearby::open(Arc::clone(&primary), Some(replica), Arc::new(Neighbours::new("fra")), ReplicaMetrics::default());
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
}

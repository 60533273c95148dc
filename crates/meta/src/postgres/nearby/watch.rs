//! Watches a standby: how far it is, whether it is one, and whether the primary answers.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::{Shared, trust::Proof};
use crate::{
    Declaration,
    neighbours::TRUST,
    postgres::{
        failure::Failure,
        pool::Connection,
        position::{Instance, Position},
    },
};

/// How often the standby is compared with the primary, and looked at when nobody waits for it.
const EVERY: Duration = Duration::from_millis(250);
/// How long a question of the watch may take.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// How long connecting may.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How often the standby is looked at while somebody waits for it: at first, and at the longest.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(10);
/// For how long a standby may be behind before others are told that it is not read.
const WITHDRAWN_AFTER: Duration = Duration::from_secs(3);

/// The connections of the watch.
#[derive(Default)]
struct Watched {
    standby: Mutex<Option<Arc<Connection>>>,
    /// The standby of which it was told that it is none of this database.
    stranger: Mutex<Option<Instance>>,
}

impl Shared {
    /// Watches until it is dropped.
    pub(super) async fn watch(&self) {
        let watched = Watched::default();
        tokio::join!(self.follow(&watched), self.compare(&watched), self.tell());
    }

    /// Looks at the standby again and again.
    async fn follow(&self, watched: &Watched) {
        let Some(replica) = &self.replica else { return };
        let mut is_told = false;
        loop {
            let failure = match timeout(CONNECT_MAX, replica.connect()).await {
                Err(_) => "it does not answer".to_owned(),
                Ok(Err(failure)) => crate::Error::from(failure).to_string(),
                Ok(Ok(conn)) => {
                    let conn = Arc::new(conn);
                    let mut is_fine = false;
                    let failure = self.follow_on(watched, &conn, &mut is_fine).await;
                    is_told &= !is_fine;
                    failure
                }
            };
            *watched.standby.lock() = None;
            self.lose_standby();
            if !is_told {
                tracing::warn!(why = failure, "the metadata replica is of no use now: the primary is read instead");
                is_told = true;
            }
            sleep(EVERY).await;
        }
    }

    /// Looks at the standby on one connection; answers why no longer.
    async fn follow_on(&self, watched: &Watched, conn: &Arc<Connection>, is_fine: &mut bool) -> String {
        let mut pause = PAUSE_MIN;
        loop {
            let log = match timeout(ANSWER_MAX, conn.log()).await {
                Ok(Ok(Some(log))) => log,
                Ok(Ok(None)) => return "it does not tell how far it is".to_owned(),
                Ok(Err(error)) => return crate::Error::from(Failure::from(error)).to_string(),
                Err(_) => return "it does not answer".to_owned(),
            };
            if !log.is_standby {
                return "it is no standby, or was promoted".to_owned();
            }
            let before = self.trust.lock().replayed();
            self.trust.lock().note_replayed(log.position);
            if !*is_fine {
                *is_fine = true;
                *watched.standby.lock() = Some(Arc::clone(conn));
                tracing::info!("the metadata replica answers");
            }
            let has_moved = before != Some(log.position);
            if has_moved {
                self.progress.send_replace(());
            }
            pause = if has_moved { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
            if self.waiting.load(Ordering::SeqCst) > 0 {
                sleep(pause).await;
                continue;
            }
            // A permit of one who came and went costs one look.
            if timeout(EVERY, self.wanted.notified()).await.is_ok() {
                pause = PAUSE_MIN;
            }
        }
    }

    /// Compares the standby with the primary again and again.
    async fn compare(&self, watched: &Watched) {
        let mut session = None;
        loop {
            match timeout(CONNECT_MAX, self.primary.store.pool.connect()).await {
                Ok(Ok(conn)) => {
                    session = Some(conn.session);
                    self.compare_on(watched, &conn).await;
                }
                Ok(Err(failure)) => tracing::debug!(error = %crate::Error::from(failure), "the primary of the metadata does not answer"),
                Err(_) => tracing::debug!("the primary of the metadata does not answer"),
            }
            // A standby that was started again is still the one that it was, if it shows what was written before.
            let before = self.trust.lock().proof();
            if let (Some(session), Some(before)) = (session, before) {
                self.prove(watched, before.primary, session).await;
            }
            sleep(EVERY).await;
        }
    }

    /// Compares the two on one connection to the primary, until that is lost.
    async fn compare_on(&self, watched: &Watched, conn: &Connection) {
        let mut is_new = true;
        loop {
            let asked = Instant::now();
            let Ok(Ok(Some(log))) = timeout(ANSWER_MAX, conn.log()).await else { return };
            if log.is_standby {
                return;
            }
            let place = log.position;
            self.trust.lock().note_answer(Instant::now());
            if is_new {
                self.meet_primary(place);
                is_new = false;
            } else {
                self.check(watched, asked, place, conn.session).await;
            }
            sleep_until(asked + EVERY).await;
        }
    }

    /// Where another primary has come to be, what the former one had not passed on is lost, and is not waited for.
    fn meet_primary(&self, place: Position) {
        let is_same = self.trust.lock().proof().is_some_and(|proof| proof.primary == place.instance);
        if let Some(floor) = self.primary.store.floor.as_ref().filter(|_| !is_same) {
            floor.lower(place);
            // Something may have been seen there already that stands behind this place.
            self.trust.lock().note_unplaced(Instant::now());
        }
    }

    /// Trusts the standby if it has everything up to `place`, where the primary was when it was `asked`, or later.
    async fn check(&self, watched: &Watched, asked: Instant, place: Position, session: i64) {
        let replayed = self.trust.lock().replayed();
        let behind = replayed.map_or(0, |replayed| place.lsn.saturating_sub(replayed.lsn));
        self.metrics.behind_bytes.set(behind.cast_signed());
        let Some(standby) = replayed.map(|replayed| replayed.instance) else { return };
        if timeout_at(asked + TRUST, self.replayed(standby, place.lsn)).await.is_err()
            || !self.prove(watched, place.instance, session).await
        {
            return;
        }
        let mut trust = self.trust.lock();
        // It may have become another meanwhile.
        if trust.follows(standby, place.instance) && trust.has_replayed(standby, place.lsn) {
            let settles = trust.note_check(asked);
            if let Some(floor) = self.primary.store.floor.as_ref().filter(|_| settles) {
                floor.raise(Some(place));
            }
            drop(trust);
            self.metrics.behind_bytes.set(0);
        }
    }

    /// Holds that the standby has the row which was written to `primary` in `session`. Tells whether it does.
    async fn prove(&self, watched: &Watched, primary: Instance, session: i64) -> bool {
        let conn = watched.standby.lock().clone();
        let Some((conn, standby)) = conn.and_then(|conn| conn.instance().map(|instance| (conn, instance))) else { return false };
        let proof = Proof { primary, session, standby };
        if self.trust.lock().proof() == Some(proof) {
            return true;
        }
        let Ok(Ok(is_shown)) = timeout(ANSWER_MAX, conn.shows(session)).await else { return false };
        if is_shown {
            self.trust.lock().prove(proof);
            *watched.stranger.lock() = None;
        } else if watched.stranger.lock().replace(standby) != Some(standby) {
            tracing::error!(
                "what the setting metadata_replica names is no standby of the metadata database, or follows another one: it is not read"
            );
        }
        is_shown
    }

    /// Tells others what they have to know of the standby, and those who wait for the primary that it does not answer.
    async fn tell(&self) {
        loop {
            let now = Instant::now();
            let (server, behind, is_cut_off) = {
                let trust = self.trust.lock();
                let behind = trust.behind(now);
                let server = trust.proof().filter(|_| behind.is_some_and(|behind| behind < WITHDRAWN_AFTER)).map(|proof| proof.standby.0);
                (server, behind, trust.is_cut_off(now))
            };
            let is_trusted = self.trusted().is_some();
            let behind_ms = behind.map_or(0, |behind| u64::try_from(behind.as_millis()).unwrap_or(u64::MAX));
            self.neighbours.tell(Declaration { server, is_trusted, behind_ms });
            self.metrics.is_trusted.set(i64::from(is_trusted));
            self.metrics.behind_ms.set(behind_ms.cast_signed());
            self.is_cut_off.send_if_modified(|known| std::mem::replace(known, is_cut_off) != is_cut_off);
            sleep(EVERY / 2).await;
        }
    }

    /// Forgets what was known of the standby.
    pub(super) fn lose_standby(&self) {
        self.trust.lock().note_loss();
        self.neighbours.tell(Declaration { server: None, is_trusted: false, behind_ms: 0 });
    }
}

//! Those who are no clients: the administrator, who attaches, changes and detaches the shadow, and the owner of the origin.

use std::time::Duration;

use umbra_core::{HydratePolicy, Result};
use umbra_shadow::AttachRequest;
use umbra_store::{BucketSettings, Secret, Versioning};

use crate::{
    env::{BIG_MIN, Dials},
    history::{Mode, Switch, Turn},
    life::{Life, World},
    reference::{Effect, Keeps, Value},
    writes::content,
};

/// How old a copy may become before it is held against the origin, where it is.
const REVALIDATE_AFTER: Duration = Duration::from_secs(2);

/// Attaches the shadow for the first time.
fn attach_request(dials: &Dials, write_through: bool) -> AttachRequest {
    AttachRequest {
        endpoint: Some("https://old.example".to_owned()),
        access_key: Some("key".to_owned()),
        secret_key: Some(Secret::new("secret")),
        write_through: Some(write_through),
        hydrate: Some(if dials.touched { HydratePolicy::Touched } else { HydratePolicy::Whole }),
        revalidate: dials.revalidates.then_some(REVALIDATE_AFTER),
        ..AttachRequest::default()
    }
}

/// New credentials, and nothing else.
fn rotation() -> AttachRequest {
    AttachRequest { access_key: Some("another".to_owned()), secret_key: Some(Secret::new("other")), ..AttachRequest::default() }
}

impl Life {
    /// The administrator of a life.
    pub(crate) async fn administer(self) {
        let env = self.world.env.clone();
        for _ in 0..2 + env.below(4) {
            tokio::time::sleep(Duration::from_millis(20 + env.below(400) as u64)).await;
            let Some(mode) = self.world.history.lock().mode() else { return };
            // The owner changes objects only while writes do not go through.
            let through = !env.dials.owner && env.chance(0.6);
            let wanted = if through { Mode::Through } else { Mode::Here };
            match mode {
                Mode::Detached => self.switch(wanted, false).await,
                // Credentials are changed alone. Whether that came to pass makes no difference to anybody.
                _ if env.chance(0.2) => drop(self.attach(rotation()).await),
                _ if env.chance(0.4) => self.switch(Mode::Detached, env.chance(0.6)).await,
                _ => self.switch(wanted, false).await,
            }
        }
    }

    /// Changes the shadow, and finds out what became of it.
    pub(crate) async fn switch(&self, mode: Mode, forced: bool) {
        let before = self.world.history.lock().mode();
        let begun = self.world.env.tick();
        let effect = match (before, mode) {
            (Some(Mode::Detached) | None, Mode::Here | Mode::Through) => Some(Effect::Attach(begun)),
            (_, Mode::Detached) => Some(Effect::Detach { forced }),
            _ => None,
        };
        let what = format!("SHADOW {mode:?}{}", if forced { " (forced)" } else { "" });
        let switch = Switch { what, begun, ended: None, mode, effect, applied: None, acknowledged: false };
        self.world.history.lock().switches.push(switch);
        let switched = self.try_switch(mode, forced).await;
        if switched.is_ok() {
            let tick = self.world.env.tick();
            if let Some(switch) = self.world.history.lock().switches.last_mut() {
                (switch.ended, switch.applied, switch.acknowledged) = (Some(tick), Some(true), true);
            }
        } else {
            // Reads of metadata do not fail; if this did, the switch would stay open and be settled in the next life.
            let _ = self.settle_switch().await;
        }
    }

    async fn try_switch(&self, mode: Mode, forced: bool) -> Result<()> {
        let write_through = match mode {
            Mode::Detached => {
                let bucket = self.bucket().await?;
                return self.shadow.detach(&self.cx, &bucket, forced).await.map(drop);
            }
            mode => mode == Mode::Through,
        };
        self.attach(attach_request(&self.world.env.dials, write_through)).await
    }

    async fn attach(&self, request: AttachRequest) -> Result<()> {
        let bucket = self.bucket().await?;
        self.shadow.attach(&self.cx, &bucket, request).await.map(drop)
    }
}

impl Life {
    /// Who has the bucket keep versions, at some moment or other, and suspends that.
    pub(crate) async fn turn_versions(self) {
        let env = self.world.env.clone();
        for _ in 0..env.below(4) {
            tokio::time::sleep(Duration::from_millis(20 + env.below(500) as u64)).await;
            let open = self.world.history.lock().turns.last().is_some_and(|turn| turn.applied.is_none());
            let Ok(bucket) = self.bucket().await else { return };
            match bucket.settings.versioning {
                _ if open => return,
                Versioning::Enabled if env.chance(0.4) => self.turn(Keeps::Suspended).await,
                Versioning::Enabled => {}
                Versioning::Off | Versioning::Suspended => self.turn(Keeps::All).await,
            }
        }
    }

    /// Changes whether the bucket keeps versions, and finds out what became of it.
    pub(crate) async fn turn(&self, to: Keeps) {
        let begun = self.world.env.tick();
        self.world.history.lock().turns.push(Turn { to, begun, ended: None, applied: None });
        let change = move |settings: &mut BucketSettings| {
            settings.versioning = if to == Keeps::All { Versioning::Enabled } else { Versioning::Suspended };
            Ok(())
        };
        let turned = async { self.shadow.change_versioning(&*self.bucket().await?, change).await };
        let _ = turned.await;
        // Reads of metadata do not fail; if this did, it would be settled in the next life.
        let _ = self.settle_turn().await;
    }
}

impl World {
    /// The origin's owner, who changes objects there behind our back.
    pub(crate) async fn own(self) {
        for _ in 0..1 + self.env.below(8) {
            tokio::time::sleep(Duration::from_millis(self.env.below(500) as u64)).await;
            let key = self.env.pick(&self.env.dials.keys).clone();
            if self.env.chance(0.7) { self.own_put(&key) } else { self.origin.remove(&key) }
        }
    }

    /// Puts an object of its owner at the origin.
    pub(crate) fn own_put(&self, key: &str) {
        let tags = if self.env.chance(0.5) { 0 } else { self.writes.issue() };
        let is_first = !self.origin.changes().iter().any(|change| change.key == key);
        let size = match self.env.dials.big && self.env.chance(0.5) {
            true => BIG_MIN + self.env.below(self.env.dials.origin_size_max - BIG_MIN),
            // The shortest contents are alike: later ones must be told from those before.
            false => (if is_first { 0 } else { 8 }) + self.env.below(self.env.dials.size_max + 1),
        };
        let bytes = content(self.writes.issue(), size);
        let write = self.writes.add(key, Some(bytes.clone()));
        let date = self.origin.insert(key, write, bytes, tags);
        self.writes.change(write, |written| written.date = Some(date));
        debug_assert_eq!(self.origin.changes().last().and_then(|change| change.now), Some(Value { write, tags }));
    }
}

//! One life of our side: the real shadow over the world's stores, until it crashes or stops.

use std::{sync::Arc, time::Duration};

use umbra_core::{
    BucketName, ByteRange, Clock, Elsewhere, Error, ErrorKind, ObjectInfo, ObjectKey, Random, RequestContext, Result, VersionId,
};
use umbra_meta::MetaStore;
use umbra_shadow::{Shadow, ShadowLimits, ShadowParts};
use umbra_store::{Bucket, BucketSettings, Catalog, Native, NativeParts, ReclaimHandle, Reclaimer, Sealer, Versioning};

use crate::{
    env::Env,
    history::{History, Intended, Mode, Op, Outcome},
    origin::{FaultyOrigin, TheOrigin},
    reference::{Keeps, Name, Seen},
    stores::{SimBlobs, SimMeta},
    writes::{WriteId, Writes},
};

/// What outlives every life.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) env: Arc<Env>,
    pub(crate) writes: Arc<Writes>,
    pub(crate) origin: Arc<FaultyOrigin>,
    pub(crate) meta: Arc<SimMeta>,
    pub(crate) blobs: Arc<SimBlobs>,
    pub(crate) history: Arc<parking_lot::Mutex<History>>,
}

/// A life.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) world: World,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) native: Native,
    pub(crate) shadow: Shadow,
    /// Another process over the same stores, which does not keep the bucket.
    pub(crate) beside: Option<Shadow>,
    pub(crate) cx: RequestContext,
    reclaim: ReclaimHandle,
}

/// An operation that has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun(usize);

pub(crate) fn bucket_name() -> BucketName {
    BucketName::parse("bucket").expect("a valid name")
}

pub(crate) fn object_key(key: &str) -> ObjectKey {
    ObjectKey::parse(key).expect("a valid key")
}

impl World {
    pub(crate) fn begin(&self, who: &str, key: &str, what: String, intended: Option<Intended>) -> Begun {
        let begun = self.env.tick();
        let mut history = self.history.lock();
        history.ops.push(Op {
            who: who.to_owned(),
            key: key.to_owned(),
            what,
            begun,
            ended: None,
            intended,
            outcome: Outcome::Cut,
            answer: "no answer".to_owned(),
        });
        Begun(history.ops.len() - 1)
    }

    pub(crate) fn end(&self, Begun(op): Begun, outcome: Outcome, answer: impl Into<String>) {
        let tick = self.env.tick();
        let op = &mut self.history.lock().ops[op];
        (op.ended, op.outcome, op.answer) = (Some(tick), outcome, answer.into());
    }

    /// Ends an operation that failed. What an error may not be is complained of.
    pub(crate) fn fail(&self, begun: Begun, seen: Option<Seen>, error: &Error) {
        let key = self.history.lock().ops[begun.0].key.clone();
        if matches!(error.kind(), ErrorKind::Internal | ErrorKind::Corrupt) {
            self.complain(&key, format!("an error that nobody may see: {error:?}"));
        }
        let outcome = seen.map_or(Outcome::Failed, Outcome::Saw);
        self.end(begun, outcome, format!("{error:?}"));
    }

    /// Which write `info`, and `body` where it was read, are of, and of which version; what is wrong with them otherwise.
    pub(crate) fn identify(&self, key: &str, info: &ObjectInfo, range: Option<ByteRange>, body: Option<&[u8]>) -> Result<WriteId, String> {
        let write = self.writes.identify(key, info, range, body)?;
        self.writes.learn(key, info.version, Name::Write(write)).map(|()| write)
    }

    /// Learns which version it is that `name` made.
    pub(crate) fn learn(&self, key: &str, version: VersionId, name: Name) {
        if let Err(wrong) = self.writes.learn(key, version, name) {
            self.complain(key, wrong);
        }
    }

    pub(crate) fn complain(&self, key: &str, text: impl Into<String>) {
        self.history.lock().complain(Some(key), text);
    }
}

impl Life {
    /// Opens the stores. Nothing runs yet.
    pub(crate) async fn open(world: World) -> Result<Self> {
        let env = world.env.clone();
        let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (env.clone(), env);
        let meta: Arc<dyn MetaStore> = world.meta.clone();
        let sealer = Arc::new(Sealer::new([7; 32], random.clone()));
        let catalog = Arc::new(Catalog::open(meta.clone(), sealer, clock.clone(), random.clone()).await?);
        let reclaim = ReclaimHandle::new(Duration::from_secs(5));
        let keys = Arc::new(umbra_store::Keyring::new([7; 32], [], random.clone()));
        let parts = NativeParts {
            meta,
            blobs: world.blobs.clone(),
            clock: clock.clone(),
            random: random.clone(),
            reclaimer: reclaim.clone(),
            keys,
        };
        let native = Native::new(parts.clone());
        let shadow = Shadow::new(ShadowParts {
            native: native.clone(),
            catalog: catalog.clone(),
            origins: Arc::new(TheOrigin(world.origin.clone())),
            clock: clock.clone(),
            settings: ShadowLimits { piece_bytes: world.env.dials.piece_bytes, ..ShadowLimits::default() },
        });
        let beside = world.env.dials.beside.then(|| {
            Shadow::new(ShadowParts {
                native: Native::new(NativeParts { meta: Arc::new(world.meta.beside()), ..parts }),
                catalog: catalog.clone(),
                origins: Arc::new(TheOrigin(world.origin.clone())),
                clock,
                settings: ShadowLimits { is_shared: true, ..ShadowLimits::default() },
            })
        });
        Ok(Self { world, catalog, native, shadow, beside, cx: RequestContext::default(), reclaim })
    }

    /// The process that a read is sent to first, if that is to be another than the one that keeps the bucket, and what it comes with.
    pub(crate) fn asked_first(&self) -> Option<(&Shadow, RequestContext)> {
        let beside = self.beside.as_ref().filter(|_| self.world.env.chance(0.5))?;
        Some((beside, RequestContext { elsewhere: Elsewhere::watched(), ..RequestContext::default() }))
    }

    /// Makes the bucket, in the first life.
    pub(crate) async fn create_bucket(&self) -> Result<()> {
        self.catalog.ensure_organization("org").await?;
        self.catalog.create_bucket(&bucket_name(), "org", BucketSettings::default()).await?;
        Ok(())
    }

    pub(crate) fn reclaimer(&self) -> Reclaimer {
        let (meta, blobs): (Arc<dyn MetaStore>, _) = (self.world.meta.clone(), self.world.blobs.clone());
        let catalog = self.catalog.clone();
        let partitions = move || {
            let catalog = catalog.clone();
            Box::pin(async move { catalog.partitions().await }) as futures::future::BoxFuture<'static, _>
        };
        Reclaimer::new(meta, blobs, self.world.env.clone(), self.reclaim.clone(), Box::new(partitions))
    }

    pub(crate) async fn bucket(&self) -> Result<Arc<Bucket>> {
        self.catalog.bucket(&bucket_name()).await
    }

    /// The mode that is stored.
    pub(crate) async fn stored_mode(&self) -> Result<Mode> {
        let bucket = self.catalog.refresh(&bucket_name()).await?;
        Ok(match &bucket.settings.shadow {
            None => Mode::Detached,
            Some(shadow) if shadow.write_through => Mode::Through,
            Some(_) => Mode::Here,
        })
    }

    /// Finds out what became of a change of whether versions are kept.
    pub(crate) async fn settle_turn(&self) -> Result<()> {
        let keeps = self.stored_keeps().await?;
        let mut history = self.world.history.lock();
        if let Some(turn) = history.turns.last_mut()
            && turn.applied.is_none()
        {
            turn.applied = Some(turn.to == keeps);
            turn.ended.get_or_insert_with(|| self.world.env.tick());
        }
        Ok(())
    }

    async fn stored_keeps(&self) -> Result<Keeps> {
        let bucket = self.catalog.refresh(&bucket_name()).await?;
        Ok(match bucket.settings.versioning {
            Versioning::Off => Keeps::One,
            Versioning::Enabled => Keeps::All,
            Versioning::Suspended => Keeps::Suspended,
        })
    }

    /// Finds out what became of a change of the shadow that was not acknowledged.
    pub(crate) async fn settle_switch(&self) -> Result<()> {
        let mode = self.stored_mode().await?;
        let mut history = self.world.history.lock();
        if let Some(switch) = history.switches.last_mut()
            && switch.applied.is_none()
        {
            switch.applied = Some(switch.mode == mode);
            if switch.ended.is_none() {
                switch.ended = Some(self.world.env.tick());
            }
        }
        Ok(())
    }
}

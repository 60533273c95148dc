//! The origins in use, one per bucket, made anew when the settings change.

use std::{collections::HashMap, fmt, sync::Arc};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use umbra_client::S3Client;
use umbra_core::{Clock, Result, ShadowSettings};
use umbra_meta::{Partition, Revision};
use umbra_store::{Bucket, Catalog, Secret};

use crate::{
    origin::{ObservedOrigin, Origin},
    stats::Stats,
    uncarried::Notes,
    write_through::switched,
};

/// Makes origins. The seam where tests put theirs.
pub trait OriginFactory: fmt::Debug + Send + Sync + 'static {
    /// The origin that `settings` name, reached with the opened `secret`.
    fn origin(&self, settings: &ShadowSettings, secret: &Secret) -> Result<Arc<dyn Origin>>;

    /// The same for the doctor, with the client behind it where the origin speaks S3.
    fn examined(&self, settings: &ShadowSettings, secret: &Secret) -> Result<(Arc<dyn Origin>, Option<S3Client>)> {
        Ok((self.origin(settings, secret)?, None))
    }
}

/// The origins in use.
#[derive(Debug)]
pub(crate) struct Origins {
    factory: Arc<dyn OriginFactory>,
    catalog: Arc<Catalog>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    made: HashMap<Partition, Made>,
    /// Stops every origin made for a bucket so far, whoever still holds it.
    open: HashMap<Partition, CancellationToken>,
    /// The last generation of each bucket whose shadow was cleared in this process: a request that still means it comes too late.
    cleared: HashMap<Partition, u64>,
    /// The revision that gave the origin of a bucket another address in this process: a request that means an earlier one comes too late.
    replaced: HashMap<Partition, Revision>,
}

/// An origin, and what it was made of.
#[derive(Debug)]
struct Made {
    settings: ShadowSettings,
    generation: u64,
    origin: Arc<dyn Origin>,
}

impl State {
    fn is_cleared(&self, bucket: &Bucket) -> bool {
        self.cleared.get(&bucket.partition).is_some_and(|cleared| bucket.settings.generation <= *cleared)
            || self.replaced.get(&bucket.partition).is_some_and(|replaced| bucket.revision < *replaced)
    }

    fn close(&mut self, partition: Partition) {
        self.made.remove(&partition);
        if let Some(open) = self.open.remove(&partition) {
            open.cancel();
        }
    }
}

impl Origins {
    pub(crate) fn new(factory: Arc<dyn OriginFactory>, catalog: Arc<Catalog>) -> Self {
        Self { factory, catalog, state: Mutex::default() }
    }

    /// The origin of `bucket`: counted, and what of it cannot be carried over noted in `notes`.
    pub(crate) fn of(&self, bucket: &Bucket, settings: &ShadowSettings, notes: Notes) -> Result<Arc<dyn Origin>> {
        let generation = bucket.settings.generation;
        let closed = {
            let mut state = self.state.lock();
            if state.is_cleared(bucket) {
                return Err(switched());
            }
            match state.made.get(&bucket.partition) {
                Some(made) if made.generation == generation && made.settings == *settings => return Ok(made.origin.clone()),
                _ => state.open.entry(bucket.partition).or_default().clone(),
            }
        };
        let secret = self.catalog.sealer().open(&seal_context(bucket.partition), &settings.secret_key)?;
        let origin = self.factory.origin(settings, &secret)?;
        let origin = ObservedOrigin::new(origin, notes.stats.clone(), notes.clock.clone(), closed.clone()).noting(notes);
        let origin: Arc<dyn Origin> = Arc::new(origin);
        let mut state = self.state.lock();
        // The shadow may have been cleared since the first look: what is kept now would never be closed.
        if closed.is_cancelled() || state.is_cleared(bucket) {
            return Err(switched());
        }
        state.made.insert(bucket.partition, Made { settings: settings.clone(), generation, origin: origin.clone() });
        Ok(origin)
    }

    /// Whether the shadow that `bucket` tells of was cleared meanwhile, or its origin got another address.
    pub(crate) fn is_cleared(&self, bucket: &Bucket) -> bool {
        self.state.lock().is_cleared(bucket)
    }

    /// An origin that is not kept: for a probe. It answers nothing any more once it is `closed`.
    pub(crate) fn make(
        &self,
        settings: &ShadowSettings,
        secret: &Secret,
        stats: &Arc<Stats>,
        clock: &Arc<dyn Clock>,
        closed: CancellationToken,
    ) -> Result<Arc<dyn Origin>> {
        Ok(Arc::new(ObservedOrigin::new(self.factory.origin(settings, secret)?, stats.clone(), clock.clone(), closed)))
    }

    /// An origin for the doctor; see [`OriginFactory::examined`].
    pub(crate) fn examined(&self, settings: &ShadowSettings, secret: &Secret) -> Result<(Arc<dyn Origin>, Option<S3Client>)> {
        self.factory.examined(settings, secret)
    }

    /// Drops the origin of a bucket, and its connections. No request of the bucket's generation so far begins there any more.
    pub(crate) fn forget(&self, bucket: &Bucket) {
        let mut state = self.state.lock();
        state.cleared.insert(bucket.partition, bucket.settings.generation);
        state.close(bucket.partition);
    }

    /// The same when the origin got another address: `bucket` is the first to tell of that one.
    pub(crate) fn replace(&self, bucket: &Bucket) {
        let mut state = self.state.lock();
        state.replaced.insert(bucket.partition, bucket.revision);
        state.close(bucket.partition);
    }
}

/// What a shadow's secret is sealed for.
pub(crate) fn seal_context(partition: Partition) -> String {
    format!("shadow/{}", partition.0)
}

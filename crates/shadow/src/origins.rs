//! The origins in use, one per bucket, made anew when the settings change.

use std::{collections::HashMap, fmt, sync::Arc};

use parking_lot::Mutex;
use umbra_client::S3Client;
use umbra_core::{Clock, Result, ShadowSettings};
use umbra_meta::Partition;
use umbra_store::{Bucket, Catalog, Secret};

use crate::{
    origin::{ObservedOrigin, Origin},
    stats::Stats,
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
    made: Mutex<HashMap<Partition, Made>>,
}

/// An origin, and the settings it was made of.
type Made = (ShadowSettings, Arc<dyn Origin>);

impl Origins {
    pub(crate) fn new(factory: Arc<dyn OriginFactory>, catalog: Arc<Catalog>) -> Self {
        Self { factory, catalog, made: Mutex::default() }
    }

    /// The origin of `bucket`, counted in `stats`.
    pub(crate) fn of(
        &self,
        bucket: &Bucket,
        settings: &ShadowSettings,
        stats: &Arc<Stats>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<dyn Origin>> {
        if let Some((made_of, origin)) = self.made.lock().get(&bucket.partition)
            && made_of == settings
        {
            return Ok(origin.clone());
        }
        let secret = self.catalog.sealer().open(&seal_context(bucket.partition), &settings.secret_key)?;
        let origin = self.make(settings, &secret, stats, clock)?;
        self.made.lock().insert(bucket.partition, (settings.clone(), origin.clone()));
        Ok(origin)
    }

    /// An origin that is not kept: for a probe.
    pub(crate) fn make(
        &self,
        settings: &ShadowSettings,
        secret: &Secret,
        stats: &Arc<Stats>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<dyn Origin>> {
        Ok(Arc::new(ObservedOrigin::new(self.factory.origin(settings, secret)?, stats.clone(), clock.clone())))
    }

    /// An origin for the doctor; see [`OriginFactory::examined`].
    pub(crate) fn examined(&self, settings: &ShadowSettings, secret: &Secret) -> Result<(Arc<dyn Origin>, Option<S3Client>)> {
        self.factory.examined(settings, secret)
    }

    /// Drops the origin of a bucket, and its connections.
    pub(crate) fn forget(&self, partition: Partition) {
        self.made.lock().remove(&partition);
    }
}

/// What a shadow's secret is sealed for.
pub(crate) fn seal_context(partition: Partition) -> String {
    format!("shadow/{}", partition.0)
}

//! One key, looked at on both sides.

use std::sync::{Arc, atomic::Ordering};

use umbra_core::{ErrorKind, ObjectInfo, ObjectKey, RequestContext, Result, Tags};
use umbra_store::Bucket;

use crate::{
    Shadow,
    backfill::pace::{Pace, PacedOrigin},
    difference::{DifferenceKind, Discrepancy, Sides},
    jobs::JobContext,
    origin::{Origin, ShadowPath},
    view::View,
};

/// What one looks with.
pub(crate) struct Look<'a> {
    pub(crate) cx: &'a RequestContext,
    pub(crate) bucket: &'a Bucket,
    /// The origin, held back by the limits of the job.
    pub(crate) paced: PacedOrigin,
    pub(crate) path: ShadowPath,
    /// Whether the origin is asked for tags also where nothing says that there are any.
    pub(crate) all_tags: bool,
    /// Keys at once.
    pub(crate) parallel: usize,
}

impl<'a> Look<'a> {
    /// What a step of `job` looks with: `parallel` keys at once unless the job says otherwise, and fewer while users are there.
    pub(crate) fn of(job: &'a JobContext, pace: &Arc<Pace>, parallel: u32, all_tags: bool) -> Self {
        let options = &job.job.options;
        pace.set(options.bytes_per_second, options.requests_per_second);
        let users = job.shadow.0.users.clone();
        let parallel = options.parallel.unwrap_or(parallel) as usize / (1 + users.active());
        let paced =
            PacedOrigin { inner: job.origin.clone(), pace: pace.clone(), received: Arc::default(), users, partition: job.bucket.partition };
        let path = job.shadow.path(&job.cx, &job.bucket);
        Look { cx: &job.cx, bucket: &job.bucket, paced, path, all_tags, parallel: parallel.max(1) }
    }

    /// Looks at contents only to compare them: they move nothing, and are counted apart.
    pub(crate) fn comparing(mut self) -> Self {
        if let Some(origin) = self.paced.inner.for_comparing() {
            self.paced.inner = origin;
        }
        self
    }

    /// The origin as it is: for what is done while a key is locked, when a user may be waiting.
    pub(crate) const fn direct(&self) -> &Arc<dyn Origin> {
        &self.paced.inner
    }

    /// Bytes of content that left the origin for this.
    pub(crate) fn received(&self) -> u64 {
        self.paced.received.load(Ordering::Relaxed)
    }
}

/// What one saw.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) difference: Option<Discrepancy>,
    /// The origin's object.
    pub(crate) there: Option<ObjectInfo>,
    /// Its tags, where they were looked at.
    pub(crate) tags: Option<Tags>,
}

impl Shadow {
    /// Compares what `view` holds of `key` with what the origin tells of it.
    pub(crate) async fn examine(&self, look: &Look<'_>, origin: &dyn Origin, key: &ObjectKey, view: &View) -> Result<Seen> {
        if view.is_dead {
            let size = view.object.as_ref().map_or(0, |stored| stored.object.size);
            let pending = Discrepancy::new(key, DifferenceKind::PendingRepair, "a write to both sides is half done", size);
            return Ok(Seen { difference: Some(pending), there: None, tags: None });
        }
        let there = match origin.head(&look.path, key).await {
            Ok(head) => Some(head.info),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        let local = view.object.as_ref().map(|stored| &stored.object);
        let tags = match (local, &there) {
            (Some(local), Some(there)) if look.all_tags || there.tag_count > 0 || !local.tags.is_empty() => {
                tags_at(origin, &look.path, key).await?
            }
            _ => None,
        };
        let difference = Sides { local, gone: view.gone, origin: there.as_ref(), tags: tags.as_ref() }.judge(key);
        Ok(Seen { difference, there, tags })
    }
}

/// The origin's tags; `None` where it has none to show or does not let us see them.
async fn tags_at(origin: &dyn Origin, path: &ShadowPath, key: &ObjectKey) -> Result<Option<Tags>> {
    match origin.tags(path, key).await {
        Ok(tags) => Ok(Some(tags)),
        Err(error) if matches!(error.error.kind(), ErrorKind::Unsupported | ErrorKind::OriginRefused | ErrorKind::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

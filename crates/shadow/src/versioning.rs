//! Whether a bucket with an origin keeps versions.
//!
//! In a bucket without versions a write that was left half done shows as the only version of its key, whatever version is named. Once versions
//! are kept a repair would put it on top of the one before, and who had read it as the null version would find that other one, or none. So what
//! is half done is settled first.

use std::sync::Arc;

use umbra_core::{Error, ErrorKind, Result};
use umbra_store::{Bucket, BucketSettings};

use crate::{Shadow, view::has_versions};

impl Shadow {
    /// Changes whether a bucket keeps versions, as `change` does to its settings, like [`umbra_store::Catalog::update_bucket`].
    ///
    /// The first time, with an origin: holds writes to it back, and refuses while any of them is half done. Goes on though nobody waits for it, or
    /// they would not be held back until it is decided.
    pub async fn change_versioning(
        &self,
        bucket: &Bucket,
        mut change: impl FnMut(&mut BucketSettings) -> Result<()> + Send + 'static,
    ) -> Result<Arc<Bucket>> {
        let (shadow, bucket) = (self.clone(), bucket.clone());
        self.to_the_end(async move { shadow.change_versioning_of(&bucket, &mut change).await }).await
    }

    async fn change_versioning_of(
        &self,
        bucket: &Bucket,
        change: &mut (dyn FnMut(&mut BucketSettings) -> Result<()> + Send),
    ) -> Result<Arc<Bucket>> {
        let bucket = self.0.catalog.current(bucket).await?;
        if has_versions(&bucket) {
            return self.0.catalog.update_bucket(&bucket, change).await;
        }
        let held = match self.origin(&bucket)? {
            None => None,
            Some(_) => Some(self.hold_writes_back(&bucket).await?),
        };
        if held.is_some() && !self.pending_repairs(&bucket, 1).await?.is_empty() {
            let message =
                "a write to the origin is half done and being repaired; please try again once `umbra storage status` shows no repairs";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        let before = bucket.settings.generation;
        let mut of_this_shadow = |settings: &mut BucketSettings| {
            if settings.generation != before {
                return Err(Error::new(ErrorKind::Conflict, "the bucket's shadow was changed by somebody else; please try again"));
            }
            change(settings)
        };
        let changed = self.0.catalog.update_bucket(&bucket, &mut of_this_shadow).await;
        drop(held);
        changed
    }
}

//! What the sub-resources of a bucket have in common.

use std::sync::Arc;

use umbra_core::Result;
use umbra_store::{BucketSettings, Extras};

use super::Operations;
use crate::call::Call;

/// Changes the optional settings of the bucket of `call`. `change` may be called more than once.
pub(super) async fn change_extras(operations: &Operations, call: &Call, change: impl Fn(&mut Extras) + Send + Sync) -> Result<()> {
    let mut change = |settings: &mut BucketSettings| {
        change(Arc::make_mut(&mut settings.extras));
        Ok(())
    };
    operations.catalog.update_bucket(call.bucket()?, &mut change).await.map(drop)
}

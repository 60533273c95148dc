//! One key, looked at on both sides.

use std::sync::Arc;

use umbra_core::{ErrorKind, ObjectInfo, ObjectKey, RequestContext, Result, Tags};
use umbra_store::Bucket;

use crate::{
    Shadow,
    difference::{DifferenceKind, Discrepancy, Sides},
    origin::{Origin, ShadowPath},
    view::View,
};

/// What one looks with.
pub(crate) struct Look<'a> {
    pub(crate) cx: &'a RequestContext,
    pub(crate) bucket: &'a Bucket,
    pub(crate) origin: &'a Arc<dyn Origin>,
    pub(crate) path: ShadowPath,
    /// Whether the origin is asked for tags also where nothing says that there are any.
    pub(crate) all_tags: bool,
}

/// What one saw.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) difference: Option<Discrepancy>,
    /// The origin's object.
    pub(crate) there: Option<ObjectInfo>,
}

impl Shadow {
    /// Compares what `view` holds of `key` with what the origin tells of it.
    pub(crate) async fn examine(&self, look: &Look<'_>, key: &ObjectKey, view: &View) -> Result<Seen> {
        if view.is_dead {
            let size = view.object.as_ref().map_or(0, |stored| stored.object.size);
            let pending = Discrepancy::new(key, DifferenceKind::PendingRepair, "a write to both sides is half done", size);
            return Ok(Seen { difference: Some(pending), there: None });
        }
        let there = match look.origin.head(&look.path, key).await {
            Ok(info) => Some(info),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        let local = view.object.as_ref().map(|stored| &stored.object);
        let tags = match (local, &there) {
            (Some(local), Some(there)) if look.all_tags || there.tag_count > 0 || !local.tags.is_empty() => {
                tags_at(&**look.origin, &look.path, key).await?
            }
            _ => None,
        };
        let difference = Sides { local, gone: view.gone, origin: there.as_ref(), tags: tags.as_ref() }.judge(key);
        Ok(Seen { difference, there })
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

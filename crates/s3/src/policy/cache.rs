//! Policies that were understood lately: none is parsed for every request.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;
use umbra_core::{Error, Result};
use umbra_store::Bucket;

use super::Policy;

/// Policies that are kept at most. Past it, any one makes room.
const KNOWN_MAX: usize = 1024;

/// Policies by the partition of their bucket, each with the revision of the settings that hold it.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    known: RwLock<HashMap<u64, (u64, Arc<Policy>)>>,
}

impl Policies {
    /// The policy of `bucket`, if it has one.
    pub(crate) fn of(&self, bucket: &Bucket) -> Result<Option<Arc<Policy>>> {
        let Some(text) = &bucket.settings.extras.policy else { return Ok(None) };
        let (partition, now) = (bucket.partition.0, bucket.revision.0);
        if let Some((revision, policy)) = self.known.read().get(&partition)
            && *revision == now
        {
            return Ok(Some(Arc::clone(policy)));
        }
        // It was understood when it was set. If it is not any more, what it denied must not be allowed.
        let policy = Policy::parse(text, bucket.name.as_str());
        let policy = Arc::new(policy.map_err(|malformed| Error::internal(format!("a bucket's policy: {}", malformed.0)))?);
        let mut known = self.known.write();
        if known.len() >= KNOWN_MAX && !known.contains_key(&partition) {
            let any = known.keys().next().copied();
            any.map(|any| known.remove(&any));
        }
        known.insert(partition, (now, Arc::clone(&policy)));
        Ok(Some(policy))
    }
}

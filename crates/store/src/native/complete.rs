//! Completion: the parts become the object, in one batch and without copying a byte.

use umbra_core::{ObjectKey, Preconditions, Result};
use umbra_meta::{Expect, Revision, key};

use super::{
    CompletionPlan, Native,
    commit::{Changes, Fence},
    detached,
    plan::{Planned, Ready},
};
use crate::{Bucket, EventKind, PutObject, Terms};

impl Native {
    /// Carries out a completion. Of several that race, and of a completion and an abort, exactly one wins.
    ///
    /// When a part came since `plan` was made the completion is validated anew. A check of `terms` that fails is
    /// [`umbra_core::ErrorKind::Conflict`]. Once called it runs to its end.
    pub async fn commit_completion(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        plan: CompletionPlan,
        conditions: &Preconditions,
        mut terms: Terms,
    ) -> Result<PutObject> {
        terms.telling = self.telling(bucket, key, EventKind::CompleteUpload, EventKind::Delete);
        terms.placement = self.bound(bucket, plan.narrowed());
        let (native, fence, key, conditions) = (self.clone(), Fence::from(bucket), key.clone(), conditions.clone());
        detached(async move { native.complete(fence, &key, plan, &conditions, terms).await }).await
    }

    async fn complete(
        &self,
        mut fence: Fence,
        key: &ObjectKey,
        plan: CompletionPlan,
        conditions: &Preconditions,
        terms: Terms,
    ) -> Result<PutObject> {
        let CompletionPlan { upload, options, mut planned } = plan;
        loop {
            match planned {
                Planned::Done(object, revision) => {
                    if self.complete_again(&mut fence, key, revision, &terms).await? {
                        return Ok(object);
                    }
                }
                Planned::Ready(ready) => {
                    if let Some(object) = self.complete_ready(&mut fence, key, *ready, conditions, &terms).await? {
                        return Ok(object);
                    }
                }
            }
            planned = self.plan(fence.partition, key, &upload, &options).await?;
        }
    }

    /// Commits what `ready` says; `None` when the upload changed meanwhile.
    async fn complete_ready(
        &self,
        fence: &mut Fence,
        key: &ObjectKey,
        ready: Ready,
        conditions: &Preconditions,
        terms: &Terms,
    ) -> Result<Option<PutObject>> {
        let Ready { upload, mut object, stored, unnamed, .. } = ready;
        if let Some(etag) = &terms.etag {
            object.etag = etag.clone();
        }
        let row = key::upload(&upload.id);
        let due = self.reclamation_due();
        let mut more = |changes: &mut Changes| {
            changes.check(row.clone(), upload.expected());
            upload.remove(changes, stored.iter().copied());
            changes.reclaim(&unnamed, due);
        };
        match self.replace(fence, key, &mut object, conditions, terms, &mut more).await? {
            Ok(()) => Ok(Some(object.put_object())),
            Err(lost) if lost.is_of(&row, upload.expected()) => Ok(None),
            Err(lost) => Err(lost.into()),
        }
    }

    /// Commits the terms of a repeated completion, if the object still stands at `revision`; they would be wrong for anything newer.
    async fn complete_again(&self, fence: &mut Fence, key: &ObjectKey, revision: Revision, terms: &Terms) -> Result<bool> {
        if terms.checks.is_empty() && terms.writes.is_empty() {
            return Ok(true);
        }
        let (row, stands) = (key::object(key), Expect::Revision(revision));
        let mut changes = Changes::behind(*fence);
        changes.check(row.clone(), stands);
        changes.add_terms(terms);
        match self.commit(fence, changes).await? {
            Ok(_) => Ok(true),
            Err(lost) if lost.is_of(&row, stands) => Ok(false),
            Err(lost) => Err(lost.into()),
        }
    }
}

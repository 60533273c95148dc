//! Multipart uploads with write-through: mirrored part by part with the same boundaries, so that both sides end with the same ETag.
//!
//! What the origin lacks when an upload is completed it gets then, from the parts stored here (`late_mirror.rs`).

use std::{collections::HashMap, sync::Arc};

use umbra_core::{
    Body, ETag, Entity, Error, ErrorKind, ObjectKey, PartNumber, Preconditions, RequestContext, Result, UploadId, UserMetadata,
};
use umbra_meta::{Write, key};
use umbra_store::{
    Bucket, CompleteUpload, CompletionPlan, Content, CreateUpload, Integrity, Objects, PartAddress, PutObject, part_integrity,
};

use crate::{
    Shadow,
    intent::{Intended, mark_of_metadata},
    late_mirror::part_lock,
    origin::{Origin, OriginAttributes, OriginError, OriginHead, ShadowPath},
    record::Operation,
    tee::{Outcome, store_on_both},
    view::{View, has_versions},
    write_here::judge_put,
    write_through::{finish, merge, origin_failed, refuse_customer_key},
};

/// How often a completion sends the origin what it lacks before it gives up.
const ATTEMPTS_MAX: usize = 3;

impl Shadow {
    pub(crate) async fn create_mirrored_upload(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        options: CreateUpload,
        origin: &dyn Origin,
    ) -> Result<UploadId> {
        refuse_customer_key(&options.attributes)?;
        let path = self.path(cx, bucket);
        let attributes =
            OriginAttributes { headers: options.headers.clone(), metadata: options.metadata.clone(), tags: options.tags.clone() };
        let theirs = origin.create_upload(&path, key, &attributes).await?;
        let remember = |ours: &UploadId| vec![self.remember_origin_upload(bucket, key, ours, &theirs)];
        let ours = self.native().create_upload_noted(bucket, key, options, Some(theirs.clone()), remember).await;
        if ours.is_err() {
            give_up(bucket, key, &theirs, origin.abort_upload(&path, key, &theirs).await);
        }
        ours
    }

    pub(crate) async fn put_mirrored_part(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        part: PartAddress<'_>,
        body: Body,
        integrity: Integrity,
        origin: Arc<dyn Origin>,
    ) -> Result<PutObject> {
        let Some(theirs) = self.native().upload_note(bucket, part.key, part.upload).await? else {
            // Begun before write-through was switched on: the origin gets it when it is completed.
            return self.native().put_part(cx, bucket, part, body, integrity).await;
        };
        let options = self.native().upload(cx, bucket, part.key, part.upload).await?;
        let integrity = part_integrity(&options, integrity)?;
        let (shadow, path, bucket) = (self.clone(), self.path(cx, bucket), bucket.clone());
        let (key, upload, number) = (part.key.clone(), part.upload.clone(), part.number);
        let lock = part_lock(part)?;
        self.to_the_end(async move {
            let write = |size, body| origin.put_part(&path, &key, &theirs, number, size, body);
            // From here to the end one at a time, so that both sides keep the same one of two that are sent at once.
            let journal = |_: &Content| async {
                let held = shadow.0.part_locks.lock(bucket.partition, &lock).await;
                shadow.fresh(&bucket).await.map(|_| held)
            };
            match store_on_both(shadow.native(), (&bucket, options.attributes.narrowed.as_ref()), body, integrity, write, journal).await {
                Outcome::Refused(error) => Err(told_of_mirror(error)),
                Outcome::Failed { error, .. } => Err(told_of_mirror(error.into())),
                Outcome::Stored { content, written, journal: _held } => {
                    let (part, note) = (PartAddress { key: &key, upload: &upload, number }, written.as_str().to_owned());
                    shadow.native().publish_part_noted(&bucket, part, content, Some(note)).await
                }
            }
        })
        .await
    }

    pub(crate) async fn complete_mirrored_upload(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: &UploadId,
        options: CompleteUpload,
        origin: Arc<dyn Origin>,
    ) -> Result<PutObject> {
        let (shadow, cx, bucket, key, upload) = (self.clone(), cx.clone(), bucket.clone(), key.clone(), upload.clone());
        self.to_the_end(async move {
            for _ in 0..ATTEMPTS_MAX {
                match shadow.complete_on_both(&cx, &bucket, &key, &upload, options.clone(), &origin).await? {
                    Attempt::Completed(object) => return Ok(object),
                    // Without the key's lock: it may take long, and nobody else need wait.
                    Attempt::Lacks(parts) => shadow.mirror_late(&cx, &bucket, &key, &upload, parts, &origin).await?,
                }
            }
            Err(Error::new(ErrorKind::Conflict, "parts of this upload are being replaced; please try again"))
        })
        .await
    }

    async fn complete_on_both(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: &UploadId,
        options: CompleteUpload,
        origin: &Arc<dyn Origin>,
    ) -> Result<Attempt> {
        let _lock = self.0.locks.lock(bucket.partition, key).await;
        let bucket = self.fresh(bucket).await?;
        let (view, terms) = self.judge_through(cx, &bucket, key, &options.preconditions, judge_put, origin).await?;
        let unconditional = CompleteUpload { preconditions: Preconditions::default(), ..options };
        let plan = self.native().plan_completion(&bucket, key, upload, &unconditional).await?;
        if plan.is_done() {
            let done = self.native().commit_completion(&bucket, key, plan, &Preconditions::default(), terms).await;
            return done.map(Attempt::Completed);
        }
        let all = || plan.parts().iter().map(|(number, _)| *number).collect();
        let Some(theirs) = self.native().upload_note(&bucket, key, upload).await? else { return Ok(Attempt::Lacks(all())) };
        let path = self.path(cx, &bucket);
        let parts = match origin_parts(&**origin, &path, key, &theirs, &plan).await? {
            Matched::Lacking(parts) => return Ok(Attempt::Lacks(parts)),
            Matched::All(parts) => Some(parts),
            Matched::Gone => match brought(&bucket, &view, &plan) {
                Some(object) => {
                    self.native().abort_upload(cx, &bucket, key, upload).await?;
                    self.forget_origin_upload(&bucket, upload).await;
                    return Ok(Attempt::Completed(object));
                }
                None => None,
            },
        };
        let metadata = plan.metadata().map(mark_of_metadata).unwrap_or_default();
        let put = Intended::Put { etag: plan.etag().clone(), size: plan.size(), metadata };
        let intent = self.begin_intent(&bucket, key, &view, put).await?;
        let etag = match complete(&**origin, &path, key, &theirs, parts, &plan).await {
            Ok(etag) => etag,
            Err(error) => return Err(told_of_mirror(origin_failed(intent, error).await)),
        };
        let mut terms = intent.settle_with(merge(terms, self.terms_of_put_through(&bucket, key, etag, None)));
        terms.writes.push(Write::Delete { key: key::origin_upload(upload) });
        let completed = self.native().commit_completion(&bucket, key, plan, &Preconditions::default(), terms).await;
        finish(intent, completed).map(Attempt::Completed)
    }

    pub(crate) async fn abort_mirrored_upload(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: &UploadId,
        origin: &dyn Origin,
    ) -> Result<()> {
        let theirs = self.native().upload_note(bucket, key, upload).await?;
        if let Some(theirs) = &theirs {
            origin.abort_upload(&self.path(cx, bucket), key, theirs).await?;
        }
        self.native().abort_upload(cx, bucket, key, upload).await?;
        if theirs.is_some() {
            self.forget_origin_upload(bucket, upload).await;
        }
        Ok(())
    }
}

/// What came of trying to complete an upload.
enum Attempt {
    /// Both sides hold the object.
    Completed(PutObject),
    /// The origin lacks these parts; nothing was changed.
    Lacks(Vec<PartNumber>),
}

/// The origin's parts beside ours.
enum Matched {
    /// It holds them all.
    All(Vec<(PartNumber, ETag)>),
    /// It lacks these, or holds others in their place.
    Lacking(Vec<PartNumber>),
    /// It does not know the upload any more: see [`complete`].
    Gone,
}

/// The version that a repair made of an earlier attempt whose answer was lost, if it did and it has all that was asked for: there is none to be
/// made again.
fn brought(bucket: &Bucket, view: &View, plan: &CompletionPlan) -> Option<PutObject> {
    // Tags that are half set leave it which object it is.
    let is_certain = view.unsettled().is_none_or(|intent| intent.operation == Operation::Tag);
    let object = view.local().filter(|object| has_versions(bucket) && is_certain && object.hydrated.is_some())?;
    plan.is_like(object).then(|| PutObject {
        etag: object.etag.clone(),
        checksums: object.checksums.clone(),
        size: object.size,
        last_modified: object.last_modified,
        version: object.version.id(),
        encryption: object.attributes.encryption.clone(),
    })
}

/// The origin's parts, matched with ours.
async fn origin_parts(origin: &dyn Origin, path: &ShadowPath, key: &ObjectKey, theirs: &str, plan: &CompletionPlan) -> Result<Matched> {
    let held = match origin.parts(path, key, theirs).await {
        Ok(parts) => parts,
        Err(error) if error.error.kind() == ErrorKind::NotFound(Entity::Upload) => return Ok(Matched::Gone),
        Err(error) => return Err(error.into()),
    };
    // The very part that was stored on both sides: a later one of the same number may have reached only the origin. SeaweedFS lists them all,
    // in any order, and takes the one that the completion names.
    let held: HashMap<_, _> = held.iter().map(|part| ((part.number, part.etag.as_str()), &part.etag)).collect();
    let (mut matched, mut lacking) = (Vec::new(), Vec::new());
    for (number, note) in plan.parts() {
        match note.as_deref().and_then(|note| held.get(&(*number, note)).copied()) {
            Some(etag) => matched.push((*number, etag.clone())),
            None => lacking.push(*number),
        }
    }
    Ok(if lacking.is_empty() { Matched::All(matched) } else { Matched::Lacking(lacking) })
}

/// Completes the upload at the origin. An upload the origin does not know may have been completed by an attempt whose answer was lost:
/// then the object there has the ETag of these parts, and the user metadata that the upload was begun with.
async fn complete(
    origin: &dyn Origin,
    path: &ShadowPath,
    key: &ObjectKey,
    theirs: &str,
    parts: Option<Vec<(PartNumber, ETag)>>,
    plan: &CompletionPlan,
) -> Result<ETag, OriginError> {
    let gone = match parts {
        Some(parts) => match origin.complete_upload(path, key, theirs, &parts).await {
            Err(error) if error.error.kind() == ErrorKind::NotFound(Entity::Upload) => error,
            answer => return answer,
        },
        None => OriginError::certain(Error::not_found(Entity::Upload)),
    };
    let is_named_so = |theirs: &UserMetadata| plan.metadata().is_none_or(|ours| mark_of_metadata(theirs) == mark_of_metadata(ours));
    match origin.head(path, key).await {
        Ok(OriginHead { info, .. }) if info.etag == *plan.etag() && is_named_so(&info.metadata) => Ok(info.etag),
        Ok(_) => Err(gone),
        Err(error) if error.is_not_found() => Err(gone),
        Err(error) => Err(OriginError { outcome_unknown: true, ..error }),
    }
}

/// Says clearly that the origin ended an upload by itself, as its rules for unfinished uploads may.
pub(crate) fn told_of_mirror(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound(Entity::Upload) => {
            let message = "the upload is gone at the origin, where it was aborted or has expired; abort it and begin anew";
            Error::new(ErrorKind::NotFound(Entity::Upload), message).because(error)
        }
        _ => error,
    }
}

/// Says that an upload begun at the origin for nothing could not be aborted there.
pub(crate) fn give_up(bucket: &Bucket, key: &ObjectKey, theirs: &str, aborted: Result<(), OriginError>) {
    if let Err(error) = aborted {
        tracing::warn!(bucket = %bucket.name, %key, upload = theirs, error = ?error.error, "an upload stays unfinished at the origin");
    }
}

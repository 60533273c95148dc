//! Multipart uploads with write-through: mirrored part by part with the same boundaries, so that both sides end with the same ETag.

use std::sync::Arc;

use umbra_core::{Body, ETag, Entity, Error, ErrorKind, Fault, ObjectKey, PartNumber, Preconditions, RequestContext, Result, UploadId};
use umbra_store::{
    Bucket, CompleteUpload, CompletionPlan, Content, CreateUpload, Integrity, Objects, PartAddress, PutObject, Terms, part_integrity,
};

use crate::{
    Shadow,
    intent::Intended,
    origin::{Origin, OriginAttributes, OriginError, OriginPart, ShadowPath},
    tee::{Outcome, store_on_both},
    write_through::{finish, merge, origin_failed},
};

impl Shadow {
    pub(crate) async fn create_mirrored_upload(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        options: CreateUpload,
        origin: &dyn Origin,
    ) -> Result<UploadId> {
        let path = self.path(cx, bucket);
        let attributes =
            OriginAttributes { headers: options.headers.clone(), metadata: options.metadata.clone(), tags: options.tags.clone() };
        let theirs = origin.create_upload(&path, key, &attributes).await?;
        let ours = self.native().create_upload_noted(bucket, key, options, Some(theirs.clone())).await;
        if ours.is_err()
            && let Err(error) = origin.abort_upload(&path, key, &theirs).await
        {
            tracing::warn!(bucket = %bucket.name, %key, error = ?error.error, "an upload stays unfinished at the origin");
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
        let theirs = self.mirrored(bucket, part.key, part.upload).await?;
        let options = self.native().upload(cx, bucket, part.key, part.upload).await?;
        let integrity = part_integrity(&options, integrity)?;
        let (shadow, path, bucket) = (self.clone(), self.path(cx, bucket), bucket.clone());
        let (key, upload, number) = (part.key.clone(), part.upload.clone(), part.number);
        let lock = ObjectKey::parse(&format!("{upload}/{}", number.get()))?;
        self.to_the_end(async move {
            let write = |size, body| origin.put_part(&path, &key, &theirs, number, size, body);
            // From here to the end one at a time, so that both sides keep the same one of two that are sent at once.
            let journal = |_: &Content| async {
                let held = shadow.0.part_locks.lock(bucket.partition, &lock).await;
                shadow.fresh(&bucket).await.map(|_| held)
            };
            match store_on_both(shadow.native(), body, integrity, write, journal).await {
                Outcome::Refused(error) => Err(error),
                Outcome::Failed { error, .. } => Err(error.into()),
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
            let _lock = shadow.0.locks.lock(bucket.partition, &key).await;
            let bucket = shadow.fresh(&bucket).await?;
            let (view, terms) = shadow.judge_through(&cx, &bucket, &key, &options.preconditions, &origin).await?;
            let plan = shadow
                .native()
                .plan_completion(&bucket, &key, &upload, &CompleteUpload { preconditions: Preconditions::default(), ..options })
                .await?;
            if plan.is_done() {
                return shadow.native().commit_completion(&bucket, &key, plan, &Preconditions::default(), terms).await;
            }
            let theirs = shadow.mirrored(&bucket, &key, &upload).await?;
            let path = shadow.path(&cx, &bucket);
            let parts = origin_parts(&*origin, &path, &key, &theirs, &plan).await?;
            let put = Intended::Put { etag: plan.etag().clone(), size: plan.size() };
            let intent = shadow.begin_intent(&bucket, &key, &view, put).await?;
            let etag = match complete(&*origin, &path, &key, &theirs, parts, &plan).await {
                Ok(etag) => etag,
                Err(error) => return Err(origin_failed(intent, error).await),
            };
            let terms = intent.settle_with(Terms { etag: Some(etag), ..merge(terms, Self::terms_of_put(&key)) });
            let completed = shadow.native().commit_completion(&bucket, &key, plan, &Preconditions::default(), terms).await;
            finish(intent, completed)
        })
        .await
    }

    pub(crate) async fn abort_mirrored_upload(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: &UploadId,
        origin: &dyn Origin,
    ) -> Result<()> {
        if let Some(theirs) = self.native().upload_note(bucket, key, upload).await? {
            origin.abort_upload(&self.path(cx, bucket), key, &theirs).await?;
        }
        self.native().abort_upload(cx, bucket, key, upload).await
    }

    /// The origin's identifier of an upload.
    async fn mirrored(&self, bucket: &Bucket, key: &ObjectKey, upload: &UploadId) -> Result<String> {
        let note = self.native().upload_note(bucket, key, upload).await?;
        note.ok_or_else(|| {
            Error::invalid(Fault::InvalidRequest, "this upload began before write-through was switched on; abort it and begin anew")
        })
    }
}

/// The origin's parts, matched with ours. An upload the origin does not know any more has none: see [`complete`].
async fn origin_parts(
    origin: &dyn Origin,
    path: &ShadowPath,
    key: &ObjectKey,
    theirs: &str,
    plan: &CompletionPlan,
) -> Result<Option<Vec<(PartNumber, ETag)>>> {
    let held = match origin.parts(path, key, theirs).await {
        Ok(parts) => parts,
        Err(error) if error.error.kind() == ErrorKind::NotFound(Entity::Upload) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // The very part that was stored on both sides: a later one of the same number may have reached only the origin.
    let is_ours = |part: &OriginPart, number, note: &Option<String>| part.number == number && Some(part.etag.as_str()) == note.as_deref();
    let find = |(number, note): &(PartNumber, Option<String>)| held.iter().find(|part| is_ours(part, *number, note));
    let matched = plan.parts().iter().map(|part| find(part).map(|part| (part.number, part.etag.clone())));
    let missing =
        || Error::invalid(Fault::InvalidPart, "one or more of the specified parts could not be found at the origin; upload them again");
    matched.collect::<Option<Vec<_>>>().map(Some).ok_or_else(missing)
}

/// Completes the upload at the origin. An upload the origin does not know may have been completed by an attempt whose answer was lost:
/// then the object there has the ETag of these parts.
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
    match origin.head(path, key).await {
        Ok(head) if head.info.etag == *plan.etag() => Ok(head.info.etag),
        Ok(_) => Err(gone),
        Err(error) if error.is_not_found() => Err(gone),
        Err(error) => Err(OriginError { outcome_unknown: true, ..error }),
    }
}

//! Parts that the origin lacks when an upload is completed: it gets them from what is stored here, with the same boundaries.
//!
//! It lacks all of an upload that began before write-through was switched on, a part that was stored while it was off, and one that a crash
//! left replaced on one side only. Each part is noted once the origin has it, so that a completion cut off goes on where it stopped.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use umbra_core::{ObjectKey, PartNumber, RequestContext, Result, UploadId};
use umbra_store::{Bucket, CreateUpload, Objects, PartAddress};

use crate::{
    Shadow,
    mirrored_upload::{give_up, told_of_mirror},
    origin::{Origin, OriginAttributes},
    write_through::refuse_customer_key,
};

/// Parts on their way to the origin at a time.
const PARTS_AT_ONCE: usize = 4;

impl Shadow {
    /// Sends `parts` of our upload to the origin's, which is begun if there is none.
    pub(crate) async fn mirror_late(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: &UploadId,
        parts: Vec<PartNumber>,
        origin: &Arc<dyn Origin>,
    ) -> Result<()> {
        let theirs = match self.native().upload_note(bucket, key, upload).await? {
            Some(theirs) => theirs,
            None => self.begin_mirror(cx, bucket, key, upload, &**origin).await?,
        };
        tracing::info!(bucket = %bucket.name, %key, parts = parts.len(), "parts are sent to the origin that it lacks");
        // Boxed: the compiler cannot see through a stream of borrowing closures here.
        let sent = parts.into_iter().map(|number| {
            let part = PartAddress { key, upload, number };
            Box::pin(self.mirror_part(cx, bucket, part, &theirs, &**origin)) as futures::future::BoxFuture<'_, _>
        });
        stream::iter(sent).buffer_unordered(PARTS_AT_ONCE).try_collect().await
    }

    /// Begins an upload at the origin for one that is here already.
    async fn begin_mirror(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: &UploadId,
        origin: &dyn Origin,
    ) -> Result<String> {
        let CreateUpload { headers, metadata, tags, attributes, .. } = self.native().upload(cx, bucket, key, upload).await?;
        refuse_customer_key(&attributes)?;
        let path = self.path(cx, bucket);
        let theirs = origin.create_upload(&path, key, &OriginAttributes { headers, metadata, tags }).await?;
        let remember = vec![self.remember_origin_upload(bucket, key, upload, &theirs)];
        let noted = self.native().note_upload(bucket, key, upload, theirs.clone(), remember).await;
        // Another completion may have been quicker.
        if noted.as_ref().map_or(true, |noted| *noted != theirs) {
            give_up(bucket, key, &theirs, origin.abort_upload(&path, key, &theirs).await);
        }
        noted
    }

    async fn mirror_part(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        part: PartAddress<'_>,
        theirs: &str,
        origin: &dyn Origin,
    ) -> Result<()> {
        let _held = self.0.part_locks.lock(bucket.partition, &part_lock(part)?).await;
        self.fresh(bucket).await?;
        let stored = self.native().open_part(bucket, part).await?;
        let size = stored.size;
        let (body, noting) = stored.into_body();
        let sent = origin.put_part(&self.path(cx, bucket), part.key, theirs, part.number, size, body).await;
        let etag = sent.map_err(|error| told_of_mirror(error.into()))?;
        self.native().note_part(bucket, part, noting, etag.as_str().to_owned()).await
    }
}

/// What stands for a part among the locks.
pub(crate) fn part_lock(part: PartAddress<'_>) -> Result<ObjectKey> {
    ObjectKey::parse(&format!("{}/{}", part.upload, part.number.get()))
}

//! Uploads begun at the origin, remembered until they are known to have ended there.
//!
//! A row `u/` is written in the batch that begins ours, or that notes the origin's beside it, and leaves with the commit that completes it, or
//! once the origin has been told to abort. A row whose upload is gone here is an upload that nobody will complete: it is aborted at the
//! origin, at once or by the repair worker. The row comes after the origin's answer: a crash in between leaves an empty upload there.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream};
use tokio::time::error::Elapsed;
use umbra_core::{ObjectKey, RequestContext, Result, UploadId};
use umbra_meta::{Batch, Expect, Projection, Write, key};
use umbra_store::Bucket;

use crate::{
    Shadow,
    origin::Origin,
    record::{Intent, Operation, OriginUpload, decode, encode},
};

/// Rows read at once.
const PAGE: usize = 1000;
/// Aborts that go to the origin at a time.
const ABORTS_AT_ONCE: usize = 8;
/// How long the end of a shadow waits for the origin to abort what is open there.
const PARTING_TIME: Duration = Duration::from_secs(10);

/// Uploads read for that, where the bucket itself ends.
const PARTING_ROWS: usize = 10_000;

/// What became of the uploads that are open at the origin.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    /// Uploads whose own still goes on.
    pub(crate) open: usize,
    /// The first failure to abort one.
    pub(crate) failure: Option<umbra_core::Error>,
}

impl Shadow {
    /// What remembers, beside our `upload`, that it is mirrored by `theirs`.
    pub(crate) fn remember_origin_upload(&self, bucket: &Bucket, key: &ObjectKey, upload: &UploadId, theirs: &str) -> Write {
        let record = OriginUpload {
            generation: bucket.settings.generation,
            at: self.native().clock().now().as_millis(),
            key: key.as_str().to_owned(),
            upload: theirs.to_owned(),
        };
        Write::Put { key: key::origin_upload(upload), head: Default::default(), body: encode(&record).into() }
    }

    /// Has the origin told soon that an upload of ours is over, if it mirrors it and was not told: write-through was switched off meanwhile.
    pub(crate) async fn end_mirror_of(&self, bucket: &Bucket, upload: &UploadId) -> Result<()> {
        if self.native().meta().get(bucket.partition, &key::origin_upload(upload)).await?.is_some() {
            self.0.repairs.look_at(&bucket.name);
        }
        Ok(())
    }

    /// Forgets an upload that the origin was told to abort. If it cannot be done now the worker does it.
    pub(crate) async fn forget_origin_upload(&self, bucket: &Bucket, upload: &UploadId) {
        let batch = Batch::new(bucket.partition).delete(key::origin_upload(upload));
        if let Err(error) = self.native().meta().commit(batch).await {
            tracing::debug!(bucket = %bucket.name, %error, "an upload that was aborted at the origin is still remembered");
            self.0.repairs.look_at(&bucket.name);
        }
    }

    /// What remembers the upload that a copy back has open at the origin, when another write takes the place of its intent.
    pub(crate) fn remember_upload_of(&self, bucket: &Bucket, key: &ObjectKey, copy: &Intent) -> Option<Write> {
        let theirs = copy.mark.as_deref().filter(|_| copy.operation == Operation::CopyBack)?;
        // There is none of ours by this name: so it counts as over.
        let ours = UploadId::parse(&format!("copy-{:032x}", u128::from_be_bytes(self.native().random().array())));
        Some(self.remember_origin_upload(bucket, key, &ours, theirs))
    }

    /// What is open at the origin of `bucket`, as far as it is aborted in a moment.
    pub(crate) async fn uploads_at_origin(&self, bucket: &Bucket) -> Result<Vec<OriginUpload>> {
        if bucket.settings.shadow.is_none() {
            return Ok(Vec::new());
        }
        let rows = self.native().meta().scan(bucket.partition, key::all_origin_uploads(), PARTING_ROWS, Projection::Full).await?;
        let open = rows.iter().filter_map(|row| decode::<OriginUpload>("an upload at the origin", &row.body).ok());
        Ok(open.filter(|upload| upload.generation == bucket.settings.generation).collect())
    }

    /// Aborts `open` uploads of a bucket that is no more, as far as it can be done in a moment.
    pub(crate) async fn abort_uploads_at_origin(&self, cx: &RequestContext, bucket: &Bucket, open: &[OriginUpload]) {
        let aborted = async {
            let Some(origin) = self.origin(bucket)?.filter(|_| !open.is_empty()) else { return Ok(()) };
            let (origin, path) = (&*origin, &self.path(cx, bucket));
            let mut aborts: Vec<BoxFuture<'_, Result<()>>> = Vec::with_capacity(open.len());
            for upload in open {
                let key = ObjectKey::parse(&upload.key)?;
                aborts.push(Box::pin(async move { Ok(origin.abort_upload(path, &key, &upload.upload).await?) }));
            }
            let mut aborts = stream::iter(aborts).buffer_unordered(ABORTS_AT_ONCE);
            let mut aborted = Ok(());
            while let Some(outcome) = aborts.next().await {
                aborted = aborted.and(outcome);
            }
            aborted
        };
        parted(bucket, tokio::time::timeout(PARTING_TIME, aborted).await);
    }

    /// Aborts at the origin every upload whose own is gone here.
    pub(crate) async fn sweep_origin_uploads(&self, cx: &RequestContext, bucket: &Bucket, origin: &Arc<dyn Origin>) -> Result<Swept> {
        self.abort_origin_uploads(cx, bucket, origin, false).await
    }

    /// Aborts what is open at the origin, as far as it can be done in a moment: the shadow is about to end.
    pub(crate) async fn leave_origin(&self, cx: &RequestContext, bucket: &Bucket) {
        let left = async {
            let Some(origin) = self.origin(bucket)? else { return Ok(()) };
            self.abort_origin_uploads(cx, bucket, &origin, true).await?.failure.map_or(Ok(()), Err)
        };
        parted(bucket, tokio::time::timeout(PARTING_TIME, left).await);
    }

    async fn abort_origin_uploads(&self, cx: &RequestContext, bucket: &Bucket, origin: &Arc<dyn Origin>, all: bool) -> Result<Swept> {
        let (mut swept, mut range) = (Swept::default(), key::all_origin_uploads());
        loop {
            let rows = self.native().meta().scan(bucket.partition, range.clone(), PAGE, Projection::Full).await?;
            let Some(last) = rows.last() else { return Ok(swept) };
            range = range.after(&last.key);
            let ids: Vec<_> = rows.iter().filter_map(|row| key::parse_origin_upload(&row.key)).collect();
            let ours: Vec<_> = ids.iter().map(key::upload).collect();
            let ours = self.native().meta().multi_get(bucket.partition, &ours.iter().map(Vec::as_slice).collect::<Vec<_>>()).await?;
            let over: Vec<_> = rows.iter().zip(ids).zip(ours).filter(|(_, ours)| all || ours.is_none()).map(|(row, _)| row).collect();
            swept.open += rows.len() - over.len();
            // Boxed: the compiler cannot see through a stream of borrowing closures here.
            let aborts: Vec<BoxFuture<'_, Result<()>>> = over
                .into_iter()
                .map(|(row, id)| {
                    let row = (row.revision, row.body.clone());
                    Box::pin(async move { self.abort_at_origin(cx, bucket, &**origin, &id, row).await }) as BoxFuture<'_, _>
                })
                .collect();
            let mut aborts = stream::iter(aborts).buffer_unordered(ABORTS_AT_ONCE);
            while let Some(outcome) = aborts.next().await {
                swept.failure = swept.failure.or(outcome.err());
            }
        }
    }

    async fn abort_at_origin(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        origin: &dyn Origin,
        upload: &UploadId,
        (revision, body): (umbra_meta::Revision, bytes::Bytes),
    ) -> Result<()> {
        let record: OriginUpload = decode("an upload at the origin", &body)?;
        // One of an earlier generation is at an origin that is out of reach.
        if record.generation == bucket.settings.generation {
            origin.abort_upload(&self.path(cx, bucket), &ObjectKey::parse(&record.key)?, &record.upload).await?;
        }
        let row = key::origin_upload(upload);
        let batch = Batch::new(bucket.partition).check(row.clone(), Expect::Revision(revision)).delete(row);
        match self.native().meta().commit(batch).await {
            // Somebody else ended it.
            Ok(_) | Err(umbra_meta::Error::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Says if uploads stay behind.
fn parted(bucket: &Bucket, outcome: Result<Result<()>, Elapsed>) {
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(bucket = %bucket.name, error = ?error, "uploads stay unfinished at the origin"),
        Err(_) => tracing::warn!(bucket = %bucket.name, "uploads stay unfinished at the origin: it took too long to abort them"),
    }
}

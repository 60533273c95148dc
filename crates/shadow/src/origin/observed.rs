//! An origin whose requests are counted and whose faults are remembered, as is what of its objects cannot be carried over.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use futures::StreamExt;
use umbra_core::{Body, ByteRange, Clock, ETag, ErrorKind, Fault, ObjectInfo, ObjectKey, PartNumber, Tags};

use super::{Origin, OriginAttributes, OriginList, OriginObject, OriginPage, OriginPart, Result, ShadowPath};
use crate::{
    stats::{Count, OriginFault, Stats},
    uncarried::{Notes, UncarriedReason},
};

/// Counts what goes to and comes from an origin.
#[derive(Debug)]
pub(crate) struct ObservedOrigin {
    inner: Arc<dyn Origin>,
    stats: Arc<Stats>,
    clock: Arc<dyn Clock>,
    notes: Option<Notes>,
}

impl ObservedOrigin {
    pub(crate) fn new(inner: Arc<dyn Origin>, stats: Arc<Stats>, clock: Arc<dyn Clock>) -> Self {
        Self { inner, stats, clock, notes: None }
    }

    /// Notes from now on what cannot be carried over.
    pub(crate) fn noting(self, notes: Notes) -> Self {
        Self { notes: Some(notes), ..self }
    }

    async fn observe<T>(&self, doing: &'static str, request: impl Future<Output = Result<T>>) -> Result<T> {
        count_of(&self.stats, doing).add(1);
        let answer = request.await;
        match &answer {
            Err(error) if is_fault(&error.error) => note(&self.stats, &*self.clock, doing, &error.error),
            _ => self.stats.answered(self.clock.now()),
        }
        answer
    }

    /// Notes that an object cannot be read because it is archived.
    async fn note_archived(&self, key: &ObjectKey, error: Option<&umbra_core::Error>) {
        if let (Some(notes), Some(error)) = (&self.notes, error)
            && error.kind() == ErrorKind::Invalid(Fault::InvalidObjectState)
        {
            notes.add(key, &[UncarriedReason::Archived]).await;
        }
    }
}

/// Where a request is counted.
fn count_of<'a>(stats: &'a Stats, doing: &str) -> &'a Count {
    match doing {
        "read" => &stats.origin_gets,
        "head" | "head a part" | "revalidate" => &stats.origin_heads,
        "list" => &stats.origin_lists,
        "write" => &stats.origin_puts,
        "delete" => &stats.origin_deletes,
        "read tags" | "write tags" => &stats.origin_tags,
        _ => &stats.origin_multiparts,
    }
}

/// Whether an error is the origin's fault.
const fn is_fault(error: &umbra_core::Error) -> bool {
    matches!(error.kind(), ErrorKind::OriginUnavailable | ErrorKind::OriginRefused)
}

/// Remembers an error if it is the origin's fault.
fn note(stats: &Stats, clock: &dyn Clock, doing: &'static str, error: &umbra_core::Error) {
    if is_fault(error) {
        tracing::debug!(doing, error = ?error, "the origin failed");
        stats.fault(OriginFault { at: clock.now(), doing, message: format!("{error:?}") });
    }
}

#[async_trait]
impl Origin for ObservedOrigin {
    async fn get(&self, path: &ShadowPath, key: &ObjectKey, range: Option<ByteRange>, if_match: Option<&ETag>) -> Result<OriginObject> {
        let answer = self.observe("read", self.inner.get(path, key, range, if_match)).await;
        self.note_archived(key, answer.as_ref().err().map(|error| &error.error)).await;
        let mut object = answer?;
        let (stats, clock) = (self.stats.clone(), self.clock.clone());
        object.body = object.body.map_stream(|stream| {
            stream.inspect(move |chunk| match chunk {
                Ok(chunk) => stats.origin_bytes.add(chunk.len() as u64),
                Err(error) => note(&stats, &*clock, "read", error),
            })
        });
        Ok(object)
    }

    async fn head(&self, path: &ShadowPath, key: &ObjectKey) -> Result<ObjectInfo> {
        self.observe("head", self.inner.head(path, key)).await
    }

    async fn is_unchanged(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag) -> Result<bool> {
        self.observe("revalidate", self.inner.is_unchanged(path, key, etag)).await
    }

    async fn part_size(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag, part: PartNumber) -> Result<Option<u64>> {
        self.observe("head a part", self.inner.part_size(path, key, etag, part)).await
    }

    async fn put(&self, path: &ShadowPath, key: &ObjectKey, size: u64, body: Body, attributes: &OriginAttributes) -> Result<ETag> {
        self.observe("write", self.inner.put(path, key, size, body, attributes)).await
    }

    async fn delete(&self, path: &ShadowPath, key: &ObjectKey) -> Result<()> {
        self.observe("delete", self.inner.delete(path, key)).await
    }

    async fn list(&self, path: &ShadowPath, list: &OriginList) -> Result<OriginPage> {
        self.observe("list", self.inner.list(path, list)).await
    }

    async fn tags(&self, path: &ShadowPath, key: &ObjectKey) -> Result<Tags> {
        self.observe("read tags", self.inner.tags(path, key)).await
    }

    async fn put_tags(&self, path: &ShadowPath, key: &ObjectKey, tags: &Tags) -> Result<()> {
        self.observe("write tags", self.inner.put_tags(path, key, tags)).await
    }

    async fn create_upload(&self, path: &ShadowPath, key: &ObjectKey, attributes: &OriginAttributes) -> Result<String> {
        self.observe("create upload", self.inner.create_upload(path, key, attributes)).await
    }

    async fn put_part(&self, path: &ShadowPath, key: &ObjectKey, upload: &str, number: PartNumber, size: u64, body: Body) -> Result<ETag> {
        self.observe("write part", self.inner.put_part(path, key, upload, number, size, body)).await
    }

    async fn parts(&self, path: &ShadowPath, key: &ObjectKey, upload: &str) -> Result<Vec<OriginPart>> {
        self.observe("list parts", self.inner.parts(path, key, upload)).await
    }

    async fn complete_upload(&self, path: &ShadowPath, key: &ObjectKey, upload: &str, parts: &[(PartNumber, ETag)]) -> Result<ETag> {
        self.observe("complete upload", self.inner.complete_upload(path, key, upload, parts)).await
    }

    async fn abort_upload(&self, path: &ShadowPath, key: &ObjectKey, upload: &str) -> Result<()> {
        self.observe("abort upload", self.inner.abort_upload(path, key, upload)).await
    }
}

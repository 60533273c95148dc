//! An origin whose requests are counted, whose faults are remembered, and which is closed with its shadow.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;
use umbra_core::{Body, ByteRange, Clock, ETag, ErrorKind, ObjectInfo, ObjectKey, PartNumber, Tags};

use super::{Origin, OriginAttributes, OriginError, OriginList, OriginObject, OriginPage, OriginPart, Result, ShadowPath};
use crate::{
    stats::{OriginFault, Stats},
    write_through::switched,
};

/// Counts what goes to and comes from an origin.
#[derive(Debug)]
pub(crate) struct ObservedOrigin {
    inner: Arc<dyn Origin>,
    stats: Arc<Stats>,
    clock: Arc<dyn Clock>,
    /// Set once the shadow was cleared: no request begins any more.
    closed: CancellationToken,
}

impl ObservedOrigin {
    pub(crate) fn new(inner: Arc<dyn Origin>, stats: Arc<Stats>, clock: Arc<dyn Clock>, closed: CancellationToken) -> Self {
        Self { inner, stats, clock, closed }
    }

    async fn observe<T>(&self, doing: &'static str, request: impl Future<Output = Result<T>>) -> Result<T> {
        if self.closed.is_cancelled() {
            return Err(OriginError::certain(switched()));
        }
        self.stats.origin_requests.add(1);
        let answer = request.await;
        if let Err(error) = &answer {
            note(&self.stats, &*self.clock, doing, &error.error);
        }
        answer
    }
}

/// Remembers an error if it is the origin's fault.
fn note(stats: &Stats, clock: &dyn Clock, doing: &'static str, error: &umbra_core::Error) {
    if matches!(error.kind(), ErrorKind::OriginUnavailable | ErrorKind::OriginRefused) {
        tracing::debug!(doing, error = ?error, "the origin failed");
        stats.fault(OriginFault { at: clock.now(), doing, message: format!("{error:?}") });
    }
}

#[async_trait]
impl Origin for ObservedOrigin {
    async fn get(&self, path: &ShadowPath, key: &ObjectKey, range: Option<ByteRange>, if_match: Option<&ETag>) -> Result<OriginObject> {
        let mut object = self.observe("read", self.inner.get(path, key, range, if_match)).await?;
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

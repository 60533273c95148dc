//! An origin whose requests are counted and whose faults are remembered, as is what of its objects cannot be carried over; it is closed with
//! its shadow.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use futures::StreamExt;
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;
use umbra_core::{Body, ByteRange, Clock, ETag, ErrorKind, ObjectInfo, ObjectKey, PartInfo, PartNumber, Tags};

use super::{
    ListOrder, Origin, OriginAttributes, OriginError, OriginHead, OriginList, OriginObject, OriginPage, OriginPart, PartRange,
    PutConditions, Result, ShadowPath, Uncarried, folding::Folding,
};
use crate::{
    attach::PROBE_KEY_PREFIX,
    stats::{Count, OriginFault, Stats},
    uncarried::Notes,
    write_through::switched,
};

/// Counts what goes to and comes from an origin.
#[derive(Clone, Debug)]
pub(crate) struct ObservedOrigin {
    inner: Arc<dyn Origin>,
    stats: Arc<Stats>,
    clock: Arc<dyn Clock>,
    notes: Option<Notes>,
    order: Arc<RwLock<ListOrder>>,
    /// Whether what is read is only compared.
    compares: bool,
    folding: Arc<Folding>,
    /// Set once the shadow was cleared: no request begins any more.
    closed: CancellationToken,
}

impl ObservedOrigin {
    pub(crate) fn new(inner: Arc<dyn Origin>, stats: Arc<Stats>, clock: Arc<dyn Clock>, closed: CancellationToken) -> Self {
        Self { inner, stats, clock, order: Arc::default(), folding: Arc::default(), compares: false, notes: None, closed }
    }

    /// Notes from now on what cannot be carried over.
    pub(crate) fn noting(self, notes: Notes) -> Self {
        Self { notes: Some(notes), ..self }
    }

    async fn observe<T>(&self, doing: &'static str, request: impl Future<Output = Result<T>>) -> Result<T> {
        if self.closed.is_cancelled() {
            return Err(OriginError::certain(switched()));
        }
        count_of(&self.stats, doing).add(1);
        let answer = request.await;
        self.stats.note_answer(!matches!(&answer, Err(error) if error.error.kind() == ErrorKind::OriginUnavailable));
        match &answer {
            Err(error) if is_fault(&error.error) => note(&self.stats, &*self.clock, doing, &error.error),
            _ => self.stats.answered(self.clock.now()),
        }
        answer
    }

    /// A request that goes on though nobody waits for it: it ends when the origin is closed, also between two attempts.
    async fn until_closed<T>(&self, request: impl Future<Output = Result<T>>) -> Result<T> {
        self.closed.run_until_cancelled(request).await.unwrap_or_else(|| Err(OriginError::certain(switched())))
    }

    /// Refuses a write that would reach another key than it names.
    async fn refuse_folded(&self, path: &ShadowPath, key: &ObjectKey) -> Result<()> {
        if self.closed.is_cancelled() {
            return Err(OriginError::certain(switched()));
        }
        self.folding.refuse(&*self.inner, path, key).await
    }

    /// Notes what of an object cannot be carried over.
    async fn note_uncarried(&self, key: &ObjectKey, found: &[Uncarried]) {
        if let Some(notes) = &self.notes {
            notes.add(key, found).await;
        }
    }

    /// Notes what the failure of a read says of the object.
    async fn note_unreadable<T>(&self, key: &ObjectKey, answer: Result<T>) -> Result<T> {
        let found = answer.as_ref().err().and_then(|error| Uncarried::of_error(&error.error));
        match found {
            Some(found) => {
                self.note_uncarried(key, &[found]).await;
                answer
            }
            None => answer,
        }
    }
}

/// Where a request is counted.
fn count_of<'a>(stats: &'a Stats, doing: &str) -> &'a Count {
    match doing {
        "read" => &stats.origin_gets,
        "head" | "head a part" | "ask for parts" | "revalidate" => &stats.origin_heads,
        "list" => &stats.origin_lists,
        "write" | "try a condition" => &stats.origin_puts,
        "delete" => &stats.origin_deletes,
        "read tags" | "write tags" => &stats.origin_tags,
        _ => &stats.origin_multiparts,
    }
}

/// Whether an error is the origin's fault, and not that of the object.
fn is_fault(error: &umbra_core::Error) -> bool {
    matches!(error.kind(), ErrorKind::OriginUnavailable | ErrorKind::OriginRefused) && Uncarried::of_error(error).is_none()
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
        let mut object = self.note_unreadable(key, answer).await?;
        self.note_uncarried(key, &object.uncarried).await;
        let (stats, clock, compares) = (self.stats.clone(), self.clock.clone(), self.compares);
        object.body = object.body.map_stream(|stream| {
            stream.inspect(move |chunk| match chunk {
                Ok(chunk) => if compares { &stats.compared_bytes } else { &stats.origin_bytes }.add(chunk.len() as u64),
                Err(error) => note(&stats, &*clock, "read", error),
            })
        });
        Ok(object)
    }

    async fn head(&self, path: &ShadowPath, key: &ObjectKey) -> Result<OriginHead> {
        let head = self.note_unreadable(key, self.observe("head", self.inner.head(path, key)).await).await?;
        self.note_uncarried(key, &head.uncarried).await;
        Ok(head)
    }

    async fn head_alone(&self, path: &ShadowPath, key: &ObjectKey) -> Result<ObjectInfo> {
        self.observe("head", self.until_closed(self.inner.head_alone(path, key))).await
    }

    async fn is_unchanged(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag) -> Result<bool> {
        self.observe("revalidate", self.inner.is_unchanged(path, key, etag)).await
    }

    async fn part_size(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag, part: PartNumber) -> Result<Option<u64>> {
        self.observe("head a part", self.until_closed(self.inner.part_size(path, key, etag, part))).await
    }

    async fn part_range(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag, part: PartNumber) -> Result<Option<PartRange>> {
        self.observe("head a part", self.inner.part_range(path, key, etag, part)).await
    }

    async fn object_parts(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag) -> Result<Option<Vec<PartInfo>>> {
        self.observe("ask for parts", self.inner.object_parts(path, key, etag)).await
    }

    async fn put(
        &self,
        path: &ShadowPath,
        key: &ObjectKey,
        size: u64,
        body: Body,
        attributes: &OriginAttributes,
        conditions: &PutConditions,
    ) -> Result<ETag> {
        self.refuse_folded(path, key).await?;
        self.observe("write", self.inner.put(path, key, size, body, attributes, conditions)).await
    }

    async fn judges_conditions(&self, path: &ShadowPath) -> Result<bool> {
        self.observe("try a condition", self.inner.judges_conditions(path)).await
    }

    fn for_comparing(&self) -> Option<Arc<dyn Origin>> {
        Some(Arc::new(Self { compares: true, ..self.clone() }))
    }

    fn ignores_ranges(&self) -> bool {
        self.inner.ignores_ranges()
    }

    fn order(&self) -> ListOrder {
        let learned = *self.order.read();
        if learned == ListOrder::Unknown { self.inner.order() } else { learned }
    }

    fn learn_order(&self, order: ListOrder) {
        *self.order.write() = order;
    }

    async fn delete(&self, path: &ShadowPath, key: &ObjectKey) -> Result<()> {
        self.refuse_folded(path, key).await?;
        self.observe("delete", self.inner.delete(path, key)).await
    }

    async fn list(&self, path: &ShadowPath, list: &OriginList) -> Result<OriginPage> {
        let mut page = self.observe("list", self.inner.list(path, list)).await?;
        // What a probe could not delete is ours, not the owner's: nobody is shown it, and nothing waits for it to come here.
        page.objects.retain(|object| !object.key.as_str().starts_with(PROBE_KEY_PREFIX));
        page.common_prefixes.retain(|prefix| !prefix.starts_with(PROBE_KEY_PREFIX));
        Ok(page)
    }

    async fn tags(&self, path: &ShadowPath, key: &ObjectKey) -> Result<Tags> {
        self.observe("read tags", self.inner.tags(path, key)).await
    }

    async fn put_tags(&self, path: &ShadowPath, key: &ObjectKey, tags: &Tags) -> Result<()> {
        self.refuse_folded(path, key).await?;
        self.observe("write tags", self.inner.put_tags(path, key, tags)).await
    }

    async fn create_upload(&self, path: &ShadowPath, key: &ObjectKey, attributes: &OriginAttributes) -> Result<String> {
        self.refuse_folded(path, key).await?;
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

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio_util::sync::CancellationToken;
    use umbra_core::{ETag, ErrorKind, ObjectKey, PartNumber, SystemClock};

    use super::ObservedOrigin;
    use crate::{
        origin::{Origin, OriginAttributes, ShadowPath, memory::MemoryOrigin},
        stats::Stats,
    };

    /// What nobody may be waiting for any more ends with the shadow, however long the origin takes.
    #[tokio::test(start_paused = true)]
    async fn what_is_asked_in_passing_ends_when_the_origin_is_closed() {
        for doing in ["head", "part"] {
            let (inner, closed) = (Arc::new(MemoryOrigin::default()), CancellationToken::new());
            inner.insert("k", "content", &OriginAttributes::default());
            let _gate = inner.hold(doing);
            let origin = ObservedOrigin::new(inner.clone(), Arc::new(Stats::default()), Arc::new(SystemClock), closed.clone());
            let asked = tokio::spawn(async move {
                let (path, key) = (ShadowPath::default(), ObjectKey::parse("k").unwrap());
                match doing {
                    "head" => origin.head_alone(&path, &key).await.map(drop),
                    _ => origin.part_size(&path, &key, &ETag::parse("e"), PartNumber::new(1).unwrap()).await.map(drop),
                }
            });
            while inner.waiting() == 0 {
                tokio::task::yield_now().await;
            }
            closed.cancel();
            // The clock goes on only once nobody has anything to do but to wait.
            let ended = tokio::time::timeout(Duration::from_secs(1), asked).await.expect("it ends").unwrap();
            assert_eq!(ended.unwrap_err().error.kind(), ErrorKind::Unavailable, "{doing}");
        }
    }
}

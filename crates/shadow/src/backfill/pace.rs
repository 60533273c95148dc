//! Keeps a job within its limits: an origin whose requests and bytes are counted, and held back where a limit says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};
use umbra_core::{Body, ByteRange, ETag, ObjectInfo, ObjectKey, PartInfo, PartNumber, Tags};
use umbra_meta::Partition;

use crate::{
    origin::{
        ListOrder, Origin, OriginAttributes, OriginHead, OriginList, OriginObject, OriginPage, OriginPart, PartRange, PutConditions,
        Result, ShadowPath,
    },
    users::Users,
};

/// How far one may fall behind its rate and catch up: smooths what comes in lumps, and is too short to be noticed as a burst.
const SLACK: Duration = Duration::from_millis(100);

/// So much a second, counted in what has been taken.
#[derive(Debug, Default)]
struct Rate {
    per_second: Option<u64>,
    /// When what was taken so far is paid for.
    paid: Option<Instant>,
}

impl Rate {
    /// Takes `amount`; gives when to go on.
    fn take(&mut self, amount: u64) -> Option<Instant> {
        let now = Instant::now();
        let per_second = self.per_second?;
        let from = self.paid.map_or(now, |paid| paid.max(now.checked_sub(SLACK).unwrap_or(now)));
        #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact to the byte")]
        let cost = Duration::from_secs_f64((amount as f64 / per_second as f64).min(3600.0));
        self.paid = Some(from + cost);
        Some(from)
    }
}

/// The limits of one job.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    bytes: Mutex<Rate>,
    requests: Mutex<Rate>,
}

impl Pace {
    /// Sets the limits anew.
    pub(crate) fn set(&self, bytes_per_second: Option<u64>, requests_per_second: Option<u32>) {
        self.bytes.lock().per_second = bytes_per_second;
        self.requests.lock().per_second = requests_per_second.map(u64::from);
    }
}

async fn take(rate: &Mutex<Rate>, amount: u64, is_urgent: impl FnOnce() -> bool) {
    // What is taken counts in any case: who cannot wait makes those after it wait longer.
    let at = rate.lock().take(amount);
    if let Some(at) = at
        && at > Instant::now()
        && !is_urgent()
    {
        sleep_until(at).await;
    }
}

/// The origin as one job sees it, or one object's transfer.
#[derive(Debug)]
pub(crate) struct PacedOrigin {
    pub(crate) inner: Arc<dyn Origin>,
    pub(crate) pace: Arc<Pace>,
    /// Bytes of content that came.
    pub(crate) received: Arc<AtomicU64>,
    pub(crate) users: Arc<Users>,
    pub(crate) partition: Partition,
}

impl PacedOrigin {
    async fn request(&self, key: &ObjectKey) {
        take(&self.pace.requests, 1, || self.users.want(self.partition, key)).await;
    }

    /// Waits for the turn of a request that sends `bytes` and is then made without a pause.
    pub(crate) async fn turn(&self, key: &ObjectKey, bytes: u64) {
        self.request(key).await;
        if bytes > 0 {
            take(&self.pace.bytes, bytes, || self.users.want(self.partition, key)).await;
        }
    }

    /// A body that goes to the origin no faster than it may.
    fn paced(&self, key: &ObjectKey, body: Body) -> Body {
        let (pace, users, of) = (self.pace.clone(), self.users.clone(), (self.partition, key.clone()));
        body.map_stream(move |stream| {
            stream.then(move |chunk| {
                let (pace, users, of) = (pace.clone(), users.clone(), of.clone());
                async move {
                    if let Ok(chunk) = &chunk {
                        take(&pace.bytes, chunk.len() as u64, || users.want(of.0, &of.1)).await;
                    }
                    chunk
                }
            })
        })
    }
}

#[async_trait]
impl Origin for PacedOrigin {
    async fn get(&self, path: &ShadowPath, key: &ObjectKey, range: Option<ByteRange>, if_match: Option<&ETag>) -> Result<OriginObject> {
        self.request(key).await;
        let mut object = self.inner.get(path, key, range, if_match).await?;
        let (pace, received, users, of) = (self.pace.clone(), self.received.clone(), self.users.clone(), (self.partition, key.clone()));
        object.body = object.body.map_stream(move |stream| {
            stream.then(move |chunk| {
                let (pace, received, users, of) = (pace.clone(), received.clone(), users.clone(), of.clone());
                async move {
                    if let Ok(chunk) = &chunk {
                        received.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                        // A user who came to wait for the object gets it as fast as it comes.
                        take(&pace.bytes, chunk.len() as u64, || users.want(of.0, &of.1)).await;
                    }
                    chunk
                }
            })
        });
        Ok(object)
    }

    async fn is_unchanged(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag) -> Result<bool> {
        self.request(key).await;
        self.inner.is_unchanged(path, key, etag).await
    }

    async fn head(&self, path: &ShadowPath, key: &ObjectKey) -> Result<OriginHead> {
        self.request(key).await;
        self.inner.head(path, key).await
    }

    async fn head_alone(&self, path: &ShadowPath, key: &ObjectKey) -> Result<ObjectInfo> {
        self.request(key).await;
        self.inner.head_alone(path, key).await
    }

    async fn part_size(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag, part: PartNumber) -> Result<Option<u64>> {
        self.request(key).await;
        self.inner.part_size(path, key, etag, part).await
    }

    async fn part_range(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag, part: PartNumber) -> Result<Option<PartRange>> {
        self.request(key).await;
        self.inner.part_range(path, key, etag, part).await
    }

    async fn object_parts(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag) -> Result<Option<Vec<PartInfo>>> {
        self.request(key).await;
        self.inner.object_parts(path, key, etag).await
    }

    async fn tags(&self, path: &ShadowPath, key: &ObjectKey) -> Result<Tags> {
        self.request(key).await;
        self.inner.tags(path, key).await
    }

    async fn list(&self, path: &ShadowPath, list: &OriginList) -> Result<OriginPage> {
        self.inner.list(path, list).await
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
        self.request(key).await;
        self.inner.put(path, key, size, self.paced(key, body), attributes, conditions).await
    }

    async fn judges_conditions(&self, path: &ShadowPath) -> Result<bool> {
        self.inner.judges_conditions(path).await
    }

    fn ignores_ranges(&self) -> bool {
        self.inner.ignores_ranges()
    }

    fn order(&self) -> ListOrder {
        self.inner.order()
    }

    fn learn_order(&self, order: ListOrder) {
        self.inner.learn_order(order);
    }

    async fn delete(&self, path: &ShadowPath, key: &ObjectKey) -> Result<()> {
        self.inner.delete(path, key).await
    }

    async fn put_tags(&self, path: &ShadowPath, key: &ObjectKey, tags: &Tags) -> Result<()> {
        self.inner.put_tags(path, key, tags).await
    }

    async fn create_upload(&self, path: &ShadowPath, key: &ObjectKey, attributes: &OriginAttributes) -> Result<String> {
        self.request(key).await;
        self.inner.create_upload(path, key, attributes).await
    }

    async fn put_part(&self, path: &ShadowPath, key: &ObjectKey, upload: &str, number: PartNumber, size: u64, body: Body) -> Result<ETag> {
        self.request(key).await;
        self.inner.put_part(path, key, upload, number, size, self.paced(key, body)).await
    }

    async fn parts(&self, path: &ShadowPath, key: &ObjectKey, upload: &str) -> Result<Vec<OriginPart>> {
        self.inner.parts(path, key, upload).await
    }

    async fn complete_upload(&self, path: &ShadowPath, key: &ObjectKey, upload: &str, parts: &[(PartNumber, ETag)]) -> Result<ETag> {
        self.inner.complete_upload(path, key, upload, parts).await
    }

    async fn abort_upload(&self, path: &ShadowPath, key: &ObjectKey, upload: &str) -> Result<()> {
        self.inner.abort_upload(path, key, upload).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Pace, take};

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_and_an_urgent_one_is_paid_for_by_those_behind() {
        let pace = Pace::default();
        let begun = Instant::now();
        take(&pace.bytes, u64::MAX, || false).await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "there is no limit");
        pace.set(Some(1000), None);
        for _ in 0..11 {
            take(&pace.bytes, 500, || false).await;
        }
        assert_eq!(begun.elapsed().as_secs(), 5);
        take(&pace.bytes, 2000, || true).await;
        assert_eq!(begun.elapsed().as_secs(), 5);
        take(&pace.bytes, 1, || false).await;
        assert!(begun.elapsed().as_millis() >= 7400, "{:?}", begun.elapsed());
    }
}

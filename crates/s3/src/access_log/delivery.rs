//! Writes what has gathered into the buckets it is for.

use std::{fmt, sync::Arc};

use futures::{StreamExt, stream, stream::FuturesUnordered};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use umbra_core::{Acl, Attributes, Body, BucketName, Error, ErrorKind, ObjectKey, Random, RequestContext, Result, SystemHeaders};
use umbra_store::{Bucket, DefaultEncryption, Integrity, Logging, PutOptions, Sealing};

use super::{AccessLog, buffer::Batch, names};
use crate::{
    access::{Judge, is_enforced},
    acl,
};

/// Objects that are written at a time.
const AT_ONCE: usize = 8;
/// After how many failures in a row a batch is given up: some twenty minutes.
const FAILURES_MAX: u32 = 13;

/// The worker that delivers access logs.
pub struct AccessLogDelivery {
    pub(crate) log: AccessLog,
    pub(crate) judge: Judge,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) stop: CancellationToken,
}

impl AccessLogDelivery {
    /// Adds what it counts to `registry`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.log.buffer.metrics.register(registry);
    }

    /// Makes [`AccessLogDelivery::run`] deliver what there is, and return.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Delivers until [`AccessLogDelivery::stop`], then once more.
    pub async fn run(&self) {
        let buffer = &self.log.buffer;
        let mut under_way = FuturesUnordered::new();
        while !self.stop.is_cancelled() {
            let now = self.judge.clock.now();
            under_way.extend(buffer.take(now, AT_ONCE - under_way.len()).into_iter().map(|batch| self.tried(batch)));
            tokio::select! {
                () = self.stop.cancelled() => {}
                Some((batch, outcome)) = under_way.next(), if !under_way.is_empty() => self.settle(batch, outcome),
                () = buffer.wait(now), if under_way.len() < AT_ONCE => {}
            }
        }
        while let Some((batch, outcome)) = under_way.next().await {
            self.settle(batch, outcome);
        }
        let mut rest = stream::iter(buffer.take_all()).map(|batch| self.tried(batch)).buffer_unordered(AT_ONCE);
        while let Some((batch, outcome)) = rest.next().await {
            self.end(&batch, outcome);
        }
    }

    async fn tried(&self, mut batch: Batch) -> (Batch, Result<()>) {
        let outcome = self.deliver(&mut batch).await;
        (batch, outcome)
    }

    async fn deliver(&self, batch: &mut Batch) -> Result<()> {
        let Batch { source, event, text, key, .. } = batch;
        let Judge { catalog, objects, settings, clock, .. } = &self.judge;
        let logging = source.settings.extras.logging.as_ref().ok_or_else(|| Error::internal("a batch of lines for no log"))?;
        let target = catalog.bucket(&BucketName::parse(&logging.bucket)?).await?;
        let key = match key {
            Some(key) => key,
            none => none.insert(ObjectKey::parse(&names::key(logging, source, &settings.region, *event, clock.now(), &*self.random))?),
        };
        let may = target.organization == source.organization && self.judge.takes_logs(source, &target, &logging.prefix, key.as_str())?;
        if !may {
            return Err(Error::new(ErrorKind::Denied, "the target bucket does not let the delivery of logs write"));
        }
        let cx = RequestContext { request_id: "access-log".to_owned(), ..RequestContext::default() };
        objects.put(&cx, &target, key, Body::from_bytes(text.clone()), options(&target, logging)).await.map(drop)
    }

    fn settle(&self, batch: Batch, outcome: Result<()>) {
        match &outcome {
            Err(error) if is_passing(error.kind()) && batch.failures < FAILURES_MAX => {
                if batch.failures == 0 {
                    tracing::warn!(bucket = %batch.source.name, ?error, "an access log cannot be delivered; trying again");
                }
                self.log.buffer.metrics.failed.inc();
                self.log.buffer.put_back(batch, self.judge.clock.now());
            }
            _ => self.end(&batch, outcome),
        }
    }

    fn end(&self, batch: &Batch, outcome: Result<()>) {
        let metrics = &self.log.buffer.metrics;
        match outcome {
            Ok(()) => _ = metrics.delivered.inc_by(batch.lines),
            Err(error) => {
                metrics.failed.inc();
                metrics.dropped.inc_by(batch.lines);
                tracing::warn!(bucket = %batch.source.name, lines = batch.lines, ?error, "an access log cannot be delivered; its lines are lost");
            }
        }
        self.log.buffer.release(batch);
    }
}

/// Whether a delivery that failed so may succeed later.
fn is_passing(kind: ErrorKind) -> bool {
    kind.is_retryable() || matches!(kind, ErrorKind::DiskFull | ErrorKind::OriginRefused | ErrorKind::Cancelled)
}

/// How a log is stored: as its bucket has it for those who ask for nothing, and open to whom the configuration names.
fn options(target: &Bucket, logging: &Logging) -> PutOptions {
    let sealing = target.settings.extras.encryption.as_ref().map(DefaultEncryption::sealing);
    let acl = (!logging.grants.is_empty() && !is_enforced(target)).then(|| {
        let mut acl: Acl = acl::private(&target.organization);
        acl.grants.extend(logging.grants.iter().cloned());
        acl
    });
    PutOptions {
        headers: SystemHeaders { content_type: Some("text/plain".to_owned()), ..SystemHeaders::default() },
        attributes: Attributes { acl, encryption: sealing.as_ref().map(Sealing::told), ..Attributes::default() },
        integrity: Integrity { sealing, ..Integrity::default() },
        ..PutOptions::default()
    }
}

impl fmt::Debug for AccessLogDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLogDelivery").finish_non_exhaustive()
    }
}

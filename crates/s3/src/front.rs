//! The front: puts the parts together.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use prometheus_client::registry::Registry;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio_util::sync::CancellationToken;
use umbra_cluster::{Face, IsPassed, Passed, Relay};
use umbra_core::{Clock, Random, Region, Result};
use umbra_shadow::Shadow;
use umbra_store::Catalog;

use crate::{
    S3Settings,
    access::{Gate, Judge, Peer, TakenIn},
    access_log::{AccessLog, AccessLogDelivery},
    auth::Keys,
    host::Hosts,
    layer::{Around, Layer, NOT_LEADING, Scheme, Services, elsewhere},
    lenient::Lenient,
    limits,
    nearest::Nearest,
    operations::Operations,
    post::Forms,
    tigris::{Routes, Tigris},
    website::Websites,
};

/// A body of an answer.
pub trait HttpBody: http_body::Body<Data = Bytes, Error = s3s::StdError> + Send + 'static {}

impl<B: http_body::Body<Data = Bytes, Error = s3s::StdError> + Send + 'static> HttpBody for B {}

/// The S3 front of a store. [`crate::serve`] puts it behind a listener.
pub struct S3Front {
    pub(crate) settings: Arc<S3Settings>,
    pub(crate) layer: Layer,
    pub(crate) websites: Websites,
    access_logs: Arc<AccessLogDelivery>,
}

impl S3Front {
    /// A front to `parts`. Fails when a setting makes no sense.
    pub fn new(settings: S3Settings, parts: S3Parts) -> Result<Self> {
        let settings = Arc::new(settings);
        let S3Parts { shadow, catalog, clock, random, relay, nearest } = parts;
        let judge = Judge {
            catalog: Arc::clone(&catalog),
            objects: Arc::new(shadow.clone()),
            policies: Arc::default(),
            settings: Arc::clone(&settings),
            clock: Arc::clone(&clock),
        };
        let log = AccessLog::new(settings.access_log_interval, Arc::clone(&catalog), Arc::clone(&clock));
        let access_logs =
            AccessLogDelivery { log: log.clone(), judge: judge.clone(), random: Arc::clone(&random), stop: CancellationToken::new() };
        let hosts = settings.domain.as_deref().map(|domain| Hosts::below(domain, nearest.clone())).transpose()?;
        let parts = Parts { settings: Arc::clone(&settings), shadow, catalog, judge, random: Arc::clone(&random), hosts };
        // The inner s3s answers what the outer one has verified: see `lenient`.
        let inner = parts.builder()?.build();
        let mut outer = parts.builder()?;
        let Parts { shadow, catalog, judge, hosts, .. } = parts;
        let forms = Forms {
            service: inner.clone(),
            catalog: Arc::clone(&catalog),
            clock: Arc::clone(&clock),
            allows_sigv2: settings.allow_sigv2,
            region: settings.pin_region.then(|| settings.region.clone()),
        };
        let tigris = Tigris { settings: Arc::clone(&settings), shadow, catalog: Arc::clone(&catalog), judge, clock };
        outer.set_route(Routes { lenient: Lenient { service: inner }, tigris });
        let service: S3Service = outer.build();
        let around = Around { hosts, catalog, random, log, relay, nearest };
        let layer = Layer::new(Services { s3s: service, forms }, around, &settings);
        let websites = Websites { domain: settings.website_domain.clone() };
        Ok(Self { settings, layer, websites, access_logs: Arc::new(access_logs) })
    }

    /// Answers a request that another node has passed on: as if its client had come here. It is not passed on again.
    ///
    /// Refuses what makes no sense, and everything while this node does not lead.
    pub async fn answer_passed(&self, passed: &Passed, mut request: Request<Incoming>) -> Response<impl HttpBody + use<>> {
        let Some(peer) = Peer::parse(&passed.client).filter(|_| self.layer.leads()) else {
            return elsewhere::refusal(&self.layer, &request, NOT_LEADING);
        };
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(IsPassed);
        request.extensions_mut().insert(TakenIn(passed.region.as_deref().and_then(|region| Region::parse(region).ok())));
        let scheme = if peer.tls.is_some() { Scheme::Https } else { Scheme::Http };
        match passed.face {
            Face::Websites => self.websites.answer(&self.layer, scheme, request).await,
            _ => self.layer.answer(scheme, request).await,
        }
    }

    /// The worker that delivers the access logs of what this front answers. It is to run beside it, and to be stopped behind it.
    pub fn access_logs(&self) -> &Arc<AccessLogDelivery> {
        &self.access_logs
    }

    /// Adds the metrics of this front to `registry`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.layer.metrics().register(registry);
        self.access_logs.register_metrics(registry);
    }
}

/// What a front is made of.
#[derive(Debug)]
pub struct S3Parts {
    /// The objects.
    pub shadow: Shadow,
    /// The buckets and keys.
    pub catalog: Arc<Catalog>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for ids.
    pub random: Arc<dyn Random>,
    /// What has the node that leads answer, where there are several nodes.
    pub relay: Option<Relay>,
    /// Which region is nearest to clients, where they are to be sent there.
    pub nearest: Option<Arc<Nearest>>,
}

struct Parts {
    settings: Arc<S3Settings>,
    shadow: Shadow,
    catalog: Arc<Catalog>,
    judge: Judge,
    random: Arc<dyn Random>,
    hosts: Option<Hosts>,
}

impl Parts {
    fn builder(&self) -> Result<S3ServiceBuilder> {
        let Self { settings, shadow, catalog, judge, random, hosts } = self;
        let operations = Operations {
            settings: Arc::clone(settings),
            objects: Arc::new(shadow.clone()),
            shadow: shadow.clone(),
            catalog: Arc::clone(catalog),
            judge: judge.clone(),
            random: Arc::clone(random),
        };
        let mut builder = S3ServiceBuilder::new(operations);
        builder.set_config(limits::config(settings)?);
        builder.set_auth(Keys(Arc::clone(catalog)));
        builder.set_access(Gate(judge.clone()));
        if let Some(hosts) = hosts {
            builder.set_host(hosts.clone());
        }
        Ok(builder)
    }
}

impl fmt::Debug for S3Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Front").field("settings", &self.settings).finish_non_exhaustive()
    }
}

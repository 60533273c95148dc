//! The outer layer around s3s: refuses what must not reach it, and completes what it answers.
//!
//! On the way in: a request id, limits, undecodable keys, sub-resources nobody knows ([`guard`], [`query`]), and the context that travels on.
//! On the way out: ids on every response, complete error documents ([`finish`]), and the right code when a body failed while s3s gathered it.

mod chunks;
mod digests;
pub(crate) mod elsewhere;
mod finish;
mod guard;
mod nearer;
mod old_signature;
mod progress;
mod query;
mod region;
mod repeated;
mod request_body;
mod trace;

use std::{
    fmt,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response,
    header::{AUTHORIZATION, CONNECTION, EXPECT, ORIGIN},
};
use s3s::{Body, S3Error, S3ErrorCode, S3Result, StdError, service::S3Service};
use umbra_cluster::{Face, Relay};
use umbra_core::{BucketName, Elsewhere, Random, RequestContext};
use umbra_store::{Catalog, CorsRule};

pub(crate) use self::{
    elsewhere::{NOT_LEADING, Whose},
    finish::{Ids, Status, Style, complete, told},
    progress::{Progress, Stage},
    query::{Shape, names as query_names},
    trace::{Deletion, Trace},
};

use self::{
    chunks::Chunks,
    digests::Digests,
    request_body::{Checks, RequestBody},
};
use crate::{
    S3Settings,
    access_log::{AccessLog, Answered, Asked, Entry},
    convert::hoisted,
    cors, extensions,
    host::{self, Hosts},
    metrics::Metrics,
    nearest::Nearest,
    post::{self, Forms, Target},
    tigris,
};

/// The shadows a request passed on its way here. Stores put themselves into it when they ask an origin.
const SHADOW_PATH: &str = "x-umbra-shadow-path";
/// The most shadows a request may pass: more than anyone stacks on purpose.
const SHADOW_HOPS_MAX: usize = 16;

/// How the client reached us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// In the clear.
    #[default]
    Http,
    /// Through TLS.
    Https,
}

impl Scheme {
    /// As URLs spell it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What the outer layer passes requests on to.
pub(crate) struct Services {
    /// All but uploads by forms.
    pub(crate) s3s: S3Service,
    /// Those.
    pub(crate) forms: Forms,
}

/// What the outer layer works with.
pub(crate) struct Around {
    /// Buckets in host names, where there are any.
    pub(crate) hosts: Option<Hosts>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) log: AccessLog,
    pub(crate) relay: Option<Relay>,
    pub(crate) nearest: Option<Arc<Nearest>>,
}

/// The outer layer.
pub(crate) struct Layer {
    services: Services,
    hosts: Option<Hosts>,
    catalog: Arc<Catalog>,
    random: Arc<dyn Random>,
    log: AccessLog,
    host_id: String,
    region: String,
    body_timeout: Duration,
    metrics: Metrics,
    relay: Option<Relay>,
    nearest: Option<Arc<Nearest>>,
}

impl Layer {
    /// Wraps `service`.
    pub(crate) fn new(services: Services, around: Around, settings: &S3Settings) -> Self {
        let Around { hosts, catalog, random, log, relay, nearest } = around;
        let host_id = BASE64.encode(random.array::<32>());
        let (region, body_timeout) = (settings.region.clone(), settings.body_timeout);
        Self { services, hosts, catalog, random, log, host_id, region, body_timeout, metrics: Metrics::default(), relay, nearest }
    }

    /// What was answered, and how soon.
    pub(crate) const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Answers a request. Never fails: whatever happens has an answer.
    pub(crate) async fn answer<B>(&self, scheme: Scheme, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes, Error: Into<StdError>> + Send + Sync + Unpin + 'static,
    {
        let begun = Instant::now();
        let place = Place::of(&request, host::bucket(self.hosts.as_ref(), request.headers()));
        if let Some(answer) = self.send_nearer(&request, &place, begun).await {
            return answer;
        }
        match self.whose(&request, &place).await {
            Whose::Ours => self.answer_here((scheme, begun), &place, request, Elsewhere::default()).await,
            Whose::Leaders(relay) => self.pass(relay, Face::S3, request).await,
            Whose::LeadersForUs(relay) => {
                let answer = self.pass(relay, Face::S3, request).await;
                // What it stored was told of when those near to it saw it.
                self.catalog.await_replicas().await;
                answer
            }
            Whose::OursIfAlone(relay) => {
                let (again, elsewhere) = (elsewhere::again(&request), Elsewhere::watched());
                let answer = self.answer_here((scheme, begun), &place, request, elsewhere.clone()).await;
                if elsewhere.is_said() { self.pass(relay, Face::S3, again).await } else { answer }
            }
        }
    }

    /// Answers a request that is for this node. If it turns out to be `elsewhere`, which is said there, the answer counts for nothing.
    async fn answer_here<B>(
        &self,
        (scheme, begun): (Scheme, Instant),
        place: &Place,
        request: Request<B>,
        elsewhere: Elsewhere,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes, Error: Into<StdError>> + Send + Sync + Unpin + 'static,
    {
        let ids = self.ids();
        let resource = request.uri().path().to_owned();
        let entry = Entry::begin(&self.log, place.asked(), &request, begun).await;
        let style = Style {
            is_head: request.method() == Method::HEAD,
            is_json: tigris::wants_json(request.method(), place.shape, request.headers()),
            keeps_code: entry.is_some(),
        };
        let progress = Arc::new(Progress::default());
        let (head, body) = request.into_parts();
        let request = Request::from_parts(head, ());
        let crossing = request.headers().contains_key(ORIGIN).then(|| (request.method().clone(), request.headers().clone()));
        let (admitted, checks) = match self.admit(&request, place, &ids.request, &elsewhere) {
            Ok((admitted, checks)) => (Ok(admitted), checks),
            Err(error) => (Err(error), Checks { is_awaited: request.headers().contains_key(EXPECT), ..Checks::default() }),
        };
        let body = if body.is_end_stream() {
            // Who waits to be asked for nothing is never asked: botocore, for one, then misreads what follows on the connection.
            if checks.is_awaited {
                progress.end_connection();
            }
            Body::empty()
        } else {
            Body::http_body(RequestBody::new(body, self.body_timeout, checks, Arc::clone(&progress)))
        };
        let response = match admitted {
            Ok(_) if request.method() == Method::OPTIONS => {
                drop(body);
                let answer = cors::preflight(&self.cors_rules(place).await, request.headers());
                answer.or_else(|error| error.to_http_response())
            }
            Ok(admitted) => self.forward(scheme, place, request.map(|()| body), admitted, &progress).await,
            Err(error) => {
                drop(body);
                error.to_http_response()
            }
        };
        let response = response.unwrap_or_else(|error| last_resort(&error));
        if elsewhere.is_said() {
            return response;
        }
        let mut response = complete(response, &ids, &resource, style);
        if let Some((method, headers)) = crossing.filter(|(method, _)| *method != Method::OPTIONS) {
            cors::expose(&self.cors_rules(place).await, &headers, method.as_str(), response.headers_mut());
        }
        if progress.ends_connection() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.metrics.count(progress.operation(), response.status(), begun.elapsed());
        let Some(entry) = entry else { return response };
        let code = response.extensions_mut().remove::<finish::Code>().map(|finish::Code(code)| code);
        entry.end(response, &progress, Answered { request_id: &ids.request, host_id: ids.host, code: code.as_deref() })
    }

    /// The ids of a request that came just now.
    pub(crate) fn ids(&self) -> Ids<'_> {
        Ids { request: self.request_id(), host: &self.host_id, region: &self.region }
    }

    /// Where requests leave their lines.
    pub(crate) const fn log(&self) -> &AccessLog {
        &self.log
    }

    /// The buckets.
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Refuses a request whose target or head is not one of HTTP's, or too large.
    pub(crate) fn check_target<B>(request: &Request<B>) -> S3Result<()> {
        guard::check_target(request)
    }

    /// Has s3s answer `request`.
    pub(crate) async fn ask(&self, request: Request<Body>) -> S3Result<Response<Body>> {
        let answer = self.services.s3s.call(request).await;
        answer.map_err(|error| S3Error::with_source(S3ErrorCode::InternalError, error.into_std_error()))
    }

    fn request_id(&self) -> String {
        self.random.array::<8>().iter().fold(String::with_capacity(16), |mut id, byte| {
            write!(id, "{byte:02X}").expect("a string takes any text");
            id
        })
    }

    /// The CORS rules of the bucket that a request is for; none when there is no such bucket, which is nobody's to find out like this.
    async fn cors_rules(&self, place: &Place) -> Vec<CorsRule> {
        let Some(Ok(name)) = place.bucket.as_deref().map(BucketName::parse) else { return Vec::new() };
        self.catalog.bucket(&name).await.map(|bucket| bucket.settings.extras.cors.clone()).unwrap_or_default()
    }

    /// What goes on with a request that may pass, and what to check of its body.
    fn admit(&self, request: &Request<()>, place: &Place, id: &str, elsewhere: &Elsewhere) -> S3Result<(Admitted, Checks)> {
        let shape = place.shape;
        guard::check(request, shape)?;
        region::check(request, &self.region)?;
        let (method, headers, query) = (request.method(), request.headers(), request.uri().query());
        // Tigris's clients name buckets in the path only.
        let operation = if place.is_in_host { None } else { tigris::Operation::of(method, shape, request.uri(), headers)? };
        if operation.is_none() {
            query::check(method, shape, query)?;
            hoisted::check(query.unwrap_or_default(), headers)?;
            if place.is_for_upload(request) && !post::is_form(headers) {
                return Err(post::not_a_form());
            }
        }
        let is_chunked = headers.get("x-amz-content-sha256").is_some_and(|hash| hash.as_bytes().starts_with(b"STREAMING-"));
        let checks = Checks {
            digests: if is_chunked { None } else { Digests::announced(method, shape, query, headers)? },
            chunks: is_chunked.then(Chunks::new),
            is_awaited: headers.contains_key(EXPECT),
        };
        let (reads_nearby, elsewhere) = (extensions::reads_nearby(method, headers), elsewhere.clone());
        let cx = RequestContext { request_id: id.to_owned(), shadow_path: shadow_path(headers)?, elsewhere, reads_nearby };
        Ok((Admitted { cx, operation }, checks))
    }

    async fn forward(
        &self,
        scheme: Scheme,
        place: &Place,
        mut request: Request<Body>,
        admitted: Admitted,
        progress: &Arc<Progress>,
    ) -> S3Result<Response<Body>> {
        // S3 takes an empty one for none.
        if request.headers().get(AUTHORIZATION).is_some_and(HeaderValue::is_empty) {
            request.headers_mut().remove(AUTHORIZATION);
        }
        if let Some(query) = request.uri().query().map(str::to_owned) {
            repeated::drop_from(request.headers_mut(), &query);
        }
        if place.shape == Shape::Bucket && !place.is_in_host {
            old_signature::complete_path(&mut request);
        }
        if let Some(nearest) = &self.nearest {
            nearer::name_as_signed(nearest, &mut request);
        }
        let is_upload = admitted.operation.is_none() && place.is_for_upload(&request);
        let extensions = request.extensions_mut();
        extensions.insert(admitted.cx);
        if let Some(operation) = admitted.operation {
            extensions.insert(operation);
        }
        extensions.insert(scheme);
        extensions.insert(Arc::clone(progress));
        if let Some(bucket) = place.bucket.as_deref().filter(|_| is_upload) {
            progress.begin("post_object");
            let answer = self.services.forms.answer(Target { scheme, bucket, is_in_host: place.is_in_host }, request).await;
            return answer.or_else(|error| error.to_http_response());
        }
        let response = self.ask(request).await?;
        // s3s calls every failure of a body that it gathers itself an internal error.
        match progress.body_fault().filter(|_| response.status() == http::StatusCode::INTERNAL_SERVER_ERROR) {
            Some(fault) => fault.to_http_response(),
            None => Ok(response),
        }
    }
}

/// What goes on with a request that may pass.
struct Admitted {
    cx: RequestContext,
    /// What it is when it is none of S3's.
    operation: Option<tigris::Operation>,
}

/// What a request is for.
struct Place {
    shape: Shape,
    bucket: Option<String>,
    /// Whether the host names the bucket.
    is_in_host: bool,
}

impl Place {
    fn of<B>(request: &Request<B>, host_bucket: Option<String>) -> Self {
        let path = request.uri().path();
        let is_in_host = host_bucket.is_some();
        let first = || path.trim_start_matches('/').split('/').next().filter(|name| !name.is_empty()).map(str::to_owned);
        Self { shape: Shape::of(path, is_in_host), bucket: host_bucket.or_else(first), is_in_host }
    }

    /// What the access log is told of it.
    fn asked(&self) -> Asked<'_> {
        Asked { bucket: self.bucket.as_deref(), is_in_host: self.is_in_host, shape: self.shape, family: None }
    }

    /// Whether `request` is a POST that can only be a form.
    fn is_for_upload<B>(&self, request: &Request<B>) -> bool {
        let is_plain = || !query::names(request.uri().query()).any(|name| name == "delete");
        self.shape == Shape::Bucket && request.method() == Method::POST && is_plain()
    }
}

/// An answer for the case that even the error cannot be written.
pub(crate) fn last_resort(error: &S3Error) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = error.status_code().unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// The shadows that `headers` name, outermost first.
fn shadow_path(headers: &HeaderMap) -> S3Result<Vec<String>> {
    let refused = |message| S3Error::with_message(S3ErrorCode::InvalidRequest, message);
    let mut hops = Vec::new();
    for value in headers.get_all(SHADOW_PATH) {
        let value = value.to_str().map_err(|_| refused("the shadow path is malformed"))?;
        hops.extend(value.split(',').map(str::trim).filter(|hop| !hop.is_empty()).map(str::to_owned));
    }
    if hops.len() > SHADOW_HOPS_MAX {
        return Err(refused("shadow loop: the request passed too many shadows"));
    }
    Ok(hops)
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{SHADOW_HOPS_MAX, SHADOW_PATH, shadow_path};

    #[test]
    fn the_shadow_path_may_come_in_pieces() {
        let header = |value: &str| (HeaderName::from_static(SHADOW_PATH), HeaderValue::try_from(value).unwrap());
        let mut headers = HeaderMap::from_iter([header("a/b, c/d")]);
        headers.append(SHADOW_PATH, HeaderValue::from_static("e/f"));
        assert_eq!(shadow_path(&headers).unwrap(), ["a/b", "c/d", "e/f"]);
        assert!(shadow_path(&HeaderMap::new()).unwrap().is_empty());
        assert!(shadow_path(&HeaderMap::from_iter([header(&"a/b,".repeat(SHADOW_HOPS_MAX + 1))])).is_err());
    }
}

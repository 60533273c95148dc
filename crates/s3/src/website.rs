//! Buckets as websites, on an address of their own.
//!
//! Everything is read as an anonymous GetObject or HeadObject of the S3 side, with its access check, ranges, conditions and shadow: what
//! is not public there is not here. This is only what S3's website endpoints add: index and error documents, redirects, pages for people.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/WebsiteEndpoints.html>

mod host;
mod page;
mod routing;

use std::{fmt, sync::Arc, time::Instant};

use http::{
    HeaderMap, HeaderName, Method, Request, Response, StatusCode,
    header::{HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, RANGE, REFERER, USER_AGENT},
};
use percent_encoding::percent_decode_str;
use s3s::Body;
use umbra_client::encode_path;
use umbra_cluster::Face;
use umbra_core::{BucketName, Elsewhere, Entity, ErrorKind, RequestContext};
use umbra_store::{Bucket, Website};

use self::{
    page::Fault,
    routing::{Redirect, Visit},
};
use crate::{
    access::{Peer, TakenIn},
    access_log::{Answered, Asked, Entry},
    cors,
    error::Failure,
    layer::{Ids, Layer, Progress, Scheme, Shape, Style, Whose, complete, last_resort},
};

/// What a reader says that changes what is read.
const OF_READS: [HeaderName; 5] = [IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, RANGE];
/// What policies may ask of a reader.
const OF_READERS: [HeaderName; 2] = [REFERER, USER_AGENT];

/// Answers as websites do.
#[derive(Debug)]
pub(crate) struct Websites {
    /// The domain below which buckets are websites.
    pub(crate) domain: Option<String>,
}

impl Websites {
    /// Answers a request. Never fails: whatever happens has a page.
    pub(crate) async fn answer<B>(&self, layer: &Layer, scheme: Scheme, request: Request<B>) -> Response<Body> {
        let begun = Instant::now();
        let ids = layer.ids();
        let (head, _) = request.into_parts();
        let request = Request::from_parts(head, ());
        let bucket = self.bucket(layer, request.headers()).await;
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let whose = if is_read { layer.whose_page(&request, bucket.as_deref().ok()).await } else { Whose::Ours };
        let (relay, elsewhere) = match whose {
            Whose::Ours => (None, Elsewhere::default()),
            Whose::OursIfAlone(relay) => (Some(relay), Elsewhere::watched()),
            Whose::Leaders(relay) | Whose::LeadersForUs(relay) => {
                return layer.pass(relay, Face::Websites, request.map(|()| String::new())).await;
            }
        };
        let name = bucket.as_ref().ok().map(|bucket| bucket.name.as_str());
        let asked = Asked { bucket: name, is_in_host: true, shape: Shape::Object, family: Some("WEBSITE") };
        let entry = Entry::begin(layer.log(), asked, &request, begun).await;
        let progress = Arc::new(Progress::default());
        let (rules, answer) = match bucket {
            Ok(bucket) => {
                let reading =
                    Reading { layer, scheme, request: &request, bucket: &bucket, progress: &progress, ids: &ids, elsewhere: &elsewhere };
                (bucket.settings.extras.cors.clone(), reading.answer().await)
            }
            Err(fault) => (Vec::new(), Answer::fault(fault, &ids)),
        };
        if let Some(relay) = relay.filter(|_| elsewhere.is_said()) {
            return layer.pass(relay, Face::Websites, request.map(|()| String::new())).await;
        }
        let style = Style { is_head: request.method() == Method::HEAD, ..Style::default() };
        let mut response = complete(answer.response, &ids, request.uri().path(), style);
        cors::expose(&rules, request.headers(), request.method().as_str(), response.headers_mut());
        layer.metrics().count(Some("website"), response.status(), begun.elapsed());
        let Some(entry) = entry else { return response };
        entry.end(response, &progress, Answered { request_id: &ids.request, host_id: ids.host, code: answer.code.as_deref() })
    }

    /// The bucket that the host names.
    async fn bucket(&self, layer: &Layer, headers: &HeaderMap) -> Result<Arc<Bucket>, Fault> {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        for name in host::buckets(self.domain.as_deref(), host) {
            let Ok(name) = BucketName::parse(&name) else { continue };
            match layer.catalog().bucket(&name).await {
                Ok(bucket) => return Ok(bucket),
                Err(error) if error.kind() == ErrorKind::NotFound(Entity::Bucket) => {}
                Err(error) => return Err(s3s::S3Error::from(Failure::from(error)).into()),
            }
        }
        Err(Fault::new(StatusCode::NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist"))
    }
}

/// What a reader gets, and S3's word for what went wrong.
struct Answer {
    response: Response<Body>,
    code: Option<String>,
}

impl Answer {
    fn fault(fault: Fault, ids: &Ids<'_>) -> Self {
        Self { response: page::of_fault(&fault, None, ids), code: Some(fault.code) }
    }

    fn redirect(redirect: &Redirect) -> Self {
        Self { response: page::of_redirect(redirect), code: None }
    }
}

/// One request to one website.
struct Reading<'a> {
    layer: &'a Layer,
    scheme: Scheme,
    request: &'a Request<()>,
    bucket: &'a Bucket,
    progress: &'a Arc<Progress>,
    ids: &'a Ids<'a>,
    elsewhere: &'a Elsewhere,
}

impl Reading<'_> {
    async fn answer(&self) -> Answer {
        let (method, uri) = (self.request.method(), self.request.uri());
        if !matches!(*method, Method::GET | Method::HEAD) {
            let message = "The specified method is not allowed against this resource.";
            return Answer::fault(Fault::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message), self.ids);
        }
        if let Err(error) = Layer::check_target(self.request) {
            return Answer::fault(error.into(), self.ids);
        }
        let Some(website) = &self.bucket.settings.extras.website else {
            let message = "The specified bucket does not have a website configuration";
            return Answer::fault(Fault::new(StatusCode::NOT_FOUND, "NoSuchWebsiteConfiguration", message), self.ids);
        };
        let path = uri.path();
        let key = percent_decode_str(path.strip_prefix('/').unwrap_or(path)).decode_utf8_lossy();
        let host = self.request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let visit = Visit { scheme: self.scheme.name(), host, key: &key, target };
        if let Some(redirect) = routing::of_all(website, visit).or_else(|| routing::of_rules(website, visit, None)) {
            return Answer::redirect(&redirect);
        }
        self.page(website, visit).await
    }

    /// The page that `visit` is for, or what there is instead of it.
    async fn page(&self, website: &Website, visit: Visit<'_>) -> Answer {
        let suffix = website.index.as_deref().unwrap_or("index.html");
        let is_directory = visit.key.is_empty() || visit.key.ends_with('/');
        let name = if is_directory { format!("{}{suffix}", visit.key) } else { visit.key.to_owned() };
        let response = self.read(self.request.method(), &name, true).await;
        if !is_failure(response.status()) {
            return match response.headers().get("x-amz-website-redirect-location").and_then(|location| location.to_str().ok()) {
                Some(location) if response.status().is_success() => {
                    Answer::redirect(&Redirect { status: StatusCode::MOVED_PERMANENTLY, location: location.to_owned() })
                }
                _ => Answer { response, code: None },
            };
        }
        let fault = Fault::of(&response);
        let is_absent = matches!(fault.status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN);
        // A key that begins with a slash would make a location of another host.
        if is_absent && !is_directory && !visit.key.starts_with('/') {
            let index = self.read(&Method::HEAD, &format!("{}/{suffix}", visit.key), false).await;
            if index.status().is_success() {
                return Answer::redirect(&Redirect { status: StatusCode::FOUND, location: format!("/{}/", encode_path(visit.key)) });
            }
        }
        match routing::of_rules(website, visit, Some(fault.status)) {
            Some(redirect) => Answer::redirect(&redirect),
            None => self.instead(website, fault).await,
        }
    }

    /// The error document, or a page of ours.
    async fn instead(&self, website: &Website, fault: Fault) -> Answer {
        let Some(key) = website.error.as_deref().filter(|_| fault.status.is_client_error()) else {
            return Answer::fault(fault, self.ids);
        };
        let mut response = self.read(self.request.method(), key, false).await;
        if response.status().is_success() {
            fault.mark(&mut response);
        } else {
            response = page::of_fault(&fault, Some(&Fault::of(&response)), self.ids);
        }
        Answer { response, code: Some(fault.code) }
    }

    /// Reads an object as anybody may; with the range and the conditions of the request where it is the one that was asked for.
    async fn read(&self, method: &Method, key: &str, is_asked: bool) -> Response<Body> {
        let mut inner = Request::new(Body::empty());
        *inner.method_mut() = method.clone();
        let Ok(uri) = format!("/{}/{}", self.bucket.name, encode_path(key)).parse() else {
            return failed(s3s::S3ErrorCode::InvalidURI.into());
        };
        *inner.uri_mut() = uri;
        let of_read = OF_READS.iter().filter(|_| is_asked);
        for name in OF_READERS.iter().chain(of_read) {
            inner.headers_mut().extend(self.request.headers().get(name).map(|value| (name.clone(), value.clone())));
        }
        let extensions = inner.extensions_mut();
        extensions.insert(RequestContext {
            request_id: self.ids.request.clone(),
            elsewhere: self.elsewhere.clone(),
            reads_nearby: true,
            ..RequestContext::default()
        });
        extensions.insert(self.scheme);
        extensions.insert(Arc::clone(self.progress));
        self.request.extensions().get::<Peer>().map(|peer| extensions.insert(*peer));
        self.request.extensions().get::<TakenIn>().map(|taken_in| extensions.insert(taken_in.clone()));
        self.layer.ask(inner).await.unwrap_or_else(failed)
    }
}

fn is_failure(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

fn failed(error: s3s::S3Error) -> Response<Body> {
    error.to_http_response().unwrap_or_else(|error| last_resort(&error))
}

impl fmt::Debug for Reading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("bucket", &self.bucket.name).finish_non_exhaustive()
    }
}

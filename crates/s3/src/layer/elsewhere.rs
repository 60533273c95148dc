//! What the node that leads has to answer.
//!
//! Whoever does not lead serves the objects of plain buckets and reads what there is to know of them. What changes buckets, and everything of
//! buckets with an origin, is passed on whole: the other node judges it, logs it and counts it as if it had come there.
//!
//! But for plain reads of objects of buckets with an origin: they are answered here where what is stored here alone answers them. Whether it
//! does is found out on the way ([`umbra_core::Elsewhere`]); if it does not, nothing of the answer counts, and the request is passed on after all.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response,
    header::{CONNECTION, EXPECT},
};
use http_body::{Frame, SizeHint};
use percent_encoding::percent_decode_str;
use s3s::{Body, S3Error, S3ErrorCode, StdError};
use umbra_cluster::{Face, IsPassed, Relay, RelayError};
use umbra_core::{BucketName, ErrorKind};
use umbra_store::Bucket;

use super::{Layer, Place, Shape, Style, complete, last_resort, query::names};
use crate::{access::Peer, extensions::SCHEDULE_MIGRATION};

/// Who is to answer a request.
pub(crate) enum Whose<'a> {
    /// This node.
    Ours,
    /// This node, unless it turns out that it cannot; then the one that leads.
    OursIfAlone(&'a Relay),
    /// The node that leads.
    Leaders(&'a Relay),
    /// The node that leads, though what it stores is then read here.
    LeadersForUs(&'a Relay),
}

/// What of a bucket is for the node that leads.
enum Kept {
    /// Nothing but changes of the bucket.
    No,
    /// The objects, for it has an origin.
    Objects,
    /// Every request.
    All,
}

/// Why a node refuses what another has passed on.
pub(crate) const NOT_LEADING: &str = "this node does not lead; please try again";
const COPY_SOURCE: &str = "x-amz-copy-source";

impl Layer {
    /// Whether this node answers for all.
    pub(crate) fn leads(&self) -> bool {
        self.relay.as_ref().is_none_or(|relay| !relay.is_wanted())
    }

    /// Who answers a request.
    pub(super) async fn whose<B: http_body::Body>(&self, request: &Request<B>, place: &Place) -> Whose<'_> {
        let Some(relay) = self.relay_of(request) else { return Whose::Ours };
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match (place.shape, request.method()) {
            (Shape::Root, &Method::GET | &Method::HEAD | &Method::OPTIONS) => Whose::Ours,
            (Shape::Bucket, &Method::GET | &Method::HEAD | &Method::OPTIONS | &Method::POST) => {
                match self.kept(place.bucket.as_deref()).await {
                    Kept::No => Whose::Ours,
                    Kept::Objects | Kept::All => Whose::Leaders(relay),
                }
            }
            (Shape::Root | Shape::Bucket, _) => Whose::Leaders(relay),
            (Shape::Object, _) => match (self.kept(place.bucket.as_deref()).await, self.kept(source(request).as_deref()).await) {
                (Kept::No, Kept::No) => Whose::Ours,
                // A copy of what is kept there.
                (Kept::No, _) => Whose::LeadersForUs(relay),
                (Kept::Objects, Kept::No) if is_read && is_plain_read(request) => Whose::OursIfAlone(relay),
                _ => Whose::Leaders(relay),
            },
        }
    }

    /// Who answers a read of `bucket` as a website.
    pub(crate) async fn whose_page<B>(&self, request: &Request<B>, bucket: Option<&Bucket>) -> Whose<'_> {
        match (self.relay_of(request), bucket.filter(|bucket| bucket.settings.shadow.is_some())) {
            (Some(relay), Some(bucket)) if self.logs_to_kept(bucket).await => Whose::Leaders(relay),
            (Some(relay), Some(_)) => Whose::OursIfAlone(relay),
            _ => Whose::Ours,
        }
    }

    /// The relay, should `request` not be for this node.
    fn relay_of<B>(&self, request: &Request<B>) -> Option<&Relay> {
        self.relay.as_ref().filter(|relay| relay.is_wanted() && !is_passed(request))
    }

    /// What of the bucket of this name is for the node that leads. One that is being deleted that node alone can tell of.
    async fn kept(&self, name: Option<&str>) -> Kept {
        let Some(name) = name.map(|name| percent_decode_str(name).decode_utf8_lossy()) else { return Kept::No };
        let Ok(name) = BucketName::parse(&name) else { return Kept::No };
        match self.catalog.bucket(&name).await {
            Ok(bucket) if self.logs_to_kept(&bucket).await => Kept::All,
            Ok(bucket) if bucket.settings.shadow.is_some() => Kept::Objects,
            Err(error) if error.kind() == ErrorKind::Conflict => Kept::All,
            Ok(_) | Err(_) => Kept::No,
        }
    }

    /// Whether the access log of `bucket` goes to a bucket with an origin: whoever answers writes what it has answered there.
    async fn logs_to_kept(&self, bucket: &Bucket) -> bool {
        let target = bucket.settings.extras.logging.as_ref().map(|logging| BucketName::parse(&logging.bucket));
        let Some(Ok(target)) = target else { return false };
        self.catalog.bucket(&target).await.is_ok_and(|target| target.settings.shadow.is_some())
    }

    /// Has the node that leads answer.
    pub(crate) async fn pass<B>(&self, relay: &Relay, face: Face, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes, Error: Into<StdError>> + Send + 'static,
    {
        let client = request.extensions().get::<Peer>().map_or_else(|| "127.0.0.1,-,-".to_owned(), Peer::told);
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let is_awaited = request.headers().contains_key(EXPECT);
        let is_read = Arc::new(AtomicBool::new(false));
        let request = request.map(|body| PassedBody { body: Box::pin(body), is_read: Arc::clone(&is_read) });
        let mut answer = match relay.pass(request, face, &client).await {
            Ok(answer) => answer.map(Body::from),
            Err(failure) => {
                if let RelayError::Lost(why) = &failure {
                    tracing::warn!(why, "a request that was passed on was not answered");
                }
                refused(self, &method, &path, "no node can answer this now; please try again")
            }
        };
        // A client that waits to be asked may never send the body, and its next request would be taken for it.
        if is_awaited && !is_read.load(Ordering::Relaxed) {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// The body of a request that is passed on, and whether it was asked for to its end.
struct PassedBody<B> {
    body: Pin<Box<B>>,
    is_read: Arc<AtomicBool>,
}

impl<B: http_body::Body> http_body::Body for PassedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(self.body.as_mut().poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.is_read.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Refuses a request for now.
pub(crate) fn refusal<B>(layer: &Layer, request: &Request<B>, why: &'static str) -> Response<Body> {
    refused(layer, request.method(), request.uri().path(), why)
}

fn refused(layer: &Layer, method: &Method, path: &str, why: &'static str) -> Response<Body> {
    let error = S3Error::with_message(S3ErrorCode::ServiceUnavailable, why);
    let answer = error.to_http_response().unwrap_or_else(|error| last_resort(&error));
    complete(answer, &layer.ids(), path, Style { is_head: method == Method::HEAD, ..Style::default() })
}

/// Whether `request`, a GET or HEAD of an object, reads the object and nothing else, and orders nothing. One with a body could not be passed on later.
fn is_plain_read<B: http_body::Body>(request: &Request<B>) -> bool {
    const PARAMETERS: [&str; 6] = ["awsaccesskeyid", "expires", "partnumber", "signature", "versionid", "x-id"];
    let is_harmless =
        |name: &str| name.is_empty() || PARAMETERS.contains(&name) || name.starts_with("x-amz-") || name.starts_with("response-");
    let orders = request.headers().contains_key(SCHEDULE_MIGRATION);
    request.body().is_end_stream() && !orders && names(request.uri().query()).all(|name| is_harmless(&name))
}

/// The head of `request`, to be passed on should it turn out to be for another node.
pub(super) fn again<B>(request: &Request<B>) -> Request<String> {
    let mut again = Request::new(String::new());
    (*again.method_mut(), *again.uri_mut()) = (request.method().clone(), request.uri().clone());
    (*again.headers_mut(), *again.extensions_mut()) = (request.headers().clone(), request.extensions().clone());
    again
}

/// Whether another node has passed `request` on.
pub(super) fn is_passed<B>(request: &Request<B>) -> bool {
    request.extensions().get::<IsPassed>().is_some()
}

/// The bucket that a request copies from; also a presigned one, which may say so in its query.
fn source<B>(request: &Request<B>) -> Option<String> {
    let header = request.headers().get(COPY_SOURCE).and_then(|source| source.to_str().ok());
    let source = header.map(str::to_owned).or_else(|| {
        let query = request.uri().query()?;
        names(Some(query)).find(|name| name == COPY_SOURCE)?;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(name, _)| percent_decode_str(name).decode_utf8_lossy().eq_ignore_ascii_case(COPY_SOURCE))
            .map(|(_, value)| percent_decode_str(value).decode_utf8_lossy().into_owned())
    })?;
    let source = percent_decode_str(&source).decode_utf8_lossy().into_owned();
    source.trim_start_matches('/').split('/').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::{is_plain_read, source};

    #[test]
    fn what_is_a_plain_read_is_told() {
        let is_plain = |uri: &str, body: &str| is_plain_read(&Request::get(uri).body(body.to_owned()).unwrap());
        assert!(is_plain("/b/k", "") && is_plain("/b/k?versionId=null&partNumber=1&x-id=GetObject&response-expires=x", ""));
        assert!(is_plain("/b/k?X-Amz-Signature=0&X-Amz-Expires=5", "") && is_plain("/b/k?AWSAccessKeyId=a&Expires=1&Signature=s", ""));
        for other in ["acl", "tagging", "attributes", "retention", "legal-hold", "uploadId=1", "torrent", "versionid=1&aCl"] {
            assert!(!is_plain(&format!("/b/k?{other}"), ""), "{other}");
        }
        assert!(!is_plain("/b/k", "body"));
        let ordering = Request::head("/b/k").header("x-tigris-schedule-migration", "true").body(String::new()).unwrap();
        assert!(!is_plain_read(&ordering));
    }

    #[test]
    fn the_source_of_a_copy_is_found_wherever_it_is_named() {
        let from = |uri: &str, header: Option<&str>| {
            let request = Request::builder().uri(uri);
            let request = header.map_or(Request::builder().uri(uri), |header| request.header("x-amz-copy-source", header));
            source(&request.body(()).unwrap())
        };
        assert_eq!(from("/b/k", None), None);
        assert_eq!(from("/b/k?prefix=x-amz-copy-source", None), None);
        assert_eq!(from("/b/k", Some("/from/a/b")).as_deref(), Some("from"));
        assert_eq!(from("/b/k", Some("from%2Fa")).as_deref(), Some("from"));
        assert_eq!(from("/b/k?X-Amz-Copy-Source=%2Ffrom%2Fa&X-Amz-Signature=0", None).as_deref(), Some("from"));
        assert_eq!(from("/b/k?X-Amz-Copy-Source=%252Ffrom%252Fa", None).as_deref(), Some("from"));
    }
}

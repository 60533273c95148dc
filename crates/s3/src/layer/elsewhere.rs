//! What the node that leads has to answer.
//!
//! Whoever does not lead serves the objects of plain buckets and reads what there is to know of them. What changes buckets, and everything of
//! buckets with an origin, is passed on whole: the other node judges it, logs it and counts it as if it had come there.

use bytes::Bytes;
use http::{Method, Request, Response};
use percent_encoding::percent_decode_str;
use s3s::{Body, S3Error, S3ErrorCode, StdError};
use umbra_cluster::{Face, IsPassed, Passed, Relay, RelayError};
use umbra_core::{BucketName, ErrorKind};
use umbra_store::Bucket;

use super::{Layer, Place, Shape, Style, complete, last_resort, query::names};
use crate::access::Peer;

/// Why a node refuses what another has passed on.
pub(crate) const NOT_LEADING: &str = "this node does not lead; please try again";
const COPY_SOURCE: &str = "x-amz-copy-source";

impl Layer {
    /// Whether this node answers for all.
    pub(crate) fn leads(&self) -> bool {
        self.relay.as_ref().is_none_or(|relay| !relay.is_wanted())
    }

    /// The relay for a request that is not for this node.
    pub(super) async fn elsewhere<B>(&self, request: &Request<B>, place: &Place) -> Option<&Relay> {
        let relay = self.relay.as_ref().filter(|relay| relay.is_wanted() && !is_passed(request))?;
        let is_for_leader = match (place.shape, request.method()) {
            (Shape::Root, &Method::GET | &Method::HEAD | &Method::OPTIONS) => false,
            (Shape::Root, _) => true,
            (Shape::Bucket, &Method::GET | &Method::HEAD | &Method::OPTIONS | &Method::POST) => self.is_kept(place.bucket.as_deref()).await,
            (Shape::Bucket, _) => true,
            (Shape::Object, _) => self.is_kept(place.bucket.as_deref()).await || self.is_kept(source(request).as_deref()).await,
        };
        is_for_leader.then_some(relay)
    }

    /// The relay for a read of `bucket`, should it not be for this node.
    pub(crate) fn relay_for<B>(&self, request: &Request<B>, bucket: Option<&Bucket>) -> Option<&Relay> {
        let is_kept = bucket.is_some_and(|bucket| bucket.settings.shadow.is_some());
        self.relay.as_ref().filter(|relay| is_kept && relay.is_wanted() && !is_passed(request))
    }

    /// Whether the bucket of this name is for the node that leads: one with an origin, or whose access log goes to such a one; and one that is
    /// being deleted, which that node alone can tell of.
    async fn is_kept(&self, name: Option<&str>) -> bool {
        let Some(name) = name.map(|name| percent_decode_str(name).decode_utf8_lossy()) else { return false };
        let Ok(name) = BucketName::parse(&name) else { return false };
        let bucket = match self.catalog.bucket(&name).await {
            Ok(bucket) => bucket,
            Err(error) => return error.kind() == ErrorKind::Conflict,
        };
        if bucket.settings.shadow.is_some() {
            return true;
        }
        // Whoever answers writes what it has answered into the access log.
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
        let failure = match relay.pass(request, &Passed { face, client }).await {
            Ok(answer) => return answer.map(Body::from),
            Err(failure) => failure,
        };
        if let RelayError::Lost(why) = &failure {
            tracing::warn!(why, "a request that was passed on was not answered");
        }
        refused(self, &method, &path, "no node can answer this now; please try again")
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

    use super::source;

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

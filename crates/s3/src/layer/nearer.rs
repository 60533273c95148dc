//! Sends clients that are nearer to another region there, as S3 does: 307 `TemporaryRedirect`.
//!
//! # Who is sent
//! Who asks for objects or lists them, before anything of a body was sent. Not who has a URL that was signed for this host, who uploads by a
//! form, who asks across origins (browsers lose `Origin` on the way), another node, or another store that shadows one of these buckets.
//! Clients that sign are sent where the operator says so: not every one of them signs anew for where it is sent.
//!
//! # No loops
//! Who says the host of any region is answered where it came in: it has been sent there, or has chosen it. So whatever maps say, nobody is
//! sent on twice, and nothing has to be added to a request that a signature covers.
//!
//! # Who cannot go
//! AWS's Python and Java clients take from a redirect the name of the region alone: they ask the same endpoint again, signing for that
//! region. Such a request is answered here.
//!
//! # Who goes without signing anew
//! Go's HTTP client, and with it every client in that language, goes where it is sent and takes its signature along if the host it goes to is
//! below the one it came from. The signature is good for the host it was made for, which the `Referer` tells, and that is a name of this store.

use std::time::Instant;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, LOCATION, ORIGIN, REFERER, TRANSFER_ENCODING},
};
use s3s::{Body, S3ErrorCode};
use umbra_core::BucketName;

use super::{Layer, Place, Progress, SHADOW_PATH, Shape, Style, complete, elsewhere::is_passed, finish::escape, query::names};
use crate::{
    access::Peer,
    access_log::{Answered, Entry},
    nearest::{Nearest, RegionAddress},
    tigris,
};

const MESSAGE: &str = "Please re-send this request to the specified temporary endpoint. Continue to use the original request endpoint for \
                       future requests.";
const BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");
/// What signs a query.
const SIGNATURES: [&str; 2] = ["x-amz-signature", "signature"];

impl Layer {
    /// The answer to a client that is nearer to another region, if it can go there.
    pub(super) async fn send_nearer<B>(&self, request: &Request<B>, place: &Place, begun: Instant) -> Option<Response<Body>> {
        let nearest = self.nearest.as_ref().filter(|nearest| !is_passed(request) && may_be_sent(nearest, request, place))?;
        let region = nearest.elsewhere(request.extensions().get::<Peer>()?.address)?;
        if signed_for(request.headers()) == Some(region.name()) {
            return None;
        }
        let ids = self.ids();
        let entry = Entry::begin(&self.log, place.asked(), request, begun).await;
        let style = Style { is_head: request.method() == Method::HEAD, ..Style::default() };
        let response = complete(redirect(region, request, place)?, &ids, request.uri().path(), style);
        self.metrics.count(Some("redirect"), response.status(), begun.elapsed());
        let Some(entry) = entry else { return Some(response) };
        let code = S3ErrorCode::TemporaryRedirect;
        Some(entry.end(response, &Progress::default(), Answered { request_id: &ids.request, host_id: ids.host, code: Some(code.as_str()) }))
    }
}

/// Whether `request` is one that can be sent elsewhere.
fn may_be_sent<B>(nearest: &Nearest, request: &Request<B>, place: &Place) -> bool {
    let (method, headers) = (request.method(), request.headers());
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let is_of_objects = match place.shape {
        Shape::Object => is_read || matches!(*method, Method::PUT | Method::POST | Method::DELETE),
        Shape::Bucket => is_read && !tigris::wants_json(method, place.shape, headers),
        Shape::Root => false,
    };
    let is_signed = headers.get(AUTHORIZATION).is_some_and(|value| !value.is_empty());
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    is_of_objects
        && (is_read || is_signed)
        && (nearest.sends_signed() || !is_signed)
        && (!has_body(headers) || headers.contains_key(EXPECT))
        && !headers.contains_key(ORIGIN)
        && !headers.contains_key(SHADOW_PATH)
        && !names(request.uri().query()).any(|name| SIGNATURES.iter().any(|signature| name.eq_ignore_ascii_case(signature)))
        && host.is_some_and(|host| !nearest.names_region(host))
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
}

/// The region that a request is signed for by a signature of version 4.
fn signed_for(headers: &HeaderMap) -> Option<&str> {
    let (_, credential) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once("Credential=")?;
    // KEY/DAY/REGION/SERVICE/aws4_request, where the key may have slashes too.
    credential.split([',', ' ']).next()?.rsplit('/').nth(2)
}

/// Names where `request` is answered. The bucket is in the path there, whether or not it is here.
fn redirect<B>(region: &RegionAddress, request: &Request<B>, place: &Place) -> Option<Response<Body>> {
    let bucket = place.bucket.as_deref()?;
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let location = match place.is_in_host {
        true => format!("{}/{}{target}", region.url(), BucketName::parse(bucket).ok()?),
        false => format!("{}{target}", region.url()),
    };
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{MESSAGE}</Message><Bucket>{}</Bucket><Endpoint>{}</Endpoint></Error>",
        S3ErrorCode::TemporaryRedirect.as_str(),
        escape(bucket),
        region.host(),
    );
    let mut response = Response::new(Body::from(Bytes::from(document)));
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::try_from(location).ok()?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    headers.insert(BUCKET_REGION, HeaderValue::try_from(region.name()).ok()?);
    // A client that waits to be asked may never send the body, and its next request would be taken for it.
    if request.headers().contains_key(EXPECT) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Some(response)
}

/// Gives a request that followed a redirect here, with the signature it had, the host that this was made for.
pub(super) fn name_as_signed<B>(nearest: &Nearest, request: &mut Request<B>) {
    let headers = request.headers();
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let is_at_region = text(HOST).is_some_and(|host| nearest.names_region(host));
    if !is_at_region || signed_for(headers).is_none() || headers.contains_key(ORIGIN) {
        return;
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let came_from = text(REFERER).and_then(|referer| nearest.common(referer)).filter(|(_, rest)| *rest == target);
    if let Some(host) = came_from.and_then(|(host, _)| HeaderValue::try_from(host).ok()) {
        request.headers_mut().insert(HOST, host);
    }
}

//! A request that is logged, from when it comes until its answer is gone.

use std::{
    fmt,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, Method, Request, Response, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, HOST, REFERER, USER_AGENT},
};
use http_body::{Frame, SizeHint};
use percent_encoding::percent_decode_str;
use s3s::{Body, StdError};
use umbra_core::Timestamp;
use umbra_store::{AccessKey, Bucket};

use super::{AccessLog, line::Line, operation, text};
use crate::{
    access::Peer,
    layer::{Deletion, Progress, Shape, query_names},
};

/// Bytes of what a client says of itself that are kept: more than any sensible one sends.
const SAID_BYTES_MAX: usize = 1024;
/// Bytes of the first line of a request that are kept: a key and a query of some length.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// What a request is for, as the layer that takes it knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) bucket: Option<&'a str>,
    /// Whether the host names the bucket.
    pub(crate) is_in_host: bool,
    pub(crate) shape: Shape,
    /// What begins the name of its operation where it is none of S3's API.
    pub(crate) family: Option<&'static str>,
}

/// How a request was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) host_id: &'a str,
    /// S3's word for what went wrong.
    pub(crate) code: Option<&'a str>,
}

/// A request that is logged.
pub(crate) struct Entry {
    log: AccessLog,
    begun: Instant,
    at: Timestamp,
    /// The bucket it is for, if that has a log.
    bucket: Option<Arc<Bucket>>,
    /// What it copies, if that is of a bucket that has a log.
    source: Option<Source>,
    operation: String,
    key: Option<String>,
    request: String,
    remote: Option<IpAddr>,
    tls: Option<String>,
    cipher: Option<&'static str>,
    referer: Option<String>,
    user_agent: Option<String>,
    host: Option<String>,
    signature: Option<(&'static str, &'static str)>,
    /// The bytes it announces as its body.
    announced: Option<u64>,
}

struct Source {
    bucket: Arc<Bucket>,
    key: String,
    version: Option<String>,
}

impl Entry {
    /// Notes `request`, which came just now, if it is to be logged.
    pub(crate) async fn begin<B>(log: &AccessLog, asked: Asked<'_>, request: &Request<B>, begun: Instant) -> Option<Self> {
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let bucket = match asked.bucket {
            Some(name) => log.logged(name).await,
            None => None,
        };
        let source = Source::of(log, method, uri.query(), headers).await;
        if bucket.is_none() && source.is_none() {
            return None;
        }
        let peer = request.extensions().get::<Peer>();
        let text = |name: HeaderName| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let said = |name| text(name).map(|text| text::cut(&text, SAID_BYTES_MAX).to_owned());
        let number = |name: &str| headers.get(name)?.to_str().ok()?.parse().ok();
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target = text::without_secrets(target);
        Some(Self {
            log: log.clone(),
            begun,
            at: log.clock.now(),
            bucket,
            source,
            operation: match asked.family {
                Some(family) => format!("{family}.{method}.OBJECT"),
                None => operation::name(method, asked.shape, uri.query(), headers),
            },
            key: key(asked, uri.path()),
            request: format!("{method} {} {:?}", text::cut(&target, REQUEST_BYTES_MAX), request.version()),
            remote: peer.map(|peer| peer.address),
            tls: peer.and_then(|peer| peer.tls).map(|version| format!("TLSv{version}")),
            cipher: peer.and_then(|peer| peer.cipher),
            referer: text(REFERER).map(|referer| text::cut(&text::without_secrets(&referer), SAID_BYTES_MAX).to_owned()),
            user_agent: said(USER_AGENT),
            host: said(HOST),
            signature: signature(headers, uri),
            announced: number("x-amz-decoded-content-length").or_else(|| number(CONTENT_LENGTH.as_str())),
        })
    }

    /// `response` to it, which writes its line when it is gone.
    pub(crate) fn end(self, response: Response<Body>, progress: &Progress, answered: Answered<'_>) -> Response<Body> {
        let (status, headers) = (response.status(), response.headers());
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let turn_around = millis(progress.trace.received().unwrap_or(self.begun));
        let ended = Ended {
            size: progress.trace.size().or_else(|| self.size(status, headers)),
            version: text("x-amz-version-id"),
            key: progress.trace.key().map(str::to_owned).or_else(|| self.key.clone()),
            requester: progress.trace.access_key().map(requester),
            by_acl: progress.trace.is_by_acl(),
            deleted: progress.trace.take_deleted(),
            status,
            code: answered.code.map(str::to_owned),
            request_id: answered.request_id.to_owned(),
            host_id: answered.host_id.to_owned(),
            turn_around,
            sent: 0,
            entry: self,
        };
        response.map(|body| Body::http_body(LoggedBody { body, ended }))
    }

    /// Bytes of the whole object that it is about, where that can be told.
    fn size(&self, status: StatusCode, headers: &HeaderMap) -> Option<u64> {
        let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        match self.operation.as_str() {
            "REST.GET.OBJECT" | "REST.HEAD.OBJECT" | "WEBSITE.GET.OBJECT" | "WEBSITE.HEAD.OBJECT" => {
                let of_range = text(CONTENT_RANGE).and_then(|range| range.rsplit_once('/')?.1.parse().ok());
                of_range.or_else(|| text(CONTENT_LENGTH).filter(|_| status == StatusCode::OK)?.parse().ok())
            }
            "REST.PUT.OBJECT" | "REST.PUT.PART" => self.announced.filter(|_| status.is_success()),
            _ => None,
        }
    }
}

impl Source {
    async fn of(log: &AccessLog, method: &Method, query: Option<&str>, headers: &HeaderMap) -> Option<Self> {
        if *method != Method::PUT {
            return None;
        }
        let named = operation::copy_source(query, headers)?;
        let (path, query) = named.split_once('?').unwrap_or((&named, ""));
        let path = percent_decode_str(path.trim_start_matches('/')).decode_utf8().ok()?;
        let (bucket, key) = path.split_once('/')?;
        let version = query.strip_prefix("versionId=").map(str::to_owned);
        Some(Self { bucket: log.logged(bucket).await?, key: key.to_owned(), version })
    }
}

/// The key that a path names.
fn key(asked: Asked<'_>, path: &str) -> Option<String> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = if asked.is_in_host { path } else { path.split_once('/')?.1 };
    (!path.is_empty()).then(|| percent_decode_str(path).decode_utf8_lossy().into_owned())
}

/// Which signature a request has, and where.
fn signature(headers: &HeaderMap, uri: &Uri) -> Option<(&'static str, &'static str)> {
    if let Some(authorization) = headers.get(AUTHORIZATION).filter(|value| !value.is_empty()) {
        let version = if authorization.as_bytes().starts_with(b"AWS ") { "SigV2" } else { "SigV4" };
        return Some((version, "AuthHeader"));
    }
    let has = |wanted: &str| query_names(uri.query()).any(|name| name == wanted);
    if has("x-amz-signature") {
        return Some(("SigV4", "QueryString"));
    }
    has("signature").then_some(("SigV2", "QueryString"))
}

/// Who signed with `key`, as policies name it.
fn requester(key: &AccessKey) -> String {
    key.organization.as_ref().map_or_else(|| key.id.clone(), |organization| format!("arn:aws:iam::{organization}:user/{}", key.id))
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A request whose answer is on its way.
struct Ended {
    entry: Entry,
    key: Option<String>,
    requester: Option<String>,
    size: Option<u64>,
    version: Option<String>,
    by_acl: bool,
    deleted: Vec<Deletion>,
    status: StatusCode,
    code: Option<String>,
    request_id: String,
    host_id: String,
    turn_around: u64,
    sent: u64,
}

impl Ended {
    fn write(&self) {
        let entry = &self.entry;
        if let Some(bucket) = &entry.bucket {
            for deletion in &self.deleted {
                let of_one = Line {
                    operation: operation::BATCH_DELETE,
                    key: Some(&deletion.key),
                    version: deletion.version.as_deref(),
                    status: deletion.status,
                    code: deletion.code.as_deref(),
                    ..self.line(bucket, false)
                };
                entry.log.add(bucket, entry.at, &of_one.written());
            }
            let line = Line {
                operation: &entry.operation,
                key: self.key.as_deref(),
                size: self.size,
                version: self.version.as_deref(),
                sent: self.sent,
                ..self.line(bucket, true)
            };
            entry.log.add(bucket, entry.at, &line.written());
        }
        if let Some(Source { bucket, key, version }) = &entry.source {
            let operation = format!("{}_GET", entry.operation);
            let line =
                Line { operation: &operation, key: Some(key), size: self.size, version: version.as_deref(), ..self.line(bucket, true) };
            entry.log.add(bucket, entry.at, &line.written());
        }
    }

    /// What every line of it has in a log of `bucket`; with what the request was itself.
    fn line<'a>(&'a self, bucket: &'a Bucket, is_whole: bool) -> Line<'a> {
        let entry = &self.entry;
        let of_request = Line {
            request: Some(&entry.request),
            total: Some(millis(entry.begun)),
            turn_around: Some(self.turn_around),
            referer: entry.referer.as_deref(),
            user_agent: entry.user_agent.as_deref(),
            by_acl: self.by_acl,
            ..Line::default()
        };
        Line {
            owner: &bucket.organization,
            bucket: bucket.name.as_str(),
            at: entry.at,
            remote: entry.remote,
            requester: self.requester.as_deref(),
            request_id: &self.request_id,
            status: self.status.as_u16(),
            code: self.code.as_deref(),
            host_id: &self.host_id,
            signature: entry.signature.map(|(version, _)| version),
            cipher: entry.cipher,
            authentication: entry.signature.map(|(_, place)| place),
            host: entry.host.as_deref(),
            tls: entry.tls.as_deref(),
            ..if is_whole { of_request } else { Line::default() }
        }
    }
}

/// A body that counts what is sent of it, and writes the line when it is dropped: sent whole, or not wanted any more.
struct LoggedBody {
    body: Body,
    ended: Ended,
}

impl http_body::Body for LoggedBody {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            self.ended.sent += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for LoggedBody {
    fn drop(&mut self) {
        self.ended.write();
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("operation", &self.operation).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Uri, header::AUTHORIZATION};

    use super::{Asked, key, signature};
    use crate::layer::Shape;

    #[test]
    fn keys_stand_in_paths() {
        let asked = |is_in_host| Asked { bucket: Some("b"), is_in_host, shape: Shape::Object, family: None };
        let cases =
            [(false, "/b/a/b%20c", Some("a/b c")), (false, "/b", None), (false, "/b/", None), (true, "/a", Some("a")), (true, "/", None)];
        for (is_in_host, path, expected) in cases {
            assert_eq!(key(asked(is_in_host), path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn signatures_are_told_apart() {
        let cases = [
            (Some("AWS4-HMAC-SHA256 Credential=a"), "/b", Some(("SigV4", "AuthHeader"))),
            (Some("AWS a:b"), "/b", Some(("SigV2", "AuthHeader"))),
            (Some(""), "/b", None),
            (None, "/b?X-Amz-Signature=a", Some(("SigV4", "QueryString"))),
            (None, "/b?AWSAccessKeyId=a&Signature=b", Some(("SigV2", "QueryString"))),
            (None, "/b?prefix=signature", None),
        ];
        for (authorization, uri, expected) in cases {
            let headers: HeaderMap = authorization.into_iter().map(|value| (AUTHORIZATION, HeaderValue::from_static(value))).collect();
            assert_eq!(signature(&headers, &Uri::from_static(uri)), expected, "{uri}");
        }
    }
}

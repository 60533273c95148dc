//! The client itself: from a call to an answer.

use std::{fmt, future::ready, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request,
    header::{CONTENT_LENGTH, HOST, HeaderName, SERVER, USER_AGENT},
};
use md5::{Digest as _, Md5};
use umbra_core::{Body, Clock, Entity, ErrorKind, SystemClock};

use crate::{
    ClientSettings, Credentials, Endpoint, EndpointGuard, Error, Result,
    answer::{Answer, read_error},
    call::Call,
    encode,
    endpoint::BucketAddress,
    learned::{Learned, Lesson},
    request_body::{RequestBody, SEAL, Upload},
    response_body::ResponseBody,
    retry::RetryPolicy,
    sigv4::{self, EMPTY_SHA256, STREAMING_UNSIGNED_PAYLOAD_TRAILER, UNSIGNED_PAYLOAD},
    transport::Transport,
};

const AGENT: HeaderValue = HeaderValue::from_static(concat!("umbra/", env!("CARGO_PKG_VERSION")));

/// A client for one bucket of an S3-compatible service. Cheap to clone; clones share their connections.
///
/// A call whose future is dropped is cancelled: its connection is closed, and content on its way is never completed.
#[derive(Clone)]
pub struct S3Client {
    inner: Arc<Inner>,
    extra: Arc<HeaderMap>,
}

struct Inner {
    endpoint: Endpoint,
    bucket: String,
    address: BucketAddress,
    /// The other place for the bucket's name, if there is one.
    other_address: Option<BucketAddress>,
    learned: Learned,
    credentials: Credentials,
    settings: ClientSettings,
    transport: Transport,
    retry: RetryPolicy,
    clock: Arc<dyn Clock>,
}

impl S3Client {
    /// A client for `bucket` at `endpoint`. Connects to nothing yet.
    pub fn new(endpoint: Endpoint, bucket: &str, credentials: Credentials, guard: EndpointGuard, settings: ClientSettings) -> Result<Self> {
        Self::with_clock(endpoint, bucket, credentials, guard, settings, Arc::new(SystemClock))
    }

    /// The same, with another clock to date signatures by.
    pub fn with_clock(
        endpoint: Endpoint,
        bucket: &str,
        credentials: Credentials,
        guard: EndpointGuard,
        settings: ClientSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let (address, other_address, learned) = (endpoint.bucket(bucket)?, endpoint.other_bucket(bucket), Learned::default());
        let transport = Transport::new(guard, &settings)?;
        let retry = RetryPolicy::new(settings.attempts_max, settings.retry_delay);
        let bucket = bucket.to_owned();
        let inner = Inner { endpoint, bucket, address, other_address, learned, credentials, settings, transport, retry, clock };
        Ok(Self { inner: Arc::new(inner), extra: Arc::default() })
    }

    /// The same client, sending `headers` with every request, signed.
    #[must_use]
    pub fn with_headers(&self, headers: HeaderMap) -> Self {
        Self { inner: self.inner.clone(), extra: Arc::new(headers) }
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.inner.endpoint
    }

    /// The bucket.
    pub fn bucket(&self) -> &str {
        &self.inner.bucket
    }

    /// Sends `call` without a body, again if that is harmless and may help, and returns the answer if it is a success.
    pub(crate) async fn send(&self, call: Call<'_>) -> Result<Answer> {
        let attempt = || self.adapted(&call, || ready(Ok((RequestBody::empty(), None))), EMPTY_SHA256);
        if call.is_repeatable() { self.inner.retry.run(call.method == Method::DELETE, attempt).await } else { attempt().await }
    }

    /// Sends `call` once, with a document that is small and at hand.
    pub(crate) async fn send_document(&self, call: Call<'_>, document: String) -> Result<Answer> {
        let hash = sigv4::sha256_hex(document.as_bytes());
        let document = Bytes::from(document);
        self.adapted(&call, || ready(Ok((RequestBody::Whole(document.clone()), None))), &hash).await
    }

    /// Sends `call` with content that is at hand, and so again if that may help: the caller vouches that twice does no harm.
    ///
    /// Its MD5 goes with it, so that what is not as it was sent is refused on arrival: every service heeds that, but not the hash of a signature.
    pub(crate) async fn send_bytes(&self, mut call: Call<'_>, content: &Bytes) -> Result<Answer> {
        let hashed = content.clone();
        let md5 = tokio::task::spawn_blocking(move || BASE64.encode(Md5::digest(&hashed))).await;
        let md5 = md5.map_err(|_| Error::Request("the hash of the content was cut short".into()))?;
        call = call.header(HeaderName::from_static("content-md5"), Some(&md5))?;
        let hash = if content.is_empty() { EMPTY_SHA256 } else { UNSIGNED_PAYLOAD };
        self.inner.retry.run(true, || self.adapted(&call, || RequestBody::bytes(content), hash)).await
    }

    /// Runs `attempt` until it succeeds, fails for good, or was tried often enough. The caller vouches that twice does no harm.
    pub async fn repeat<T, F: Future<Output = Result<T>>>(&self, attempt: impl FnMut() -> F) -> Result<T> {
        self.inner.retry.run(true, attempt).await
    }

    /// Sends `call`, and again when the service has said what it wants otherwise: an error like that comes before anything is done.
    async fn adapted<F>(&self, call: &Call<'_>, body: impl Fn() -> F, hash: &str) -> Result<Answer>
    where
        F: Future<Output = Result<(RequestBody, Option<Upload>)>>,
    {
        let Inner { learned, .. } = &*self.inner;
        let (mut lessons, mut first) = (Vec::new(), None);
        loop {
            let region = self.signing_region();
            let (body, upload) = body().await?;
            let error = match self.attempt(call, body, upload, hash).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let in_host = self.inner.other_address.is_some().then(|| self.is_bucket_in_host());
            let lesson = learned.lesson(&error, &region, self.inner.clock.now(), in_host);
            match lesson.filter(|lesson| !lessons.contains(lesson)) {
                Some(lesson) => {
                    tracing::info!(endpoint = %self.inner.endpoint, bucket = self.inner.bucket, ?lesson, "the origin wants it otherwise");
                    lessons.push(lesson);
                    first = (lesson == Lesson::Addressing).then_some(error).or(first);
                }
                // The other place was no better, unless the bucket's service speaks there: the first answer tells more.
                None if first.is_some() && !is_answer_of_object(&error) => {
                    learned.move_bucket(false);
                    return Err(first.unwrap_or(error));
                }
                None => return Err(error),
            }
        }
    }

    /// Sends `call` once, with content of `size` bytes.
    pub(crate) async fn send_content(&self, mut call: Call<'_>, size: u64, content: Body) -> Result<Answer> {
        let sealed = size > 0 && call.query.is_empty() && self.keeps_cut_uploads();
        let (body, upload) = RequestBody::stream(size, content.into_stream(), sealed).await?;
        let hash = match size {
            0 => EMPTY_SHA256,
            _ if sealed => STREAMING_UNSIGNED_PAYLOAD_TRAILER,
            _ => UNSIGNED_PAYLOAD,
        };
        if sealed {
            call.headers.insert("x-amz-decoded-content-length", size.into());
            call.headers.insert("x-amz-trailer", HeaderValue::from_static(SEAL.header()));
        }
        let outcome = self.attempt(&call, body, upload, hash).await;
        if let Err(error) = &outcome {
            // Content cannot be sent twice; what comes next is sent as the service wants it.
            self.inner.learned.lesson(error, &self.signing_region(), self.inner.clock.now(), None);
        }
        outcome
    }

    async fn attempt(&self, call: &Call<'_>, body: RequestBody, upload: Option<Upload>, hash: &str) -> Result<Answer> {
        let settings = &self.inner.settings;
        let request = self.signed(call, body, hash)?;
        // An engine that completes an upload may take its time before the answer or in the middle of it.
        let (response_timeout, idle_timeout) = if call.is_completion {
            (settings.completion_timeout, settings.completion_timeout)
        } else {
            (settings.response_timeout, settings.idle_timeout)
        };
        let response = self.inner.transport.send(request, upload.as_ref(), response_timeout).await?;
        let (parts, incoming) = response.into_parts();
        let body = ResponseBody::new(incoming, idle_timeout);
        let answer = Answer { status: parts.status, headers: parts.headers, body, document_timeout: response_timeout };
        if !answer.status.is_success() {
            // The upload, if it is still going on, ends with this function, and not before the answer has been read: it shares its connection.
            return Err(read_error(answer, &call.method, call.subject()).await);
        }
        if upload.is_some_and(|upload| !upload.is_sent()) {
            return Err(Error::bad_response("a success, before the content was sent"));
        }
        let server = answer.headers.get(SERVER).and_then(|server| server.to_str().ok());
        self.inner.learned.settle(server);
        Ok(answer)
    }

    /// The region requests are signed for: the one the service named, or the endpoint's.
    pub fn signing_region(&self) -> String {
        self.inner.learned.region().unwrap_or_else(|| self.inner.endpoint.signing_region().to_owned())
    }

    /// What the service calls itself in its `Server` header; `None` before its first success.
    pub fn server(&self) -> Option<String> {
        self.inner.learned.server()
    }

    /// How far the service's clock is ahead of ours, in milliseconds; 0 unless it differs by so much that requests were refused.
    pub fn clock_ahead_ms(&self) -> i64 {
        self.inner.learned.clock_ahead_ms()
    }

    /// Whether requests name the bucket in the host name.
    pub fn is_bucket_in_host(&self) -> bool {
        self.inner.endpoint.is_in_host(&self.inner.bucket) != self.inner.learned.is_elsewhere()
    }

    /// Whether the service is one that keeps an upload that breaks off before its first byte as an empty object.
    fn keeps_cut_uploads(&self) -> bool {
        self.server().is_some_and(|server| server.starts_with("SeaweedFS"))
    }

    pub(crate) fn learned(&self) -> &Learned {
        &self.inner.learned
    }

    fn address(&self) -> &BucketAddress {
        let Inner { address, other_address, learned, .. } = &*self.inner;
        other_address.as_ref().filter(|_| learned.is_elsewhere()).unwrap_or(address)
    }

    fn signed(&self, call: &Call<'_>, body: RequestBody, hash: &str) -> Result<Request<RequestBody>> {
        let inner = &self.inner;
        let malformed = |error: http::Error| Error::Request(error.to_string());
        let address = self.address();
        let uri = address.uri(call.key, &encode::query(&call.query)).map_err(malformed)?;
        let host = HeaderValue::from_str(address.authority()).map_err(|error| malformed(error.into()))?;
        let size = http_body::Body::size_hint(&body).exact().unwrap_or(0);
        let mut request = Request::new(body);
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        *headers = call.headers.clone();
        headers.insert(HOST, host);
        headers.insert(USER_AGENT, AGENT);
        if matches!(call.method, Method::PUT | Method::POST) {
            headers.insert(CONTENT_LENGTH, size.into());
        }
        let (mut parts, body) = request.into_parts();
        let time = inner.learned.service_time(inner.clock.now());
        sigv4::sign_request(&mut parts, hash, &inner.credentials, &self.signing_region(), "s3", time)?;
        Ok(Request::from_parts(parts, body))
    }

    /// Starts a call for `key`, with the headers that go with every request.
    pub(crate) fn object<'a>(&self, method: Method, key: &'a str) -> Result<Call<'a>> {
        Ok(Call::object(method, key)?.headers(&self.extra))
    }

    /// Starts a call for the bucket, with the headers that go with every request.
    pub(crate) fn whole_bucket(&self, method: Method) -> Call<'static> {
        Call::bucket(method).headers(&self.extra)
    }
}

/// Whether an error shows that the bucket is there: it is about an object.
fn is_answer_of_object(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound(Entity::Object | Entity::Upload | Entity::Setting) | ErrorKind::Precondition | ErrorKind::NotModified
    )
}

impl fmt::Debug for S3Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { endpoint, bucket, credentials, .. } = &*self.inner;
        f.debug_struct("S3Client")
            .field("endpoint", endpoint)
            .field("bucket", bucket)
            .field("credentials", credentials)
            .finish_non_exhaustive()
    }
}

//! The client itself: from a call to an answer.

use std::{fmt, sync::Arc};

use http::{
    HeaderMap, HeaderValue, Method, Request,
    header::{CONTENT_LENGTH, HOST, USER_AGENT},
};
use umbra_core::{Body, Clock, SystemClock};

use crate::{
    ClientSettings, Credentials, Endpoint, EndpointGuard, Error, Result,
    answer::{Answer, read_error},
    call::Call,
    encode,
    endpoint::BucketAddress,
    request_body::{RequestBody, Upload},
    response_body::ResponseBody,
    retry::RetryPolicy,
    sigv4::{self, EMPTY_SHA256, UNSIGNED_PAYLOAD},
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
        let address = endpoint.bucket(bucket)?;
        let transport = Transport::new(guard, &settings)?;
        let retry = RetryPolicy::new(settings.attempts_max, settings.retry_delay);
        let bucket = bucket.to_owned();
        let inner = Inner { endpoint, bucket, address, credentials, settings, transport, retry, clock };
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
        let attempt = || self.attempt(&call, RequestBody::empty(), None, EMPTY_SHA256);
        if call.is_repeatable() { self.inner.retry.run(call.method == Method::DELETE, attempt).await } else { attempt().await }
    }

    /// Sends `call` once, with a document that is small and at hand.
    pub(crate) async fn send_document(&self, call: Call<'_>, document: String) -> Result<Answer> {
        let hash = sigv4::sha256_hex(document.as_bytes());
        self.attempt(&call, RequestBody::Whole(document.into()), None, &hash).await
    }

    /// Sends `call` once, with content of `size` bytes.
    pub(crate) async fn send_content(&self, call: Call<'_>, size: u64, content: Body) -> Result<Answer> {
        let (body, upload) = RequestBody::stream(size, content.into_stream()).await?;
        let hash = if size == 0 { EMPTY_SHA256 } else { UNSIGNED_PAYLOAD };
        self.attempt(&call, body, upload, hash).await
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
        Ok(answer)
    }

    fn signed(&self, call: &Call<'_>, body: RequestBody, hash: &str) -> Result<Request<RequestBody>> {
        let inner = &self.inner;
        let malformed = |error: http::Error| Error::Request(error.to_string());
        let uri = inner.address.uri(call.key, &encode::query(&call.query)).map_err(malformed)?;
        let host = HeaderValue::from_str(inner.address.authority()).map_err(|error| malformed(error.into()))?;
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
        let region = inner.endpoint.signing_region();
        sigv4::sign_request(&mut parts, hash, &inner.credentials, region, "s3", inner.clock.now())?;
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

//! Requests, signed by AWS's signer and sent as they are.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use umbra_core::{Clock, SystemClock};

/// A request to make.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    method: Method,
    uri: String,
    headers: Vec<(String, String)>,
    unsigned: Vec<(String, String)>,
    body: Bytes,
    hash: Option<String>,
    presigned: Option<Presigned>,
    region: String,
    age: Duration,
    host: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Presigned {
    age: Duration,
    expires: Duration,
}

/// The hash that a signature covers when the body is chunked and carries a trailer.
pub(crate) const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

impl Ask {
    fn new(method: Method, uri: &str) -> Self {
        Self {
            method,
            uri: uri.to_owned(),
            headers: vec![],
            unsigned: vec![],
            body: Bytes::new(),
            hash: None,
            presigned: None,
            region: "us-east-1".to_owned(),
            age: Duration::ZERO,
            host: None,
        }
    }

    pub(crate) fn get(uri: &str) -> Self {
        Self::new(Method::GET, uri)
    }

    pub(crate) fn head(uri: &str) -> Self {
        Self::new(Method::HEAD, uri)
    }

    pub(crate) fn put(uri: &str) -> Self {
        Self::new(Method::PUT, uri)
    }

    pub(crate) fn post(uri: &str) -> Self {
        Self::new(Method::POST, uri)
    }

    pub(crate) fn delete(uri: &str) -> Self {
        Self::new(Method::DELETE, uri)
    }

    pub(crate) fn method(name: &str, uri: &str) -> Self {
        Self::new(name.parse().unwrap(), uri)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A header added behind the signature's back.
    pub(crate) fn unsigned(mut self, name: &str, value: &str) -> Self {
        self.unsigned.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// What `x-amz-content-sha256` says, instead of the hash of the body.
    pub(crate) fn hash(mut self, hash: &str) -> Self {
        self.hash = Some(hash.to_owned());
        self
    }

    /// Signs in the query, `age` ago, for `expires`.
    pub(crate) fn presigned(mut self, age: Duration, expires: Duration) -> Self {
        self.presigned = Some(Presigned { age, expires });
        self
    }

    /// Signed so long ago.
    pub(crate) fn aged(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// The same as Tigris's clients send what is theirs: as JSON.
    pub(crate) fn json(self) -> Self {
        self.header("content-type", "application/json").header("accept", "application/json").region("auto")
    }

    /// Asks `host`, by this name.
    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    pub(crate) fn region(mut self, region: &str) -> Self {
        self.region = region.to_owned();
        self
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The text of the first element called `name`.
    pub(crate) fn element(&self, name: &str) -> Option<&str> {
        self.elements(name).into_iter().next()
    }

    /// The texts of all elements called `name`.
    pub(crate) fn elements(&self, name: &str) -> Vec<&str> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        self.text().split(&open).skip(1).filter_map(|rest| rest.split(&close).next()).collect()
    }

    /// The status and the error code.
    pub(crate) fn error(&self) -> (u16, &str) {
        (self.status, self.element("Code").unwrap_or_default())
    }

    /// The document.
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The status and the error code of an answer in JSON.
    pub(crate) fn json_error(&self) -> (u16, String) {
        (self.status, self.json()["Code"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A client; without a key it signs nothing.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) key: Option<(String, String)>,
}

impl Client {
    pub(crate) async fn send(&self, ask: Ask) -> Reply {
        self.send_request(self.request(&ask)).await
    }

    /// Sends `request` as it is.
    pub(crate) async fn send_request(&self, request: Request<Bytes>) -> Reply {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request.map(Full::new)).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        drop(sender);
        connection.abort();
        Reply { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// Sends `head` and `body` as they are, and reads what comes until the server closes.
    pub(crate) async fn send_raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The signed head of `ask`, as text, announcing a body of `length` bytes.
    pub(crate) fn head_text(&self, ask: &Ask, length: usize) -> String {
        head_of(&self.request(ask), length)
    }

    /// The signed request.
    pub(crate) fn request(&self, ask: &Ask) -> Request<Bytes> {
        let host = ask.host.clone().unwrap_or_else(|| self.address.to_string());
        let mut headers = vec![("host".to_owned(), host.clone())];
        headers.extend(ask.headers.iter().cloned());
        let mut uri = ask.uri.clone();
        if let Some((key, secret)) = &self.key {
            self.sign(ask, (key, secret), &host, &mut uri, &mut headers);
        }
        headers.extend(ask.unsigned.iter().cloned());
        let mut request = Request::builder().method(ask.method.clone()).uri(uri);
        for (name, value) in headers {
            request = request.header(name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        request.body(ask.body.clone()).unwrap()
    }

    fn sign(&self, ask: &Ask, (key, secret): (&str, &str), host: &str, uri: &mut String, headers: &mut Vec<(String, String)>) {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let mut time = now() - ask.age;
        let hash = match &ask.hash {
            _ if ask.presigned.is_some() => "UNSIGNED-PAYLOAD".to_owned(),
            Some(hash) => hash.clone(),
            None => hex::encode(Sha256::digest(&ask.body)),
        };
        match ask.presigned {
            None => settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256,
            Some(Presigned { age, expires }) => {
                settings.signature_location = SignatureLocation::QueryParams;
                settings.expires_in = Some(expires);
                time -= age;
            }
        }
        let identity = Credentials::new(key, secret, None, None, "test").into();
        let params = v4::SigningParams::builder().identity(&identity).region(&ask.region).name("s3").time(time).settings(settings);
        let params = params.build().unwrap().into();
        let full = format!("http://{host}{}", ask.uri);
        let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signable = SignableRequest::new(ask.method.as_str(), full, pairs, SignableBody::Precomputed(hash)).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let (new_headers, new_query) = instructions.into_parts();
        headers.extend(new_headers.iter().map(|header| (header.name().to_owned(), header.value().to_owned())));
        for (name, value) in new_query {
            let joint = if uri.contains('?') { '&' } else { '?' };
            let value = percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC);
            uri.push_str(&format!("{joint}{name}={value}"));
        }
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(SystemClock.now().as_millis()).unwrap())
}

impl Client {
    /// The signature of `text` with this client's key, today.
    pub(crate) fn signature(&self, text: &str) -> String {
        let (_, secret) = self.key.as_ref().unwrap();
        v4::calculate_signature(v4::generate_signing_key(secret, now(), "us-east-1", "s3"), text.as_bytes())
    }

    /// The bytes of a PUT in signed chunks, the last of them left out unless it `ends`.
    pub(crate) fn in_signed_chunks(&self, uri: &str, chunks: &[&[u8]], ends: bool) -> Vec<u8> {
        let length: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        let ask = Ask::put(uri).hash("STREAMING-AWS4-HMAC-SHA256-PAYLOAD").header("x-amz-decoded-content-length", &length.to_string());
        let request = self.request(&ask);
        let authorization = request.headers()["authorization"].to_str().unwrap();
        let scope = authorization.split('/').skip(1).take(4).collect::<Vec<_>>().join("/");
        let scope = scope.split(',').next().unwrap();
        let date = request.headers()["x-amz-date"].to_str().unwrap().to_owned();
        let mut previous = authorization.rsplit('=').next().unwrap().to_owned();
        let (empty, mut body) = (hex::encode(Sha256::digest(b"")), Vec::new());
        for chunk in chunks.iter().copied().chain(ends.then_some(&b""[..])) {
            let hash = hex::encode(Sha256::digest(chunk));
            previous = self.signature(&format!("AWS4-HMAC-SHA256-PAYLOAD\n{date}\n{scope}\n{previous}\n{empty}\n{hash}"));
            body.extend_from_slice(format!("{:x};chunk-signature={previous}\r\n", chunk.len()).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        let mut bytes = head_of(&request, body.len()).into_bytes();
        bytes.extend(body);
        bytes
    }

    /// The day and second signatures are made for.
    pub(crate) fn date(&self) -> String {
        self.request(&Ask::get("/")).headers()["x-amz-date"].to_str().unwrap().to_owned()
    }
}

fn head_of(request: &Request<Bytes>, length: usize) -> String {
    use std::fmt::Write as _;
    let mut text = format!("{} {} HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        write!(text, "{name}: {}\r\n", value.to_str().unwrap()).unwrap();
    }
    text + "\r\n"
}

/// A body in unsigned chunks, with a trailer.
pub(crate) fn chunked(chunks: &[&[u8]], trailer: Option<(&str, &str)>) -> Vec<u8> {
    let mut body = Vec::new();
    for chunk in chunks {
        body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n");
    if let Some((name, value)) = trailer {
        body.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
    }
    body.extend_from_slice(b"\r\n");
    body
}

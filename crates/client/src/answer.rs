//! Answers, and what is read out of the unhappy ones.

use std::time::Duration;

use http::{
    HeaderMap, Method, StatusCode,
    header::{DATE, LOCATION, RETRY_AFTER},
};

use crate::{
    Error, Result, S3Error, date,
    error::Subject,
    response_body::ResponseBody,
    xml::{self, XmlError},
};

/// Error documents are small.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// How much of an origin's words is kept.
const WORDS_CHARS_MAX: usize = 256;
/// The longest code of S3's own has 47.
const CODE_CHARS_MAX: usize = 64;
/// The document of a page of a listing, with room to spare: 1,000 keys of 1,024 bytes, percent-encoded, are 3 MiB.
const DOCUMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A successful answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: ResponseBody,
    /// How long the body may take, where it is a document.
    pub(crate) document_timeout: Duration,
}

impl Answer {
    /// Reads the body and walks through it as XML; see [`xml::walk`].
    pub(crate) async fn walk(self, roots: &[&str], visit: impl FnMut(&[&str], &str) -> Result<(), XmlError>) -> Result<HeaderMap> {
        let document = self.body.collect(DOCUMENT_BYTES_MAX, self.document_timeout).await?;
        walk(&document, roots, visit)?;
        Ok(self.headers)
    }

    /// The same for an answer that says 200 before it knows: the document may be an error after all.
    pub(crate) async fn walk_late(self, roots: &[&str], visit: impl FnMut(&[&str], &str) -> Result<(), XmlError>) -> Result<HeaderMap> {
        let document = self.body.collect(DOCUMENT_BYTES_MAX, self.document_timeout).await?;
        let mut error = S3Error::of(self.status, &self.headers);
        if error.read(&document).is_ok() {
            return Err(error.into());
        }
        walk(&document, roots, visit)?;
        Ok(self.headers)
    }
}

fn walk(document: &[u8], roots: &[&str], visit: impl FnMut(&[&str], &str) -> Result<(), XmlError>) -> Result<()> {
    let unusable = |error| Error::BadResponse { why: format!("expected a {}", roots.join(" or ")), source: Some(Box::new(error)) };
    xml::walk(document, roots, visit).map_err(unusable)
}

/// Makes the error out of an answer whose status is not 2xx.
pub(crate) async fn read_error(answer: Answer, method: &Method, subject: Subject) -> Error {
    let Answer { status, headers, body, document_timeout } = answer;
    let mut error = S3Error::of(status, &headers);
    let document =
        if method == Method::HEAD { Vec::new() } else { body.collect(ERROR_BYTES_MAX, document_timeout).await.unwrap_or_default() };
    // Where there is no such document, the status speaks alone.
    let _ = error.read(&document);
    if error.code.is_empty() && (method == Method::HEAD || matches!(status.as_u16(), 304 | 412)) {
        error.code = code_of(status, subject).to_owned();
    }
    error.into()
}

/// The code that the answer to a HEAD would have if it could have a body.
fn code_of(status: StatusCode, subject: Subject) -> &'static str {
    match (status.as_u16(), subject) {
        (304, _) => "NotModified",
        (400, _) => "BadRequest",
        (403, _) => "AccessDenied",
        (404, Subject::Object) => "NoSuchKey",
        (404, Subject::Bucket) => "NoSuchBucket",
        (412, _) => "PreconditionFailed",
        (416, _) => "InvalidRange",
        _ => "",
    }
}

impl S3Error {
    fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(words);
        Self {
            status: status.as_u16(),
            // Some engines name the code beside the body, and so for HEAD too.
            code: text("x-minio-error-code").as_deref().map(code).unwrap_or_default(),
            message: None,
            request_id: text("x-amz-request-id"),
            region: text("x-amz-bucket-region"),
            endpoint: status.is_redirection().then(|| text(LOCATION.as_str())).flatten(),
            retry_after: text(RETRY_AFTER.as_str()).and_then(|secs| secs.parse().ok()).map(Duration::from_secs),
            date: text(DATE.as_str()).as_deref().and_then(date::parse),
        }
    }

    /// Takes over what an error document says.
    fn read(&mut self, document: &[u8]) -> Result<(), XmlError> {
        xml::walk(document, &["Error", "ErrorResponse"], |path, text| {
            match path {
                ["Code"] | ["Error", "Code"] => self.code = code(text),
                ["Message"] | ["Error", "Message"] => self.message = Some(words(text)),
                ["RequestId"] | ["Error", "RequestId"] => self.request_id = Some(words(text)),
                ["Region"] if !text.is_empty() => self.region = Some(words(text)),
                ["Endpoint"] if !text.is_empty() => self.endpoint = Some(words(text)),
                _ => {}
            }
            Ok(())
        })
    }
}

impl From<S3Error> for Error {
    fn from(error: S3Error) -> Self {
        if error.is_throttling() { Self::Throttled(Box::new(error)) } else { Self::S3(Box::new(error)) }
    }
}

/// A code, which may go on to clients: letters, digits and little else.
fn code(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')).take(CODE_CHARS_MAX).collect()
}

/// Foreign words, fit for a log line.
fn words(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_CHARS_MAX).collect()
}

//! What can go wrong between us and an origin.

use std::{error, time::Duration};

use umbra_core::{Entity, ErrorKind, Fault, Timestamp};

use crate::{EndpointError, sigv4::SignError};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

pub(crate) type Cause = Box<dyn error::Error + Send + Sync>;

/// Why an origin did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The guard refuses the endpoint's address. See [`GuardError`](crate::GuardError), which is among the causes.
    #[error("the address of the origin is not allowed")]
    Blocked(#[source] Cause),
    /// No connection was made; the origin has seen nothing of the request.
    #[error("cannot connect to the origin")]
    Connect(#[source] Cause),
    /// The origin has the whole request, and took too long to answer.
    #[error("the origin did not answer in time")]
    Timeout,
    /// The connection broke before the answer was there.
    #[error("the connection to the origin broke")]
    Broken {
        /// Whether the origin may have received the request whole.
        sent: bool,
        /// The cause.
        #[source]
        source: Cause,
    },
    /// The content to be sent failed. The origin has not received it whole.
    #[error("the content to be sent to the origin failed")]
    Body(#[source] umbra_core::Error),
    /// The content to be sent is shorter or longer than announced. The origin has not received it whole.
    #[error("the content to be sent has {got} bytes or more, not the {expected} announced")]
    BodySize {
        /// What was announced.
        expected: u64,
        /// What there was, at least.
        got: u64,
    },
    /// The origin refuses.
    #[error("the origin answered {0}")]
    S3(Box<S3Error>),
    /// The origin asks for patience.
    #[error("the origin throttles: {0}")]
    Throttled(Box<S3Error>),
    /// The origin's answer is not what the protocol says.
    #[error("the answer of the origin cannot be used: {why}")]
    BadResponse {
        /// What is wrong with it.
        why: String,
        /// The cause, where there is one.
        #[source]
        source: Option<Cause>,
    },
    /// The request cannot be made.
    #[error("the request cannot be made: {0}")]
    Request(String),
    /// The request cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The endpoint or the bucket's name is wrong.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// What a request was about; decides what its 404 means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Bucket,
    Object,
}

/// An error answer of S3.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {code}{}{}", message.as_ref().map(|text| format!(": {text}")).unwrap_or_default(), self.whereabouts())]
pub struct S3Error {
    /// The HTTP status.
    pub status: u16,
    /// The code, such as `NoSuchKey`. Where the answer has no body it is made from the status; empty when the body is no S3 error.
    pub code: String,
    /// The origin's words, cut short. Not for the eyes of clients.
    pub message: Option<String>,
    /// The origin's `x-amz-request-id`.
    pub request_id: Option<String>,
    /// The region the bucket is in, where the origin says that it is another one.
    pub region: Option<String>,
    /// The endpoint the origin wants to be asked at.
    pub endpoint: Option<String>,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// The time by the origin's clock.
    pub date: Option<Timestamp>,
}

impl S3Error {
    fn whereabouts(&self) -> String {
        let region = self.region.as_ref().map(|region| format!(" (its region is {region})")).unwrap_or_default();
        let endpoint = self.endpoint.as_ref().map(|endpoint| format!(" (its endpoint is {endpoint})")).unwrap_or_default();
        region + &endpoint
    }

    /// What the caller should do.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
    pub fn kind(&self) -> ErrorKind {
        self.kind_by_code().unwrap_or(match self.status {
            304 => ErrorKind::NotModified,
            409 => ErrorKind::Conflict,
            412 => ErrorKind::Precondition,
            416 => ErrorKind::Invalid(Fault::InvalidRange),
            501 => ErrorKind::Unsupported,
            408 | 429 | 500.. => ErrorKind::OriginUnavailable,
            // Also a 404 that does not say what is missing: absence is never guessed.
            _ => ErrorKind::OriginRefused,
        })
    }

    /// The kind, where the code decides rather than the status.
    fn kind_by_code(&self) -> Option<ErrorKind> {
        let fault = match self.code.as_str() {
            "NoSuchKey" | "NoSuchVersion" if self.status == 404 => return Some(ErrorKind::NotFound(Entity::Object)),
            "NoSuchUpload" if self.status == 404 => return Some(ErrorKind::NotFound(Entity::Upload)),
            "NoSuchTagSet" if self.status == 404 => return Some(ErrorKind::NotFound(Entity::Setting)),
            "RequestTimeout" | "SlowDown" | "InternalError" | "ServiceUnavailable" | "Throttling" => {
                return Some(ErrorKind::OriginUnavailable);
            }
            "PreconditionFailed" => return Some(ErrorKind::Precondition),
            "OperationAborted" | "ConditionalRequestConflict" => return Some(ErrorKind::Conflict),
            "NotImplemented" => return Some(ErrorKind::Unsupported),
            "InvalidObjectState" => Fault::InvalidObjectState,
            "InvalidRange" => Fault::InvalidRange,
            "InvalidArgument" => Fault::InvalidArgument,
            "InvalidRequest" => Fault::InvalidRequest,
            "KeyTooLongError" => Fault::KeyTooLong,
            "InvalidPart" => Fault::InvalidPart,
            "InvalidPartOrder" => Fault::InvalidPartOrder,
            "InvalidPartNumber" => Fault::InvalidPartNumber,
            "EntityTooSmall" => Fault::EntityTooSmall,
            "EntityTooLarge" => Fault::EntityTooLarge,
            "BadDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch" => Fault::BadDigest,
            "InvalidDigest" => Fault::InvalidDigest,
            "IncompleteBody" => Fault::IncompleteBody,
            "MetadataTooLarge" => Fault::MetadataTooLarge,
            "InvalidTag" => Fault::InvalidTag,
            "MalformedXML" => Fault::MalformedXml,
            _ => return None,
        };
        Some(ErrorKind::Invalid(fault))
    }

    /// Whether the origin asks for fewer requests.
    pub(crate) fn is_throttling(&self) -> bool {
        self.status == 429
            || (self.status == 503
                && matches!(self.code.as_str(), "SlowDown" | "Throttling" | "ThrottlingException" | "RequestLimitExceeded"))
    }
}

impl Error {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Connect(_) | Self::Timeout | Self::Broken { .. } | Self::Throttled(_) => ErrorKind::OriginUnavailable,
            // An answer that is no S3 comes from something that is no S3, or stands in for one that is down.
            Self::BadResponse { .. } => ErrorKind::OriginUnavailable,
            Self::Blocked(_) | Self::Endpoint(_) | Self::Sign(SignError::Unsignable(_) | SignError::NoHost) => ErrorKind::OriginRefused,
            Self::Body(error) => error.kind(),
            Self::BodySize { .. } => ErrorKind::Invalid(Fault::IncompleteBody),
            Self::S3(error) => error.kind(),
            Self::Request(_) | Self::Sign(SignError::Header(_)) => ErrorKind::Invalid(Fault::InvalidRequest),
        }
    }

    /// Whether the origin may have done what it was asked, although this is an error. Of interest where the request was to change something.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Broken { sent, .. } => *sent,
            Self::Timeout | Self::BadResponse { .. } => true,
            // A gateway says 502 or 504 for an engine that may have been done; S3 itself says 500 of anything.
            Self::S3(error) => error.status >= 500 && error.status != 501 || error.status == 200,
            Self::Blocked(_)
            | Self::Connect(_)
            | Self::Body(_)
            | Self::BodySize { .. }
            | Self::Throttled(_)
            | Self::Request(_)
            | Self::Sign(_)
            | Self::Endpoint(_) => false,
        }
    }

    /// The origin's own answer, where there was one.
    pub fn s3(&self) -> Option<&S3Error> {
        match self {
            Self::S3(error) | Self::Throttled(error) => Some(error),
            _ => None,
        }
    }

    pub(crate) fn bad_response(why: impl Into<String>) -> Self {
        Self::BadResponse { why: why.into(), source: None }
    }

    /// Whether another attempt at an idempotent request may fare better.
    pub(crate) fn is_worth_retrying(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Broken { .. } | Self::Throttled(_) => true,
            Self::S3(error) => matches!(error.status, 500 | 502 | 503 | 504),
            _ => false,
        }
    }
}

impl From<Error> for umbra_core::Error {
    fn from(error: Error) -> Self {
        let message = match &error {
            Error::Body(cause) => cause.message().to_owned(),
            // The origin's words stay in the cause: this line may go on to a client.
            Error::S3(told) | Error::Throttled(told) => format!("the origin answered {} {}{}", told.status, told.code, told.whereabouts()),
            other => other.to_string(),
        };
        Self::new(error.kind(), message).because(error)
    }
}

#[cfg(test)]
mod tests;

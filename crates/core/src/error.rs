//! Errors as they cross the seams: a coarse, prescriptive kind, one line for a person, and the cause behind it.

use std::{error, fmt, sync::Arc};

/// A result whose error says what the caller should do.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The thing an error speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entity {
    /// A bucket.
    Bucket,
    /// The current object of a key.
    Object,
    /// A version of an object that was named.
    Version,
    /// A multipart upload.
    Upload,
    /// A part of an upload.
    Part,
    /// An organization.
    Organization,
    /// An access key.
    AccessKey,
    /// The relation to an origin.
    Shadow,
    /// The tag set of a bucket or another optional sub-resource.
    Setting,
    /// A durable job of a bucket.
    Job,
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bucket => "bucket",
            Self::Object => "object",
            Self::Version => "version",
            Self::Upload => "upload",
            Self::Part => "part",
            Self::Organization => "organization",
            Self::AccessKey => "access key",
            Self::Shadow => "shadow",
            Self::Setting => "setting",
            Self::Job => "job",
        })
    }
}

/// What is wrong with a request, named as S3 names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are S3's error codes; https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html")]
pub enum Fault {
    InvalidArgument,
    InvalidRequest,
    InvalidBucketName,
    KeyTooLong,
    InvalidPart,
    InvalidPartOrder,
    EntityTooSmall,
    EntityTooLarge,
    InvalidRange,
    InvalidPartNumber,
    BadDigest,
    InvalidDigest,
    IncompleteBody,
    MetadataTooLarge,
    InvalidTag,
    InvalidObjectState,
    BucketNotEmpty,
    InvalidBucketState,
    MethodNotAllowed,
    MalformedXml,
    KmsKeyNotFound,
}

/// What the caller should do about an error. A new kind needs a decision record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// It does not exist: stop.
    NotFound(Entity),
    /// The name is taken: stop.
    AlreadyExists(Entity),
    /// A condition of the request does not hold: re-read, decide.
    Precondition,
    /// The reader's copy is still good.
    NotModified,
    /// The request or a setting is wrong: fix it.
    Invalid(Fault),
    /// Not allowed: fix the rights.
    Denied,
    /// Lost a race, our own retries are spent: retry.
    Conflict,
    /// A limit of ours, on purpose: back off.
    Throttled,
    /// Our storage cannot answer now: retry later.
    Unavailable,
    /// The reserve of disk is reached: free space, then retry. Deletes still work.
    DiskFull,
    /// The origin cannot answer, ours can: retry.
    OriginUnavailable,
    /// The origin said no (credentials, policy): fix the shadow.
    OriginRefused,
    /// Stored bytes contradict their checksum or format: restore or hydrate again.
    Corrupt,
    /// We do not do that.
    Unsupported,
    /// The caller went away, or we are stopping.
    Cancelled,
    /// A bug of ours.
    Internal,
}

impl ErrorKind {
    /// Whether the same request may succeed later, unchanged.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Conflict | Self::Throttled | Self::Unavailable | Self::OriginUnavailable)
    }
}

/// An error with the causes behind it, in one line for a person.
pub fn with_causes(error: &(dyn error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(&format!(": {error}"));
        cause = error.source();
    }
    line
}

/// An error at a seam: a kind, one line for a person, and the cause, which is never repeated in the line.
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Arc<dyn error::Error + Send + Sync>>,
}

impl Error {
    /// Makes an error of `kind` that tells a person `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Makes an [`ErrorKind::NotFound`].
    pub fn not_found(entity: Entity) -> Self {
        Self::new(ErrorKind::NotFound(entity), format!("no such {entity}"))
    }

    /// Makes an [`ErrorKind::NotFound`] that says which: `name` is for those who may know it.
    pub fn no_such(entity: Entity, name: impl fmt::Display) -> Self {
        Self::new(ErrorKind::NotFound(entity), format!("{}: {name}", Self::not_found(entity).message()))
    }

    /// Makes an [`ErrorKind::Invalid`].
    pub fn invalid(fault: Fault, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid(fault), message)
    }

    /// Makes an [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Attaches the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// What the caller should do.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// One line for a person, without the cause.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, with_causes(self))
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{Error, with_causes};

    #[test]
    fn the_line_holds_each_cause_once() {
        let engine = Error::internal("the engine").because(io::Error::other("disk on fire"));
        let error = Error::internal("cannot write").because(io::Error::other(engine));
        assert_eq!(with_causes(&error), "cannot write: the engine: disk on fire");
        assert_eq!(format!("{error:?}"), "Internal: cannot write: the engine: disk on fire");
        assert_eq!(with_causes(&Error::internal("alone")), "alone");
    }
}

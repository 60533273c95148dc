//! Errors of the blob seam.

use std::io;

use umbra_core::ErrorKind;

use crate::BlobId;

/// A result of the blob seam.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a blob could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such blob: it was deleted, or never written.
    #[error("no blob {0:?}")]
    NotFound(BlobId),
    /// The blob's bytes contradict their checksum.
    #[error("blob {id:?} is corrupt: {why}")]
    Corrupt {
        /// Which blob.
        id: BlobId,
        /// What is wrong with it.
        why: String,
    },
    /// The reserve of free space is reached.
    #[error("the blob store is full: {0}")]
    Full(String),
    /// The device or the remote engine failed. The bytes of a write are not stored.
    #[error("the blob store cannot {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Says what a failed call of the operating system was for; a device without space is [`Error::Full`].
    pub(crate) fn from_io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(format!("{doing}: {source}")),
            _ => Self::Io { doing, source },
        }
    }

    /// Where the stored bytes of `id` contradict themselves.
    pub(crate) fn corrupt(id: &BlobId, why: impl Into<String>) -> Self {
        Self::Corrupt { id: id.clone(), why: why.into() }
    }

    /// What the caller should do.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) | Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Full(_) => ErrorKind::DiskFull,
            Self::Io { .. } => ErrorKind::Unavailable,
        }
    }
}

impl From<Error> for umbra_core::Error {
    fn from(error: Error) -> Self {
        let message = match &error {
            Error::NotFound(_) | Error::Corrupt { .. } => "stored content is damaged",
            Error::Full(_) => "there is not enough free space",
            Error::Io { .. } => "content storage cannot answer now; please try again",
        };
        Self::new(error.kind(), message).because(error)
    }
}

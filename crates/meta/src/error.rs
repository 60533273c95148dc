//! Errors of the metadata seam.

use umbra_core::ErrorKind;

use crate::{Entry, Partition};

/// A result of the metadata seam.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why metadata could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A check of the batch does not hold; nothing was written. Re-read and decide.
    #[error("a checked key changed")]
    Conflict {
        /// The first key, in the order of the batch's checks, whose check failed.
        key: Vec<u8>,
        /// What that key holds now: it saves the re-read.
        current: Option<Box<Entry>>,
    },
    /// The engine cannot answer now. For a commit: nothing was written.
    #[error("the metadata store is unavailable: {0}")]
    Unavailable(String),
    /// The others that share the database took this process for dead: it is kept out of it for good, and has to be started again.
    #[error("this server was taken for dead by the others on its metadata database; it has to be started again")]
    Fenced,
    /// A commit failed in a way that does not tell whether it was written, now or after a restart: whatever it names must be kept.
    #[error("the outcome of a commit is not known: {0}")]
    Unknown(String),
    /// The store is full or may not be written.
    #[error("the metadata store refuses writes: {0}")]
    Full(String),
    /// A stored value contradicts its checksum or format.
    #[error("the metadata of {what} is corrupt: {why}")]
    Corrupt {
        /// Which record.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    /// Makes an [`Error::Corrupt`] of the record at `key`.
    pub(crate) fn corrupt(partition: Partition, key: &[u8], why: impl Into<String>) -> Self {
        Self::Corrupt { what: format!("{} in partition {}", key.escape_ascii(), partition.0), why: why.into() }
    }

    /// What the caller should do.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Conflict { .. } => ErrorKind::Conflict,
            Self::Unavailable(_) | Self::Fenced | Self::Unknown(_) => ErrorKind::Unavailable,
            Self::Full(_) => ErrorKind::DiskFull,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
        }
    }
}

/// Whether `error` comes from a commit that may have been written all the same.
pub fn is_outcome_unknown(error: &umbra_core::Error) -> bool {
    is_because(error, |cause| matches!(cause, Error::Unknown(_)))
}

/// Whether `error` says that this process was taken for dead by those that it shares the database with.
pub fn is_fenced(error: &umbra_core::Error) -> bool {
    is_because(error, |cause| matches!(cause, Error::Fenced))
}

fn is_because(error: &umbra_core::Error, is_it: impl Fn(&Error) -> bool) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.downcast_ref().is_some_and(&is_it) {
            return true;
        }
        cause = error.source();
    }
    false
}

impl From<Error> for umbra_core::Error {
    fn from(error: Error) -> Self {
        let message = match &error {
            Error::Conflict { .. } => "a conflicting operation is in progress; please try again",
            Error::Unavailable(_) | Error::Fenced | Error::Unknown(_) => "metadata storage cannot answer now; please try again",
            Error::Full(_) => "there is not enough free space",
            Error::Corrupt { .. } => "stored metadata is damaged",
        };
        Self::new(error.kind(), message).because(error)
    }
}

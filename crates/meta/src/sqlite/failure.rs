//! What can go wrong below the seam, and what it is called above it.

use rusqlite::ErrorCode;

use crate::Error;

/// A failure while SQLite works: its own, or what a record turned out to be.
#[derive(Debug)]
pub(super) enum Failure {
    /// SQLite could not do it.
    Sqlite(rusqlite::Error),
    /// It could, and the answer is an error of the seam.
    Answer(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Answer(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Sqlite(error) => translate(&error),
            Failure::Answer(error) => error,
        }
    }
}

/// The error of the seam for one of SQLite's.
pub(super) fn translate(error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::ReadOnly | ErrorCode::TooBig) => Error::Full(error.to_string()),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => corrupt_file(error.to_string()),
        Some(_) => Error::Unavailable(error.to_string()),
        // Not SQLite's own: a value is not of the type that the schema gives it.
        None => corrupt_file(error.to_string()),
    }
}

/// Whether `error` came from the disk, so that doing it again in smaller steps would only ask for more of it.
pub(super) fn is_io(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
}

fn corrupt_file(why: String) -> Error {
    Error::Corrupt { what: "the database file".to_owned(), why }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;
    use umbra_core::ErrorKind;

    use super::{is_io, translate};

    #[test]
    fn every_code_tells_the_caller_what_to_do() {
        let cases = [
            (ffi::SQLITE_FULL, ErrorKind::DiskFull),
            (ffi::SQLITE_READONLY, ErrorKind::DiskFull),
            (ffi::SQLITE_TOOBIG, ErrorKind::DiskFull),
            (ffi::SQLITE_CORRUPT, ErrorKind::Corrupt),
            (ffi::SQLITE_NOTADB, ErrorKind::Corrupt),
            (ffi::SQLITE_IOERR_FSYNC, ErrorKind::Unavailable),
            (ffi::SQLITE_BUSY, ErrorKind::Unavailable),
            (ffi::SQLITE_CANTOPEN, ErrorKind::Unavailable),
        ];
        for (code, kind) in cases {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            assert_eq!(translate(&error).kind(), kind, "{error}");
            assert_eq!(is_io(&error), code == ffi::SQLITE_IOERR_FSYNC, "{error}");
        }
        assert_eq!(translate(&rusqlite::Error::InvalidQuery).kind(), ErrorKind::Corrupt);
    }
}

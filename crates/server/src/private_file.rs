//! Files that hold secrets: readable by their owner alone, written whole or not at all.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Why a file or directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It cannot be read.
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] io::Error),
    /// It cannot be written.
    #[error("cannot write {0}")]
    Write(PathBuf, #[source] io::Error),
    /// Others than its owner can read it.
    #[error("{0} is open to others (mode {1:o}): run `chmod 600 {0}`")]
    Open(PathBuf, u32),
}

/// Makes a directory that its owner alone may enter, if there is none; an existing one is left as it is.
pub(crate) fn create_dir(path: &Path) -> Result<(), FileError> {
    let wrong = |error| FileError::Write(path.to_owned(), error);
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(wrong)
}

/// The content of a private file; nothing when there is none. A file that others can read is refused.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let wrong = |error| FileError::Read(path.to_owned(), error);
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error)),
    };
    let mode = file.metadata().map_err(wrong)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::Open(path.to_owned(), mode));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(wrong)?;
    Ok(Some(bytes))
}

/// Makes a private file that did not exist. It is durable, and there whole or not at all.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let wrong = |error| FileError::Write(path.to_owned(), error);
    let draft = path.with_extension("new");
    let mut file = begin(&draft).map_err(wrong)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(wrong)?;
    fs::rename(&draft, path).map_err(wrong)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(wrong)
}

/// Begins a private file anew, whatever an earlier attempt has left under its name.
pub(crate) fn begin(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::{FileError, create, create_dir, read};

    #[test]
    fn a_private_file_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        create_dir(&inner).unwrap();
        assert_eq!(fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
        let path = inner.join("secret.key");
        assert!(read(&path).unwrap().is_none());
        create(&path, b"hush").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path).unwrap().unwrap(), b"hush");
        for mode in [0o640, 0o604, 0o610] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read(&path), Err(FileError::Open(_, found)) if found == mode));
        }
    }

    #[test]
    fn what_a_crash_left_behind_is_no_hindrance() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret.new"), b"half").unwrap();
        create(&dir.path().join("secret.key"), b"whole").unwrap();
        assert_eq!(read(&dir.path().join("secret.key")).unwrap().unwrap(), b"whole");
        assert!(!dir.path().join("secret.new").exists());
    }
}

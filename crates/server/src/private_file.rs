//! Files that hold secrets: readable by their owner alone, written whole or not at all.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
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
///
/// One that root lends, as systemd and Kubernetes do with credentials, may be readable by its group: that is how it is lent.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let wrong = |error| FileError::Read(path.to_owned(), error);
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error)),
    };
    let metadata = file.metadata().map_err(wrong)?;
    let mode = metadata.mode() & 0o777;
    if is_open(mode, metadata.uid(), rustix::process::geteuid().as_raw()) {
        return Err(FileError::Open(path.to_owned(), mode));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(wrong)?;
    Ok(Some(bytes))
}

/// Whether a file of `owner` is open to others than `user`, who reads it.
const fn is_open(mode: u32, owner: u32, user: u32) -> bool {
    let is_lent = owner == 0 && user != 0;
    mode & if is_lent { 0o037 } else { 0o077 } != 0
}

/// Makes a private file that did not exist. It is durable, and there whole or not at all.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let wrong = |error| FileError::Write(path.to_owned(), error);
    let draft = path.with_extension("new");
    let mut file = begin(&draft).map_err(wrong)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(wrong)?;
    fs::rename(&draft, path).and_then(|()| sync_parent(path)).map_err(wrong)
}

/// The same beside others that may do so at this moment: the first one's stays. It belongs to the owner of its directory, where that can be
/// arranged: others than the server may make it.
pub(crate) fn create_once(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let wrong = |error| FileError::Write(path.to_owned(), error);
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = begin(&draft).map_err(wrong)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| give_to_owner(&file, parent(path))).map_err(wrong)?;
    let linked = match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    };
    fs::remove_file(&draft).and(linked).and_then(|()| sync_parent(path)).map_err(wrong)
}

fn give_to_owner(file: &File, directory: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::metadata(directory)?;
    std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()))
}

/// Removes a file, if it is there, for good.
pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| sync_parent(path)).map_err(|error| FileError::Write(path.to_owned(), error)),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(parent(path))?.sync_all()
}

/// The directory that a file is in.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
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

    use super::{FileError, create, create_dir, is_open, read};

    #[test]
    fn of_several_who_make_a_file_the_first_ones_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node");
        super::create_once(&path, b"one").unwrap();
        super::create_once(&path, b"two").unwrap();
        assert_eq!((fs::read(&path).unwrap(), fs::metadata(&path).unwrap().permissions().mode() & 0o777), (b"one".to_vec(), 0o600));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
    }

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
    fn what_root_lends_may_be_read_by_its_group() {
        for (mode, owner, user, open) in [
            (0o400, 0, 9, false),
            (0o440, 0, 9, false),
            (0o640, 0, 9, false),
            (0o660, 0, 9, true),
            (0o444, 0, 9, true),
            (0o440, 0, 0, true),
        ] {
            assert_eq!(is_open(mode, owner, user), open, "{mode:o} of {owner} for {user}");
        }
        assert!(is_open(0o440, 9, 9) && is_open(0o440, 8, 9) && !is_open(0o600, 9, 9));
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

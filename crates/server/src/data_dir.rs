//! The data directory: whose it is, and what form it has.
//!
//! ```text
//! DIR/format          which form the directory has
//! DIR/lock            held by the server that runs; its process id
//! DIR/node            the name under which this server holds a database
//! DIR/metadata        says `database` once a server of the directory has had its metadata in one
//! DIR/root-key.json   the root access key (owner-readable only)
//! DIR/secret.key      the key-encryption key (owner-readable only)
//! DIR/meta/umbra.db   metadata
//! DIR/blobs/          contents
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use umbra_core::Random;

use crate::private_file::{self, FileError};

/// The form of directory this release makes.
const FORMAT: u32 = 1;
/// What the disk of a directory is called as a place of contents, before its name.
const DISK_OF: &str = "the data directory of node ";
/// What the file says that is there when the metadata are in a database.
const DATABASE_MARK: &[u8] = b"database\n";

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    /// It, or something in it, cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something else has its name.
    #[error("the data directory {0} is a file, not a directory")]
    NoDirectory(PathBuf),
    /// Another server has it.
    #[error("another umbra server (process {pid}) already uses the data directory {dir}")]
    Taken {
        /// The directory.
        dir: PathBuf,
        /// The other server's process, as far as it is known.
        pid: String,
    },
    /// Its contents are elsewhere.
    #[error(
        "the data directory {dir} keeps its contents at {found}, and none of them are at {place}: give the setting blobs as it was, or start with an empty data directory"
    )]
    Elsewhere {
        /// The directory.
        dir: PathBuf,
        /// Where they are.
        found: String,
        /// Where they were to be.
        place: String,
    },
    /// Its metadata are elsewhere.
    #[error(
        "the metadata of the data directory {0} are in a database: give the setting metadata as it was, or bring them back by `umbra metadata export` and `umbra metadata import`"
    )]
    InDatabase(PathBuf),
    /// The database has another store than before.
    #[error(
        "{dir} was among the nodes of the store {found}, and the database has {given}: mend the setting metadata, or start with an empty data directory"
    )]
    OtherStore {
        /// The directory.
        dir: PathBuf,
        /// The store it belongs to.
        found: String,
        /// The one that is there.
        given: String,
    },
    /// What remembers that the metadata are in a database has no place.
    #[error(
        "{0} is not umbra's, which keeps a note under that name that the metadata are in a database: move it out of the data directory"
    )]
    NoMark(PathBuf),
    /// A later release made it.
    #[error("the data directory {dir} was made by a newer release of umbra (format {found}; this one reads up to {FORMAT})")]
    Newer {
        /// The directory.
        dir: PathBuf,
        /// Its format.
        found: String,
    },
}

/// The data directory, held until this is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// The lock goes with the file.
    _lock: File,
}

impl DataDir {
    /// What a copy of the directory needs besides metadata and contents.
    pub(crate) const SMALL_FILES: [&str; 3] = ["format", "contents", "node"];
    /// The keys, as far as they are kept here.
    pub(crate) const KEY_FILES: [&str; 2] = ["secret.key", "root-key.json"];

    /// Takes the directory for this process; makes it if there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        if path.exists() && !path.is_dir() {
            return Err(DataDirError::NoDirectory(path.to_owned()));
        }
        private_file::create_dir(path)?;
        let lock = lock(path)?;
        check_format(path)?;
        for inner in ["meta", "blobs"] {
            private_file::create_dir(&path.join(inner))?;
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The name of this directory among those that use one database; made when it is first asked for.
    pub(crate) fn node(&self, random: &dyn Random) -> Result<String, FileError> {
        Self::node_in(&self.path, random)
    }

    /// The name of the directory `path`, which another process may hold.
    fn node_in(path: &Path, random: &dyn Random) -> Result<String, FileError> {
        if let Some(node) = Self::known_node_in(path)? {
            return Ok(node);
        }
        let file = path.join("node");
        private_file::create_once(&file, format!("{}\n", hex::encode(random.array::<8>())).as_bytes())?;
        // It may be another's by now.
        Self::known_node_in(path)?.ok_or_else(|| FileError::Read(file, io::ErrorKind::NotFound.into()))
    }

    fn known_node_in(path: &Path) -> Result<Option<String>, FileError> {
        Ok(private_file::read(&path.join("node"))?.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    /// What the disk of the directory `path` is called as a place of contents, beside those of other directories.
    pub(crate) fn disk_in(path: &Path, random: &dyn Random) -> Result<String, FileError> {
        Self::node_in(path, random).map(|node| disk_of(&node))
    }

    /// Whether a place of contents is the disk of some directory.
    pub(crate) fn is_disk(place: &str) -> bool {
        place.starts_with(DISK_OF)
    }

    /// The same, if it has a name already.
    pub(crate) fn known_disk_in(path: &Path) -> Result<Option<String>, FileError> {
        Ok(Self::known_node_in(path)?.map(|node| disk_of(&node)))
    }

    /// Whether the metadata of the directory `path` are in a database, as far as can be told: a node has a name before it first reaches one.
    pub(crate) fn has_database_in(path: &Path) -> Result<bool, FileError> {
        Ok(is_marked(&Self::database_mark_in(path))? || (path.join("node").exists() && !Self::metadata_in(path).exists()))
    }

    /// Holds that the metadata of the directory `path` are in it, if they are anywhere. What may be left in it of a time before would be old.
    pub(crate) fn check_embedded_in(path: &Path) -> Result<(), DataDirError> {
        if is_marked(&Self::database_mark_in(path))? { Err(DataDirError::InDatabase(path.to_owned())) } else { Ok(()) }
    }

    /// Holds that the database has the store that it had before, if this directory has used one. An empty one has a name, too.
    pub(crate) fn check_store(&self, store: &str) -> Result<(), DataDirError> {
        match private_file::read(&self.store_file())?.map(|found| String::from_utf8_lossy(&found).trim().to_owned()) {
            Some(found) if found != store => Err(DataDirError::OtherStore { dir: self.path.clone(), found, given: store.to_owned() }),
            _ => Ok(()),
        }
    }

    /// Remembers that the metadata are in a database, which has this store.
    pub(crate) fn claim_database(&self, store: &str) -> Result<(), DataDirError> {
        if !self.store_file().exists() {
            private_file::create(&self.store_file(), format!("{store}\n").as_bytes())?;
        }
        let path = Self::database_mark_in(&self.path);
        if is_marked(&path)? {
            return Ok(());
        }
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(private_file::create(&path, DATABASE_MARK)?),
            _ => Err(DataDirError::NoMark(path)),
        }
    }

    /// Remembers that the metadata are in the directory.
    pub(crate) fn claim_embedded(&self) -> Result<(), FileError> {
        private_file::remove(&self.store_file())?;
        let path = Self::database_mark_in(&self.path);
        if is_marked(&path)? { private_file::remove(&path) } else { Ok(()) }
    }

    fn store_file(&self) -> PathBuf {
        self.path.join("store")
    }

    fn database_mark_in(path: &Path) -> PathBuf {
        path.join("metadata")
    }

    /// The file of the metadata.
    pub(crate) fn metadata(&self) -> PathBuf {
        Self::metadata_in(&self.path)
    }

    /// The file of the metadata in the directory `path`, which another process may hold.
    pub(crate) fn metadata_in(path: &Path) -> PathBuf {
        path.join("meta").join("umbra.db")
    }

    /// The directory of the contents.
    pub(crate) fn blobs(&self) -> PathBuf {
        Self::blobs_in(&self.path)
    }

    /// The directory of the contents in the directory `path`, which another process may hold.
    pub(crate) fn blobs_in(path: &Path) -> PathBuf {
        path.join("blobs")
    }

    /// The directory of the cache of contents that are elsewhere.
    pub(crate) fn blob_cache(&self) -> PathBuf {
        self.path.join("blob-cache")
    }

    /// Holds that the contents of this directory's metadata are at `place`, if they are anywhere. Elsewhere none of them would be found.
    pub(crate) fn check_contents(&self, place: &str) -> Result<(), DataDirError> {
        Self::check_contents_in(&self.path, place)
    }

    /// The same of the directory `dir`, which another process may hold.
    pub(crate) fn check_contents_in(dir: &Path, place: &str) -> Result<(), DataDirError> {
        match Self::contents_in(dir)? {
            Some(found) if found != place => Err(DataDirError::Elsewhere { dir: dir.to_owned(), found, place: place.to_owned() }),
            _ => Ok(()),
        }
    }

    /// Where the contents of the directory `dir` are, if they are anywhere.
    pub(crate) fn contents_in(dir: &Path) -> Result<Option<String>, DataDirError> {
        let path = dir.join("contents");
        match fs::read_to_string(&path) {
            Ok(found) => Ok(Some(found.trim().to_owned())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::Read(path, error).into()),
            Err(_) => Ok(None),
        }
    }

    /// Remembers that the contents are at `place`.
    pub(crate) fn claim_contents(&self, place: &str) -> Result<(), DataDirError> {
        let path = self.path.join("contents");
        if path.exists() { Ok(()) } else { Ok(private_file::create(&path, format!("{place}\n").as_bytes())?) }
    }

    /// The file of the key-encryption key.
    pub(crate) fn secret_key(&self) -> PathBuf {
        self.path.join("secret.key")
    }

    /// Takes away the key-encryption key of a store that was never begun with it.
    pub(crate) fn forget_secret_key(&self) {
        if let Err(error) = fs::remove_file(self.secret_key()) {
            tracing::warn!(file = %self.secret_key().display(), %error, "a key that nothing is encrypted with cannot be removed");
        }
    }
}

fn disk_of(node: &str) -> String {
    format!("{DISK_OF}{node}")
}

/// Whether `path` is the mark of metadata in a database. Something else may have its name, such as a dump of them.
fn is_marked(path: &Path) -> Result<bool, FileError> {
    let is_alike = |found: &fs::Metadata| found.is_file() && found.len() == DATABASE_MARK.len() as u64;
    let marked = match fs::symlink_metadata(path) {
        Ok(found) if is_alike(&found) => fs::read(path).map(|content| content == DATABASE_MARK),
        found => found.map(|_| false),
    };
    match marked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        marked => marked.map_err(|error| FileError::Read(path.to_owned(), error)),
    }
}

fn lock(dir: &Path) -> Result<File, DataDirError> {
    let path = dir.join("lock");
    let wrong = |error| FileError::Write(path.clone(), error);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(wrong)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            // The message is good without it.
            let known = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
            let pid = if known { pid.trim().to_owned() } else { "unknown".to_owned() };
            return Err(DataDirError::Taken { dir: dir.to_owned(), pid });
        }
        Err(error) => return Err(wrong(error.into()).into()),
    }
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(wrong)?;
    Ok(file)
}

fn check_format(dir: &Path) -> Result<(), DataDirError> {
    let path = dir.join("format");
    match fs::read_to_string(&path) {
        Ok(found) if found.trim().parse().is_ok_and(|found: u32| (1..=FORMAT).contains(&found)) => Ok(()),
        Ok(found) => Err(DataDirError::Newer { dir: dir.to_owned(), found: found.trim().chars().take(20).collect() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(private_file::create(&path, format!("{FORMAT}\n").as_bytes())?),
        Err(error) => Err(FileError::Read(path, error).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{DataDir, DataDirError};

    #[test]
    fn a_directory_belongs_to_one_server_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let first = DataDir::open(&path).unwrap();
        let error = DataDir::open(&path).unwrap_err();
        assert!(matches!(&error, DataDirError::Taken { pid, .. } if *pid == std::process::id().to_string()), "{error}");
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn a_directory_keeps_its_name() {
        let parent = tempfile::tempdir().unwrap();
        let name = |of: &str| DataDir::open(&parent.path().join(of)).unwrap().node(&umbra_core::SystemRandom).unwrap();
        assert_eq!((name("a"), name("a").len()), (name("a"), 16));
        assert_ne!(name("a"), name("b"));
    }

    #[test]
    fn a_directory_of_a_later_release_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        for later in ["2", "99", "new"] {
            fs::write(dir.path().join("format"), later).unwrap();
            assert!(matches!(DataDir::open(dir.path()), Err(DataDirError::Newer { .. })), "{later}");
        }
        fs::write(dir.path().join("format"), "1\n").unwrap();
        DataDir::open(dir.path()).unwrap();
    }

    #[test]
    fn contents_stay_where_they_are() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&parent.path().join("new")).unwrap();
        dir.check_contents("s3://mistyped/p").unwrap();
        dir.claim_contents("s3://b/p").unwrap();
        dir.claim_contents("s3://b/p").unwrap();
        dir.check_contents("s3://b/p").unwrap();
        let error = dir.check_contents("disk").unwrap_err();
        assert!(error.to_string().contains("keeps its contents at s3://b/p"), "{error}");
    }

    #[test]
    fn a_directory_remembers_that_its_metadata_are_in_a_database() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(parent.path()).unwrap();
        dir.node(&umbra_core::SystemRandom).unwrap();
        // A database that was never reached binds nothing.
        DataDir::check_embedded_in(dir.path()).unwrap();
        dir.claim_database("s1").unwrap();
        dir.claim_database("s1").unwrap();
        let error = DataDir::check_embedded_in(dir.path()).unwrap_err();
        assert!(error.to_string().contains("give the setting metadata as it was"), "{error}");
        dir.claim_embedded().unwrap();
        dir.claim_embedded().unwrap();
        DataDir::check_embedded_in(dir.path()).unwrap();
    }

    #[test]
    fn a_directory_stays_with_its_store() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(parent.path()).unwrap();
        dir.check_store("any").unwrap();
        dir.claim_database("s1").unwrap();
        dir.claim_database("s1").unwrap();
        dir.check_store("s1").unwrap();
        let error = dir.check_store("s2").unwrap_err().to_string();
        assert!(error.contains("the nodes of the store s1, and the database has s2: mend the setting metadata"), "{error}");
        dir.claim_embedded().unwrap();
        dir.check_store("s2").unwrap();
    }

    #[test]
    fn what_else_has_the_name_of_the_mark_says_nothing_and_stays() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(parent.path()).unwrap();
        let path = dir.path().join("metadata");
        for dump in [&b"a dump of the metadata"[..], b"database!", b""] {
            fs::write(&path, dump).unwrap();
            DataDir::check_embedded_in(dir.path()).unwrap();
            assert!(!DataDir::has_database_in(dir.path()).unwrap());
            dir.claim_embedded().unwrap();
            let error = dir.claim_database("s1").unwrap_err().to_string();
            assert!(error.contains("/metadata is not umbra's") && error.ends_with("move it out of the data directory"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), dump);
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        DataDir::check_embedded_in(dir.path()).unwrap();
        dir.claim_embedded().unwrap();
        assert!(matches!(dir.claim_database("s1"), Err(DataDirError::NoMark(_))));
        fs::remove_dir(&path).unwrap();
        dir.claim_database("s1").unwrap();
        assert!(DataDir::check_embedded_in(dir.path()).is_err());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = DataDir::open(&file).unwrap_err().to_string();
        assert!(error.starts_with("the data directory ") && error.ends_with("/file is a file, not a directory"), "{error}");
        let error = DataDir::open(&file.join("data")).unwrap_err().to_string();
        assert!(error.starts_with("cannot write ") && error.ends_with("file/data"), "{error}");
    }
}

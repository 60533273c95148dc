//! The directories and file names of a store.
//!
//! ```text
//! lock               held by the process that has the store open
//! hold               keeps deletes back while somebody copies these files
//! seg/0000002a       segments, numbered in hexadecimal from 1 on
//! big/5f/5f3c…       blobs with a file of their own, by the first byte of their name
//! tmp/5f3c…          such files while they are written; emptied when the store is opened
//! ```

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{file, record::Nonce};

/// How often, ten milliseconds apart, the lock of a process that is just ending is asked for.
const LOCK_ATTEMPTS: u32 = 500;

/// The directories of a store.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The directories below `root`, which are as they are.
    pub(super) const fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Creates what is missing below `root`, durably, and takes the lock, which lasts as long as the file that is given back.
    pub(super) fn open(root: PathBuf) -> io::Result<(Self, File)> {
        let layout = Self { root };
        fs::create_dir_all(&layout.root)?;
        let lock = lock(&layout.root.join("lock"), LOCK_ATTEMPTS)?;
        for dir in [layout.segments(), layout.large(), layout.partial()] {
            fs::create_dir_all(dir)?;
        }
        for first in 0..=u8::MAX {
            fs::create_dir_all(layout.large().join(hex::encode([first])))?;
        }
        file::sync_dir(&layout.large())?;
        file::sync_dir(&layout.root)?;
        if let Some(parent) = layout.root.canonicalize()?.parent() {
            file::sync_dir(parent)?;
        }
        layout.discard_partial()?;
        Ok((layout, lock))
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// What keeps deletes back.
    pub(super) fn hold_file(&self) -> PathBuf {
        self.root.join("hold")
    }

    pub(super) fn segments(&self) -> PathBuf {
        self.root.join("seg")
    }

    pub(super) fn large(&self) -> PathBuf {
        self.root.join("big")
    }

    fn partial(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// The directory of the finished file that `nonce` names.
    pub(super) fn large_dir(&self, nonce: &Nonce) -> PathBuf {
        self.large().join(hex::encode(&nonce[..1]))
    }

    /// The finished file that `nonce` names.
    pub(super) fn large_file(&self, nonce: &Nonce) -> PathBuf {
        self.large_dir(nonce).join(hex::encode(nonce))
    }

    /// The file that `nonce` names while it is written.
    pub(super) fn partial_file(&self, nonce: &Nonce) -> PathBuf {
        self.partial().join(hex::encode(nonce))
    }

    /// The numbers of the segments there are.
    pub(super) fn segment_numbers(&self) -> io::Result<Vec<u32>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(self.segments())? {
            numbers.extend(entry?.file_name().to_str().and_then(parse_segment_name));
        }
        Ok(numbers)
    }

    /// How many bytes of disk all blobs take.
    pub(super) fn stored_bytes(&self) -> io::Result<u64> {
        let mut bytes = allocated(&self.segments())?;
        for dir in fs::read_dir(self.large())? {
            bytes += allocated(&dir?.path())?;
        }
        Ok(bytes)
    }

    fn discard_partial(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.partial())? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }
}

/// The name of a segment's file.
pub(super) fn segment_name(number: u32) -> String {
    format!("{number:08x}")
}

fn parse_segment_name(name: &str) -> Option<u32> {
    u32::from_str_radix(name, 16).ok().filter(|&number| segment_name(number) == name)
}

fn lock(path: &Path, attempts: u32) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    for _ in 0..attempts {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process has the store open"))
}

fn allocated(dir: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        match entry?.metadata() {
            // `stat` counts in units of 512 bytes, whatever the file system's blocks are.
            Ok(metadata) => bytes += metadata.blocks() * 512,
            // Deleted since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{lock, parse_segment_name, segment_name};

    #[test]
    fn only_one_has_the_store_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = lock(&path, 1).unwrap();
        assert_eq!(lock(&path, 2).unwrap_err().kind(), std::io::ErrorKind::ResourceBusy);
        drop(first);
        assert!(lock(&path, 1).is_ok());
    }

    #[test]
    fn only_names_of_segments_are_taken_for_segments() {
        for number in [1, 0x2a, u32::MAX] {
            assert_eq!(parse_segment_name(&segment_name(number)), Some(number));
        }
        for foreign in ["", "1", "+000002a", "0000002A", "0000002a.bak", "000000002a"] {
            assert_eq!(parse_segment_name(foreign), None, "{foreign}");
        }
    }
}

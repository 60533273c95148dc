//! A copy of a store's files while it is in use.
//!
//! Blobs never change and have no index, so that copying the files is enough, in any order, as long as nothing is deleted meanwhile
//! (`hold.rs`). What is being written while the copy is made may be in it, in part or whole: nobody refers to it who did not before.

use std::{
    fs::{self, File, FileTimes},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use super::{file, hold, hole, layout::Layout};
use crate::{Error, Result};

/// Leave to copy the store in a directory, which another process may have open. Nothing is deleted there until it is dropped.
#[derive(Debug)]
pub struct DiskBackup {
    layout: Layout,
    _hold: File,
}

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopiedFiles {
    /// How many files.
    pub files: u64,
    /// How much of them takes space.
    pub bytes: u64,
}

impl DiskBackup {
    /// Holds the deletes of the store in `dir`, once those under way are done. Blocks.
    ///
    /// Every blob whose write has returned, and which is not deleted by then, is in the copy: whoever knows of blobs looks after this.
    pub fn begin(dir: impl Into<PathBuf>) -> Result<Self> {
        let layout = Layout::new(dir.into());
        let hold = hold::take(&layout.hold_file()).map_err(Error::from_io("hold the deletes of blobs"))?;
        Ok(Self { layout, _hold: hold })
    }

    /// Copies all blobs to the new directory `to`, durably, with their holes. Blocks.
    pub fn copy(&self, to: impl Into<PathBuf>) -> Result<CopiedFiles> {
        copy_all(&self.layout, &Layout::new(to.into())).map_err(Error::from_io("copy the blobs"))
    }
}

fn copy_all(from: &Layout, to: &Layout) -> io::Result<CopiedFiles> {
    let mut copied = CopiedFiles::default();
    fs::create_dir(to.root())?;
    copy_directory(&from.segments(), &to.segments(), &mut copied)?;
    fs::create_dir(to.large())?;
    for directory in fs::read_dir(from.large())? {
        let directory = directory?;
        copy_directory(&directory.path(), &to.large().join(directory.file_name()), &mut copied)?;
    }
    file::sync_dir(&to.large())?;
    file::sync_dir(to.root())?;
    Ok(copied)
}

fn copy_directory(from: &Path, to: &Path, copied: &mut CopiedFiles) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        match File::open(entry.path()) {
            Ok(source) => {
                copied.bytes += copy_file(source, &to.join(entry.file_name()))?;
                copied.files += 1;
            }
            // What is gone was an unfinished write, or a segment in which nothing lived.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    file::sync_dir(to)
}

/// Copies what a file holds now, without its holes. Tells how much that was.
fn copy_file(mut source: File, to: &Path) -> io::Result<u64> {
    let metadata = source.metadata()?;
    let mut target = File::options().write(true).create_new(true).open(to)?;
    target.set_len(metadata.len())?;
    let (mut at, mut copied) = (0, 0);
    while let Some(data) = hole::next_data(&source, at)?.filter(|data| data.start < metadata.len()) {
        let end = data.end.min(metadata.len());
        source.seek(SeekFrom::Start(data.start))?;
        target.seek(SeekFrom::Start(data.start))?;
        copied += io::copy(&mut (&source).take(end - data.start), &mut target)?;
        at = end;
    }
    target.set_times(FileTimes::new().set_modified(metadata.modified()?))?;
    target.sync_all()?;
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::MetadataExt};

    use super::{copy_file, file, hole};

    #[test]
    fn holes_stay_holes() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        let source = File::options().read(true).write(true).create_new(true).open(&from).unwrap();
        let mut expected = vec![0; 5 << 20];
        expected[..100].fill(1);
        expected[3 << 20..(3 << 20) + 9000].fill(2);
        file::write_all_at(&source, [&expected[..]], 0).unwrap();
        hole::punch(&source, &(4096..3 << 20)).unwrap();
        hole::punch(&source, &((3 << 20) + 12288..5 << 20)).unwrap();
        let to = dir.path().join("to");
        let copied = copy_file(source, &to).unwrap();
        assert!(std::fs::read(&to).unwrap() == expected);
        assert!(copied < 100_000 && to.metadata().unwrap().blocks() * 512 < 200_000, "{copied} bytes");
    }

    #[test]
    fn empty_files_are_copied() {
        let dir = tempfile::tempdir().unwrap();
        let source = File::create_new(dir.path().join("from")).unwrap();
        assert_eq!(copy_file(source, &dir.path().join("to")).unwrap(), 0);
        assert_eq!(std::fs::read(dir.path().join("to")).unwrap(), b"");
    }
}

//! Giving parts of a file back to the file system.

use std::{fs::File, io, ops::Range};

use rustix::{
    fs::{FallocateFlags, SeekFrom},
    io::Errno,
};

/// Frees `range` of a file, which then reads as zeros; [`io::ErrorKind::Unsupported`] where the file system cannot.
pub(super) fn punch(file: &File, range: &Range<u64>) -> io::Result<()> {
    loop {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(file, flags, range.start, range.end - range.start) {
            Err(Errno::INTR) => {}
            outcome => return Ok(outcome?),
        }
    }
}

/// The first bytes from `at` on that take space, up to where the next hole begins; `None` if there are none.
pub(super) fn next_data(file: &File, at: u64) -> io::Result<Option<Range<u64>>> {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => Ok(Some(start..rustix::fs::seek(file, SeekFrom::Hole(start))?)),
        Err(Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Where the first bytes lie that take space; `None` if nothing does.
///
/// A file system that does not know holes answers with the beginning of the file.
pub(super) fn first_data(file: &File) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, SeekFrom::Data(0)) {
        Ok(offset) => Ok(Some(offset)),
        Err(Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

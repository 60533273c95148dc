//! Positional input and output, whole or not at all.

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut},
    path::Path,
    sync::Arc,
};

use rustix::{
    buffer::spare_capacity,
    io::{Errno, ReadWriteFlags},
};
use tokio::runtime::Handle;

/// The most pieces one call of the operating system takes (`IOV_MAX` of Linux).
const PIECES_MAX: usize = 1024;

/// How a file is made durable. Production has one way; tests make it fail.
pub(super) type SyncFile = Arc<dyn Fn(&File) -> io::Result<()> + Send + Sync>;

/// Writes `pieces` one after another from `offset` on.
pub(super) fn write_all_at<'a>(file: &File, pieces: impl IntoIterator<Item = &'a [u8]>, mut offset: u64) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = pieces.into_iter().filter(|piece| !piece.is_empty()).map(IoSlice::new).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match rustix::io::pwritev(file, &rest[..rest.len().min(PIECES_MAX)], offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Reads `len` bytes from `offset` on, or fewer where the file ends.
pub(super) fn read_at(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let at = offset + bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}

/// Reads `len` bytes from `offset` on if that takes no waiting for the device; `None` if it may.
pub(super) fn read_cached(file: &File, offset: u64, len: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    match rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut bytes)], offset, ReadWriteFlags::NOWAIT) {
        Ok(read) if read == len => Some(bytes),
        // Not all of it is in memory, or the kernel or the file system cannot tell.
        Ok(_) | Err(_) => None,
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Takes "no such file" for success: what should be gone is gone.
pub(super) fn or_gone(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Does blocking work that nobody waits for: on a blocking thread where there is a runtime, at once where there is none.
pub(super) fn in_background(work: impl FnOnce() + Send + 'static) {
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(work)),
        Err(_) => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::{read_at, write_all_at};

    #[test]
    fn many_pieces_are_written_as_one() {
        let file = tempfile::tempfile().unwrap();
        let pieces: Vec<Vec<u8>> = (0..3000_usize).map(|n| vec![n as u8; n % 5]).collect();
        write_all_at(&file, pieces.iter().map(Vec::as_slice), 10).unwrap();
        let all = pieces.concat();
        assert_eq!(read_at(&file, 10, all.len() + 99).unwrap(), all);
        assert_eq!(read_at(&file, 0, 10).unwrap(), [0; 10]);
        assert_eq!(read_at(&file, 12, 3).unwrap(), all[2..5]);
        assert!(read_at(&file, 1 << 40, 3).unwrap().is_empty());
    }
}

//! What keeps deletes back while somebody copies the store's files.
//!
//! The file `hold` in the store's directory is locked: by whoever copies alone, by whoever deletes together with others who delete. Nobody
//! waits for a copy, which may take hours: what is to be deleted meanwhile is remembered and deleted after it. So much of it can be
//! remembered; what is more is refused, and whoever wants it deleted tries again. A lock ends with its process.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
};

use parking_lot::Mutex;

use super::address::Address;

/// Deletes that are remembered. They are forgotten, and their space with them, if the process ends before the copy does.
const WAITING_MAX: usize = 1024;

/// The lock, on the side of those who delete.
pub(super) struct Hold {
    file: File,
    /// Turns that are taken: one lock serves them all.
    turns: Mutex<usize>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    blobs: Vec<Address>,
    /// Whether somebody will ask for them.
    is_watched: bool,
}

/// Leave to delete. While it lives no copy begins.
pub(super) struct Turn<'a>(&'a Hold);

impl Hold {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: open(path)?, turns: Mutex::default(), waiting: Mutex::default() })
    }

    /// Leave to delete; none while somebody copies.
    pub(super) fn turn(&self) -> io::Result<Option<Turn<'_>>> {
        let mut turns = self.turns.lock();
        if *turns == 0 {
            match self.file.try_lock_shared() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        *turns += 1;
        Ok(Some(Turn(self)))
    }

    /// Remembers a blob to delete. Tells whether nobody has yet promised to come back for what waits: the caller has to.
    pub(super) fn remember(&self, blob: Address) -> io::Result<bool> {
        let mut waiting = self.waiting.lock();
        if waiting.blobs.len() >= WAITING_MAX {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "a backup copies the blobs"));
        }
        waiting.blobs.push(blob);
        Ok(!std::mem::replace(&mut waiting.is_watched, true))
    }

    /// Takes what waits, to be deleted. Nothing is left when it is empty, and the promise to come back is kept.
    pub(super) fn take(&self) -> Vec<Address> {
        let mut waiting = self.waiting.lock();
        waiting.is_watched = !waiting.blobs.is_empty();
        std::mem::take(&mut waiting.blobs)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let forgotten = self.waiting.get_mut().blobs.len();
        if forgotten > 0 {
            tracing::warn!(forgotten, "blobs that were deleted during a backup stay behind, and take space");
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = self.0.turns.lock();
        *turns -= 1;
        if *turns == 0
            && let Err(error) = self.0.file.unlock()
        {
            tracing::warn!(%error, "backups have to wait until the server has ended");
        }
    }
}

/// Holds deletes in the store until the file that is given back is closed; waits for those under way.
pub(super) fn take(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    file.lock()?;
    Ok(file)
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(path)
}

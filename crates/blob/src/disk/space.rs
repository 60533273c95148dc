//! The reserve of free space that writes never touch.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{Error, Result};

/// How long the file system's answer is believed; what was written since is counted against it.
const BELIEVED: Duration = Duration::from_secs(1);

/// Watches the free space of the file system.
#[derive(Debug)]
pub(super) struct Space {
    dir: PathBuf,
    reserve: u64,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    free: u64,
}

impl Space {
    /// Watches the file system of `dir`, keeping `reserve` bytes or the default of [`super::DiskSettings::reserve_bytes`].
    pub(super) fn new(dir: &Path, reserve: Option<u64>) -> io::Result<Self> {
        let file_system = rustix::fs::statvfs(dir)?;
        let total = file_system.f_blocks.saturating_mul(file_system.f_frsize);
        let reserve = reserve.unwrap_or_else(|| (total / 20).clamp(256 << 20, 10 << 30));
        Ok(Self { dir: dir.to_owned(), reserve, seen: Mutex::new(look(dir)?) })
    }

    /// Lets a write of `bytes` pass, or refuses it. Blocks shortly.
    pub(super) fn admit(&self, bytes: u64) -> Result<()> {
        let mut seen = self.seen.lock();
        let fits = |seen: &Seen| seen.free.checked_sub(bytes).is_some_and(|left| left >= self.reserve);
        // A refusal is never old news: something may have been deleted.
        if seen.at.elapsed() >= BELIEVED || !fits(&seen) {
            *seen = look(&self.dir).map_err(Error::from_io("measure free space"))?;
        }
        if !fits(&seen) {
            return Err(Error::Full(format!("{} bytes are free, {} are kept in reserve", seen.free, self.reserve)));
        }
        seen.free -= bytes;
        Ok(())
    }

    /// Bytes a user may still write on the file system, the reserve included.
    pub(super) fn free(&self) -> io::Result<u64> {
        Ok(look(&self.dir)?.free)
    }

    /// Bytes that are kept.
    pub(super) const fn reserve(&self) -> u64 {
        self.reserve
    }
}

fn look(dir: &Path) -> io::Result<Seen> {
    let file_system = rustix::fs::statvfs(dir)?;
    Ok(Seen { at: Instant::now(), free: file_system.f_bavail.saturating_mul(file_system.f_frsize) })
}

#[cfg(test)]
mod tests {
    use super::Space;
    use crate::Error;

    #[test]
    fn writes_are_refused_before_the_reserve_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let free = Space::new(dir.path(), Some(0)).unwrap().free().unwrap();
        let space = Space::new(dir.path(), Some(free / 2)).unwrap();
        assert!(space.admit(1).is_ok());
        assert!(matches!(space.admit(free - free / 4), Err(Error::Full(_))));
        assert!(matches!(Space::new(dir.path(), Some(u64::MAX)).unwrap().admit(0), Err(Error::Full(_))));
        assert!(matches!(Space::new(dir.path(), Some(0)).unwrap().admit(u64::MAX), Err(Error::Full(_))));
    }

    #[test]
    fn what_was_admitted_counts_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let free = Space::new(dir.path(), Some(0)).unwrap().free().unwrap();
        let space = Space::new(dir.path(), Some(free / 2)).unwrap();
        space.seen.lock().free = free / 2 + 10;
        assert!(space.admit(10).is_ok());
        assert_eq!(space.seen.lock().free, free / 2);
    }

    #[test]
    fn the_default_reserve_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Space::new(dir.path(), None).unwrap().reserve();
        assert!((256 << 20..=10 << 30).contains(&reserve), "{reserve}");
    }
}

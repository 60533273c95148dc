//! Writing past the page cache.
//!
//! Through the page cache each byte is copied into memory that the kernel has to find first, and goes to the device only once a flush
//! asks for it. What is written here goes from a buffer of our own to the device at once. It is durable no sooner for that: a flush has
//! to follow, for what the device itself caches and for where the file system notes that the bytes are.
//!
//! It is for what nobody reads soon: the first read of it has to ask the device, and pays for the page cache then.
//!
//! Places in the file, lengths and addresses have to be multiples of a [`UNIT`]. A [`Run`] gathers what it is given, writes whole units, and
//! fills up the last with zeros. Nothing else is ever written to a unit that was written so.
//!
//! Where the file system does not say that it can do this, or once it has refused, everything goes through the page cache.

use std::{
    fs::File,
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::{Condvar, Mutex};
use rustix::{
    fs::{AtFlags, OFlags, StatxFlags},
    io::Errno,
};

use super::file;

/// What is written here is a multiple of this. No device of today asks for more.
pub(super) const UNIT: usize = 4096;

/// How much one call writes, whole units: 1 MiB, and room for what belongs to a record of so much, or of twice as much, besides content.
const BUFFER_LEN: usize = (1 << 20) + (64 << 10);
/// How many write at a time. That keeps a device busy, and bounds the memory.
const BUFFERS_MAX: usize = 8;
/// How many buffers stay when nobody writes.
const BUFFERS_KEPT: usize = 4;

/// How bytes are written past the page cache. Production has one way; tests make it fail.
pub(super) type WriteDirect = Arc<dyn Fn(&File, &[u8], u64) -> io::Result<usize> + Send + Sync>;

/// Writes as the operating system does.
pub(super) fn write(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    Ok(rustix::io::pwrite(file, bytes, offset)?)
}

/// Whether writes go past the page cache, and the buffers they go from.
pub(super) struct Direct {
    is_on: AtomicBool,
    write: WriteDirect,
    buffers: Buffers,
}

/// One file, opened twice.
#[derive(Clone, Copy)]
pub(super) struct Files<'a> {
    pub(super) direct: &'a File,
    pub(super) cached: &'a File,
}

/// Bytes that are written one after another. Its methods block.
pub(super) struct Run<'a> {
    direct: &'a Direct,
    files: Files<'a>,
    /// Where the buffer goes.
    offset: u64,
    buffer: Buffer<'a>,
    filled: usize,
}

impl Direct {
    /// Asks the file system of `file`.
    pub(super) fn new(file: &File, write: WriteDirect) -> Self {
        Self { is_on: AtomicBool::new(is_offered(file)), write, buffers: Buffers::default() }
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Opens the file at `path` once more, for writes past the page cache; `None` where there are none.
    pub(super) fn open(&self, path: &Path) -> io::Result<Option<File>> {
        if !self.is_on() {
            return Ok(None);
        }
        let flags = OFlags::DIRECT.bits().cast_signed();
        match File::options().write(true).custom_flags(flags).open(path) {
            Err(error) if is_refusal(&error) => {
                self.refused();
                Ok(None)
            }
            outcome => outcome.map(Some),
        }
    }

    /// Begins to write at `offset`, a multiple of the unit. Waits while too many write.
    pub(super) fn run<'a>(&'a self, files: Files<'a>, offset: u64) -> Run<'a> {
        debug_assert!(offset.is_multiple_of(UNIT as u64));
        Run { direct: self, files, offset, buffer: self.buffers.take(), filled: 0 }
    }

    fn refused(&self) {
        if self.is_on.swap(false, Ordering::Relaxed) {
            tracing::warn!("the file system refuses writes past the page cache: large contents go through it from now on");
        }
    }
}

impl Run<'_> {
    /// Takes the next bytes.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = &mut self.buffer.bytes()[self.filled..];
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = later;
            if self.filled == BUFFER_LEN {
                self.write_units()?;
            }
        }
        Ok(())
    }

    /// Writes what is left, and zeros up to the end of its unit.
    pub(super) fn pad(mut self) -> io::Result<()> {
        let end = self.filled.next_multiple_of(UNIT);
        // The buffer may hold somebody else's bytes there.
        self.buffer.bytes()[self.filled..end].fill(0);
        self.filled = end;
        self.write_units()
    }

    fn write_units(&mut self) -> io::Result<()> {
        let filled = std::mem::take(&mut self.filled);
        self.direct.write_all(self.files, &self.buffer.bytes()[..filled], self.offset)?;
        self.offset += filled as u64;
        Ok(())
    }
}

impl Direct {
    fn write_all(&self, files: Files<'_>, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match (self.write)(files.direct, bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nothing was written, or only a part of a unit before.
                Err(error) if is_refusal(&error) => {
                    self.refused();
                    return file::write_all_at(files.cached, [bytes], offset);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether the file system of `file` says that it can write past the page cache by our units. Linux tells since 6.1.
fn is_offered(file: &File) -> bool {
    let Ok(stat) = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) else { return false };
    let fits = |unit: u32| unit > 0 && UNIT.is_multiple_of(unit as usize);
    StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::DIOALIGN)
        && fits(stat.stx_dio_offset_align)
        && fits(stat.stx_dio_mem_align)
}

fn is_refusal(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::INVAL.raw_os_error())
}

/// Buffers for those who write, made when they are needed.
#[derive(Default)]
struct Buffers {
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Default)]
struct Pool {
    free: Vec<Memory>,
    taken: usize,
}

/// A buffer that goes back where it came from.
struct Buffer<'a> {
    of: &'a Buffers,
    memory: Memory,
}

/// Memory that holds [`BUFFER_LEN`] bytes from an address on that is a multiple of the unit.
#[derive(Default)]
struct Memory {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffers {
    fn take(&self) -> Buffer<'_> {
        let mut pool = self.pool.lock();
        self.returned.wait_while(&mut pool, |pool| pool.taken == BUFFERS_MAX);
        pool.taken += 1;
        let free = pool.free.pop();
        drop(pool);
        Buffer { of: self, memory: free.unwrap_or_else(Memory::allocate) }
    }
}

impl Buffer<'_> {
    fn bytes(&mut self) -> &mut [u8] {
        let Memory { bytes, start } = &mut self.memory;
        &mut bytes[*start..*start + BUFFER_LEN]
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        let mut pool = self.of.pool.lock();
        pool.taken -= 1;
        if pool.free.len() < BUFFERS_KEPT {
            pool.free.push(std::mem::take(&mut self.memory));
        }
        self.of.returned.notify_one();
    }
}

impl Memory {
    fn allocate() -> Self {
        let bytes = vec![0; BUFFER_LEN + UNIT];
        let address = bytes.as_ptr().addr();
        Self { start: address.next_multiple_of(UNIT) - address, bytes }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
    };

    use parking_lot::Mutex;

    use super::{BUFFER_LEN, BUFFERS_KEPT, BUFFERS_MAX, Buffers, Direct, Files, UNIT, WriteDirect, write};
    use crate::disk::file::read_at;

    /// A file that is written by `write` in place of the operating system.
    fn direct(write: WriteDirect) -> (Direct, File) {
        let file = tempfile::tempfile().unwrap();
        (Direct::new(&file, write), file)
    }

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at % 251 + 1) as u8).collect()
    }

    const LENGTHS: [usize; 11] =
        [0, 1, UNIT - 1, UNIT, UNIT + 1, BUFFER_LEN - 1, BUFFER_LEN, BUFFER_LEN + 1, BUFFER_LEN + UNIT, 2 * BUFFER_LEN, 3_000_001];

    #[test]
    fn whole_units_are_written_and_the_last_is_filled_with_zeros() {
        let is_aligned = |bytes: &[u8], offset: u64| {
            bytes.as_ptr().addr().is_multiple_of(UNIT) && bytes.len().is_multiple_of(UNIT) && offset.is_multiple_of(UNIT as u64)
        };
        let checked: WriteDirect = Arc::new(move |file, bytes, offset| {
            assert!(is_aligned(bytes, offset));
            write(file, bytes, offset)
        });
        let (direct, file) = direct(checked);
        let files = Files { direct: &file, cached: &file };
        for len in LENGTHS {
            let content = content(len);
            file.set_len(0).unwrap();
            let mut run = direct.run(files, 2 * UNIT as u64);
            content.chunks(77_777).for_each(|chunk| run.push(chunk).unwrap());
            run.pad().unwrap();
            let written = len.next_multiple_of(UNIT);
            let found = read_at(&file, 2 * UNIT as u64, written + 99).unwrap();
            assert!(found == [&content[..], &vec![0; written - len]].concat(), "{len}");
        }
    }

    #[test]
    fn what_is_written_in_part_is_written_on() {
        let some: WriteDirect = Arc::new(|file, bytes, offset| write(file, &bytes[..bytes.len().min(3 * UNIT)], offset));
        let calls = AtomicUsize::new(0);
        let interrupted: WriteDirect = Arc::new(move |file, bytes, offset| match calls.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => Err(io::ErrorKind::Interrupted.into()),
            _ => some(file, bytes, offset),
        });
        let (direct, file) = direct(interrupted);
        let mut run = direct.run(Files { direct: &file, cached: &file }, 0);
        run.push(&content(1_000_000)).unwrap();
        run.pad().unwrap();
        assert!(read_at(&file, 0, 1_000_000).unwrap() == content(1_000_000));
    }

    #[test]
    fn once_refused_everything_goes_through_the_page_cache() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let refusing: WriteDirect = Arc::new(move |file, bytes, offset| match counted.fetch_add(1, Ordering::Relaxed) {
            0 => write(file, &bytes[..UNIT + 1], offset),
            _ => Err(io::Error::from_raw_os_error(22)),
        });
        let (direct, file) = direct(refusing);
        let mut run = direct.run(Files { direct: &file, cached: &file }, 0);
        run.push(&content(1_000_000)).unwrap();
        run.pad().unwrap();
        assert!(read_at(&file, 0, 1_000_000).unwrap() == content(1_000_000));
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        assert!(!direct.is_on());
    }

    #[test]
    fn other_errors_are_told() {
        for (outcome, kind) in [(Ok(0), io::ErrorKind::WriteZero), (Err(28), io::ErrorKind::StorageFull), (Err(5), io::ErrorKind::Other)] {
            let failing: WriteDirect = Arc::new(move |_, _, _| outcome.map_err(io::Error::from_raw_os_error));
            let (direct, file) = direct(failing);
            let mut run = direct.run(Files { direct: &file, cached: &file }, 0);
            run.push(b"content").unwrap();
            let error = run.pad().unwrap_err();
            assert!(error.kind() == kind || error.raw_os_error() == Some(5), "{error}");
            assert!(read_at(&file, 0, 10).unwrap().is_empty());
        }
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let buffers = Buffers::default();
        let (out, most) = (AtomicUsize::new(0), Mutex::new(0));
        thread::scope(|scope| {
            for _ in 0..4 * BUFFERS_MAX {
                scope.spawn(|| {
                    let mut buffer = buffers.take();
                    let now = out.fetch_add(1, Ordering::SeqCst) + 1;
                    let mut most = most.lock();
                    *most = now.max(*most);
                    drop(most);
                    buffer.bytes().fill(7);
                    out.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert!((1..=BUFFERS_MAX).contains(&*most.lock()));
        let all: Vec<_> = (0..BUFFERS_MAX).map(|_| buffers.take()).collect();
        drop(all);
        let pool = buffers.pool.lock();
        assert_eq!((pool.taken, pool.free.len()), (0, BUFFERS_KEPT));
    }
}

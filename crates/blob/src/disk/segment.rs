//! One segment: a file that records are appended to.
//!
//! In most segments records lie side by side. In those for large records each begins at a multiple of 4 KiB, with zeros before it, and
//! is written past the page cache.
//!
//! Writers reserve their span under a short lock, write it side by side, and then join a flush: the first becomes its leader and
//! syncs the file for everyone whose write had completed before it began; whoever completes meanwhile rides on the next. No timer
//! forms the groups, the flush itself does.
//!
//! A flush that fails poisons the segment for ever: the kernel may have dropped the dirty pages, and a second attempt would succeed
//! without them. Everybody who waited learns of the failure, and nothing more is written to the segment.

use std::{fs::File, io, ops::Range, sync::Arc};

use parking_lot::{Mutex, MutexGuard};

use super::{
    direct::{Files, UNIT},
    file::{self, SyncFile},
    hole,
};
use crate::{Error, Result};

/// What is done once a write is durable, or will never be. Runs on a blocking thread.
pub(super) type OnDurable = Box<dyn FnOnce(Result<()>) + Send>;

/// How records lie in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// Side by side.
    Dense,
    /// Each at a multiple of the unit in which the page cache can be passed.
    Aligned,
}

/// A segment's file and who is busy with it.
pub(super) struct Segment {
    number: u32,
    file: File,
    /// The same file, for writes past the page cache.
    direct: Option<File>,
    spans: Mutex<Spans>,
    flush: Mutex<Flush>,
}

struct Spans {
    /// Where the next record begins; `None` once the segment takes no more.
    tail: Option<u64>,
    /// Spans that were reserved and are not written yet.
    writing: Vec<Range<u64>>,
}

#[derive(Default)]
struct Flush {
    waiting: Vec<OnDurable>,
    running: bool,
    poisoned: bool,
}

/// A span of a segment for one writer. Until it is dropped nobody else touches the pages it lies on.
pub(super) struct Reservation {
    segment: Arc<Segment>,
    span: Range<u64>,
}

impl Packing {
    /// How many bytes of a segment a record of `len` bytes takes.
    pub(super) const fn span_len(self, len: u64) -> u64 {
        match self {
            Self::Dense => len,
            Self::Aligned => len.next_multiple_of(UNIT as u64),
        }
    }
}

impl Segment {
    /// A new segment. `direct` is the same file, if its records are written past the page cache.
    pub(super) fn started(number: u32, file: File, direct: Option<File>) -> Self {
        Self::new(number, file, direct, Some(0))
    }

    /// A segment of earlier: it may end in a torn record, so that nothing is ever appended.
    pub(super) fn sealed(number: u32, file: File) -> Self {
        Self::new(number, file, None, None)
    }

    fn new(number: u32, file: File, direct: Option<File>, tail: Option<u64>) -> Self {
        Self { number, file, direct, spans: Mutex::new(Spans { tail, writing: Vec::new() }), flush: Mutex::default() }
    }

    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// The files to write past the page cache, if its records are written so.
    pub(super) fn files(&self) -> Option<Files<'_>> {
        self.direct.as_ref().map(|direct| Files { direct, cached: &self.file })
    }

    /// Reserves `len` bytes; `None` if they would exceed `bytes_max` or the segment takes no more.
    pub(super) fn reserve(self: &Arc<Self>, len: u64, bytes_max: u64) -> Option<Reservation> {
        if self.flush.lock().poisoned {
            return None;
        }
        let mut spans = self.spans.lock();
        let start = spans.tail?;
        let span = start..start + len;
        if start > 0 && span.end > bytes_max {
            return None;
        }
        spans.tail = Some(span.end);
        spans.writing.push(span.clone());
        Some(Reservation { segment: Arc::clone(self), span })
    }

    /// Takes no more records.
    pub(super) fn seal(&self) {
        self.spans.lock().tail = None;
    }

    /// Takes no more records because what was written may be lost.
    pub(super) fn poison(&self) {
        self.flush.lock().poisoned = true;
    }

    /// Makes everything written so far durable, then calls `then`. Blocks while it leads a flush.
    pub(super) fn make_durable(&self, sync: &SyncFile, then: OnDurable) {
        let mut flush = self.flush.lock();
        if flush.poisoned {
            drop(flush);
            return then(Err(poisoned()));
        }
        flush.waiting.push(then);
        if flush.running {
            return;
        }
        flush.running = true;
        while !flush.waiting.is_empty() {
            let mut group = std::mem::take(&mut flush.waiting);
            let outcome = MutexGuard::unlocked(&mut flush, || sync(&self.file));
            if let Err(error) = &outcome {
                flush.poisoned = true;
                group.append(&mut flush.waiting);
                tracing::error!(segment = self.number, error = %error, "a flush failed; the segment takes no more records");
            }
            MutexGuard::unlocked(&mut flush, || {
                for then in group {
                    then(outcome.as_ref().map(|&()| ()).map_err(|error| Error::from_io("make a blob durable")(same(error))));
                }
            });
        }
        flush.running = false;
    }

    /// Whether every record that lies on the bytes `range` is wholly written, now and for ever.
    pub(super) fn is_settled(&self, range: &Range<u64>) -> bool {
        let spans = self.spans.lock();
        spans.tail.is_none_or(|tail| range.end <= tail)
            && !spans.writing.iter().any(|writing| writing.start < range.end && range.start < writing.end)
    }

    /// Whether nothing lives in it and nothing ever will. `page` is the unit in which the file system frees.
    pub(super) fn is_dead(&self, page: u64) -> io::Result<bool> {
        {
            let spans = self.spans.lock();
            if spans.tail.is_some() || !spans.writing.is_empty() {
                return Ok(false);
            }
        }
        let Some(data) = hole::first_data(&self.file)? else { return Ok(true) };
        // The last page could not be freed while the next record might have begun on it. A record that ends at the end of the file
        // would show there.
        let last_page = self.file.metadata()?.len().saturating_sub(1) / page * page;
        Ok(data >= last_page && self.is_zero(&(last_page..last_page + page))?)
    }

    /// Whether all bytes of `range` are zero.
    pub(super) fn is_zero(&self, range: &Range<u64>) -> io::Result<bool> {
        let len = usize::try_from(range.end - range.start).expect("a page fits into memory");
        Ok(file::read_at(&self.file, range.start, len)?.iter().all(|&byte| byte == 0))
    }
}

// === impl Reservation ===

impl Reservation {
    pub(super) const fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub(super) const fn span(&self) -> &Range<u64> {
        &self.span
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.segment.spans.lock().writing.retain(|writing| *writing != self.span);
    }
}

fn poisoned() -> Error {
    Error::from_io("make a blob durable")(io::Error::other("an earlier flush of its segment failed"))
}

/// The same error once more, for the next who waited.
fn same(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io,
        sync::{Arc, mpsc},
        thread,
    };

    use parking_lot::Mutex;

    use super::Segment;
    use crate::{
        Error,
        disk::file::{self, SyncFile},
    };

    fn segment() -> Arc<Segment> {
        Arc::new(Segment::started(1, tempfile::tempfile().unwrap(), None))
    }

    /// Seven join while the flush of an eighth runs; `outcomes` are those of the flushes. Gives back what each of the eight was told.
    fn flush_of_eight(segment: &Arc<Segment>, outcomes: Vec<io::Result<()>>) -> Vec<Result<(), Error>> {
        let (entered, is_entered) = mpsc::channel();
        let (release, is_released) = mpsc::channel::<()>();
        let script = Mutex::new((outcomes.into_iter(), is_released));
        let sync: SyncFile = Arc::new(move |_: &File| {
            entered.send(()).unwrap();
            let mut script = script.lock();
            script.1.recv().unwrap();
            script.0.next().expect("there are no more flushes than outcomes")
        });
        let (told, tells) = mpsc::channel();
        let tell = |told: &mpsc::Sender<_>| -> super::OnDurable {
            let told = told.clone();
            Box::new(move |outcome| told.send(outcome).unwrap())
        };

        let leader = {
            let (segment, sync, then) = (Arc::clone(segment), Arc::clone(&sync), tell(&told));
            thread::spawn(move || segment.make_durable(&sync, then))
        };
        is_entered.recv().unwrap();
        (0..7).for_each(|_| segment.make_durable(&sync, tell(&told)));
        drop((told, sync));
        (0..2).for_each(|_| release.send(()).unwrap_or(()));
        leader.join().unwrap();
        tells.into_iter().collect()
    }

    #[test]
    fn whoever_comes_during_a_flush_shares_the_next() {
        let told = flush_of_eight(&segment(), vec![Ok(()), Ok(())]);
        assert_eq!(told.len(), 8);
        assert!(told.iter().all(Result::is_ok), "{told:?}");
    }

    #[test]
    fn a_failed_flush_is_never_tried_again() {
        let segment = segment();
        // A second flush would find no outcome and panic.
        let told = flush_of_eight(&segment, vec![Err(io::Error::from_raw_os_error(5))]);
        assert_eq!(told.len(), 8);
        assert!(told.iter().all(|told| matches!(told, Err(Error::Io { .. }))), "{told:?}");
        assert!(segment.reserve(1, 100).is_none(), "it takes no more records");
        let never: SyncFile = Arc::new(|_: &File| unreachable!("it is poisoned"));
        let (told, tells) = mpsc::channel();
        segment.make_durable(&never, Box::new(move |outcome| told.send(outcome).unwrap()));
        assert!(tells.recv().unwrap().is_err());
    }

    #[test]
    fn a_device_that_fills_up_during_a_flush_is_full() {
        let told = flush_of_eight(&segment(), vec![Err(io::Error::from_raw_os_error(28))]);
        assert!(told.iter().all(|told| matches!(told, Err(Error::Full(_)))), "{told:?}");
    }

    #[test]
    fn pages_are_settled_when_nobody_writes_to_them() {
        let segment = segment();
        let first = segment.reserve(100, 10_000).unwrap();
        let second = segment.reserve(5_000, 10_000).unwrap();
        assert!(!segment.is_settled(&(0..4_096)), "both are being written");
        drop(first);
        assert!(!segment.is_settled(&(0..4_096)), "the second is being written");
        assert!(!segment.is_settled(&(4_096..8_192)));
        drop(second);
        assert!(segment.is_settled(&(0..4_096)));
        assert!(!segment.is_settled(&(4_096..8_192)), "the next record may begin there");
        segment.seal();
        assert!(segment.is_settled(&(4_096..8_192)));
        assert!(segment.reserve(1, 10_000).is_none());
    }

    #[test]
    fn a_segment_is_dead_when_it_is_sealed_idle_and_empty() {
        let segment = segment();
        assert!(!segment.is_dead(4_096).unwrap(), "it still grows");
        let writing = segment.reserve(10, 100).unwrap();
        segment.seal();
        assert!(!segment.is_dead(4_096).unwrap(), "somebody writes");
        drop(writing);
        assert!(segment.is_dead(4_096).unwrap());
        file::write_all_at(segment.file(), [&[0; 5_000][..], b"x"], 0).unwrap();
        assert!(!segment.is_dead(4_096).unwrap());
        file::write_all_at(segment.file(), [&[0][..]], 5_000).unwrap();
        assert!(!segment.is_dead(4_096).unwrap(), "the zeros on the first page may be content");
        super::hole::punch(segment.file(), &(0..4_096)).unwrap();
        assert!(segment.is_dead(4_096).unwrap(), "only zeros on the last page are left");
    }

    #[test]
    fn a_segment_takes_one_record_whatever_its_size() {
        let segment = segment();
        drop(segment.reserve(200, 100).unwrap());
        assert!(segment.reserve(1, 100).is_none());
    }
}

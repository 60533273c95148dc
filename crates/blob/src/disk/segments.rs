//! All segments: those that grow, one of each packing, and the files of the others.
//!
//! A number is never used twice, because the segment with the highest one is never removed.
//!
//! Space of a deleted record is given back at once by punching a hole. The file system frees whole pages only, so the pages at both
//! ends, which the record shares with its neighbours, are freed by whoever deletes the last of them: an edge page that is settled and
//! all zero holds nothing that lives, because a record neither begins nor ends with a zero byte.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use parking_lot::Mutex;

use super::{
    direct::Direct,
    file, hole,
    layout::{Layout, segment_name},
    record::HEADER_LEN,
    segment::{Packing, Reservation, Segment},
    settings::DiskSettings,
};

/// All segments of a store.
pub(super) struct Segments {
    dir: PathBuf,
    bytes_max: u64,
    /// The unit in which the file system frees space.
    page: u64,
    can_punch: AtomicBool,
    /// The highest number in use, 0 for none. Changed only while `active` is locked.
    highest: AtomicU32,
    /// By packing.
    active: Mutex<[Option<Arc<Segment>>; 2]>,
    direct: Arc<Direct>,
    opened: Mutex<Opened>,
}

impl Segments {
    /// Finds the segments there are and removes those in which nothing lives.
    pub(super) fn open(layout: &Layout, settings: &DiskSettings, direct: Arc<Direct>) -> io::Result<Self> {
        let dir = layout.segments();
        let numbers = layout.segment_numbers()?;
        let segments = Self {
            bytes_max: settings.segment_bytes,
            page: rustix::fs::statvfs(&dir)?.f_bsize.clamp(512, 1 << 20),
            dir,
            can_punch: AtomicBool::new(true),
            highest: AtomicU32::new(numbers.iter().copied().max().unwrap_or(0)),
            active: Mutex::default(),
            direct,
            opened: Mutex::new(Opened { segments: HashMap::new(), uses: 0, max: settings.open_segments_max }),
        };
        numbers.into_iter().try_for_each(|number| segments.remove_if_dead(number))?;
        Ok(segments)
    }

    /// Reserves `len` bytes, which are what `packing` makes of a record, in the segment that grows, beginning a new one where it must.
    pub(super) fn reserve(&self, len: u64, packing: Packing) -> io::Result<Reservation> {
        let mut active = self.active.lock();
        let active = &mut active[packing as usize];
        if let Some(reservation) = active.as_ref().and_then(|segment| segment.reserve(len, self.bytes_max)) {
            return Ok(reservation);
        }
        let full = active.take().inspect(|full| full.seal()).map(|full| full.number());
        let previous = self.highest.load(Ordering::SeqCst);
        let segment = self.start(packing)?;
        // Now that they are sealed and not the highest, they may go.
        for number in [full, Some(previous)].into_iter().flatten() {
            if let Err(error) = self.remove_if_dead(number) {
                tracing::warn!(segment = number, error = %error, "a dead segment is not removed");
            }
        }
        let reservation = segment.reserve(len, self.bytes_max).ok_or_else(|| io::Error::other("a new segment takes no record"))?;
        *active = Some(segment);
        Ok(reservation)
    }

    /// The segment `number`, if it is still there.
    pub(super) fn get(&self, number: u32) -> io::Result<Option<Arc<Segment>>> {
        let mut opened = self.opened.lock();
        if let Some(segment) = opened.find(number) {
            return Ok(Some(segment));
        }
        match File::options().read(true).write(true).open(self.path(number)) {
            Ok(file) => Ok(Some(opened.insert(Segment::sealed(number, file)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The segment `number`, if its file is open and that can be told without waiting.
    pub(super) fn get_opened(&self, number: u32) -> Option<Arc<Segment>> {
        self.opened.try_lock()?.find(number)
    }

    /// Frees the span of a record that was wholly written. After it the record's header reads as zeros.
    pub(super) fn free(&self, segment: &Segment, span: &Range<u64>) -> io::Result<()> {
        self.erase(segment, span)?;
        self.tidy(segment, span);
        Ok(())
    }

    /// Frees a span whose write failed.
    pub(super) fn discard(&self, reservation: Reservation) -> io::Result<()> {
        let (segment, span) = (Arc::clone(reservation.segment()), reservation.span().clone());
        self.erase(&segment, &span)?;
        drop(reservation);
        self.tidy(&segment, &span);
        Ok(())
    }

    fn erase(&self, segment: &Segment, span: &Range<u64>) -> io::Result<()> {
        if self.can_punch.load(Ordering::Relaxed) {
            let Err(error) = hole::punch(segment.file(), span) else { return Ok(()) };
            if error.kind() == io::ErrorKind::Unsupported {
                self.can_punch.store(false, Ordering::Relaxed);
                tracing::warn!("the file system cannot free parts of files: space of deleted small blobs is not given back");
            } else {
                tracing::warn!(segment = segment.number(), error = %error, "the space of a deleted blob is not given back");
            }
        }
        file::write_all_at(segment.file(), [&[0; HEADER_LEN][..]], span.start)
    }

    /// Frees what became free around `span`. It costs only space if this fails.
    fn tidy(&self, segment: &Segment, span: &Range<u64>) {
        let edges = self.free_edges(segment, span);
        if let Err(error) = edges.and_then(|()| self.remove_if_dead(segment.number())) {
            tracing::warn!(segment = segment.number(), error = %error, "the edges of a deleted blob are not given back");
        }
    }

    fn free_edges(&self, segment: &Segment, span: &Range<u64>) -> io::Result<()> {
        if !self.can_punch.load(Ordering::Relaxed) {
            return Ok(());
        }
        let page_of = |at: u64| at / self.page * self.page..(at / self.page + 1) * self.page;
        let (first, last) = (page_of(span.start), page_of(span.end - 1));
        for page in [Some(&first), (last != first).then_some(&last)].into_iter().flatten() {
            let is_freed = span.start <= page.start && page.end <= span.end;
            if !is_freed && segment.is_settled(page) && segment.is_zero(page)? {
                hole::punch(segment.file(), page)?;
            }
        }
        Ok(())
    }

    fn remove_if_dead(&self, number: u32) -> io::Result<()> {
        if number >= self.highest.load(Ordering::SeqCst) {
            return Ok(());
        }
        let Some(segment) = self.get(number)? else { return Ok(()) };
        if segment.is_dead(self.page)? {
            file::or_gone(fs::remove_file(self.path(number)))?;
            self.opened.lock().segments.remove(&number);
        }
        Ok(())
    }

    /// Begins the next segment.
    fn start(&self, packing: Packing) -> io::Result<Arc<Segment>> {
        let previous = self.highest.load(Ordering::SeqCst);
        let number = previous.checked_add(1).ok_or_else(|| io::Error::other("the numbers of segments are used up"))?;
        let path = self.path(number);
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        self.highest.store(number, Ordering::SeqCst);
        file::sync_dir(&self.dir)?;
        let direct = match packing {
            Packing::Dense => None,
            Packing::Aligned => self.direct.open(&path)?,
        };
        Ok(self.opened.lock().insert(Segment::started(number, file, direct)))
    }

    fn path(&self, number: u32) -> PathBuf {
        self.dir.join(segment_name(number))
    }
}

/// The segments whose files are open, the least recently used of which are closed when there are too many.
struct Opened {
    segments: HashMap<u32, (Arc<Segment>, u64)>,
    uses: u64,
    max: usize,
}

impl Opened {
    fn find(&mut self, number: u32) -> Option<Arc<Segment>> {
        self.uses += 1;
        let (segment, used) = self.segments.get_mut(&number)?;
        *used = self.uses;
        Some(Arc::clone(segment))
    }

    fn insert(&mut self, segment: Segment) -> Arc<Segment> {
        if self.segments.len() >= self.max {
            // Who holds a segment may be writing to it, and only this instance knows of that.
            let idle = self.segments.iter().filter(|(_, (segment, _))| Arc::strong_count(segment) == 1);
            if let Some(number) = idle.min_by_key(|(_, (_, used))| *used).map(|(&number, _)| number) {
                self.segments.remove(&number);
            }
        }
        let segment = Arc::new(segment);
        self.segments.insert(segment.number(), (Arc::clone(&segment), self.uses));
        segment
    }
}

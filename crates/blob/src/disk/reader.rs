//! Reading a blob: which blocks a range touches, their verification, and the stream with one chunk of read-ahead.

use std::{fs::File, io, path::Path, sync::Arc};

use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::task::{JoinHandle, spawn_blocking};
use umbra_core::ByteRange;

use super::{
    address::{Address, RecordAddress},
    engine::Engine,
    file::{self, in_background},
    record::{self, Absent, BLOCK_LEN, ENTRY_LEN, HEADER_LEN},
    segment::Segment,
    writer::stopped,
};
use crate::{BlobId, Error, Result};

/// The longest chunk a stream gives; whole blocks.
const CHUNK_LEN: u64 = 4 * BLOCK_LEN;
/// Records up to this long are read with one call, whatever part of them is asked for.
const SINGLE_READ_MAX: u64 = CHUNK_LEN / 2;

/// Reads `range` of the blob `id`.
pub(super) async fn read(engine: Arc<Engine>, id: BlobId, range: ByteRange) -> Result<BoxStream<'static, Result<Bytes>>> {
    if let Some(outcome) = Reader::read_cached(&engine, &id, range) {
        return Ok(whole(outcome?));
    }
    let begun = spawn_blocking(move || Reader::open(engine, id)?.begin(range));
    Ok(match begun.await.unwrap_or_else(|_| Err(stopped()))? {
        Begun::Whole(chunk) => whole(chunk),
        Begun::Part(ahead) => stream::unfold(ahead, Ahead::advance).boxed(),
    })
}

/// A stream of one chunk, or of none if there is nothing in it.
fn whole(chunk: Bytes) -> BoxStream<'static, Result<Bytes>> {
    stream::iter((!chunk.is_empty()).then_some(Ok(chunk))).boxed()
}

/// What the first access brought.
enum Begun {
    /// All of it.
    Whole(Bytes),
    /// The first chunk, and who reads on.
    Part(Ahead),
}

/// An open blob. Its methods block, and it is best dropped on a blocking thread.
struct Reader {
    id: BlobId,
    address: Address,
    source: Source,
    _pin: Option<Pin>,
}

enum Source {
    Segment(Arc<Segment>),
    Large(File),
}

/// Keeps a record from being freed.
struct Pin {
    engine: Arc<Engine>,
    record: RecordAddress,
}

impl Reader {
    /// Reads a short record right here if it is in memory, which costs less than asking a blocking thread. `None` if it may block.
    fn read_cached(engine: &Arc<Engine>, id: &BlobId, range: ByteRange) -> Option<Result<Bytes>> {
        let address = Address::decode(id)?;
        let Address::Segment(record) = address else { return None };
        let span = record::record_len(address.length());
        if span > SINGLE_READ_MAX || range.end > address.length() || !engine.pins.enter(record.place()) {
            return None;
        }
        let pin = Pin { engine: Arc::clone(engine), record };
        let segment = engine.segments.get_opened(record.segment)?;
        let bytes = file::read_cached(segment.file(), address.offset(), usize::try_from(span).ok()?)?;
        let reader = Self { id: id.clone(), address, source: Source::Segment(segment), _pin: Some(pin) };
        Some(reader.verify_single(bytes, span, range))
    }

    fn open(engine: Arc<Engine>, id: BlobId) -> Result<Self> {
        let failed = Error::from_io("open a blob");
        let not_found = || Error::NotFound(id.clone());
        let address = Address::decode(&id).ok_or_else(not_found)?;
        let (source, pin) = match address {
            Address::Segment(record) => {
                if !engine.pins.enter(record.place()) {
                    return Err(not_found());
                }
                let pin = Pin { engine: Arc::clone(&engine), record };
                let segment = engine.segments.get(record.segment).map_err(failed)?.ok_or_else(not_found)?;
                (Source::Segment(segment), Some(pin))
            }
            Address::Large(large) => match open_sized(&engine.layout.large_file(&large.nonce)) {
                // The header of such a file does not hold its length.
                Ok((_, len)) if len != record::record_len(large.length) => return Err(Error::corrupt(&id, "its file has another length")),
                Ok((file, _)) => (Source::Large(file), None),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not_found()),
                Err(error) => return Err(failed(error)),
            },
        };
        Ok(Self { id, address, source, _pin: pin })
    }

    /// Verifies the header and reads the first chunk.
    fn begin(self, range: ByteRange) -> Result<Begun> {
        let length = self.address.length();
        if range.end > length {
            let (ByteRange { start, end }, id) = (range, &self.id);
            return Err(Error::corrupt(id, format!("{start}..{end} lies outside of its {length} bytes")));
        }
        let span = record::record_len(length);
        if span <= SINGLE_READ_MAX {
            let bytes = self.read_bytes(self.address.offset(), span)?;
            return Ok(Begun::Whole(self.verify_single(bytes, span, range)?));
        }
        self.check_header(&self.read_bytes(self.address.offset(), HEADER_LEN as u64)?)?;
        if range.is_empty() {
            return Ok(Begun::Whole(Bytes::new()));
        }
        let end = chunk_end(range.start, range.end);
        let first = self.read_chunk(range.start, end)?;
        if end == range.end {
            return Ok(Begun::Whole(first));
        }
        Ok(Begun::Part(Ahead { first: Some(first), reader: Some(Arc::new(self)), next: end, end: range.end, pending: None }))
    }

    /// Takes `range` out of `bytes`, the whole record, once what it touches is verified.
    fn verify_single(&self, bytes: Vec<u8>, span: u64, range: ByteRange) -> Result<Bytes> {
        self.check_header(&bytes[..bytes.len().min(HEADER_LEN)])?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let blocks = Blocks::around(range.start, range.end, self.address.length());
        let bytes = Bytes::from(self.expect_len(bytes, span)?);
        let data = &bytes[HEADER_LEN..];
        let cut = |part: ByteRange| &data[part.start as usize..part.end as usize];
        self.check_blocks(cut(blocks.content()), cut(blocks.entries()), blocks.first)?;
        Ok(bytes.slice(HEADER_LEN + range.start as usize..HEADER_LEN + range.end as usize))
    }

    /// Reads and verifies `start..end` of the content, which is not empty.
    fn read_chunk(&self, start: u64, end: u64) -> Result<Bytes> {
        let blocks = Blocks::around(start, end, self.address.length());
        let base = self.address.offset() + HEADER_LEN as u64;
        let (content, entries) = (blocks.content(), blocks.entries());
        let data = self.read_exact(base + content.start, content.end - content.start)?;
        let table = self.read_exact(base + entries.start, entries.end - entries.start)?;
        self.check_blocks(&data, &table, blocks.first)?;
        Ok(Bytes::from(data).slice((start - content.start) as usize..(end - content.start) as usize))
    }

    fn check_header(&self, bytes: &[u8]) -> Result<()> {
        record::check_header(bytes, self.address.nonce(), self.address.form()).map_err(|absent| match absent {
            Absent::Gone => Error::NotFound(self.id.clone()),
            Absent::Damaged(why) => Error::corrupt(&self.id, why),
        })
    }

    fn check_blocks(&self, data: &[u8], entries: &[u8], first: u64) -> Result<()> {
        record::check_blocks(data, entries, first).map_err(|why| Error::corrupt(&self.id, why))
    }

    fn read_exact(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        self.expect_len(self.read_bytes(offset, len)?, len)
    }

    fn expect_len(&self, bytes: Vec<u8>, len: u64) -> Result<Vec<u8>> {
        if bytes.len() as u64 == len { Ok(bytes) } else { Err(Error::corrupt(&self.id, "its file ends too early")) }
    }

    fn read_bytes(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        let file = match &self.source {
            Source::Segment(segment) => segment.file(),
            Source::Large(file) => file,
        };
        let len = usize::try_from(len).expect("a chunk fits into memory");
        file::read_at(file, offset, len).map_err(Error::from_io("read a blob"))
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.engine.unpin(self.record);
    }
}

fn open_sized(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    Ok((file, len))
}

/// The end of the chunk that begins at `start`: chunks end where blocks do, so that no block is read twice.
fn chunk_end(start: u64, end: u64) -> u64 {
    ((start / CHUNK_LEN + 1) * CHUNK_LEN).min(end)
}

/// The blocks `first..last` of content of `length` bytes.
#[derive(Clone, Copy)]
struct Blocks {
    first: u64,
    last: u64,
    length: u64,
}

impl Blocks {
    /// The blocks that `start..end` touches.
    const fn around(start: u64, end: u64, length: u64) -> Self {
        Self { first: start / BLOCK_LEN, last: end.div_ceil(BLOCK_LEN), length }
    }

    /// Where they lie, counted from the end of the header.
    fn content(self) -> ByteRange {
        ByteRange::new(self.first * BLOCK_LEN, (self.last * BLOCK_LEN).min(self.length))
    }

    /// Where their entries of the table lie, counted from the end of the header.
    fn entries(self) -> ByteRange {
        ByteRange::new(self.length + self.first * ENTRY_LEN, self.length + self.last * ENTRY_LEN)
    }
}

/// A stream of chunks: the next one is read while the consumer is busy with this one.
struct Ahead {
    first: Option<Bytes>,
    /// Present until the last chunk is being read.
    reader: Option<Arc<Reader>>,
    next: u64,
    end: u64,
    pending: Option<JoinHandle<Result<Bytes>>>,
}

impl Ahead {
    async fn advance(mut self) -> Option<(Result<Bytes>, Self)> {
        let chunk = match (self.first.take(), self.pending.take()) {
            (Some(first), _) => Ok(first),
            (None, Some(pending)) => pending.await.unwrap_or_else(|_| Err(stopped())),
            (None, None) => return None,
        };
        if chunk.is_ok() {
            self.pending = self.read_next();
        }
        Some((chunk, self))
    }

    fn read_next(&mut self) -> Option<JoinHandle<Result<Bytes>>> {
        let (start, end) = (self.next, chunk_end(self.next, self.end));
        let reader = if end == self.end { self.reader.take() } else { self.reader.clone() }?;
        self.next = end;
        Some(spawn_blocking(move || reader.read_chunk(start, end)))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            in_background(move || drop(reader));
        }
    }
}

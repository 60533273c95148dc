//! A store as one file: how metadata moves from one engine to another.
//!
//! ```text
//! "UMBRMETA" 01                            what it is, and the version of the form
//! len:u32 sum:u32 rows                     frames, at most a few MiB each unless one row is larger
//! 0:u32 sum:u32 count:u64                  the end, and how many rows there were
//!
//! row   p:u64 rev:u64 len(k):u32 len(head):u32 len(body):u32 k head body
//! ```
//!
//! Integers are big-endian. `sum` is CRC-32C of what follows it in the frame. Rows are in the order of partitions, as signed numbers, and keys,
//! each once, with the revision they had: it goes with them, so that nothing that remembers a revision is led astray.

use std::io::{self, Read, Write};

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum};

use crate::{Entry, Error, Partition, Result, Revision};

const HEAD: &[u8; 9] = b"UMBRMETA\x01";
/// How much is gathered before it is written.
const FRAME_BYTES: usize = 1 << 20;
/// A frame larger than this is no frame: a row holds an object's parts at most.
const FRAME_BYTES_MAX: u32 = 1 << 30;
const ROW_HEAD_BYTES: usize = 8 + 8 + 4 + 4 + 4;

/// Writes a store's rows.
#[derive(Debug)]
pub struct DumpWriter<W> {
    to: W,
    frame: Vec<u8>,
    count: u64,
}

impl<W: Write> DumpWriter<W> {
    /// Begins a file.
    pub fn new(mut to: W) -> Result<Self> {
        to.write_all(HEAD).map_err(unwritable)?;
        Ok(Self { to, frame: Vec::with_capacity(FRAME_BYTES), count: 0 })
    }

    /// Adds the next row.
    pub fn add(&mut self, partition: Partition, entry: &Entry) -> Result<()> {
        self.frame.extend_from_slice(&partition.0.to_be_bytes());
        self.frame.extend_from_slice(&entry.revision.0.to_be_bytes());
        for part in [&entry.key, &entry.head, &entry.body] {
            let len = u32::try_from(part.len()).map_err(|_| Error::corrupt(partition, &entry.key, "it is too large to be one"))?;
            self.frame.extend_from_slice(&len.to_be_bytes());
        }
        for part in [&entry.key, &entry.head, &entry.body] {
            self.frame.extend_from_slice(part);
        }
        self.count += 1;
        if self.frame.len() >= FRAME_BYTES { self.flush() } else { Ok(()) }
    }

    /// Ends the file; answers what it was written to, and how many rows there are.
    pub fn finish(mut self) -> Result<(W, u64)> {
        if !self.frame.is_empty() {
            self.flush()?;
        }
        let count = self.count.to_be_bytes();
        for part in [&[0; 4][..], &sum(&count).to_be_bytes(), &count] {
            self.to.write_all(part).map_err(unwritable)?;
        }
        self.to.flush().map_err(unwritable)?;
        Ok((self.to, self.count))
    }

    fn flush(&mut self) -> Result<()> {
        let len = u32::try_from(self.frame.len()).ok().filter(|len| *len <= FRAME_BYTES_MAX);
        let len = len.ok_or_else(|| corrupt("a row is too large to be one"))?;
        for part in [&len.to_be_bytes()[..], &sum(&self.frame).to_be_bytes(), &self.frame] {
            self.to.write_all(part).map_err(unwritable)?;
        }
        self.frame.clear();
        Ok(())
    }
}

/// Reads what [`DumpWriter`] wrote. A file that is cut or was changed ends in an error, never early.
#[derive(Debug)]
pub struct DumpReader<R> {
    from: R,
    frame: Bytes,
    count: u64,
    is_at_end: bool,
    last: Option<(i64, Bytes)>,
}

impl<R: Read> DumpReader<R> {
    /// Begins to read; refuses what is no such file, or a newer form of it.
    pub fn new(mut from: R) -> Result<Self> {
        let mut head = [0; HEAD.len()];
        from.read_exact(&mut head).map_err(unreadable)?;
        if head[..8] != HEAD[..8] {
            return Err(Error::Unavailable("the file is no export of metadata".to_owned()));
        }
        if head != *HEAD {
            let refusal = format!("the export has form {}, this version of umbra knows 1 only: use a newer one", head[8]);
            return Err(Error::Unavailable(refusal));
        }
        Ok(Self { from, frame: Bytes::new(), count: 0, is_at_end: false, last: None })
    }

    /// The next row, until the file ends as it should.
    pub fn next_row(&mut self) -> Result<Option<(Partition, Entry)>> {
        while self.frame.is_empty() {
            if self.is_at_end {
                return Ok(None);
            }
            self.read_frame()?;
        }
        let row = take_row(&mut self.frame).ok_or_else(|| corrupt("a frame does not hold whole rows"))?;
        let place = (row.0.0.cast_signed(), row.1.key.clone());
        if self.last.as_ref().is_some_and(|last| *last >= place) {
            return Err(corrupt("its rows are out of order"));
        }
        self.last = Some(place);
        self.count += 1;
        Ok(Some(row))
    }

    fn read_frame(&mut self) -> Result<()> {
        let (len, expected) = (self.read_number()?, self.read_number()?);
        if len > FRAME_BYTES_MAX {
            return Err(corrupt("a frame is too large to be one"));
        }
        let mut bytes = Vec::new();
        let wanted = if len == 0 { 8 } else { u64::from(len) };
        // Grows with what is really there, whatever the length says.
        let read = self.from.by_ref().take(wanted).read_to_end(&mut bytes).map_err(unreadable)?;
        if read as u64 != wanted {
            return Err(corrupt("it is cut off"));
        }
        if sum(&bytes) != expected {
            return Err(corrupt("a frame does not match its checksum"));
        }
        if len > 0 {
            self.frame = bytes.into();
            return Ok(());
        }
        self.is_at_end = true;
        if bytes != self.count.to_be_bytes() {
            return Err(corrupt("rows are missing"));
        }
        if self.from.read(&mut [0]).map_err(unreadable)? != 0 {
            return Err(corrupt("something follows its end"));
        }
        Ok(())
    }

    fn read_number(&mut self) -> Result<u32> {
        let mut bytes = [0; 4];
        self.from.read_exact(&mut bytes).map_err(unreadable)?;
        Ok(u32::from_be_bytes(bytes))
    }
}

fn take_row(frame: &mut Bytes) -> Option<(Partition, Entry)> {
    if frame.len() < ROW_HEAD_BYTES {
        return None;
    }
    let head = frame.split_to(ROW_HEAD_BYTES);
    let long = |at: usize| head[at..at + 8].try_into().ok().map(u64::from_be_bytes);
    let short = |at: usize| head[at..at + 4].try_into().ok().map(|bytes| u32::from_be_bytes(bytes) as usize);
    let mut part = |len: usize| (len <= frame.len()).then(|| frame.split_to(len));
    let (key, value_head, body) = (part(short(16)?)?, part(short(20)?)?, part(short(24)?)?);
    Some((Partition(long(0)?), Entry { key, revision: Revision(long(8)?), head: value_head, body }))
}

fn sum(bytes: &[u8]) -> u32 {
    // It is one of 32 bits.
    checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

fn corrupt(why: &str) -> Error {
    Error::Corrupt { what: "the export".to_owned(), why: why.to_owned() }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what an error is mapped with")]
fn unwritable(error: io::Error) -> Error {
    Error::Full(format!("write the export: {error}"))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what an error is mapped with")]
fn unreadable(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        corrupt("it is cut off")
    } else {
        Error::Unavailable(format!("read the export: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{DumpReader, DumpWriter};
    use crate::{Entry, Partition, Result, Revision};

    fn rows() -> Vec<(Partition, Entry)> {
        let entry = |key: &[u8], revision, head: &'static [u8], body: Vec<u8>| Entry {
            key: Bytes::copy_from_slice(key),
            revision: Revision(revision),
            head: Bytes::from_static(head),
            body: body.into(),
        };
        vec![
            (Partition(u64::MAX), entry(b"z", 4, b"h", Vec::new())),
            (Partition(0), entry(b"a\0\xff", u64::MAX, b"head", b"body".to_vec())),
            (Partition(0), entry(b"b", 1, b"", Vec::new())),
            (Partition(7), entry(b"a", 3, b"", vec![9; 3 << 20])),
        ]
    }

    fn written(rows: &[(Partition, Entry)]) -> Vec<u8> {
        let mut writer = DumpWriter::new(Vec::new()).unwrap();
        for (partition, entry) in rows {
            writer.add(*partition, entry).unwrap();
        }
        let (bytes, count) = writer.finish().unwrap();
        assert_eq!(count, rows.len() as u64);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<(Partition, Entry)>> {
        let mut reader = DumpReader::new(bytes)?;
        let mut rows = Vec::new();
        while let Some(row) = reader.next_row()? {
            rows.push(row);
        }
        Ok(rows)
    }

    #[test]
    fn what_was_written_is_read() {
        for count in 0..=4 {
            assert_eq!(read(&written(&rows()[..count])).unwrap(), rows()[..count]);
        }
    }

    /// The bytes of the first version, which is read for ever.
    #[test]
    fn the_form_stands_still() {
        let bytes = written(&rows()[1..2]);
        let expected = "554d42524d45544101\
            0000002770885e89\
            0000000000000000ffffffffffffffff000000030000000400000004\
            6100ff68656164626f6479\
            000000007e4331890000000000000001";
        assert_eq!(hex(&bytes), expected.replace(' ', ""));
    }

    #[test]
    fn a_file_that_is_cut_or_changed_is_refused() {
        let good = written(&rows()[..2]);
        for len in 0..good.len() {
            assert!(read(&good[..len]).is_err(), "cut at {len}");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(read(&bad).is_err(), "changed at {at}");
        }
        assert!(read(&[&good[..], b"x"].concat()).is_err());
        let [first, second, ..] = &rows()[..] else { unreachable!() };
        assert!(read(&written(&[second.clone(), first.clone()])).is_err());
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

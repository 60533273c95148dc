//! Where the contents of a store are, while its metadata move: a data directory says it in a file, a database in a row.

use std::path::Path;

use umbra_meta::{DumpWriter, Entry, Error, Partition, Result};
use umbra_store::{contents_row, parse_contents_row};

use crate::data_dir::{DataDir, DataDirError};

/// Writes the rows of a directory's store. Where its contents are is what the file of the directory says, whatever a row says that it was
/// filled with.
pub(super) struct Bound<'a, W> {
    writer: &'a mut DumpWriter<W>,
    /// Not yet written.
    row: Option<Entry>,
}

impl<'a, W: std::io::Write> Bound<'a, W> {
    /// For the directory `dir`. One server's disk is no other's: that its contents are there is no word for others to keep.
    pub(super) fn new(writer: &'a mut DumpWriter<W>, dir: &Path) -> std::result::Result<Self, DataDirError> {
        let place = DataDir::contents_in(dir)?.filter(|place| is_bucket(place));
        Ok(Self { writer, row: place.map(|place| contents_row(&place)) })
    }

    /// Adds the next row.
    pub(super) fn add(&mut self, partition: Partition, entry: &Entry) -> Result<()> {
        if partition == Partition::ROOT && entry.key == contents_row("").key {
            return Ok(());
        }
        // Partitions are in the order of signed numbers.
        let place = (partition.0.cast_signed(), &entry.key);
        if let Some(row) = self.row.take_if(|row| place > (Partition::ROOT.0.cast_signed(), &row.key)) {
            self.writer.add(Partition::ROOT, &row)?;
        }
        self.writer.add(partition, entry)
    }

    /// After the last row.
    pub(super) fn finish(self) -> Result<()> {
        self.row.map_or(Ok(()), |row| self.writer.add(Partition::ROOT, &row))
    }
}

/// Where the contents of the store are that a directory is filled with.
pub(super) struct Binding<'a> {
    dir: &'a DataDir,
    place: Option<String>,
}

impl<'a> Binding<'a> {
    pub(super) fn new(dir: &'a DataDir) -> Self {
        Self { dir, place: None }
    }

    /// Looks at the next row, and refuses a store that a server on this directory could not serve.
    pub(super) fn look(&mut self, partition: Partition, entry: &Entry) -> Result<()> {
        let parsed = parse_contents_row(partition, entry).map_err(|error| Error::Unavailable(error.to_string()))?;
        let Some((region, place)) = parsed else { return Ok(()) };
        let refused = |why: String| Err(Error::Unavailable(why));
        if !region.is_empty() {
            return refused(format!("it has contents in region {region}, at {place}, and a store with regions needs a database"));
        }
        let dir = self.dir.path().display();
        let name = if is_bucket(&place) { place.clone() } else { "disk".to_owned() };
        match DataDir::contents_in(self.dir.path()).map_err(|error| Error::Unavailable(error.to_string()))? {
            Some(found) if found != name => {
                return refused(format!("its contents are at {place}, and those of {dir} at {found}: give another data directory"));
            }
            None if name == "disk" => {
                return refused(format!("its contents are in {place}, and {dir} has none: give the data directory that has them"));
            }
            _ => {}
        }
        self.place = Some(name);
        Ok(())
    }

    /// Binds the directory. It has to be before the metadata are there: without, a server would take any place for that of the contents.
    pub(super) fn claim(&self) -> Result<()> {
        let claimed = self.place.as_ref().map_or(Ok(()), |place| self.dir.claim_contents(place));
        claimed.map_err(|error| Error::Unavailable(error.to_string()))
    }
}

/// Whether `place` is one that other servers reach, too.
fn is_bucket(place: &str) -> bool {
    place.starts_with("s3://")
}

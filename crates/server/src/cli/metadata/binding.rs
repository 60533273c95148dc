//! Where the contents of a store are, while its metadata move: a data directory says it in a file, a database in a row.

use std::path::Path;

use umbra_core::SystemRandom;
use umbra_meta::{DumpWriter, Entry, Error, Partition, Result, key::root};
use umbra_store::{ContentsPlace, contents_row, parse_contents_row};

use crate::data_dir::{DataDir, DataDirError};

/// Writes the rows of a directory's store. Where its contents are is what the file of the directory says, whatever a row says that it was
/// filled with.
pub(super) struct Bound<'a, W> {
    writer: &'a mut DumpWriter<W>,
    /// Not yet written.
    place: Option<ContentsPlace>,
}

impl<'a, W: std::io::Write> Bound<'a, W> {
    /// For the directory `dir`. One server's disk is no other's: as a place it has the directory's name.
    pub(super) fn new(writer: &'a mut DumpWriter<W>, dir: &Path) -> std::result::Result<Self, DataDirError> {
        let name = match DataDir::contents_in(dir)? {
            Some(place) if !is_bucket(&place) => Some(DataDir::disk_in(dir, &SystemRandom)?),
            place => place,
        };
        Ok(Self { writer, place: name.map(|name| ContentsPlace { name, badge: None }) })
    }

    /// Adds the next row.
    pub(super) fn add(&mut self, partition: Partition, entry: &Entry) -> Result<()> {
        if let Some((region, found)) = parse(partition, entry)?
            && region.is_empty()
        {
            // The file knows no badge.
            if let Some(place) = self.place.as_mut().filter(|place| place.name == found.name) {
                place.badge = found.badge;
            }
            return Ok(());
        }
        // Partitions are in the order of signed numbers.
        let place = (partition.0.cast_signed(), &entry.key[..]);
        if place > (Partition::ROOT.0.cast_signed(), &root::contents("")[..]) {
            self.write_place()?;
        }
        self.writer.add(partition, entry)
    }

    fn write_place(&mut self) -> Result<()> {
        self.place.take().map_or(Ok(()), |place| self.writer.add(Partition::ROOT, &contents_row(&place)))
    }

    /// After the last row.
    pub(super) fn finish(mut self) -> Result<()> {
        self.write_place()
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
        let Some((region, ContentsPlace { name: place, .. })) = parse(partition, entry)? else { return Ok(()) };
        let refused = |why: String| Err(Error::Unavailable(why));
        if !region.is_empty() {
            return refused(format!("it has contents in region {region}, at {place}, and a store with regions needs a database"));
        }
        let dir = self.dir.path().display();
        let name = if is_bucket(&place) { place.clone() } else { "disk".to_owned() };
        match DataDir::contents_in(self.dir.path()).map_err(unavailable)? {
            Some(found) if found != name => {
                return refused(format!("its contents are at {place}, and those of {dir} at {found}: give another data directory"));
            }
            None if name == "disk" => {
                return refused(format!("its contents are in {place}, and {dir} has none: give the data directory that has them"));
            }
            _ => {}
        }
        if name == "disk"
            && let Some(disk) = DataDir::known_disk_in(self.dir.path()).map_err(unavailable)?.filter(|disk| *disk != place)
        {
            return refused(format!("its contents are in {place}, and {dir} is {disk}: give the data directory that has them"));
        }
        self.place = Some(name);
        Ok(())
    }

    /// Binds the directory. It has to be before the metadata are there: without, a server would take any place for that of the contents.
    pub(super) fn claim(&self) -> Result<()> {
        self.place.as_ref().map_or(Ok(()), |place| self.dir.claim_contents(place)).map_err(unavailable)
    }
}

fn parse(partition: Partition, entry: &Entry) -> Result<Option<(String, ContentsPlace)>> {
    parse_contents_row(partition, entry).map_err(unavailable)
}

fn unavailable(error: impl std::fmt::Display) -> Error {
    Error::Unavailable(error.to_string())
}

/// Whether `place` is one that other servers reach, too.
fn is_bucket(place: &str) -> bool {
    place.starts_with("s3://")
}

//! Where a region's contents are, as all who share a store have to agree on.

use bytes::Bytes;
use umbra_core::Result;
use umbra_meta::{Batch, Entry, Error as MetaError, Expect, Partition, Projection, Revision, key::root};

use super::Catalog;
use crate::record;

/// The format of the record `U/contents/<region>`: one byte, then the name in UTF-8.
const VERSION: u8 = 1;
const WHAT: &str = "the place of contents";
/// More regions than anybody has.
const REGIONS_MAX: usize = 1024;

impl Catalog {
    /// Holds that the contents of `region` are at `place`, from now on and for everybody. Answers where they are, if that is elsewhere.
    pub async fn claim_contents(&self, region: &str, place: &str) -> Result<Option<String>> {
        let row = root::contents(region);
        let batch = Batch::new(Partition::ROOT).check(row.clone(), Expect::Absent).put(row, "", encode(place));
        let found = match self.shared.meta.commit(batch).await {
            Ok(_) => return Ok(None),
            Err(MetaError::Conflict { current: Some(found), .. }) => found,
            Err(error) => return Err(error.into()),
        };
        let found = decode(&found.body)?;
        Ok((found != place).then_some(found))
    }

    /// The regions whose contents are somewhere, and where. The region without a name is that of a store before it has regions.
    pub async fn contents(&self) -> Result<Vec<(String, String)>> {
        let rows = self.shared.meta.scan(Partition::ROOT, root::contents_range(), REGIONS_MAX, Projection::Full).await?;
        rows.iter().map(parse).collect()
    }
}

/// The row of a store without regions, whose contents are at `place`. It goes into a store that is filled before anybody has it open.
pub fn contents_row(place: &str) -> Entry {
    Entry { key: root::contents("").into(), revision: Revision(1), head: Bytes::new(), body: encode(place).into() }
}

/// The region and the place of its contents, if that is what the row says.
pub fn parse_contents_row(partition: Partition, row: &Entry) -> Result<Option<(String, String)>> {
    let is_one = partition == Partition::ROOT && root::parse_contents(&row.key).is_some();
    is_one.then(|| parse(row)).transpose()
}

fn parse(row: &Entry) -> Result<(String, String)> {
    let region = root::parse_contents(&row.key).ok_or_else(|| record::corrupt(WHAT, "its region has no name"))?;
    Ok((region.to_owned(), decode(&row.body)?))
}

fn encode(place: &str) -> Vec<u8> {
    [&[VERSION], place.as_bytes()].concat()
}

fn decode(body: &[u8]) -> Result<String> {
    match record::split(WHAT, body)? {
        (VERSION, name) => Ok(String::from_utf8_lossy(name).into_owned()),
        (version, _) => Err(record::unknown_version(WHAT, version)),
    }
}

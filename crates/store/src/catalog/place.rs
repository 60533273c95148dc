//! Where a region's contents are, as all who share a store have to agree on.

use umbra_core::Result;
use umbra_meta::{Batch, Error as MetaError, Expect, Partition, Projection, key::root};

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
        let body = [&[VERSION], place.as_bytes()].concat();
        let batch = Batch::new(Partition::ROOT).check(row.clone(), Expect::Absent).put(row, "", body);
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
        let region = |key| root::parse_contents(key).map(ToOwned::to_owned).ok_or_else(|| record::corrupt(WHAT, "its region has no name"));
        rows.iter().map(|row| Ok((region(&row.key)?, decode(&row.body)?))).collect()
    }
}

fn decode(body: &[u8]) -> Result<String> {
    match record::split(WHAT, body)? {
        (VERSION, name) => Ok(String::from_utf8_lossy(name).into_owned()),
        (version, _) => Err(record::unknown_version(WHAT, version)),
    }
}

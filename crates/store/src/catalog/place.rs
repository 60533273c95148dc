//! Where a region's contents are, as all who share a store have to agree on.

use umbra_core::Result;
use umbra_meta::{Batch, Error as MetaError, Expect, Partition, key::root};

use super::Catalog;
use crate::record;

/// The format of the record `U/contents/<region>`: one byte, then the name in UTF-8.
const VERSION: u8 = 1;

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
        match record::split("the place of contents", &found.body)? {
            (VERSION, name) => Ok((name != place.as_bytes()).then(|| String::from_utf8_lossy(name).into_owned())),
            (version, _) => Err(record::unknown_version("the place of contents", version)),
        }
    }
}

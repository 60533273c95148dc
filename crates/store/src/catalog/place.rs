//! Where a region's contents are, as all who share a store have to agree on.

use bytes::Bytes;
use umbra_blob::Badge;
use umbra_core::Result;
use umbra_meta::{Batch, Entry, Error as MetaError, Expect, Partition, Projection, Revision, key::root};

use super::Catalog;
use crate::record;

/// The format of the record `U/contents/<region>`: one byte, then the name in UTF-8.
const VERSION: u8 = 1;
/// The same with a badge before the name.
const VERSION_BADGED: u8 = 2;
const WHAT: &str = "the place of contents";
/// More regions than anybody has.
const REGIONS_MAX: usize = 1024;

/// Where contents are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentsPlace {
    /// Its name.
    pub name: String,
    /// By what it is known again; none where it has none yet, and on a disk.
    pub badge: Option<Badge>,
}

impl Catalog {
    /// Holds that the contents of `region` are at `place`, from now on and for everybody. Answers where they are: elsewhere, or with another badge,
    /// where that was held before.
    pub async fn claim_contents(&self, region: &str, place: &ContentsPlace) -> Result<ContentsPlace> {
        let row = root::contents(region);
        let mut expected = Expect::Absent;
        loop {
            let batch = Batch::new(Partition::ROOT).check(row.clone(), expected).put(row.clone(), "", encode(place));
            let current = match self.shared.meta.commit(batch).await {
                Ok(_) => return Ok(place.clone()),
                Err(MetaError::Conflict { current: Some(current), .. }) => current,
                Err(error) => return Err(error.into()),
            };
            let found = decode(&current.body)?;
            if found.name != place.name || found.badge.is_some() || place.badge.is_none() {
                return Ok(found);
            }
            // It had none before.
            expected = Expect::Revision(current.revision);
        }
    }

    /// The regions whose contents are somewhere, and where. The region without a name is that of a store before it has regions.
    pub async fn contents(&self) -> Result<Vec<(String, ContentsPlace)>> {
        let rows = self.shared.meta.scan(Partition::ROOT, root::contents_range(), REGIONS_MAX, Projection::Full).await?;
        rows.iter().map(parse).collect()
    }
}

/// The row of a store without regions, whose contents are at `place`. It goes into a store that is filled before anybody has it open.
pub fn contents_row(place: &ContentsPlace) -> Entry {
    Entry { key: root::contents("").into(), revision: Revision(1), head: Bytes::new(), body: encode(place).into() }
}

/// The region and the place of its contents, if that is what the row says.
pub fn parse_contents_row(partition: Partition, row: &Entry) -> Result<Option<(String, ContentsPlace)>> {
    let is_one = partition == Partition::ROOT && root::parse_contents(&row.key).is_some();
    is_one.then(|| parse(row)).transpose()
}

fn parse(row: &Entry) -> Result<(String, ContentsPlace)> {
    let region = root::parse_contents(&row.key).ok_or_else(|| record::corrupt(WHAT, "its region has no name"))?;
    Ok((region.to_owned(), decode(&row.body)?))
}

fn encode(place: &ContentsPlace) -> Vec<u8> {
    match &place.badge {
        None => [&[VERSION], place.name.as_bytes()].concat(),
        Some(badge) => [&[VERSION_BADGED], &badge.as_bytes()[..], place.name.as_bytes()].concat(),
    }
}

fn decode(body: &[u8]) -> Result<ContentsPlace> {
    let (badge, name) = match record::split(WHAT, body)? {
        (VERSION, name) => (None, name),
        (VERSION_BADGED, rest) => {
            let (badge, name) = rest.split_first_chunk::<{ Badge::LEN }>().ok_or_else(|| record::corrupt(WHAT, "its badge is cut off"))?;
            (Some(Badge::from_bytes(*badge)), name)
        }
        (version, _) => return Err(record::unknown_version(WHAT, version)),
    };
    Ok(ContentsPlace { name: String::from_utf8_lossy(name).into_owned(), badge })
}

#[cfg(test)]
mod tests {
    use umbra_blob::Badge;

    use super::{ContentsPlace, decode, encode};

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let place = |badge| ContentsPlace { name: "s3://b/fra".to_owned(), badge };
        let whole = place(Some(Badge::from_bytes(*b"0123456789abcdef")));
        assert_eq!(encode(&place(None)), b"\x01s3://b/fra");
        assert_eq!(encode(&whole), b"\x020123456789abcdefs3://b/fra");
        for place in [place(None), whole.clone()] {
            assert_eq!(decode(&encode(&place)).unwrap(), place);
        }
        for wrong in [&b""[..], b"\x03s3://b", &encode(&whole)[..16]] {
            decode(wrong).unwrap_err();
        }
    }
}

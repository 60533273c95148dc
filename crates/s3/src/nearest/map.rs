//! What says which region is nearest to an address.

use std::net::IpAddr;

use maxminddb::MaxMindDbError;

use super::{RegionAddress, networks::Networks, places::Places};

/// What a database of MaxMind's form has before its description of itself.
const DATABASE_MARK: &[u8] = b"\xab\xcd\xefMaxMind.com";
/// How long that description is at most, by its specification.
const DESCRIPTION_BYTES_MAX: usize = 128 * 1024;

/// Which region is nearest to an address.
#[derive(Debug)]
pub struct RegionMap(Kind);

#[derive(Debug)]
enum Kind {
    /// Networks and the region of each.
    Networks(Networks),
    /// Where addresses and regions are on earth.
    Places(Places),
}

/// Why a map cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegionMapError {
    /// A line of it makes no sense.
    #[error("line {0} {1}")]
    Line(usize, String),
    /// It is neither of the two.
    #[error("it is neither a text of lines NETWORK,REGION nor a database of MaxMind's form")]
    Form,
    /// It is a damaged database.
    #[error("it is a database that cannot be read")]
    Database(#[source] MaxMindDbError),
    /// It tells places, and it is not known where a region is.
    #[error("it tells places on earth, and nobody says where region {0} is")]
    NoPlace(String),
}

impl RegionMap {
    /// Reads a map for `regions`: lines `NETWORK,REGION`, or a database of MaxMind's form that tells places.
    pub fn parse(bytes: Vec<u8>, regions: &[RegionAddress]) -> Result<Self, RegionMapError> {
        let end = &bytes[bytes.len().saturating_sub(DESCRIPTION_BYTES_MAX)..];
        if end.windows(DATABASE_MARK.len()).any(|part| part == DATABASE_MARK) {
            return Places::open(bytes, regions).map(Kind::Places).map(Self);
        }
        let text = String::from_utf8(bytes).map_err(|_| RegionMapError::Form)?;
        Networks::parse(&text, regions).map(Kind::Networks).map(Self)
    }

    /// The region that is nearest to `client`; none where the map does not know, or where that has no node that lives.
    pub fn nearest(&self, client: IpAddr, is_live: impl Fn(&str) -> bool) -> Option<&str> {
        let client = client.to_canonical();
        match &self.0 {
            Kind::Networks(networks) => networks.region(client).filter(|region| is_live(region)),
            Kind::Places(places) => places.nearest(client, is_live),
        }
    }
}

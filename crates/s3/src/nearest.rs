//! Which region is nearest to a client, and where clients reach it.
//!
//! A map says which region the addresses of a network belong to, or where on earth an address is. It is asked with nothing but the address
//! of a client and which regions have a node that lives: [`RegionMap::nearest`]. Who is sent there, and how, is decided in
//! [`crate::layer`].

mod address;
mod map;
mod networks;
mod places;

use std::{fmt, net::IpAddr, sync::Arc};

use parking_lot::RwLock;

pub use self::{
    address::RegionAddress,
    map::{RegionMap, RegionMapError},
    places::Coordinates,
};

/// The regions of a store and the map that says which of them is nearest, as one region sees them.
pub struct Nearest {
    parts: NearestParts,
    map: RwLock<Arc<RegionMap>>,
}

/// What [`Nearest`] is made of.
pub struct NearestParts {
    /// The region of this server.
    pub region: String,
    /// The regions that clients can be sent to, this one among them.
    pub addresses: Vec<RegionAddress>,
    /// Where clients reach all regions, by its URL; empty where there is no such name.
    pub common_url: String,
    /// Whether requests that carry a signature are sent on too, not only those without.
    pub sends_signed: bool,
    /// Whether a region has a node that lives.
    pub is_live: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

impl Nearest {
    /// What `parts` and `map` say.
    pub fn new(parts: NearestParts, map: RegionMap) -> Self {
        Self { parts, map: RwLock::new(Arc::new(map)) }
    }

    /// Replaces the map.
    pub fn replace_map(&self, map: RegionMap) {
        *self.map.write() = Arc::new(map);
    }

    /// The regions that the map may speak of.
    pub fn addresses(&self) -> &[RegionAddress] {
        &self.parts.addresses
    }

    /// The region that is nearest to `client`, if that is another than this one.
    pub(crate) fn elsewhere(&self, client: IpAddr) -> Option<&RegionAddress> {
        let map = Arc::clone(&self.map.read());
        let name = map.nearest(client, |region| region == self.parts.region || (self.parts.is_live)(region))?;
        self.parts.addresses.iter().find(|address| address.name() == name && name != self.parts.region)
    }

    /// Whether clients that say `host` name a region by it.
    pub(crate) fn names_region(&self, host: &str) -> bool {
        self.parts.addresses.iter().any(|address| address.is_at(host))
    }

    /// Whether requests that carry a signature are sent on too.
    pub(crate) const fn sends_signed(&self) -> bool {
        self.parts.sends_signed
    }

    /// The host by which clients reach all regions, if `url` is on it, and the rest of `url`.
    pub(crate) fn common<'a>(&self, url: &'a str) -> Option<(&'a str, &'a str)> {
        let common = self.parts.common_url.as_str();
        let rest = url.strip_prefix(common).filter(|rest| !common.is_empty() && rest.starts_with('/'))?;
        let (_, host) = url[..common.len()].split_once("://")?;
        Some((host, rest))
    }
}

impl fmt::Debug for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nearest").field("region", &self.parts.region).field("addresses", &self.parts.addresses).finish_non_exhaustive()
    }
}

impl fmt::Debug for NearestParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearestParts").field("region", &self.region).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Nearest, NearestParts, RegionAddress, RegionMap};

    fn nearest(live: &'static str) -> Nearest {
        let addresses = ["fra", "iad"].map(|name| RegionAddress::parse(name, &format!("https://{name}.s3.test"), None).unwrap()).to_vec();
        let map = RegionMap::parse(b"10.1.0.0/16,fra\n10.2.0.0/16,iad".to_vec(), &addresses).unwrap();
        let parts = NearestParts {
            region: "fra".to_owned(),
            addresses,
            common_url: "https://s3.test".to_owned(),
            sends_signed: false,
            is_live: Box::new(move |region| region == live),
        };
        Nearest::new(parts, map)
    }

    #[test]
    fn only_another_region_with_a_node_is_named() {
        let name = |nearest: &Nearest, client: &str| nearest.elsewhere(client.parse().unwrap()).map(|address| address.name().to_owned());
        let both = nearest("iad");
        assert_eq!(name(&both, "10.1.0.1"), None, "it is here");
        assert_eq!(name(&both, "10.2.0.1").as_deref(), Some("iad"));
        assert_eq!(name(&both, "10.3.0.1"), None, "nobody knows");
        assert_eq!(name(&nearest("nowhere"), "10.2.0.1"), None);
        both.replace_map(RegionMap::parse(b"10.3.0.0/16,iad".to_vec(), both.addresses()).unwrap());
        assert_eq!((name(&both, "10.2.0.1"), name(&both, "10.3.0.1").as_deref()), (None, Some("iad")));
    }

    #[test]
    fn the_common_name_is_told_from_others() {
        let nearest = nearest("iad");
        assert_eq!(nearest.common("https://s3.test/b/k?acl"), Some(("s3.test", "/b/k?acl")));
        for other in ["https://s3.test.evil/b/k", "http://s3.test/b/k", "https://s3.test", "https://fra.s3.test/b/k", ""] {
            assert_eq!(nearest.common(other), None, "{other}");
        }
        assert!(nearest.names_region("fra.s3.test") && nearest.names_region("IAD.s3.test:443"));
        assert!(!nearest.names_region("s3.test") && !nearest.names_region("b.fra.s3.test"));
    }
}

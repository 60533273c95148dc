//! Networks and the region of each: of those that an address is in, the smallest says.

use std::{collections::HashMap, net::IpAddr};

use super::{RegionAddress, RegionMapError};
use crate::network::Network;

/// Networks and the region of each.
#[derive(Debug, Default)]
pub(super) struct Networks {
    regions: Vec<String>,
    v4: Table,
    v6: Table,
}

/// The networks of one family, by how many bits their addresses share, most first: then by these bits.
#[derive(Debug, Default)]
struct Table(Vec<(u8, HashMap<u128, usize>)>);

impl Networks {
    /// Reads lines `NETWORK,REGION`. Lines that are empty or begin with `#` say nothing.
    pub(super) fn parse(text: &str, regions: &[RegionAddress]) -> Result<Self, RegionMapError> {
        let mut networks = Self { regions: regions.iter().map(|region| region.name().to_owned()).collect(), ..Self::default() };
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            networks.add(line).map_err(|why| RegionMapError::Line(index + 1, why))?;
        }
        Ok(networks)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let (network, region) = line.split_once(',').ok_or("is not of the form NETWORK,REGION")?;
        let (network, region) = (network.trim(), region.trim());
        let parsed = Network::parse(network).ok_or("does not begin with a network, as 10.1.0.0/16")?;
        let known = self.regions.iter().position(|known| known == region);
        let region = known.ok_or_else(|| format!("names a region that clients have no URL of: {region:?}"))?;
        let (table, address) = self.table(parsed.address());
        let by_bits = match table.0.binary_search_by(|(bits, _)| parsed.bits().cmp(bits)) {
            Ok(found) => &mut table.0[found].1,
            Err(place) => {
                table.0.insert(place, (parsed.bits(), HashMap::new()));
                &mut table.0[place].1
            }
        };
        match by_bits.insert(shared(address, parsed.bits()), region) {
            Some(_) => Err(format!("names {network} once more")),
            None => Ok(()),
        }
    }

    /// The region of the smallest network that `client` is in.
    pub(super) fn region(&self, client: IpAddr) -> Option<&str> {
        let (table, address) = match client {
            IpAddr::V4(_) => (&self.v4, left(client)),
            IpAddr::V6(_) => (&self.v6, left(client)),
        };
        let region = table.0.iter().find_map(|(bits, networks)| networks.get(&shared(address, *bits)))?;
        self.regions.get(*region).map(String::as_str)
    }

    fn table(&mut self, address: IpAddr) -> (&mut Table, u128) {
        match address {
            IpAddr::V4(_) => (&mut self.v4, left(address)),
            IpAddr::V6(_) => (&mut self.v6, left(address)),
        }
    }
}

/// The bits of an address, from the left.
fn left(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The first `bits` of an address.
fn shared(address: u128, bits: u8) -> u128 {
    address & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::Networks;
    use crate::{RegionAddress, network::Network};

    const REGIONS: [&str; 3] = ["ams", "fra", "iad"];

    fn parse(text: &str) -> Result<Networks, String> {
        let regions = REGIONS.map(|name| RegionAddress::parse(name, "https://a.test", None).unwrap());
        Networks::parse(text, &regions).map_err(|error| error.to_string())
    }

    #[test]
    fn the_smallest_network_says() {
        let map = parse("# offices\n10.0.0.0/8, fra\n\n 10.1.2.3/16 ,ams\n10.1.2.3,iad\nfd00::/8,iad\n0.0.0.0/0,ams\r\n").unwrap();
        for (client, region) in [
            ("10.9.0.1", Some("fra")),
            ("10.1.9.9", Some("ams")),
            ("10.1.2.3", Some("iad")),
            ("11.0.0.1", Some("ams")),
            ("fd12::1", Some("iad")),
            ("fe80::1", None),
        ] {
            assert_eq!(map.region(client.parse().unwrap()), region, "{client}");
        }
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named() {
        for (text, told) in [
            ("10.0.0.0/8", "line 1 is not of the form"),
            ("# a\n10.0.0.0/33,fra", "line 2 does not begin with a network"),
            ("fra,10.0.0.0/8", "line 1 does not begin with a network"),
            ("10.0.0.0/8,sin", "line 1 names a region that clients have no URL of: \"sin\""),
            ("10.0.0.0/8,fra\n10.255.0.0/8,ams", "line 2 names 10.255.0.0/8 once more"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(told), "{text}: {error}");
        }
    }

    /// Few different bits, so that networks lie within one another and addresses in many.
    fn address() -> impl Strategy<Value = IpAddr> {
        let bits = prop::collection::vec(prop::sample::select(vec![0_u8, 1, 0x80, 0xff]), 16);
        (any::<bool>(), bits).prop_map(|(is_v4, bits)| {
            if is_v4 {
                Ipv4Addr::new(bits[0], bits[1], bits[2], bits[3]).into()
            } else {
                Ipv6Addr::from(<[u8; 16]>::try_from(bits).unwrap()).into()
            }
        })
    }

    fn line() -> impl Strategy<Value = (String, &'static str)> {
        (address(), 0_u8..=128, prop::sample::select(REGIONS.to_vec())).prop_map(|(address, bits, region)| {
            let most = if address.is_ipv4() { 32 } else { 128 };
            (format!("{address}/{}", bits % (most + 1)), region)
        })
    }

    proptest! {
        /// As a plain search through all of them finds it.
        #[test]
        fn the_smallest_is_what_a_search_finds(lines in prop::collection::vec(line(), 0..40), clients in prop::collection::vec(address(), 1..20)) {
            let mut kept: Vec<(Network, &str)> = Vec::new();
            let mut text = String::new();
            for (network, region) in lines {
                let parsed = Network::parse(&network).unwrap();
                let is_same = |other: &Network| {
                    other.bits() == parsed.bits() && other.address().is_ipv4() == parsed.address().is_ipv4() && other.contains(parsed.address())
                };
                if !kept.iter().any(|(other, _)| is_same(other)) {
                    text.push_str(&format!("{network},{region}\n"));
                    kept.push((parsed, region));
                }
            }
            let map = parse(&text).unwrap();
            for client in clients {
                let client = client.to_canonical();
                let found = kept.iter().filter(|(network, _)| network.contains(client)).max_by_key(|(network, _)| network.bits());
                prop_assert_eq!(map.region(client), found.map(|(_, region)| *region), "{} in\n{}", client, text);
            }
        }
    }
}

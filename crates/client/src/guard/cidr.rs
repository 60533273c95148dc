//! Networks as operators write them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A network in CIDR notation, such as `10.0.0.0/8` or `fd00::/8`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// The IPv4 network `a.b.c.d/prefix`, for tables of constants.
    pub(super) const fn v4(octets: [u8; 4], prefix: u8) -> Self {
        Self { network: IpAddr::V4(Ipv4Addr::from_octets(octets)), prefix }
    }

    /// The IPv6 network `segments/prefix`, for tables of constants.
    pub(super) const fn v6(segments: [u16; 8], prefix: u8) -> Self {
        Self { network: IpAddr::V6(Ipv6Addr::from_segments(segments)), prefix }
    }

    /// Whether `address` lies within. An IPv4 address is never within an IPv6 network, nor the other way round.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => high_bits(network.to_bits().into(), address.to_bits().into(), 32, self.prefix),
            (IpAddr::V6(network), IpAddr::V6(address)) => high_bits(network.to_bits(), address.to_bits(), 128, self.prefix),
            _ => false,
        }
    }

    fn has_host_bits(&self) -> bool {
        let (bits, width) = match self.network {
            IpAddr::V4(network) => (u128::from(network.to_bits()), 32),
            IpAddr::V6(network) => (network.to_bits(), 128),
        };
        let host = width - u32::from(self.prefix);
        bits & 1u128.checked_shl(host).map_or(u128::MAX, |bit| bit - 1) != 0
    }
}

/// Whether `left` and `right`, both `width` bits wide, agree in their first `prefix` bits.
fn high_bits(left: u128, right: u128, width: u32, prefix: u8) -> bool {
    (left ^ right).checked_shr(width - u32::from(prefix)).unwrap_or(0) == 0
}

/// Why a text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a network such as 10.0.0.0/8: {why}")]
pub struct CidrError {
    text: String,
    why: &'static str,
}

impl FromStr for Cidr {
    type Err = CidrError;

    /// Reads `address/prefix`; an address alone is the network of that one address.
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let error = |why| CidrError { text: text.to_owned(), why };
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let network: IpAddr = address.parse().map_err(|_| error("the address is malformed"))?;
        let width = if network.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= width).ok_or_else(|| error("the prefix is too long"))?
            }
            Some(_) => return Err(error("the prefix is not a number")),
        };
        let cidr = Self { network, prefix };
        if cidr.has_host_bits() { Err(error("the address has bits beyond the prefix")) } else { Ok(cidr) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Cidr;

    #[test]
    fn networks_contain_their_addresses_and_no_others() {
        let cases = [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "9.255.255.255", false),
            ("192.168.1.0/24", "192.168.1.77", true),
            ("192.168.1.0/24", "192.168.2.0", false),
            ("1.2.3.4/32", "1.2.3.4", true),
            ("1.2.3.4", "1.2.3.5", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "1.2.3.4", false),
            ("fd00::/8", "fdff:1::", true),
            ("fd00::/8", "fe00::", false),
            ("::1", "::1", true),
            ("::1/128", "::2", false),
        ];
        for (network, address, within) in cases {
            let cidr: Cidr = network.parse().unwrap();
            assert_eq!(cidr.contains(address.parse().unwrap()), within, "{address} in {network}");
        }
    }

    #[test]
    fn networks_are_read_and_written() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "fd00::/8", "1.2.3.4/32"] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "::/129",
            "10.0.0.1/8",
            "::1/64",
            "10.0/8",
            "host/8",
            "10.0.0.0/8/8",
            "10.0.0.0/999",
        ] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }
}

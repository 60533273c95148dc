//! What kind of address an address is.
//!
//! Sources: the IANA special-purpose registries,
//! <https://www.iana.org/assignments/iana-ipv4-special-registry> and
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Cidr;

/// How an address is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Anybody may connect to it.
    Public,
    /// This machine.
    Loopback,
    /// Only where the operator allows its network; with the reason.
    Restricted(&'static str),
    /// Nobody ever connects to it through us; with the reason, which says so.
    Never(&'static str),
}

/// Metadata services answer with the machine's own credentials. Those that do not lie in link-local ranges.
const METADATA: [IpAddr; 5] = [
    // Amazon EC2, https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    // Google Compute Engine, https://cloud.google.com/compute/docs/metadata/querying-metadata
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    // Alibaba Cloud, https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Oracle Cloud Classic, https://docs.oracle.com/en/cloud/iaas/compute-iaas-cloud/stcsg/retrieving-instance-metadata.html
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    // Azure's platform address, https://learn.microsoft.com/en-us/azure/virtual-network/what-is-ip-address-168-63-129-16
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// Judged in this order; what none of them holds is public.
const V4: [(Cidr, Class); 17] = [
    (Cidr::v4([0, 0, 0, 0], 32), Class::Never("an unspecified address, never allowed")),
    (Cidr::v4([0, 0, 0, 0], 8), Class::Restricted("an address of this network")),
    (Cidr::v4([10, 0, 0, 0], 8), Class::Restricted("a private address")),
    (Cidr::v4([100, 64, 0, 0], 10), Class::Restricted("a carrier-grade NAT address")),
    (Cidr::v4([127, 0, 0, 0], 8), Class::Loopback),
    (Cidr::v4([169, 254, 0, 0], 16), Class::Never("a link-local address, never allowed")),
    (Cidr::v4([172, 16, 0, 0], 12), Class::Restricted("a private address")),
    (Cidr::v4([192, 0, 0, 0], 24), Class::Restricted("a protocol assignment address")),
    (Cidr::v4([192, 0, 2, 0], 24), Class::Restricted("a documentation address")),
    (Cidr::v4([192, 88, 99, 0], 24), Class::Restricted("a 6to4 relay address")),
    (Cidr::v4([192, 168, 0, 0], 16), Class::Restricted("a private address")),
    (Cidr::v4([198, 18, 0, 0], 15), Class::Restricted("a benchmarking address")),
    (Cidr::v4([198, 51, 100, 0], 24), Class::Restricted("a documentation address")),
    (Cidr::v4([203, 0, 113, 0], 24), Class::Restricted("a documentation address")),
    (Cidr::v4([224, 0, 0, 0], 4), Class::Never("a multicast address, never allowed")),
    (Cidr::v4([255, 255, 255, 255], 32), Class::Never("the broadcast address, never allowed")),
    (Cidr::v4([240, 0, 0, 0], 4), Class::Restricted("a reserved address")),
];

/// Judged in this order. Only 2000::/3 is handed out as global unicast, so the last row restricts what no other row holds.
const V6: [(Cidr, Class); 14] = [
    (Cidr::v6([0; 8], 128), Class::Never("an unspecified address, never allowed")),
    (Cidr::v6([0, 0, 0, 0, 0, 0, 0, 1], 128), Class::Loopback),
    (Cidr::v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), Class::Never("a link-local address, never allowed")),
    (Cidr::v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), Class::Never("a multicast address, never allowed")),
    (Cidr::v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), Class::Restricted("a unique local address")),
    (Cidr::v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), Class::Restricted("a site-local address")),
    // What these three carry inside is judged besides; see `embedded`.
    (NAT64, Class::Public),
    (SIX_TO_FOUR, Class::Public),
    (TEREDO, Class::Public),
    (Cidr::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), Class::Restricted("a protocol assignment address")),
    (Cidr::v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), Class::Restricted("a documentation address")),
    (Cidr::v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), Class::Restricted("a documentation address")),
    (Cidr::v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3), Class::Public),
    (Cidr::v6([0; 8], 0), Class::Restricted("not a global unicast address")),
];

/// RFC 6052.
const NAT64: Cidr = Cidr::v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
/// RFC 8215: for use inside a network; the embedding is at the end for prefixes of 96 bits, the usual choice.
const NAT64_LOCAL: Cidr = Cidr::v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48);
/// RFC 2765: IPv4-translated.
const SIIT: Cidr = Cidr::v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96);
/// RFC 3056.
const SIX_TO_FOUR: Cidr = Cidr::v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);
/// RFC 4380.
const TEREDO: Cidr = Cidr::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32);
/// RFC 4291, section 2.5.5.1; deprecated, and still understood by some stacks.
const V4_COMPATIBLE: Cidr = Cidr::v6([0; 8], 96);

/// Classifies `address` by itself. The caller judges what is [`embedded`] in it as well.
pub(super) fn classify(address: IpAddr) -> Class {
    if METADATA.contains(&address) {
        return Class::Never("a metadata service, never allowed");
    }
    let table: &[(Cidr, Class)] = if address.is_ipv4() { &V4 } else { &V6 };
    table.iter().find(|(network, _)| network.contains(address)).map_or(Class::Public, |(_, class)| *class)
}

/// The IPv4 addresses a packet to `address` may end up at: the ones it carries inside, by whatever translation.
pub(super) fn embedded(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let segments = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    let last = v4(segments[6], segments[7]);
    let ip = IpAddr::V6(address);
    if NAT64.contains(ip) || NAT64_LOCAL.contains(ip) || SIIT.contains(ip) {
        return vec![last];
    }
    if SIX_TO_FOUR.contains(ip) {
        return vec![v4(segments[1], segments[2])];
    }
    if TEREDO.contains(ip) {
        // The server in clear, the client's address with every bit flipped.
        return vec![v4(segments[2], segments[3]), Ipv4Addr::from_bits(!last.to_bits())];
    }
    let compatible = V4_COMPATIBLE.contains(ip) && !address.is_loopback() && !address.is_unspecified();
    // RFC 5214: ISATAP marks its interface identifier with 5efe, whatever the prefix.
    let isatap = segments[5] == 0x5efe && segments[4] & !0x0200 == 0;
    if compatible || isatap { vec![last] } else { Vec::new() }
}

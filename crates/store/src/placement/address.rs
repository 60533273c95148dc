//! In which region a blob is at home, and the identifier that says so.
//!
//! ```text
//!  0    1    2
//! ┌────┬────┬──────────┬──────────────────────────────┐
//! │ 04 │ n  │  region  │  the engine's own identifier │   a blob at home in the region of that name, n bytes long
//! └────┴────┴──────────┴──────────────────────────────┘
//! ```
//!
//! The tags 1, 2 and 3 are those of engines: an identifier that begins with one of them is from before the store had regions. These bytes are
//! kept in metadata records for ever.

use umbra_blob::BlobId;
use umbra_core::Region;

const TAG: u8 = 4;

/// Where a blob is at home, and what it is called there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) region: Region,
    pub(super) inner: BlobId,
}

impl Address {
    /// Writes the identifier of what the store of `region` calls `inner`.
    pub(super) fn encode(region: &Region, inner: &BlobId) -> BlobId {
        let region = region.as_str();
        let length = u8::try_from(region.len()).expect("names of regions are short");
        BlobId::from_bytes(&[&[TAG, length], region.as_bytes(), inner.as_bytes()].concat())
    }

    /// Reads an identifier; `None` for one that was never issued. One without a region is of the region `first`.
    pub(super) fn decode(id: &BlobId, first: Option<&Region>) -> Option<Self> {
        match id.as_bytes() {
            [TAG, length, rest @ ..] => {
                let (region, inner) = rest.split_at_checked(usize::from(*length))?;
                let region = Region::parse(std::str::from_utf8(region).ok()?).ok()?;
                Some(Self { region, inner: BlobId::from_bytes(inner) })
            }
            [TAG, ..] => None,
            _ => Some(Self { region: first?.clone(), inner: id.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use umbra_blob::BlobId;
    use umbra_core::Region;

    use super::Address;

    fn region(name: &str) -> Region {
        Region::parse(name).unwrap()
    }

    #[test]
    fn identifiers_are_those_that_were_drawn() {
        let inner = BlobId::from_bytes(b"\x03inner");
        let id = Address::encode(&region("fra"), &inner);
        assert_eq!(id.as_bytes(), b"\x04\x03fra\x03inner");
        assert_eq!(Address::decode(&id, None), Some(Address { region: region("fra"), inner: inner.clone() }));
        assert_eq!(Address::decode(&inner, Some(&region("iad"))), Some(Address { region: region("iad"), inner: inner.clone() }));
        assert_eq!(Address::decode(&inner, None), None);
    }

    #[test]
    fn foreign_identifiers_are_refused() {
        for bad in [&b"\x04"[..], b"\x04\x00x", b"\x04\x04fra", b"\x04\x03f/ax", b"\x04\x03f\xeeax", &[4; 64]] {
            assert_eq!(Address::decode(&BlobId::from_bytes(bad), Some(&region("fra"))), None, "{bad:?}");
        }
    }

    #[test]
    fn the_longest_fits() {
        // 32 bytes are the longest name of a region, and 29 the longest identifier of any engine: a record of the disk's.
        let id = Address::encode(&region(&"r".repeat(32)), &BlobId::from_bytes(&[1; 29]));
        assert!(id.as_bytes().len() <= BlobId::BYTES_MAX);
    }
}

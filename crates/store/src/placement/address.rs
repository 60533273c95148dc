//! In which region a blob is at home, and the identifier that says so.
//!
//! ```text
//!  0    1    2
//! ┌────┬────┬──────────┬──────────────────────────────┐
//! │ 04 │ n  │  region  │  the engine's own identifier │   a blob at home in the region of that name, n bytes long
//! └────┴────┴──────────┴──────────────────────────────┘
//!
//!  05   n    region     the engine's own identifier     those bytes alone, which are nobody's any more; there is nothing to read
//! ```
//!
//! The tags 1, 2 and 3 are those of engines: an identifier that begins with one of them is from before the store had regions. These bytes are
//! kept in metadata records for ever.

use umbra_blob::BlobId;
use umbra_core::Region;

const TAG: u8 = 4;
const LEFTOVER_TAG: u8 = 5;

/// Where a blob is at home, and what it is called there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) region: Region,
    pub(super) inner: BlobId,
}

impl Address {
    /// Writes the identifier of what the store of `region` calls `inner`.
    pub(super) fn encode(region: &Region, inner: &BlobId) -> BlobId {
        tagged(TAG, region.as_str(), inner)
    }

    /// Reads an identifier; `None` for one that was never issued. One without a region is of the region `first`.
    pub(super) fn decode(id: &BlobId, first: Option<&Region>) -> Option<Self> {
        match id.as_bytes() {
            [TAG, rest @ ..] => Self::split(rest),
            [LEFTOVER_TAG, ..] => None,
            _ => Some(Self { region: first?.clone(), inner: id.clone() }),
        }
    }

    /// Reads what [`leftover`] wrote.
    pub(super) fn decode_leftover(id: &BlobId) -> Option<Self> {
        Self::split(id.as_bytes().strip_prefix(&[LEFTOVER_TAG])?)
    }

    fn split(rest: &[u8]) -> Option<Self> {
        let (length, rest) = rest.split_first()?;
        let (region, inner) = rest.split_at_checked(usize::from(*length))?;
        let region = Region::parse(std::str::from_utf8(region).ok()?).ok()?;
        Some(Self { region, inner: BlobId::from_bytes(inner) })
    }
}

/// What a reclamation calls the bytes `inner` of `region` that are nobody's any more, although their blob may live elsewhere.
pub(super) fn leftover(region: &str, inner: &BlobId) -> BlobId {
    tagged(LEFTOVER_TAG, region, inner)
}

fn tagged(tag: u8, region: &str, inner: &BlobId) -> BlobId {
    let length = u8::try_from(region.len()).expect("names of regions are short");
    BlobId::from_bytes(&[&[tag, length], region.as_bytes(), inner.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use umbra_blob::BlobId;
    use umbra_core::Region;

    use super::{Address, leftover};

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
        let left = leftover("fra", &inner);
        assert_eq!(left.as_bytes(), b"\x05\x03fra\x03inner");
        assert_eq!(Address::decode_leftover(&left), Address::decode(&id, None));
        assert_eq!((Address::decode_leftover(&id), Address::decode(&left, Some(&region("iad")))), (None, None));
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

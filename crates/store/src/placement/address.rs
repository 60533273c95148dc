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

const TAG: u8 = 4;
const LEFTOVER_TAG: u8 = 5;
/// The longest name of a region: with it and the longest identifier of any engine [`BlobId::BYTES_MAX`] is kept.
pub(super) const REGION_BYTES_MAX: usize = 32;

/// Where a blob is at home, and what it is called there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) region: String,
    pub(super) inner: BlobId,
}

impl Address {
    /// Writes the identifier of what the store of `region` calls `inner`.
    pub(super) fn encode(region: &str, inner: &BlobId) -> BlobId {
        tagged(TAG, region, inner)
    }

    /// Reads an identifier; `None` for one that was never issued. One without a region is of the region `first`.
    pub(super) fn decode(id: &BlobId, first: Option<&str>) -> Option<Self> {
        match id.as_bytes() {
            [TAG, rest @ ..] => Self::split(rest),
            [LEFTOVER_TAG, ..] => None,
            _ => Some(Self { region: first?.to_owned(), inner: id.clone() }),
        }
    }

    /// Reads what [`leftover`] wrote.
    pub(super) fn decode_leftover(id: &BlobId) -> Option<Self> {
        Self::split(id.as_bytes().strip_prefix(&[LEFTOVER_TAG])?)
    }

    fn split(rest: &[u8]) -> Option<Self> {
        let (length, rest) = rest.split_first()?;
        let (region, inner) = rest.split_at_checked(usize::from(*length))?;
        let region = std::str::from_utf8(region).ok().filter(|region| is_region_name(region))?;
        Some(Self { region: region.to_owned(), inner: BlobId::from_bytes(inner) })
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

/// Whether blobs can be at home in a region of that name: 1 to 32 letters, digits and dashes.
pub fn is_region_name(name: &str) -> bool {
    (1..=REGION_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use umbra_blob::BlobId;

    use super::{Address, leftover};

    #[test]
    fn identifiers_are_those_that_were_drawn() {
        let inner = BlobId::from_bytes(b"\x03inner");
        let id = Address::encode("fra", &inner);
        assert_eq!(id.as_bytes(), b"\x04\x03fra\x03inner");
        assert_eq!(Address::decode(&id, None), Some(Address { region: "fra".to_owned(), inner: inner.clone() }));
        assert_eq!(Address::decode(&inner, Some("iad")), Some(Address { region: "iad".to_owned(), inner: inner.clone() }));
        assert_eq!(Address::decode(&inner, None), None);
        let left = leftover("fra", &inner);
        assert_eq!(left.as_bytes(), b"\x05\x03fra\x03inner");
        assert_eq!(Address::decode_leftover(&left), Address::decode(&id, None));
        assert_eq!((Address::decode_leftover(&id), Address::decode(&left, Some("iad"))), (None, None));
    }

    #[test]
    fn foreign_identifiers_are_refused() {
        for bad in [&b"\x04"[..], b"\x04\x00x", b"\x04\x04fra", b"\x04\x03f/ax", b"\x04\x03f\xeeax", &[4; 64]] {
            assert_eq!(Address::decode(&BlobId::from_bytes(bad), Some("fra")), None, "{bad:?}");
        }
    }

    #[test]
    fn the_longest_fits() {
        // 29 bytes are the longest identifier of any engine: a record of the disk's.
        let id = Address::encode(&"r".repeat(super::REGION_BYTES_MAX), &BlobId::from_bytes(&[1; 29]));
        assert!(id.as_bytes().len() <= BlobId::BYTES_MAX);
    }
}

//! Which object a blob is, and the identifier that says so.
//!
//! ```text
//!  0    1                     9               25
//! ┌────┬─────────────────────┬───────────────┐
//! │ 03 │       length        │     nonce     │   an object, named by the nonce in hexadecimal
//! └────┴─────────────────────┴───────────────┘
//! ```
//!
//! `length` counts bytes of content, little-endian. The tags 1 and 2 are the disk engine's. These bytes are kept in metadata records for ever.

use super::blocks::Nonce;
use crate::BlobId;

const TAG: u8 = 3;
/// No object is as long as this, so that sums of lengths and offsets never overflow.
const LENGTH_END: u64 = 1 << 60;

/// Which object a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Bytes of content.
    pub(super) length: u64,
    pub(super) nonce: Nonce,
}

impl Address {
    /// Writes the identifier.
    pub(super) fn encode(&self) -> BlobId {
        BlobId::from_bytes(&[&[TAG][..], &self.length.to_le_bytes(), &self.nonce].concat())
    }

    /// Reads an identifier; `None` for one this engine never issued.
    pub(super) fn decode(id: &BlobId) -> Option<Self> {
        let rest = id.as_bytes().strip_prefix(&[TAG])?;
        let (length, nonce) = rest.split_first_chunk()?;
        let address = Self { length: u64::from_le_bytes(*length), nonce: nonce.try_into().ok()? };
        (address.length < LENGTH_END).then_some(address)
    }
}

#[cfg(test)]
mod tests {
    use super::Address;
    use crate::BlobId;

    #[test]
    fn identifiers_are_those_that_were_drawn() {
        let address = Address { length: 0x0102_0304_0506_0708, nonce: *b"0123456789abcdef" };
        assert_eq!(hex::encode(address.encode().as_bytes()), "03080706050403020130313233343536373839616263646566");
        assert_eq!(Address::decode(&address.encode()), Some(address));
    }

    #[test]
    fn foreign_identifiers_are_refused() {
        let good = Address { length: 1, nonce: [7; 16] }.encode();
        let endless = Address { length: u64::MAX, nonce: [7; 16] }.encode();
        let longer = [good.as_bytes(), &[0]].concat();
        for bad in [&[][..], &[3], &[2; 25], &[4; 25], &longer, &good.as_bytes()[..24], endless.as_bytes()] {
            assert_eq!(Address::decode(&BlobId::from_bytes(bad)), None, "{bad:?}");
        }
    }
}

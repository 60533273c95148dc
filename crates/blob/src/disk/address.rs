//! Where a blob lies, and the identifier that says so.
//!
//! ```text
//!  0    1           5          9          13              29
//! ┌────┬───────────┬──────────┬──────────┬───────────────┐
//! │ 01 │  segment  │  offset  │  length  │     nonce     │   a record in a segment
//! └────┴───────────┴──────────┴──────────┴───────────────┘
//!  0    1                     9               25
//! ┌────┬─────────────────────┬───────────────┐
//! │ 02 │       length        │     nonce     │   a file of its own, named by the nonce in hexadecimal
//! └────┴─────────────────────┴───────────────┘
//! ```
//!
//! All numbers are little-endian; `length` counts bytes of data. These bytes are kept in metadata records for ever.

use std::ops::Range;

use super::record::{self, Form, Nonce};
use crate::BlobId;

const TAG_SEGMENT: u8 = 1;
const TAG_LARGE: u8 = 2;
/// No file is as long as this, so that sums of lengths and offsets never overflow.
const LENGTH_END: u64 = 1 << 60;

/// Where a blob lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A record in a segment.
    Segment(RecordAddress),
    /// A file of its own.
    Large(LargeAddress),
}

/// A record in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordAddress {
    pub(super) segment: u32,
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) nonce: Nonce,
}

/// A file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LargeAddress {
    pub(super) length: u64,
    pub(super) nonce: Nonce,
}

impl Address {
    /// Writes the identifier.
    pub(super) fn encode(&self) -> BlobId {
        let mut bytes = Vec::with_capacity(29);
        match self {
            Self::Segment(record) => {
                bytes.push(TAG_SEGMENT);
                for number in [record.segment, record.offset, record.length] {
                    bytes.extend_from_slice(&number.to_le_bytes());
                }
                bytes.extend_from_slice(&record.nonce);
            }
            Self::Large(large) => {
                bytes.push(TAG_LARGE);
                bytes.extend_from_slice(&large.length.to_le_bytes());
                bytes.extend_from_slice(&large.nonce);
            }
        }
        BlobId::from_bytes(&bytes)
    }

    /// Reads an identifier; `None` for one this engine never issued.
    pub(super) fn decode(id: &BlobId) -> Option<Self> {
        let (&tag, mut rest) = id.as_bytes().split_first()?;
        let address = match tag {
            TAG_SEGMENT => {
                let mut number = || take(&mut rest).map(u32::from_le_bytes);
                let (segment, offset, length) = (number()?, number()?, number()?);
                Self::Segment(RecordAddress { segment, offset, length, nonce: take(&mut rest)? })
            }
            TAG_LARGE => Self::Large(LargeAddress { length: take(&mut rest).map(u64::from_le_bytes)?, nonce: take(&mut rest)? }),
            _ => return None,
        };
        (rest.is_empty() && address.length() < LENGTH_END).then_some(address)
    }

    /// Bytes of data.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Segment(record) => record.length.into(),
            Self::Large(large) => large.length,
        }
    }

    /// What the header must hold besides the form.
    pub(super) const fn nonce(&self) -> &Nonce {
        match self {
            Self::Segment(record) => &record.nonce,
            Self::Large(large) => &large.nonce,
        }
    }

    /// How the header was written.
    pub(super) fn form(&self) -> Form {
        match self {
            Self::Segment(record) => Form::Whole { length: record.length.into() },
            Self::Large(_) => Form::Streamed,
        }
    }

    /// Where in its file the record begins.
    pub(super) fn offset(&self) -> u64 {
        match self {
            Self::Segment(record) => record.offset.into(),
            Self::Large(_) => 0,
        }
    }
}

/// What tells a record from the others that are there now.
pub(super) type Place = (u32, u32);

impl RecordAddress {
    /// Where it begins.
    pub(super) const fn place(&self) -> Place {
        (self.segment, self.offset)
    }

    /// The bytes of the segment that are this record's.
    pub(super) fn span(&self) -> Range<u64> {
        let start = u64::from(self.offset);
        start..start + record::record_len(self.length.into())
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::{Address, LargeAddress, RecordAddress};
    use crate::BlobId;

    #[test]
    fn identifiers_are_those_that_were_drawn() {
        let nonce = *b"0123456789abcdef";
        let cases = [
            (
                Address::Segment(RecordAddress { segment: 1, offset: 0x0203, length: 0x0405_0607, nonce }),
                "01010000000302000007060504\
                 30313233343536373839616263646566",
            ),
            (Address::Large(LargeAddress { length: 0x0102_0304_0506_0708, nonce }), "02080706050403020130313233343536373839616263646566"),
        ];
        for (address, bytes) in cases {
            assert_eq!(hex::encode(address.encode().as_bytes()), bytes);
            assert_eq!(Address::decode(&address.encode()), Some(address));
        }
    }

    #[test]
    fn foreign_identifiers_are_refused() {
        let good = Address::Large(LargeAddress { length: 1, nonce: [7; 16] }).encode();
        let endless = Address::Large(LargeAddress { length: u64::MAX, nonce: [7; 16] }).encode();
        let longer = [good.as_bytes(), &[0]].concat();
        for bad in [&[][..], &[1], &[2; 24], &[3; 29], &[0; 29], &longer, &good.as_bytes()[..24], endless.as_bytes()] {
            assert_eq!(Address::decode(&BlobId::from_bytes(bad)), None, "{bad:?}");
        }
    }
}

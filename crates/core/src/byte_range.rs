//! Byte ranges.

use crate::{Error, Fault, Result};

/// A range as a client asks for it, before the size of the object is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSpec {
    /// `bytes=first-last`, both inclusive; no `last` means to the end.
    From {
        /// The first byte.
        first: u64,
        /// The last byte, inclusive.
        last: Option<u64>,
    },
    /// `bytes=-length`: the last `length` bytes.
    Suffix {
        /// How many bytes from the end.
        length: u64,
    },
}

/// A range within an object: `start` inclusive, `end` exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ByteRange {
    /// The range `start..end`.
    pub const fn new(start: u64, end: u64) -> Self {
        assert!(start <= end);
        Self { start, end }
    }

    /// How many bytes it spans.
    pub const fn len(self) -> u64 {
        self.end - self.start
    }

    /// Whether it spans nothing.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }
}

impl RangeSpec {
    /// Fits the wish to an object of `size` bytes; [`Fault::InvalidRange`] when nothing of it lies within.
    ///
    /// RFC 9110, section 14.1.2.
    pub fn resolve(self, size: u64) -> Result<ByteRange> {
        let range = match self {
            Self::From { first, last } if first < size && last.is_none_or(|last| last >= first) => {
                ByteRange { start: first, end: last.map_or(size, |last| last.saturating_add(1).min(size)) }
            }
            Self::Suffix { length } if length > 0 && size > 0 => ByteRange { start: size.saturating_sub(length), end: size },
            _ => {
                return Err(Error::invalid(Fault::InvalidRange, "the requested range is not satisfiable"));
            }
        };
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteRange, RangeSpec};

    #[test]
    fn ranges_are_fitted_to_the_object() {
        let from = |first, last| RangeSpec::From { first, last };
        assert_eq!(from(0, None).resolve(10).unwrap(), ByteRange::new(0, 10));
        assert_eq!(from(3, Some(5)).resolve(10).unwrap(), ByteRange::new(3, 6));
        assert_eq!(from(3, Some(50)).resolve(10).unwrap(), ByteRange::new(3, 10));
        assert_eq!(RangeSpec::Suffix { length: 4 }.resolve(10).unwrap(), ByteRange::new(6, 10));
        assert_eq!(RangeSpec::Suffix { length: 40 }.resolve(10).unwrap(), ByteRange::new(0, 10));
        for bad in [from(10, None), from(5, Some(4)), RangeSpec::Suffix { length: 0 }] {
            assert!(bad.resolve(10).is_err());
        }
        assert!(from(0, None).resolve(0).is_err());
    }
}

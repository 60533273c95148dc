//! Versions of objects, as clients name them.

use std::{error, fmt};

use crate::{Error, Fault, Result, Timestamp};

/// Which version of a key.
///
/// The name of a version says where among the versions of its key it stands, so that it is found without an index; the randomness in it
/// tells it from another that stood in the same place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum VersionId {
    /// The one version without a name: stored before versioning was enabled, or while it is suspended.
    #[default]
    Null,
    /// A named one.
    Named {
        /// Its place among the versions of its key: a newer one has a higher.
        sequence: u64,
        /// What tells it from any other.
        nonce: u64,
    },
}

impl VersionId {
    /// How the null version is written.
    pub const NULL: &str = "null";

    /// Takes what a client sends. What was never issued is refused or, where it might have been, not found later.
    pub fn parse(text: &str) -> Result<Self> {
        if text == Self::NULL {
            return Ok(Self::Null);
        }
        let is_issued = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = |digits| u64::from_str_radix(digits, 16).ok();
        let numbers = text.split_at_checked(16).filter(|_| is_issued).and_then(|(sequence, nonce)| number(sequence).zip(number(nonce)));
        numbers
            .map(|(sequence, nonce)| Self::Named { sequence, nonce })
            .ok_or_else(|| Error::invalid(Fault::InvalidArgument, "invalid version id specified"))
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str(Self::NULL),
            Self::Named { sequence, nonce } => write!(f, "{sequence:016x}{nonce:016x}"),
        }
    }
}

/// The cause of an error where a delete marker is what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkerFound {
    /// The marker.
    pub version: VersionId,
    /// When it was made.
    pub last_modified: Timestamp,
}

impl fmt::Display for MarkerFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} is a delete marker", self.version)
    }
}

impl error::Error for MarkerFound {}

#[cfg(test)]
mod tests {
    use super::VersionId;

    #[test]
    fn names_come_back() {
        for (sequence, nonce) in [(0, 0), (1, u64::MAX), (0x0197_1234_5678, 7)] {
            let version = VersionId::Named { sequence, nonce };
            assert_eq!(VersionId::parse(&version.to_string()).unwrap(), version);
        }
        assert_eq!(VersionId::Named { sequence: 1, nonce: 0xab }.to_string(), "000000000000000100000000000000ab");
        assert_eq!(VersionId::parse("null").unwrap(), VersionId::Null);
    }

    #[test]
    fn anything_else_is_refused() {
        let long = "0".repeat(33);
        let odd = [
            "",
            "Null",
            "0",
            &long,
            "000000000000000100000000000000AB",
            "+00000000000000100000000000000ab",
            "ä00000000000000100000000000000a",
        ];
        for text in odd {
            assert!(VersionId::parse(text).is_err(), "{text}");
        }
    }
}

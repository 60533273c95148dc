//! Sizes, as people write them.

use std::{fmt, str::FromStr};

use serde::Serialize;

use super::content::STAMP_LEN;

/// As large as an object may be here: its content is kept in memory once.
const BYTES_MAX: u64 = 1 << 30;
const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// The size of an object: room for its stamp, and not more than memory can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub(super) struct Size(u64);

impl Size {
    pub(super) const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
        let (number, factor) = found.unwrap_or((text, 1));
        let number: u64 = number.trim_end().parse().map_err(|_| "not a size, as 4KiB or 1MiB".to_owned())?;
        match number.checked_mul(factor) {
            Some(bytes) if (STAMP_LEN as u64..=BYTES_MAX).contains(&bytes) => Ok(Self(bytes)),
            _ => Err(format!("not between {STAMP_LEN} B and 1 GiB")),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = UNITS.iter().find(|(_, factor)| self.0.is_multiple_of(*factor)).unwrap_or(&UNITS[3]);
        write!(f, "{} {unit}", self.0 / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::Size;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes, shown) in [
            ("4KiB", 4096, "4 KiB"),
            ("16", 16, "16 B"),
            ("1500 B", 1500, "1500 B"),
            ("64 MiB", 1 << 26, "64 MiB"),
            ("1GiB", 1 << 30, "1 GiB"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, shown), "{text}");
        }
        for text in ["", "KiB", "15", "0", "-1", "4KB", "1.5MiB", "2GiB", "99999999999999999999B", "18446744073709551615GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}

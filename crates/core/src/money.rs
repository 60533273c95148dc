//! Money, as far as an estimate of egress needs it.

use std::fmt;

use crate::{Error, Fault, Result};

/// Bytes of a gigabyte.
const GIGABYTE: u128 = 1_000_000_000;
const MICROS: u64 = 1_000_000;
/// No provider asks more than a million for a gigabyte, in any currency.
const WHOLE_MAX: u64 = 1_000_000;

/// An amount of money, in millionths of whatever currency the user thinks in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money {
    /// Millionths.
    pub micros: u64,
}

impl Money {
    /// Reads a price such as `0.09`: at most six decimals.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid =
            || Error::invalid(Fault::InvalidArgument, format!("{text:?} is no price: write it like 0.09, with at most six decimals"));
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
        if whole.is_empty() || text.ends_with('.') || decimals.len() > 6 || !is_number(whole) || !is_number(decimals) {
            return Err(invalid());
        }
        let whole: u64 = whole.parse().ok().filter(|whole| *whole <= WHOLE_MAX).ok_or_else(invalid)?;
        let decimals: u64 = format!("{decimals:0<6}").parse().map_err(|_| invalid())?;
        Ok(Self { micros: whole * MICROS + decimals })
    }

    /// Whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.micros == 0
    }

    /// What `bytes` cost at this price for a gigabyte (10^9 bytes).
    #[must_use]
    pub fn for_bytes(self, bytes: u64) -> Self {
        Self { micros: u64::try_from(u128::from(self.micros) * u128::from(bytes) / GIGABYTE).unwrap_or(u64::MAX) }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:06}", self.micros % MICROS);
        // Two decimals at least, as money is written.
        let significant = decimals.trim_end_matches('0').len().max(2);
        write!(f, "{}.{}", self.micros / MICROS, &decimals[..significant])
    }
}

#[cfg(test)]
mod tests {
    use super::Money;

    #[test]
    fn prices_are_read_and_written() {
        for (text, written) in
            [("0.09", "0.09"), ("0", "0.00"), ("12", "12.00"), ("0.1", "0.10"), ("0.012345", "0.012345"), ("1000000", "1000000.00")]
        {
            let price = Money::parse(text).unwrap();
            assert_eq!(price.to_string(), written);
            assert_eq!(Money::parse(&price.to_string()).unwrap(), price);
        }
        for bad in ["", ".5", "5.", "-1", "+1", "1e3", "0.1234567", "1000001", "$1", "1,5", "NaN", "٣", "99999999999999999999"] {
            assert!(Money::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bytes_cost_what_a_gigabyte_does() {
        let price = Money::parse("0.09").unwrap();
        for (bytes, cost) in [(0, "0.00"), (1_000_000_000, "0.09"), (10_000_000_000, "0.90"), (500_000_000, "0.045"), (1, "0.00")] {
            assert_eq!(price.for_bytes(bytes).to_string(), cost, "{bytes}");
        }
        assert_eq!(Money { micros: u64::MAX }.for_bytes(u64::MAX).micros, u64::MAX, "no overflow");
    }
}

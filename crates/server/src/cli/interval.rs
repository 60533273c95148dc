//! Spans of time on the command line: a number and a unit, as `10m`.

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// The seconds of `text`; `off` is 0.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    if text == "off" {
        return Ok(0);
    }
    let span = UNITS.into_iter().find_map(|(unit, seconds)| {
        let number = text.strip_suffix(unit).filter(|number| number.bytes().all(|digit| digit.is_ascii_digit()))?;
        number.parse::<u64>().ok()?.checked_mul(seconds)
    });
    span.filter(|span| *span > 0).ok_or_else(|| "a number and a unit are wanted, as 30s, 10m, 1h or 2d, or `off`".to_owned())
}

/// Writes `seconds` as [`parse`] reads them, in the largest unit that leaves no rest.
pub(crate) fn format(seconds: u64) -> String {
    let (unit, length) = UNITS.into_iter().find(|(_, length)| seconds.is_multiple_of(*length)).unwrap_or(('s', 1));
    if seconds == 0 { "off".to_owned() } else { format!("{}{unit}", seconds / length) }
}

#[cfg(test)]
mod tests {
    use super::{format, parse};

    #[test]
    fn spans_are_read_and_written() {
        for (text, seconds, written) in
            [("off", 0, "off"), ("90s", 90, "90s"), ("600s", 600, "10m"), ("10m", 600, "10m"), ("48h", 172_800, "2d")]
        {
            assert_eq!(parse(text), Ok(seconds), "{text}");
            assert_eq!(format(seconds), written);
            assert_eq!(parse(written), Ok(seconds));
        }
        for bad in ["", "10", "m", "-1m", "1.5h", "0s", "10M", "1h30m", "99999999999999999999d", "999999999999999999d"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

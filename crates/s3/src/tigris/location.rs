//! Where objects are to live, as Tigris's clients write it: region names, or the name of a geography, or nothing for everywhere.

use umbra_core::{Error, Fault, Result};

/// The names of geographies.
const GEOGRAPHIES: [&str; 2] = ["usa", "eur"];

/// The location that `regions` name.
pub(crate) fn parse(regions: &str) -> Result<String> {
    let places: Vec<_> = regions.split(',').map(str::trim).filter(|place| !place.is_empty()).collect();
    let refuse = |message: String| Err(Error::invalid(Fault::InvalidArgument, message));
    if let Some(odd) = places.iter().find(|place| !is_place(place)) {
        return refuse(format!("{odd:?} is no name of a region"));
    }
    match places[..] {
        [] | ["global"] => Ok("global".to_owned()),
        [geography] if GEOGRAPHIES.contains(&geography) => Ok(format!("multi:{geography}")),
        [region] => Ok(format!("single:{region}")),
        [first, second] if first != second => Ok(format!("dual:{first},{second}")),
        _ => refuse("a bucket is in one region, in two, in a geography, or global".to_owned()),
    }
}

/// What names `location`.
pub(crate) fn shown(location: &str) -> &str {
    location.split_once(':').map_or("", |(_, places)| places)
}

fn is_place(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::{parse, shown};

    #[test]
    fn locations_come_back() {
        for (regions, location) in [("", "global"), ("sjc", "single:sjc"), ("iad,fra", "dual:iad,fra"), ("usa", "multi:usa")] {
            assert_eq!(parse(regions).unwrap(), location);
            assert_eq!(shown(location), regions);
        }
        assert_eq!(parse("global").unwrap(), "global");
        assert_eq!(parse(" iad , fra ").unwrap(), "dual:iad,fra");
        for bad in ["iad,iad", "a,b,c", "Fra", "a b", "fra;x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

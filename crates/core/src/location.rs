//! Where objects are to live, as the owner of a bucket says, and where one of them is to, as its writer does.

use std::{fmt, str::FromStr};

use crate::{Error, Fault, Geography, Region, Result};

/// Where the objects of a bucket are to live. Its text, which records keep, is `global`, `multi:GEOGRAPHY`, `dual:A,B` or `single:REGION`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Location {
    /// In the region that takes them; read from anywhere, with copies where they are read.
    #[default]
    Global,
    /// In two regions of a geography, and nowhere outside of it.
    Multi(Geography),
    /// In both of two regions, and nowhere else.
    Dual(Region, Region),
    /// In one region, and nowhere else.
    Single(Region),
}

impl Location {
    /// Reads its text.
    pub fn parse(text: &str) -> Result<Self> {
        let location = match text.split_once(':') {
            None if text == "global" => Some(Self::Global),
            Some(("multi", geography)) => Geography::parse(geography).ok().map(Self::Multi),
            Some(("single", region)) => Region::parse(region).ok().map(Self::Single),
            Some(("dual", places)) => places.split_once(',').and_then(|(a, b)| {
                let both = (Region::parse(a).ok()?, Region::parse(b).ok()?);
                (both.0 != both.1).then_some(Self::Dual(both.0, both.1))
            }),
            _ => None,
        };
        let refused = || format!("no such location: {text} (global, multi:GEOGRAPHY, dual:A,B or single:REGION)");
        location.ok_or_else(|| Error::invalid(Fault::InvalidArgument, refused()))
    }

    /// Reads it as Tigris's clients write it: one region, two, a geography, or nothing for everywhere.
    pub fn of_places(text: &str, is_geography: impl Fn(&str) -> bool) -> Result<Self> {
        let refuse = || Err(Error::invalid(Fault::InvalidArgument, "a bucket is in one region, in two, in a geography, or global"));
        match places(text)[..] {
            [] | ["global"] => Ok(Self::Global),
            [geography] if is_geography(geography) => Geography::parse(geography).map(Self::Multi),
            [region] => Region::parse(region).map(Self::Single),
            [a, b] if a != b => Ok(Self::Dual(Region::parse(a)?, Region::parse(b)?)),
            _ => refuse(),
        }
    }

    /// What Tigris's clients are shown of it.
    pub fn to_places(&self) -> String {
        self.to_string().split_once(':').map(|(_, places)| places.to_owned()).unwrap_or_default()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Multi(geography) => write!(f, "multi:{geography}"),
            Self::Dual(a, b) => write!(f, "dual:{a},{b}"),
            Self::Single(region) => write!(f, "single:{region}"),
        }
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// Where one object is to live, within what its bucket allows. Its text, which records keep, is `A,B,C` or `multi:GEOGRAPHY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Narrowed {
    /// In each of these regions, and nowhere else.
    Each(Vec<Region>),
    /// In two regions of a geography, and nowhere outside of it.
    Within(Geography),
}

impl Narrowed {
    /// The most regions that can be named.
    pub const REGIONS_MAX: usize = 16;

    /// Reads its text.
    pub fn parse(text: &str) -> Result<Self> {
        match text.strip_prefix("multi:") {
            Some(geography) => Geography::parse(geography).map(Self::Within),
            None => Self::of_places(text, |_| false)?.ok_or_else(|| Error::invalid(Fault::InvalidArgument, "no regions are named")),
        }
    }

    /// Reads it as Tigris's clients write it: regions, or a geography. `None` for nothing.
    pub fn of_places(text: &str, is_geography: impl Fn(&str) -> bool) -> Result<Option<Self>> {
        let refuse = |message: String| Err(Error::invalid(Fault::InvalidArgument, message));
        let places = places(text);
        match places[..] {
            [] => return Ok(None),
            [geography] if is_geography(geography) => return Ok(Some(Self::Within(Geography::parse(geography)?))),
            _ => {}
        }
        if places.len() > Self::REGIONS_MAX {
            return refuse(format!("an object lives in at most {} regions", Self::REGIONS_MAX));
        }
        let mut regions = Vec::with_capacity(places.len());
        for place in places {
            let region = Region::parse(place)?;
            if regions.contains(&region) {
                return refuse(format!("the region {region} is named twice"));
            }
            regions.push(region);
        }
        Ok(Some(Self::Each(regions)))
    }

    /// What Tigris's clients are shown of it.
    pub fn to_places(&self) -> String {
        match self {
            Self::Each(regions) => regions.iter().map(Region::as_str).collect::<Vec<_>>().join(","),
            Self::Within(geography) => geography.to_string(),
        }
    }
}

impl fmt::Display for Narrowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if matches!(self, Self::Within(_)) { "multi:" } else { "" };
        write!(f, "{kind}{}", self.to_places())
    }
}

impl FromStr for Narrowed {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

fn places(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|place| !place.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Location, Narrowed};

    fn is_geography(name: &str) -> bool {
        name == "usa"
    }

    #[test]
    fn locations_are_checked() {
        for good in ["global", "multi:eur", "dual:fra,ams", "single:us-east-1", "single:FRA"] {
            assert_eq!(Location::parse(good).unwrap().to_string(), good);
        }
        for bad in ["", "Global", "global:eu", "multi", "multi:", "dual:fra", "dual:fra,fra", "dual:a,b,c", "single:a b", "triple:a"] {
            assert!(Location::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tigris_locations_come_back() {
        for (places, location) in [("", "global"), ("sjc", "single:sjc"), ("iad,fra", "dual:iad,fra"), ("usa", "multi:usa")] {
            let read = Location::of_places(places, is_geography).unwrap();
            assert_eq!((read.to_string().as_str(), read.to_places().as_str()), (location, places));
        }
        assert_eq!(Location::of_places("global", is_geography).unwrap(), Location::Global);
        assert_eq!(Location::of_places(" iad , fra ", is_geography).unwrap().to_string(), "dual:iad,fra");
        for bad in ["iad,iad", "a,b,c", "a b", "fra;x"] {
            assert!(Location::of_places(bad, is_geography).is_err(), "{bad}");
        }
    }

    #[test]
    fn narrowed_regions_come_back() {
        for (places, text) in [("fra", "fra"), ("fra,iad,sin", "fra,iad,sin"), ("usa", "multi:usa")] {
            let narrowed = Narrowed::of_places(places, is_geography).unwrap().unwrap();
            assert_eq!((narrowed.to_string().as_str(), narrowed.to_places().as_str()), (text, places));
            assert_eq!(Narrowed::parse(text).unwrap(), narrowed);
        }
        assert_eq!(Narrowed::of_places(" , ", is_geography).unwrap(), None);
        let many = (0..=Narrowed::REGIONS_MAX).map(|n| format!("r{n}")).collect::<Vec<_>>().join(",");
        for bad in ["fra,fra", "f_a", "fra,i:d", many.as_str()] {
            assert!(Narrowed::of_places(bad, is_geography).is_err(), "{bad}");
        }
        assert!(Narrowed::parse("").is_err() && Narrowed::parse("multi:").is_err());
    }
}

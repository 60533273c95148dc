//! Where addresses and regions are on earth: the region at the least distance is the nearest.

use std::{fmt, net::IpAddr};

use maxminddb::{Reader, path};

use super::{RegionAddress, RegionMapError};

/// A place on earth, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coordinates {
    /// North of the equator.
    pub latitude: f64,
    /// East of Greenwich.
    pub longitude: f64,
}

impl Coordinates {
    /// Reads `LATITUDE,LONGITUDE`.
    pub fn parse(text: &str) -> Option<Self> {
        let (latitude, longitude) = text.split_once(',')?;
        Self::new(latitude.trim().parse().ok()?, longitude.trim().parse().ok()?)
    }

    fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let is_on_earth = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        is_on_earth.then_some(Self { latitude, longitude })
    }

    /// How far it is to `other`, as the angle between them at the centre of the earth.
    fn distance(self, other: Self) -> f64 {
        let (from, to) = (self.latitude.to_radians(), other.latitude.to_radians());
        let half = |angle: f64| (angle / 2.0).sin().powi(2);
        let square = from.cos() * to.cos() * half((other.longitude - self.longitude).to_radians()) + half(to - from);
        2.0 * square.clamp(0.0, 1.0).sqrt().asin()
    }
}

/// Where addresses and regions are.
pub(super) struct Places {
    addresses: Reader<Vec<u8>>,
    regions: Vec<(String, Coordinates)>,
}

impl Places {
    pub(super) fn open(database: Vec<u8>, regions: &[RegionAddress]) -> Result<Self, RegionMapError> {
        let place = |region: &RegionAddress| {
            let at = region.at().ok_or_else(|| RegionMapError::NoPlace(region.name().to_owned()))?;
            Ok((region.name().to_owned(), at))
        };
        let regions = regions.iter().map(place).collect::<Result<_, RegionMapError>>()?;
        Ok(Self { addresses: Reader::from_source(database).map_err(RegionMapError::Database)?, regions })
    }

    pub(super) fn nearest(&self, client: IpAddr, is_live: impl Fn(&str) -> bool) -> Option<&str> {
        let at = self.find(client)?;
        let live = self.regions.iter().filter(|(name, _)| is_live(name));
        let near = live.min_by(|(_, one), (_, other)| at.distance(*one).total_cmp(&at.distance(*other)));
        near.map(|(name, _)| name.as_str())
    }

    /// Where `client` is, as far as the database tells: not of every address, and nothing where it is damaged.
    fn find(&self, client: IpAddr) -> Option<Coordinates> {
        let found = self.addresses.lookup(client).ok()?;
        let degrees = |name| found.decode_path::<f64>(&path!["location", name]).ok().flatten();
        Coordinates::new(degrees("latitude")?, degrees("longitude")?)
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("regions", &self.regions).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

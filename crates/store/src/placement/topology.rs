//! Which regions a store has, and how they are grouped.

use std::collections::{BTreeMap, BTreeSet};

use umbra_core::{Error, ErrorKind, Fault, Geography, Location, Narrowed, Region, Result};

/// The geographies that there are without being told, as Tigris has them: those of their regions count that the store has.
const KNOWN: [(&str, [&str; 3]); 2] = [("usa", ["sjc", "ord", "iad"]), ("eur", ["ams", "fra", "lhr"])];

/// The regions of a store, seen from one of them. The default is a store without regions, where locations are kept and have no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    own: Option<Region>,
    regions: BTreeSet<Region>,
    geographies: BTreeMap<Geography, Vec<Region>>,
}

impl Default for Topology {
    fn default() -> Self {
        let parsed = |name: &str| Region::parse(name).expect("it is a name");
        let geographies = KNOWN.map(|(name, regions)| {
            (Geography::parse(name).expect("it is a name"), regions.iter().map(|region| parsed(region)).collect::<Vec<_>>())
        });
        Self { own: None, regions: BTreeSet::new(), geographies: geographies.into() }
    }
}

impl Topology {
    /// A store with the region `own`, which is this one, and `others`. `geographies` are added to those that there are anyway, or replace them;
    /// their regions are in order of preference.
    pub fn new(
        own: Region,
        others: impl IntoIterator<Item = Region>,
        geographies: impl IntoIterator<Item = (Geography, Vec<Region>)>,
    ) -> Result<Self> {
        let mut topology = Self { own: Some(own.clone()), regions: others.into_iter().chain([own]).collect(), ..Self::default() };
        let Self { regions, geographies: known, .. } = &mut topology;
        // Whose name says both is the region.
        known.retain(|name, _| !regions.contains(name.as_str()));
        for (name, grouped) in geographies {
            if regions.contains(name.as_str()) {
                return Err(refused(format!("the geography {name} has the name of a region")));
            }
            if let Some(unknown) = grouped.iter().find(|region| !regions.contains(region.as_str())) {
                return Err(refused(format!("the geography {name} has {unknown}, which is no region of this store")));
            }
            known.insert(name, grouped);
        }
        for grouped in known.values_mut() {
            grouped.retain(|region| regions.contains(region.as_str()));
        }
        Ok(topology)
    }

    /// This region; `None` in a store without regions.
    pub const fn own(&self) -> Option<&Region> {
        self.own.as_ref()
    }

    /// All regions of the store, this one among them; none in a store without.
    pub const fn regions(&self) -> &BTreeSet<Region> {
        &self.regions
    }

    /// Those regions of a geography that the store has, in order of preference.
    pub fn within(&self, geography: &Geography) -> &[Region] {
        self.geographies.get(geography).map_or(&[], Vec::as_slice)
    }

    /// Reads a location as Tigris's clients write it.
    pub fn location_of(&self, places: &str) -> Result<Location> {
        Location::of_places(places, |name| self.geographies.contains_key(name))
    }

    /// Refuses a location that names what the store does not have, if the store has regions: of a geography two.
    pub fn check(&self, location: &Location) -> Result<()> {
        let Some(_) = self.own else { return Ok(()) };
        match location {
            Location::Global => Ok(()),
            Location::Multi(geography) => self.check_geography(geography).and_then(|()| self.check_copies(geography)),
            Location::Dual(a, b) => self.check_region(a).and_then(|()| self.check_region(b)),
            Location::Single(region) => self.check_region(region),
        }
    }

    /// Reads where one object is to live, as Tigris's clients write it, whatever the store has and its bucket allows.
    pub fn narrowed_of(&self, places: &str) -> Result<Option<Narrowed>> {
        match places.trim() {
            "global" => Ok(None),
            places => Narrowed::of_places(places, |name| self.geographies.contains_key(name)),
        }
    }

    /// Reads where one object is to live, as Tigris's clients write it, in a bucket with that location; refuses what the store does not have and
    /// what the bucket does not allow. `None` where nothing is said that the bucket does not say.
    pub fn narrow(&self, location: &Location, places: &str) -> Result<Option<Narrowed>> {
        if places.trim() == "global" && *location != Location::Global {
            return Err(refused(format!("the bucket's location is {location}, not global")));
        }
        let Some(narrowed) = self.narrowed_of(places)? else { return Ok(None) };
        let Some(_) = self.own else { return Ok(Some(narrowed)) };
        let wanted = match &narrowed {
            Narrowed::Each(regions) => {
                regions.iter().try_for_each(|region| self.check_region(region))?;
                regions
            }
            Narrowed::Within(geography) => {
                self.check_geography(geography)?;
                self.within(geography)
            }
        };
        match self.allowed(location) {
            Some(allowed) if !wanted.iter().all(|region| allowed.contains(region)) => {
                Err(refused(format!("the bucket's location, {location}, does not allow all of {}", narrowed.to_places())))
            }
            _ => Ok(Some(narrowed)),
        }
    }

    /// Those regions of the store in which a location lets bytes be, in order of preference; `None`: in all.
    pub(super) fn allowed(&self, location: &Location) -> Option<Vec<Region>> {
        let named = match location {
            Location::Global => return None,
            Location::Multi(geography) => return Some(self.within(geography).to_vec()),
            Location::Dual(a, b) => vec![a, b],
            Location::Single(region) => vec![region],
        };
        Some(named.into_iter().filter(|region| self.regions.contains(*region)).cloned().collect())
    }

    fn check_region(&self, region: &Region) -> Result<()> {
        if self.regions.contains(region) {
            return Ok(());
        }
        let known = self.regions.iter().map(Region::as_str).collect::<Vec<_>>().join(", ");
        Err(refused(format!("{region} is no region of this store, which has {known}")))
    }

    fn check_geography(&self, geography: &Geography) -> Result<()> {
        if self.within(geography).is_empty() {
            return Err(refused(format!("this store has no region of the geography {geography}")));
        }
        Ok(())
    }

    /// Refuses a geography that has no room for the copies that a bucket in it is promised.
    fn check_copies(&self, geography: &Geography) -> Result<()> {
        match self.within(geography) {
            [only] => {
                Err(refused(format!("{only} is the one region of the geography {geography} that this store has, and copies are in two")))
            }
            _ => Ok(()),
        }
    }
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::Invalid(Fault::InvalidArgument), message)
}

#[cfg(test)]
mod tests {
    use umbra_core::{ErrorKind, Fault, Geography, Location, Region};

    use super::Topology;

    fn region(name: &str) -> Region {
        Region::parse(name).unwrap()
    }

    fn geography(name: &str, regions: &[&str]) -> (Geography, Vec<Region>) {
        (Geography::parse(name).unwrap(), regions.iter().map(|name| region(name)).collect())
    }

    fn topology() -> Topology {
        Topology::new(region("fra"), ["iad", "ord", "ams", "syd"].map(region), [geography("asia", &["syd"])]).unwrap()
    }

    #[test]
    fn unknown_regions_are_refused() {
        let topology = topology();
        let check = |location: &str| topology.check(&Location::parse(location).unwrap());
        for known in ["global", "single:fra", "dual:iad,syd", "multi:eur", "multi:usa"] {
            assert!(check(known).is_ok(), "{known}");
        }
        for unknown in ["single:sin", "dual:fra,sin", "dual:sin,fra", "multi:moon", "multi:asia"] {
            assert_eq!(check(unknown).unwrap_err().kind(), ErrorKind::Invalid(Fault::InvalidArgument), "{unknown}");
        }
        // Two copies are promised, and one region is told.
        assert!(check("multi:asia").unwrap_err().message().contains("syd"));
        // Without regions any location is kept.
        assert!(Topology::default().check(&Location::parse("single:sin").unwrap()).is_ok());
    }

    #[test]
    fn objects_are_narrowed_to_what_their_bucket_allows() {
        let topology = topology();
        let narrow = |location: &str, places: &str| {
            let narrowed = topology.narrow(&Location::parse(location).unwrap(), places);
            narrowed.map(|narrowed| narrowed.map(|narrowed| narrowed.to_string()))
        };
        for (location, places, narrowed) in [
            ("global", "fra,syd, iad", Some("fra,syd,iad")),
            ("global", "eur", Some("multi:eur")),
            ("global", "asia", Some("multi:asia")),
            ("global", "global", None),
            ("global", "", None),
            ("multi:eur", "fra", Some("fra")),
            ("multi:eur", "eur", Some("multi:eur")),
            ("dual:fra,iad", "iad", Some("iad")),
            ("dual:ord,iad", "usa", Some("multi:usa")),
            ("single:fra", "fra", Some("fra")),
        ] {
            assert_eq!(narrow(location, places).unwrap(), narrowed.map(str::to_owned), "{location} {places}");
        }
        for (location, places) in [
            ("global", "sin"),
            ("global", "fra,sin"),
            ("multi:eur", "iad"),
            ("multi:eur", "global"),
            ("dual:fra,iad", "eur"),
            ("dual:fra,iad", "fra,syd"),
            ("single:fra", "usa"),
        ] {
            assert_eq!(narrow(location, places).unwrap_err().kind(), ErrorKind::Invalid(Fault::InvalidArgument), "{location} {places}");
        }
        let kept = Topology::default().narrow(&Location::parse("single:fra").unwrap(), "sin").unwrap();
        assert_eq!(kept.unwrap().to_string(), "sin");
    }

    #[test]
    fn geographies_are_of_the_stores_regions() {
        let topology = topology();
        let eur = Geography::parse("eur").unwrap();
        assert_eq!(topology.within(&eur), ["ams", "fra"].map(region));
        let (fra, iad) = (region("fra"), region("iad"));
        assert!(Topology::new(fra.clone(), [], [geography("eur", &["fra", "ams"])]).is_err(), "ams is no region");
        assert!(Topology::new(fra.clone(), [iad.clone()], [geography("iad", &["fra"])]).is_err(), "iad is a region");
        let own = Topology::new(fra.clone(), [iad], [geography("eur", &["iad", "fra"])]).unwrap();
        assert_eq!(own.within(&eur), ["iad", "fra"].map(region), "replaced");
        // A region may have the name of a geography that there is anyway.
        let usa = Topology::new(fra, [region("usa")], []).unwrap();
        assert_eq!(usa.location_of("usa").unwrap().to_string(), "single:usa");
    }
}

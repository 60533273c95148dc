//! Where the bytes of an object are to be: a pure function of what its bucket, its writer and the store's regions say.

use umbra_core::{Geography, Location, Narrowed, Region};

use super::Topology;

/// How many regions of a geography have a copy of what lives in it.
const COPIES_IN_GEOGRAPHY: usize = 2;

/// Where the bytes of an object are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    homes: Vec<Region>,
    copies: usize,
    /// `None`: everywhere.
    allowed: Option<Vec<Region>>,
}

impl Placement {
    /// The regions that may take the bytes, in order of preference: the first that does is their home. Without any, they cannot be taken.
    pub fn homes(&self) -> &[Region] {
        &self.homes
    }

    /// The regions that must end up with the bytes when `home` has taken them, it being the first. The same whichever region the request came in
    /// at, so that what is looked at later needs to know only where the bytes are.
    pub fn required(&self, home: &Region) -> Vec<Region> {
        let mut required = rotated(&self.homes, home);
        if required.first() != Some(home) {
            required.insert(0, home.clone());
        }
        required.truncate(self.copies.max(1));
        required
    }

    /// Whether bytes may be in `region`: as their home, or as a copy because they were read there.
    pub fn may_keep(&self, region: &Region) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(region))
    }

    /// Whether they may be in all regions.
    pub const fn is_everywhere(&self) -> bool {
        self.allowed.is_none()
    }
}

/// Decides where bytes are to be: those of an object in a bucket with that `location`, narrowed by its writer or not, when the request came in at
/// the region `taken_in`, or else at this one.
///
/// What `narrowed` names and the bucket does not allow any more is left out; when that is all of it, the bucket's location counts, or none may take
/// them where that is global: the store does not have what its writer named. The store must have regions.
pub fn decide(location: &Location, narrowed: Option<&Narrowed>, taken_in: Option<&Region>, topology: &Topology) -> Placement {
    let taken_in = taken_in.filter(|region| topology.regions().contains(*region)).or(topology.own());
    let bucket = topology.allowed(location);
    let is_allowed = |region: &Region| bucket.as_ref().is_none_or(|allowed| allowed.contains(region));
    if let Some((regions, copies)) = narrowed.map(|narrowed| named(narrowed, topology)) {
        let regions: Vec<_> = regions.into_iter().filter(is_allowed).collect();
        if !regions.is_empty() || bucket.is_none() {
            return bound(regions, copies, taken_in);
        }
    }
    match bucket {
        Some(regions) => bound(regions, COPIES_IN_GEOGRAPHY, taken_in),
        None => {
            // Where a request that was passed on came in, and else here.
            let mut homes: Vec<Region> = taken_in.into_iter().chain(topology.own()).cloned().collect();
            homes.dedup();
            Placement { homes, copies: 1, allowed: None }
        }
    }
}

/// Those regions of the store that `narrowed` names, and how many of them have the bytes.
fn named(narrowed: &Narrowed, topology: &Topology) -> (Vec<Region>, usize) {
    let within = |geography: &Geography| topology.within(geography).to_vec();
    match narrowed {
        Narrowed::Each(regions) => (regions.iter().filter(|region| topology.regions().contains(*region)).cloned().collect(), regions.len()),
        Narrowed::Within(geography) => (within(geography), COPIES_IN_GEOGRAPHY),
    }
}

/// In `copies` of these regions, and nowhere else.
fn bound(regions: Vec<Region>, copies: usize, taken_in: Option<&Region>) -> Placement {
    let homes = taken_in.map_or_else(|| regions.clone(), |taken_in| rotated(&regions, taken_in));
    Placement { homes, copies: copies.min(regions.len()), allowed: Some(regions) }
}

/// `regions`, from `first` on and round, if it is among them.
fn rotated(regions: &[Region], first: &Region) -> Vec<Region> {
    let at = regions.iter().position(|region| region == first).unwrap_or(0);
    [&regions[at..], &regions[..at]].concat()
}

#[cfg(test)]
mod tests {
    use umbra_core::{Geography, Location, Narrowed, Region};

    use super::{Placement, decide};
    use crate::placement::Topology;

    fn region(name: &str) -> Region {
        Region::parse(name).unwrap()
    }

    fn geography(name: &str) -> Geography {
        Geography::parse(name).unwrap()
    }

    /// Names of regions, one of which no store has.
    const NAMES: [&str; 5] = ["ams", "fra", "iad", "lhr", "nix"];

    fn topologies() -> Vec<Topology> {
        let of = |own: &str, others: &[&str]| Topology::new(region(own), others.iter().map(|name| region(name)), []).unwrap();
        vec![of("fra", &["iad"]), of("iad", &["fra", "ams"]), of("lhr", &["fra", "ams", "iad"])]
    }

    fn locations() -> Vec<Location> {
        let pairs = NAMES.iter().flat_map(|a| NAMES.iter().filter(move |b| a != *b).map(move |b| Location::Dual(region(a), region(b))));
        let singles = NAMES.iter().map(|name| Location::Single(region(name)));
        let multis = ["eur", "usa", "nowhere"].map(|name| Location::Multi(geography(name)));
        [Location::Global].into_iter().chain(pairs).chain(singles).chain(multis).collect()
    }

    fn narrowings() -> Vec<Option<Narrowed>> {
        let lists = (1_usize..1 << NAMES.len()).flat_map(|chosen| {
            let list: Vec<_> = NAMES.iter().enumerate().filter(|(n, _)| chosen & (1 << n) != 0).map(|(_, name)| region(name)).collect();
            let reversed = list.iter().rev().cloned().collect();
            [Some(Narrowed::Each(list)), Some(Narrowed::Each(reversed))]
        });
        [None, Some(Narrowed::Within(geography("eur"))), Some(Narrowed::Within(geography("usa")))].into_iter().chain(lists).collect()
    }

    /// Everything that can be said with these names.
    fn for_all(mut check: impl FnMut(&Topology, &Location, Option<&Narrowed>, Option<&Region>, Placement)) {
        for topology in topologies() {
            for location in locations() {
                for narrowed in narrowings() {
                    for taken_in in NAMES.map(region).into_iter().map(Some).chain([None]) {
                        let placement = decide(&location, narrowed.as_ref(), taken_in.as_ref(), &topology);
                        check(&topology, &location, narrowed.as_ref(), taken_in.as_ref(), placement);
                    }
                }
            }
        }
    }

    /// Whether `location` lets bytes be in `region`, said another way than by the code.
    fn allows(location: &Location, region: &Region) -> bool {
        match location {
            Location::Global => true,
            Location::Single(only) => region == only,
            Location::Dual(a, b) => region == a || region == b,
            Location::Multi(name) => match name.as_str() {
                "eur" => ["ams", "fra", "lhr"].contains(&region.as_str()),
                "usa" => region.as_str() == "iad",
                _ => false,
            },
        }
    }

    #[test]
    fn bytes_are_where_they_may_be_and_nowhere_else() {
        for_all(|topology, location, narrowed, _, placement| {
            let names = |region: &Region| match narrowed {
                None => true,
                Some(Narrowed::Each(regions)) => regions.contains(region),
                Some(Narrowed::Within(geography)) => allows(&Location::Multi(geography.clone()), region),
            };
            let homes = placement.homes();
            assert!(homes.iter().all(|home| topology.regions().contains(home) && allows(location, home) && placement.may_keep(home)));
            assert!(homes.iter().enumerate().all(|(n, home)| !homes[..n].contains(home)), "none twice");
            // What the writer wants is given up for what the bucket's owner wants, and for nothing else.
            let is_global = *location == Location::Global;
            let has_any = topology.regions().iter().any(|region| allows(location, region) && (names(region) || !is_global));
            assert_eq!(homes.is_empty(), !has_any, "{location} {narrowed:?}");
            for region in topology.regions() {
                assert!(!placement.may_keep(region) || allows(location, region), "{location} {narrowed:?} {region}");
                assert!(!is_global || !placement.may_keep(region) || names(region), "{narrowed:?} {region}");
            }
            for home in homes {
                let required = placement.required(home);
                assert_eq!(required.first(), Some(home));
                assert!(required.iter().all(|region| placement.may_keep(region) && topology.regions().contains(region)));
                assert!(required.iter().enumerate().all(|(n, region)| !required[..n].contains(region)), "none twice");
            }
        });
    }

    #[test]
    fn what_is_required_follows_from_the_home_alone() {
        for_all(|topology, location, narrowed, _, placement| {
            for home in placement.homes() {
                let later = decide(location, narrowed, Some(home), topology);
                assert_eq!(later.homes().first(), Some(home), "it stays where it is");
                assert_eq!(later.required(home), placement.required(home), "{location} {narrowed:?} {home}");
            }
        });
    }

    #[test]
    fn the_region_that_took_the_request_is_the_first_that_is_allowed() {
        for_all(|topology, _, _, taken_in, placement| {
            let taken_in = taken_in.filter(|region| topology.regions().contains(*region)).or(topology.own()).unwrap();
            if placement.may_keep(taken_in) {
                assert_eq!(placement.homes().first(), Some(taken_in));
            }
        });
    }

    #[test]
    fn each_location_has_its_copies() {
        let topology = &topologies()[2];
        let required = |location: &str, narrowed: &str, taken_in: &str| {
            let narrowed = topology.narrow(&Location::Global, narrowed).unwrap();
            let placement = decide(&Location::parse(location).unwrap(), narrowed.as_ref(), Some(&region(taken_in)), topology);
            let required = placement.required(&placement.homes()[0]);
            (required.iter().map(Region::as_str).collect::<Vec<_>>().join(","), placement.is_everywhere())
        };
        for (location, narrowed, taken_in, expected, everywhere) in [
            ("global", "", "iad", "iad", true),
            ("single:fra", "", "iad", "fra", false),
            ("dual:iad,fra", "", "fra", "fra,iad", false),
            ("dual:iad,fra", "", "lhr", "iad,fra", false),
            ("dual:iad,nix", "", "lhr", "iad", false),
            ("multi:eur", "", "lhr", "lhr,ams", false),
            ("multi:eur", "", "iad", "ams,fra", false),
            ("multi:usa", "", "fra", "iad", false),
            ("global", "iad,fra,ams", "lhr", "iad,fra,ams", false),
            ("global", "iad,fra,ams", "fra", "fra,ams,iad", false),
            ("global", "eur", "iad", "ams,fra", false),
            // The bucket's location was changed since.
            ("dual:fra,lhr", "iad,fra", "fra", "fra", false),
            ("single:lhr", "iad,fra", "fra", "lhr", false),
        ] {
            assert_eq!(required(location, narrowed, taken_in), (expected.to_owned(), everywhere), "{location} {narrowed} {taken_in}");
        }
    }
}

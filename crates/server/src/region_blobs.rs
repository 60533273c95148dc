//! The contents of other regions, as the settings name them.

use std::{collections::BTreeMap, path::PathBuf};

use umbra_core::{Geography, Region};
use umbra_store::Topology;

use crate::{
    blob_place::{BlobPlace, BucketPlace},
    settings::Settings,
};

/// Another region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OtherRegion {
    pub(crate) name: Region,
    pub(crate) place: BucketPlace,
    /// A file with the key for it; empty where it is that of `blobs`.
    pub(crate) key_file: PathBuf,
}

/// The other regions; none where there are no regions. Says what is wrong with the setting that it names first.
pub(crate) fn parse(settings: &Settings) -> Result<Vec<OtherRegion>, (&'static str, String)> {
    let wrong = |why: String| ("region_blobs", why);
    let own = BlobPlace::parse(&settings.blobs).map_err(|why| ("blobs", format!("cannot be used: {why}")))?;
    let mut keys = key_files(settings)?;
    let mut places = vec![own.name()];
    let mut regions: Vec<OtherRegion> = Vec::new();
    for given in &settings.region_blobs {
        let (name, url) = given.split_once('=').ok_or_else(|| wrong("must be of the form NAME=s3://BUCKET/PREFIX?…".to_owned()))?;
        let name = Region::parse(name).ok().filter(|name| !name.as_str().bytes().any(|byte| byte.is_ascii_uppercase()));
        let name =
            name.ok_or_else(|| wrong("must begin with the name of a region: up to 32 small letters, digits and dashes".to_owned()))?;
        let BlobPlace::Bucket(place) = BlobPlace::parse(url).map_err(|why| wrong(format!("cannot be used for {name}: {why}")))? else {
            return Err(wrong(format!("must name a bucket for {name}")));
        };
        if name.as_str() == settings.region || regions.iter().any(|region| region.name == name) {
            return Err(wrong(format!("names {name} twice, or it is this server's own")));
        }
        let place_name = BlobPlace::Bucket(place.clone()).name();
        if places.contains(&place_name) {
            return Err(wrong(format!("has two regions at {place_name}: name each one's prefix after it")));
        }
        places.push(place_name);
        let key_file = keys.remove(name.as_str()).unwrap_or_default();
        regions.push(OtherRegion { name, place, key_file });
    }
    if let Some((name, _)) = keys.pop_first() {
        return Err(("region_blobs_key_file", format!("names {name}, which is not in region_blobs")));
    }
    if regions.is_empty() {
        return Ok(regions);
    }
    if settings.region == "auto" || Region::parse(&settings.region).is_err() {
        return Err((
            "region",
            "must name this server's region, with up to 32 small letters, digits and dashes, where there are others".to_owned(),
        ));
    }
    if own == BlobPlace::Disk || settings.metadata.is_embedded() {
        return Err(wrong("needs a bucket for this region's contents, and a database: give blobs and metadata".to_owned()));
    }
    Ok(regions)
}

/// The regions of the store, seen from this server: none where there are no others. Says what is wrong with the setting that it names first.
pub(crate) fn topology(settings: &Settings) -> Result<Topology, (&'static str, String)> {
    let others = parse(settings)?;
    let geographies = geographies(settings).map_err(|why| ("geography", why))?;
    if others.is_empty() {
        return match geographies.is_empty() {
            true => Ok(Topology::default()),
            false => Err(("geography", "groups regions, and there are none: give region_blobs".to_owned())),
        };
    }
    let own = Region::parse(&settings.region).map_err(|error| ("region", error.message().to_owned()))?;
    let others = others.into_iter().map(|region| region.name);
    Topology::new(own, others, geographies).map_err(|error| ("geography", error.message().to_owned()))
}

fn geographies(settings: &Settings) -> Result<Vec<(Geography, Vec<Region>)>, String> {
    let mut read: Vec<(Geography, Vec<Region>)> = Vec::new();
    for given in &settings.geography {
        let (name, regions) = given.split_once('=').ok_or("must be of the form NAME=REGION,REGION")?;
        let name = Geography::parse(name).map_err(|error| error.message().to_owned())?;
        let mut grouped = Vec::new();
        for region in regions.split(',') {
            let region = Region::parse(region).map_err(|error| error.message().to_owned())?;
            if grouped.contains(&region) {
                return Err(format!("names {region} twice in {name}"));
            }
            grouped.push(region);
        }
        if read.iter().any(|(known, _)| *known == name) {
            return Err(format!("names {name} twice"));
        }
        read.push((name, grouped));
    }
    Ok(read)
}

fn key_files(settings: &Settings) -> Result<BTreeMap<String, PathBuf>, (&'static str, String)> {
    let read = |given: &String| match given.split_once('=') {
        Some((name, file)) if !file.is_empty() => Ok((name.to_owned(), PathBuf::from(file))),
        _ => Err(("region_blobs_key_file", "must be of the form NAME=FILE".to_owned())),
    };
    settings.region_blobs_key_file.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{parse, topology};
    use crate::settings::Settings;

    fn settings(region_blobs: &[&str]) -> Settings {
        Settings {
            region: "fra".to_owned(),
            blobs: "s3://b/fra?region=a".to_owned(),
            metadata: "postgres://h/d".to_owned().into(),
            region_blobs: region_blobs.iter().map(ToString::to_string).collect(),
            ..Settings::default()
        }
    }

    #[test]
    fn other_regions_are_read() {
        assert_eq!(parse(&settings(&[])), Ok(Vec::new()));
        let mut two = settings(&["iad=s3://b/iad?endpoint=http://iad:1&region=r", "sin=s3://b/sin?region=b"]);
        two.region_blobs_key_file = vec!["sin=/etc/sin.json".to_owned()];
        let regions = parse(&two).unwrap();
        assert_eq!(regions.iter().map(|region| region.name.as_str()).collect::<Vec<_>>(), ["iad", "sin"]);
        assert_eq!((regions[0].place.prefix.as_str(), &regions[0].key_file), ("iad", &PathBuf::new()));
        assert_eq!(regions[1].key_file, PathBuf::from("/etc/sin.json"));
    }

    #[test]
    fn geographies_are_of_the_regions_there_are() {
        let given = |geographies: &[&str], region_blobs: &[&str]| {
            topology(&Settings { geography: geographies.iter().map(ToString::to_string).collect(), ..settings(region_blobs) })
        };
        let others = &["iad=s3://b/iad?region=a", "ams=s3://b/ams?region=a"];
        let known = given(&["atlantic=iad,fra", "eur=fra"], others).unwrap();
        assert_eq!(known.own().map(umbra_core::Region::as_str), Some("fra"));
        let within =
            |name: &str| known.within(&umbra_core::Geography::parse(name).unwrap()).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            (within("atlantic").join(","), within("eur").join(","), within("usa").join(",")),
            ("iad,fra".into(), "fra".into(), "iad".into())
        );
        assert_eq!(given(&[], &[]).unwrap().own(), None);
        for (geographies, told) in [
            (&["eur"][..], "of the form"),
            (&["eur="], "no name of a region"),
            (&["e r=fra"], "no name of a geography"),
            (&["eur=fra,fra"], "fra twice"),
            (&["eur=fra", "eur=iad"], "eur twice"),
            (&["eur=fra,sin"], "sin, which is no region"),
            (&["iad=fra"], "name of a region"),
        ] {
            let (setting, why) = given(geographies, others).unwrap_err();
            assert!(setting == "geography" && why.contains(told), "{geographies:?}: {why}");
        }
        assert_eq!(given(&["eur=fra"], &[]).unwrap_err().0, "geography");
    }

    #[test]
    fn what_could_not_work_is_refused() {
        for (given, told) in [
            (&["s3://b/iad?region=a"][..], "name of a region"),
            (&["iad"], "of the form"),
            (&["i_d=s3://b/iad?region=a"], "name of a region"),
            (&["IAD=s3://b/iad?region=a"], "small letters"),
            (&["iad=https://b"], "s3://"),
            (&["iad="], "a bucket for iad"),
            (&["fra=s3://b/other?region=a"], "server's own"),
            (&["iad=s3://b/iad?region=a", "iad=s3://b/sin?region=a"], "iad twice"),
            (&["iad=s3://b/fra?endpoint=http://elsewhere"], "two regions at s3://b/fra"),
        ] {
            let (setting, why) = parse(&settings(given)).unwrap_err();
            assert!(setting == "region_blobs" && why.contains(told), "{given:?}: {why}");
        }
        let fine = || settings(&["iad=s3://b/iad?region=a"]);
        assert_eq!(parse(&Settings { region: "auto".to_owned(), ..fine() }).unwrap_err().0, "region");
        assert_eq!(parse(&Settings { blobs: String::new(), ..fine() }).unwrap_err().0, "region_blobs");
        assert_eq!(parse(&Settings { metadata: Default::default(), ..fine() }).unwrap_err().0, "region_blobs");
        for file in ["sin=/f", "iad", "iad="] {
            let error = parse(&Settings { region_blobs_key_file: vec![file.to_owned()], ..fine() }).unwrap_err();
            assert_eq!(error.0, "region_blobs_key_file", "{file}");
        }
    }
}

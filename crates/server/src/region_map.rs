//! Which region is nearest to clients and where they reach it, as the settings say.

use std::{fs, path::Path, sync::Arc};

use umbra_cluster::Node;
use umbra_s3::{Coordinates, Nearest, NearestParts, RegionAddress, RegionMap};

use crate::{
    private_file::FileError,
    region_blobs,
    settings::{RegionRedirect, Settings},
    wire::StartError,
};

type Wrong = (&'static str, String);

/// Where clients reach the regions. Says what is wrong with the setting that it names first.
pub(crate) fn addresses(settings: &Settings) -> Result<Vec<RegionAddress>, Wrong> {
    let mut places = places(settings)?;
    let mut addresses: Vec<RegionAddress> = Vec::new();
    for given in &settings.region_url {
        let wrong = |why: String| Err(("region_url", why));
        let Some((name, url)) = given.split_once('=') else { return wrong("must be of the form NAME=URL".to_owned()) };
        let is_region = name == settings.region || region_blobs::parse(settings)?.iter().any(|other| other.name.as_str() == name);
        if !is_region {
            return wrong(format!("names {name}, which is neither this region nor in region_blobs"));
        }
        if addresses.iter().any(|address| address.name() == name) {
            return wrong(format!("names {name} twice"));
        }
        let place = places.iter().position(|(region, _)| region == name).map(|index| places.swap_remove(index).1);
        let address = RegionAddress::parse(name, url, place).map_err(|why| ("region_url", format!("for {name} {why}")))?;
        if settings.has_tls() && !address.url().starts_with("https:") {
            return wrong(format!("for {name} must be https: clients who came by TLS are not sent where there is none"));
        }
        addresses.push(address);
    }
    if let Some((name, _)) = places.first() {
        return Err(("region_at", format!("names {name}, which is not in region_url, or twice")));
    }
    let is_complete = addresses.len() > 1 && addresses.iter().any(|address| address.name() == settings.region);
    if !settings.region_map.as_os_str().is_empty() && !is_complete {
        return Err(("region_map", "needs region_url for this region and for another".to_owned()));
    }
    Ok(addresses)
}

fn places(settings: &Settings) -> Result<Vec<(String, Coordinates)>, Wrong> {
    let read = |given: &String| {
        let place = given.split_once('=').and_then(|(name, place)| Some((name.to_owned(), Coordinates::parse(place)?)));
        place.ok_or_else(|| ("region_at", "must be of the form NAME=LATITUDE,LONGITUDE, in degrees".to_owned()))
    };
    settings.region_at.iter().map(read).collect()
}

/// Reads the map that the settings name, if they do.
pub(crate) fn read(settings: &Settings) -> Result<Option<RegionMap>, StartError> {
    if settings.region_map.as_os_str().is_empty() {
        return Ok(None);
    }
    read_file(&settings.region_map, &known(settings)?).map(Some)
}

/// Reads a map for the regions at `addresses`.
pub(crate) fn read_file(file: &Path, addresses: &[RegionAddress]) -> Result<RegionMap, StartError> {
    let bytes = fs::read(file).map_err(|error| FileError::Read(file.to_owned(), error))?;
    RegionMap::parse(bytes, addresses).map_err(|error| StartError::RegionMap(file.to_owned(), error))
}

/// What sends clients to their nearest region by `map`; which of them live is what `node` sees.
pub(crate) fn nearest(settings: &Settings, map: RegionMap, node: Arc<Node>) -> Result<Arc<Nearest>, StartError> {
    let parts = NearestParts {
        region: settings.region.clone(),
        addresses: known(settings)?,
        common_url: settings.public_url.trim_end_matches('/').to_owned(),
        sends_signed: settings.region_redirect == RegionRedirect::All,
        is_live: Box::new(move |region| node.lives_in(region)),
    };
    Ok(Arc::new(Nearest::new(parts, map)))
}

fn known(settings: &Settings) -> Result<Vec<RegionAddress>, StartError> {
    addresses(settings).map_err(|(name, why)| StartError::Setting(name, why))
}

#[cfg(test)]
mod tests {
    use super::addresses;
    use crate::settings::Settings;

    fn settings(urls: &[&str], places: &[&str]) -> Settings {
        Settings {
            region: "fra".to_owned(),
            blobs: "s3://b/fra?region=a".to_owned(),
            metadata: "postgres://h/d".to_owned().into(),
            region_blobs: vec!["iad=s3://b/iad?region=a".to_owned()],
            region_url: urls.iter().map(ToString::to_string).collect(),
            region_at: places.iter().map(ToString::to_string).collect(),
            region_map: "map".into(),
            ..Settings::default()
        }
    }

    #[test]
    fn every_region_has_a_url() {
        let both = ["fra=https://fra.s3.test", "iad=https://iad.s3.test/"];
        let found = addresses(&settings(&both, &["iad=38.9,-77.4"])).unwrap();
        assert_eq!(found.iter().map(|address| address.url()).collect::<Vec<_>>(), ["https://fra.s3.test", "https://iad.s3.test"]);
        assert_eq!(addresses(&Settings::default()), Ok(Vec::new()));
        for (urls, places, setting, told) in [
            (&["fra"][..], &[][..], "region_url", "of the form"),
            (&["sin=https://sin.test"], &[], "region_url", "names sin, which is neither"),
            (&["fra=https://a.test", "fra=https://b.test"], &[], "region_url", "names fra twice"),
            (&["fra=ftp://a.test"], &[], "region_url", "for fra must be of the form"),
            (&both, &["iad=38.9"], "region_at", "of the form"),
            (&both, &["sin=1,2"], "region_at", "names sin"),
            (&both, &["iad=1,2", "iad=1,2"], "region_at", "twice"),
            (&both[..1], &[], "region_map", "this region and for another"),
            (&both[1..], &[], "region_map", "this region and for another"),
        ] {
            let (name, why) = addresses(&settings(urls, places)).unwrap_err();
            assert!(name == setting && why.contains(told), "{urls:?} {places:?}: {name} {why}");
        }
        let tls = Settings { tls_cert: "cert".into(), ..settings(&["fra=http://fra.s3.test"], &[]) };
        assert!(addresses(&tls).unwrap_err().1.contains("must be https"));
    }
}

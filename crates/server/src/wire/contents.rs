//! The store of contents, as the settings want it.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use umbra_blob::{BlobStore, CacheMetrics, CacheSettings, CachedBlobStore, DiskBlobStore, DiskSettings, RemoteSettings, S3BlobStore};
use umbra_client::{ClientSettings, EndpointGuard, GuardPolicy, S3Client};
use umbra_core::{Clock, Random, Region};
use umbra_meta::MetaStore;
use umbra_store::{Catalog, DemandSettings, PlacedBlobStore, PlacementMetrics, PlacementParts, ReclaimHandle};

use super::StartError;
use crate::{
    blob_place::{self, BlobPlace, BucketPlace},
    data_dir::DataDir,
    region_blobs::{self, OtherRegion},
    settings::Settings,
};

/// How often a request to the engine is tried. More than of an origin, for nobody else has what is here.
const ATTEMPTS_MAX: u32 = 5;
/// How often one to another region's is: whoever waits for it should soon hear that the region is away.
const FAR_ATTEMPTS_MAX: u32 = 3;

/// The store of contents.
pub(super) struct Contents {
    /// With a cache in front, if it has one.
    pub(super) store: Arc<dyn BlobStore>,
    /// Without.
    pub(super) engine: Arc<dyn BlobStore>,
    /// What remembers where they are calls it.
    name: String,
}

impl Contents {
    /// Binds the directory to them. Not before they have shown to be of use, and where the store has them: what was mistyped may be mended.
    pub(super) fn claim(&self, dir: &DataDir) -> Result<(), StartError> {
        Ok(dir.claim_contents(&self.name)?)
    }
}

/// Opens the store of contents, with a cache in front where it is elsewhere.
pub(super) async fn open(dir: &DataDir, settings: &Settings, metrics: CacheMetrics) -> Result<Contents, StartError> {
    let place = BlobPlace::parse(&settings.blobs).map_err(StartError::BlobPlace)?;
    let name = place.name();
    dir.check_contents(&name)?;
    Ok(match place {
        BlobPlace::Disk => {
            let store = DiskBlobStore::open(dir.blobs(), DiskSettings::default()).await.map_err(StartError::blobs)?;
            let store: Arc<dyn BlobStore> = Arc::new(store);
            Contents { engine: Arc::clone(&store), store, name }
        }
        BlobPlace::Bucket(place) => {
            let client = client(&place, &settings.blobs_key_file, settings, ATTEMPTS_MAX)?;
            let store = S3BlobStore::open(client, &place.prefix, RemoteSettings::default()).await.map_err(StartError::blobs)?;
            let engine: Arc<dyn BlobStore> = Arc::new(store);
            let cache = CacheSettings { bytes: settings.blob_cache_bytes, ..CacheSettings::default() };
            let inner = Arc::clone(&engine);
            let store = match cache.bytes {
                0 => inner,
                _ => Arc::new(CachedBlobStore::open(inner, dir.blob_cache(), cache, metrics).await.map_err(StartError::blobs)?),
            };
            Contents { engine, store, name }
        }
    })
}

/// How long another region is asked for its bucket, before the store has that region.
const FAR_BUCKET_MAX: Duration = Duration::from_secs(5);

/// What all who share a store have to agree on: elsewhere they would not find what others have written.
pub(super) struct Places {
    /// Where the contents of each region are.
    given: BTreeMap<String, String>,
    /// This server's; empty where there are none.
    own: String,
    /// The region that has what was written before there were regions, where there are some and something was.
    pub(super) first: Option<Region>,
}

impl Places {
    /// Holds that contents are at these places, from now on and for everybody. Not before this server is one of the nodes: one that is refused
    /// must leave nothing.
    pub(super) async fn claim(&self, catalog: &Catalog) -> Result<(), StartError> {
        for (region, given) in &self.given {
            let claimed = catalog.claim_contents(region, given).await;
            if let Some(found) = claimed.map_err(StartError::store("agree on the place of contents"))? {
                return Err(self.refused(region, found, given));
            }
        }
        Ok(())
    }

    fn refused(&self, region: &str, found: String, given: &str) -> StartError {
        let (region, given) = (region.to_owned(), given.to_owned());
        if region.is_empty() {
            return StartError::OtherContents { found, given };
        }
        let setting = if region == self.own { "blobs" } else { "region_blobs" };
        StartError::OtherContentsIn { region, setting, found, given }
    }
}

/// Holds the places that the settings give against those that the store has.
pub(super) async fn agree(dir: &DataDir, settings: &Settings, catalog: &Catalog, random: &dyn Random) -> Result<Places, StartError> {
    let name = match BlobPlace::parse(&settings.blobs).map_err(StartError::BlobPlace)? {
        // One server's disk is no other's.
        BlobPlace::Disk => format!("the data directory of node {}", dir.node(random)?),
        place => place.name(),
    };
    let others = others(settings)?;
    let mut given: BTreeMap<String, String> =
        others.iter().map(|region| (region.name.to_string(), BlobPlace::Bucket(region.place.clone()).name())).collect();
    let own = if given.is_empty() { String::new() } else { settings.region.clone() };
    given.insert(own.clone(), name);
    let mut places = Places { given, own, first: None };
    let given = &places.given;
    let before = catalog.contents().await.map_err(StartError::store("look for the places of contents"))?;
    for (region, found) in &before {
        if let Some(given) = given.get(region).filter(|given| *given != found) {
            return Err(places.refused(region, found.clone(), given));
        }
    }
    if let Some((region, found)) = before.iter().find(|(region, _)| !region.is_empty() && !given.contains_key(region)) {
        return Err(StartError::UnknownRegion { region: region.clone(), found: found.clone() });
    }
    for region in others.iter().filter(|region| !before.iter().any(|(known, _)| known == region.name.as_str())) {
        hold_bucket(region, settings).await?;
    }
    places.first = match before.into_iter().find(|(region, _)| region.is_empty()) {
        Some((_, place)) if !given.contains_key("") => match given.iter().find(|(_, given)| **given == place) {
            Some((region, _)) => Region::parse(region).ok(),
            None => return Err(StartError::NoFirstRegion { found: place }),
        },
        _ => None,
    };
    Ok(places)
}

/// Refuses a region whose bucket is not there, before the store is bound to the name of it. One that does not answer is believed.
async fn hold_bucket(region: &OtherRegion, settings: &Settings) -> Result<(), StartError> {
    let store = reach(region, settings)?;
    match tokio::time::timeout(FAR_BUCKET_MAX, store.has_bucket()).await {
        Ok(Ok(false)) => {
            let BucketPlace { bucket, endpoint, .. } = &region.place;
            let why = format!("names the bucket {bucket} for {}, which is not at {endpoint}: make it, or mend its name", region.name);
            Err(StartError::Setting("region_blobs", why))
        }
        _ => Ok(()),
    }
}

/// What [`place`] works with.
pub(super) struct Surroundings {
    pub(super) meta: Arc<dyn MetaStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) reclaimer: ReclaimHandle,
    pub(super) metrics: PlacementMetrics,
    /// The region that has what was written before there were regions.
    pub(super) first: Option<Region>,
}

/// Tells `catalog` which regions there are, and puts this region's `contents` among those of the others, if there are any.
pub(super) fn place(
    settings: &Settings,
    contents: &Contents,
    catalog: &Catalog,
    around: Surroundings,
) -> Result<Option<PlacedBlobStore>, StartError> {
    let topology = Arc::new(region_blobs::topology(settings).map_err(|(_, why)| StartError::BlobPlace(why))?);
    catalog.set_topology(Arc::clone(&topology));
    let mut stores: BTreeMap<Region, Arc<dyn BlobStore>> = BTreeMap::new();
    for region in others(settings)? {
        let store = reach(&region, settings)?;
        stores.insert(region.name, Arc::new(store));
    }
    if stores.is_empty() {
        return Ok(None);
    }
    let (own, engine) = (Arc::clone(&contents.store), Arc::clone(&contents.engine));
    let Surroundings { meta, clock, reclaimer, metrics, first } = around;
    let demand = DemandSettings { window: Duration::from_secs(settings.home_window), copy_idle: Duration::from_secs(settings.copy_idle) };
    let parts = PlacementParts { topology, own, engine, others: stores, first, meta, clock, reclaimer, demand, metrics };
    Ok(Some(PlacedBlobStore::new(parts)))
}

fn others(settings: &Settings) -> Result<Vec<OtherRegion>, StartError> {
    region_blobs::parse(settings).map_err(|(_, why)| StartError::BlobPlace(why))
}

/// The contents of another region.
fn reach(region: &OtherRegion, settings: &Settings) -> Result<S3BlobStore, StartError> {
    let key_file = if region.key_file.as_os_str().is_empty() { &settings.blobs_key_file } else { &region.key_file };
    let client = client(&region.place, key_file, settings, FAR_ATTEMPTS_MAX)?;
    Ok(S3BlobStore::reach(client, &region.place.prefix, RemoteSettings::default()))
}

fn client(place: &BucketPlace, key_file: &Path, settings: &Settings, attempts_max: u32) -> Result<S3Client, StartError> {
    let credentials = blob_place::credentials(key_file)?;
    let extra_roots = blob_place::authorities(&settings.blobs_ca)?;
    // The guard is for endpoints that users name; this one is the operator's, and most often inside.
    let everywhere = ["0.0.0.0/0", "::/0"].map(|network| network.parse().expect("it is a network"));
    let guard = EndpointGuard::new(GuardPolicy { allow: everywhere.to_vec(), allow_loopback: true });
    let client = ClientSettings { attempts_max, extra_roots, ..ClientSettings::default() };
    S3Client::new(place.endpoint.clone(), &place.bucket, credentials, guard, client)
        .map_err(|error| StartError::BlobPlace(error.to_string()))
}

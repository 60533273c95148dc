//! The store of contents, as the settings want it.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use umbra_blob::{BlobStore, CacheMetrics, CacheSettings, CachedBlobStore, DiskBlobStore, DiskSettings, RemoteSettings, S3BlobStore};
use umbra_client::{ClientSettings, EndpointGuard, GuardPolicy, S3Client};
use umbra_core::{Clock, Random, Region};
use umbra_meta::MetaStore;
use umbra_store::{Catalog, DemandSettings, PlacedBlobStore, PlacementMetrics, PlacementParts, ReclaimHandle};

use super::{StartError, places::Places};
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
    /// Whether they are on this machine's disk.
    pub(super) fn is_disk(&self) -> bool {
        self.name == BlobPlace::Disk.name()
    }

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
            let store = S3BlobStore::open(client, &place.prefix, RemoteSettings::default()).await;
            let endpoint = place.endpoint.to_string();
            let store = store.map_err(|source| StartError::Bucket { place: name.clone(), endpoint, source })?;
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

/// What [`place`] works with.
pub(super) struct Surroundings<'a> {
    pub(super) meta: &'a Arc<dyn MetaStore>,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) random: &'a Arc<dyn Random>,
    pub(super) reclaimer: &'a ReclaimHandle,
    pub(super) metrics: &'a PlacementMetrics,
}

/// Tells `catalog` which regions there are, and puts this region's `contents` among those of the others, if there are any.
pub(super) fn place(
    settings: &Settings,
    contents: &Contents,
    catalog: &Arc<Catalog>,
    places: Option<&Places>,
    around: Surroundings<'_>,
) -> Result<Option<PlacedBlobStore>, StartError> {
    let topology = Arc::new(region_blobs::topology(settings).map_err(|(_, why)| StartError::BlobPlace(why))?);
    catalog.set_topology(Arc::clone(&topology));
    let mut stores: BTreeMap<Region, Arc<dyn BlobStore>> = BTreeMap::new();
    for region in others(settings)? {
        if let Some(store) = places.and_then(|places| places.far(&region.name, catalog, around.random)) {
            stores.insert(region.name, Arc::new(store));
        }
    }
    if stores.is_empty() {
        return Ok(None);
    }
    let (own, engine) = (Arc::clone(&contents.store), Arc::clone(&contents.engine));
    let Surroundings { meta, clock, reclaimer, metrics, .. } = around;
    let (meta, clock, reclaimer, metrics) = (Arc::clone(meta), Arc::clone(clock), reclaimer.clone(), metrics.clone());
    let first = places.and_then(|places| places.first.clone());
    let demand = DemandSettings { window: Duration::from_secs(settings.home_window), copy_idle: Duration::from_secs(settings.copy_idle) };
    let parts = PlacementParts { topology, own, engine, others: stores, first, meta, clock, reclaimer, demand, metrics };
    Ok(Some(PlacedBlobStore::new(parts)))
}

/// The other regions.
pub(super) fn others(settings: &Settings) -> Result<Vec<OtherRegion>, StartError> {
    region_blobs::parse(settings).map_err(|(_, why)| StartError::BlobPlace(why))
}

/// The contents at `place`, without a look at them. The key is that of this server's contents where no file is named.
pub(super) fn reach(place: &BucketPlace, key_file: &Path, settings: &Settings) -> Result<S3BlobStore, StartError> {
    let key_file = if key_file.as_os_str().is_empty() { &settings.blobs_key_file } else { key_file };
    let client = client(place, key_file, settings, FAR_ATTEMPTS_MAX)?;
    Ok(S3BlobStore::reach(client, &place.prefix, RemoteSettings::default()))
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

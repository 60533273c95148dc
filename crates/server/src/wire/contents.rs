//! The store of contents, as the settings want it.

use std::sync::Arc;

use umbra_blob::{BlobStore, CacheMetrics, CacheSettings, CachedBlobStore, DiskBlobStore, DiskSettings, RemoteSettings, S3BlobStore};
use umbra_client::{ClientSettings, EndpointGuard, GuardPolicy, S3Client};
use umbra_core::Random;
use umbra_store::Catalog;

use super::StartError;
use crate::{
    blob_place::{self, BlobPlace, BucketPlace},
    data_dir::DataDir,
    settings::Settings,
};

/// How often a request to the engine is tried. More than of an origin, for nobody else has what is here.
const ATTEMPTS_MAX: u32 = 5;

/// Opens the store of contents, with a cache in front where it is elsewhere.
pub(super) async fn open(dir: &DataDir, settings: &Settings, metrics: CacheMetrics) -> Result<Arc<dyn BlobStore>, StartError> {
    let place = BlobPlace::parse(&settings.blobs).map_err(StartError::BlobPlace)?;
    let name = place.name();
    dir.check_contents(&name)?;
    let store: Arc<dyn BlobStore> = match place {
        BlobPlace::Disk => Arc::new(DiskBlobStore::open(dir.blobs(), DiskSettings::default()).await.map_err(StartError::blobs)?),
        BlobPlace::Bucket(place) => {
            let store = Arc::new(remote(place, settings).await?);
            let cache = CacheSettings { bytes: settings.blob_cache_bytes, ..CacheSettings::default() };
            match cache.bytes {
                0 => store,
                _ => Arc::new(CachedBlobStore::open(store, dir.blob_cache(), cache, metrics).await.map_err(StartError::blobs)?),
            }
        }
    };
    // Not before it has shown to be of use: what was mistyped may be mended.
    dir.claim_contents(&name)?;
    Ok(store)
}

/// Holds that all who share a store keep the contents of a region at one place: elsewhere they would not find what others have written.
pub(super) async fn agree(dir: &DataDir, settings: &Settings, catalog: &Catalog, random: &dyn Random) -> Result<(), StartError> {
    let name = match BlobPlace::parse(&settings.blobs).map_err(StartError::BlobPlace)? {
        // One server's disk is no other's.
        BlobPlace::Disk => format!("the data directory of node {}", dir.node(random)?),
        place => place.name(),
    };
    match catalog.claim_contents("", &name).await.map_err(StartError::store("agree on the place of contents"))? {
        None => Ok(()),
        Some(found) => Err(StartError::OtherContents { found, given: name }),
    }
}

async fn remote(place: BucketPlace, settings: &Settings) -> Result<S3BlobStore, StartError> {
    let credentials = blob_place::credentials(&settings.blobs_key_file)?;
    let extra_roots = blob_place::authorities(&settings.blobs_ca)?;
    // The guard is for endpoints that users name; this one is the operator's, and most often inside.
    let everywhere = ["0.0.0.0/0", "::/0"].map(|network| network.parse().expect("it is a network"));
    let guard = EndpointGuard::new(GuardPolicy { allow: everywhere.to_vec(), allow_loopback: true });
    let client = ClientSettings { attempts_max: ATTEMPTS_MAX, extra_roots, ..ClientSettings::default() };
    let client = S3Client::new(place.endpoint, &place.bucket, credentials, guard, client);
    let client = client.map_err(|error| StartError::BlobPlace(error.to_string()))?;
    S3BlobStore::open(client, &place.prefix, RemoteSettings::default()).await.map_err(StartError::blobs)
}

//! Where contents are, as all who share a store have to agree on: elsewhere they would not find what others have written.

mod sure;

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::try_join_all;
use umbra_blob::{Badge, S3BlobStore};
use umbra_core::{Random, Region, with_causes};
use umbra_store::{Catalog, ContentsPlace};

pub(super) use self::sure::SureBlobStore;
use super::{StartError, contents};
use crate::{
    blob_place::{BlobPlace, BucketPlace},
    data_dir::DataDir,
    settings::Settings,
};

/// How long another region may take to answer what it is asked about its bucket.
const FAR_MAX: Duration = Duration::from_secs(5);

/// Where contents are, as the settings say and the store agrees.
pub(super) struct Places {
    /// Of each region; of the one without a name in a store that has none.
    places: BTreeMap<String, Arc<Place>>,
    /// The region that has what was written before there were regions, where there are some and something was.
    pub(super) first: Option<Region>,
}

/// A place of contents.
pub(super) struct Place {
    name: String,
    /// Unless it is a disk.
    bucket: Option<Bucket>,
    /// By what the store knows it.
    badge: Option<Badge>,
    /// What names it.
    setting: &'static str,
    is_own: bool,
    /// Whether it is known to be the one.
    is_sure: AtomicBool,
    /// Whether it could not be told as this server started.
    is_away: AtomicBool,
    /// The badge that this server gives it, should it need one.
    fresh: OnceLock<Badge>,
}

struct Bucket {
    at: BucketPlace,
    store: S3BlobStore,
}

/// Holds the places that the settings give against those that the store has, and against what is at them.
pub(super) async fn agree(dir: &DataDir, settings: &Settings, catalog: &Catalog, random: &dyn Random) -> Result<Places, StartError> {
    let mut places = given(dir, settings, random)?;
    let before: BTreeMap<_, _> =
        catalog.contents().await.map_err(StartError::store("look for the places of contents"))?.into_iter().collect();
    for (region, found) in &before {
        match places.get(region) {
            Some(place) if place.name != found.name => return Err(place.refused(region, &found.name)),
            None if !region.is_empty() => {
                return Err(StartError::UnknownRegion { region: region.clone(), found: found.name.clone() });
            }
            _ => {}
        }
    }
    let first = match before.get("") {
        Some(place) if !places.contains_key("") => Some(first(&places, place)?),
        _ => None,
    };
    for (region, place) in &mut places {
        let known = before.get(region).or_else(|| before.get("").filter(|_| first.as_ref().is_some_and(|first| first.as_str() == region)));
        place.badge = known.and_then(|known| known.badge);
    }
    try_join_all(places.iter().map(|(region, place)| place.look(region))).await?;
    let places = places.into_iter().map(|(region, place)| (region, Arc::new(place))).collect();
    Ok(Places { places, first })
}

/// The places that the settings give.
fn given(dir: &DataDir, settings: &Settings, random: &dyn Random) -> Result<BTreeMap<String, Place>, StartError> {
    let bucket = |at: BucketPlace, key_file: &PathBuf| contents::reach(&at, key_file, settings).map(|store| Some(Bucket { at, store }));
    let others = contents::others(settings)?;
    let own = if others.is_empty() { String::new() } else { settings.region.clone() };
    let place = BlobPlace::parse(&settings.blobs).map_err(StartError::BlobPlace)?;
    let (name, own_bucket) = match place {
        // One server's disk is no other's.
        BlobPlace::Disk => (DataDir::disk_in(dir.path(), random)?, None),
        BlobPlace::Bucket(ref at) => (place.name(), bucket(at.clone(), &settings.blobs_key_file)?),
    };
    let mut places = BTreeMap::from([(own, Place::new(name, own_bucket, "blobs", true))]);
    for region in others {
        let name = BlobPlace::Bucket(region.place.clone()).name();
        let bucket = bucket(region.place, &region.key_file)?;
        places.insert(region.name.to_string(), Place::new(name, bucket, "region_blobs", false));
    }
    Ok(places)
}

/// The region that has what was written before there were regions: the one whose contents are where they were.
fn first(places: &BTreeMap<String, Place>, before: &ContentsPlace) -> Result<Region, StartError> {
    let found = places.iter().find(|(_, place)| place.name == before.name);
    let region = found.and_then(|(region, _)| Region::parse(region).ok());
    region.ok_or_else(|| StartError::NoFirstRegion { found: before.name.clone() })
}

impl Places {
    /// Holds that contents are at these places, from now on and for everybody. Not before this server is one of the nodes: one that is refused must
    /// leave nothing. Another region that did not answer, or whose key is refused, is left for later: nothing says yet that it is there.
    pub(super) async fn claim(&self, catalog: &Catalog, random: &dyn Random) -> Result<(), StartError> {
        for (region, place) in self.places.iter().filter(|(_, place)| !place.is_away.load(Ordering::Relaxed)) {
            place.or_later(region, place.make_sure(region, catalog, random).await)?;
        }
        Ok(())
    }

    /// The contents of another region, which are used once they are known to be the store's.
    pub(super) fn far(&self, region: &Region, catalog: &Arc<Catalog>, random: &Arc<dyn Random>) -> Option<SureBlobStore> {
        let place = self.places.get(region.as_str())?;
        SureBlobStore::new(region, place, catalog, random)
    }
}

impl Place {
    const fn new(name: String, bucket: Option<Bucket>, setting: &'static str, is_own: bool) -> Self {
        Self {
            name,
            bucket,
            badge: None,
            setting,
            is_own,
            is_sure: AtomicBool::new(false),
            is_away: AtomicBool::new(false),
            fresh: OnceLock::new(),
        }
    }

    pub(super) fn is_sure(&self) -> bool {
        self.is_sure.load(Ordering::Acquire)
    }

    /// What is there, unless it is a disk.
    pub(super) fn store(&self) -> Option<&S3BlobStore> {
        self.bucket.as_ref().map(|bucket| &bucket.store)
    }

    fn refused(&self, region: &str, found: &str) -> StartError {
        let (region, found, given) = (region.to_owned(), found.to_owned(), self.name.clone());
        match region.is_empty() {
            true if self.bucket.is_none() && DataDir::is_disk(&found) => StartError::OtherDisk { found, given },
            true => StartError::OtherContents { found, given },
            false => StartError::OtherContentsIn { region, setting: self.setting, found, given },
        }
    }

    /// Refuses what cannot be the place. Of another region that cannot be told yet.
    async fn look(&self, region: &str) -> Result<(), StartError> {
        let found = match &self.badge {
            Some(badge) => self.find(badge).await,
            None if self.is_own => Ok(()),
            None => self.find_bucket(region).await,
        };
        self.or_later(region, found)
    }

    /// Leaves another region for later where it cannot be told that its contents are the store's: it is away, or refuses the key.
    fn or_later(&self, region: &str, outcome: Result<(), StartError>) -> Result<(), StartError> {
        let (place, endpoint, source) = match outcome {
            Err(StartError::UnknownContents { place, endpoint, source, .. }) if !self.is_own => (place, endpoint, source),
            outcome => return outcome,
        };
        let why = std::error::Error::source(&source).map_or_else(|| source.to_string(), with_causes);
        tracing::warn!(
            region,
            place,
            endpoint,
            why,
            "it cannot be told yet whether the contents of a region are the store's; they are not used until then"
        );
        self.is_away.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Makes sure that it is the place, and holds that for everybody.
    pub(super) async fn make_sure(&self, region: &str, catalog: &Catalog, random: &dyn Random) -> Result<(), StartError> {
        let known = match self.badge {
            Some(badge) => Some(badge),
            None => self.known_by_now(region, catalog).await?,
        };
        let fresh = match &known {
            Some(badge) => self.find(badge).await.map(|()| None)?,
            None => self.set_badge(region, random).await?,
        };
        let claimed = ContentsPlace { name: self.name.clone(), badge: known.or(fresh) };
        let found = catalog.claim_contents(region, &claimed).await.map_err(StartError::store("agree on the place of contents"))?;
        if found != claimed {
            // Another server was first.
            self.take_back(fresh).await;
            if found.name != self.name {
                return Err(self.refused(region, &found.name));
            }
            if let Some(badge) = &found.badge {
                self.find(badge).await?;
            }
        }
        self.is_sure.store(true, Ordering::Release);
        Ok(())
    }

    /// The badge that others have given the place since this server started.
    async fn known_by_now(&self, region: &str, catalog: &Catalog) -> Result<Option<Badge>, StartError> {
        let places = catalog.contents().await.map_err(StartError::store("look for the places of contents"))?;
        match places.into_iter().find(|(known, _)| known == region) {
            Some((_, found)) if found.name != self.name => Err(self.refused(region, &found.name)),
            found => Ok(found.and_then(|(_, found)| found.badge)),
        }
    }

    /// Refuses a region whose bucket is not there, before the store is bound to the name of it. Some engines would make it.
    async fn find_bucket(&self, region: &str) -> Result<(), StartError> {
        let Some(Bucket { at, store }) = &self.bucket else { return Ok(()) };
        if self.within(store.has_bucket()).await.map_err(|source| self.unknown(at, format!("the bucket {}", at.bucket), source))? {
            return Ok(());
        }
        let BucketPlace { bucket, endpoint, .. } = at;
        let why = format!("names the bucket {bucket} for {region}, which is not at {endpoint}: make it, or mend its name");
        Err(StartError::Setting(self.setting, why))
    }

    /// Refuses a place of the same name that is not the one: it may be at another engine.
    async fn find(&self, badge: &Badge) -> Result<(), StartError> {
        let Some(Bucket { at, store }) = &self.bucket else { return Ok(()) };
        let key = store.badge_key(badge);
        if self.within(store.has_badge(badge)).await.map_err(|source| self.unknown(at, format!("the object {key}"), source))? {
            return Ok(());
        }
        let (place, endpoint) = (self.name.clone(), at.endpoint.to_string());
        Err(StartError::NotTheContents { setting: self.setting, place, endpoint, key })
    }

    /// Gives the place a badge, if it is a bucket.
    async fn set_badge(&self, region: &str, random: &dyn Random) -> Result<Option<Badge>, StartError> {
        let Some(Bucket { at, store }) = &self.bucket else { return Ok(None) };
        if !self.is_own {
            self.find_bucket(region).await?;
        }
        // The same in every attempt: one that is given up may have done it.
        let badge = self.fresh.get_or_init(|| Badge::draw(random));
        let set = self.within(store.set_badge(badge)).await;
        set.map(|()| Some(*badge)).map_err(|source| self.unknown(at, format!("the object {}", store.badge_key(badge)), source))
    }

    /// Takes back a badge that nobody knows. One that stays harms nobody.
    async fn take_back(&self, badge: Option<Badge>) {
        if let (Some(Bucket { store, .. }), Some(badge)) = (&self.bucket, badge)
            && let Err(error) = self.within(store.remove_badge(&badge)).await
        {
            tracing::debug!(place = self.name, %error, "a badge that nobody knows stays");
        }
    }

    /// Does not wait long for another region: it may be away.
    async fn within<T>(&self, asked: impl Future<Output = umbra_blob::Result<T>>) -> umbra_blob::Result<T> {
        if self.is_own {
            return asked.await;
        }
        let late = || umbra_blob::Error::Io { doing: "ask the engine", source: io::ErrorKind::TimedOut.into() };
        tokio::time::timeout(FAR_MAX, asked).await.unwrap_or_else(|_| Err(late()))
    }

    fn unknown(&self, at: &BucketPlace, asked_for: String, source: umbra_blob::Error) -> StartError {
        StartError::UnknownContents { place: self.name.clone(), endpoint: at.endpoint.to_string(), asked_for, source }
    }
}

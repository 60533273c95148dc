//! Where contents are, as all who share a store have to agree on: elsewhere they would not find what others have written.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use futures::future::try_join_all;
use umbra_blob::{Badge, S3BlobStore};
use umbra_core::{Random, Region};
use umbra_store::{Catalog, ContentsPlace};

use super::{StartError, contents};
use crate::{
    blob_place::{BlobPlace, BucketPlace},
    data_dir::DataDir,
    settings::Settings,
};

/// How long another region is asked about its bucket.
const FAR_MAX: Duration = Duration::from_secs(5);

/// Where contents are, as the settings say and the store agrees.
pub(super) struct Places {
    /// Of each region; of the one without a name in a store that has none.
    places: BTreeMap<String, Place>,
    /// The region that has what was written before there were regions, where there are some and something was.
    pub(super) first: Option<Region>,
}

struct Place {
    name: String,
    /// Unless it is a disk.
    bucket: Option<Bucket>,
    /// What the store knows it by.
    badge: Option<Badge>,
    /// What names it.
    setting: &'static str,
    is_own: bool,
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
    try_join_all(places.iter().map(|(region, place)| place.look(region, before.contains_key(region)))).await?;
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
    let mut places = BTreeMap::from([(own, Place { name, bucket: own_bucket, badge: None, setting: "blobs", is_own: true })]);
    for region in others {
        let name = BlobPlace::Bucket(region.place.clone()).name();
        let bucket = bucket(region.place, &region.key_file)?;
        places.insert(region.name.to_string(), Place { name, bucket, badge: None, setting: "region_blobs", is_own: false });
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
    /// Holds that contents are at these places, from now on and for everybody, and gives a badge to those that can be reached and have none. Not before
    /// this server is one of the nodes: one that is refused must leave nothing.
    pub(super) async fn claim(&self, catalog: &Catalog, random: &dyn Random) -> Result<(), StartError> {
        for (region, place) in &self.places {
            let fresh = if place.badge.is_none() { place.set_badge(random).await? } else { None };
            let claimed = ContentsPlace { name: place.name.clone(), badge: place.badge.or(fresh) };
            let found = catalog.claim_contents(region, &claimed).await.map_err(StartError::store("agree on the place of contents"))?;
            if found == claimed {
                continue;
            }
            // Another server was first.
            place.take_back(fresh).await;
            if found.name != place.name {
                return Err(place.refused(region, &found.name));
            }
            if let Some(badge) = &found.badge {
                place.look_for(region, badge).await?;
            }
        }
        Ok(())
    }
}

impl Place {
    fn refused(&self, region: &str, found: &str) -> StartError {
        let (region, found, given) = (region.to_owned(), found.to_owned(), self.name.clone());
        match region.is_empty() {
            true => StartError::OtherContents { found, given },
            false => StartError::OtherContentsIn { region, setting: self.setting, found, given },
        }
    }

    /// Refuses a place that cannot be the one. Another region that does not answer is believed.
    async fn look(&self, region: &str, is_known: bool) -> Result<(), StartError> {
        match &self.badge {
            Some(badge) => self.look_for(region, badge).await,
            None if is_known || self.is_own => Ok(()),
            None => self.look_for_bucket(region).await,
        }
    }

    /// Refuses a region whose bucket is not there, before the store is bound to the name of it.
    async fn look_for_bucket(&self, region: &str) -> Result<(), StartError> {
        let Some(Bucket { at, store }) = &self.bucket else { return Ok(()) };
        match tokio::time::timeout(FAR_MAX, store.has_bucket()).await {
            Ok(Ok(false)) => {
                let BucketPlace { bucket, endpoint, .. } = at;
                let why = format!("names the bucket {bucket} for {region}, which is not at {endpoint}: make it, or mend its name");
                Err(StartError::Setting(self.setting, why))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a place of the same name that is not the one: it may be at another engine.
    async fn look_for(&self, region: &str, badge: &Badge) -> Result<(), StartError> {
        let Some(Bucket { at, store }) = &self.bucket else { return Ok(()) };
        let has_badge = match self.is_own {
            true => store.has_badge(badge).await.map_err(StartError::blobs)?,
            false => match tokio::time::timeout(FAR_MAX, store.has_badge(badge)).await {
                Ok(Ok(has_badge)) => has_badge,
                _ => {
                    tracing::warn!(region, place = self.name, "the contents of a region do not answer, and are believed to be the store's");
                    true
                }
            },
        };
        if has_badge {
            return Ok(());
        }
        let (place, endpoint, key) = (self.name.clone(), at.endpoint.to_string(), store.badge_key(badge));
        Err(StartError::NotTheContents { setting: self.setting, place, endpoint, key })
    }

    /// Gives the place a badge, if it is a bucket. Another region that does not answer gets one from its own nodes.
    async fn set_badge(&self, random: &dyn Random) -> Result<Option<Badge>, StartError> {
        let Some(Bucket { store, .. }) = &self.bucket else { return Ok(None) };
        let badge = Badge::draw(random);
        match self.is_own {
            true => store.set_badge(&badge).await.map(|()| Some(badge)).map_err(StartError::blobs),
            false => Ok(matches!(tokio::time::timeout(FAR_MAX, store.set_badge(&badge)).await, Ok(Ok(()))).then_some(badge)),
        }
    }

    /// Takes back a badge that nobody knows. One that stays harms nobody.
    async fn take_back(&self, badge: Option<Badge>) {
        if let (Some(Bucket { store, .. }), Some(badge)) = (&self.bucket, badge)
            && let Err(error) = store.remove_badge(&badge).await
        {
            tracing::debug!(place = self.name, %error, "a badge that nobody knows stays");
        }
    }
}

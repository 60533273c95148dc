//! A place is known by its badge.

use umbra_blob::{Badge, RemoteSettings, S3BlobStore};
use umbra_client::ClientSettings;
use umbra_core::SystemRandom;

use crate::seaweed;

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_is_where_it_was_set() {
    let Some(seaweed) = seaweed::shared() else { return };
    let (store, prefix) = seaweed.store(RemoteSettings::default()).await;
    let (other, _) = seaweed.store(RemoteSettings::default()).await;
    let (badge, another) = (Badge::draw(&SystemRandom), Badge::draw(&SystemRandom));
    store.set_badge(&badge).await.unwrap();
    assert!(store.has_badge(&badge).await.unwrap() && !store.has_badge(&another).await.unwrap());
    assert!(!other.has_badge(&badge).await.unwrap());
    // Whoever puts an object of that name there sets it, too.
    assert_eq!(store.badge_key(&badge), format!("{prefix}/badge/{badge}"));
    seaweed.client().put_bytes(&other.badge_key(&badge), &"of a person".into()).await.unwrap();
    assert!(other.has_badge(&badge).await.unwrap());
    store.remove_badge(&badge).await.unwrap();
    assert!(!store.has_badge(&badge).await.unwrap());
}

/// Where nobody answers it is not said to be absent.
#[tokio::test]
async fn an_engine_that_is_away_says_nothing_of_marks() {
    let settings = ClientSettings { attempts_max: 1, ..ClientSettings::default() };
    let away = S3BlobStore::reach(seaweed::client(1, settings), "x", RemoteSettings::default());
    away.has_badge(&Badge::draw(&SystemRandom)).await.unwrap_err();
    away.set_badge(&Badge::draw(&SystemRandom)).await.unwrap_err();
}

use std::{fs, sync::Arc};

use umbra_core::{Entity, ErrorKind, Fault, ManualClock, SealedSecret, SeededRandom};
use umbra_meta::{KeyRange, MetaStore, Partition, Projection};

use super::{NOW, kind, memory, name, on_every_engine, open, open_seeded, open_with_organizations, settings, sqlite};
use crate::{Catalog, NewKey, Role, Sealer, Secret, catalog::access_keys::is_id};

pub(super) fn fixed(id: &str, secret: &str) -> NewKey {
    NewKey { organization: Some("acme".to_owned()), role: Role::Reader, bucket: None, fixed: Some((id.to_owned(), Secret::new(secret))) }
}

fn drawn(organization: Option<&str>) -> NewKey {
    NewKey { organization: organization.map(str::to_owned), role: Role::Editor, bucket: None, fixed: None }
}

#[tokio::test]
async fn a_key_is_found_as_it_was_created() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        catalog.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
        let key = catalog.create_key(NewKey { bucket: Some(name("bucket")), ..drawn(Some("acme")) }).await.unwrap();
        for catalog in [catalog, open_seeded(&meta, 2).await.unwrap()] {
            // Once from the store, once from memory.
            for _ in 0..2 {
                let found = catalog.key(&key.id).await.unwrap().unwrap();
                assert_eq!((&found.id, found.secret.expose()), (&key.id, key.secret.expose()));
                assert_eq!((found.organization.as_deref(), found.role), (Some("acme"), Role::Editor));
                assert_eq!((found.bucket.clone(), found.created), (Some(name("bucket")), NOW));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn drawn_keys_have_the_documented_form() {
    let meta = memory();
    let catalog = open_with_organizations(&meta).await;
    let mut ids = std::collections::HashSet::new();
    for _ in 0..100 {
        let key = catalog.create_key(drawn(None)).await.unwrap();
        let random = key.id.strip_prefix("UMBR").unwrap();
        assert!(random.len() == 16 && random.bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b)), "{random}");
        assert!(key.secret.expose().len() == 40 && key.secret.expose().bytes().all(|b| b.is_ascii_alphanumeric()));
        assert!(ids.insert(key.id) && ids.insert(key.secret.expose().to_owned()), "drawn twice");
    }
}

#[tokio::test]
async fn fixed_keys_are_checked_and_taken_as_they_are() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        let invalid = Some(ErrorKind::Invalid(Fault::InvalidArgument));
        for (id, secret) in [("ab", "12345678"), ("abc", "1234567"), ("a/b", "12345678"), ("a b", "12345678"), ("", "12345678")] {
            assert_eq!(kind(catalog.create_key(fixed(id, secret)).await), invalid, "{id:?} {secret:?}");
        }
        assert_eq!(kind(catalog.create_key(fixed(&"a".repeat(129), "12345678")).await), invalid);
        for id in ["abc", "minio_admin.x-1", &"a".repeat(128)] {
            catalog.create_key(fixed(id, "12345678")).await.unwrap();
            assert_eq!(catalog.key(id).await.unwrap().unwrap().secret.expose(), "12345678");
        }
        let taken = catalog.create_key(fixed("abc", "another-secret")).await;
        assert_eq!(kind(taken), Some(ErrorKind::AlreadyExists(Entity::AccessKey)));
        assert_eq!(catalog.key("abc").await.unwrap().unwrap().secret.expose(), "12345678");
    })
    .await;
}

#[tokio::test]
async fn a_key_reaches_only_what_its_organization_has() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        catalog.create_bucket(&name("theirs"), "evil", settings()).await.unwrap();
        let scoped = |organization, bucket| NewKey { bucket: Some(name(bucket)), ..drawn(organization) };
        let others = catalog.create_key(scoped(Some("acme"), "theirs")).await.unwrap_err();
        let missing = catalog.create_key(scoped(Some("acme"), "missing")).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound(Entity::Bucket));
        assert_eq!(format!("{others:?}"), format!("{missing:?}"), "another's bucket is as good as none");
        assert_eq!(kind(catalog.create_key(scoped(None, "theirs")).await), Some(ErrorKind::Invalid(Fault::InvalidArgument)));
        let orphan = catalog.create_key(drawn(Some("nobody"))).await;
        assert_eq!(kind(orphan), Some(ErrorKind::NotFound(Entity::Organization)));
        assert!(catalog.keys(None).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn keys_are_listed_by_organization() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        let root = catalog.create_key(drawn(None)).await.unwrap();
        let mut acme =
            [catalog.create_key(drawn(Some("acme"))).await.unwrap().id, catalog.create_key(drawn(Some("acme"))).await.unwrap().id];
        acme.sort();
        let ids = |keys: Vec<Arc<crate::AccessKey>>| keys.iter().map(|key| key.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(catalog.keys(Some("acme")).await.unwrap()), acme);
        assert!(ids(catalog.keys(Some("evil")).await.unwrap()).is_empty());
        let all = ids(catalog.keys(None).await.unwrap());
        assert!(all.len() == 3 && all.contains(&root.id) && all.is_sorted());
    })
    .await;
}

#[tokio::test]
async fn a_deleted_key_is_refused_at_once() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        assert!(catalog.key("key-id").await.unwrap().is_none());
        catalog.create_key(fixed("key-id", "12345678")).await.unwrap();
        assert!(catalog.key("key-id").await.unwrap().is_some(), "that it was absent is forgotten");
        catalog.delete_key("key-id").await.unwrap();
        assert!(catalog.key("key-id").await.unwrap().is_none());
        assert_eq!(kind(catalog.delete_key("key-id").await), Some(ErrorKind::NotFound(Entity::AccessKey)));
        assert!(open(&meta).await.key("key-id").await.unwrap().is_none());
        for hostile in ["", "a/b", "key-id\0", &"a".repeat(10_000)] {
            assert!(!is_id(hostile) && catalog.key(hostile).await.unwrap().is_none());
        }
    })
    .await;
}

#[tokio::test]
async fn secrets_are_not_found_in_what_is_stored() {
    const SECRETS: [&str; 2] = ["correct-horse-battery-staple", "origin-secret-key"];
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(sqlite(directory.path()));
    let meta: Arc<dyn MetaStore> = store.clone();
    let catalog = open_with_organizations(&meta).await;
    catalog.create_key(fixed("key-id", SECRETS[0])).await.unwrap();
    let sealed: SealedSecret = catalog.sealer().seal("shadow/1", SECRETS[1]);
    let shadow = umbra_core::ShadowSettings {
        endpoint: "https://origin.example".to_owned(),
        region: "auto".to_owned(),
        bucket: "old".to_owned(),
        access_key: "origin-key-id".to_owned(),
        secret_key: sealed,
        write_through: false,
        hydrate: umbra_core::HydratePolicy::Whole,
        revalidate: None,
        price_per_gb: None,
    };
    let shadowed = crate::BucketSettings { shadow: Some(shadow), ..settings() };
    catalog.create_bucket(&name("bucket"), "acme", shadowed).await.unwrap();

    let rows = meta.scan(Partition::ROOT, KeyRange::prefix(b""), 1000, Projection::Full).await.unwrap();
    let mut stored: Vec<Vec<u8>> = rows.iter().flat_map(|row| [row.head.to_vec(), row.body.to_vec()]).collect();
    // What lies in the files: first in the log, then in the table.
    for shut in [false, true] {
        if shut {
            store.shutdown().await.unwrap();
        }
        stored.extend(fs::read_dir(directory.path()).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap()));
    }
    let contains = |bytes: &[u8]| stored.iter().any(|stored| stored.windows(bytes.len()).any(|window| window == bytes));
    assert!(contains(b"origin-key-id"), "the test looks in the right place");
    for secret in SECRETS {
        assert!(!contains(secret.as_bytes()));
    }
}

#[tokio::test]
async fn a_store_does_not_open_with_another_key_encryption_key() {
    on_every_engine(|meta| async move {
        drop(open(&meta).await);
        let random = Arc::new(SeededRandom::new(1));
        let sealer = Arc::new(Sealer::new([8; 32], random.clone()));
        let opened = Catalog::open(Arc::clone(&meta), sealer, Arc::new(ManualClock::new(NOW)), random).await;
        assert_eq!(kind(opened), Some(ErrorKind::Invalid(Fault::InvalidRequest)));
    })
    .await;
}

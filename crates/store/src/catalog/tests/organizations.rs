use std::sync::Arc;

use futures::FutureExt;
use umbra_core::{Entity, ErrorKind, Fault};
use umbra_meta::{Batch, CommitFault, FailingMetaStore, MetaStore, Partition, key::root};

use super::{NOW, delete, kind, memory, name, on_every_engine, open, open_seeded, open_with_organizations, settings};
use crate::{NewKey, Organization, Role, record::bucket_name::BucketNameRecord};

#[tokio::test]
async fn organizations_are_created_once_and_listed() {
    on_every_engine(|meta| async move {
        let catalog = open(&meta).await;
        assert!(catalog.ensure_organization("acme").await.unwrap());
        assert!(!catalog.ensure_organization("acme").await.unwrap());
        catalog.create_organization("0-a_b").await.unwrap();
        assert_eq!(kind(catalog.create_organization("acme").await), Some(ErrorKind::AlreadyExists(Entity::Organization)));
        let expected = ["0-a_b", "acme"].map(|name| Organization { name: name.to_owned(), created: NOW });
        assert_eq!(catalog.organizations().await.unwrap(), expected);
        assert_eq!(open(&meta).await.organizations().await.unwrap(), expected);
    })
    .await;
}

#[tokio::test]
async fn names_of_organizations_are_checked() {
    on_every_engine(|meta| async move {
        let catalog = open(&meta).await;
        for good in ["a", "a-b_c-0", &"x".repeat(63)] {
            catalog.create_organization(good).await.unwrap();
        }
        for bad in ["", "Acme", "a b", "a/b", "ünder", "a.b", &"x".repeat(64)] {
            let expected = Some(ErrorKind::Invalid(Fault::InvalidArgument));
            assert_eq!(kind(catalog.create_organization(bad).await), expected, "{bad:?}");
            assert_eq!(kind(catalog.ensure_organization(bad).await), expected, "{bad:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_organization_that_is_used_is_not_deleted() {
    on_every_engine(|meta| async move {
        let catalog = open_with_organizations(&meta).await;
        let in_use = Some(ErrorKind::Invalid(Fault::InvalidRequest));
        catalog.create_bucket(&name("bucket"), "acme", settings()).await.unwrap();
        assert_eq!(kind(catalog.delete_organization("acme").await), in_use);
        delete(&catalog, &name("bucket")).await.unwrap();
        let key = NewKey { organization: Some("acme".to_owned()), role: Role::Reader, bucket: None, fixed: None };
        let key = catalog.create_key(key).await.unwrap();
        assert_eq!(kind(catalog.delete_organization("acme").await), in_use);
        catalog.delete_key(&key.id).await.unwrap();
        catalog.delete_organization("acme").await.unwrap();
        assert_eq!(kind(catalog.delete_organization("acme").await), Some(ErrorKind::NotFound(Entity::Organization)));
        assert_eq!(catalog.organizations().await.unwrap().len(), 1);
    })
    .await;
}

/// Something is created between the look for what belongs to the organization and the end of the organization.
#[tokio::test]
async fn what_is_created_while_its_organization_is_deleted_keeps_it() {
    let inner = memory();
    let store = Arc::new(FailingMetaStore::new(Arc::clone(&inner)));
    let meta: Arc<dyn MetaStore> = store.clone();
    let catalog = open_with_organizations(&meta).await;
    let creator = open_seeded(&inner, 2).await.unwrap();
    let record = BucketNameRecord { partition: Partition(1), organization: "acme".to_owned(), created: NOW };
    let mut rows = vec![Batch::new(Partition::ROOT).put(root::bucket(&name("bucket")), "", record.encode())];
    store.set(move |_, _| {
        for row in rows.drain(..) {
            let created = creator.shared.commit_for("acme", row).now_or_never().expect("memory answers at once");
            assert!(created.unwrap().is_some());
        }
        CommitFault::None
    });
    assert_eq!(kind(catalog.delete_organization("acme").await), Some(ErrorKind::Invalid(Fault::InvalidRequest)));
    assert_eq!(catalog.organizations().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_belongs_to_an_organization_that_is_gone() {
    on_every_engine(|meta| async move {
        let catalogs = [open(&meta).await, open_seeded(&meta, 2).await.unwrap()];
        for round in 0..30 {
            let (organization, bucket) = (format!("org-{round}"), name(&format!("bucket-{round}")));
            catalogs[0].create_organization(&organization).await.unwrap();
            let (creator, deleter) = (catalogs[0].clone(), catalogs[1].clone());
            let (creators, deleters) = (organization.clone(), organization.clone());
            let create = tokio::spawn(async move { creator.create_bucket(&bucket, &creators, settings()).await });
            let delete = tokio::spawn(async move { deleter.delete_organization(&deleters).await });
            let (create, delete) = (create.await.unwrap(), delete.await.unwrap());
            assert_ne!(create.is_ok(), delete.is_ok(), "{create:?} {delete:?}");
            let organizations = catalogs[0].organizations().await.unwrap();
            let buckets = catalogs[0].buckets(Some(&organization), None, 10).await.unwrap();
            let is_there = organizations.iter().any(|there| there.name == organization);
            assert_eq!(buckets.iter().map(Arc::as_ref).count(), usize::from(is_there));
        }
    })
    .await;
}

//! A server under test.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use umbra_blob::MemoryBlobStore;
use umbra_core::{BucketName, Clock, Random, Region, SeededRandom, SystemClock};
use umbra_meta::{MemoryMetaStore, MetaStore};
use umbra_s3::{Nearest, S3Front, S3Parts, S3Settings, Transport, serve};
use umbra_shadow::{
    Shadow, ShadowLimits, ShadowParts,
    origin::memory::{MemoryOrigin, OneOrigin},
};
use umbra_store::{Catalog, Native, NativeParts, NewKey, ReclaimHandle, Role, Sealer, Topology};

use crate::client::{Ask, Client};

/// A server on loopback, with two organizations in it. Stopped when dropped.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) catalog: Arc<Catalog>,
    /// The origin of every bucket that has one.
    pub(crate) origin: Arc<MemoryOrigin>,
    pub(crate) shadow: Shadow,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) server: JoinHandle<()>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(S3Settings::default()).await
    }

    pub(crate) async fn with(settings: S3Settings) -> Self {
        Self::over(Arc::new(MemoryMetaStore::new()), settings).await
    }

    pub(crate) async fn over(meta: Arc<dyn MetaStore>, settings: S3Settings) -> Self {
        Self::made(meta, settings, Topology::default(), None).await
    }

    /// A server in one of several regions, which sends clients to those that are nearer.
    pub(crate) async fn with_nearest(settings: S3Settings, nearest: Nearest) -> Self {
        Self::made(Arc::new(MemoryMetaStore::new()), settings, Topology::default(), Some(Arc::new(nearest))).await
    }

    /// A server that knows of regions, of which it is in the first; all contents are in one place all the same.
    pub(crate) async fn in_regions(names: &[&str]) -> Self {
        let mut regions = names.iter().map(|name| Region::parse(name).unwrap());
        let topology = Topology::new(regions.next().unwrap(), regions, []).unwrap();
        Self::made(Arc::new(MemoryMetaStore::new()), S3Settings::default(), topology, None).await
    }

    async fn made(meta: Arc<dyn MetaStore>, settings: S3Settings, topology: Topology, nearest: Option<Arc<Nearest>>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(1));
        let sealer = Arc::new(Sealer::new([7; 32], Arc::clone(&random)));
        let catalog = Catalog::open(Arc::clone(&meta), sealer, Arc::clone(&clock), Arc::clone(&random)).await.unwrap();
        let catalog = Arc::new(catalog);
        catalog.set_topology(Arc::new(topology));
        let native = Native::new(NativeParts {
            meta,
            blobs: Arc::new(MemoryBlobStore::new()),
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
            reclaimer: ReclaimHandle::new(Duration::from_secs(300)),
            keys: Arc::new(umbra_store::Keyring::new([7; 32], [("one".to_owned(), None)], Arc::clone(&random))),
        });
        let origin = Arc::new(MemoryOrigin::default());
        let shadow = Shadow::new(ShadowParts {
            native,
            catalog: Arc::clone(&catalog),
            origins: Arc::new(OneOrigin(Arc::clone(&origin))),
            clock: Arc::clone(&clock),
            settings: ShadowLimits::default(),
        });
        for organization in ["acme", "evil"] {
            catalog.create_organization(organization).await.unwrap();
        }
        let parts = S3Parts { shadow: shadow.clone(), catalog: Arc::clone(&catalog), clock, random, relay: None, nearest };
        let front = S3Front::new(settings, parts).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(serve(Arc::new(front), listener, Transport::Plain, stopped, Duration::from_secs(10)));
        Self { address, catalog, origin, shadow, stop, server }
    }

    /// A client with a new key.
    pub(crate) async fn client(&self, organization: Option<&str>, role: Role) -> Client {
        let request = NewKey { organization: organization.map(str::to_owned), role, bucket: None, fixed: None };
        let key = self.catalog.create_key(request).await.unwrap();
        Client { address: self.address, key: Some((key.id, key.secret.expose().to_owned())) }
    }

    /// An administrator of `acme`, and its bucket `photos`.
    pub(crate) async fn admin(&self) -> Client {
        let admin = self.client(Some("acme"), Role::Admin).await;
        assert_eq!(admin.send(Ask::put("/photos")).await.status, 200);
        admin
    }

    pub(crate) fn anonymous(&self) -> Client {
        Client { address: self.address, key: None }
    }

    pub(crate) async fn make_public(&self, bucket: &str) {
        let bucket = self.catalog.bucket(&BucketName::parse(bucket).unwrap()).await.unwrap();
        self.catalog
            .update_bucket(&bucket, &mut |settings| {
                settings.public = true;
                Ok(())
            })
            .await
            .unwrap();
    }
}

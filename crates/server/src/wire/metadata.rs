//! Where metadata is kept: in the data directory, or in a database.

use std::{env, path::PathBuf, sync::Arc};

use umbra_core::{ErrorKind, Random};
use umbra_meta::{
    MetaStore, Nearby, Neighbours, Partition, PostgresMetaStore, PostgresSettings, Projection, ReplicaMetrics, ReplicaSettings,
    SqliteMetaStore, SqliteSettings, key,
};
use umbra_store::CatalogNearby;

use super::StartError;
use crate::{
    data_dir::DataDir,
    private_file::{self, FileError},
    settings::{MetadataUrl, Settings},
};

/// The metadata, and what closes it.
pub(super) enum Metadata {
    Embedded(Arc<SqliteMetaStore>),
    Postgres(Arc<Database>),
}

/// A database that other servers may have open too, and a replica of it in this region.
pub(super) struct Database {
    pub(super) store: Arc<PostgresMetaStore>,
    pub(super) neighbours: Arc<Neighbours>,
    nearby: Nearby,
    metrics: ReplicaMetrics,
}

impl Metadata {
    /// Opens what the settings name.
    pub(super) async fn open(dir: &DataDir, settings: &Settings, random: &dyn Random) -> Result<Self, StartError> {
        if settings.metadata.is_embedded() {
            return Ok(Self::Embedded(Arc::new(open_embedded(dir.metadata()).await?)));
        }
        let database = PostgresSettings {
            node: dir.node(random)?,
            connections_max: settings.metadata_connections as usize,
            has_replica: !settings.metadata_replica.is_embedded(),
            ..PostgresSettings::default()
        };
        let password = database_password(settings)?;
        let opened = PostgresMetaStore::open(settings.metadata.expose(), password.as_deref(), database).await;
        let store = Arc::new(opened.map_err(StartError::meta)?);
        if let Err(error) = hold_nothing_is_left(dir, store.as_ref()).await {
            // It was never among the others, and whoever moves the metadata has to find nobody there.
            store.shutdown().await.map_err(StartError::meta)?;
            return Err(error);
        }
        let replica = replica(settings)?;
        let (neighbours, metrics) = (Arc::new(Neighbours::new(&settings.region)), ReplicaMetrics::default());
        let nearby = Nearby::open(Arc::clone(&store), replica, Arc::clone(&neighbours), metrics.clone()).map_err(StartError::meta)?;
        Ok(Self::Postgres(Arc::new(Database { store, neighbours, nearby, metrics })))
    }

    /// For what works in the background: nobody waits to read what it commits.
    pub(super) fn store(&self) -> Arc<dyn MetaStore> {
        match self {
            Self::Embedded(store) => Arc::clone(store) as _,
            Self::Postgres(database) => Arc::clone(&database.store) as _,
        }
    }

    /// For requests that write.
    pub(super) fn writes(&self) -> Arc<dyn MetaStore> {
        self.shared().map_or_else(|| self.store(), |database| database.nearby.writes())
    }

    /// For requests that read and nothing else, where that is not the same.
    pub(super) fn nearby(&self) -> Option<Arc<dyn MetaStore>> {
        self.shared()?.nearby.reads()
    }

    /// How the catalog looks things up, where other servers change it.
    pub(super) fn catalog_nearby(&self) -> Option<CatalogNearby> {
        let database = self.shared()?;
        Some(CatalogNearby { meta: self.nearby(), neighbours: Arc::clone(&database.neighbours) })
    }

    /// What is counted beside a replica: nothing where there is none.
    pub(super) fn replica_metrics(&self) -> ReplicaMetrics {
        self.shared().map(|database| database.metrics.clone()).unwrap_or_default()
    }

    /// The database, if other servers may have it open too.
    pub(super) fn shared(&self) -> Option<&Arc<Database>> {
        match self {
            Self::Embedded(_) => None,
            Self::Postgres(database) => Some(database),
        }
    }

    pub(super) async fn shutdown(&self) -> umbra_meta::Result<()> {
        match self {
            Self::Embedded(store) => store.shutdown().await,
            Self::Postgres(database) => {
                database.nearby.shutdown();
                database.store.shutdown().await
            }
        }
    }
}

/// Refuses a database without buckets where the directory has some that were never in one: they were forgotten.
async fn hold_nothing_is_left(dir: &DataDir, database: &dyn MetaStore) -> Result<(), StartError> {
    let file = dir.metadata();
    if DataDir::has_database_in(dir.path())? || !file.exists() || has_buckets(database).await? {
        return Ok(());
    }
    let embedded = open_embedded(file.clone()).await?;
    let is_forgotten = has_buckets(&embedded).await;
    embedded.shutdown().await.map_err(StartError::meta)?;
    if is_forgotten? { Err(StartError::LeftBehind(file)) } else { Ok(()) }
}

async fn has_buckets(store: &dyn MetaStore) -> Result<bool, StartError> {
    let range = vec![(key::root::bucket_range(""), 1)];
    let found = store.multi_scan(Partition::ROOT, range, Projection::Head).await.map_err(StartError::meta)?;
    Ok(found.iter().any(|page| !page.is_empty()))
}

async fn open_embedded(file: PathBuf) -> Result<SqliteMetaStore, StartError> {
    let opened = tokio::task::spawn_blocking(move || SqliteMetaStore::open(&file, SqliteSettings::default())).await;
    let opened = opened.map_err(|error| umbra_core::Error::new(ErrorKind::Internal, "opening was cut short").because(error));
    opened.map_err(StartError::store("open the metadata"))?.map_err(StartError::meta)
}

/// The standby that the settings name, if they do.
fn replica(settings: &Settings) -> Result<Option<ReplicaSettings>, StartError> {
    let url = &settings.metadata_replica;
    if url.is_embedded() {
        return Ok(None);
    }
    let password = password_for(url, settings)?;
    let connections_max = settings.metadata_connections as usize;
    Ok(Some(ReplicaSettings { url: url.expose().to_owned(), password, connections_max }))
}

/// The password for the database.
pub(crate) fn database_password(settings: &Settings) -> Result<Option<String>, StartError> {
    password_for(&settings.metadata, settings)
}

/// The password for the database at `url`: from its file, else what the URL has, else as other clients of PostgreSQL are told.
fn password_for(url: &MetadataUrl, settings: &Settings) -> Result<Option<String>, StartError> {
    let path = &settings.metadata_password_file;
    if path.as_os_str().is_empty() {
        return Ok(env::var("PGPASSWORD").ok().filter(|_| !url.has_password()));
    }
    let absent = || FileError::Read(path.clone(), std::io::ErrorKind::NotFound.into());
    let bytes = private_file::read(path)?.ok_or_else(absent)?;
    Ok(Some(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned()))
}

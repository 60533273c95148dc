//! Where metadata is kept: in the data directory, or in a database.

use std::{env, sync::Arc};

use umbra_core::{ErrorKind, Random};
use umbra_meta::{MetaStore, PostgresMetaStore, PostgresSettings, SqliteMetaStore, SqliteSettings};

use super::StartError;
use crate::{
    data_dir::DataDir,
    private_file::{self, FileError},
    settings::Settings,
};

/// The metadata, and what closes it.
pub(super) enum Metadata {
    Embedded(Arc<SqliteMetaStore>),
    Postgres(Arc<PostgresMetaStore>),
}

impl Metadata {
    /// Opens what the settings name.
    pub(super) async fn open(dir: &DataDir, settings: &Settings, random: &dyn Random) -> Result<Self, StartError> {
        if settings.metadata.is_embedded() {
            let file = dir.metadata();
            let opened = tokio::task::spawn_blocking(move || SqliteMetaStore::open(&file, SqliteSettings::default())).await;
            let opened = opened.map_err(|error| umbra_core::Error::new(ErrorKind::Internal, "opening was cut short").because(error));
            let opened = opened.map_err(StartError::store("open the metadata"))?.map_err(StartError::meta)?;
            return Ok(Self::Embedded(Arc::new(opened)));
        }
        let database = PostgresSettings {
            node: dir.node(random)?,
            connections_max: settings.metadata_connections as usize,
            ..PostgresSettings::default()
        };
        let password = database_password(settings)?;
        let opened = PostgresMetaStore::open(settings.metadata.expose(), password.as_deref(), database).await;
        Ok(Self::Postgres(Arc::new(opened.map_err(StartError::meta)?)))
    }

    pub(super) fn store(&self) -> Arc<dyn MetaStore> {
        match self {
            Self::Embedded(store) => Arc::clone(store) as _,
            Self::Postgres(store) => Arc::clone(store) as _,
        }
    }

    /// The same, if other servers may have it open too.
    pub(super) fn shared(&self) -> Option<&Arc<PostgresMetaStore>> {
        match self {
            Self::Embedded(_) => None,
            Self::Postgres(store) => Some(store),
        }
    }

    pub(super) async fn shutdown(&self) -> umbra_meta::Result<()> {
        match self {
            Self::Embedded(store) => store.shutdown().await,
            Self::Postgres(store) => store.shutdown().await,
        }
    }
}

/// The password for the database: from its file, else what the URL has, else as other clients of PostgreSQL are told.
pub(crate) fn database_password(settings: &Settings) -> Result<Option<String>, StartError> {
    let path = &settings.metadata_password_file;
    if path.as_os_str().is_empty() {
        return Ok(env::var("PGPASSWORD").ok().filter(|_| !settings.metadata.has_password()));
    }
    let absent = || FileError::Read(path.clone(), std::io::ErrorKind::NotFound.into());
    let bytes = private_file::read(path)?.ok_or_else(absent)?;
    Ok(Some(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned()))
}

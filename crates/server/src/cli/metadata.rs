//! `umbra metadata`.

mod binding;

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use umbra_meta::{DumpReader, DumpWriter, Entry, Partition, PostgresMetaStore, SqliteMetaStore, key::root};

use self::binding::{Binding, Bound};
use super::{Failure, Outcome, out};
use crate::{
    data_dir::DataDir,
    private_file,
    settings::{Settings, SettingsLayer},
    wire::database_password,
};

/// Moves metadata between the data directory and a database, by way of a file.
#[derive(Debug, Args)]
pub(crate) struct Metadata {
    #[command(subcommand)]
    command: MetadataCommand,
}

#[derive(Debug, Subcommand)]
enum MetadataCommand {
    /// Write all metadata to a new file, as it stands at one moment. The server may be running.
    Export(Place),
    /// Fill an empty store from such a file. No server may be running on it.
    Import(Place),
}

/// Which file, and which store: the one that `umbra serve` would use, given the same settings.
#[derive(Debug, Args)]
struct Place {
    /// The file.
    file: PathBuf,

    /// The settings file.
    #[arg(long, env = "UMBRA_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    layer: Box<SettingsLayer>,
}

impl Metadata {
    pub(crate) async fn run(self) -> Outcome {
        match self.command {
            MetadataCommand::Export(place) => {
                let settings = Settings::load(*place.layer, place.config.as_deref())?;
                let count = export(&settings, &place.file).await?;
                out::line(format_args!("{count} records were written to {}", place.file.display()))
            }
            MetadataCommand::Import(place) => {
                let settings = Settings::load(*place.layer, place.config.as_deref())?;
                let Imported { read, left_out } = import(&settings, &place.file).await?;
                let filled = match settings.metadata.is_embedded() {
                    true => format!("the data directory {}", settings.data_dir.display()),
                    false => settings.metadata.to_string(),
                };
                let left_out = match left_out {
                    0 => String::new(),
                    1 => "; 1 record of the nodes that ran was left out".to_owned(),
                    more => format!("; {more} records of the nodes that ran were left out"),
                };
                out::line(format_args!("{read} records were read from {} into {filled}{left_out}", place.file.display()))
            }
        }
    }
}

/// What became of the records in a file.
#[derive(Default)]
struct Imported {
    /// Brought into the store.
    read: u64,
    /// Of the nodes that ran, which are none of the new store's.
    left_out: u64,
}

/// Writes the file: whole and durable, or not there.
async fn export(settings: &Settings, path: &Path) -> Outcome<u64> {
    let wrong = |error: io::Error| Failure::new(format!("cannot write {}", path.display())).because(&error);
    if path.exists() {
        return Err(Failure::new(format!("{} is there already", path.display())));
    }
    if settings.metadata.is_embedded() {
        DataDir::check_embedded_in(&settings.data_dir)?;
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    // It holds sealed secrets and the names of everything.
    let mut writer = DumpWriter::new(BufWriter::new(private_file::begin(&partial).map_err(wrong)?))?;
    if settings.metadata.is_embedded() {
        let file = DataDir::metadata_in(&settings.data_dir);
        let mut bound = Bound::new(&mut writer, &settings.data_dir)?;
        let exported = SqliteMetaStore::export(&file, |partition, entry| bound.add(partition, entry)).and_then(|()| bound.finish());
        exported.map_err(|error| cannot("read the metadata", error))?;
    } else {
        let password = database_password(settings)?;
        let url = settings.metadata.expose();
        let exported = PostgresMetaStore::export(url, password.as_deref(), |partition, entry| writer.add(partition, entry)).await;
        exported.map_err(|error| cannot(&format!("read {}", settings.metadata), error))?;
    }
    let (mut file, count) = writer.finish()?;
    file.flush().and_then(|()| file.get_ref().sync_all()).map_err(wrong)?;
    fs::rename(&partial, path).map_err(wrong)?;
    Ok(count)
}

async fn import(settings: &Settings, path: &Path) -> Outcome<Imported> {
    let file = File::open(path).map_err(|error| Failure::new(format!("cannot read {}", path.display())).because(&error))?;
    let mut reader = DumpReader::new(BufReader::new(file))?;
    let mut imported = Imported::default();
    let mut next = || -> umbra_meta::Result<_> {
        // The servers that ran are none of the new store's: what one of those is asked, the old store would do.
        let is_left_out = |(partition, entry): &(Partition, Entry)| *partition == Partition::ROOT && root::is_of_the_running(&entry.key);
        let mut row = reader.next_row()?;
        while row.as_ref().is_some_and(is_left_out) {
            imported.left_out += 1;
            row = reader.next_row()?;
        }
        imported.read += u64::from(row.is_some());
        Ok(row)
    };
    if settings.metadata.is_embedded() {
        let dir = DataDir::open(&settings.data_dir)?;
        let mut binding = Binding::new(&dir);
        let filled = SqliteMetaStore::import(&dir.metadata(), || {
            let row = next()?;
            match &row {
                Some((partition, entry)) => binding.look(*partition, entry)?,
                None => binding.claim()?,
            }
            Ok(row)
        });
        filled.map_err(|error| cannot("fill the store", error))?;
        dir.claim_embedded()?;
    } else {
        let password = database_password(settings)?;
        let filled = PostgresMetaStore::import(settings.metadata.expose(), password.as_deref(), next).await;
        filled.map_err(|error| cannot(&format!("fill {}", settings.metadata), error))?;
    }
    Ok(imported)
}

/// Says what was to be done, and why it cannot be, in the words of the engine. A file is named by them, a database is not.
fn cannot(what: &str, error: umbra_meta::Error) -> Failure {
    match error {
        umbra_meta::Error::Unavailable(why) => Failure::new(format!("cannot {what}: {why}")),
        error => Failure::new(format!("cannot {what}")).because(&error),
    }
}

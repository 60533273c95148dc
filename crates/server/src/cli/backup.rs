//! `umbra backup`.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use clap::Args;
use umbra_blob::{CopiedFiles, DiskBackup};
use umbra_meta::SqliteMetaStore;

use super::{Failure, Outcome, out};
use crate::{
    blob_place::BlobPlace,
    data_dir::DataDir,
    private_file,
    settings::{Settings, SettingsLayer},
};

/// Copies the data directory to a new directory, from which a server can be started, while its server runs.
///
/// Every write that was acknowledged before the command began is in the copy. Space of deleted content is given back only after it. Run it as
/// the user of the server, given the same settings. Metadata in a database, and contents in a bucket, are not copied.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The new directory.
    to: PathBuf,

    /// Leave out the key files `secret.key` and `root-key.json`: the copy is of no use without the first, which then has to be kept elsewhere.
    #[arg(long)]
    without_keys: bool,

    /// The settings file.
    #[arg(long, env = "UMBRA_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    layer: Box<SettingsLayer>,
}

impl Backup {
    pub(crate) fn run(self) -> Outcome {
        let settings = Settings::load(*self.layer, self.config.as_deref())?;
        if !settings.metadata.is_embedded() || DataDir::has_database_in(&settings.data_dir)? {
            return Err(Failure::new(
                "the metadata is in a database, which has to be backed up by its own means, before the contents: see docs/operations.md",
            ));
        }
        let place = BlobPlace::parse(&settings.blobs).map_err(Failure::new)?;
        let has_blobs = place == BlobPlace::Disk;
        let to = self.to.display();
        if !DataDir::metadata_in(&settings.data_dir).exists() {
            return Err(Failure::new(format!("there is no store in {}", settings.data_dir.display())));
        }
        DataDir::check_contents_in(&settings.data_dir, &place.name())?;
        if self.to.exists() {
            return Err(Failure::new(format!("{to} is there already")));
        }
        let mut partial = self.to.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let wrong = |error: io::Error| Failure::new(format!("cannot write {to}")).because(&error);
        remove(&partial).and_then(|()| DirBuilder::new().mode(0o700).create(&partial)).map_err(wrong)?;
        let copied = copy(&settings.data_dir, &partial, has_blobs, !self.without_keys).inspect_err(|_| drop(remove(&partial)))?;
        sync(&partial).and_then(|()| fs::rename(&partial, &self.to)).and_then(|()| sync(private_file::parent(&self.to))).map_err(wrong)?;
        match copied {
            Some(copied) => {
                out::line(format_args!("{to}: the metadata, and {} files with {} bytes of contents", copied.files, copied.bytes))
            }
            None => out::line(format_args!("{to}: the metadata; the contents are in {}", settings.blobs)),
        }
    }
}

/// Copies everything that makes a data directory. The metadata before the contents: what it names is there, and stays there until the end.
fn copy(from: &Path, to: &Path, has_blobs: bool, has_keys: bool) -> Outcome<Option<CopiedFiles>> {
    let blobs = if has_blobs { Some(DiskBackup::begin(DataDir::blobs_in(from))?) } else { None };
    let metadata = DataDir::metadata_in(to);
    private_file::create_dir(private_file::parent(&metadata))?;
    SqliteMetaStore::copy(&DataDir::metadata_in(from), &metadata)?;
    for name in DataDir::SMALL_FILES {
        copy_file(&from.join(name), &to.join(name))?;
    }
    if has_keys {
        for name in DataDir::KEY_FILES {
            copy_file(&from.join(name), &to.join(name))?;
        }
    }
    let copied = blobs.map(|blobs| blobs.copy(DataDir::blobs_in(to))).transpose()?;
    Ok(copied)
}

/// Copies a small file, if there is one: some need not be.
fn copy_file(from: &Path, to: &Path) -> Outcome {
    match fs::read(from) {
        Ok(bytes) => Ok(private_file::create(to, &bytes)?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::new(format!("cannot read {}", from.display())).because(&error)),
    }
}

/// Removes what an attempt has left that failed or was cut off.
fn remove(partial: &Path) -> io::Result<()> {
    match fs::remove_dir_all(partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

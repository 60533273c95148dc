//! A blob that gets a file of its own.
//!
//! It is written under `tmp/`, made durable, and only then renamed to where readers find it.

use std::{
    fs::{self, File},
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;

use super::{
    address::{Address, LargeAddress},
    engine::{Engine, Unclaimed},
    file,
    record::{self, BlockChecksums, Form, HEADER_LEN, Nonce},
};
use crate::{Error, Result};

/// A file that is being written. Dropped unfinished it is removed. Its methods block.
pub(super) struct LargeFile {
    engine: Arc<Engine>,
    file: File,
    nonce: Nonce,
    checksums: BlockChecksums,
    /// Where it is until it is finished.
    partial: Option<PathBuf>,
}

impl LargeFile {
    pub(super) fn create(engine: Arc<Engine>) -> Result<Self> {
        let nonce = engine.nonce();
        let path = engine.layout.partial_file(&nonce);
        let file = File::options().write(true).create_new(true).open(&path).map_err(Error::from_io("create a file for a blob"))?;
        let large = Self { engine, file, nonce, checksums: BlockChecksums::new(), partial: Some(path) };
        large.write(&[&record::header(&nonce, Form::Streamed)], 0)?;
        Ok(large)
    }

    /// Appends `content`.
    pub(super) fn append(&mut self, content: &[Bytes]) -> Result<()> {
        let offset = HEADER_LEN as u64 + self.checksums.length();
        self.engine.space.admit(content.iter().map(|chunk| chunk.len() as u64).sum())?;
        content.iter().for_each(|chunk| self.checksums.update(chunk));
        self.write(&content.iter().map(|chunk| &chunk[..]).collect::<Vec<_>>(), offset)
    }

    /// Makes it durable and puts it where readers find it.
    pub(super) fn finish(mut self) -> Result<Unclaimed> {
        let failed = "make a blob durable";
        let length = self.checksums.length();
        let tail = std::mem::replace(&mut self.checksums, BlockChecksums::new()).finish(&self.nonce);
        self.write(&[&tail], HEADER_LEN as u64 + length)?;
        (self.engine.components.sync)(&self.file).map_err(Error::from_io(failed))?;

        let partial = self.partial.as_ref().expect("it is unfinished");
        fs::rename(partial, self.engine.layout.large_file(&self.nonce)).map_err(Error::from_io(failed))?;
        self.partial = None;
        // From here on it is deleted, not removed, if nobody takes it.
        let blob = Unclaimed::new(&self.engine, Address::Large(LargeAddress { length, nonce: self.nonce }));
        file::sync_dir(&self.engine.layout.large_dir(&self.nonce)).map_err(Error::from_io(failed))?;
        Ok(blob)
    }

    fn write(&self, pieces: &[&[u8]], offset: u64) -> Result<()> {
        file::write_all_at(&self.file, pieces.iter().copied(), offset).map_err(Error::from_io("write a blob"))
    }
}

impl Drop for LargeFile {
    fn drop(&mut self) {
        let Some(path) = self.partial.take() else { return };
        if let Err(error) = file::or_gone(fs::remove_file(&path)) {
            tracing::warn!(path = %path.display(), error = %error, "an unfinished blob is not removed before the next start");
        }
    }
}

//! Homes that move to a region that has a copy.
//!
//! One commit makes the copy the home and has the bytes at the home before reclaimed, once those who read them may have finished. So at every
//! moment the home has all bytes, whoever dies when; and what a crash leaves is a row that says what is to be deleted.
//!
//! Before it the copy is read whole, past any cache: its engine verifies every block. That costs one read of the blob for each move.

use futures::TryStreamExt;
use umbra_blob::{BlobId, Result};
use umbra_core::{ByteRange, Region};
use umbra_meta::Error as MetaError;

use super::{
    PlacedBlobStore, Shared,
    index::{CopyRow, Place, failed},
};

/// What became of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The region is the home from now on.
    Done,
    /// It was before, or the home that was lost is not.
    Already,
    /// It has no copy that can be read, or the copies changed meanwhile.
    NotNow,
}

impl PlacedBlobStore {
    /// The region where a blob with these `copies` is at home. `None` for what was never issued.
    pub(super) fn home_by(&self, id: &BlobId, copies: &[CopyRow]) -> Option<Region> {
        home_of(copies).and_then(|copy| Region::parse(&copy.region).ok()).or_else(|| self.home_of(id))
    }

    /// Makes `region` the home of `id`, if it has a copy of it that is whole.
    pub async fn move_home(&self, id: &BlobId, region: &str) -> Result<Moved> {
        self.move_to(id, region, false).await
    }

    /// The same of a blob whose home does not have it any more, or not all of it, as far as can be told: its bytes there stay, should there be any. It
    /// is asked for all of them once more, right before.
    pub(super) async fn move_lost_home(&self, id: &BlobId, region: &str) -> Result<Moved> {
        self.move_to(id, region, true).await
    }

    async fn move_to(&self, id: &BlobId, region: &str, is_lost: bool) -> Result<Moved> {
        let shared = &self.shared;
        let Some(born) = shared.born(id) else { return Ok(Moved::NotNow) };
        let rows = shared.index.all(id).await?;
        let home = home_of(&rows).and_then(CopyRow::place).unwrap_or_else(|| born.clone());
        let target = rows.iter().find(|row| row.region == region);
        // A reader may have brought a copy to where the home is lost: that is not the home yet.
        let is_beside = is_lost && target.is_some_and(|row| row.record.home.is_none());
        if home.region == region && !is_beside {
            return Ok(Moved::Already);
        }
        match target.and_then(CopyRow::place) {
            Some(place) if shared.reads_whole(&born, &place).await? => {}
            _ => return Ok(Moved::NotNow),
        }
        if is_lost && shared.reads_whole(&born, &home).await? {
            return Ok(Moved::Already);
        }
        match shared.index.move_home(id, &born, (&rows, is_lost), region).await {
            Ok(()) => Ok(Moved::Done),
            Err(MetaError::Conflict { .. }) => Ok(Moved::NotNow),
            Err(error) => Err(failed(error)),
        }
    }
}

/// The row of the home, if it is not where the identifier says.
pub(super) fn home_of(rows: &[CopyRow]) -> Option<&CopyRow> {
    rows.iter().find(|row| row.record.home.is_some())
}

impl Shared {
    /// Where the identifier says that `id` is.
    pub(super) fn born(&self, id: &BlobId) -> Option<Place> {
        self.address(id).map(|address| Place { region: address.region.to_string(), blob: address.inner })
    }

    /// Whether every byte of the blob that was `born` can be read from the engine at `place`.
    pub(super) async fn reads_whole(&self, born: &Place, place: &Place) -> Result<bool> {
        let Some(size) = self.size_at(born, place)? else { return Ok(false) };
        match self.count_bytes(place, size).await {
            Ok(read) => Ok(read == size),
            Err(error) if super::reading::is_lost(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn count_bytes(&self, place: &Place, size: u64) -> Result<u64> {
        let region = &place.region;
        let mut content = self.silence.heard(region, self.engine(region)?.read(&place.blob, ByteRange::new(0, size))).await?;
        let mut read = 0;
        while let Some(chunk) = self.silence.answered(region, content.try_next()).await? {
            read += chunk.len() as u64;
        }
        Ok(read)
    }

    /// How long the blob at `place` is, if it is as long as the one that was `born`.
    fn size_at(&self, born: &Place, place: &Place) -> Result<Option<u64>> {
        let size = self.engine(&place.region)?.size_of(&place.blob);
        let size_born = self.engine(&born.region)?.size_of(&born.blob);
        Ok(size.filter(|_| size == size_born))
    }
}

//! Writes to several regions: to the first that takes them.

use std::{io, slice, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use umbra_blob::{BlobWriter, Error, Result, StoredBlob};
use umbra_core::Region;

use super::{PlacedBlobStore, Placement, Shared, address::Address};

impl PlacedBlobStore {
    /// The regions that bytes may go to, in the order in which they are tried.
    fn homes(&self) -> &[Region] {
        self.placement.as_ref().map_or(slice::from_ref(&self.shared.region), Placement::homes)
    }

    /// Stores what is in memory in the first region that takes it.
    pub(super) async fn put_placed(&self, content: Vec<Bytes>, is_read: bool) -> Result<StoredBlob> {
        let (shared, homes) = (&*self.shared, self.homes());
        let put = async |home: &Region, content: Vec<Bytes>| {
            let store = shared.store(home.as_str())?;
            let stored = if is_read { store.put(content).await } else { store.put_unread(content).await };
            shared.health.note(home, &stored);
            Ok(placed(home, stored?))
        };
        if let [home] = homes {
            return put(home, content).await;
        }
        let (mut later, mut failed) = (Vec::new(), None);
        for home in homes {
            if !shared.health.may_take(home, shared.store(home.as_str())?.as_ref()).await {
                later.push(home);
                continue;
            }
            match put(home, content.clone()).await {
                Err(error @ (Error::Io { .. } | Error::Full(_))) => failed = Some(error),
                outcome => return outcome,
            }
        }
        // Those that are known not to take it are asked all the same before it is refused.
        for home in later {
            match put(home, content.clone()).await {
                Err(error) => failed = failed.or(Some(error)),
                stored => return stored,
            }
        }
        Err(failed.unwrap_or_else(no_home))
    }

    /// The region that a stream is to go to: one that answers now, for afterwards it is too late to try another.
    async fn home_for_stream(&self) -> Result<&Region> {
        let (shared, homes) = (&*self.shared, self.homes());
        for home in homes {
            if homes.len() == 1 || shared.health.answers(home, shared.store(home.as_str())?.as_ref()).await {
                return Ok(home);
            }
        }
        // None does: the first will say so.
        homes.first().ok_or_else(no_home)
    }

    /// Begins a blob in the region that a stream is to go to.
    pub(super) async fn create_placed(&self) -> Result<Box<dyn BlobWriter>> {
        let region = self.home_for_stream().await?.clone();
        let inner = self.shared.store(region.as_str())?.create().await;
        self.shared.health.note_failure(&region, &inner);
        Ok(Box::new(PlacedWriter { shared: Arc::clone(&self.shared), region, inner: inner? }))
    }
}

/// A blob being written in a region.
struct PlacedWriter {
    shared: Arc<Shared>,
    region: Region,
    inner: Box<dyn BlobWriter>,
}

#[async_trait]
impl BlobWriter for PlacedWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        let written = self.inner.write(chunk).await;
        self.shared.health.note_failure(&self.region, &written);
        written
    }

    async fn finish(self: Box<Self>) -> Result<StoredBlob> {
        let finished = self.inner.finish().await;
        self.shared.health.note(&self.region, &finished);
        Ok(placed(&self.region, finished?))
    }
}

fn placed(region: &Region, stored: StoredBlob) -> StoredBlob {
    StoredBlob { id: Address::encode(region, &stored.id), size: stored.size }
}

/// The error of bytes that may be nowhere.
fn no_home() -> Error {
    let source = io::Error::other("the bucket's location names no region of this store: change the location, or add the region");
    Error::Io { doing: "place content", source }
}

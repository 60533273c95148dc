//! What all operations of the disk engine share.

use std::{
    fs::{self, File},
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use tokio::{runtime::Handle, sync::oneshot, task::spawn_blocking};
use umbra_core::{Random, SystemRandom};

use super::{
    address::{Address, Place, RecordAddress},
    direct::{self, Direct, WriteDirect},
    file::{self, SyncFile, in_background},
    hold::Hold,
    layout::Layout,
    record::{self, Absent, BlockChecksums, Form, HEADER_LEN, Nonce},
    segment::{Packing, Reservation, Segment},
    segments::Segments,
    settings::DiskSettings,
    space::Space,
};
use crate::{Error, Result, StoredBlob, pins::Pins};

/// How often to look whether a backup that holds deletes is over.
const HELD_RETRY: Duration = Duration::from_secs(1);

/// The engine behind a store, its readers and its writers. Its methods block, but for the few that say so.
pub(super) struct Engine {
    pub(super) settings: DiskSettings,
    pub(super) layout: Layout,
    pub(super) space: Space,
    pub(super) direct: Arc<Direct>,
    pub(super) segments: Segments,
    pub(super) pins: Pins<Place>,
    hold: Hold,
    pub(super) components: Components,
    /// Held as long as the store is open.
    _lock: File,
}

/// What the engine is given rather than makes.
#[derive(Clone)]
pub(super) struct Components {
    pub(super) random: Arc<dyn Random>,
    pub(super) sync: SyncFile,
    pub(super) write_direct: WriteDirect,
}

impl Default for Components {
    fn default() -> Self {
        Self { random: Arc::new(SystemRandom), sync: Arc::new(File::sync_data), write_direct: Arc::new(direct::write) }
    }
}

impl Engine {
    pub(super) fn open(dir: PathBuf, settings: DiskSettings, components: Components) -> Result<Self> {
        let settings = settings.clamped();
        let (layout, lock) = Layout::open(dir).map_err(Error::from_io("open the directories of the blob store"))?;
        let hold = Hold::open(&layout.hold_file()).map_err(Error::from_io("open the directories of the blob store"))?;
        let direct = Arc::new(Direct::new(&lock, Arc::clone(&components.write_direct)));
        let segments = Segments::open(&layout, &settings, Arc::clone(&direct)).map_err(Error::from_io("open the segments"))?;
        let space = Space::new(layout.root(), settings.reserve_bytes).map_err(Error::from_io("measure free space"))?;
        Ok(Self { settings, layout, space, direct, segments, pins: Pins::default(), hold, components, _lock: lock })
    }

    pub(super) fn nonce(&self) -> Nonce {
        self.components.random.array()
    }

    /// Stores `content` as a record of a segment, packed so if it is large enough, and sends the outcome once it is durable.
    pub(super) fn append(self: &Arc<Self>, content: &[Bytes], packing: Packing, done: oneshot::Sender<Result<Unclaimed>>) {
        match self.write_record(content, packing) {
            Ok((segment, blob)) => {
                // Nobody waits any more if the request was cancelled; the blob, unclaimed, is then deleted.
                segment.make_durable(&self.components.sync, Box::new(move |outcome| drop(done.send(outcome.map(|()| blob)))));
            }
            Err(error) => drop(done.send(Err(error))),
        }
    }

    fn write_record(self: &Arc<Self>, content: &[Bytes], packing: Packing) -> Result<(Arc<Segment>, Unclaimed)> {
        let (nonce, length) = (self.nonce(), content.iter().map(|chunk| chunk.len() as u64).sum());
        let can_be_direct = length >= self.settings.direct_bytes_min && self.direct.is_on();
        let packing = if can_be_direct { packing } else { Packing::Dense };
        let len = packing.span_len(record::record_len(length));
        self.space.admit(len)?;
        let reservation = self.segments.reserve(len, packing).map_err(Error::from_io("reserve space in a segment"))?;

        let segment = Arc::clone(reservation.segment());
        if let Err(source) = self.fill(&reservation, &nonce, length, content) {
            let error = Error::from_io("write a blob")(source);
            self.give_up(reservation, &error);
            return Err(error);
        }

        let offset = u32::try_from(reservation.span().start).expect("a segment ends below 4 GiB");
        let length = u32::try_from(length).expect("a record is shorter than 4 GiB");
        let address = Address::Segment(RecordAddress { segment: segment.number(), offset, length, nonce });
        Ok((segment, Unclaimed::new(self, address)))
    }

    /// Writes the record for which `reservation` was made.
    fn fill(&self, reservation: &Reservation, nonce: &Nonce, length: u64, content: &[Bytes]) -> std::io::Result<()> {
        let (segment, offset) = (reservation.segment(), reservation.span().start);
        let header = record::header(nonce, Form::Whole { length });
        let Some(files) = segment.files() else {
            let tail = BlockChecksums::of(content).finish(nonce);
            let pieces = [&header[..]].into_iter().chain(content.iter().map(|chunk| &chunk[..])).chain([&tail[..]]);
            return file::write_all_at(segment.file(), pieces, offset);
        };
        let mut run = self.direct.run(files, offset);
        let mut checksums = BlockChecksums::new();
        run.push(&header)?;
        for chunk in content {
            checksums.update(chunk);
            run.push(chunk)?;
        }
        run.push(&checksums.finish(nonce))?;
        run.pad()
    }

    /// Cleans up after a write that failed.
    fn give_up(&self, reservation: Reservation, error: &Error) {
        let segment = Arc::clone(reservation.segment());
        if !matches!(error, Error::Full(_)) {
            segment.poison();
        }
        if let Err(error) = self.segments.discard(reservation) {
            tracing::warn!(segment = segment.number(), error = %error, "the space of a failed write is not given back");
        }
    }

    /// Deletes a blob now, or leaves that to its last reader, or until a backup is over.
    pub(super) fn delete(self: &Arc<Self>, address: &Address) -> Result<()> {
        let failed = Error::from_io("delete a blob");
        match self.hold.turn() {
            Ok(Some(_turn)) => self.delete_now(address),
            Ok(None) => {
                if self.hold.remember(*address).map_err(failed)?
                    && let Ok(runtime) = Handle::try_current()
                {
                    runtime.spawn(delete_held(Arc::downgrade(self)));
                }
                Ok(())
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Deletes what a backup held. False while it still does.
    fn delete_waiting(&self) -> bool {
        loop {
            let Ok(Some(_turn)) = self.hold.turn() else { return false };
            let blobs = self.hold.take();
            if blobs.is_empty() {
                return true;
            }
            for blob in blobs {
                if let Err(error) = self.delete_now(&blob) {
                    tracing::warn!(%error, "a blob is not deleted after a backup");
                }
            }
        }
    }

    fn delete_now(&self, address: &Address) -> Result<()> {
        match address {
            Address::Large(large) => {
                let path = self.layout.large_file(&large.nonce);
                file::or_gone(fs::remove_file(path)).map_err(Error::from_io("delete a blob"))
            }
            Address::Segment(record) if self.pins.doom(record.place()) => self.free(record),
            Address::Segment(_) => Ok(()),
        }
    }

    /// Lets a reader of `record` out. Does not block.
    pub(super) fn unpin(self: &Arc<Self>, record: RecordAddress) {
        if self.pins.leave(record.place()) {
            let engine = Arc::clone(self);
            in_background(move || {
                if let Err(error) = engine.free(&record) {
                    tracing::warn!(error = %error, "a blob is not deleted after its last reader");
                }
            });
        }
    }

    /// Frees a record that is shut to readers.
    fn free(&self, record: &RecordAddress) -> Result<()> {
        let outcome = self.free_record(record);
        self.pins.forget(record.place());
        outcome.map_err(Error::from_io("delete a blob"))
    }

    fn free_record(&self, record: &RecordAddress) -> std::io::Result<()> {
        let Some(segment) = self.segments.get(record.segment)? else { return Ok(()) };
        let header = file::read_at(segment.file(), record.offset.into(), HEADER_LEN)?;
        match record::check_header(&header, &record.nonce, Form::Whole { length: record.length.into() }) {
            Ok(()) => self.segments.free(&segment, &record.span()),
            Err(Absent::Gone) => Ok(()),
            Err(Absent::Damaged(why)) => {
                tracing::warn!(segment = record.segment, offset = record.offset, why, "a damaged blob is left as it is");
                Ok(())
            }
        }
    }
}

/// Deletes what waits once the backup is over.
async fn delete_held(engine: Weak<Engine>) {
    loop {
        tokio::time::sleep(HELD_RETRY).await;
        let Some(engine) = engine.upgrade() else { return };
        if spawn_blocking(move || engine.delete_waiting()).await.unwrap_or(true) {
            return;
        }
    }
}

/// A blob that is stored but whose identifier nobody has taken yet. Dropped so, it is deleted.
pub(super) struct Unclaimed {
    engine: Arc<Engine>,
    address: Option<Address>,
}

impl Unclaimed {
    pub(super) fn new(engine: &Arc<Engine>, address: Address) -> Self {
        Self { engine: Arc::clone(engine), address: Some(address) }
    }

    /// Issues the identifier.
    pub(super) fn claim(mut self) -> StoredBlob {
        let address = self.address.take().expect("it is taken only here and when dropped");
        StoredBlob { id: address.encode(), size: address.length() }
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        let Some(address) = self.address.take() else { return };
        let engine = Arc::clone(&self.engine);
        in_background(move || {
            if let Err(error) = engine.delete(&address) {
                tracing::warn!(error = %error, "a blob nobody waited for is not deleted");
            }
        });
    }
}

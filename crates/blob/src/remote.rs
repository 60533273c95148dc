//! Blobs in a bucket of an S3-compatible engine.
//!
//! # Overview
//! A blob is one object, under a key that is random and never written twice; its identifier says which and how long it is
//! (`address.rs`). The object holds the content in blocks, each followed by its checksum (`blocks.rs`), so that any range is read
//! and verified with one request (`reader.rs`). Content that ends soon is sent with one PUT, longer content as a multipart upload
//! (`writer.rs`).
//!
//! # Durability
//! A write returns once the engine has said that it stored the object: how durable that is, is the engine's word. The MD5 of
//! its content goes with every request, so that what was damaged on its way is refused. Requests that failed are sent again by the
//! client's policy, which is harmless: the key is ours alone, and the content the same.
//!
//! # Deletes
//! A blob that is being read here is shut to new readers at once, and its object deleted when the last reader is done. Readers at
//! other nodes are protected by what the engine does for a GET under way; a blob is deleted a grace period after its last
//! reference went, so that only readers slower than that depend on it.
//!
//! # Crashes
//! An upload that was never completed is no object; those of ours that are older than a day are aborted at the start and every few hours
//! (`sweep.rs`). A blob that was finished but whose identifier was lost with the process stays, and takes space, and so does one
//! whose last reader was cut off by a crash after the delete.

mod address;
mod badge;
mod blocks;
mod reader;
mod settings;
mod sweep;
mod writer;

use std::{fmt, future::ready, io, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{TryStreamExt, stream::BoxStream};
use umbra_client::{GetOptions, S3Client};
use umbra_core::{ByteRange, Entity, ErrorKind, Random, SystemRandom};

use self::{address::Address, blocks::Nonce, reader::Reader, writer::RemoteWriter};
pub use self::{badge::Badge, settings::RemoteSettings};
use crate::{
    BlobId, BlobStore, BlobWriter, Error, Result, StoredBlob,
    pins::{Pins, delete_late, in_background},
};

/// Blobs in a bucket of an S3-compatible engine. Clones are the same store.
#[derive(Clone)]
pub struct S3BlobStore {
    engine: Arc<Engine>,
}

/// What all operations share.
struct Engine {
    client: S3Client,
    /// What all keys begin with: empty, or ends with a slash.
    prefix: String,
    settings: RemoteSettings,
    random: Arc<dyn Random>,
    pins: Pins<Nonce>,
}

impl S3BlobStore {
    /// Opens the store whose keys begin with `prefix` in the client's bucket.
    ///
    /// Writes, reads and deletes a small blob: a wrong key or a bucket that is missing is told here, not by the first request. Before that it
    /// asks for the bucket: some engines would make it.
    pub async fn open(client: S3Client, prefix: &str, settings: RemoteSettings) -> Result<Self> {
        let store = Self::reach(client, prefix, settings);
        if !store.has_bucket().await? {
            let client = &store.engine.client;
            let why = format!("there is no bucket {} at {}: make it, or mend its name", client.bucket(), client.endpoint());
            return Err(Error::Io { doing: "find its bucket", source: io::Error::other(why) });
        }
        store.probe().await?;
        tokio::spawn(sweep::run(Arc::downgrade(&store.engine)));
        Ok(store)
    }

    /// The store whose keys begin with `prefix` in the client's bucket, as others keep it: it is not tried, so that it may be away, and what was
    /// left behind there is not looked after.
    pub fn reach(client: S3Client, prefix: &str, settings: RemoteSettings) -> Self {
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let settings = settings.clamped();
        let engine = Engine { client, prefix, settings, random: Arc::new(SystemRandom), pins: Pins::default() };
        Self { engine: Arc::new(engine) }
    }

    /// Whether the bucket is there, as far as the key may ask.
    pub async fn has_bucket(&self) -> Result<bool> {
        match self.engine.client.head_bucket().await {
            Err(error) if error.s3().is_none() => Err(failed("find its bucket")(error)),
            // Not every key may ask.
            Err(error) => Ok(error.s3().is_none_or(|told| told.status != 404)),
            Ok(_) => Ok(true),
        }
    }

    async fn probe(&self) -> Result<()> {
        let blob = self.put(vec![Bytes::from_static(b"umbra")]).await?;
        let read = async { self.read(&blob.id, ByteRange::new(1, blob.size)).await?.try_for_each(|_| ready(Ok(()))).await };
        let read = read.await;
        let deleted = self.delete(&blob.id).await;
        read.and(deleted)
    }
}

#[async_trait]
impl BlobStore for S3BlobStore {
    async fn put(&self, content: Vec<Bytes>) -> Result<StoredBlob> {
        let size: usize = content.iter().map(Bytes::len).sum();
        let mut writer = RemoteWriter::new(Arc::clone(&self.engine), size);
        for chunk in content {
            writer.append(chunk).await?;
        }
        writer.end().await
    }

    async fn create(&self) -> Result<Box<dyn BlobWriter>> {
        Ok(Box::new(RemoteWriter::new(Arc::clone(&self.engine), 0)))
    }

    async fn read(&self, id: &BlobId, range: ByteRange) -> Result<BoxStream<'static, Result<Bytes>>> {
        Ok(Reader::open(Arc::clone(&self.engine), id, range).await?.into_stream())
    }

    fn size_of(&self, id: &BlobId) -> Option<u64> {
        Address::decode(id).map(|address| address.length)
    }

    async fn answers(&self) -> Result<()> {
        // It has words for an object that is not there; what stands in for an engine that is down has none. Not every key may know of absence.
        match self.engine.client.get_object(&format!("{}answers", self.engine.prefix), &GetOptions::default()).await {
            Ok(_) => Ok(()),
            Err(error) if is_gone(&error) || error.s3().is_some_and(|told| told.code == "AccessDenied") => Ok(()),
            Err(error) => Err(failed("reach the engine")(error)),
        }
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        let Some(address) = Address::decode(id) else { return Ok(()) };
        if !self.engine.pins.doom(address.nonce) {
            return Ok(());
        }
        // Also when this future is dropped meanwhile.
        let doomed = Doomed { engine: &self.engine, nonce: address.nonce };
        let outcome = self.engine.delete(&address.nonce).await;
        drop(doomed);
        outcome
    }
}

impl fmt::Debug for S3BlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3BlobStore").field("client", &self.engine.client).field("prefix", &self.engine.prefix).finish_non_exhaustive()
    }
}

/// A blob that is shut to readers while its object is deleted.
struct Doomed<'a> {
    engine: &'a Engine,
    nonce: Nonce,
}

impl Drop for Doomed<'_> {
    fn drop(&mut self) {
        self.engine.pins.forget(self.nonce);
    }
}

impl Engine {
    /// The key of a blob's object. Spread over 256 prefixes, which engines that keep directories like.
    fn key(&self, nonce: &Nonce) -> String {
        let name = hex::encode(nonce);
        format!("{}{}/{name}", self.prefix, &name[..2])
    }

    async fn delete(&self, nonce: &Nonce) -> Result<()> {
        self.client.delete_object(&self.key(nonce)).await.map(drop).map_err(failed("delete a blob"))
    }

    /// Lets a reader out; the last one of a deleted blob deletes its object. Does not wait for that.
    fn unpin(self: &Arc<Self>, nonce: Nonce) {
        if !self.pins.leave(nonce) {
            return;
        }
        let engine = Arc::clone(self);
        in_background(async move {
            delete_late(|| engine.delete(&nonce)).await;
            engine.pins.forget(nonce);
        });
    }
}

/// Says what a failed request was for.
fn failed(doing: &'static str) -> impl FnOnce(umbra_client::Error) -> Error {
    move |error| match error.s3() {
        Some(told) if told.status == 507 => Error::Full(format!("{doing}: {}", OfEngine(error))),
        _ => Error::Io { doing, source: io::Error::other(OfEngine(error)) },
    }
}

/// An error of the client, which calls an origin whomever it asks: here that is the bucket for contents.
#[derive(Debug)]
struct OfEngine(umbra_client::Error);

impl fmt::Display for OfEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string().replace("the origin", "the bucket for contents"))
    }
}

impl std::error::Error for OfEngine {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Whether an error says that there is no such object.
fn is_gone(error: &umbra_client::Error) -> bool {
    error.kind() == ErrorKind::NotFound(Entity::Object)
}

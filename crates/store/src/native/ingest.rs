//! Takes a body in: stores its bytes and verifies what was announced of them. Nothing becomes visible.
//!
//! Up to [`umbra_core::limits::INLINE_BYTES_MAX`] the content stays in memory and goes into the record, up to [`BUFFERED_BYTES_MAX`] it is gathered
//! and stored by one call, and beyond it streams. Blobs are made durable only once every digest is verified, and by a task of their
//! own: whenever the request is dropped, either the writer goes and leaves nothing, or [`Custody`] gets the blob and deletes it.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use umbra_blob::{BlobStore, BlobWriter, StoredBlob};
use umbra_core::{Body, Checksum, Error, Fault, Narrowed, Result};

use super::{
    Content, Extent, Native, Pieces,
    cipher::{Encryptor, encrypt},
    content::Custody,
    digester::{Digester, Digests},
    intake::Intake,
};
use crate::{
    Bucket, Expected, Integrity,
    keyring::{DataKey, Seal, Sealing},
};

/// Bodies up to this are gathered before they are stored.
const BUFFERED_BYTES_MAX: u64 = 1024 * 1024;

impl Native {
    /// Stores a body, for an object of `bucket` that is `narrowed` by its writer or not; verifies its announced size and its integrity. Nothing
    /// becomes visible.
    ///
    /// MD5 and CRC64NVME are always computed, and the checksum that was asked for. On an error, or when dropped, nothing is left behind.
    /// Holds at most 2 MiB in memory.
    pub async fn ingest(&self, bucket: &Bucket, narrowed: Option<&Narrowed>, body: Body, integrity: Integrity) -> Result<Content> {
        self.check_homes(bucket, narrowed)?;
        self.ingest_inlining(self.blobs_of(bucket, narrowed), body, integrity, self.inline_max(bucket, narrowed)).await
    }

    /// Stores a body in `blobs`, with content up to `inline_max` bytes kept in memory.
    pub(super) async fn ingest_inlining(
        &self,
        blobs: Arc<dyn BlobStore>,
        body: Body,
        mut integrity: Integrity,
        inline_max: u64,
    ) -> Result<Content> {
        let mut intake = Intake::new(body)?;
        let sealing = integrity.sealing.take();
        let cover = sealing.as_ref().map(|sealing| self.cover(sealing)).transpose()?;
        let announcement = Announcement::check(integrity)?;
        let mut digester = Digester::new(self.md5s(), announcement.algorithm());
        let streams = |size: u64| size > BUFFERED_BYTES_MAX;
        let mut blocks = Vec::new();
        while !streams(intake.announced().unwrap_or(0).max(intake.size())) {
            let Some(block) = intake.next().await? else {
                let digests = announcement.verify(digester.finish().await?)?;
                return self.store_gathered(blobs, blocks, digests, cover, inline_max).await;
            };
            digester.update(block.clone()).await?;
            blocks.push(block);
        }
        self.stream_in(blobs, intake, blocks, digester, announcement, cover).await
    }

    /// Deletes content that is not to become an object. Failures are logged.
    pub async fn discard(&self, content: Content) {
        content.discard().await;
    }

    async fn store_gathered(
        &self,
        blobs: Arc<dyn BlobStore>,
        blocks: Vec<Bytes>,
        digests: Digests,
        cover: Option<Cover>,
        inline_max: u64,
    ) -> Result<Content> {
        let size: u64 = blocks.iter().map(|block| block.len() as u64).sum();
        let stored = match &cover {
            Some(cover) => encrypt(&cover.key, &blocks),
            None => blocks,
        };
        let about = About { size, tag: self.tag(cover.as_ref(), &digests)?, seal: cover.map(|cover| cover.seal) };
        if size > inline_max {
            return self.keep(digests, about, async move { blobs.put(stored).await }).await;
        }
        let pieces = match about.seal {
            _ if inline_max == 0 => Pieces::Extents(Vec::new()),
            Some(seal) if size > 0 => Pieces::SealedInline(joined(stored), seal),
            _ => Pieces::Inline(joined(stored)),
        };
        Ok(Content { pieces, size, md5: digests.md5, tag: about.tag, checksums: digests.checksums, custody: Custody::none() })
    }

    async fn stream_in(
        &self,
        blobs: Arc<dyn BlobStore>,
        mut intake: Intake,
        gathered: Vec<Bytes>,
        mut digester: Digester,
        announcement: Announcement,
        cover: Option<Cover>,
    ) -> Result<Content> {
        let mut writer = Writer { blob: blobs.create().await?, encryptor: cover.as_ref().map(|cover| Encryptor::new(&cover.key)) };
        for block in gathered {
            writer.write(block).await?;
        }
        while let Some(block) = intake.next().await? {
            digester.update(block.clone()).await?;
            writer.write(block).await?;
        }
        let digests = announcement.verify(digester.finish().await?)?;
        let about = About { size: intake.size(), tag: self.tag(cover.as_ref(), &digests)?, seal: cover.map(|cover| cover.seal) };
        self.keep(digests, about, writer.finish()).await
    }

    /// Draws a key for a content.
    fn cover(&self, sealing: &Sealing) -> Result<Cover> {
        let (seal, key) = self.keys().seal(sealing)?;
        Ok(Cover { seal: Box::new(seal), key, sealing: sealing.clone() })
    }

    /// What the ETag of a content is made of.
    fn tag(&self, cover: Option<&Cover>, digests: &Digests) -> Result<[u8; 16]> {
        let tag = cover.map(|cover| self.keys().tag(&cover.sealing, &digests.md5)).transpose()?;
        Ok(tag.flatten().unwrap_or(digests.md5))
    }

    /// Runs `store` to its end, whatever happens to this future, and takes custody of the blob.
    async fn keep(
        &self,
        digests: Digests,
        about: About,
        store: impl Future<Output = umbra_blob::Result<StoredBlob>> + Send + 'static,
    ) -> Result<Content> {
        let blobs = Arc::clone(self.blobs());
        super::detached(async move {
            let stored = store.await?;
            let custody = Custody::of(blobs, stored.id.clone());
            let About { size, tag, seal } = about;
            let pieces = Pieces::Extents(vec![Extent { blob: stored.id, size, seal }]);
            Ok(Content { pieces, size, md5: digests.md5, tag, checksums: digests.checksums, custody })
        })
        .await
    }
}

/// What a content is encrypted with.
struct Cover {
    seal: Box<Seal>,
    key: DataKey,
    sealing: Sealing,
}

/// What is known of a content besides its digests.
struct About {
    size: u64,
    tag: [u8; 16],
    seal: Option<Box<Seal>>,
}

/// Writes a blob, encrypted where there is something to encrypt it with.
struct Writer {
    blob: Box<dyn BlobWriter>,
    encryptor: Option<Encryptor>,
}

impl Writer {
    async fn write(&mut self, block: Bytes) -> Result<()> {
        let Some(encryptor) = &mut self.encryptor else { return Ok(self.blob.write(block).await?) };
        for segment in encryptor.update(&block) {
            self.blob.write(segment).await?;
        }
        Ok(())
    }

    async fn finish(mut self) -> umbra_blob::Result<StoredBlob> {
        if let Some(last) = self.encryptor.and_then(Encryptor::finish) {
            self.blob.write(last).await?;
        }
        self.blob.finish().await
    }
}

fn joined(blocks: Vec<Bytes>) -> Bytes {
    <[Bytes; 1]>::try_from(blocks).map_or_else(|blocks| blocks.concat().into(), |[block]| block)
}

/// What the client announced of a body, checked for its form.
struct Announcement(Integrity);

impl Announcement {
    fn check(integrity: Integrity) -> Result<Self> {
        if let Some(checksum) = &integrity.checksum
            && let Expected::Value(value) = &checksum.value
        {
            Checksum::parse(checksum.algorithm, value)?;
        }
        Ok(Self(integrity))
    }

    fn algorithm(&self) -> Option<umbra_core::ChecksumAlgorithm> {
        self.0.checksum.as_ref().map(|checksum| checksum.algorithm)
    }

    /// Passes `digests` on when they are what was announced.
    fn verify(self, digests: Digests) -> Result<Digests> {
        if self.0.content_md5.is_some_and(|md5| md5 != digests.md5) {
            return Err(Error::invalid(Fault::BadDigest, "the Content-MD5 you specified did not match what we received"));
        }
        let Some(announced) = self.0.checksum else { return Ok(digests) };
        let value = match announced.value {
            Expected::Unknown => return Ok(digests),
            Expected::Value(value) => value,
            Expected::Trailer(trailer) => trailer().ok_or_else(|| {
                let name = announced.algorithm.header();
                Error::invalid(Fault::InvalidRequest, format!("the trailer {name} was announced and did not come"))
            })?,
        };
        let expected = Checksum::parse(announced.algorithm, &value)?;
        if digests.checksums.first() == Some(&expected) {
            return Ok(digests);
        }
        let name = announced.algorithm.name();
        Err(Error::invalid(Fault::BadDigest, format!("the {name} you specified did not match the calculated checksum")))
    }
}

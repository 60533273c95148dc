//! Writing a blob: one PUT, or a multipart upload for what exceeds a part.
//!
//! A part is sent while the next one is gathered. What is not finished is taken back in the background.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{
    HeaderMap,
    header::{CONTENT_LENGTH, ETAG},
};
use tokio::task::JoinHandle;
use umbra_client::GetOptions;
use umbra_core::{ETag, PartNumber, UploadId};

use super::{
    Engine,
    address::Address,
    blocks::{Nonce, Sealer, object_len},
    failed,
};
use crate::{BlobWriter, Error, Result, StoredBlob, pins::in_background};

const WRITING: &str = "write a blob";

/// A blob that is being written.
pub(super) struct RemoteWriter {
    draft: Draft,
    sealer: Sealer,
    parts: Vec<(PartNumber, ETag)>,
    sending: Option<Sending>,
    /// An error has ended it.
    is_lost: bool,
}

impl RemoteWriter {
    /// Begins a blob; `size` is what to make room for.
    pub(super) fn new(engine: Arc<Engine>, size: usize) -> Self {
        let nonce: Nonce = engine.random.array();
        let room = size.min(2 * engine.settings.part_bytes);
        let draft = Draft { engine, nonce, upload: None, may_exist: false };
        Self { draft, sealer: Sealer::new(nonce, room), parts: Vec::new(), sending: None, is_lost: false }
    }

    /// Appends `content`.
    pub(super) async fn append(&mut self, content: Bytes) -> Result<()> {
        if self.is_lost {
            return Err(Error::Io { doing: WRITING, source: std::io::Error::other("an earlier write to it failed") });
        }
        // Until it has returned well, also when it is cancelled.
        self.is_lost = true;
        let part_bytes = self.draft.engine.settings.part_bytes;
        for piece in content.chunks(part_bytes) {
            self.sealer.push(piece);
            // What is exactly a part may turn out to be all there is.
            while self.sealer.waiting() > part_bytes {
                let part = self.sealer.take(part_bytes);
                self.send_part(part).await?;
            }
        }
        self.is_lost = false;
        Ok(())
    }

    /// Makes it durable and issues its identifier.
    pub(super) async fn end(mut self) -> Result<StoredBlob> {
        self.append(Bytes::new()).await?;
        let mut rest = self.sealer.finish();
        let (length, nonce) = (self.sealer.length(), *self.sealer.nonce());
        if self.draft.upload.is_none() {
            self.draft.may_exist = true;
            let key = self.draft.key();
            if let Err(error) = self.draft.engine.client.put_bytes(&key, &rest).await {
                self.draft.may_exist = error.outcome_unknown();
                return Err(failed(WRITING)(error));
            }
        } else {
            // The last checksum may have brought it over the size of a part.
            while rest.len() > self.draft.engine.settings.part_bytes {
                self.send_part(rest.split_to(self.draft.engine.settings.part_bytes)).await?;
            }
            self.send_part(rest).await?;
            self.settle_part().await?;
            self.complete(object_len(length)).await?;
        }
        self.draft.keep();
        Ok(StoredBlob { id: Address { length, nonce }.encode(), size: length })
    }

    /// Begins to send the next part, once the one before has arrived.
    async fn send_part(&mut self, part: Bytes) -> Result<()> {
        self.settle_part().await?;
        let upload = self.draft.upload().await?;
        let number = PartNumber::new(self.parts.len() as i64 + 1)
            .map_err(|_| Error::Io { doing: WRITING, source: std::io::Error::other("it is longer than 10,000 parts of an upload") })?;
        let (engine, key) = (Arc::clone(&self.draft.engine), self.draft.key());
        let sent = tokio::spawn(async move {
            let headers = engine.client.upload_part_bytes(&key, &upload, number, &part).await.map_err(failed(WRITING))?;
            let etag = headers.get(ETAG).and_then(|etag| etag.to_str().ok()).map(ETag::parse);
            let etag = etag.ok_or_else(|| Error::Io { doing: WRITING, source: std::io::Error::other("the engine gave a part no ETag") })?;
            Ok((number, etag))
        });
        self.sending = Some(Sending(sent));
        Ok(())
    }

    /// Waits until the part that is on its way has arrived.
    async fn settle_part(&mut self) -> Result<()> {
        let Some(sending) = &mut self.sending else { return Ok(()) };
        let part = (&mut sending.0).await.map_err(|error| Error::Io { doing: WRITING, source: error.into() })??;
        self.sending = None;
        self.parts.push(part);
        Ok(())
    }

    /// Makes an object of `size` bytes of the parts.
    async fn complete(&mut self, size: u64) -> Result<()> {
        self.draft.may_exist = true;
        let (key, upload) = (self.draft.key(), self.draft.upload().await?);
        let client = &self.draft.engine.client;
        let (parts, key, upload) = (&self.parts, &key, &upload);
        let complete = || async move {
            match client.complete_multipart_upload(key, upload, parts, &HeaderMap::new()).await {
                Ok(_) => Ok(()),
                // An earlier attempt, or this one, may have succeeded without our hearing of it.
                Err(error) => match client.head_object(key, &GetOptions::default()).await {
                    Ok(headers) if headers.get(CONTENT_LENGTH).is_some_and(|length| *length == size.to_string()[..]) => Ok(()),
                    _ => Err(error),
                },
            }
        };
        client.repeat(complete).await.map_err(failed(WRITING))
    }
}

#[async_trait]
impl BlobWriter for RemoteWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.append(chunk).await
    }

    async fn finish(self: Box<Self>) -> Result<StoredBlob> {
        self.end().await
    }
}

/// A part on its way; stopped when nobody waits for it any more.
struct Sending(JoinHandle<Result<(PartNumber, ETag)>>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the engine may have of an unfinished blob; taken back when dropped.
struct Draft {
    engine: Arc<Engine>,
    nonce: Nonce,
    upload: Option<UploadId>,
    /// Whether the object itself may have come into being.
    may_exist: bool,
}

impl Draft {
    fn key(&self) -> String {
        self.engine.key(&self.nonce)
    }

    /// The upload, begun if need be.
    async fn upload(&mut self) -> Result<UploadId> {
        if let Some(upload) = &self.upload {
            return Ok(upload.clone());
        }
        let (client, key) = (&self.engine.client, &self.key());
        // One that was begun without our hearing of it is found when it is stale.
        let begun = client.repeat(|| async move { client.create_multipart_upload(key, &HeaderMap::new()).await }).await;
        let begun = begun.map_err(failed("begin an upload"))?;
        self.upload = Some(begun.clone());
        Ok(begun)
    }

    /// It is finished: nothing is to be taken back.
    fn keep(&mut self) {
        (self.upload, self.may_exist) = (None, false);
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let (upload, may_exist) = (self.upload.take(), self.may_exist);
        if upload.is_none() && !may_exist {
            return;
        }
        let (engine, nonce) = (Arc::clone(&self.engine), self.nonce);
        in_background(async move {
            let key = engine.key(&nonce);
            if let Some(upload) = upload
                && let Err(error) = engine.client.abort_multipart_upload(&key, &upload).await
                && !may_exist
            {
                tracing::debug!(key, %error, "an unfinished upload is left until it is stale");
            }
            if may_exist && let Err(error) = engine.delete(&nonce).await {
                tracing::warn!(key, %error, "what may be left of a failed write is not deleted, and stays");
            }
        });
    }
}

//! One body to both sides at once.
//!
//! The last chunk is withheld from the origin until our own side has the whole, verified and durable, and the write has been journalled. A
//! body that breaks off, or contradicts its checksum, therefore never becomes an object there: the origin is still waiting for announced
//! bytes when the request is given up. And what is journalled names the very content the origin may come to hold.

use std::future::Future;

use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::sync::{mpsc, oneshot};
use umbra_core::{Body, Error, ErrorKind, Fault, Narrowed, Result};
use umbra_store::{Bucket, Content, Integrity, Native};

use crate::origin::{OriginError, Result as OriginResult};

/// Chunks that may wait for the slower side.
const CHUNKS_AHEAD: usize = 4;

/// What became of a body sent to both sides.
#[derive(Debug)]
pub(crate) enum Outcome<T, J> {
    /// Both hold it.
    Stored {
        /// Ours, not yet published.
        content: Content,
        /// What the origin answered.
        written: T,
        /// What was journalled.
        journal: J,
    },
    /// Nothing was journalled, and the origin has not got it.
    Refused(Error),
    /// It was journalled, and then the origin failed. Ours is discarded.
    Failed {
        /// How.
        error: OriginError,
        /// What was journalled.
        journal: J,
    },
}

/// Stores `body` here, for an object of a bucket that is narrowed by its writer or not, and at the origin by `write`, which gets the body's size. Between the two, when ours is durable and the origin still
/// lacks the last bytes, `journal` is called; if it fails, the origin never gets them.
pub(crate) async fn store_on_both<T, F, J, G>(
    native: &Native,
    (bucket, narrowed): (&Bucket, Option<&Narrowed>),
    body: Body,
    integrity: Integrity,
    write: impl FnOnce(u64, Body) -> F,
    journal: impl FnOnce(&Content) -> G,
) -> Outcome<T, J>
where
    F: Future<Output = OriginResult<T>>,
    // The borrow of the content ends before the future is polled: what it needs of it, it copies.
    G: Future<Output = Result<J>>,
{
    let Some(size) = body.size() else {
        return Outcome::Refused(Error::invalid(Fault::InvalidRequest, "you must provide the Content-Length HTTP header"));
    };
    let Tee { local, origin, begun, verdict } = tee(body);
    let ours = async {
        let content = native.ingest(bucket, narrowed, local, integrity).await?;
        match journal(&content).await {
            Ok(journal) => {
                // The pump may be gone because the origin gave up: its answer tells.
                let _ = verdict.send(());
                Ok((content, journal))
            }
            Err(error) => {
                native.discard(content).await;
                Err(error)
            }
        }
    };
    if size == 0 {
        // There is no last chunk to withhold: ours goes first.
        return match ours.await {
            Ok(ours) => settle(native, ours, write(0, Body::empty()).await).await,
            Err(error) => Outcome::Refused(error),
        };
    }
    // Some origins keep a request that breaks off before its first byte as an empty object: none is begun before there is a byte to send.
    let theirs = async {
        match begun.await {
            Ok(()) => write(size, origin).await,
            Err(_) => Err(OriginError::certain(given_up("the body was not accepted here"))),
        }
    };
    match tokio::join!(ours, theirs) {
        (Ok(ours), written) => settle(native, ours, written).await,
        // Ours was given up because the origin had failed: the origin's word is the reason.
        (Err(error), Err(theirs)) if error.kind() == ErrorKind::Cancelled => Outcome::Refused(theirs.error),
        (Err(error), _) => Outcome::Refused(error),
    }
}

async fn settle<T, J>(native: &Native, (content, journal): (Content, J), written: OriginResult<T>) -> Outcome<T, J> {
    match written {
        Ok(written) => Outcome::Stored { content, written, journal },
        Err(error) => {
            native.discard(content).await;
            Outcome::Failed { error, journal }
        }
    }
}

/// A body on its way to both sides.
struct Tee {
    local: Body,
    origin: Body,
    /// Fires when there is something to send to the origin; is dropped when there never will be.
    begun: oneshot::Receiver<()>,
    /// Releases the last chunk to the origin.
    verdict: oneshot::Sender<()>,
}

fn tee(body: Body) -> Tee {
    let size = body.size();
    let (local_sender, local) = mpsc::channel(CHUNKS_AHEAD);
    let (origin_sender, origin) = mpsc::channel(CHUNKS_AHEAD);
    let (begun_sender, begun) = oneshot::channel();
    let (verdict_sender, verdict) = oneshot::channel();
    tokio::spawn(pump(body, local_sender, OriginSide { begun: Some(begun_sender), chunks: origin_sender }, verdict));
    let body_of = |receiver: mpsc::Receiver<Result<Bytes>>| {
        Body::new(size, stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|chunk| (chunk, receiver)) }))
    };
    Tee { local: body_of(local), origin: body_of(origin), begun, verdict: verdict_sender }
}

/// The way to the origin.
struct OriginSide {
    begun: Option<oneshot::Sender<()>>,
    chunks: Sender,
}

impl OriginSide {
    /// Sends a chunk; false when the origin does not read any more.
    async fn send(&mut self, chunk: Bytes) -> bool {
        if let Some(begun) = self.begun.take() {
            // Whoever does not wait any more has failed already.
            let _ = begun.send(());
        }
        self.chunks.send(Ok(chunk)).await.is_ok()
    }

    /// Breaks off what was begun.
    async fn fail(self, error: Error) {
        let _ = self.chunks.send(Err(error)).await;
    }
}

type Sender = mpsc::Sender<Result<Bytes>>;

async fn pump(body: Body, local: Sender, mut origin: OriginSide, verdict: oneshot::Receiver<()>) {
    let mut stream = body.into_stream();
    let mut held = None;
    while let Some(chunk) = stream.next().await {
        let chunk = match chunk {
            Ok(chunk) if chunk.is_empty() => continue,
            Ok(chunk) => chunk,
            Err(error) => {
                // Whoever does not listen any more has failed already.
                let _ = local.send(Err(error.clone())).await;
                return origin.fail(error).await;
            }
        };
        let earlier = held.replace(chunk.clone());
        if local.send(Ok(chunk)).await.is_err() {
            break;
        }
        if let Some(earlier) = earlier
            && !origin.send(earlier).await
        {
            let _ = local.send(Err(given_up("the origin stopped reading"))).await;
            return;
        }
    }
    drop(local);
    match (verdict.await, held) {
        (Ok(()), Some(last)) => {
            origin.send(last).await;
        }
        _ => origin.fail(given_up("the body was not accepted here")).await,
    }
}

fn given_up(why: &str) -> Error {
    Error::new(ErrorKind::Cancelled, why)
}

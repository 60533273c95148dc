//! One body to both sides at once.
//!
//! The last chunk is withheld from the origin until our own side has the whole, verified and durable, and the write has been journalled. A
//! body that breaks off, or contradicts its checksum, therefore never becomes an object there: the origin is still waiting for announced
//! bytes when the request is given up. And what is journalled names the very content the origin may come to hold.

use std::future::Future;

use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::sync::{mpsc, oneshot};
use umbra_core::{Body, Error, ErrorKind, Fault, Result};
use umbra_store::{Content, Integrity, Native};

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

/// Stores `body` here, and at the origin by `write`, which gets the body's size. Between the two, when ours is durable and the origin still
/// lacks the last bytes, `journal` is called; if it fails, the origin never gets them.
pub(crate) async fn store_on_both<T, F, J, G>(
    native: &Native,
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
    let (local, origin, verdict) = tee(body);
    let ours = async {
        let content = native.ingest(local, integrity).await?;
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
    match tokio::join!(ours, write(size, origin)) {
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

fn tee(body: Body) -> (Body, Body, oneshot::Sender<()>) {
    let size = body.size();
    let (local_sender, local) = mpsc::channel(CHUNKS_AHEAD);
    let (origin_sender, origin) = mpsc::channel(CHUNKS_AHEAD);
    let (verdict_sender, verdict) = oneshot::channel();
    tokio::spawn(pump(body, local_sender, origin_sender, verdict));
    let body_of = |receiver: mpsc::Receiver<Result<Bytes>>| {
        Body::new(size, stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|chunk| (chunk, receiver)) }))
    };
    (body_of(local), body_of(origin), verdict_sender)
}

type Sender = mpsc::Sender<Result<Bytes>>;

async fn pump(body: Body, local: Sender, origin: Sender, verdict: oneshot::Receiver<()>) {
    let mut stream = body.into_stream();
    let mut held = None;
    while let Some(chunk) = stream.next().await {
        let chunk = match chunk {
            Ok(chunk) if chunk.is_empty() => continue,
            Ok(chunk) => chunk,
            Err(error) => {
                // Whoever does not listen any more has failed already.
                let _ = local.send(Err(error.clone())).await;
                let _ = origin.send(Err(error)).await;
                return;
            }
        };
        let earlier = held.replace(chunk.clone());
        if local.send(Ok(chunk)).await.is_err() {
            break;
        }
        if let Some(earlier) = earlier
            && origin.send(Ok(earlier)).await.is_err()
        {
            let _ = local.send(Err(given_up("the origin stopped reading"))).await;
            return;
        }
    }
    drop(local);
    let last = match (verdict.await, held) {
        (Ok(()), Some(last)) => Ok(last),
        _ => Err(given_up("the body was not accepted here")),
    };
    let _ = origin.send(last).await;
}

fn given_up(why: &str) -> Error {
    Error::new(ErrorKind::Cancelled, why)
}

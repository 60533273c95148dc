//! One body to both sides at once.
//!
//! The last chunk is withheld from the origin until our own side has the whole, verified and durable. A body that breaks off, or contradicts
//! its checksum, therefore never becomes an object there: the origin is still waiting for announced bytes when the request is given up.

use std::future::Future;

use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::sync::{mpsc, oneshot};
use umbra_core::{Body, Error, ErrorKind, Fault, Result};
use umbra_store::{Content, Integrity, Native};

use crate::origin::{OriginError, Result as OriginResult};

/// Chunks that may wait for the slower side.
const CHUNKS_AHEAD: usize = 4;

/// Stores `body` here, and at the origin by `write`, which gets the body's size. Gives what both sides made of it.
///
/// Nothing stays here when either side fails.
pub(crate) async fn store_on_both<T, F>(
    native: &Native,
    body: Body,
    integrity: Integrity,
    write: impl FnOnce(u64, Body) -> F,
) -> OriginResult<(Content, T)>
where
    F: Future<Output = OriginResult<T>>,
{
    let Some(size) = body.size() else {
        return Err(OriginError::certain(Error::invalid(Fault::InvalidRequest, "you must provide the Content-Length HTTP header")));
    };
    if size == 0 {
        // There is no last chunk to withhold: ours goes first.
        let content = native.ingest(body, integrity).await.map_err(OriginError::certain)?;
        return settle(native, Ok(content), write(0, Body::empty()).await).await;
    }
    let (local, origin, verdict) = tee(body);
    let ingest = async {
        let content = native.ingest(local, integrity).await;
        if content.is_ok() {
            // The pump may be gone because the origin gave up: its answer tells.
            let _ = verdict.send(());
        }
        content
    };
    let (content, written) = tokio::join!(ingest, write(size, origin));
    settle(native, content, written).await
}

async fn settle<T>(native: &Native, content: Result<Content>, written: OriginResult<T>) -> OriginResult<(Content, T)> {
    match (content, written) {
        (Ok(content), Ok(written)) => Ok((content, written)),
        (Ok(content), Err(error)) => {
            native.discard(content).await;
            Err(error)
        }
        // Ours was given up because the origin had failed: the origin's word is the reason.
        (Err(ours), Err(theirs)) if ours.kind() == ErrorKind::Cancelled => Err(theirs),
        (Err(ours), _) => Err(OriginError::certain(ours)),
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

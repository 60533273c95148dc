//! A body whose last chunk is withheld until it is let go: what is sent does not become an object before.

use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::sync::oneshot;
use umbra_core::{Body, BodyStream, Error, ErrorKind, Result};

/// The other end of a held body.
#[derive(Debug)]
pub(crate) struct Hold {
    /// Fires when everything but the last chunk has been taken. Is dropped when the body fails, or nobody reads it any more.
    pub(crate) reached: oneshot::Receiver<()>,
    /// Lets the last chunk go. Dropped, it breaks the body off.
    pub(crate) release: oneshot::Sender<()>,
}

struct Held {
    stream: BodyStream,
    chunk: Option<Bytes>,
    gate: Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>,
}

/// Holds `body`, which must not be empty.
pub(crate) fn hold(body: Body) -> (Body, Hold) {
    let (reached_sender, reached) = oneshot::channel();
    let (release, release_receiver) = oneshot::channel();
    let size = body.size();
    let held = Held { stream: body.into_stream(), chunk: None, gate: Some((reached_sender, release_receiver)) };
    (Body::new(size, stream::unfold(held, next)), Hold { reached, release })
}

async fn next(mut held: Held) -> Option<(Result<Bytes>, Held)> {
    loop {
        match held.stream.next().await {
            Some(Ok(chunk)) if chunk.is_empty() => {}
            Some(Ok(chunk)) => {
                if let Some(earlier) = held.chunk.replace(chunk) {
                    return Some((Ok(earlier), held));
                }
            }
            Some(Err(error)) => {
                (held.chunk, held.gate) = (None, None);
                return Some((Err(error), held));
            }
            None => {
                let (last, (reached, release)) = (held.chunk.take()?, held.gate.take()?);
                // Whoever does not wait any more drops the other end as well.
                let _ = reached.send(());
                let given_up = || Error::new(ErrorKind::Cancelled, "the copy was given up");
                return Some((release.await.map(|()| last).map_err(|_| given_up()), held));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{StreamExt, stream};
    use umbra_core::{Body, Error, ErrorKind};

    use super::hold;

    fn body(chunks: &[&'static str]) -> Body {
        let size = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Body::new(Some(size), stream::iter(chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect::<Vec<_>>()))
    }

    #[tokio::test]
    async fn the_last_chunk_comes_when_it_is_let_go() {
        for chunks in [&["a"][..], &["a", "b"], &["a", "", "b", ""]] {
            let (held, hold) = hold(body(chunks));
            let reader = tokio::spawn(held.collect(100));
            hold.reached.await.unwrap();
            assert!(!reader.is_finished());
            hold.release.send(()).unwrap();
            assert_eq!(reader.await.unwrap().unwrap(), chunks.concat());
        }
    }

    #[tokio::test]
    async fn a_body_that_is_not_let_go_breaks_off() {
        let (held, hold) = hold(body(&["a", "b"]));
        let mut stream = held.into_stream();
        assert_eq!(stream.next().await.unwrap().unwrap(), "a");
        drop(hold.release);
        assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn a_body_that_fails_never_asks_to_be_let_go() {
        let broken = Body::new(None, stream::iter([Ok(Bytes::from_static(b"a")), Err(Error::internal("x"))]));
        let (held, hold) = hold(broken);
        assert_eq!(held.collect(100).await.unwrap_err().kind(), ErrorKind::Internal);
        assert!(hold.reached.await.is_err());
    }
}

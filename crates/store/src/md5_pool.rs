//! MD5 of contents that come in at the same time, side by side on one core (see [`Md5Chain`]).
//!
//! No thread of its own, and nobody waits for company: who has gathered enough lays it down, lets every other task that can go on have its
//! turn, some of which lay down theirs, and then hashes what still lies there. The more there is to do, the more meet.

use std::{collections::VecDeque, mem, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{sync::oneshot, task::yield_now};
use umbra_core::{Error, MD5_LANES, Md5Chain, Result};

/// What is hashed at once of each: long enough that meeting costs nothing beside it, and four of them half a millisecond.
const BATCH_BYTES: usize = 256 * 1024;
/// Less is hashed at once and alone.
const SHARED_BYTES_MIN: usize = 16 * 1024;

/// Where those that hash meet.
#[derive(Clone, Debug, Default)]
pub struct Md5Pool(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    next_number: u64,
    /// In the order of their numbers.
    waiting: VecDeque<Waiting>,
}

/// What somebody laid down.
#[derive(Debug)]
struct Waiting {
    number: u64,
    chain: Md5Chain,
    chunks: Vec<Bytes>,
    hashed: oneshot::Sender<Md5Chain>,
}

/// The MD5 of one content so far.
#[derive(Debug)]
pub struct PooledMd5 {
    pool: Md5Pool,
    /// `None` once an update was dropped before its end.
    chain: Option<Md5Chain>,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
}

impl Md5Pool {
    /// Begins a content.
    pub fn md5(&self) -> PooledMd5 {
        PooledMd5 { pool: self.clone(), chain: Some(Md5Chain::default()), gathered: Vec::new(), gathered_bytes: 0 }
    }
}

impl PooledMd5 {
    /// Takes the next bytes, and keeps them until there are enough to hash.
    pub async fn update(&mut self, bytes: &Bytes) {
        self.gathered_bytes += bytes.len();
        self.gathered.push(bytes.clone());
        if self.gathered_bytes >= BATCH_BYTES {
            self.hash().await;
        }
    }

    /// The MD5 of everything taken. Fails if an update was dropped before its end.
    pub async fn finish(mut self) -> Result<[u8; 16]> {
        self.hash().await;
        self.chain.map(Md5Chain::finish).ok_or_else(|| Error::internal("hashing was interrupted"))
    }

    async fn hash(&mut self) {
        let (chunks, bytes) = (mem::take(&mut self.gathered), mem::take(&mut self.gathered_bytes));
        let Some(mut chain) = self.chain.take() else { return };
        if bytes < SHARED_BYTES_MIN {
            chunks.iter().for_each(|bytes| chain.update(bytes));
            self.chain = Some(chain);
            return;
        }
        let (place, hashed) = self.pool.lay_down(chain, chunks);
        yield_now().await;
        place.take_turn();
        self.chain = hashed.await.ok();
    }
}

impl Md5Pool {
    /// Lays down the next bytes of a content, whose chain comes back by the receiver. Somebody has to take the turn.
    pub(crate) fn lay_down(&self, chain: Md5Chain, chunks: Vec<Bytes>) -> (Place, oneshot::Receiver<Md5Chain>) {
        let (hashed, receiver) = oneshot::channel();
        let mut queue = self.0.lock();
        let number = queue.next_number;
        queue.next_number += 1;
        queue.waiting.push_back(Waiting { number, chain, chunks, hashed });
        drop(queue);
        (Place { pool: self.clone(), number }, receiver)
    }
}

/// A place in the queue. What lies there when it is dropped is taken back.
pub(crate) struct Place {
    pool: Md5Pool,
    number: u64,
}

impl Place {
    /// Hashes what lies here, unless somebody else does or did, and what others laid down.
    pub(crate) fn take_turn(self) {
        let Some(mine) = self.take() else { return };
        let mut turn = vec![mine];
        {
            let mut queue = self.pool.0.lock();
            let more = queue.waiting.len().min(MD5_LANES - 1);
            turn.extend(queue.waiting.drain(..more));
        }
        Md5Chain::update_together(turn.iter_mut().map(|Waiting { chain, chunks, .. }| (chain, &chunks[..])));
        for Waiting { chain, hashed, .. } in turn {
            // Who is gone needs none.
            let _ = hashed.send(chain);
        }
    }

    fn take(&self) -> Option<Waiting> {
        let mut queue = self.pool.0.lock();
        let at = queue.waiting.binary_search_by_key(&self.number, |waiting| waiting.number).ok()?;
        queue.waiting.remove(at)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.take());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use futures::{FutureExt, future::join_all};
    use md5::{Digest, Md5};
    use tokio::sync::Barrier;

    use super::{BATCH_BYTES, Md5Pool};

    fn content(size: usize, seed: usize) -> Bytes {
        (0..size).map(|at| (at * 31 + seed + at / 251) as u8).collect()
    }

    async fn digest(pool: Md5Pool, content: Bytes, piece: usize) -> [u8; 16] {
        let mut md5 = pool.md5();
        for at in (0..content.len()).step_by(piece) {
            md5.update(&content.slice(at..content.len().min(at + piece))).await;
        }
        md5.finish().await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn many_at_once_have_the_digests_that_they_have_alone() {
        let (pool, barrier) = (Md5Pool::default(), Arc::new(Barrier::new(20)));
        let all = (0..20).map(|at| {
            let (pool, barrier, content) = (pool.clone(), barrier.clone(), content(at * 100_003, at));
            tokio::spawn(async move {
                barrier.wait().await;
                let expected = <[u8; 16]>::from(Md5::digest(&content));
                assert_eq!(digest(pool, content, 1000 + 7777 * at).await, expected, "number {at}");
            })
        });
        for ended in join_all(all).await {
            ended.unwrap();
        }
        assert!(pool.0.lock().waiting.is_empty());
    }

    /// On one thread each lays down its own before the first hashes; whoever leaves takes its own along.
    #[tokio::test]
    async fn those_that_meet_are_hashed_by_the_first_and_who_leaves_leaves_nothing() {
        let pool = Md5Pool::default();
        let content = content(BATCH_BYTES, 5);
        let [mut first, mut second, mut gone] = [pool.md5(), pool.md5(), pool.md5()];
        let (mut a, mut b) = (Box::pin(first.update(&content)), Box::pin(second.update(&content)));
        let mut c = Box::pin(gone.update(&content));
        assert!(a.as_mut().now_or_never().is_none() && b.as_mut().now_or_never().is_none() && c.as_mut().now_or_never().is_none());
        assert_eq!(pool.0.lock().waiting.len(), 3);
        drop(c);
        assert_eq!(pool.0.lock().waiting.len(), 2);
        a.await;
        assert!(pool.0.lock().waiting.is_empty(), "the first did the work of the second");
        b.await;
        let expected = <[u8; 16]>::from(Md5::digest(&content));
        assert_eq!([first.finish().await.unwrap(), second.finish().await.unwrap()], [expected; 2]);
        assert!(gone.finish().await.is_err(), "a part of the content is missing from it");
    }
}

//! News: tells many that something changed. What changed they look up themselves.
//!
//! Tokio's watch channel does the same, but wakes those who wait in random order; here they are woken in the order in which they came, so that a
//! simulation of one seed is always the same.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;

/// Where news are told.
#[derive(Debug, Default)]
pub(crate) struct News(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    told: AtomicU64,
    waiting: Notify,
}

/// One who follows the news.
#[derive(Debug)]
pub(crate) struct Follower {
    shared: Arc<Shared>,
    heard: u64,
}

impl News {
    /// Tells that something changed.
    pub(crate) fn tell(&self) {
        self.0.told.fetch_add(1, Ordering::SeqCst);
        self.0.waiting.notify_waiters();
    }

    /// Follows the news from now on.
    pub(crate) fn follow(&self) -> Follower {
        Follower { shared: self.0.clone(), heard: self.0.told.load(Ordering::SeqCst) }
    }
}

impl Follower {
    /// Counts everything told so far as heard.
    pub(crate) fn catch_up(&mut self) {
        self.heard = self.shared.told.load(Ordering::SeqCst);
    }

    /// Waits until something changed since the last time this returned.
    pub(crate) async fn changed(&mut self) {
        loop {
            let told = self.shared.waiting.notified();
            // A waiter counts from here on, so nothing told after this look is missed.
            let now = self.shared.told.load(Ordering::SeqCst);
            if now != self.heard {
                self.heard = now;
                return;
            }
            told.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::News;

    #[tokio::test]
    async fn everybody_hears_once_what_was_told_since() {
        let news = News::default();
        let (mut one, mut other) = (news.follow(), news.follow());
        assert!(one.changed().now_or_never().is_none());
        news.tell();
        news.tell();
        for follower in [&mut one, &mut other] {
            assert!(follower.changed().now_or_never().is_some());
            assert!(follower.changed().now_or_never().is_none());
        }
        let mut late = news.follow();
        assert!(late.changed().now_or_never().is_none());
        let waits = tokio::spawn(async move { late.changed().await });
        tokio::task::yield_now().await;
        news.tell();
        waits.await.unwrap();
    }
}

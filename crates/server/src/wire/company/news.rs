//! What a node tells the one that leads, each second: where it has left work, and what is being read there for long.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use umbra_cluster::{Face, Leader, Node, Relay};
use umbra_core::{BucketName, Clock};
use umbra_meta::Partition;
use umbra_store::{EventBell, ReclaimHandle};

/// How often the node that leads is told what to look at.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// The largest message of that kind. Whoever has more to tell tells it next time.
pub(super) const NEWS_BYTES_MAX: usize = 4 * 1024 * 1024;
const NEWS_MAX: usize = 4096;
pub(super) const NEWS: &str = "/news";

/// What a node tells the one that leads: where it has left work.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct News {
    /// Buckets with events to deliver.
    events: Vec<String>,
    /// Partitions with blobs to reclaim.
    reclaim: Vec<u64>,
    /// Marks of blobs that are being read for long.
    #[serde(default)]
    pinned: Vec<u64>,
}

/// Where news come from, and go to.
#[derive(Clone)]
pub(in crate::wire) struct Ears {
    pub(in crate::wire) bell: EventBell,
    pub(in crate::wire) reclaim: ReclaimHandle,
    pub(in crate::wire) clock: Arc<dyn Clock>,
}

impl Ears {
    /// What is to be told.
    fn news(&self) -> News {
        let events = self.bell.take().into_iter().map(|bucket| bucket.to_string()).collect();
        let reclaim = self.reclaim.take_due(self.clock.now()).into_iter().map(|partition| partition.0).collect();
        News { events, reclaim, pinned: self.reclaim.long_pinned() }
    }

    /// Takes what the node `from` has told.
    pub(super) fn hear(&self, from: &str, news: News) {
        self.take(&news);
        self.reclaim.note_pinned(from, news.pinned);
    }

    /// Has the places that were told of looked at, here.
    fn take(&self, news: &News) {
        news.events.iter().filter_map(|bucket| BucketName::parse(bucket).ok()).for_each(|bucket| self.bell.ring(&bucket));
        let now = self.clock.now();
        news.reclaim.iter().for_each(|partition| self.reclaim.nudge(Partition(*partition), now));
    }

    /// Tells the node that leads, for as long as another does.
    pub(super) async fn tell_for_ever(&self, node: &Node, relay: &Relay) {
        let (mut leader, mut told_pinned) = (node.leader(), false);
        loop {
            // Whoever leads has workers of its own that listen.
            let known = leader.wait_for(|leader| matches!(leader, Leader::At { .. })).await.map(drop);
            if known.is_err() {
                return;
            }
            tokio::time::sleep(TELL_EVERY).await;
            if node.leads() {
                continue;
            }
            let mut news = self.news();
            // The rest is left for the next time.
            let rest = News {
                events: news.events.split_off(news.events.len().min(NEWS_MAX)),
                reclaim: news.reclaim.split_off(news.reclaim.len().min(NEWS_MAX)),
                pinned: Vec::new(),
            };
            self.take(&rest);
            // That nothing is read for long any more is news, too.
            let is_pinning = !news.pinned.is_empty();
            let has_news = is_pinning || told_pinned || !news.events.is_empty() || !news.reclaim.is_empty();
            if !has_news {
                continue;
            }
            if tell(relay, &news).await {
                told_pinned = is_pinning;
            } else {
                self.take(&news);
            }
        }
    }
}

async fn tell(relay: &Relay, news: &News) -> bool {
    let Ok(body) = serde_json::to_vec(news) else { return true };
    let Ok(request) = Request::builder().method(Method::POST).uri(NEWS).body(Full::new(Bytes::from(body))) else { return true };
    let told = relay.pass(request, Face::Node, "-").await;
    told.is_ok_and(|answer| answer.status() == StatusCode::OK)
}

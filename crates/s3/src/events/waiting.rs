//! The rows of a bucket's events that wait.

use std::collections::HashSet;

use umbra_core::Result;
use umbra_meta::{Batch, Entry, Error, Expect, MetaStore, Partition, Projection, counter_value, key};
use umbra_store::event::EVENTS;

/// Rows dropped at once.
const DROPPED_AT_ONCE: usize = 256;

/// What waits in one bucket.
pub(super) struct Waiting<'a> {
    pub(super) meta: &'a dyn MetaStore,
    pub(super) partition: Partition,
}

impl Waiting<'_> {
    /// The oldest rows that wait for `receiver`.
    pub(super) async fn oldest(&self, receiver: &str, limit: usize, projection: Projection) -> Result<Vec<Entry>> {
        Ok(self.meta.scan(self.partition, key::event_range(receiver), limit, projection).await?)
    }

    /// Drops the oldest rows of whoever is furthest behind until at most `most` wait. Tells how many went.
    pub(super) async fn drop_surplus(&self, most: u64) -> Result<u64> {
        let mut dropped = 0;
        loop {
            let surplus = self.count().await?.saturating_sub(most);
            if surplus == 0 {
                return Ok(dropped);
            }
            let Some(receiver) = self.furthest_behind().await? else { return Ok(dropped) };
            let limit = usize::try_from(surplus).unwrap_or(usize::MAX).min(DROPPED_AT_ONCE);
            dropped += self.take_away(self.oldest(&receiver, limit, Projection::Head).await?).await?;
        }
    }

    /// Drops the rows of `receiver` that are older than `oldest`, in milliseconds since 1970. Tells how many went.
    pub(super) async fn drop_older(&self, receiver: &str, oldest: u64) -> Result<u64> {
        let mut dropped = 0;
        loop {
            let mut rows = self.oldest(receiver, DROPPED_AT_ONCE, Projection::Head).await?;
            rows.retain(|row| key::parse_event(&row.key).is_none_or(|event| event.at_ms < oldest));
            if rows.is_empty() {
                return Ok(dropped);
            }
            dropped += self.take_away(rows).await?;
        }
    }

    /// Drops what waits for receivers that are none of `receivers`.
    pub(super) async fn drop_others(&self, receivers: &HashSet<String>) -> Result<()> {
        let mut range = key::all_events();
        while let Some(first) = self.meta.scan(self.partition, range.clone(), 1, Projection::Head).await?.pop() {
            let Some(event) = key::parse_event(&first.key) else { return Ok(()) };
            while !receivers.contains(&event.receiver) {
                let rows = self.oldest(&event.receiver, DROPPED_AT_ONCE, Projection::Head).await?;
                if rows.is_empty() {
                    break;
                }
                self.take_away(rows).await?;
            }
            let Some(behind) = key::event_range(&event.receiver).end else { return Ok(()) };
            range.start = behind;
        }
        Ok(())
    }

    /// Takes `rows` away, but for those that went meanwhile. Tells how many it took.
    pub(super) async fn take_away(&self, mut rows: Vec<Entry>) -> Result<u64> {
        while !rows.is_empty() {
            let mut batch = Batch::new(self.partition).check(key::settings(), Expect::Exists);
            for row in &rows {
                // With a check, so that the counter follows what is there, whoever else takes it away.
                batch = batch.check(row.key.to_vec(), Expect::Revision(row.revision)).delete(row.key.to_vec());
            }
            let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
            match self.meta.commit(batch.add(key::counter(EVENTS), -count)).await {
                Ok(_) => break,
                Err(Error::Conflict { key, .. }) if rows.iter().any(|row| row.key == key) => rows.retain(|row| row.key != key),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(rows.len() as u64)
    }

    async fn count(&self) -> Result<u64> {
        let counter = self.meta.get(self.partition, &key::counter(EVENTS)).await?;
        let count = counter.and_then(|counter| counter_value(&counter.head)).unwrap_or(0);
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// The receiver whose oldest row is the oldest of all.
    async fn furthest_behind(&self) -> Result<Option<String>> {
        let (mut range, mut oldest) = (key::all_events(), None);
        while let Some(first) = self.meta.scan(self.partition, range.clone(), 1, Projection::Head).await?.pop() {
            let Some(event) = key::parse_event(&first.key) else { break };
            let end = key::event_range(&event.receiver).end;
            if oldest.as_ref().is_none_or(|(at, _)| event.at_ms < *at) {
                oldest = Some((event.at_ms, event.receiver));
            }
            let Some(end) = end else { break };
            range.start = end;
        }
        Ok(oldest.map(|(_, receiver)| receiver))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use umbra_meta::{Batch, MemoryMetaStore, MetaStore, Partition, Projection, key};
    use umbra_store::event::EVENTS;

    use super::Waiting;

    const PARTITION: Partition = Partition(7);

    /// A bucket in which events wait: for whom, and since when.
    async fn bucket(events: &[(&str, u64)]) -> MemoryMetaStore {
        let meta = MemoryMetaStore::new();
        let mut batch = Batch::new(PARTITION).put(key::settings(), Bytes::new(), Bytes::new());
        for (salt, (receiver, at)) in (0..).zip(events) {
            batch = batch.put(key::event(receiver, *at, salt), Bytes::new(), Bytes::new()).add(key::counter(EVENTS), 1);
        }
        meta.commit(batch).await.unwrap();
        meta
    }

    async fn left(meta: &MemoryMetaStore) -> Vec<(String, u64)> {
        let rows = meta.scan(PARTITION, key::all_events(), 1000, Projection::Head).await.unwrap();
        let left: Vec<_> = rows.iter().map(|row| key::parse_event(&row.key).unwrap()).map(|event| (event.receiver, event.at_ms)).collect();
        let waiting = Waiting { meta, partition: PARTITION };
        assert_eq!(waiting.count().await.unwrap(), left.len() as u64, "the counter follows");
        left
    }

    fn rows(rows: &[(&str, u64)]) -> Vec<(String, u64)> {
        rows.iter().map(|(receiver, at)| ((*receiver).to_owned(), *at)).collect()
    }

    #[tokio::test]
    async fn a_surplus_is_dropped_from_whoever_is_behind() {
        let meta = bucket(&[("down", 1), ("down", 2), ("down", 3), ("down", 9), ("well", 8), ("well", 10)]).await;
        let waiting = Waiting { meta: &meta, partition: PARTITION };
        assert_eq!(waiting.drop_surplus(6).await.unwrap(), 0);
        assert_eq!(waiting.drop_surplus(4).await.unwrap(), 2);
        assert_eq!(left(&meta).await, rows(&[("down", 3), ("down", 9), ("well", 8), ("well", 10)]));
    }

    #[tokio::test]
    async fn a_large_surplus_goes_in_steps() {
        let many: Vec<_> = (0..600).map(|at| ("down", at)).chain([("well", 700)]).collect();
        let meta = bucket(&many).await;
        assert_eq!(Waiting { meta: &meta, partition: PARTITION }.drop_surplus(2).await.unwrap(), 599);
        assert_eq!(left(&meta).await, rows(&[("down", 599), ("well", 700)]));
    }

    #[tokio::test]
    async fn what_waits_too_long_is_dropped() {
        let meta = bucket(&[("a", 1), ("a", 2), ("a", 3), ("b", 1)]).await;
        assert_eq!(Waiting { meta: &meta, partition: PARTITION }.drop_older("a", 3).await.unwrap(), 2);
        assert_eq!(left(&meta).await, rows(&[("a", 3), ("b", 1)]));
    }

    #[tokio::test]
    async fn what_others_took_away_meanwhile_is_no_failure() {
        let meta = bucket(&[("a", 1), ("a", 2), ("a", 3)]).await;
        let waiting = Waiting { meta: &meta, partition: PARTITION };
        let seen = waiting.oldest("a", 10, Projection::Head).await.unwrap();
        waiting.take_away(seen[1..2].to_vec()).await.unwrap();
        assert_eq!(waiting.take_away(seen).await.unwrap(), 2);
        assert_eq!(left(&meta).await, []);
    }

    #[tokio::test]
    async fn receivers_that_are_gone_have_nothing() {
        let meta = bucket(&[("a", 1), ("b", 2), ("", 3)]).await;
        Waiting { meta: &meta, partition: PARTITION }.drop_others(&["b".to_owned()].into()).await.unwrap();
        assert_eq!(left(&meta).await, rows(&[("b", 2)]));
    }
}

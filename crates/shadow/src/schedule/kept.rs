//! The rows of orders, `a/<key>`: written before an order is acknowledged, dropped once it is carried out or has failed for good.
//!
//! There are never more of them than there are places in the queue. The next start of the same node queues again what it finds; nodes leave
//! each other's orders alone.

use bytes::Bytes;
use minicbor::{CborLen, Decode, Encode};
use umbra_core::{ErrorKind, ObjectKey, RequestContext, Result};
use umbra_meta::{Batch, Entry, Expect, Projection, key};
use umbra_store::Bucket;

use super::Place;
use crate::{
    Shadow,
    record::{decode, encode},
};

/// Rows read at once.
const PAGE: usize = 1000;

/// An object is to be brought here. Row `a/<key>`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub(crate) struct KeptOrder {
    /// The generation it belongs to.
    #[n(0)]
    pub(crate) generation: u64,
    /// When it was given, in milliseconds since 1970.
    #[n(1)]
    at: i64,
    /// The node that took it.
    #[n(2)]
    node: String,
}

/// The generation that the row of an order belongs to.
pub(crate) fn generation_of(row: &Entry) -> Result<u64> {
    Ok(decode::<KeptOrder>("order", &row.body)?.generation)
}

impl Shadow {
    /// Makes an order durable.
    pub(super) async fn keep_order(&self, bucket: &Bucket, key: &ObjectKey) -> Result<()> {
        let order =
            KeptOrder { generation: bucket.settings.generation, at: self.0.clock.now().as_millis(), node: self.0.jobs.node().to_owned() };
        let batch = Batch::new(bucket.partition).check(key::settings(), Expect::Exists);
        self.native().meta().commit(batch.put(key::order(key), Bytes::new(), encode(&order))).await?;
        Ok(())
    }

    /// Drops the row of an order. If it cannot be done now, the next start finds that there is nothing left to do.
    pub(super) async fn forget_order(&self, place: &Place) {
        if let Err(error) = self.try_forget_order(place).await
            && error.kind() != ErrorKind::Conflict
        {
            tracing::debug!(key = %place.2, error = ?error, "an order that was carried out is still kept");
        }
    }

    async fn try_forget_order(&self, (partition, generation, key): &Place) -> Result<()> {
        let row = key::order(key);
        let Some(entry) = self.native().meta().get(*partition, &row).await? else { return Ok(()) };
        // The same key may have been ordered again of a later shadow.
        if decode::<KeptOrder>("order", &entry.body)?.generation == *generation {
            let batch = Batch::new(*partition).check(key::settings(), Expect::Exists).check(row.clone(), Expect::Revision(entry.revision));
            self.native().meta().commit(batch.delete(row)).await?;
        }
        Ok(())
    }

    /// Queues the orders of a bucket that an earlier process of this node did not come to, as there are places for them.
    pub(crate) fn take_up_orders(&self, bucket: &Bucket) {
        let (shadow, bucket) = (self.clone(), bucket.clone());
        self.0.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = shadow.0.stopping.cancelled() => {}
                taken = shadow.take_up_orders_of(&bucket) => if let Err(error) = taken {
                    tracing::warn!(bucket = %bucket.name, error = ?error, "what was ordered before the restart waits for the next one");
                }
            }
        });
    }

    async fn take_up_orders_of(&self, bucket: &Bucket) -> Result<()> {
        let cx = RequestContext { request_id: "order".to_owned(), ..RequestContext::default() };
        let mut range = key::all_orders();
        loop {
            let rows = self.native().meta().scan(bucket.partition, range.clone(), PAGE, Projection::Full).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            range = range.after(&last.key);
            for key in self.orders_of_this_node(bucket, &rows)? {
                let place = self.0.schedule.places.clone().acquire_owned().await.expect("the places are never closed");
                self.enqueue(&cx, bucket, &key, place);
            }
        }
    }

    /// The keys that `rows` order, as far as they are for this node and of now.
    fn orders_of_this_node(&self, bucket: &Bucket, rows: &[Entry]) -> Result<Vec<ObjectKey>> {
        let mut keys = Vec::new();
        for row in rows {
            let order: KeptOrder = decode("order", &row.body)?;
            if order.generation == bucket.settings.generation && order.node == self.0.jobs.node() {
                keys.extend(key::parse_order(&row.key));
            }
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::KeptOrder;
    use crate::record::{decode, encode};

    /// The first format, written once and readable for ever.
    #[test]
    fn records_of_the_first_format_are_read() {
        let order = KeptOrder { generation: 7, at: 42, node: "n".into() };
        let golden: &[u8] = b"\x01\x83\x07\x18*an";
        assert_eq!(encode(&order), golden);
        assert_eq!(decode::<KeptOrder>("order", golden).unwrap(), order);
    }
}

//! Single flight: at most one transfer of a cold key at a time, which all its readers join.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use umbra_core::ObjectKey;
use umbra_meta::Partition;

use crate::transfer::{Transfer, Visit};

/// How many requests for ranges one bucket's transfers have under way at the origin.
const LANES: usize = 8;

/// The transfers under way.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    transfers: Mutex<HashMap<(Partition, ObjectKey), Arc<Transfer>>>,
    lanes: Mutex<HashMap<Partition, Arc<Semaphore>>>,
}

impl Flights {
    /// A visit to the transfer of `key`, and whether that is new, so that the caller has to run it. It is stopped together with `stopping`.
    pub(crate) fn join(&self, partition: Partition, key: &ObjectKey, stopping: &CancellationToken) -> (Visit, bool) {
        let mut transfers = self.transfers.lock();
        let place = (partition, key.clone());
        if let Some(visit) = transfers.get(&place).and_then(Transfer::enter) {
            return (visit, false);
        }
        let transfer = Arc::new(Transfer::new(stopping.child_token()));
        transfers.insert(place, transfer.clone());
        (transfer.enter().expect("a new transfer has not ended"), true)
    }

    /// Whether a transfer of `key` is under way.
    pub(crate) fn is_under_way(&self, partition: Partition, key: &ObjectKey) -> bool {
        self.transfers.lock().contains_key(&(partition, key.clone()))
    }

    /// Takes `transfer` out, if it is the one under way.
    pub(crate) fn leave(&self, partition: Partition, key: &ObjectKey, transfer: &Arc<Transfer>) {
        if let Entry::Occupied(flight) = self.transfers.lock().entry((partition, key.clone()))
            && Arc::ptr_eq(flight.get(), transfer)
        {
            flight.remove();
        }
    }

    /// Lets later readers start a transfer of their own: what the origin holds is about to change.
    pub(crate) fn forget(&self, partition: Partition, key: &ObjectKey) {
        self.transfers.lock().remove(&(partition, key.clone()));
    }

    /// The places for requests for ranges that the transfers of a bucket share.
    pub(crate) fn lanes(&self, partition: Partition) -> Arc<Semaphore> {
        self.lanes.lock().entry(partition).or_insert_with(|| Arc::new(Semaphore::new(LANES))).clone()
    }

    /// Stops every transfer of a bucket.
    pub(crate) fn cancel(&self, partition: Partition) {
        self.lanes.lock().remove(&partition);
        self.transfers.lock().retain(|(of, _), transfer| {
            if *of == partition {
                transfer.cancel.cancel();
            }
            *of != partition
        });
    }
}

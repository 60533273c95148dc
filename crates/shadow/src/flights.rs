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

/// A transfer under way, and the shadows that the request had passed which began it: the origin is told of them.
#[derive(Debug)]
struct Flight {
    transfer: Arc<Transfer>,
    path: Vec<String>,
}

/// A visit to a transfer.
pub(crate) struct Joined {
    pub(crate) visit: Visit,
    /// Nobody had begun it: the caller has to run it.
    pub(crate) is_new: bool,
    /// It was begun by a request that had passed other shadows. If the origin refuses it, that may be for those.
    pub(crate) is_of_another_path: bool,
}

/// The transfers under way.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    transfers: Mutex<HashMap<(Partition, ObjectKey), Flight>>,
    lanes: Mutex<HashMap<Partition, Arc<Semaphore>>>,
}

impl Flights {
    /// A visit to the transfer of `key` by a request that has passed `path`. A new one is stopped together with `stopping`.
    pub(crate) fn join(&self, partition: Partition, key: &ObjectKey, path: &[String], stopping: &CancellationToken) -> Joined {
        let mut transfers = self.transfers.lock();
        let place = (partition, key.clone());
        if let Some(flight) = transfers.get(&place)
            && let Some(visit) = flight.transfer.enter()
        {
            return Joined { visit, is_new: false, is_of_another_path: flight.path != path };
        }
        let transfer = Arc::new(Transfer::new(stopping.child_token()));
        transfers.insert(place, Flight { transfer: transfer.clone(), path: path.to_vec() });
        let visit = transfer.enter().expect("a new transfer has not ended");
        Joined { visit, is_new: true, is_of_another_path: false }
    }

    /// Whether a transfer of `key` is under way.
    pub(crate) fn is_under_way(&self, partition: Partition, key: &ObjectKey) -> bool {
        self.transfers.lock().contains_key(&(partition, key.clone()))
    }

    /// Takes `transfer` out, if it is the one under way.
    pub(crate) fn leave(&self, partition: Partition, key: &ObjectKey, transfer: &Arc<Transfer>) {
        if let Entry::Occupied(flight) = self.transfers.lock().entry((partition, key.clone()))
            && Arc::ptr_eq(&flight.get().transfer, transfer)
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
        self.transfers.lock().retain(|(of, _), flight| {
            if *of == partition {
                flight.transfer.cancel.cancel();
            }
            *of != partition
        });
    }
}

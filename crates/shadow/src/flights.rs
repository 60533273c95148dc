//! Single flight: at most one transfer of a cold key at a time, which all its readers join.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use umbra_core::ObjectKey;
use umbra_meta::Partition;

use crate::transfer::{End, Sizes, Transfer, Visit};

/// How many requests for ranges one bucket's transfers have under way at the origin.
const LANES: usize = 8;

/// The transfer of a key, and those before it that may still be under way for readers of their own.
#[derive(Debug, Default)]
struct Flight {
    current: Option<Arc<Transfer>>,
    earlier: Vec<Arc<Transfer>>,
    /// The shadows that the request had passed which began the current one: the origin is told of them.
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

/// Transfers that have ended, or were stopped, and are yet to land.
#[derive(Debug)]
pub(crate) struct Earlier(Vec<Arc<Transfer>>);

impl Earlier {
    /// Waits until what they leave is as it stays.
    pub(crate) async fn land(self) {
        for transfer in self.0 {
            transfer.landed.cancelled().await;
        }
    }
}

/// The transfers under way.
#[derive(Debug)]
pub(crate) struct Flights {
    sizes: Sizes,
    /// In an order, so that they are stopped in that.
    transfers: Mutex<BTreeMap<(Partition, ObjectKey), Flight>>,
    /// Those out of `transfers` that were still read then.
    outlived: Mutex<Vec<(Partition, ObjectKey, Weak<Transfer>)>>,
    lanes: Mutex<HashMap<Partition, Arc<Semaphore>>>,
}

impl Flights {
    /// None yet; their objects will be cut like this.
    pub(crate) fn new(sizes: Sizes) -> Self {
        Self { sizes, transfers: Mutex::default(), outlived: Mutex::default(), lanes: Mutex::default() }
    }

    /// A visit to the transfer of `key` by a request that has passed `path`, and what a new one has to wait for, which is stopped together with
    /// `stopping`.
    ///
    /// Only one transfer of a key at a time keeps its pieces by rows: one that begins while an earlier one still brings some does without, and
    /// one that begins while earlier ones only have to land waits for them, and goes on with what they leave.
    pub(crate) fn join(&self, partition: Partition, key: &ObjectKey, path: &[String], stopping: &CancellationToken) -> (Joined, Earlier) {
        let mut transfers = self.transfers.lock();
        let flight = transfers.entry((partition, key.clone())).or_default();
        if let Some(visit) = flight.current.as_ref().and_then(Transfer::enter) {
            return (Joined { visit, is_new: false, is_of_another_path: flight.path != path }, Earlier(Vec::new()));
        }
        flight.earlier.extend(flight.current.take());
        let is_kept = flight.earlier.iter().all(|earlier| earlier.brings_no_more());
        let landing = if is_kept { flight.earlier.clone() } else { Vec::new() };
        let transfer = Arc::new(Transfer::new(stopping.child_token(), is_kept, self.sizes));
        flight.current = Some(transfer.clone());
        path.clone_into(&mut flight.path);
        let visit = transfer.enter().expect("a new transfer has not ended");
        (Joined { visit, is_new: true, is_of_another_path: false }, Earlier(landing))
    }

    /// Takes the place of the transfer of `key`, as one that only has to land; `None` while there is a transfer, or readers of one. One that is
    /// begun meanwhile waits, and finds what is left.
    pub(crate) fn stand_in(&self, partition: Partition, key: &ObjectKey, stopping: &CancellationToken) -> Option<Arc<Transfer>> {
        let mut transfers = self.transfers.lock();
        if self.is_outlived(partition, key) {
            return None;
        }
        let Entry::Vacant(place) = transfers.entry((partition, key.clone())) else { return None };
        let transfer = Arc::new(Transfer::new(stopping.child_token(), false, self.sizes));
        transfer.finish(End::Superseded);
        place.insert(Flight { current: Some(transfer.clone()), ..Flight::default() });
        Some(transfer)
    }

    /// Takes `transfer`, which is over, out.
    pub(crate) fn leave(&self, partition: Partition, key: &ObjectKey, transfer: &Arc<Transfer>) {
        let mut transfers = self.transfers.lock();
        if transfer.has_readers() {
            let mut outlived = self.outlived.lock();
            outlived.retain(|(.., other)| other.strong_count() > 0);
            outlived.push((partition, key.clone(), Arc::downgrade(transfer)));
        }
        if let Entry::Occupied(mut flight) = transfers.entry((partition, key.clone())) {
            let Flight { current, earlier, .. } = flight.get_mut();
            current.take_if(|current| Arc::ptr_eq(current, transfer));
            earlier.retain(|other| !Arc::ptr_eq(other, transfer));
            if current.is_none() && earlier.is_empty() {
                flight.remove();
            }
        }
    }

    /// Whether there are pieces of `key` that a transfer's readers may still want, though no hydration names them.
    pub(crate) fn uses_pieces_of(&self, partition: Partition, key: &ObjectKey) -> bool {
        let transfers = self.transfers.lock();
        let flight = transfers.get(&(partition, key.clone()));
        let leaves = flight.is_some_and(|flight| flight.current.iter().chain(&flight.earlier).any(|transfer| transfer.is_leaving()));
        leaves || self.is_outlived(partition, key)
    }

    /// Whether a transfer of `key` that is over has readers yet.
    fn is_outlived(&self, partition: Partition, key: &ObjectKey) -> bool {
        self.outlived.lock().iter().any(|(of, read, transfer)| (*of, read) == (partition, key) && transfer.strong_count() > 0)
    }

    /// The transfers of `key` that are over and may have readers yet.
    pub(crate) fn outlived(&self, partition: Partition, key: &ObjectKey) -> Vec<Weak<Transfer>> {
        let outlived = self.outlived.lock();
        outlived.iter().filter(|(of, read, _)| (*of, read) == (partition, key)).map(|(.., transfer)| transfer.clone()).collect()
    }

    /// Lets later readers start a transfer of their own: what the origin holds is about to change. One that has not asked the origin yet is as
    /// good as that, and asked besides it would bring the same bytes twice.
    pub(crate) fn forget(&self, partition: Partition, key: &ObjectKey) {
        if let Some(flight) = self.transfers.lock().get_mut(&(partition, key.clone())) {
            flight.earlier.extend(flight.current.take_if(|current| current.has_asked()));
        }
    }

    /// The places for requests for ranges that the transfers of a bucket share.
    pub(crate) fn lanes(&self, partition: Partition) -> Arc<Semaphore> {
        self.lanes.lock().entry(partition).or_insert_with(|| Arc::new(Semaphore::new(LANES))).clone()
    }

    /// Stops every transfer of a bucket.
    pub(crate) fn cancel(&self, partition: Partition) {
        self.lanes.lock().remove(&partition);
        for (_, flight) in self.transfers.lock().iter_mut().filter(|((of, _), _)| *of == partition) {
            flight.earlier.extend(flight.current.take());
            flight.earlier.iter().for_each(|transfer| transfer.cancel.cancel());
        }
    }
}

//! Which records are being read, so that a delete waits for the last reader.

use std::collections::{HashMap, hash_map::Entry};

use parking_lot::Mutex;

use super::address::RecordAddress;

/// Records that are being read or freed.
#[derive(Debug, Default)]
pub(super) struct Pins(Mutex<HashMap<Place, Pin>>);

type Place = (u32, u32);

#[derive(Debug, Default)]
struct Pin {
    readers: usize,
    /// It is deleted: no new reader is let in, and it is freed when the last one has left.
    doomed: bool,
}

impl Pins {
    /// Lets a reader in; `false` if the record is deleted.
    pub(super) fn enter(&self, record: &RecordAddress) -> bool {
        let mut pins = self.0.lock();
        let pin = pins.entry(place(record)).or_default();
        pin.readers += usize::from(!pin.doomed);
        !pin.doomed
    }

    /// Lets a reader out. `true` if the caller must now free the record and then call [`Pins::forget`].
    pub(super) fn leave(&self, record: &RecordAddress) -> bool {
        let mut pins = self.0.lock();
        let Entry::Occupied(mut pin) = pins.entry(place(record)) else { return false };
        pin.get_mut().readers -= 1;
        let is_last = pin.get().readers == 0;
        if is_last && !pin.get().doomed {
            pin.remove();
            return false;
        }
        is_last
    }

    /// Shuts the record to new readers. `true` if the caller must free it and then call [`Pins::forget`]; otherwise somebody else will.
    pub(super) fn doom(&self, record: &RecordAddress) -> bool {
        match self.0.lock().entry(place(record)) {
            Entry::Vacant(vacant) => {
                vacant.insert(Pin { readers: 0, doomed: true });
                true
            }
            Entry::Occupied(mut pin) => {
                pin.get_mut().doomed = true;
                false
            }
        }
    }

    /// Ends what [`Pins::doom`] or [`Pins::leave`] asked for.
    pub(super) fn forget(&self, record: &RecordAddress) {
        self.0.lock().remove(&place(record));
    }
}

const fn place(record: &RecordAddress) -> Place {
    (record.segment, record.offset)
}

#[cfg(test)]
mod tests {
    use super::Pins;
    use crate::disk::address::RecordAddress;

    const RECORD: RecordAddress = RecordAddress { segment: 1, offset: 2, length: 3, nonce: [4; 16] };

    #[test]
    fn the_last_reader_frees_what_was_deleted() {
        let pins = Pins::default();
        assert!(pins.enter(&RECORD) && pins.enter(&RECORD));
        assert!(!pins.doom(&RECORD), "two readers are in");
        assert!(!pins.enter(&RECORD), "deleted");
        assert!(!pins.leave(&RECORD), "one is left");
        assert!(pins.leave(&RECORD));
        pins.forget(&RECORD);
        assert!(pins.0.lock().is_empty());
    }

    #[test]
    fn a_record_nobody_reads_is_freed_by_one_who_deletes() {
        let pins = Pins::default();
        assert!(pins.enter(&RECORD));
        assert!(!pins.leave(&RECORD), "nobody deleted it");
        assert!(pins.doom(&RECORD));
        assert!(!pins.doom(&RECORD), "the other one does it");
        assert!(!pins.enter(&RECORD));
        pins.forget(&RECORD);
        assert!(pins.0.lock().is_empty());
    }
}

//! A bounded memory of what was used lately.

use std::{collections::HashMap, mem};

use umbra_blob::BlobId;

/// What is remembered of blobs, in two generations: the older one goes when the younger one is full.
#[derive(Debug)]
pub(super) struct Lately<V> {
    young: HashMap<BlobId, V>,
    old: HashMap<BlobId, V>,
    max: usize,
}

impl<V: Clone> Lately<V> {
    /// Remembers at most `max` blobs in each generation.
    pub(super) fn new(max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), max }
    }

    pub(super) fn get(&mut self, id: &BlobId) -> Option<V> {
        if let Some(value) = self.young.get(id) {
            return Some(value.clone());
        }
        let value = self.old.remove(id)?;
        self.put(id, value.clone());
        Some(value)
    }

    pub(super) fn put(&mut self, id: &BlobId, value: V) {
        if self.young.len() >= self.max && !self.young.contains_key(id) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(id.clone(), value);
    }

    /// All that is remembered.
    pub(super) fn into_all(mut self) -> HashMap<BlobId, V> {
        self.old.extend(self.young);
        self.old
    }

    pub(super) fn remove(&mut self, id: &BlobId) {
        self.young.remove(id);
        self.old.remove(id);
    }
}

//! What a commit has to add to its batch so that its change is told.

use std::sync::Arc;

use bytes::Bytes;
use umbra_core::{BucketName, ObjectKey, VersionId};
use umbra_meta::{Batch, Write, key};

use super::{EVENTS, Event, EventKind, EventOrder};
use crate::{Bucket, Extras, record};

/// Whom to tell of a change to a key, and how to call it. [`crate::Native`] makes it.
#[derive(Clone, Debug)]
pub struct Telling {
    pub(crate) bucket: BucketName,
    extras: Arc<Extras>,
    key: ObjectKey,
    /// What it is called when an object is put.
    created: EventKind,
    /// What it is called when one is deleted.
    removed: EventKind,
    order: EventOrder,
    /// The version that is removed, where it is not the object that changes.
    version: Option<VersionId>,
}

impl Telling {
    /// Prepares to tell of a change to `key`; nothing where nobody is told of anything.
    pub(crate) fn of(bucket: &Bucket, key: &ObjectKey, created: EventKind, removed: EventKind, order: &EventOrder) -> Option<Self> {
        let extras = &bucket.settings.extras;
        extras.tells().then(|| Self {
            bucket: bucket.name.clone(),
            extras: Arc::clone(extras),
            key: key.clone(),
            created,
            removed,
            order: order.clone(),
            version: None,
        })
    }

    /// Tells that `version` is removed, whatever else becomes of the key.
    pub(crate) fn of_version(self, version: VersionId) -> Self {
        Self { version: Some(version), ..self }
    }

    /// Adds the events of what `batch` does to the key, which is made of what was read of it by now. Tells whether there are any.
    pub(crate) fn tell(&self, batch: &mut Batch) -> bool {
        let Some(event) = self.event(batch) else { return false };
        let receivers = self.extras.receivers(event.kind, self.key.as_str());
        let rows: Vec<_> = receivers.map(|receiver| event.row(receiver)).collect();
        let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        let puts = rows.into_iter().map(|key| Write::Put { key, head: Bytes::new(), body: event.encode() });
        batch.writes.extend(puts);
        if count > 0 {
            batch.writes.push(Write::Add { key: key::counter(EVENTS), delta: count });
        }
        count > 0
    }

    fn event(&self, batch: &Batch) -> Option<Event> {
        let row = key::object(&self.key);
        let place = self.order.next();
        let blank = Event { kind: self.removed, key: self.key.clone(), at: place.at(), place, size: None, etag: None, version: None };
        if let Some(version) = self.version {
            return Some(Event { version: Some(version.to_string()), ..blank });
        }
        let history = key::history(&self.key);
        batch.writes.iter().find_map(|write| match write {
            Write::Put { key, head, .. } if key.len() > history.len() && key.starts_with(&history) => {
                let head = record::object::decode_head(head).ok()?;
                let version = Some(head.version.id().to_string());
                head.version.is_marker.then(|| Event { kind: self.created, at: head.last_modified, version, ..blank.clone() })
            }
            Write::Put { key, head, .. } if *key == row => {
                let head = record::object::decode_head(head).ok()?;
                let (kind, at) = (self.created, head.last_modified);
                let version = head.version.nonce.map(|_| head.version.id().to_string());
                Some(Event { kind, at, size: Some(head.size), etag: Some(head.etag), version, ..blank.clone() })
            }
            Write::Delete { key } if *key == row => Some(blank.clone()),
            _ => None,
        })
    }
}

//! Events: what of a change is told to those whom a bucket's settings have told of it.
//!
//! An event for a receiver is a row `e/` in the bucket's partition, written in the batch of the change itself: a change that was
//! acknowledged is told, whatever happens in between, and one that was not is not. Whoever delivers it deletes the row. A bucket
//! that tells nobody writes none and reads nothing for it.
//!
//! # Order
//! The events of a key are told in the order of its changes. A change takes its place ([`EventPlace`]) after it read what it replaces, and
//! is committed only if that is still there: whatever came before it had its place earlier. Places do not go back with the clock while the
//! server runs.

mod bell;
mod order;
mod row;
mod telling;

use umbra_core::{ETag, ObjectKey, Timestamp};

pub use self::bell::{EventBell, TestEvent};
pub(crate) use self::order::EventOrder;
pub use self::order::EventPlace;
pub use self::telling::Telling;
use crate::{EventHook, Extras};

/// The receiver that Tigris's settings name. Those of S3's configuration have names that are not empty.
pub const TIGRIS_RECEIVER: &str = "";
/// The counter of events that wait.
pub const EVENTS: &str = "events";

/// How an object came to be put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// By a PUT.
    #[default]
    Put,
    /// By an HTML form.
    Post,
    /// As a copy.
    Copy,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// An object was put.
    Put,
    /// An object was posted.
    Post,
    /// An object was copied.
    Copy,
    /// An upload was completed.
    CompleteUpload,
    /// An object was deleted for good.
    Delete,
    /// A delete marker was put before the versions of an object.
    DeleteMarker,
    /// A lifecycle rule deleted an object for good.
    Expired,
    /// A lifecycle rule put a delete marker.
    ExpiredWithMarker,
}

/// One event for one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// To which key.
    pub key: ObjectKey,
    /// When.
    pub at: Timestamp,
    /// Where it stands among others. The key of its row says so.
    pub place: EventPlace,
    /// Bytes of what is there now.
    pub size: Option<u64>,
    /// The ETag of what is there now.
    pub etag: Option<ETag>,
    /// The version that came or went, where there are versions.
    pub version: Option<String>,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 8] =
        [Self::Put, Self::Post, Self::Copy, Self::CompleteUpload, Self::Delete, Self::DeleteMarker, Self::Expired, Self::ExpiredWithMarker];

    /// What S3 calls it, without `s3:`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Put => "ObjectCreated:Put",
            Self::Post => "ObjectCreated:Post",
            Self::Copy => "ObjectCreated:Copy",
            Self::CompleteUpload => "ObjectCreated:CompleteMultipartUpload",
            Self::Delete => "ObjectRemoved:Delete",
            Self::DeleteMarker => "ObjectRemoved:DeleteMarkerCreated",
            Self::Expired => "LifecycleExpiration:Delete",
            Self::ExpiredWithMarker => "LifecycleExpiration:DeleteMarkerCreated",
        }
    }

    /// Whether it is one of those that `name` names, as `s3:ObjectCreated:*`.
    pub fn is_named_by(self, name: &str) -> bool {
        let Some(name) = name.strip_prefix("s3:") else { return false };
        name.strip_suffix('*').map_or_else(|| name == self.name(), |family| self.name().starts_with(family))
    }

    /// Whether an object is there that was not.
    pub const fn is_creation(self) -> bool {
        matches!(self, Self::Put | Self::Post | Self::Copy | Self::CompleteUpload)
    }
}

impl From<Cause> for EventKind {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Put => Self::Put,
            Cause::Post => Self::Post,
            Cause::Copy => Self::Copy,
        }
    }
}

impl Event {
    /// Where it waits for `receiver`: behind what it was told earlier.
    pub fn row(&self, receiver: &str) -> Vec<u8> {
        umbra_meta::key::event(receiver, self.place.at_ms, self.place.number)
    }

    /// What S3 calls its sequencer: of two events of one key the later has the greater.
    pub fn sequencer(&self) -> String {
        format!("{:016X}{:016X}", self.place.at_ms, self.place.number)
    }
}

impl EventHook {
    /// Whether it is told of a change of `kind` to `key`.
    pub fn wants(&self, kind: EventKind, key: &str) -> bool {
        self.events.iter().any(|name| kind.is_named_by(name))
            && self.prefix.as_deref().is_none_or(|prefix| key.starts_with(prefix))
            && self.suffix.as_deref().is_none_or(|suffix| key.ends_with(suffix))
    }
}

impl Extras {
    /// Whether anybody is told of anything.
    pub fn tells(&self) -> bool {
        !self.event_hooks.is_empty() || self.notifications.as_ref().is_some_and(|notifications| notifications.enabled)
    }

    /// The receivers of a change of `kind` to `key`, by name.
    fn receivers<'a>(&'a self, kind: EventKind, key: &'a str) -> impl Iterator<Item = &'a str> {
        let tigris = self.notifications.as_ref().filter(|notifications| notifications.enabled).map(|_| TIGRIS_RECEIVER);
        self.event_hooks.iter().filter(move |hook| hook.wants(kind, key)).map(|hook| hook.id.as_str()).chain(tigris)
    }
}

#[cfg(test)]
mod tests {
    use super::EventKind;
    use crate::{EventHook, EventHookKind};

    #[test]
    fn names_name_one_kind_or_a_family() {
        let named = |name: &str| EventKind::ALL.iter().filter(|kind| kind.is_named_by(name)).count();
        let cases = [
            ("s3:ObjectCreated:*", 4),
            ("s3:ObjectCreated:Put", 1),
            ("s3:ObjectRemoved:*", 2),
            ("s3:LifecycleExpiration:*", 2),
            ("s3:ObjectRestore:*", 0),
            ("ObjectCreated:Put", 0),
            ("s3:ObjectCreated:Pu", 0),
        ];
        for (name, expected) in cases {
            assert_eq!(named(name), expected, "{name}");
        }
    }

    #[test]
    fn hooks_choose_by_kind_prefix_and_suffix() {
        let hook = EventHook {
            id: "h".to_owned(),
            kind: EventHookKind::Queue,
            arn: String::new(),
            events: vec!["s3:ObjectCreated:*".to_owned()],
            prefix: Some("in/".to_owned()),
            suffix: Some(".jpg".to_owned()),
        };
        assert!(hook.wants(EventKind::Copy, "in/a.jpg"));
        assert!(!hook.wants(EventKind::Delete, "in/a.jpg"));
        assert!(!hook.wants(EventKind::Put, "out/a.jpg"));
        assert!(!hook.wants(EventKind::Put, "in/a.png"));
    }
}

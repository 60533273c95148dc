//! `e/<receiver><at><salt>`: an event that waits for its receiver.

use bytes::Bytes;
use minicbor::{Decode, Encode};
use umbra_core::{ETag, Error, ObjectKey, Result, Timestamp};
use umbra_meta::{Entry, key};

use super::{Event, EventKind, EventPlace};
use crate::record;

const WHAT: &str = "an event";
const VERSION: u8 = 1;

#[derive(Encode, Decode)]
struct Record<'b> {
    #[n(0)]
    kind: Kind,
    #[b(1)]
    key: &'b str,
    #[n(2)]
    at: i64,
    #[n(3)]
    size: Option<u64>,
    #[b(4)]
    etag: Option<&'b str>,
    #[b(5)]
    version: Option<&'b str>,
}

#[derive(Clone, Copy, Encode, Decode)]
#[cbor(index_only)]
enum Kind {
    #[n(0)]
    Put,
    #[n(1)]
    Post,
    #[n(2)]
    Copy,
    #[n(3)]
    CompleteUpload,
    #[n(4)]
    Delete,
    #[n(5)]
    DeleteMarker,
    #[n(6)]
    Expired,
    #[n(7)]
    ExpiredWithMarker,
}

impl Event {
    /// What stands in its row.
    pub(super) fn encode(&self) -> Bytes {
        let record = Record {
            kind: self.kind.into(),
            key: self.key.as_str(),
            at: self.at.as_millis(),
            size: self.size,
            etag: self.etag.as_ref().map(ETag::as_str),
            version: self.version.as_deref(),
        };
        record::encode(VERSION, &record)
    }

    /// The event that `entry` holds.
    pub fn decode(entry: &Entry) -> Result<Self> {
        match record::split(WHAT, &entry.body)? {
            (VERSION, cbor) => {
                let record: Record<'_> = record::decode(WHAT, cbor)?;
                let place = key::parse_event(&entry.key).map(|place| EventPlace { at_ms: place.at_ms, number: place.salt });
                Ok(Self {
                    kind: record.kind.into(),
                    key: ObjectKey::parse(record.key)?,
                    at: Timestamp::from_millis(record.at),
                    place: place.ok_or_else(|| Error::internal("the row of an event has another key"))?,
                    size: record.size,
                    etag: record.etag.map(ETag::parse),
                    version: record.version.map(str::to_owned),
                })
            }
            (version, _) => Err(record::unknown_version(WHAT, version)),
        }
    }
}

/// Writes both conversions of kinds.
macro_rules! kinds {
    ($($name:ident),*) => {
        impl From<EventKind> for Kind {
            fn from(kind: EventKind) -> Self {
                match kind {
                    $(EventKind::$name => Self::$name,)*
                }
            }
        }

        impl From<Kind> for EventKind {
            fn from(kind: Kind) -> Self {
                match kind {
                    $(Kind::$name => Self::$name,)*
                }
            }
        }
    };
}

kinds!(Put, Post, Copy, CompleteUpload, Delete, DeleteMarker, Expired, ExpiredWithMarker);

#[cfg(test)]
mod tests {
    use umbra_core::{ETag, ObjectKey, Timestamp};
    use umbra_meta::{Entry, Revision};

    use crate::{
        event::{Event, EventKind, EventPlace},
        record::golden,
    };

    fn event() -> Event {
        Event {
            kind: EventKind::CompleteUpload,
            key: ObjectKey::parse("a/é").unwrap(),
            at: Timestamp::from_millis(1_896_048_000_000),
            place: EventPlace { at_ms: 1_896_048_000_007, number: 9 },
            size: Some(7),
            etag: Some(ETag::parse("aa-2")),
            version: Some("v".to_owned()),
        }
    }

    fn decode(bytes: &[u8]) -> umbra_core::Result<Event> {
        Event::decode(&Entry {
            key: event().row("a receiver").into(),
            revision: Revision(1),
            head: b"".as_slice().into(),
            body: bytes.to_vec().into(),
        })
    }

    #[test]
    fn every_released_format_is_read() {
        let golden = golden::check("event/v1", Some(&event().encode()));
        assert_eq!(decode(&golden).unwrap(), event());
    }

    #[test]
    fn sequencers_follow_places() {
        let place = |at_ms, number| Event { place: EventPlace { at_ms, number }, ..event() }.sequencer();
        assert!(place(15, u64::MAX) < place(16, 0) && place(16, 9) < place(16, 10));
    }

    #[test]
    fn damage_is_refused() {
        let whole = event().encode();
        golden::check_refusals(&whole, decode);
    }
}

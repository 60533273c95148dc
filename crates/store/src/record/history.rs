//! `v/<key>`: what is to be known of a key's versions before any of them changes. All of it is in the body.

use bytes::Bytes;
use umbra_core::Result;

use crate::native::History;

const WHAT: &str = "a history";
const VERSION: u8 = 1;

/// The body of the record that holds `history`.
pub(crate) fn encode(history: History) -> Bytes {
    super::encode(VERSION, &v1::History { last: history.last, null: history.null, count: history.count })
}

/// The history that `body` holds.
pub(crate) fn decode(body: &[u8]) -> Result<History> {
    match super::split(WHAT, body)? {
        (VERSION, cbor) => {
            let v1::History { last, null, count } = super::decode(WHAT, cbor)?;
            Ok(History { last, null, count })
        }
        (version, _) => Err(super::unknown_version(WHAT, version)),
    }
}

mod v1 {
    use minicbor::{Decode, Encode};

    #[derive(Encode, Decode)]
    pub(super) struct History {
        #[n(0)]
        pub(super) last: u64,
        #[n(1)]
        pub(super) null: Option<u64>,
        #[n(2)]
        pub(super) count: u64,
    }
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use crate::{native::History, record::golden};

    #[test]
    fn every_released_format_is_read() {
        for (name, null) in [("history/v1", Some(7)), ("history/v1-named", None)] {
            let history = History { last: 1_700_000_000_123, null, count: 3 };
            let body = golden::check(name, Some(&encode(history)));
            assert_eq!(decode(&body).unwrap(), history);
            golden::check_refusals(&body, decode);
        }
    }
}

//! Root `T/<name>`: an organization. All of it is in the body.

use bytes::Bytes;
use minicbor::{Decode, Encode};
use umbra_core::{Result, Timestamp};

const WHAT: &str = "an organization";
const VERSION: u8 = 1;

#[derive(Encode, Decode)]
struct V1 {
    #[n(0)]
    created: i64,
}

/// The body of the record of an organization that was created at `created`.
pub(crate) fn encode(created: Timestamp) -> Bytes {
    super::encode(VERSION, &V1 { created: created.as_millis() })
}

/// When the organization was created that `body` is the record of.
pub(crate) fn decode(body: &[u8]) -> Result<Timestamp> {
    match super::split(WHAT, body)? {
        (VERSION, cbor) => Ok(Timestamp::from_millis(super::decode::<V1>(WHAT, cbor)?.created)),
        (version, _) => Err(super::unknown_version(WHAT, version)),
    }
}

#[cfg(test)]
mod tests {
    use umbra_core::Timestamp;

    use super::{decode, encode};
    use crate::record::golden;

    #[test]
    fn every_released_format_is_read() {
        let created = Timestamp::from_millis(1_750_000_000_000);
        let golden = golden::check("organization/v1", Some(&encode(created)));
        assert_eq!(decode(&golden).unwrap(), created);
    }

    #[test]
    fn damage_is_refused() {
        golden::check_refusals(&encode(Timestamp::from_millis(1_750_000_000_000)), decode);
    }
}

//! Root `U/store`: which store this is. All of it is in the body.

use bytes::Bytes;
use minicbor::{Decode, Encode};
use umbra_core::{Result, SealedSecret};

const WHAT: &str = "the store's identity";
const VERSION: u8 = 1;

/// Which store this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreIdentityRecord {
    /// Its id.
    pub(crate) id: String,
    /// The id, sealed: whoever opens it has the key-encryption key that everything else is sealed with.
    pub(crate) proof: SealedSecret,
}

#[derive(Encode, Decode)]
struct V1 {
    #[n(0)]
    id: String,
    #[cbor(n(1), with = "minicbor::bytes")]
    proof: Vec<u8>,
}

impl StoreIdentityRecord {
    /// The body of the record.
    pub(crate) fn encode(&self) -> Bytes {
        super::encode(VERSION, &V1 { id: self.id.clone(), proof: self.proof.0.clone() })
    }

    /// The record that `body` holds.
    pub(crate) fn decode(body: &[u8]) -> Result<Self> {
        match super::split(WHAT, body)? {
            (VERSION, cbor) => {
                let V1 { id, proof } = super::decode(WHAT, cbor)?;
                Ok(Self { id, proof: SealedSecret(proof) })
            }
            (version, _) => Err(super::unknown_version(WHAT, version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use umbra_core::SealedSecret;

    use super::StoreIdentityRecord;
    use crate::record::golden;

    fn record() -> StoreIdentityRecord {
        StoreIdentityRecord { id: "0123456789abcdef".to_owned(), proof: SealedSecret(vec![1, 0, 255]) }
    }

    #[test]
    fn every_released_format_is_read() {
        let golden = golden::check("store_identity/v1", Some(&record().encode()));
        assert_eq!(StoreIdentityRecord::decode(&golden).unwrap(), record());
    }

    #[test]
    fn damage_is_refused() {
        golden::check_refusals(&record().encode(), StoreIdentityRecord::decode);
    }
}

//! `h/<key>/<piece>`: a piece of a hydration. The shadow writes it; it is read here so that a destroyed bucket frees its blob.

use minicbor::Decode;
use umbra_blob::BlobId;
use umbra_core::Result;

const WHAT: &str = "a piece";
const VERSION: u8 = 1;

#[derive(Decode)]
struct V1 {
    #[cbor(n(0), with = "minicbor::bytes")]
    blob: Vec<u8>,
}

/// The blob that holds the piece that `body` is the record of.
pub(crate) fn decode_blob(body: &[u8]) -> Result<BlobId> {
    match super::split(WHAT, body)? {
        (VERSION, cbor) => {
            let blob = super::decode::<V1>(WHAT, cbor)?.blob;
            if blob.len() > BlobId::BYTES_MAX { Err(super::corrupt(WHAT, "its blob is impossible")) } else { Ok(BlobId::from_bytes(&blob)) }
        }
        (version, _) => Err(super::unknown_version(WHAT, version)),
    }
}

#[cfg(test)]
mod tests {
    use umbra_blob::BlobId;

    use super::decode_blob;
    use crate::record::golden;

    #[test]
    fn what_the_shadow_writes_is_read() {
        let piece = golden::check("piece/v1", None);
        assert_eq!(decode_blob(&piece).unwrap(), BlobId::from_bytes(&[1, 2, 3]));
        golden::check_refusals(&piece, decode_blob);
    }
}

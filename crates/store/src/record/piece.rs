//! `h/<key>/<piece>`: a piece of a hydration. The shadow writes and drops it; a destroyed bucket frees its blob.

use minicbor::{CborLen, Decode, Encode};
use umbra_blob::BlobId;
use umbra_core::Result;

use crate::Extent;

const WHAT: &str = "a piece";
const VERSION: u8 = 1;

#[derive(Encode, Decode, CborLen)]
struct V1 {
    #[cbor(n(0), with = "minicbor::bytes")]
    blob: Vec<u8>,
    #[n(1)]
    size: u64,
    #[n(2)]
    offset: u64,
}

/// The record of a piece that `extent` holds and that begins at `offset` within the object.
pub fn encode_piece(extent: &Extent, offset: u64) -> Vec<u8> {
    super::encode(VERSION, &V1 { blob: extent.blob.as_bytes().to_vec(), size: extent.size, offset }).into()
}

/// The piece that `body` is the record of, and where it begins.
pub fn decode_piece(body: &[u8]) -> Result<(Extent, u64)> {
    match super::split(WHAT, body)? {
        (VERSION, cbor) => {
            let V1 { blob, size, offset } = super::decode(WHAT, cbor)?;
            if blob.len() > BlobId::BYTES_MAX || size == 0 || offset.checked_add(size).is_none() {
                return Err(super::corrupt(WHAT, "its place is impossible"));
            }
            Ok((Extent { blob: BlobId::from_bytes(&blob), size }, offset))
        }
        (version, _) => Err(super::unknown_version(WHAT, version)),
    }
}

#[cfg(test)]
mod tests {
    use umbra_blob::BlobId;

    use super::{decode_piece, encode_piece};
    use crate::{Extent, record::golden};

    #[test]
    fn the_first_format_is_written_and_read() {
        let extent = Extent { blob: BlobId::from_bytes(&[1, 2, 3]), size: 4096 };
        let piece = golden::check("piece/v1", Some(&encode_piece(&extent, 1 << 20)));
        assert_eq!(decode_piece(&piece).unwrap(), (extent, 1 << 20));
        golden::check_refusals(&piece, decode_piece);
    }
}

//! `h/<key>/<piece>`: a piece of a hydration. The shadow writes and drops it; a destroyed bucket frees its blob.

use minicbor::{CborLen, Decode, Encode};
use umbra_blob::BlobId;
use umbra_core::Result;

use crate::{Extent, Seal, Wrapping};

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
    /// Which root key its own key is wrapped with, and that.
    #[n(3)]
    seal: Option<Sealed>,
}

#[derive(Encode, Decode, CborLen)]
struct Sealed {
    #[n(0)]
    wrapping: WrappedWith,
    #[cbor(n(1), with = "minicbor::bytes")]
    wrapped: Vec<u8>,
}

#[derive(Encode, Decode, CborLen)]
enum WrappedWith {
    #[n(0)]
    Managed,
    #[n(1)]
    Named(#[n(0)] String),
}

impl Sealed {
    /// Nothing is brought in with a client's key: nobody sends one along.
    fn of(seal: &Seal) -> Option<Self> {
        let wrapping = match &seal.wrapping {
            Wrapping::Managed => WrappedWith::Managed,
            Wrapping::Named(name) => WrappedWith::Named(name.clone()),
            Wrapping::Customer => return None,
        };
        Some(Self { wrapping, wrapped: seal.wrapped.to_vec() })
    }

    fn into_seal(self) -> Option<Box<Seal>> {
        let wrapping = match self.wrapping {
            WrappedWith::Managed => Wrapping::Managed,
            WrappedWith::Named(name) => Wrapping::Named(name),
        };
        Some(Box::new(Seal { wrapping, wrapped: self.wrapped.try_into().ok()? }))
    }
}

/// The record of a piece that `extent` holds and that begins at `offset` within the object.
pub fn encode_piece(extent: &Extent, offset: u64) -> Vec<u8> {
    super::encode(
        VERSION,
        &V1 { blob: extent.blob.as_bytes().to_vec(), size: extent.size, offset, seal: extent.seal.as_deref().and_then(Sealed::of) },
    )
    .into()
}

/// The piece that `body` is the record of, and where it begins.
pub fn decode_piece(body: &[u8]) -> Result<(Extent, u64)> {
    match super::split(WHAT, body)? {
        (VERSION, cbor) => {
            let V1 { blob, size, offset, seal } = super::decode(WHAT, cbor)?;
            if blob.len() > BlobId::BYTES_MAX || size == 0 || offset.checked_add(size).is_none() {
                return Err(super::corrupt(WHAT, "its place is impossible"));
            }
            let seal = seal.map(|seal| seal.into_seal().ok_or_else(|| super::corrupt(WHAT, "its key is impossible"))).transpose()?;
            Ok((Extent { blob: BlobId::from_bytes(&blob), size, seal }, offset))
        }
        (version, _) => Err(super::unknown_version(WHAT, version)),
    }
}

#[cfg(test)]
mod tests {
    use umbra_blob::BlobId;

    use super::{decode_piece, encode_piece};
    use crate::{Extent, Seal, Wrapping, keyring::WRAPPED_LEN, record::golden};

    #[test]
    fn the_first_format_is_written_and_read() {
        let extent = Extent::plain(BlobId::from_bytes(&[1, 2, 3]), 4096);
        let piece = golden::check("piece/v1", Some(&encode_piece(&extent, 1 << 20)));
        assert_eq!(decode_piece(&piece).unwrap(), (extent.clone(), 1 << 20));
        golden::check_refusals(&piece, decode_piece);
        for (name, wrapping) in [("piece/v1-managed", Wrapping::Managed), ("piece/v1-named", Wrapping::Named("one".to_owned()))] {
            let sealed = Extent { seal: Some(Box::new(Seal { wrapping, wrapped: [7; WRAPPED_LEN] })), ..extent.clone() };
            let piece = golden::check(name, Some(&encode_piece(&sealed, 0)));
            assert_eq!(decode_piece(&piece).unwrap(), (sealed, 0), "{name}");
            golden::check_refusals(&piece, decode_piece);
        }
    }
}

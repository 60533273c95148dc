//! Records: what the values behind the keys are.
//!
//! ```text
//! byte 0      the format version of this record
//! byte 1 ..   the record in CBOR (RFC 8949): an array whose places are the fields' numbers
//! ```
//!
//! Each record has its own file, with one module per format version. A version that was ever released stays readable
//! for ever; `testdata/<record>/vN.bin` holds the proof. Adding an optional field behind the last one is no new version:
//! an array that ends early is read as if the field were absent.

use bytes::Bytes;
use minicbor::{Decode, Encode};
use umbra_core::{Error, Result};

pub(crate) mod access_key;
mod attributes;
pub(crate) mod audit;
pub(crate) mod bucket;
pub(crate) mod bucket_name;
pub(crate) mod claim;
pub(crate) mod copy;
pub(crate) mod destruction;
pub(crate) mod due_copy;
mod encryption;
mod extras;
mod fields;
#[cfg(test)]
pub(crate) mod golden;
pub(crate) mod history;
mod lifecycle;
pub(crate) mod object;
mod object_lock;
pub(crate) mod organization;
pub(crate) mod part;
pub(crate) mod piece;
pub(crate) mod store_identity;
mod sub_resources;
pub(crate) mod upload;

/// Encodes `record` as format `version`.
pub(crate) fn encode<T: Encode<()>>(version: u8, record: &T) -> Bytes {
    let mut bytes = vec![version];
    minicbor::encode(record, &mut bytes).expect("a vector takes every byte");
    bytes.into()
}

/// Splits `bytes`, a record of `what`, into its format version and its CBOR.
pub(crate) fn split<'a>(what: &'static str, bytes: &'a [u8]) -> Result<(u8, &'a [u8])> {
    bytes.split_first().map(|(version, cbor)| (*version, cbor)).ok_or_else(|| corrupt(what, "it is empty"))
}

/// Decodes `cbor`, a record of `what`, which must be nothing but that.
pub(crate) fn decode<'b, T: Decode<'b, ()>>(what: &'static str, cbor: &'b [u8]) -> Result<T> {
    let mut decoder = minicbor::Decoder::new(cbor);
    let record = decoder.decode().map_err(|error| corrupt(what, error))?;
    if decoder.position() == cbor.len() { Ok(record) } else { Err(corrupt(what, "something follows it")) }
}

/// The error of a record of `what` in a format that this release does not know.
pub(crate) fn unknown_version(what: &'static str, version: u8) -> Error {
    corrupt(what, format_args!("its format version {version} is not known to this release"))
}

/// The error of a record of `what` that cannot be what was written.
pub(crate) fn corrupt(what: &'static str, why: impl ToString) -> Error {
    umbra_meta::Error::Corrupt { what: what.to_owned(), why: why.to_string() }.into()
}

//! A key that a client sends with every request and that is never kept (SSE-C).

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use md5::{Digest as _, Md5};
use umbra_core::{Encryption, Error, Fault, Result};
use zeroize::Zeroizing;

/// A client's key: wiped from memory when dropped, and never shown by `Debug`.
#[derive(Clone)]
pub struct CustomerKey {
    key: Zeroizing<[u8; 32]>,
    md5: String,
}

impl CustomerKey {
    /// Takes a key and its MD5, both in base64, as the client sends them.
    pub fn parse(key: &str, md5: &str) -> Result<Self> {
        let invalid = |message| Error::invalid(Fault::InvalidArgument, message);
        let bytes = Zeroizing::new(BASE64.decode(key.trim()).unwrap_or_default());
        let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| invalid("the secret key was invalid for the specified algorithm"))?;
        let key = Zeroizing::new(key);
        let calculated = BASE64.encode(Md5::digest(&key[..]));
        if calculated != md5.trim() {
            return Err(invalid("the calculated MD5 hash of the key did not match the hash that was provided"));
        }
        Ok(Self { key, md5: calculated })
    }

    /// The MD5 of the key, in base64.
    pub fn md5(&self) -> &str {
        &self.md5
    }

    pub(super) fn expose(&self) -> &[u8; 32] {
        &self.key
    }
}

/// By their MD5, which is no secret.
impl PartialEq for CustomerKey {
    fn eq(&self, other: &Self) -> bool {
        self.md5 == other.md5
    }
}

impl Eq for CustomerKey {}

impl fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerKey")
    }
}

/// Checks the key that came with a read of content that is encrypted as `encryption` says.
pub(crate) fn check_read(encryption: Option<&Encryption>, given: Option<&CustomerKey>) -> Result<()> {
    match (encryption, given) {
        (Some(Encryption::Customer { .. }), None) => Err(missing()),
        (Some(Encryption::Customer { key_md5 }), Some(given)) if given.md5() != key_md5 => Err(wrong()),
        (Some(Encryption::Customer { .. }), Some(_)) | (_, None) => Ok(()),
        (_, Some(_)) => Err(Error::invalid(Fault::InvalidRequest, "the encryption parameters are not applicable to this object")),
    }
}

/// Checks the key that came with a part, or the completion, of an upload that is encrypted as `encryption` says.
pub(crate) fn check_part(encryption: Option<&Encryption>, given: Option<&CustomerKey>) -> Result<()> {
    let refused = |message| Err(Error::invalid(Fault::InvalidRequest, message));
    match (encryption, given) {
        (Some(Encryption::Customer { .. }), None) => refused(
            "the multipart upload initiate requested encryption; subsequent part requests must include the appropriate encryption parameters",
        ),
        (Some(Encryption::Customer { key_md5 }), Some(given)) if given.md5() == key_md5 => Ok(()),
        (_, Some(_)) => refused("the provided encryption parameters did not match the ones used originally"),
        (_, None) => Ok(()),
    }
}

pub(super) fn missing() -> Error {
    let message =
        "the object was stored using a form of server side encryption; the correct parameters must be provided to retrieve the object";
    Error::invalid(Fault::InvalidRequest, message)
}

pub(super) fn wrong() -> Error {
    Error::invalid(Fault::InvalidRequest, "the provided encryption parameters did not match the ones used originally to encrypt the object")
}

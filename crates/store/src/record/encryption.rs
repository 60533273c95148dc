//! How a bucket's objects are encrypted that ask for nothing themselves, within the optional settings.

use minicbor::{Decode, Encode};

use super::extras::twins;
use crate::extras;

#[derive(Encode, Decode)]
pub(super) struct DefaultEncryption {
    #[n(0)]
    kms: Option<DefaultKmsKey>,
    #[n(1)]
    bucket_key: Option<bool>,
    #[n(2)]
    blocks_customer_keys: bool,
}

#[derive(Encode, Decode)]
struct DefaultKmsKey {
    #[n(0)]
    key: Option<String>,
    #[n(1)]
    dual: bool,
}

twins!(DefaultKmsKey { key, dual });
twins!(DefaultEncryption { bucket_key, blocks_customer_keys; kms: (|of: Option<_>| of.map(From::from)) });

//! How a bucket's objects are encrypted that ask for nothing themselves.

use umbra_core::Encryption;

use crate::{DEFAULT_KMS_KEY, Sealing};

/// How a bucket's objects are encrypted when they ask for nothing themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultEncryption {
    /// With a named key, or the store's own.
    pub kms: Option<DefaultKmsKey>,
    /// Whether keys of the bucket were to save requests to the key service; `None` where nobody said.
    pub bucket_key: Option<bool>,
    /// Whether objects with a customer's key are refused.
    pub blocks_customer_keys: bool,
}

/// The named key of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultKmsKey {
    /// The key, as its owner named it; [`crate::DEFAULT_KMS_KEY`] without a name.
    pub key: Option<String>,
    /// Whether two layers of encryption were asked for.
    pub dual: bool,
}

impl DefaultEncryption {
    /// What an object tells that is encrypted so.
    pub fn told(&self) -> Encryption {
        match &self.kms {
            None => Encryption::Managed,
            Some(DefaultKmsKey { key, dual }) => Encryption::Kms {
                key: key.clone().unwrap_or_else(|| DEFAULT_KMS_KEY.to_owned()),
                dual: *dual,
                bucket_key: self.bucket_key == Some(true),
                context: None,
            },
        }
    }

    /// How an object is encrypted so.
    pub fn sealing(&self) -> Sealing {
        Sealing::Ours(self.told())
    }
}

//! The settings of a shadow, as a bucket keeps them.

use std::fmt;

/// A secret sealed by the store's key-encryption key: safe at rest, useless elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret(pub Vec<u8>);

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedSecret")
    }
}

/// Where a bucket's old data lives, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowSettings {
    /// The origin's endpoint: a URL.
    pub endpoint: String,
    /// The region requests to the origin are signed for; `auto` is allowed.
    pub region: String,
    /// The origin's bucket.
    pub bucket: String,
    /// The access key at the origin.
    pub access_key: String,
    /// The secret key at the origin, sealed.
    pub secret_key: SealedSecret,
    /// Whether writes and deletes go to the origin first.
    pub write_through: bool,
}

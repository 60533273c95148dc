//! How content is to be encrypted, and what is kept of how it was.

use std::fmt;

use umbra_core::{Encryption, Error, Result};

use super::{CustomerKey, WRAPPED_LEN};

/// How content is to be encrypted on its way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// With a key that is kept here, SSE-S3's or SSE-KMS's.
    Ours(Encryption),
    /// With the client's.
    Customer(CustomerKey),
}

impl Sealing {
    /// What `encryption` asks for; SSE-C takes the client's key.
    pub fn of(encryption: &Encryption, customer: Option<CustomerKey>) -> Result<Self> {
        match (encryption, customer) {
            (Encryption::Customer { .. }, Some(key)) => Ok(Self::Customer(key)),
            (Encryption::Customer { .. }, None) => Err(Error::internal("content is to be encrypted with a key that did not come")),
            (ours, _) => Ok(Self::Ours(ours.clone())),
        }
    }

    /// How the object tells it.
    pub fn told(&self) -> Encryption {
        match self {
            Self::Ours(encryption) => encryption.clone(),
            Self::Customer(key) => Encryption::Customer { key_md5: key.md5().to_owned() },
        }
    }

    /// Whether the ETag is to say nothing of the content. S3 makes it an MD5 for SSE-S3 alone.
    pub(crate) const fn hides_md5(&self) -> bool {
        !matches!(self, Self::Ours(Encryption::Managed))
    }
}

/// Which root key a data key is wrapped with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// The store's own.
    Managed,
    /// A named one.
    Named(String),
    /// The client's.
    Customer,
}

impl Wrapping {
    pub(super) const fn purpose(&self) -> &'static str {
        match self {
            Self::Managed => "umbra/content/sse-s3",
            Self::Named(_) => "umbra/content/sse-kms",
            Self::Customer => "umbra/content/sse-c",
        }
    }
}

/// What is kept beside encrypted content: its data key, wrapped.
#[derive(Clone, PartialEq, Eq)]
pub struct Seal {
    pub(crate) wrapping: Wrapping,
    pub(crate) wrapped: [u8; WRAPPED_LEN],
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("wrapping", &self.wrapping).finish_non_exhaustive()
    }
}

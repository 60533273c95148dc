//! The settings of a shadow, as a bucket keeps them.

use std::{fmt, time::Duration};

use crate::{Error, Fault, Money, Result};

/// A secret sealed by the store's key-encryption key: safe at rest, useless elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret(pub Vec<u8>);

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedSecret")
    }
}

/// How much of a cold object a reader brings here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HydratePolicy {
    /// The whole object, the wanted bytes first.
    #[default]
    Whole,
    /// Only the pieces that readers touch.
    Touched,
}

impl HydratePolicy {
    /// The policy called `name`.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "whole" => Ok(Self::Whole),
            "touched" => Ok(Self::Touched),
            _ => Err(Error::invalid(
                Fault::InvalidArgument,
                format!("there is no way to hydrate called {name:?}: it is `whole` or `touched`"),
            )),
        }
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Touched => "touched",
        }
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
    /// How much of a cold object a reader brings here.
    pub hydrate: HydratePolicy,
    /// How old what is known of the origin may get before a read of an unmodified hydrated object asks the origin again; never if `None`.
    pub revalidate: Option<Duration>,
    /// What a gigabyte leaving the origin costs, for estimates.
    pub price_per_gb: Option<Money>,
}

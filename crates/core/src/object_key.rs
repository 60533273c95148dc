//! Object keys.

use std::{fmt, sync::Arc};

use crate::{Error, Fault, Result, limits};

/// An object key: 1 to 1,024 bytes of any UTF-8, ordered by bytes. Never a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Arc<str>);

impl ObjectKey {
    /// Checks the length of `key`.
    pub fn parse(key: &str) -> Result<Self> {
        if key.is_empty() {
            return Err(Error::invalid(Fault::InvalidArgument, "a key cannot be empty"));
        }
        if key.len() > limits::KEY_BYTES_MAX {
            return Err(Error::invalid(Fault::KeyTooLong, "your key is too long"));
        }
        Ok(Self(key.into()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as the bytes that order it.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

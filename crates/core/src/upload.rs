//! Identifiers of multipart uploads.

use std::{fmt, sync::Arc};

use crate::{Error, Fault, Result, limits};

/// A multipart upload's identifier: opaque, unique in the store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(Arc<str>);

impl UploadId {
    /// Takes an identifier as a client sends it back. An identifier that was never issued is simply not found later.
    pub fn parse(text: &str) -> Self {
        Self(text.into())
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A part's number, 1 to 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartNumber(u16);

impl PartNumber {
    /// Checks that `number` lies within S3's bounds.
    pub fn new(number: i64) -> Result<Self> {
        u16::try_from(number)
            .ok()
            .filter(|number| (1..=limits::PARTS_MAX).contains(number))
            .map(Self)
            .ok_or_else(|| Error::invalid(Fault::InvalidArgument, "part number must be an integer between 1 and 10000, inclusive"))
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

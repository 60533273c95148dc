//! ETags.

use std::{fmt, sync::Arc};

/// An ETag without its quotes: opaque, compared and never computed with.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ETag(Arc<str>);

impl ETag {
    /// Takes an ETag as a header or XML element spells it, with or without quotes.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let text = text.strip_prefix("W/").unwrap_or(text);
        let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        Self(inner.into())
    }

    /// The ETag of an object stored by one PUT: the MD5 of its content in hexadecimal.
    pub fn from_md5(digest: [u8; 16]) -> Self {
        Self(hex::encode(digest).into())
    }

    /// The ETag of a multipart object: the MD5 of its parts' MD5s, a dash, the number of parts.
    pub fn from_parts(digest_of_digests: [u8; 16], count: usize) -> Self {
        Self(format!("{}-{count}", hex::encode(digest_of_digests)).into())
    }

    /// The MD5 this ETag spells, when it has the form of one.
    pub fn as_md5(&self) -> Option<[u8; 16]> {
        let mut digest = [0; 16];
        hex::decode_to_slice(self.0.as_bytes(), &mut digest).ok().map(|()| digest)
    }

    /// The number of parts, when this is the ETag of a multipart object.
    pub fn part_count(&self) -> Option<u16> {
        let (digest, count) = self.0.rsplit_once('-')?;
        (digest.len() == 32).then(|| count.parse().ok()).flatten()
    }

    /// The ETag without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The ETag with quotes, as headers want it.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

//! By what a place is known again.

use std::fmt;

use bytes::Bytes;
use umbra_client::GetOptions;
use umbra_core::Random;

use super::{S3BlobStore, failed, is_gone};
use crate::Result;

/// For whoever looks at the bucket; nobody reads it.
const CONTENT: &[u8] = b"An Umbra server knows by this object that these are the contents of its store. Keep it.\n";

/// A small object under a random name, by which a place of contents is known: another bucket may have the same name, and even the same prefix,
/// at another engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Badge([u8; 16]);

impl Badge {
    /// The length of its bytes.
    pub const LEN: usize = 16;

    /// One that was never there before.
    pub fn draw(random: &dyn Random) -> Self {
        Self(random.array())
    }

    /// The one whose bytes these are.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// What makes it, to be kept with what needs the contents.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl S3BlobStore {
    /// The key of a badge's object.
    pub fn badge_key(&self, badge: &Badge) -> String {
        format!("{}badge/{badge}", self.engine.prefix)
    }

    /// Puts a badge there.
    pub async fn set_badge(&self, badge: &Badge) -> Result<()> {
        let (client, key) = (&self.engine.client, self.badge_key(badge));
        client.put_bytes(&key, &Bytes::from_static(CONTENT)).await.map(drop).map_err(failed("put a badge at the contents"))
    }

    /// Takes a badge away.
    pub async fn remove_badge(&self, badge: &Badge) -> Result<()> {
        self.engine.client.delete_object(&self.badge_key(badge)).await.map(drop).map_err(failed("take a badge away"))
    }

    /// Whether the badge is there. An error where that cannot be told, as by something that stands in for an engine that is down.
    pub async fn has_badge(&self, badge: &Badge) -> Result<bool> {
        // A HEAD is answered without a word of what it is that is not there.
        match self.engine.client.get_object(&self.badge_key(badge), &GetOptions::default()).await {
            Ok(_) => Ok(true),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(failed("look for the badge of the contents")(error)),
        }
    }
}

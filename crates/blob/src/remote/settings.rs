//! What a user of the remote engine may choose.

use std::time::Duration;

/// How blobs are sent to the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSettings {
    /// How long the parts of an upload are; a blob that ends within one is sent by one PUT. A writer holds up to two of them. At least
    /// the 5 MiB that S3 wants a part to have, and the default; tests choose less.
    pub part_bytes: usize,
    /// How old an upload under our keys must be to be taken for abandoned, by its engine's clock: longer than any write takes. Default one day.
    pub stale_after: Duration,
    /// How often abandoned uploads are looked for, besides at the start. Default 6 h.
    pub sweep_every: Duration,
}

impl Default for RemoteSettings {
    fn default() -> Self {
        Self { part_bytes: 5 << 20, stale_after: Duration::from_secs(24 * 3600), sweep_every: Duration::from_secs(6 * 3600) }
    }
}

impl RemoteSettings {
    pub(super) fn clamped(mut self) -> Self {
        self.part_bytes = self.part_bytes.max(1);
        self
    }
}

//! What a user of the disk engine may choose.

/// How blobs are laid out on disk. The defaults suit a server; tests choose smaller ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSettings {
    /// Where a segment ends and the next begins. Larger ones mean fewer files; a segment disappears only when all in it is deleted
    /// (its space is freed at once either way). At most 2 GiB. Default 1 GiB.
    pub segment_bytes: u64,
    /// The largest blob kept in a segment; a larger one has a file of its own. At most 64 MiB. Default 8 MiB.
    pub record_bytes_max: u64,
    /// How much of a streamed blob is gathered before it is written. A blob that ends within it goes to a segment; each writer holds
    /// up to twice as much. Default 1 MiB.
    pub stream_buffer_bytes: u64,
    /// Free space that writes never touch, so that deletes, the metadata and the rest of the machine go on when the disk is full.
    /// Default: 5 % of the file system but at most 10 GiB, and at least 256 MiB.
    pub reserve_bytes: Option<u64>,
    /// Contents of at least so many bytes that nobody reads soon are written past the page cache, where the file system can. Default
    /// 256 KiB: of less, the way to the device costs more than the page cache.
    pub direct_bytes_min: u64,
    /// How many segment files are kept open for reading. Default 256.
    pub open_segments_max: usize,
}

impl Default for DiskSettings {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            record_bytes_max: 8 << 20,
            stream_buffer_bytes: 1 << 20,
            reserve_bytes: None,
            direct_bytes_min: 256 << 10,
            open_segments_max: 256,
        }
    }
}

impl DiskSettings {
    /// Fits the sizes to what identifiers can express.
    pub(super) fn clamped(mut self) -> Self {
        self.segment_bytes = self.segment_bytes.min(2 << 30);
        self.record_bytes_max = self.record_bytes_max.min(64 << 20);
        self.stream_buffer_bytes = self.stream_buffer_bytes.min(self.record_bytes_max);
        self.open_segments_max = self.open_segments_max.max(1);
        self
    }
}

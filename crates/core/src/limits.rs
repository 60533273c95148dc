//! Every limit a client can meet, in one place, each with its source.

/// The longest key, in bytes of UTF-8. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
pub const KEY_BYTES_MAX: usize = 1024;
/// The largest object a single PUT, part or copy may carry. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const PUT_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;
/// The largest object. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const OBJECT_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024 * 1024;
/// The smallest part but the last. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;
/// The highest part number. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const PARTS_MAX: u16 = 10_000;
/// The most keys one listing page or one DeleteObjects may hold. <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>
pub const KEYS_PER_PAGE_MAX: usize = 1000;
/// User metadata, names and values together, in bytes. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>
pub const USER_METADATA_BYTES_MAX: usize = 2048;
/// Tags on one object. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>
pub const TAGS_MAX: usize = 10;
/// Tags on one bucket. <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketTagging.html>
pub const BUCKET_TAGS_MAX: usize = 50;
/// Characters of a tag's key. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>
pub const TAG_KEY_CHARS_MAX: usize = 128;
/// Characters of a tag's value. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>
pub const TAG_VALUE_CHARS_MAX: usize = 256;
/// Objects up to this size live inside the metadata record: one fsync for a PUT. Measured in engines-measured A.2: beyond it the write amplification of the metadata store outweighs the saved flush.
pub const INLINE_BYTES_MAX: usize = 4096;

//! The vocabulary of Umbra: names, identifiers, object metadata, error kinds, clock and limits.
//!
//! Everything here is a value. This crate does no I/O, depends on no other crate of ours and on no runtime.

pub mod attributes;
mod body;
mod bucket_name;
mod byte_range;
mod checksum;
mod clock;
mod error;
mod etag;
pub mod limits;
mod location;
mod md5_chain;
mod money;
mod object_key;
mod object_meta;
mod precondition;
mod random;
mod region;
mod request;
mod shadow_settings;
mod upload;
mod version_id;

pub use attributes::{Acl, Attributes, Encryption, Grant, Grantee, ObjectLock, Permission, Retention, RetentionMode};
pub use body::{Body, BodyStream};
pub use bucket_name::BucketName;
pub use byte_range::{ByteRange, RangeSpec};
pub use checksum::{Checksum, ChecksumAlgorithm, ChecksumHasher, ChecksumType};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use error::{Entity, Error, ErrorKind, Fault, Result, with_causes};
pub use etag::ETag;
pub use location::{Location, Narrowed};
pub use md5_chain::{MD5_LANES, Md5Chain};
pub use money::Money;
pub use object_key::ObjectKey;
pub use object_meta::{ObjectInfo, PartInfo, ReadSource, SystemHeaders, Tags, UserMetadata};
pub use precondition::{Found, Matches, Preconditions, check_delete, check_read, check_write};
pub use random::{Random, SeededRandom, SystemRandom};
pub use region::{Geography, Region};
pub use request::{Elsewhere, RequestContext};
pub use shadow_settings::{HydratePolicy, SealedSecret, ShadowSettings};
pub use upload::{PartNumber, UploadId};
pub use version_id::{MarkerFound, VersionId};

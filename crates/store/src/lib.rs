//! Buckets and objects: joins a record in the metadata store to its bytes in the blob store.

mod access_key;
mod bucket;
mod catalog;
mod commit;
mod copy;
mod destroy;
pub mod event;
mod extras;
mod keyring;
pub mod lifecycle;
mod md5_pool;
mod native;
mod objects;
pub mod placement;
mod reclaim;
mod record;
mod seal;
mod secret;
#[cfg(feature = "testing")]
pub mod suite;

pub use access_key::{AccessKey, Action, Role};
pub use bucket::{Bucket, BucketSettings, BucketState, Versioning};
pub use catalog::{Catalog, CatalogNearby, ContentsPlace, NewKey, Organization, Usage, contents_row, parse_contents_row};
pub use commit::{CounterChanges, Identity, Removal, Terms};
pub use copy::{
    Copied, CopyOptions, CopyPartOptions, PartSource, copy, copy_part, read_part_source, read_source, write_copy, write_part_copy,
};
pub use destroy::Destroyer;
pub use event::{Cause, Event, EventBell, EventKind};
pub use extras::{
    CorsRule, DefaultEncryption, DefaultKmsKey, DefaultRetention, EventHook, EventHookKind, Extras, HookAuth, LogKeys, Logging,
    Notifications, ObjectLockSettings, ObjectOwnership, PublicAccessBlock, RetentionPeriod, RoutingRule, Website, WebsiteRedirect,
};
pub use keyring::{CustomerKey, DEFAULT_KMS_KEY, Keyring, Seal, Sealing, Wrapping};
pub use lifecycle::{Lifecycle, LifecycleDay};
pub use md5_pool::{Md5Pool, PooledMd5};
pub use native::{
    Completion, CompletionPlan, Content, Extent, Native, NativeParts, NewObject, ObjectRecord, PartNoting, Pieces, RemoveVersion,
    SealedBlobs, Stored, StoredPart, Version, VersionRow, decode_upload_index, part_integrity, upload_initiated,
};
pub use objects::{
    AclChange, CompleteUpload, CompletedPart, CreateUpload, DeleteOptions, Deleted, Expected, ExpectedChecksum, GetObject, GetOptions,
    Integrity, ListOptions, ListPage, ListSource, ListStart, ListUploads, ListVersions, ListedObject, ListedPart, ListedUpload,
    ListedVersion, LockChange, Objects, PartAddress, PartsPage, PutObject, PutOptions, UploadsPage, VersionsPage,
};
pub use placement::{
    Audit, AuditFindings, Auditor, AuditorParts, CopyWorker, DemandSettings, DueCopies, DuePointers, FinishedAudit, Homes, HomesCounter,
    Moved, PlacedBlobStore, Placement, PlacementMetrics, PlacementParts, PlacementStatus, RegionSource, RegionUse, Topology,
};
pub use reclaim::{PartitionSource, Pin, ReclaimHandle, Reclaimer};
pub use record::piece::{decode_piece, encode_piece};
pub use seal::Sealer;
pub use secret::Secret;

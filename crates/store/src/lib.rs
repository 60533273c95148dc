//! Buckets and objects: joins a record in the metadata store to its bytes in the blob store.

mod bucket;
mod commit;
mod objects;

pub use bucket::{Bucket, BucketSettings, BucketState};
pub use commit::{Identity, Terms};
pub use objects::{
    CompleteUpload, CompletedPart, CreateUpload, DeleteOptions, Expected, ExpectedChecksum, GetObject, GetOptions, Integrity, ListOptions,
    ListPage, ListSource, ListStart, ListUploads, ListedObject, ListedPart, ListedUpload, Objects, PartAddress, PartsPage, PutObject,
    PutOptions, UploadsPage,
};

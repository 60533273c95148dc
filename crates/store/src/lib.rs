//! Buckets and objects: joins a record in the metadata store to its bytes in the blob store.

mod access_key;
mod bucket;
mod catalog;
mod commit;
mod objects;
mod record;
mod seal;
mod secret;

pub use access_key::{AccessKey, Action, Role};
pub use bucket::{Bucket, BucketSettings, BucketState};
pub use catalog::{Catalog, NewKey, Organization, Usage};
pub use commit::{Identity, Terms};
pub use objects::{
    CompleteUpload, CompletedPart, CreateUpload, DeleteOptions, Expected, ExpectedChecksum, GetObject, GetOptions, Integrity, ListOptions,
    ListPage, ListSource, ListStart, ListUploads, ListedObject, ListedPart, ListedUpload, Objects, PartAddress, PartsPage, PutObject,
    PutOptions, UploadsPage,
};
pub use seal::Sealer;
pub use secret::Secret;

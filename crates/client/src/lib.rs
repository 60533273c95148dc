//! The client for S3-compatible services: origins, and remote blob storage.
//!
//! Thin on purpose. What an origin says is handed on as it was said, every header of it; content streams both ways and is never held
//! whole; what is not certain is not claimed: an error tells whether the origin may have done what it was asked, and content that did
//! not come whole, or was not to be sent whole, is an error and never a short success. No connection is made that the
//! [`EndpointGuard`] has not let pass, and no redirect is followed.

mod answer;
mod attributes;
mod call;
mod client;
mod credentials;
pub mod date;
mod encode;
mod endpoint;
mod error;
mod guard;
mod learned;
mod listing;
mod multipart;
mod object;
mod post;
mod request_body;
mod response_body;
mod retry;
mod settings;
pub mod sigv4;
mod tagging;
mod transport;
mod xml;

pub use attributes::ObjectAttributes;
pub use client::S3Client;
pub use credentials::Credentials;
pub use encode::path as encode_path;
pub use endpoint::{Addressing, Endpoint, EndpointError};
pub use error::{Error, Result, S3Error};
pub use guard::{Cidr, CidrError, EndpointGuard, GuardError, GuardPolicy};
pub use learned::ListVersion;
pub use listing::{ListOptions, ListPage, ListedObject};
pub use multipart::{CompletedUpload, ListedPart, ListedUpload, PartPage, UploadMarker, UploadPage};
pub use object::{ContentRange, GetOptions, GetResponse};
pub use post::Poster;
pub use settings::ClientSettings;

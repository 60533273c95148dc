//! What Tigris's own clients ask for beside S3: JSON, on the same port and signed alike.
//!
//! s3s verifies these requests like any other and then hands them to [`Routes`], which has them answered here. A request is one of them by
//! its method, its path and what it asks for, never by an unsigned hint alone: an S3 request cannot be mistaken for one, for no S3
//! operation looks like them.

mod answer;
mod buckets;
mod cors;
mod document;
mod hook;
mod lifecycle;
mod metadata;
mod operation;
mod presign;
mod routes;
mod shadow;
mod update;

pub(crate) use self::{
    operation::{Operation, wants_json},
    routes::{Routes, Tigris},
    update::storage_class,
};

//! The conformance suite: what every [`Objects`] promises of a bucket, as code. Amazon S3's semantics, and the words of the trait.
//!
//! Each check takes a bucket of its own and panics with what it found.

mod acls;
mod books;
mod conditions;
mod content;
mod copies;
mod fixture;
mod integrity;
mod listing;
mod listing_model;
mod multipart;
mod multipart_faults;
mod races;
mod reads;
mod uploads;
mod versions;

use std::sync::Arc;

use futures::future::BoxFuture;

pub use self::books::{Books, audit};
use self::fixture::Fixture;
use crate::{Bucket, Objects};

/// Makes a new, empty bucket.
pub type MakeBucket = Box<dyn Fn() -> BoxFuture<'static, Bucket> + Send + Sync>;

/// Runs every check against `objects`, in buckets that `make_bucket` makes.
pub async fn run(objects: Arc<dyn Objects>, make_bucket: MakeBucket) {
    let fixture = || async { Fixture::new(Arc::clone(&objects), make_bucket().await) };
    content::run(&fixture().await).await;
    acls::run(&fixture().await).await;
    reads::run(&fixture().await).await;
    integrity::run(&fixture().await).await;
    conditions::run(&fixture().await).await;
    races::run(&fixture().await).await;
    listing::run(&fixture().await).await;
    for seed in 0..listing_model::CASES {
        listing_model::run(&fixture().await, seed).await;
    }
    multipart::run(&fixture().await).await;
    multipart_faults::run(&fixture().await).await;
    uploads::run(&fixture().await).await;
    copies::run(&fixture().await, &fixture().await).await;
    for seed in 0..versions::CASES {
        versions::run(&fixture().await, seed).await;
    }
    versions::races(&fixture().await).await;
    versions::listed_while_changing(&fixture().await).await;
    versions::locks(&fixture().await).await;
    versions::purges(&fixture().await).await;
}

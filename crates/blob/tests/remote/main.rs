//! The remote engine over a real S3 store, straight and through a proxy that spoils what passes.
//!
//! The store is SeaweedFS, as `./test` installs it; `UMBRA_WEED` names another. Without one these tests say so and pass.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod badges;
mod conformance;
mod faults;
mod leftovers;
mod proxy;
mod seaweed;

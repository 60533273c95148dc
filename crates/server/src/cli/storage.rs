//! `umbra storage`.

mod create;
mod destroy;
mod doctor;
mod job;
mod list;
mod migrate;
mod place;
mod progress;
mod rollback;
mod shadow_flags;
mod status;
mod update;
mod verify;

use clap::{Args, Subcommand};

use super::{Outcome, target::Target};

/// Creates, changes, lists, looks at and destroys buckets.
#[derive(Debug, Args)]
pub(crate) struct Storage {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: StorageCommand,
}

#[derive(Debug, Subcommand)]
enum StorageCommand {
    /// Create a bucket, and a key that reaches it alone; with --shadow-…, in front of a bucket elsewhere.
    Create(create::Create),
    /// Change a bucket, one setting at a time or several: attach an origin, rotate its keys, detach it.
    Update(update::Update),
    /// List buckets.
    #[command(alias = "ls")]
    List(list::List),
    /// Show how a bucket and its migration are doing.
    Status(status::Status),
    /// Look at an origin before attaching it: reachability, rights, order, ranges, clock.
    Doctor(doctor::Doctor),
    /// Bring what is left at the origin here in the background; pause, resume or cancel the run.
    Migrate(migrate::Migrate),
    /// Compare a bucket with its origin, and keep a report of every difference.
    Verify(verify::Verify),
    /// Bring what is newer here back to the origin, so that the application can be pointed back to it.
    Rollback(rollback::Rollback),
    /// Hold where a bucket's bytes are against its location, and have it put right.
    Place(place::Place),
    /// Destroy a bucket with everything in it. The origin is not touched.
    Destroy(destroy::Destroy),
}

impl Storage {
    pub(crate) async fn run(self) -> Outcome {
        match self.command {
            StorageCommand::Create(create) => create.run(&self.target).await,
            StorageCommand::Update(update) => update.run(&self.target).await,
            StorageCommand::List(list) => list.run(&self.target).await,
            StorageCommand::Status(status) => status.run(&self.target).await,
            StorageCommand::Doctor(doctor) => doctor.run(&self.target).await,
            StorageCommand::Migrate(migrate) => migrate.run(&self.target).await,
            StorageCommand::Verify(verify) => verify.run(&self.target).await,
            StorageCommand::Rollback(rollback) => rollback.run(&self.target).await,
            StorageCommand::Place(place) => place.run(&self.target).await,
            StorageCommand::Destroy(destroy) => destroy.run(&self.target).await,
        }
    }
}

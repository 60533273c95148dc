//! `umbra storage`.

mod create;
mod destroy;
mod doctor;
mod list;
mod migrate;
mod progress;
mod shadow_flags;
mod status;
mod update;

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
    /// Bring what is left at the origin here in the background; pause, resume or cancel that.
    Migrate(migrate::Migrate),
    /// Look at an origin before attaching it: reachability, rights, order, ranges, clock.
    Doctor(doctor::Doctor),
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
            StorageCommand::Migrate(migrate) => migrate.run(&self.target).await,
            StorageCommand::Doctor(doctor) => doctor.run(&self.target).await,
            StorageCommand::Destroy(destroy) => destroy.run(&self.target).await,
        }
    }
}

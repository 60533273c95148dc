//! `umbra region`.

use clap::{Args, Subcommand};

use super::{Outcome, out, table::table, target::Target};

/// Shows the regions of a store. It takes the root key.
#[derive(Debug, Args)]
pub(crate) struct Region {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: RegionCommand,
}

#[derive(Debug, Subcommand)]
enum RegionCommand {
    /// List the regions, how many nodes each has, where its contents are, and which of them the node that was asked is in.
    #[command(alias = "ls")]
    List,
}

impl Region {
    pub(crate) async fn run(self) -> Outcome {
        let RegionCommand::List = self.command;
        let list = self.target.client()?.regions().await?;
        if self.target.json {
            return out::json(&list);
        }
        let row = |region: umbra_admin::api::RegionView| {
            vec![region.name, region.nodes.to_string(), if region.is_own { "yes" } else { "" }.to_owned(), region.contents]
        };
        let rows: Vec<_> = list.regions.into_iter().map(row).collect();
        out::text_of(table(&["Name", "Nodes", "Asked", "Contents"], &rows))
    }
}

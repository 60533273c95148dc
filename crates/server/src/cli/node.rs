//! `umbra node`.

use clap::{Args, Subcommand};

use super::{Outcome, out, table::table, target::Target};

/// Shows the nodes that share a store. It takes the root key.
#[derive(Debug, Args)]
pub(crate) struct Node {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    /// List the nodes, and which of them leads.
    #[command(alias = "ls")]
    List,
}

impl Node {
    pub(crate) async fn run(self) -> Outcome {
        let NodeCommand::List = self.command;
        let list = self.target.client()?.nodes().await?;
        if self.target.json {
            return out::json(&list);
        }
        let row = |node: umbra_admin::api::NodeView| {
            let seen = if node.silent_seconds < 5 { "now".to_owned() } else { format!("{} s ago", node.silent_seconds) };
            vec![node.name, node.region, node.url, if node.leads { "leads" } else { "" }.to_owned(), seen]
        };
        let rows: Vec<_> = list.nodes.into_iter().map(row).collect();
        out::text_of(table(&["Name", "Region", "Address", "", "Last seen"], &rows))
    }
}

//! `umbra node`.

use std::time::Duration;

use clap::{Args, Subcommand};
use umbra_admin::api::ReplicaView;

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
            let replica = replica(node.replica.as_ref());
            vec![node.name, node.region, node.url, if node.leads { "leads" } else { "" }.to_owned(), replica, seen]
        };
        let rows: Vec<_> = list.nodes.into_iter().map(row).collect();
        out::text_of(table(&["Name", "Region", "Address", "", "Metadata", "Last seen"], &rows))
    }
}

/// Where a node reads metadata, and why.
fn replica(replica: Option<&ReplicaView>) -> String {
    match replica {
        None => String::new(),
        Some(ReplicaView { trusted: true, .. }) => "read nearby".to_owned(),
        Some(ReplicaView { behind_ms: 0, .. }) => "replica away".to_owned(),
        Some(ReplicaView { behind_ms, .. }) => format!("replica {:.1} s behind", Duration::from_millis(*behind_ms).as_secs_f64()),
    }
}

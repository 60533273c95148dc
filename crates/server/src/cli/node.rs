//! `umbra node`.

use std::time::Duration;

use clap::{Args, Subcommand};
use umbra_admin::api::{NodeList, NodeView, ReplicaView};

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
    /// List the nodes, which of them leads, and whether each reads metadata at the standby in its region or at the database.
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
        out::text_of(text(list))
    }
}

/// What a person knows a node by comes first: where it is.
fn text(list: NodeList) -> String {
    let row = |node: NodeView| {
        let seen = if node.silent_seconds < 5 { "now".to_owned() } else { format!("{} s ago", node.silent_seconds) };
        let address = if node.url.is_empty() { "none".to_owned() } else { node.url };
        let replica = replica(node.replica.as_ref());
        vec![node.region, address, if node.leads { "leads" } else { "" }.to_owned(), replica, seen, node.name]
    };
    let mut rows: Vec<_> = list.nodes.into_iter().map(row).collect();
    rows.sort();
    table(&["Region", "Address", "Role", "Reads metadata at", "Last seen", "Name"], &rows)
}

/// Where a node reads metadata, and why.
fn replica(replica: Option<&ReplicaView>) -> String {
    match replica {
        None => "the database".to_owned(),
        Some(ReplicaView { trusted: true, .. }) => "its standby".to_owned(),
        Some(ReplicaView { behind_ms: 0, .. }) => "the database, its standby is away".to_owned(),
        Some(ReplicaView { behind_ms, .. }) => {
            format!("the database, its standby is {:.1} s behind", Duration::from_millis(*behind_ms).as_secs_f64())
        }
    }
}

#[cfg(test)]
mod tests {
    use umbra_admin::api::{NodeList, NodeView, ReplicaView};

    use super::text;

    #[test]
    fn nodes_are_shown_by_where_they_are() {
        let node = |name: &str, url: &str, region: &str, leads, silent_seconds| NodeView {
            name: name.to_owned(),
            url: url.to_owned(),
            region: region.to_owned(),
            leads,
            silent_seconds,
            replica: (name == "0a").then_some(ReplicaView { trusted: true, behind_ms: 0 }),
        };
        let nodes = vec![
            node("0a", "http://10.2.0.1:9003", "iad", false, 7),
            node("0b", "http://10.1.0.2:9003", "fra", true, 1),
            node("0c", "", "fra", false, 0),
        ];
        let shown = "REGION  ADDRESS               ROLE   READS METADATA AT  LAST SEEN  NAME\n\
                     fra     http://10.1.0.2:9003  leads  the database       now        0b\n\
                     fra     none                         the database       now        0c\n\
                     iad     http://10.2.0.1:9003         its standby        7 s ago    0a\n";
        assert_eq!(text(NodeList { nodes }), shown);
    }
}

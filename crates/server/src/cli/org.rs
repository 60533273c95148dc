//! `umbra org`.

use clap::{Args, Subcommand};

use super::{Outcome, out, table::table, target::Target};

/// Creates, lists and deletes organizations. Creating and deleting takes the root key.
#[derive(Debug, Args)]
pub(crate) struct Org {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: OrgCommand,
}

#[derive(Debug, Subcommand)]
enum OrgCommand {
    /// Create an organization.
    Create {
        /// Its name.
        name: String,
    },
    /// List organizations.
    #[command(alias = "ls")]
    List,
    /// Delete an organization that has neither buckets nor keys.
    #[command(alias = "rm")]
    Delete {
        /// Its name.
        name: String,
    },
}

impl Org {
    pub(crate) async fn run(self) -> Outcome {
        let client = self.target.client()?;
        match self.command {
            OrgCommand::Create { name } => {
                let created = client.create_organization(&name).await?;
                if self.target.json { out::json(&created) } else { out::line(format_args!("Organization {name} was created")) }
            }
            OrgCommand::List => {
                let organizations = client.organizations().await?;
                if self.target.json {
                    return out::json(&organizations);
                }
                let rows: Vec<_> = organizations.into_iter().map(|organization| vec![organization.name, organization.created]).collect();
                out::text_of(table(&["Name", "Created"], &rows))
            }
            OrgCommand::Delete { name } => {
                client.delete_organization(&name).await?;
                if self.target.json {
                    return out::json(&serde_json::json!({ "deleted": name }));
                }
                out::line(format_args!("Organization {name} was deleted"))
            }
        }
    }
}

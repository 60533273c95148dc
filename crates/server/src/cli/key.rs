//! `umbra key`.

use clap::{Args, Subcommand};
use umbra_admin::api::{AccessKeyView, CreateAccessKey, RoleName};

use super::{Outcome, out, table::table, target::Target};

/// Creates, lists and deletes access keys.
#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Create an access key. Its secret is printed now and never again.
    Create {
        /// The organization it belongs to: that of the bucket, or your own, by default.
        #[arg(short, long, value_name = "ORG")]
        org: Option<String>,
        /// The only bucket it reaches; all of the organization's by default.
        #[arg(short, long, value_name = "BUCKET")]
        bucket: Option<String>,
        /// What it may do: `reader` reads and lists, `editor` also writes, `admin` also manages buckets and keys.
        #[arg(short, long, default_value = "editor", value_name = "ROLE")]
        role: RoleName,
    },
    /// List access keys.
    #[command(alias = "ls")]
    List {
        /// Only those of this organization.
        #[arg(short, long, value_name = "ORG")]
        org: Option<String>,
    },
    /// Delete an access key.
    #[command(alias = "rm")]
    Delete {
        /// The access key.
        access_key: String,
    },
}

impl Key {
    pub(crate) async fn run(self) -> Outcome {
        let client = self.target.client()?;
        match self.command {
            KeyCommand::Create { org, bucket, role } => {
                let created = client.create_access_key(&CreateAccessKey { organization: org, role, bucket }).await?;
                if self.target.json {
                    return out::json(&created);
                }
                out::line(format_args!("AWS_ACCESS_KEY_ID: {}", created.key.access_key))?;
                out::line(format_args!("AWS_SECRET_ACCESS_KEY: {}", created.secret_key.expose()))
            }
            KeyCommand::List { org } => {
                let keys = client.access_keys(org.as_deref()).await?.access_keys;
                if self.target.json {
                    return out::json(&keys);
                }
                let rows: Vec<_> = keys.into_iter().map(row).collect();
                out::text_of(table(&["Access key", "Org", "Role", "Bucket", "Created"], &rows))
            }
            KeyCommand::Delete { access_key } => {
                client.delete_access_key(&access_key).await?;
                if self.target.json {
                    return out::json(&serde_json::json!({ "deleted": access_key }));
                }
                out::line(format_args!("Access key {access_key} was deleted"))
            }
        }
    }
}

fn row(key: AccessKeyView) -> Vec<String> {
    let org = key.organization.unwrap_or_else(|| "(root)".to_owned());
    vec![key.access_key, org, key.role.to_string(), key.bucket.unwrap_or_else(|| "(all)".to_owned()), key.created]
}

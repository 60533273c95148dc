//! `umbra storage list`.

use clap::Args;

use crate::cli::{Outcome, out, table::table, target::Target};

/// Lists buckets.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of this organization.
    #[arg(short, long, value_name = "ORG")]
    org: Option<String>,
}

impl List {
    pub(crate) async fn run(self, target: &Target) -> Outcome {
        let buckets = target.client()?.buckets(self.org.as_deref()).await?;
        if target.json {
            return out::json(&buckets);
        }
        let rows = buckets.into_iter().map(|bucket| {
            let shadow = bucket.shadow.map_or_else(String::new, |shadow| format!("{} at {}", shadow.name, shadow.endpoint));
            vec![bucket.name, bucket.organization, bucket.location, shadow]
        });
        out::text_of(table(&["Name", "Org", "Location", "Shadow"], &rows.collect::<Vec<_>>()))
    }
}

//! `umbra storage status`.

use std::time::Duration;

use clap::Args;
use umbra_admin::api::{BucketStatus, PendingRepairView, ShadowStatusView};

use crate::cli::{
    Outcome, out,
    table::{bytes, objects, vertical, yes_no},
    target::Target,
};

/// How often `--watch` looks again.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// Clears the screen and goes to its top.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Shows how a bucket and its migration are doing.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// The bucket.
    name: String,

    /// Look again every two seconds, until interrupted.
    #[arg(short, long)]
    watch: bool,
}

impl Status {
    pub(crate) async fn run(self, target: &Target) -> Outcome {
        let client = target.client()?;
        loop {
            let status = client.bucket_status(&self.name).await?;
            if target.json {
                out::json(&status)?;
            } else {
                let clear = if self.watch && out::is_terminal() { CLEAR } else { "" };
                out::text_of(format_args!("{clear}{}", render(&status)))?;
            }
            if !self.watch {
                return Ok(());
            }
            tokio::time::sleep(WATCH_INTERVAL).await;
        }
    }
}

/// The status as a table, in the way of `flyctl storage status`, with what Umbra knows besides.
pub(super) fn render(status: &BucketStatus) -> String {
    let bucket = &status.bucket;
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    row("Name", bucket.name.clone());
    row("Status", if bucket.shadow.is_some() { "migrating" } else { "ready" }.to_owned());
    row("Public", yes_no(bucket.public).to_owned());
    if let Some(shadow) = &bucket.shadow {
        row("Shadow Bucket Write Through", yes_no(shadow.write_through).to_owned());
        row("Shadow Bucket Name", shadow.name.clone());
        row("Shadow Bucket Endpoint", shadow.endpoint.clone());
        row("Shadow Bucket Region", shadow.region.clone());
    }
    row("Org", bucket.organization.clone());
    row("Location", bucket.location.clone());
    row("Objects", status.objects.to_string());
    row("Size", bytes(status.bytes));
    if bucket.shadow.as_ref().is_some_and(|shadow| shadow.write_through) {
        row("Not Written Through", "what was written here before it was on: `umbra storage rollback` copies it back".to_owned());
    }
    status.shadow.iter().for_each(|shadow| rows.extend(migration(shadow)));
    vertical("Status", &rows)
}

/// How the migration is doing.
fn migration(shadow: &ShadowStatusView) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    row("Shadow Access Key", shadow.access_key.clone());
    row("Since", "the server started".to_owned());
    row("Moved Here", format!("{}, {}", objects(shadow.hydrated_objects), bytes(shadow.hydrated_bytes)));
    row("Left The Origin", format!("{}{}", bytes(shadow.origin_bytes), egress_ratio(shadow)));
    row("Requests To The Origin", shadow.origin_requests.to_string());
    row("Reads From Here", shadow.local_reads.to_string());
    row("Reads From The Origin", shadow.cold_reads.to_string());
    row("Discarded Copies", shadow.discarded_copies.to_string());
    row("Pending Repairs", shadow.pending_repairs.len().to_string());
    for repair in &shadow.pending_repairs {
        row("  Repair", pending(repair));
    }
    for error in &shadow.last_errors {
        row("Origin Error", format!("{} {}: {}", error.at, error.doing, error.message));
    }
    rows
}

/// A write that is half done, and how its repair fares.
fn pending(repair: &PendingRepairView) -> String {
    let PendingRepairView { key, operation, since, attempts, .. } = repair;
    let times = if *attempts == 1 { "attempt" } else { "attempts" };
    let error = repair.last_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    format!("{key} ({operation} since {since}, {attempts} {times}){error}")
}

/// How many bytes left the origin for each that was moved: 1.000 when none left it twice.
fn egress_ratio(shadow: &ShadowStatusView) -> String {
    if shadow.hydrated_bytes == 0 {
        return String::new();
    }
    let thousandths = u128::from(shadow.origin_bytes) * 1000 / u128::from(shadow.hydrated_bytes);
    format!(" ({}.{:03} per byte moved)", thousandths / 1000, thousandths % 1000)
}

#[cfg(test)]
mod tests {
    use umbra_admin::api::{BucketStatus, BucketView, PendingRepairView, ShadowStatusView, ShadowView};

    use super::render;

    fn status() -> BucketStatus {
        let view = ShadowView { endpoint: "https://s3.test".into(), region: "auto".into(), name: "old".into(), write_through: true };
        let bucket = BucketView {
            name: "photos".into(),
            organization: "acme".into(),
            created: "2026-01-01T00:00:00Z".into(),
            public: false,
            location: "global".into(),
            shadow: Some(view),
        };
        let shadow = ShadowStatusView {
            access_key: "AK".into(),
            generation: 1,
            origin_requests: 7,
            origin_bytes: 2500,
            hydrated_objects: 3,
            hydrated_bytes: 2000,
            discarded_copies: 0,
            local_reads: 5,
            cold_reads: 4,
            pending_repairs: vec![PendingRepairView {
                key: "half".into(),
                operation: "put".into(),
                since: "2026-01-01T00:00:00Z".into(),
                attempts: 2,
                last_error: Some("the origin cannot answer now".into()),
                next_attempt: None,
            }],
            last_errors: vec![],
        };
        BucketStatus { bucket, objects: 9, bytes: 2048, shadow: Some(shadow) }
    }

    #[test]
    fn the_table_begins_as_flyctl_does() {
        let shown = render(&status());
        let first: Vec<&str> = shown.lines().take(7).collect();
        let expected = [
            "Status",
            "  Name                        = photos",
            "  Status                      = migrating",
            "  Public                      = False",
            "  Shadow Bucket Write Through = True",
            "  Shadow Bucket Name          = old",
            "  Shadow Bucket Endpoint      = https://s3.test",
        ];
        assert_eq!(first, expected);
        assert!(shown.contains("= 3 objects, 2.0 KiB\n"), "{shown}");
        assert!(shown.contains("= 2.4 KiB (1.250 per byte moved)\n"), "{shown}");
        assert!(
            shown.contains("Repair                    = half (put since 2026-01-01T00:00:00Z, 2 attempts): the origin cannot answer now\n"),
            "{shown}"
        );
    }

    #[test]
    fn without_a_shadow_nothing_is_said_of_one() {
        let mut status = status();
        (status.bucket.shadow, status.shadow) = (None, None);
        let shown = render(&status);
        assert!(shown.contains("= ready\n") && !shown.contains("Shadow") && !shown.contains("Origin"), "{shown}");
    }
}

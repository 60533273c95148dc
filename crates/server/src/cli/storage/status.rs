//! `umbra storage status`.

use std::time::Duration;

use clap::Args;
use umbra_admin::{
    AdminClient,
    api::{BucketStatus, JobView, OriginRequestsView, PendingRepairView, ShadowStatusView, UncarriedSummaryView},
};

use super::{place, progress};
use crate::cli::{
    Outcome, interval, out,
    table::{bytes, counted, objects, vertical, yes_no},
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

    /// List every object of which something could not be carried over, and why; with `--json` one object a line.
    #[arg(long, conflicts_with = "watch")]
    uncarried: bool,
}

impl Status {
    pub(crate) async fn run(self, target: &Target) -> Outcome {
        let client = target.client()?;
        if self.uncarried {
            return list_uncarried(&client, &self.name, target.json).await;
        }
        let (mut seen, mut is_away) = (false, false);
        loop {
            let status = match client.bucket_status(&self.name).await {
                // What was there before is starting again, perhaps.
                Err(error) if seen && error.is_unreachable() => {
                    if !std::mem::replace(&mut is_away, true) {
                        out::note(format_args!("{error} Looking again until it answers."));
                    }
                    tokio::time::sleep(WATCH_INTERVAL).await;
                    continue;
                }
                answer => answer?,
            };
            (seen, is_away) = (true, false);
            if target.json {
                out::json(&status)?;
            } else {
                let clear = if self.watch && out::is_terminal() { CLEAR } else { "" };
                out::text_of(format_args!("{clear}{}", render(&status, out::is_terminal())))?;
            }
            if !self.watch {
                return Ok(());
            }
            tokio::time::sleep(WATCH_INTERVAL).await;
        }
    }
}

/// Page by page, so that it may be as long as it likes.
async fn list_uncarried(client: &AdminClient, bucket: &str, as_json: bool) -> Outcome {
    let mut after: Option<String> = None;
    loop {
        let page = client.uncarried(bucket, after.as_deref()).await?;
        for object in &page.objects {
            if as_json {
                out::json_line(object)?;
            } else {
                out::line(format_args!("{}  {}  {}", object.at, object.reasons.join(","), shown(&object.key)))?;
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// A key as one line can show it.
fn shown(key: &str) -> String {
    if key.chars().any(char::is_control) { format!("{key:?}") } else { key.to_owned() }
}

/// The status as a table, in the way of `flyctl storage status`, with what Umbra knows besides; with bars where jobs run.
pub(super) fn render(status: &BucketStatus, with_bars: bool) -> String {
    let bucket = &status.bucket;
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    row("Name", bucket.name.clone());
    row("Status", state(status).to_owned());
    row("Public", yes_no(bucket.public).to_owned());
    if let Some(shadow) = &bucket.shadow {
        row("Shadow Bucket Write Through", yes_no(shadow.write_through).to_owned());
        row("Shadow Bucket Name", shadow.name.clone());
        row("Shadow Bucket Endpoint", shadow.endpoint.clone());
        row("Shadow Bucket Region", shadow.region.clone());
        row("Shadow Hydrate", shadow.hydrate.clone());
        row("Shadow Revalidate", shadow.revalidate_seconds.map_or_else(|| "off".to_owned(), interval::format));
        row("Shadow Price Per GB", shadow.price_per_gb.clone().unwrap_or_else(|| "off".to_owned()));
    }
    row("Org", bucket.organization.clone());
    row("Location", bucket.location.clone());
    row("Objects", status.objects.to_string());
    row("Size", bytes(status.bytes));
    if bucket.shadow.as_ref().is_some_and(|shadow| shadow.write_through) {
        let before = "what was written here alone, if anything was: `umbra storage rollback` brings it there";
        row("Before Write Through", before.to_owned());
    }
    for job in &status.jobs {
        row(&progress::title(job), progress::summary(job, with_bars));
    }
    if let Some(placement) = &status.placement {
        let advice = if place::is_idle(placement) { format!(": `umbra storage place {}` has it done", bucket.name) } else { String::new() };
        row("Placement", place::summary(placement) + &advice);
        place::rows(placement).into_iter().for_each(|(region, what)| row(&format!("  {region}"), what));
    }
    status.shadow.iter().for_each(|shadow| rows.extend(migration(shadow)));
    vertical("Status", &rows)
}

/// What is going on with a bucket, in a word: it is migrating while something brings in what nobody asks for.
fn state(status: &BucketStatus) -> &'static str {
    let migrates = |job: &JobView| job.kind == "backfill" && job.state == "running";
    match &status.bucket.shadow {
        Some(_) if status.jobs.iter().any(migrates) => "migrating",
        Some(_) => "attached",
        None => "ready",
    }
}

/// How the migration is doing.
fn migration(shadow: &ShadowStatusView) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    row("Health", format!("{}: {}", shadow.health.verdict, shadow.health.reason));
    row("Shadow Access Key", shadow.access_key.clone());
    row("Shadow Generation", shadow.generation.to_string());
    row("Moved Here", format!("{}, {}", objects(shadow.hydrated_objects), bytes(shadow.moved_bytes)));
    row("Left The Origin", left(shadow));
    row("Spared The Origin", format!("{}{}", bytes(shadow.saved_bytes), money(shadow.money_saved.as_ref())));
    row("Requests To The Origin", requests(shadow));
    row("Reads From Here", format!("{}, {}", shadow.local_reads, bytes(shadow.local_bytes)));
    row("Reads From The Origin", format!("{}, {}", shadow.cold_reads, bytes(shadow.cold_bytes)));
    row("Discarded Copies", format!("{}, {}", shadow.discarded_copies, bytes(shadow.discarded_bytes)));
    if shadow.revalidations > 0 {
        row("Revalidations", format!("{}, {} changed", shadow.revalidations, shadow.revalidated_changes));
    }
    row("Pending Repairs", shadow.pending_repairs.len().to_string());
    for repair in &shadow.pending_repairs {
        row("  Repair", pending(repair));
    }
    for reason in &shadow.uncarried {
        row("Not Carried Over", not_carried(reason));
    }
    for error in &shadow.last_errors {
        row("Origin Error", format!("{} {}: {}", error.at, error.doing, error.message));
    }
    rows
}

/// A write that is half done, and how its repair fares.
fn pending(repair: &PendingRepairView) -> String {
    let PendingRepairView { key, operation, since, attempts, .. } = repair;
    let attempts = counted((*attempts).into(), "attempt", "attempts");
    let error = repair.last_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    format!("{key} ({operation} since {since}, {attempts}){error}")
}

/// What left the origin: to be read or to stay, only to be compared, and what all of it cost.
fn left(shadow: &ShadowStatusView) -> String {
    let compared = Some(shadow.compared_bytes).filter(|compared| *compared > 0);
    let compared = compared.map(|compared| format!(", and {} to be compared", bytes(compared))).unwrap_or_default();
    format!("{}{}{compared}{}", bytes(shadow.origin_bytes), egress_ratio(shadow), money(shadow.money_spent.as_ref()))
}

/// How many bytes left the origin for each that was moved: 1.000 when none left it twice.
fn egress_ratio(shadow: &ShadowStatusView) -> String {
    shadow.egress_ratio.map(|ratio| format!(" ({ratio:.3} per byte moved)")).unwrap_or_default()
}

fn money(amount: Option<&String>) -> String {
    amount.map(|amount| format!(", about {amount}")).unwrap_or_default()
}

/// All requests, and of which kinds they were.
fn requests(shadow: &ShadowStatusView) -> String {
    let OriginRequestsView { get, head, list, put, delete, tag, multipart } = shadow.origin_requests_by_kind;
    let kinds = [("get", get), ("head", head), ("list", list), ("put", put), ("delete", delete), ("tag", tag), ("multipart", multipart)];
    let kinds: Vec<_> = kinds.iter().filter(|(_, count)| *count > 0).map(|(kind, count)| format!("{count} {kind}")).collect();
    if kinds.is_empty() { "0".to_owned() } else { format!("{} ({})", shadow.origin_requests, kinds.join(", ")) }
}

fn not_carried(summary: &UncarriedSummaryView) -> String {
    let UncarriedSummaryView { reason, objects: count, keys } = summary;
    let why = match reason.as_str() {
        "archived" => "archived at the origin, to be restored there",
        "customer_key" => "encrypted with a key of yours (SSE-C)",
        "retention" => "the retention did not come along",
        "legal_hold" => "the legal hold did not come along",
        "acl" => "an access control list did not come along",
        "hidden_metadata" => "the origin does not show some of the metadata",
        "unreadable_header" => "a header holds what is no text",
        "hidden_tags" => "the origin does not let the tags be read",
        other => other,
    };
    let more = if *count > keys.len() as u64 { ", …" } else { "" };
    let keys: Vec<_> = keys.iter().map(|key| shown(key)).collect();
    format!("{}, {why} ({}{more})", objects(*count), keys.join(", "))
}

#[cfg(test)]
mod tests {
    use umbra_admin::api::{
        BucketStatus, BucketView, HealthView, JobView, OriginRequestsView, PendingRepairView, PlacementView, ShadowStatusView, ShadowView,
        UncarriedSummaryView,
    };

    use super::render;
    use crate::cli::storage::progress::tests::job;

    fn status() -> BucketStatus {
        let view = ShadowView {
            endpoint: "https://s3.test".into(),
            region: "auto".into(),
            name: "old".into(),
            write_through: true,
            hydrate: "touched".into(),
            revalidate_seconds: Some(600),
            price_per_gb: Some("0.09".into()),
        };
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
            health: HealthView { verdict: "degraded".into(), reason: "1 write is half done".into() },
            origin_requests: 7,
            origin_requests_by_kind: OriginRequestsView { get: 5, list: 2, ..OriginRequestsView::default() },
            origin_bytes: 2500,
            moved_bytes: 2000,
            egress_ratio: Some(1.25),
            saved_bytes: 4096,
            money_spent: Some("0.02".into()),
            hydrated_objects: 3,
            hydrated_bytes: 2000,
            pending_repairs: vec![PendingRepairView {
                key: "half".into(),
                operation: "put".into(),
                since: "2026-01-01T00:00:00Z".into(),
                attempts: 2,
                last_error: Some("the origin cannot answer now".into()),
                next_attempt: None,
            }],
            uncarried: vec![UncarriedSummaryView { reason: "archived".into(), objects: 7, keys: vec!["a\nb".into(), "c".into()] }],
            ..ShadowStatusView::default()
        };
        BucketStatus { bucket, objects: 9, bytes: 2048, shadow: Some(shadow), jobs: vec![], placement: None }
    }

    #[test]
    fn the_table_begins_as_flyctl_does() {
        let shown = render(&status(), false);
        let first: Vec<&str> = shown.lines().take(7).collect();
        let expected = [
            "Status",
            "  Name                        = photos",
            "  Status                      = attached",
            "  Public                      = False",
            "  Shadow Bucket Write Through = True",
            "  Shadow Bucket Name          = old",
            "  Shadow Bucket Endpoint      = https://s3.test",
        ];
        assert_eq!(first, expected);
        assert!(shown.contains("Shadow Revalidate           = 10m\n"), "{shown}");
        assert!(shown.contains("= 3 objects, 2.0 KiB\n"), "{shown}");
        assert!(shown.contains("= 2.4 KiB (1.250 per byte moved), about 0.02\n"), "{shown}");
        let mut compared = status();
        compared.shadow.as_mut().unwrap().compared_bytes = 1024;
        let shown_compared = render(&compared, false);
        assert!(shown_compared.contains("= 2.4 KiB (1.250 per byte moved), and 1.0 KiB to be compared, about 0.02\n"), "{shown_compared}");
        assert!(shown.contains("Spared The Origin           = 4.0 KiB\n"), "{shown}");
        assert!(shown.contains("Requests To The Origin      = 7 (5 get, 2 list)\n"), "{shown}");
        assert!(shown.contains("Health                      = degraded: 1 write is half done\n"), "{shown}");
        assert!(
            shown.contains("Not Carried Over            = 7 objects, archived at the origin, to be restored there (\"a\\nb\", c, …)\n"),
            "{shown}"
        );
        assert!(
            shown.contains("Repair                    = half (put since 2026-01-01T00:00:00Z, 2 attempts): the origin cannot answer now\n"),
            "{shown}"
        );
    }

    #[test]
    fn jobs_are_shown_with_their_progress() {
        let job = JobView { objects_left: Some(30), bytes_left: Some(2048), ..job() };
        let ended = JobView { kind: "verify".into(), state: "done".into(), ended: Some("2026-01-01T01:00:00Z".into()), ..job.clone() };
        let status = BucketStatus { jobs: vec![job, ended], ..status() };
        let bar = "Backfill                    = [==========          ] 50%, 10 of 40 objects, 2.0 KiB of 4.0 KiB, 1.0 KiB/s\n";
        let shown = render(&status, true);
        assert!(shown.contains("  Status                      = migrating\n"), "{shown}");
        assert!(shown.contains(bar), "{shown}");
        assert!(shown.contains("Verify                      = done: 10 of 40 objects"), "{shown}");
        assert!(!render(&status, false).contains('['), "only where a person looks");
    }

    #[test]
    fn where_bytes_are_not_known_it_says_how_to_know() {
        let mut placement =
            PlacementView { location: "dual:fra,iad".into(), regions: vec![], audit: None, auditing_since: None, settled: false };
        let shown = |placement: &PlacementView| render(&BucketStatus { placement: Some(placement.clone()), ..status() }, false);
        let idle = shown(&placement);
        assert!(idle.contains("= not looked through by this location yet: `umbra storage place photos` has it done\n"), "{idle}");
        placement.auditing_since = Some("2026-01-01T00:00:00Z".into());
        let busy = shown(&placement);
        assert!(busy.contains("= being looked through since 2026-01-01T00:00:00Z\n"), "{busy}");
    }

    #[test]
    fn without_a_shadow_nothing_is_said_of_one() {
        let mut status = status();
        (status.bucket.shadow, status.shadow) = (None, None);
        let shown = render(&status, false);
        assert!(shown.contains("= ready\n") && !shown.contains("Shadow") && !shown.contains("Origin"), "{shown}");
    }
}

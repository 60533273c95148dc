//! `umbra storage rollback`.

use clap::Args;
use serde_json::json;
use umbra_admin::api::{BucketStatus, JobNote, JobSettings, JobView, ShadowView};

use super::job;
use crate::cli::{
    Failure, Outcome, out,
    table::{bytes, table, vertical},
    target::Target,
};

/// Brings what is newer here back to the origin, so that the application can be pointed back to it.
///
/// Write-through is switched on first, so that from then on every write goes both ways. Then every object that was written here goes to the
/// origin, with its headers, metadata, tags and part boundaries, and what was deleted here is deleted there. A user's write meanwhile wins.
/// What somebody else changed or deleted at the origin is left as it is there, and told: where it was changed here too that is a conflict,
/// which stands in the way until the key is written or deleted here once more. Uploads in parts that are under way when write-through is
/// switched on have to begin anew.
///
/// The server does the work: it goes on when this command is interrupted, and running the command again follows it.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The bucket.
    name: String,

    /// Change nothing anywhere: count and list what would be copied and deleted.
    #[arg(long)]
    dry_run: bool,
}

impl Rollback {
    pub(crate) async fn run(self, target: &Target) -> Outcome {
        let client = target.client()?;
        let settings = JobSettings { dry_run: self.dry_run.then_some(true), ..JobSettings::default() };
        let started = job::start_or_join(&client, &self.name, "rollback", &settings).await?;
        let job = job::follow(&client, &self.name, started).await?;
        let mut notes: Vec<JobNote> = Vec::new();
        job::notes(&client, &self.name, "rollback", |note| {
            notes.push(note);
            Ok(notes.len() < job::NOTES_SHOWN)
        })
        .await?;
        let status = client.bucket_status(&self.name).await?;
        let obstacle = if self.dry_run { None } else { obstacle(&job, &status) };
        if target.json {
            let can_point_back = !self.dry_run && obstacle.is_none();
            out::json(&json!({ "bucket": self.name, "job": job, "keys": notes, "can_point_back": can_point_back }))?;
        } else {
            out::text_of(render(&self.name, self.dry_run, &job, &notes, &status))?;
        }
        match (obstacle, &status.bucket.shadow) {
            (Some(obstacle), _) => Err(Failure::new(obstacle)),
            (None, Some(shadow)) if !self.dry_run && !target.json => out::line(pointer(&job, shadow)),
            _ => Ok(()),
        }
    }
}

/// What stands in the way of pointing the application back.
fn obstacle(job: &JobView, status: &BucketStatus) -> Option<String> {
    let repairs = status.shadow.as_ref().map_or(0, |shadow| shadow.pending_repairs.len());
    match (job.objects_failed, repairs) {
        (0, 0) => None,
        (0, repairs) => Some(format!("the application cannot be pointed back yet: {repairs} repairs are pending; run this again")),
        (failed, _) => Some(format!(
            "the application cannot be pointed back yet: {failed} keys could not be brought to the origin; mend what is told of them and run this again"
        )),
    }
}

/// The last line: where the application can go.
fn pointer(job: &JobView, shadow: &ShadowView) -> String {
    let (name, endpoint) = (&shadow.name, &shadow.endpoint);
    let moved = ["copied", "tagged", "deleted"].iter().any(|sort| job::tally(job, sort).0 > 0);
    let what =
        if moved { "The origin has everything that is here." } else { "The origin has everything already: nothing had to be copied." };
    format!("{what} The application can be pointed back to {name} at {endpoint}.")
}

fn render(name: &str, dry_run: bool, job: &JobView, notes: &[JobNote], status: &BucketStatus) -> String {
    let mut text = String::new();
    if !notes.is_empty() {
        text = table(&["Key", "What", "Size", "Detail"], &job::rows(notes));
        if notes.len() == job::NOTES_SHOWN {
            text.push_str("… and more (--json tells the counts)\n");
        }
        text.push('\n');
    }
    let of = |sort: &str| {
        let (objects, size) = job::tally(job, sort);
        format!("{objects} ({})", bytes(size))
    };
    let is_off = status.bucket.shadow.as_ref().is_some_and(|shadow| !shadow.write_through);
    let (title, write_through) = match (dry_run, is_off, job::tally(job, "write-through-switched-on").0) {
        (true, true, _) => ("Rolling back NAME would do this", "switched on first"),
        (true, false, _) => ("Rolling back NAME would do this", "on already"),
        (false, _, 0) => ("Rollback of NAME", "was on already"),
        (false, _, _) => ("Rollback of NAME", "switched on"),
    };
    let rows = [
        ("Write Through", write_through.to_owned()),
        ("Copied to the Origin", of("copied")),
        ("Tags Set There", job::tally(job, "tagged").0.to_string()),
        ("Deleted There", of("deleted")),
        ("Left As It Is There", of("left")),
        ("In Conflict", of("conflict")),
        ("Failed", (job.objects_failed - job::tally(job, "conflict").0.min(job.objects_failed)).to_string()),
    ];
    text.push_str(&vertical(&title.replace("NAME", name), &rows.map(|(title, value)| (title.to_owned(), value))));
    text
}

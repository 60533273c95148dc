//! `umbra storage rollback`.

use clap::Args;
use serde_json::json;
use umbra_admin::{
    AdminClient,
    api::{BucketStatus, JobNote, JobSettings, JobView, ShadowView},
};

use super::job;
use crate::cli::{
    Failure, Outcome, out,
    table::{bytes, counted, table, vertical},
    target::Target,
};

const KIND: &str = "rollback";

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

    /// End the run that is under way, for good, and show what it did so far. What went to the origin stays there, and write-through stays on.
    #[arg(long, conflicts_with = "dry_run")]
    cancel: bool,
}

impl Rollback {
    pub(crate) async fn run(self, target: &Target) -> Outcome {
        let client = target.client()?;
        if self.cancel {
            return self.end(&client, target).await;
        }
        let settings = JobSettings { dry_run: self.dry_run.then_some(true), ..JobSettings::default() };
        let started = job::start_or_join(&client, &self.name, KIND, &settings).await?;
        let job = job::follow(&client, &self.name, started).await?;
        let (notes, status) = (first_notes(&client, &self.name).await?, client.bucket_status(&self.name).await?);
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
            (None, _) if self.dry_run && !target.json && job.objects_failed > 0 => out::line(format!(
                "The rollback itself would fail: {} not be brought to the origin.",
                counted(job.objects_failed, "key can", "keys can")
            )),
            _ => Ok(()),
        }
    }

    /// Ends the run that is under way.
    async fn end(&self, client: &AdminClient, target: &Target) -> Outcome {
        let job = client.cancel_job(&self.name, KIND).await?;
        let (notes, status) = (first_notes(client, &self.name).await?, client.bucket_status(&self.name).await?);
        let dry_run = job.settings.dry_run == Some(true);
        if target.json {
            // It may have come to its end before.
            let can_point_back = job.state == "done" && !dry_run && obstacle(&job, &status).is_none();
            return out::json(&json!({ "bucket": self.name, "job": job, "keys": notes, "can_point_back": can_point_back }));
        }
        out::text_of(render(&self.name, dry_run, &job, &notes, &status))
    }
}

async fn first_notes(client: &AdminClient, name: &str) -> Outcome<Vec<JobNote>> {
    let mut notes = Vec::new();
    job::notes(client, name, KIND, |note| {
        notes.push(note);
        Ok(notes.len() < job::NOTES_SHOWN)
    })
    .await?;
    Ok(notes)
}

/// What stands in the way of pointing the application back.
fn obstacle(job: &JobView, status: &BucketStatus) -> Option<String> {
    let repairs = status.shadow.as_ref().map_or(0, |shadow| shadow.pending_repairs.len() as u64);
    let not_yet = |why: String| Some(format!("the application cannot be pointed back yet: {why}"));
    match (job.objects_failed, repairs) {
        (0, 0) => None,
        (0, repairs) => not_yet(format!("{} pending; run this again", counted(repairs, "repair is", "repairs are"))),
        (failed, _) => not_yet(format!(
            "{} could not be brought to the origin; mend what is told above and run this again",
            counted(failed, "key", "keys")
        )),
    }
}

/// The last line: where the application can go.
fn pointer(job: &JobView, shadow: &ShadowView) -> String {
    let (name, endpoint) = (&shadow.name, &shadow.endpoint);
    let moved = ["copied", "tagged", "deleted"].iter().any(|sort| job::tally(job, sort).0 > 0);
    let what = match (job::tally(job, "left").0, moved) {
        (0, true) => "The origin has everything that is here.".to_owned(),
        (0, false) => "The origin has everything already: nothing had to be copied.".to_owned(),
        (left, _) => format!(
            "The origin has everything that was written here; {} as somebody else changed or deleted {} there.",
            counted(left, "key is left", "keys are left"),
            if left == 1 { "it" } else { "them" }
        ),
    };
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
        (false, true, _) => ("Rollback of NAME", "off"),
        (false, _, 0) => ("Rollback of NAME", "was on already"),
        (false, _, _) => ("Rollback of NAME", "switched on"),
    };
    let rows = [
        ("State", job.state.clone()),
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

//! Jobs that find things: started or joined, followed to their end, and what they noted.

use umbra_admin::{
    AdminClient,
    api::{JobNote, JobSettings, JobView},
};

use super::progress;
use crate::cli::{Failure, Outcome, out, table::bytes};

/// Notes shown to a person.
pub(super) const NOTES_SHOWN: usize = 100;

/// Starts a job, or joins the one of the same settings that is under way.
pub(super) async fn start_or_join(client: &AdminClient, name: &str, kind: &str, settings: &JobSettings) -> Outcome<JobView> {
    let refused = match client.start_job(name, kind, settings).await {
        Ok(job) => return Ok(job),
        Err(refused) => refused,
    };
    match client.job(name, kind).await {
        Ok(job) if job.settings == *settings && job.state == "running" => {
            out::note(format_args!("A {kind} of {name} is under way already; following it."));
            Ok(job)
        }
        Ok(job) if job.settings == *settings && job.state == "paused" => {
            out::note(format_args!("A {kind} of {name} was paused; it goes on."));
            Ok(client.resume_job(name, kind, &JobSettings::default()).await?)
        }
        _ => Err(refused.into()),
    }
}

/// What is said of a job in its state.
pub(super) fn said(job: &JobView) -> String {
    if job.state == "failed" { job.state.clone() } else { format!("is {}", job.state) }
}

/// Follows a job until it is done. One that ends otherwise is a failure.
pub(super) async fn follow(client: &AdminClient, name: &str, job: JobView) -> Outcome<JobView> {
    let job = progress::wait(client, name, job).await?;
    match (job.state.as_str(), &job.reason) {
        ("done", _) => Ok(job),
        (_, Some(reason)) => Err(Failure::new(format!("the {} of {name} {}: {reason}", job.kind, said(&job)))),
        (_, None) => Err(Failure::new(format!("the {} of {name} {}", job.kind, said(&job)))),
    }
}

/// Hands every note of the latest run to `take`, a page at a time, until it has enough.
pub(super) async fn notes(client: &AdminClient, name: &str, kind: &str, mut take: impl FnMut(JobNote) -> Outcome<bool>) -> Outcome {
    let mut after: Option<String> = None;
    loop {
        let page = client.job_notes(name, kind, after.as_deref()).await?;
        for note in page.notes {
            if !take(note)? {
                return Ok(());
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// How many objects of a sort there were, and their bytes.
pub(super) fn tally(job: &JobView, name: &str) -> (u64, u64) {
    job.tallies.iter().find(|tally| tally.name == name).map_or((0, 0), |tally| (tally.objects, tally.bytes))
}

/// A bucket, and the prefix behind its first slash.
pub(super) fn bucket_and_prefix(place: &str) -> (&str, &str) {
    place.split_once('/').unwrap_or((place, ""))
}

/// A key as one line of a table can show it.
pub(super) fn shown(key: &str) -> String {
    key.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// The rows of a table of notes.
pub(super) fn rows(notes: &[JobNote]) -> Vec<Vec<String>> {
    let row = |note: &JobNote| {
        let kind = note.finding.as_ref().map_or("failed", |finding| &finding.name);
        let values = note.differences.iter().filter_map(|difference| {
            let (ours, theirs) = (difference.local.as_deref()?, difference.origin.as_deref()?);
            Some(format!("{} {ours} here, {theirs} at the origin", difference.field))
        });
        let detail = std::iter::once(note.reason.clone()).chain(values).collect::<Vec<_>>().join("; ");
        vec![shown(&note.key), kind.to_owned(), note.size.map(bytes).unwrap_or_default(), shown(&detail)]
    };
    notes.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::{bucket_and_prefix, shown};

    #[test]
    fn a_place_is_a_bucket_and_a_prefix() {
        for (place, expected) in [("b", ("b", "")), ("b/", ("b", "")), ("b/p", ("b", "p")), ("b/p/q/", ("b", "p/q/"))] {
            assert_eq!(bucket_and_prefix(place), expected);
        }
        assert_eq!(shown("a\n\u{1b}é"), "a\\n\\u{1b}é");
    }
}

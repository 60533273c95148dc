//! `umbra storage verify`.

use std::{fs::File, io::BufWriter, io::Write as _, path::PathBuf};

use clap::Args;
use serde_json::json;
use umbra_admin::{
    AdminClient,
    api::{JobNote, JobSettings, JobView},
};

use super::job;
use crate::cli::{
    Failure, Outcome, out,
    table::{bytes, counted, table, vertical},
    target::Target,
};

const KIND: &str = "verify";
/// What is said of an object that was not moved yet.
const COLD: &str = "cold";
/// Differences in the JSON on standard output; `--report` has all of them.
const IN_JSON: usize = 1000;

/// Compares a bucket with its origin, and keeps a report of every difference.
///
/// Keys, sizes, ETags, headers, metadata, tags and dates are compared. Objects that were not moved yet, and what was written or deleted here
/// while write-through is off, are reported and are as they should be. Anything else makes the exit status 1: something else at the origin
/// than was copied in, an object changed or deleted there since, a copy that is damaged, a key that could not be compared or is about to be
/// repaired; with write-through on also whatever is missing at the origin.
///
/// Objects that were not moved yet are counted, and listed only with `--all` or `--report`.
///
/// The server does the work: it goes on when this command is interrupted, and running the command again follows it.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The bucket; with a prefix behind a slash, only the keys that begin with it.
    #[arg(value_name = "NAME[/PREFIX]")]
    place: String,

    /// Compare contents byte by byte too. Every object that looks alike on both sides is read at the origin once more, which the old
    /// provider may bill as egress: what it comes to is told first.
    #[arg(long)]
    deep: bool,

    /// Write every difference to this file, one JSON object per line.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// List what was not moved yet too.
    #[arg(long)]
    all: bool,

    /// Show the report of the latest run and compare nothing.
    #[arg(long, conflicts_with = "deep")]
    last: bool,

    /// End the run that is under way, for good, and show what it found so far. Another one begins anew.
    #[arg(long, conflicts_with_all = ["deep", "last"])]
    cancel: bool,
}

/// Which differences to gather.
struct Wanted {
    /// How many at most.
    limit: usize,
    /// Whether what was not moved yet is among them.
    cold: bool,
}

/// As many differences as a person looks at, the ones first that need one.
#[derive(Default)]
struct Shown {
    unexplained: Vec<JobNote>,
    explained: Vec<JobNote>,
}

impl Verify {
    pub(crate) async fn run(self, target: &Target) -> Outcome {
        let (name, prefix) = job::bucket_and_prefix(&self.place);
        let client = target.client()?;
        let report = self.report.as_ref().map(create).transpose()?;
        let job = if self.last {
            client.job(name, KIND).await?
        } else if self.cancel {
            client.cancel_job(name, KIND).await?
        } else {
            if self.deep {
                tell_egress(&client, name).await?;
            }
            let settings = JobSettings { prefix: prefix.to_owned(), deep: self.deep.then_some(true), ..JobSettings::default() };
            let job = job::start_or_join(&client, name, KIND, &settings).await?;
            job::follow(&client, name, job).await?
        };
        let limit = if target.json { IN_JSON } else { job::NOTES_SHOWN };
        let shown = gather(&client, name, &job, report, &Wanted { limit, cold: self.all || target.json }).await?;
        if target.json {
            let differences: Vec<_> = shown.unexplained.iter().chain(&shown.explained).take(limit).map(line).collect();
            out::json(&json!({ "bucket": name, "job": job, "differences": differences }))?;
        } else {
            out::text_of(render(name, &job, &shown, self.all))?;
        }
        if self.cancel { Ok(()) } else { verdict(&job) }
    }
}

async fn tell_egress(client: &AdminClient, name: &str) -> Outcome {
    let here = client.bucket_status(name).await?.bytes;
    out::note(format_args!("--deep reads what is here from the origin once more: up to {} leave it.", bytes(here)));
    Ok(())
}

fn create(path: &PathBuf) -> Outcome<BufWriter<File>> {
    let file = File::create(path).map_err(|error| Failure::new(format!("write {}", path.display())).because(&error))?;
    Ok(BufWriter::new(file))
}

/// Reads the notes through as far as they are needed, and writes them to the report.
async fn gather(client: &AdminClient, name: &str, job: &JobView, mut report: Option<BufWriter<File>>, wanted: &Wanted) -> Outcome<Shown> {
    let mut shown = Shown::default();
    let Wanted { limit, cold } = *wanted;
    let at_most = |count: u64| usize::try_from(count).unwrap_or(usize::MAX).min(limit);
    let (unexplained, explained) = (at_most(job.objects_failed), at_most(listed(job, cold).saturating_sub(job.objects_failed)));
    job::notes(client, name, KIND, |note| {
        if let Some(report) = &mut report {
            writeln!(report, "{}", line(&note))?;
        }
        let is_explained = note.finding.as_ref().is_some_and(|finding| finding.explained);
        let is_cold = note.finding.as_ref().is_some_and(|finding| finding.name == COLD);
        let list = if is_explained { &mut shown.explained } else { &mut shown.unexplained };
        if list.len() < limit && (cold || !is_cold) {
            list.push(note);
        }
        Ok(report.is_some() || shown.unexplained.len() < unexplained || shown.explained.len() < explained)
    })
    .await?;
    if let Some(mut report) = report {
        report.flush()?;
    }
    Ok(shown)
}

/// One difference, for programs.
fn line(note: &JobNote) -> serde_json::Value {
    let finding = note.finding.as_ref();
    json!({
        "key": note.key,
        "kind": finding.map(|finding| &finding.name),
        "explained": finding.is_some_and(|finding| finding.explained),
        "size": note.size,
        "detail": note.reason,
        "differences": note.differences,
    })
}

/// How many differences there are to list.
fn listed(job: &JobView, cold: bool) -> u64 {
    job.tallies.iter().filter(|tally| cold || tally.name != COLD).map(|tally| tally.objects).sum()
}

fn render(name: &str, job: &JobView, shown: &Shown, cold: bool) -> String {
    let mut text = String::new();
    let rows: Vec<_> = job::rows(&shown.unexplained).into_iter().chain(job::rows(&shown.explained)).take(job::NOTES_SHOWN).collect();
    let (all, listed) = (listed(job, true), listed(job, cold));
    if !rows.is_empty() {
        text = table(&["Key", "Difference", "Size", "Detail"], &rows);
        if listed > rows.len() as u64 {
            text.push_str(&format!("… and {} more (--report FILE writes all)\n", listed - rows.len() as u64));
        }
        text.push('\n');
    }
    let mut summary = vec![
        ("State".to_owned(), job.state.clone()),
        ("Keys".to_owned(), format!("{} ({})", job.objects_done, bytes(job.bytes_done))),
        ("The Same".to_owned(), job.objects_done.saturating_sub(all).to_string()),
    ];
    summary.extend(job.tallies.iter().map(|tally| (title(&tally.name), format!("{} ({})", tally.objects, bytes(tally.bytes)))));
    summary.push(("Unexplained".to_owned(), job.objects_failed.to_string()));
    if job.bytes_egress > 0 {
        summary.push(("Read at the Origin".to_owned(), bytes(job.bytes_egress)));
    }
    text.push_str(&vertical(&format!("Verify of {name}"), &summary));
    text
}

/// A kind of difference, as people write it.
fn title(kind: &str) -> String {
    let mut words = kind.replace('-', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

/// Exit status 1 unless everything is as it should be.
fn verdict(job: &JobView) -> Outcome {
    if job.state != "done" {
        return Err(Failure::new(format!("the verify {}: this report is not complete", job::said(job))));
    }
    match job.objects_failed {
        0 => Ok(()),
        n => Err(Failure::new(format!("{} in a way that the migration does not explain", counted(n, "key differs", "keys differ")))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{Verify, title};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        verify: Verify,
    }

    #[test]
    fn contradictions_are_refused() {
        let parse = |arguments: &[&str]| Command::try_parse_from([&["verify"], arguments].concat()).map(|command| command.verify).ok();
        assert!(parse(&["b/p", "--deep", "--report", "f"]).is_some_and(|verify| verify.deep && verify.place == "b/p"));
        assert!(parse(&["b", "--last", "--report", "f"]).is_some_and(|verify| verify.last));
        assert!(parse(&["b", "--cancel", "--report", "f"]).is_some_and(|verify| verify.cancel));
        for contradiction in [&["b", "--last", "--deep"][..], &["b", "--cancel", "--deep"], &["b", "--cancel", "--last"]] {
            assert!(parse(contradiction).is_none(), "{contradiction:?}");
        }
        assert!(parse(&[]).is_none());
        assert_eq!(title("changed-at-origin"), "Changed at origin");
    }
}

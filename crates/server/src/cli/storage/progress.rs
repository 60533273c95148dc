//! What the commands that drive jobs share: waiting for the end, with a progress bar, and the report.

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use umbra_admin::{
    AdminClient, ClientError,
    api::{JobNote, JobView},
};

use super::job::{said, shown};
use crate::cli::{
    Failure, Outcome, out,
    table::{bytes, counted, objects, vertical},
};

/// How often a job is looked at: whenever it took so much longer again, so that waiting adds no more than that to what it takes.
const PATIENCE: u32 = 32;
const INTERVAL_MIN: Duration = Duration::from_millis(10);
const INTERVAL_MAX: Duration = Duration::from_millis(500);
/// How long a server may be away, starting again perhaps, before waiting is given up.
const AWAY_MAX: Duration = Duration::from_secs(60);
/// Keys of which a report says why they failed.
const NOTES_SHOWN: usize = 20;

/// Waits until a job does not run any more, showing how far it is if a person looks.
pub(super) async fn wait(client: &AdminClient, name: &str, started: JobView) -> Outcome<JobView> {
    let bar = io::stderr().is_terminal().then(bar);
    let (mut job, mut away_since, mut told, began) = (started, None, None, Instant::now());
    while job.state == "running" {
        match &bar {
            Some(bar) => show(bar, &job),
            // Without a bar there is but a word on what holds it up.
            None if job.reason != told => {
                job.reason.iter().for_each(out::note);
                told.clone_from(&job.reason);
            }
            None => {}
        }
        tokio::time::sleep((began.elapsed() / PATIENCE).clamp(INTERVAL_MIN, INTERVAL_MAX)).await;
        match client.job(name, &job.kind).await {
            Ok(now) if now.run != job.run => return Err(Failure::new(format!("the {} was ended and another one started", job.kind))),
            Ok(now) => (job, away_since) = (now, None),
            Err(error) if error.is_unreachable() && away_since.get_or_insert_with(Instant::now).elapsed() < AWAY_MAX => {
                if let Some(bar) = &bar {
                    bar.set_message("the server does not answer; trying again");
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(job)
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} [{bar:30}] {msg}").expect("the template is sound");
    let bar = ProgressBar::new(0).with_style(style.progress_chars("=> "));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn show(bar: &ProgressBar, job: &JobView) {
    if let Some((settled, all)) = extent(job) {
        bar.set_length(all);
        bar.set_position(settled);
    }
    bar.set_message(progress(job));
}

/// How many bytes are settled, and of how many, once that is known.
fn extent(job: &JobView) -> Option<(u64, u64)> {
    let settled = job.bytes_done + job.bytes_failed;
    job.bytes_left.map(|left| (settled, (settled + left).max(1)))
}

/// How a job stands, in one line; with a bar if it runs and its extent is known.
pub(super) fn summary(job: &JobView, with_bar: bool) -> String {
    if job.state == "running" {
        let bar = extent(job).filter(|_| with_bar).map(drawn).unwrap_or_default();
        return format!("{bar}{}", progress(job));
    }
    let reason = job.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let ended = job.ended.as_ref().map(|ended| format!(", ended {ended}")).unwrap_or_default();
    format!("{}{reason}: {}{}{ended}", job.state, counts(job), findings(job))
}

/// A bar as text, for what is drawn anew as a whole.
fn drawn((settled, all): (u64, u64)) -> String {
    const WIDTH: u128 = 20;
    let share = |whole: u128| u128::from(settled.min(all)) * whole / u128::from(all);
    let filled = usize::try_from(share(WIDTH)).unwrap_or_default();
    format!("[{:<20}] {}%, ", "=".repeat(filled), share(100))
}

/// How far a job that runs is, in one line.
fn progress(job: &JobView) -> String {
    let mut line = format!("{}, {}/s{}", counts(job), bytes(job.bytes_per_second), findings(job));
    match (&job.reason, job.seconds_left) {
        (Some(reason), _) => line.push_str(&format!(" ({reason})")),
        (None, Some(seconds)) => line.push_str(&format!(", {} left", duration(seconds))),
        (None, None) if job.objects_left.is_none() && job.kind == "backfill" => line.push_str(" (the origin is still being listed)"),
        (None, None) => {}
    }
    line
}

fn counts(job: &JobView) -> String {
    match (job.objects_left, job.bytes_left) {
        (Some(objects_left), Some(left)) => {
            let (all, all_bytes) = (job.objects_done + job.objects_failed + objects_left, job.bytes_done + job.bytes_failed + left);
            format!("{} of {}, {} of {}", job.objects_done, objects(all), bytes(job.bytes_done), bytes(all_bytes))
        }
        _ => format!("{}, {}", objects(job.objects_done), bytes(job.bytes_done)),
    }
}

fn findings(job: &JobView) -> String {
    let mut text = String::new();
    if job.objects_failed > 0 && job.kind != "verify" {
        text.push_str(&format!(", {} failed", job.objects_failed));
    }
    for tally in &job.tallies {
        text.push_str(&format!(", {} {}", tally.objects, tally.name));
    }
    text
}

/// The report of a job: as JSON, or as a table with the first of those that failed.
pub(super) async fn report(client: &AdminClient, name: &str, job: &JobView, json: bool) -> Outcome {
    if json {
        return out::json(job);
    }
    let notes = if job.objects_failed > 0 { notes(client, name, &job.kind).await? } else { Vec::new() };
    out::text_of(render(name, job, &notes))
}

async fn notes(client: &AdminClient, name: &str, kind: &str) -> Result<Vec<JobNote>, ClientError> {
    Ok(client.job_notes(name, kind, None).await?.notes.into_iter().take(NOTES_SHOWN).collect())
}

fn render(name: &str, job: &JobView, notes: &[JobNote]) -> String {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    row("Bucket", name.to_owned());
    if !job.settings.prefix.is_empty() {
        row("Prefix", job.settings.prefix.clone());
    }
    let reason = job.reason.as_deref().map_or_else(String::new, |reason| format!(" ({reason})"));
    row("State", format!("{}{reason}", job.state));
    row("Done", format!("{}, {}", objects(job.objects_done), bytes(job.bytes_done)));
    match (job.objects_left, job.bytes_left) {
        (Some(left), Some(left_bytes)) => row("Left", format!("{}, {}", objects(left), bytes(left_bytes))),
        _ => row("Left", "not known before the origin is listed".to_owned()),
    }
    row("Failed", format!("{}, {}", objects(job.objects_failed), bytes(job.bytes_failed)));
    row("Left The Origin", bytes(job.bytes_egress));
    if job.state == "running" {
        row("Rate", format!("{}/s", bytes(job.bytes_per_second)));
    }
    if let Some(seconds) = job.seconds_left {
        row("Time Left", duration(seconds));
    }
    row("Started", job.started.clone());
    if let Some(ended) = &job.ended {
        row("Ended", ended.clone());
    }
    for note in notes {
        row("  Failed", format!("{} (tried {}): {}", shown(&note.key), counted(note.attempts.into(), "time", "times"), note.reason));
    }
    vertical(&title(job), &rows)
}

/// What a job does, as a heading.
pub(super) fn title(job: &JobView) -> String {
    let mut title = job.kind.clone();
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    if job.settings.dry_run == Some(true) {
        title.push_str(" (dry run)");
    }
    title
}

/// What a job that was waited for means for the exit status.
pub(super) fn judge(job: &JobView) -> Outcome {
    let reason = job.reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
    match job.state.as_str() {
        "done" if job.objects_failed == 0 && job.objects_left.is_none_or(|left| left == 0) => Ok(()),
        "done" if job.objects_failed == 0 => {
            let left = counted(job.objects_left.unwrap_or_default(), "object has", "objects have");
            Err(Failure::new(format!("{left} come up meanwhile; run this again")))
        }
        "done" => Err(Failure::new(format!("{} could not be moved", objects(job.objects_failed)))),
        _ => Err(Failure::new(format!("the {} {}{reason}", job.kind, said(job)))),
    }
}

/// A stretch of time, to two units.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use umbra_admin::api::{JobNote, JobSettings, JobView, TallyView};

    use super::{duration, judge, progress, render, summary};

    pub(in crate::cli::storage) fn job() -> JobView {
        JobView {
            kind: "backfill".into(),
            run: 1,
            state: "running".into(),
            reason: None,
            settings: JobSettings { prefix: "2024/".into(), ..JobSettings::default() },
            objects_done: 10,
            bytes_done: 2048,
            objects_left: None,
            bytes_left: None,
            objects_failed: 0,
            bytes_failed: 0,
            bytes_egress: 2100,
            tallies: vec![],
            bytes_per_second: 1024,
            seconds_left: None,
            started: "2026-01-01T00:00:00Z".into(),
            updated: "2026-01-01T00:00:00Z".into(),
            ended: None,
            complete_since: None,
        }
    }

    #[test]
    fn the_line_says_how_far_it_is() {
        assert_eq!(progress(&job()), "10 objects, 2.0 KiB, 1.0 KiB/s (the origin is still being listed)");
        let known = JobView { objects_left: Some(30), bytes_left: Some(6144), seconds_left: Some(65), ..job() };
        assert_eq!(progress(&known), "10 of 40 objects, 2.0 KiB of 8.0 KiB, 1.0 KiB/s, 1 min 5 s left");
        let found = vec![TallyView { name: "cold".into(), objects: 3, bytes: 9 }];
        let verify = JobView { kind: "verify".into(), objects_failed: 1, tallies: found, ..job() };
        assert_eq!(progress(&verify), "10 objects, 2.0 KiB, 1.0 KiB/s, 3 cold");
        let held_up = JobView { objects_failed: 2, reason: Some("the origin is away".into()), ..known };
        assert_eq!(progress(&held_up), "10 of 42 objects, 2.0 KiB of 8.0 KiB, 1.0 KiB/s, 2 failed (the origin is away)");
    }

    #[test]
    fn the_summary_says_how_it_stands() {
        let running = JobView { objects_left: Some(30), bytes_left: Some(6144), seconds_left: Some(65), ..job() };
        let line = "10 of 40 objects, 2.0 KiB of 8.0 KiB, 1.0 KiB/s, 1 min 5 s left";
        assert_eq!(summary(&running, false), line);
        assert_eq!(summary(&running, true), format!("[=====               ] 25%, {line}"));
        assert_eq!(summary(&job(), true), progress(&job()), "no bar without an extent");
        let paused = JobView { state: "paused".into(), reason: Some("on request".into()), ..running };
        assert_eq!(summary(&paused, true), "paused (on request): 10 of 40 objects, 2.0 KiB of 8.0 KiB");
        let ended = Some("2026-01-01T01:00:00Z".to_owned());
        let done = JobView { state: "done".into(), objects_failed: 2, ended, ..job() };
        assert_eq!(summary(&done, true), "done: 10 objects, 2.0 KiB, 2 failed, ended 2026-01-01T01:00:00Z");
    }

    #[test]
    fn the_report_names_what_failed() {
        let failed = JobView { state: "done".into(), objects_failed: 1, bytes_failed: 20, ..job() };
        let note = JobNote {
            key: "bad".into(),
            reason: "archived".into(),
            attempts: 4,
            at: String::new(),
            size: None,
            differences: vec![],
            finding: None,
        };
        let shown = render("photos", &failed, &[note]);
        for expected in
            ["Backfill\n", "= 2024/\n", "= done\n", "= 10 objects, 2.0 KiB\n", "= 1 object, 20 B\n", "= bad (tried 4 times): archived\n"]
        {
            assert!(shown.contains(expected), "{expected}: {shown}");
        }
        assert_eq!(judge(&failed).unwrap_err().message(), "1 object could not be moved");
        let paused = JobView { state: "paused".into(), reason: Some("the budget is spent".into()), ..job() };
        assert_eq!(judge(&paused).unwrap_err().message(), "the backfill is paused: the budget is spent");
        assert_eq!(judge(&JobView { state: "done".into(), ..job() }), Ok(()));
    }

    #[test]
    fn times_are_readable() {
        let table = [(0, "0 s"), (61, "1 min 1 s"), (3660, "1 h 1 min"), (90_000, "1 d 1 h")];
        for (seconds, expected) in table {
            assert_eq!(duration(seconds), expected);
        }
    }
}

//! `umbra storage migrate`.

use clap::{Args, ValueEnum};
use umbra_admin::{
    AdminClient,
    api::{JobSettings, JobView, OrderName},
};

use super::progress;
use crate::cli::{
    Failure, Outcome, out,
    table::{bytes, counted, objects},
    target::Target,
};

const KIND: &str = "backfill";
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Brings what is left at the origin here, in the background. The server does it: this command may go.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// The bucket, and below which prefix, as `photos` or `photos/2024/`.
    #[arg(value_name = "NAME[/PREFIX]")]
    place: String,

    /// Wait for the end, with a progress bar; exit status 1 unless everything moved.
    #[arg(short, long)]
    wait: bool,

    /// Pause it.
    #[arg(long, conflicts_with_all = ["resume", "cancel", "wait", "limits"])]
    pause: bool,

    /// Let it go on where it was; with limits, with those changed.
    #[arg(long, conflicts_with = "cancel")]
    resume: bool,

    /// End it for good. What has moved stays.
    #[arg(long, conflicts_with_all = ["wait", "limits"])]
    cancel: bool,

    #[command(flatten)]
    limits: Limits,
}

/// How fast and how far it may go. What is not given is not limited.
#[derive(Debug, Args)]
#[group(id = "limits", multiple = true)]
struct Limits {
    /// Megabytes a second that may leave the origin for it.
    #[arg(long, value_name = "N", value_parser = megabytes)]
    max_mbps: Option<u64>,

    /// Requests a second to the origin.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_rps: Option<u32>,

    /// Bytes that may leave the origin for it in all, as `500GB` or `2TiB`; then it pauses. Readers go on.
    #[arg(long, value_name = "BYTES", value_parser = size)]
    max_egress: Option<u64>,

    /// Objects moved at once, 16 by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    parallel: Option<u32>,

    /// In which order: by key, or by class of size (below 64 KiB, 1 MiB, 16 MiB, 256 MiB, and the rest).
    #[arg(long)]
    order: Option<Order>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    Key,
    Smallest,
}

impl Migrate {
    pub(crate) async fn run(self, target: &Target) -> Outcome {
        let (name, prefix) = place(&self.place);
        let changed = [(self.pause, "--pause"), (self.resume, "--resume"), (self.cancel, "--cancel")];
        if let Some((_, flag)) = changed.iter().find(|(is_given, _)| *is_given && !prefix.is_empty()) {
            return Err(Failure::usage(format!(
                "{flag} takes a bucket alone, and is for the migration it has, whatever its prefix: {flag} {name}"
            )));
        }
        let client = target.client()?;
        let settings = self.limits.settings();
        let job = if self.pause {
            client.pause_job(name, KIND).await?
        } else if self.cancel {
            client.cancel_job(name, KIND).await?
        } else if self.resume {
            let job = client.resume_job(name, KIND, &settings).await?;
            if settings != JobSettings::default() {
                out::note(format_args!("The migration of {name} goes on with {}.", limits_of(&job.settings)));
            }
            job
        } else {
            start(&client, name, JobSettings { prefix: prefix.to_owned(), ..settings }).await?
        };
        if !self.wait {
            return progress::report(&client, name, &job, target.json).await;
        }
        let job = progress::wait(&client, name, job).await?;
        progress::report(&client, name, &job, target.json).await?;
        progress::judge(&job)
    }
}

/// Starts it, or joins the one that does the same already.
async fn start(client: &AdminClient, name: &str, settings: JobSettings) -> Outcome<JobView> {
    let running = match client.job(name, KIND).await {
        Ok(job) => Some(job).filter(|job| job.state == "running" && job.settings.prefix == settings.prefix),
        Err(error) if error.is_no_job() => None,
        Err(error) => return Err(error.into()),
    };
    let Some(running) = running else { return Ok(client.start_job(name, KIND, &settings).await?) };
    let limits = JobSettings { prefix: String::new(), ..settings };
    let is_changed = limits != JobSettings::default();
    let job = if is_changed { client.resume_job(name, KIND, &limits).await? } else { running };
    let how = if is_changed { "now goes on" } else { "goes on" };
    out::note(format_args!("The migration of {name} is running already; it {how} with {}.", limits_of(&job.settings)));
    Ok(job)
}

/// The limits of a job, as a person says them.
fn limits_of(settings: &JobSettings) -> String {
    let JobSettings { parallel, bytes_per_second, requests_per_second, egress_bytes, order, .. } = settings;
    let limits = [
        bytes_per_second.map(|limit| format!("{}/s at most", bytes(limit))),
        requests_per_second.map(|limit| format!("{} a second at most", counted(limit.into(), "request", "requests"))),
        egress_bytes.map(|limit| format!("a budget of {} that leave the origin", bytes(limit))),
        parallel.map(|limit| format!("{} at once", objects(limit.into()))),
        order.map(|order| if order == OrderName::Key { "the order of keys" } else { "the smallest objects first" }.to_owned()),
    ];
    let limits: Vec<_> = limits.into_iter().flatten().collect();
    if limits.is_empty() { "no limits".to_owned() } else { limits.join(", ") }
}

impl Limits {
    fn settings(&self) -> JobSettings {
        JobSettings {
            bytes_per_second: self.max_mbps,
            requests_per_second: self.max_rps,
            egress_bytes: self.max_egress,
            parallel: self.parallel,
            order: self.order.map(|order| match order {
                Order::Key => OrderName::Key,
                Order::Smallest => OrderName::Smallest,
            }),
            ..JobSettings::default()
        }
    }
}

/// The bucket and the prefix that `NAME[/PREFIX]` names.
fn place(text: &str) -> (&str, &str) {
    text.split_once('/').unwrap_or((text, ""))
}

/// Megabytes, as a person writes them, in bytes.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is checked to be positive and to fit")]
fn megabytes(text: &str) -> Result<u64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number of megabytes".to_owned())?;
    let bytes = number * 1e6;
    if (1.0..1e18).contains(&bytes) { Ok(bytes as u64) } else { Err("not a number of megabytes above 0".to_owned()) }
}

/// A size, as a person writes it, in bytes.
fn size(text: &str) -> Result<u64, String> {
    let found = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (number, factor) = found.unwrap_or((text, 1));
    let number: u64 = number.trim_end().parse().map_err(|_| "not a size: a whole number and its unit, as 500GB or 2TiB".to_owned())?;
    if number == 0 {
        return Err("0 would stop it at once; leave it out for no limit".to_owned());
    }
    number.checked_mul(factor).ok_or_else(|| "more than there can be".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use umbra_admin::api::{JobSettings, OrderName};

    use super::{Migrate, limits_of, place};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        migrate: Migrate,
    }

    fn parse(arguments: &[&str]) -> Option<Migrate> {
        Command::try_parse_from([&["migrate", "photos"], arguments].concat()).ok().map(|command| command.migrate)
    }

    #[test]
    fn limits_are_understood() {
        let flags = ["--max-mbps", "2.5", "--max-rps", "10", "--max-egress", "3GiB", "--parallel", "4", "--order", "smallest"];
        let expected = JobSettings {
            bytes_per_second: Some(2_500_000),
            requests_per_second: Some(10),
            egress_bytes: Some(3 << 30),
            parallel: Some(4),
            order: Some(OrderName::Smallest),
            ..JobSettings::default()
        };
        assert_eq!(parse(&flags).unwrap().limits.settings(), expected);
        assert_eq!(parse(&["--wait"]).unwrap().limits.settings(), JobSettings::default());
        assert_eq!(parse(&["--max-egress", "5000"]).unwrap().limits.max_egress, Some(5000));
        for bad in [
            &["--max-mbps", "0"][..],
            &["--max-mbps", "fast"],
            &["--max-rps", "0"],
            &["--max-egress", "much"],
            &["--max-egress", "99999999TiB"],
            &["--max-egress", "0"],
            &["--max-egress", "0GB"],
            &["--parallel", "0"],
            &["--order", "newest"],
            &["--pause", "--resume"],
            &["--pause", "--wait"],
            &["--cancel", "--max-rps", "1"],
            &["--cancel", "--wait"],
        ] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
        assert!(parse(&["--resume", "--wait", "--max-egress", "1GB"]).is_some());
    }

    #[test]
    fn limits_are_said() {
        assert_eq!(limits_of(&JobSettings { prefix: "a/".into(), ..JobSettings::default() }), "no limits");
        let settings = JobSettings {
            bytes_per_second: Some(2048),
            requests_per_second: Some(1),
            egress_bytes: Some(3 << 30),
            parallel: Some(4),
            order: Some(OrderName::Smallest),
            ..JobSettings::default()
        };
        let expected = "2.0 KiB/s at most, 1 request a second at most, a budget of 3.0 GiB that leave the origin, 4 objects at once, \
                        the smallest objects first";
        assert_eq!(limits_of(&settings), expected);
    }

    #[test]
    fn a_prefix_is_what_follows_the_first_slash() {
        assert_eq!([place("photos"), place("photos/"), place("photos/a/b")], [("photos", ""), ("photos", ""), ("photos", "a/b")]);
    }
}

//! `umbra storage place`.

use std::time::Duration;

use clap::Args;
use umbra_admin::{
    AdminClient,
    api::{PlacementView, RegionUseView},
};

use crate::cli::{
    Failure, Outcome, out,
    table::{bytes, counted},
    target::Target,
};

/// How often `--wait` looks again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked through again before what was counted is told: who writes all the while has copies to be made each time.
const LOOKS_MAX: usize = 3;

/// Holds where a bucket's bytes are against its location, and has it put right. The server does it: this command may go.
///
/// With `--wait` the exit status is 1 if contents are found lost that have no copy.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The bucket.
    name: String,

    /// Wait until everything is where it has to be, and tell what is there then. What is in the way is told meanwhile.
    #[arg(short, long)]
    wait: bool,
}

impl Place {
    pub(crate) async fn run(self, target: &Target) -> Outcome {
        let client = target.client()?;
        let mut placement = client.place(&self.name).await?;
        if self.wait {
            placement = self.settled(target, &client, placement).await?;
            for _ in 0..LOOKS_MAX {
                // What was counted is from before these copies were made.
                if placement.audit.as_ref().is_none_or(|audit| audit.missing == 0) {
                    break;
                }
                placement = self.settled(target, &client, client.place(&self.name).await?).await?;
            }
        }
        if target.json {
            out::json(&placement)?;
        } else {
            out::line(summary(&placement))?;
            rows(&placement).iter().try_for_each(|(region, what)| out::line(format_args!("{region}: {what}")))?;
        }
        match gone(&placement) {
            gone if self.wait && gone > 0 => Err(Failure::new(format!(
                "{} lost, without a copy: lines of level ERROR in the log of the node that leads name the objects",
                counted(gone, "content is", "contents are")
            ))),
            _ => Ok(()),
        }
    }

    /// Waits until everything is where it has to be, and tells meanwhile what is not yet, and why.
    async fn settled(&self, target: &Target, client: &AdminClient, mut placement: PlacementView) -> Outcome<PlacementView> {
        let mut told = String::new();
        while !placement.settled {
            let failing = placement.regions.iter().filter(|region| region.failing > 0);
            let doing: Vec<_> = [summary(&placement)].into_iter().chain(failing.map(failure)).collect();
            let doing = doing.join("; ");
            if doing != told && !target.json {
                out::note(&doing);
            }
            told = doing;
            tokio::time::sleep(LOOK_EVERY).await;
            placement = match client.placement(&self.name).await {
                Err(error) if error.is_unreachable() => continue,
                answer => answer?,
            };
        }
        Ok(placement)
    }
}

/// Whether nobody has looked yet where the bytes are, nor is looking.
pub(super) fn is_idle(placement: &PlacementView) -> bool {
    doing(placement).is_empty() && !is_done(placement)
}

fn is_done(placement: &PlacementView) -> bool {
    placement.settled && placement.audit.is_some()
}

/// Contents whose bytes are nowhere.
fn gone(placement: &PlacementView) -> u64 {
    placement.audit.as_ref().map_or(0, |audit| audit.gone)
}

/// Where it stands, in one line.
pub(super) fn summary(placement: &PlacementView) -> String {
    let doing = doing(placement);
    match &placement.audit {
        _ if !doing.is_empty() => doing.join(", "),
        Some(audit) if is_done(placement) && placement.location == "global" => {
            format!("counted as of {}; what may be anywhere is out of place nowhere, and is not looked for", audit.ended)
        }
        Some(audit) if is_done(placement) && audit.missing > 0 => {
            let made = counted(audit.missing, "copy was", "copies were");
            format!("everything is where it has to be; what each region has is told as of {}, before {made} made", audit.ended)
        }
        Some(audit) if is_done(placement) => format!("everything is where it has to be, as of {}", audit.ended),
        _ => "not looked through by this location yet".to_owned(),
    }
}

/// What is going on, and what is left.
fn doing(placement: &PlacementView) -> Vec<String> {
    let due: u64 = placement.regions.iter().map(|region| region.due).sum();
    let left = placement.audit.as_ref().map_or(0, |audit| audit.pending + audit.failed);
    let why = placement.audit.as_ref().filter(|audit| audit.failed > 0).and_then(|audit| audit.failure.as_ref());
    let gone = gone(placement);
    let mut parts = Vec::new();
    if let Some(since) = &placement.auditing_since {
        parts.push(format!("being looked through since {since}"));
    }
    if due > 0 {
        parts.push(format!("{} to be made", counted(due, "copy", "copies")));
    }
    if left > 0 {
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        parts.push(format!("{} to be looked at again{why}", counted(left, "content", "contents")));
    }
    if gone > 0 {
        parts.push(format!("{} lost, without a copy", counted(gone, "content is", "contents are")));
    }
    parts
}

/// What could not be copied to a region, and why.
fn failure(region: &RegionUseView) -> String {
    format!("{}: {}", region.region, failed(region))
}

fn failed(region: &RegionUseView) -> String {
    let why = region.failure.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} failed{why}", region.failing)
}

/// What each region has, and what it is to get.
pub(super) fn rows(placement: &PlacementView) -> Vec<(String, String)> {
    let shown = |region: &RegionUseView| {
        let mut parts = vec![format!("{} at home", bytes(region.home_bytes)), format!("{} of copies", bytes(region.copy_bytes))];
        if region.due > 0 {
            let since = region.due_since.as_ref().map(|since| format!(" since {since}")).unwrap_or_default();
            parts.push(format!("{} to be made{since}", counted(region.due, "copy", "copies")));
        }
        if region.failing > 0 {
            parts.push(failed(region));
        }
        (region.region.clone(), parts.join(", "))
    };
    placement.regions.iter().map(shown).collect()
}

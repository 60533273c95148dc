//! `umbra storage place`.

use std::time::Duration;

use clap::Args;
use umbra_admin::api::{PlacementView, RegionUseView};

use crate::cli::{
    Outcome, out,
    table::{bytes, counted},
    target::Target,
};

/// How often `--wait` looks again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Holds where a bucket's bytes are against its location, and has it put right. The server does it: this command may go.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The bucket.
    name: String,

    /// Wait until everything is where it has to be.
    #[arg(short, long)]
    wait: bool,
}

impl Place {
    pub(crate) async fn run(self, target: &Target) -> Outcome {
        let client = target.client()?;
        let mut placement = client.place(&self.name).await?;
        let mut told = String::new();
        while self.wait && !placement.settled {
            let doing = summary(&placement);
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
        if target.json {
            return out::json(&placement);
        }
        out::line(summary(&placement))?;
        rows(&placement).iter().try_for_each(|(region, what)| out::line(format_args!("{region}: {what}")))
    }
}

/// Whether nobody has looked yet where the bytes are, nor is looking.
pub(super) fn is_idle(placement: &PlacementView) -> bool {
    doing(placement).is_empty() && !is_done(placement)
}

fn is_done(placement: &PlacementView) -> bool {
    placement.settled && placement.audit.is_some()
}

/// Where it stands, in one line.
pub(super) fn summary(placement: &PlacementView) -> String {
    let doing = doing(placement);
    match &placement.audit {
        _ if !doing.is_empty() => doing.join(", "),
        Some(audit) if is_done(placement) => format!("everything is where it has to be, as of {}", audit.ended),
        _ => "not looked through by this location yet".to_owned(),
    }
}

/// What is going on, and what is left.
fn doing(placement: &PlacementView) -> Vec<String> {
    let due: u64 = placement.regions.iter().map(|region| region.due).sum();
    let left = placement.audit.as_ref().map_or(0, |audit| audit.pending + audit.failed);
    let mut parts = Vec::new();
    if let Some(since) = &placement.auditing_since {
        parts.push(format!("being looked through since {since}"));
    }
    if due > 0 {
        parts.push(format!("{} to be made", counted(due, "copy", "copies")));
    }
    if left > 0 {
        parts.push(format!("{} to be looked at again", counted(left, "content", "contents")));
    }
    parts
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
            let why = region.failure.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            parts.push(format!("{} failed{why}", region.failing));
        }
        (region.region.clone(), parts.join(", "))
    };
    placement.regions.iter().map(shown).collect()
}

//! Rounds of cases, and the figures they give.

use super::{
    case::{Case, Plan},
    load::{self, Limits, Tally},
    stage::Stage,
    usage,
};
use crate::cli::{Outcome, out};

/// A case ends after so much content, lest the disk fill.
const BYTES_MAX: u64 = 1 << 30;

/// The figures of one case on one server in one round.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub(super) ops_per_s: f64,
    pub(super) bytes_per_s: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// CPU time of the server per operation, where its process is known.
    pub(super) cpu_us: Option<f64>,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
}

/// All figures of one case: by server, then by round.
pub(super) type Cell = Vec<Vec<Sample>>;

/// Measures every case of `plan` on every server; gives a cell for each.
pub(super) async fn all(plan: &Plan, stages: &mut [Stage]) -> Outcome<Vec<Cell>> {
    for stage in &mut *stages {
        out::note(format_args!("preparing {}", stage.peer.name));
        stage.prepare(plan).await?;
    }
    let mut cells: Vec<Cell> = plan.cases.iter().map(|_| vec![Vec::new(); stages.len()]).collect();
    for round in 0..plan.rounds {
        out::note(format_args!("round {} of {}", round + 1, plan.rounds));
        for (case, cell) in plan.cases.iter().zip(&mut cells) {
            for turn in 0..stages.len() {
                // Who goes first changes, so that going first is no advantage.
                let index = (turn + round) % stages.len();
                cell[index].push(one(plan, case, &mut stages[index]).await?);
            }
        }
    }
    Ok(cells)
}

async fn one(plan: &Plan, case: &Case, stage: &mut Stage) -> Outcome<Sample> {
    stage.before(case).await?;
    let connections = load::connect(&stage.peer, case.connections).await?;
    let cpu = || stage.peer.pid.map(usage::cpu).transpose();
    let before = cpu()?;
    let limits = Limits { time: Some(plan.time), bytes: if case.writes() { BYTES_MAX } else { u64::MAX } };
    let mut tally = load::run(&stage.peer, connections, limits, &stage.source(case)).await;
    let used = cpu()?.zip(before).map(|(after, before)| after.saturating_sub(before));
    stage.after(case, plan).await?;
    let count = tally.nanos.len().max(1);
    let cpu_us = used.map(|used| micros(u64::try_from(used.as_nanos()).unwrap_or(u64::MAX)) / float(count as u64));
    Ok(sample(&mut tally, cpu_us))
}

fn sample(tally: &mut Tally, cpu_us: Option<f64>) -> Sample {
    tally.nanos.sort_unstable();
    let elapsed = tally.elapsed.as_secs_f64().max(1e-9);
    Sample {
        ops_per_s: float(tally.nanos.len() as u64) / elapsed,
        bytes_per_s: float(tally.bytes) / elapsed,
        p50_us: micros(percentile(&tally.nanos, 50)),
        p99_us: micros(percentile(&tally.nanos, 99)),
        cpu_us,
        errors: tally.errors,
        first_error: tally.first_error.take(),
    }
}

/// The smallest of `sorted` that so many percent of it do not exceed.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// The median; of an even number the mean of the two in the middle.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], upper) } else { upper })
}

fn micros(nanos: u64) -> f64 {
    float(nanos) / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Tally, median, percentile, sample};

    #[test]
    fn percentiles_and_medians() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!((percentile(&hundred, 50), percentile(&hundred, 99)), (50, 99));
        assert_eq!((percentile(&[7], 50), percentile(&[7], 99), percentile(&[], 50)), (7, 7, 0));
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0]), Some(2.5));
        assert_eq!(median([]), None);
    }

    #[test]
    fn figures_are_per_second_and_per_operation() {
        let mut tally = Tally {
            nanos: vec![3_000, 1_000, 2_000, 4_000],
            bytes: 4096,
            elapsed: Duration::from_millis(500),
            errors: 1,
            first_error: Some("e".into()),
        };
        let sample = sample(&mut tally, Some(5.0));
        assert_eq!((sample.ops_per_s, sample.bytes_per_s, sample.p50_us, sample.p99_us), (8.0, 8192.0, 2.0, 4.0));
        assert_eq!((sample.cpu_us, sample.errors, sample.first_error.as_deref()), (Some(5.0), 1, Some("e")));
    }
}

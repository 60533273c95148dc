//! What is told at the end: a table for people, or JSON.

use serde::Serialize;

use super::{
    case::{Case, Operation, Plan},
    measure::{Cell, Sample, median},
    own_server::OwnServer,
    size::Size,
    stage::Stage,
    usage,
};
use crate::cli::{
    Outcome,
    table::{self, table},
};

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    rounds: usize,
    seconds: f64,
    servers: Vec<Server>,
    results: Vec<Row>,
}

/// A server, and its memory.
#[derive(Debug, Serialize)]
struct Server {
    name: String,
    pid: Option<u32>,
    /// From its start to its readiness, where it was started for this.
    started_in_ms: Option<u64>,
    /// The same, before it had anything to do.
    rss_idle_bytes: Option<u64>,
    rss_peak_bytes: Option<u64>,
}

/// A case on a server: medians over the rounds.
#[derive(Debug, Serialize)]
struct Row {
    operation: Operation,
    size_bytes: Option<Size>,
    connections: usize,
    server: String,
    ops_per_s: f64,
    bytes_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_us_per_op: Option<f64>,
    errors: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_error: Option<String>,
    /// The first server's operations per second over the other's: medians of the ratios within each round.
    #[serde(skip_serializing_if = "Option::is_none")]
    ops_ratio: Option<f64>,
    /// The same of CPU time per operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_ratio: Option<f64>,
}

impl Report {
    pub(super) fn new(plan: &Plan, stages: &[Stage], cells: Vec<Cell>, own: Option<&OwnServer>) -> Outcome<Self> {
        let mut servers = Vec::new();
        for (index, stage) in stages.iter().enumerate() {
            let own = own.filter(|_| index == 0);
            servers.push(Server {
                name: stage.peer.name.clone(),
                pid: stage.peer.pid,
                started_in_ms: own.map(|own| u64::try_from(own.started_in.as_millis()).unwrap_or(u64::MAX)),
                rss_idle_bytes: own.map(|own| own.idle.now),
                rss_peak_bytes: stage.peer.pid.map(usage::memory).transpose()?.map(|memory| memory.peak),
            });
        }
        let names: Vec<_> = stages.iter().map(|stage| stage.peer.name.as_str()).collect();
        let results = plan.cases.iter().zip(&cells).flat_map(|(case, cell)| rows(case, cell, &names)).collect();
        Ok(Self { rounds: plan.rounds, seconds: plan.time.as_secs_f64(), servers, results })
    }

    /// The first thing that went wrong.
    pub(super) fn first_error(&self) -> Option<&str> {
        self.results.iter().find_map(|row| row.first_error.as_deref())
    }

    /// All of it for a person.
    pub(super) fn text(&self) -> String {
        let compared = self.servers.len() > 1;
        let mut heading = vec!["Operation", "Size", "Conns", "Server", "ops/s", "MB/s", "p50", "p99", "CPU/op", "Errors"];
        if compared {
            heading.extend(["ops ratio", "CPU ratio"]);
        }
        let rows: Vec<_> = self.results.iter().map(|row| row.cells(compared)).collect();
        let mut text = table(&heading, &rows);
        text.push_str(&format!("\nMedians over {} × {} s. CPU is the server's, user and system.\n", self.rounds, self.seconds));
        if let [first, other, ..] = &self.servers[..] {
            text.push_str(&format!("Ratios are {} to {}: of ops/s more is better, of CPU less.\n", first.name, other.name));
        }
        for server in &self.servers {
            text.push_str(&server.line());
        }
        text
    }
}

impl Server {
    fn line(&self) -> String {
        let mut facts = Vec::new();
        if let Some(started_in) = self.started_in_ms {
            facts.push(format!("ready after {started_in} ms"));
        }
        if let Some(idle) = self.rss_idle_bytes {
            facts.push(format!("{} resident when idle", table::bytes(idle)));
        }
        if let Some(peak) = self.rss_peak_bytes {
            facts.push(format!("{} at most", table::bytes(peak)));
        }
        if facts.is_empty() { String::new() } else { format!("{}: {}\n", self.name, facts.join(", ")) }
    }
}

impl Row {
    fn cells(&self, compared: bool) -> Vec<String> {
        let operation = match self.operation {
            Operation::Put => "PUT",
            Operation::Get => "GET",
            Operation::Head => "HEAD",
            Operation::Delete => "DELETE",
            Operation::List => "LIST 1,000",
            Operation::ListPrefixes => "LIST 1,000 /",
        };
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let moves_content = matches!(self.operation, Operation::Put | Operation::Get);
        let mut cells = vec![
            operation.to_owned(),
            or_dash(self.size_bytes.map(|size| size.to_string())),
            self.connections.to_string(),
            self.server.clone(),
            figure(self.ops_per_s),
            or_dash(moves_content.then(|| figure(self.bytes_per_s / 1e6))),
            time(self.p50_us),
            time(self.p99_us),
            or_dash(self.cpu_us_per_op.map(time)),
            self.errors.to_string(),
        ];
        if compared {
            cells.extend([self.ops_ratio, self.cpu_ratio].map(|ratio| ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))));
        }
        cells
    }
}

/// The rows of a case, one for each server.
fn rows(case: &Case, cell: &Cell, names: &[&str]) -> Vec<Row> {
    let of = |samples: &[Sample], figure: fn(&Sample) -> f64| median(samples.iter().map(figure)).unwrap_or(0.0);
    let row = |(index, (samples, name)): (usize, (&Vec<Sample>, &&str))| {
        let other = cell.get(1).filter(|_| index == 0);
        Row {
            operation: case.operation,
            size_bytes: case.size,
            connections: case.connections,
            server: (*name).to_owned(),
            ops_per_s: of(samples, |sample| sample.ops_per_s),
            bytes_per_s: of(samples, |sample| sample.bytes_per_s),
            p50_us: of(samples, |sample| sample.p50_us),
            p99_us: of(samples, |sample| sample.p99_us),
            cpu_us_per_op: median(samples.iter().filter_map(|sample| sample.cpu_us)),
            errors: samples.iter().map(|sample| sample.errors).sum(),
            first_error: samples.iter().find_map(|sample| sample.first_error.clone()),
            ops_ratio: other.and_then(|other| ratio(samples, other, |sample| Some(sample.ops_per_s))),
            cpu_ratio: other.and_then(|other| ratio(samples, other, |sample| sample.cpu_us)),
        }
    };
    cell.iter().zip(names).enumerate().map(row).collect()
}

/// The median of the ratios within each round.
fn ratio(samples: &[Sample], others: &[Sample], figure: fn(&Sample) -> Option<f64>) -> Option<f64> {
    let pairs = samples.iter().zip(others).filter_map(|(sample, other)| Some((figure(sample)?, figure(other)?)));
    median(pairs.filter(|(_, other)| *other > 0.0).map(|(one, other)| one / other))
}

/// A number, with as many digits as mean something.
fn figure(value: f64) -> String {
    let digits = if value >= 100.0 { 0 } else { 1 };
    format!("{value:.digits$}")
}

/// A time of so many microseconds.
fn time(micros: f64) -> String {
    if micros >= 1e6 {
        format!("{:.2} s", micros / 1e6)
    } else if micros >= 1e4 {
        format!("{:.1} ms", micros / 1e3)
    } else {
        format!("{} µs", figure(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::{Case, Operation, Report, Sample, Server, rows};

    fn sample(ops_per_s: f64, cpu_us: Option<f64>, errors: u64) -> Sample {
        let first_error = (errors > 0).then(|| "umbra: broken".to_owned());
        Sample { ops_per_s, bytes_per_s: ops_per_s * 4096.0, p50_us: 12.34, p99_us: 45_678.9, cpu_us, errors, first_error }
    }

    fn server(name: &str) -> Server {
        Server { name: name.into(), pid: Some(1), started_in_ms: Some(35), rss_idle_bytes: None, rss_peak_bytes: Some(3 << 20) }
    }

    #[test]
    fn the_table_compares_round_by_round() {
        let case = Case { operation: Operation::Put, size: Some("4KiB".parse().unwrap()), connections: 16 };
        // In the second round something else ran: both are slow, and the ratio stays.
        let ours = vec![sample(4000.0, Some(100.0), 0), sample(400.0, Some(150.0), 0), sample(4400.0, Some(110.0), 0)];
        let theirs = vec![sample(1000.0, Some(400.0), 0), sample(100.0, Some(600.0), 2), sample(1000.0, Some(440.0), 0)];
        let results = rows(&case, &vec![ours, theirs], &["umbra", "other"]);
        let report = Report { rounds: 3, seconds: 2.0, servers: vec![server("umbra"), server("other")], results };
        let text = report.text();
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[1].join(" "), "PUT 4 KiB 16 umbra 4000 16.4 12.3 µs 45.7 ms 110 µs 0 4.00 0.25");
        assert_eq!(words[2].join(" "), "PUT 4 KiB 16 other 1000 4.1 12.3 µs 45.7 ms 440 µs 2");
        assert!(text.contains("Ratios are umbra to other") && text.contains("umbra: ready after 35 ms, 3.0 MiB at most"), "{text}");
        assert_eq!(report.first_error(), Some("umbra: broken"));
    }

    #[test]
    fn alone_there_is_no_ratio() {
        let case = Case { operation: Operation::List, size: None, connections: 1 };
        let results = rows(&case, &vec![vec![sample(50.0, None, 0)]], &["umbra"]);
        let report = Report { rounds: 1, seconds: 0.5, servers: vec![server("umbra")], results };
        let text = report.text();
        assert!(!text.contains("RATIO ") && !text.contains("Ratios"), "{text}");
        let row = text.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(row, "LIST 1,000 - 1 umbra 50.0 - 12.3 µs 45.7 ms - 0");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["results"][0]["operation"], &json["results"][0]["ops_ratio"]), (&"list".into(), &serde_json::Value::Null));
    }
}

//! `umbra bench`: what a server can do and what it costs, alone or beside another of its kind.
//!
//! Every case runs on both servers back to back before the next one does, several rounds of them, and medians are told: machines are
//! shared, and a neighbour's load then falls on both. CPU time per operation is the steady figure; throughput moves with the machine.
//! The generator shares the machine too, so it is kept cheap: one thread, keep-alive connections, content that is copied nowhere.
//! It speaks to loopback addresses only, stops by itself, and leaves nothing behind.

mod case;
mod connection;
mod content;
mod load;
mod measure;
mod own_server;
mod peer;
mod report;
mod signer;
mod size;
mod stage;
mod task;
mod usage;

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use umbra_admin::api::SecretText;

use crate::{
    cli::{Failure, Outcome, out},
    shutdown::StopSignals,
};

use case::{Operation, Plan};
use content::Pool;
use own_server::OwnServer;
use peer::Peer;
use report::Report;
use size::Size;

/// Measures a server: throughput, latency, and CPU time per operation.
///
/// Without --endpoint it starts a server of its own in a temporary directory. With --against every case also runs on another server,
/// in turns, and the ratios are told. Only servers on this machine are measured.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// The server to measure; by default one that is started for it.
    #[arg(long, value_name = "URL", requires_all = ["access_key", "secret_key"])]
    endpoint: Option<String>,
    /// An access key that may create buckets there.
    #[arg(long, env = "UMBRA_ACCESS_KEY", value_name = "KEY")]
    access_key: Option<String>,
    /// Its secret.
    #[arg(long, env = "UMBRA_SECRET_KEY", hide_env_values = true, value_parser = secret, value_name = "SECRET")]
    secret_key: Option<SecretText>,
    /// The process of the server, whose CPU time and memory are told.
    #[arg(long, requires = "endpoint", value_name = "PID")]
    pid: Option<u32>,
    /// Where the server of its own keeps its data while it is measured; the system's temporary directory by default.
    #[arg(long, conflicts_with = "endpoint", value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Another server to measure in turns with the first.
    #[arg(long, value_name = "URL", requires_all = ["against_access_key", "against_secret_key"])]
    against: Option<String>,
    /// An access key that may create buckets there.
    #[arg(long, env = "UMBRA_BENCH_AGAINST_ACCESS_KEY", value_name = "KEY")]
    against_access_key: Option<String>,
    /// Its secret.
    #[arg(long, env = "UMBRA_BENCH_AGAINST_SECRET_KEY", hide_env_values = true, value_parser = secret, value_name = "SECRET")]
    against_secret_key: Option<SecretText>,
    /// What to call it.
    #[arg(long, default_value = "other", value_name = "NAME")]
    against_name: String,
    /// Its process.
    #[arg(long, requires = "against", value_name = "PID")]
    against_pid: Option<u32>,

    /// What is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Operation::ALL, value_name = "OPERATIONS")]
    operations: Vec<Operation>,
    /// The sizes of objects to write and read; the smallest one is also looked up and deleted.
    #[arg(long, value_delimiter = ',', default_value = "4KiB,64KiB,1MiB,64MiB", value_name = "SIZES")]
    sizes: Vec<Size>,
    /// How many connections are used at once; fewer where objects are so big that more would only fill memory.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,16",
        value_parser = clap::value_parser!(u16).range(1..=1024),
        value_name = "COUNTS"
    )]
    connections: Vec<u16>,
    /// How many keys the listed buckets hold.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=10_000_000), value_name = "COUNT")]
    keys: u32,
    /// How long a case runs on a server in a round.
    #[arg(long, default_value = "2", value_parser = seconds, value_name = "SECONDS")]
    seconds: Duration,
    /// How many rounds; medians over them are told.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100), value_name = "COUNT")]
    rounds: u8,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub(crate) async fn run(self) -> Outcome {
        let mut signals = StopSignals::listen()?;
        let mut own = None;
        let peers = tokio::select! {
            peers = self.peers(&mut own) => peers,
            () = signals.received() => Err(interrupted()),
        };
        let ended = match peers {
            Ok(peers) => self.measure(peers, own.as_ref(), &mut signals).await,
            Err(failure) => Err(failure),
        };
        if let Some(own) = own {
            own.stop().await?;
        }
        let report = ended?;
        if self.json {
            out::json(&report)?
        } else {
            out::text_of(report.text())?
        }
        report.first_error().map_or(Ok(()), |error| Err(Failure::new(format!("not every request was answered well; the first: {error}"))))
    }

    /// The servers to measure, the first of which may be started for it.
    async fn peers(&self, own: &mut Option<OwnServer>) -> Outcome<Vec<Peer>> {
        let largest = self.sizes.iter().map(|size| size.bytes()).max().unwrap_or(0);
        let pool = Arc::new(Pool::new(largest));
        let mut peers = Vec::new();
        match (&self.endpoint, &self.access_key, &self.secret_key) {
            (Some(endpoint), Some(key), Some(secret)) => peers.push(Peer::find("umbra", endpoint, key, secret, self.pid, &pool).await?),
            _ => {
                let own = own.insert(OwnServer::start(self.dir.as_deref()).await?);
                peers.push(Peer::find("umbra", &own.endpoint, &own.access_key, &own.secret_key, Some(own.pid), &pool).await?);
            }
        }
        if let (Some(endpoint), Some(key), Some(secret)) = (&self.against, &self.against_access_key, &self.against_secret_key) {
            peers.push(Peer::find(&self.against_name, endpoint, key, secret, self.against_pid, &pool).await?);
        }
        Ok(peers)
    }

    async fn measure(&self, peers: Vec<Peer>, own: Option<&OwnServer>, signals: &mut StopSignals) -> Outcome<Report> {
        let plan = Plan::new(&self.operations, &self.sizes, &self.connections, self.keys, self.seconds, self.rounds);
        let mut stages: Vec<_> = peers.into_iter().map(|peer| stage::Stage::new(peer, &plan)).collect();
        let measured = tokio::select! {
            measured = measure::all(&plan, &mut stages) => measured,
            () = signals.received() => Err(interrupted()),
        };
        let report = measured.and_then(|cells| Report::new(&plan, &stages, cells, own));
        for (index, stage) in stages.iter_mut().enumerate() {
            // What the server of its own holds goes with its directory.
            if index > 0 || own.is_none() {
                stage.clear().await?;
            }
        }
        report
    }
}

fn interrupted() -> Failure {
    Failure::new("interrupted")
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a parser")]
fn secret(text: &str) -> Result<SecretText, std::convert::Infallible> {
    Ok(SecretText::new(text))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.05..=600.0).contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err("not between 0.05 and 600".to_owned()) }
}

//! A server of our own to measure: this executable, in a temporary directory.

use std::{
    env, fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};
use umbra_admin::api::SecretText;
use umbra_core::{Random, SystemRandom};

use super::usage::{self, Memory};
use crate::cli::{Failure, Outcome};

/// A server starts and stops faster, unless something is wrong.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A server, ended when this is dropped.
pub(super) struct OwnServer {
    pub(super) endpoint: String,
    pub(super) access_key: String,
    pub(super) secret_key: SecretText,
    pub(super) pid: u32,
    /// From its start to the line that says that it is ready.
    pub(super) started_in: Duration,
    /// Before it had anything to do.
    pub(super) idle: Memory,
    child: Child,
    dir: TempDir,
    /// Kept so that it can go on writing there.
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl OwnServer {
    /// Starts it with its data below `dir`, or where temporary files go.
    pub(super) async fn start(dir: Option<&Path>) -> Outcome<Self> {
        let dir = dir.map_or_else(tempfile::tempdir, tempfile::tempdir_in);
        let dir = dir.map_err(|error| Failure::new("make a temporary directory").because(&error))?;
        let (access_key, secret_key) = ("UMBRABENCH".to_owned(), SecretText::new(secret()));
        let executable = env::current_exe().map_err(|error| Failure::new("find this executable").because(&error))?;
        let log = fs::File::create(dir.path().join("log")).map_err(|error| Failure::new("make a log file").because(&error))?;
        let started = Instant::now();
        let mut child = Command::new(executable)
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir.path().join("data"))
            .env_clear()
            .env("UMBRA_ROOT_ACCESS_KEY", &access_key)
            .env("UMBRA_ROOT_SECRET_KEY", secret_key.expose())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::new("start a server").because(&error))?;
        let mut stdout = BufReader::new(child.stdout.take().expect("standard output is piped")).lines();
        let ready = tokio::time::timeout(TIMEOUT, read_endpoint(&mut stdout)).await;
        let Ok(Some(endpoint)) = ready else { return Err(did_not_start(dir.path())) };
        let started_in = started.elapsed();
        let pid = child.id().ok_or_else(|| did_not_start(dir.path()))?;
        let idle = usage::memory(pid)?;
        Ok(Self { endpoint, access_key, secret_key, pid, started_in, idle, child, dir, _stdout: stdout })
    }

    /// Stops it in order, and removes its data.
    pub(super) async fn stop(mut self) -> Outcome {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let (Some(pid), Ok(None)) = (pid, self.child.try_wait()) {
            kill_process(pid, Signal::TERM).map_err(|error| Failure::new("stop the server").because(&error))?;
        }
        match tokio::time::timeout(TIMEOUT, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => {}
            Ok(Ok(status)) => return Err(Failure::new(format!("the server ended with {status}: {}", last_line(self.dir.path())))),
            Ok(Err(error)) => return Err(Failure::new("wait for the server").because(&error)),
            Err(_) => return Err(Failure::new("the server did not stop in time")),
        }
        self.dir.close().map_err(|error| Failure::new("remove the server's data").because(&error))
    }
}

/// Reads what it says until it is ready; nothing if it ends instead.
async fn read_endpoint(stdout: &mut Lines<BufReader<ChildStdout>>) -> Option<String> {
    loop {
        let line = stdout.next_line().await.ok()??;
        if let Some(endpoint) = line.trim().strip_prefix("S3 ") {
            return Some(endpoint.trim().to_owned());
        }
    }
}

fn did_not_start(dir: &Path) -> Failure {
    Failure::new(format!("the server did not start: {}", last_line(dir)))
}

fn last_line(dir: &Path) -> String {
    let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
    log.lines().next_back().unwrap_or("it said nothing").to_owned()
}

fn secret() -> String {
    let mut bytes = [0; 20];
    SystemRandom.fill(&mut bytes);
    hex::encode(bytes)
}

//! A PostgreSQL of the test's own: its directory, its port, its end.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt},
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// The user that PostgreSQL runs as where the tests run as root, which it refuses to.
const NOBODY: u32 = 65_534;

/// A server, or the end of the test: where PostgreSQL is not installed there is nothing to test.
macro_rules! needs_postgres {
    () => {
        match $crate::postgres::server::Server::start() {
            Some(server) => server,
            None => {
                eprintln!("SKIPPED: PostgreSQL is not installed (apt-get install postgresql)");
                return;
            }
        }
    };
}
pub(super) use needs_postgres;

/// A running PostgreSQL, stopped when dropped.
pub(super) struct Server {
    programs: PathBuf,
    dir: TempDir,
    port: u16,
}

impl Server {
    pub(super) fn start() -> Option<Self> {
        let programs = find_programs()?;
        let dir = tempfile::tempdir().unwrap();
        if is_root() {
            chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        // Free a moment ago; nobody else is asked to take it.
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let server = Self { programs, dir, port };
        server.run("initdb", &["-D", "data", "-U", "umbra", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        server.pg_ctl_start();
        Some(server)
    }

    /// A streaming standby of it.
    pub(super) fn standby(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        if is_root() {
            chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let standby = Self { programs: self.programs.clone(), dir, port };
        standby.run("pg_basebackup", &["-D", "data", "-R", "-X", "stream", "-c", "fast", "--no-sync", "-d", &self.url()]);
        standby.pg_ctl_start();
        standby
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The same database, by way of another port.
    pub(super) fn url_at(&self, port: u16) -> String {
        format!("postgres://umbra@127.0.0.1:{port}/postgres")
    }

    /// A connection beside the store's.
    pub(super) async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Whether a store's connection waits for a lock that somebody holds.
    pub(super) async fn waits_for_a_lock(&self, client: &Client) -> bool {
        let waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'umbra' AND wait_event_type = 'Lock'";
        !client.query(waiting, &[]).await.unwrap().is_empty()
    }

    /// Stops it as a crash does, and starts it again.
    pub(super) fn restart(&self) {
        self.stop();
        self.pg_ctl_start();
    }

    fn stop(&self) {
        self.run("pg_ctl", &["-D", "data", "-m", "immediate", "-w", "stop"]);
    }

    fn pg_ctl_start(&self) {
        let options = format!("-k {} -p {} -c listen_addresses=127.0.0.1 -c max_connections=60", self.dir.path().display(), self.port);
        self.run("pg_ctl", &["-D", "data", "-l", "log", "-w", "-t", "120", "-o", &options, "start"]);
    }

    fn run(&self, program: &str, args: &[&str]) {
        let mut command = Command::new(self.programs.join(program));
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let status = command.status().unwrap();
        let log = || fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        assert!(status.success(), "{program} {args:?}: {status}\n{}", log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.dir.path().join("data/postmaster.pid").exists() {
            self.stop();
        }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The directory with PostgreSQL's programs: Debian keeps them away from the path.
fn find_programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).collect::<Vec<_>>();
    let mut installed: Vec<_> =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|dir| dir.path().join("bin")).collect();
    installed.sort();
    on_path
        .into_iter()
        .chain(installed.into_iter().rev())
        .find(|dir| ["initdb", "pg_ctl", "postgres", "pg_basebackup"].iter().all(|name| dir.join(name).exists()))
}

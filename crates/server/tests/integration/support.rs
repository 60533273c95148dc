//! Starts the binary and speaks to it.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longer than anything here takes, shorter than anybody's patience.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A command of the binary, with nothing of this machine's environment.
pub(crate) fn umbra(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_umbra"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// What a command ended with.
pub(crate) struct Done {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Holds that it went well.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, Some(0), "{}{}", self.out, self.err);
        self
    }

    /// Holds that it failed with this status and one line that says all of `words`.
    #[track_caller]
    pub(crate) fn refused(self, status: i32, words: &[&str]) -> Self {
        assert_eq!(self.status, Some(status), "{}{}", self.out, self.err);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        for word in words {
            assert!(self.err.contains(word), "{word}: {}", self.err);
        }
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap()
    }

    /// The value of a `KEY: value` line.
    #[track_caller]
    pub(crate) fn value(&self, key: &str) -> String {
        let line = self.out.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {key} in {}", self.out)).to_owned()
    }
}

/// Runs a command to its end.
pub(crate) fn run(arguments: &[&str]) -> Done {
    Done::of(umbra(arguments).output().unwrap())
}

/// A server in a directory of its own, on ports of its own.
pub(crate) struct Server {
    dir: TempDir,
    child: Child,
    /// What it said on standard output.
    pub(crate) greeting: String,
    pub(crate) s3: String,
    pub(crate) admin: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), &[], &[])
    }

    pub(crate) fn start_in(dir: TempDir, flags: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = umbra(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.path().join("log")).unwrap();
        command.arg("--data-dir").arg(dir.path().join("data")).args(flags).envs(env.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Seven lines, the last of which begins with the last command to try.
        let mut greeting = String::new();
        while !greeting.contains("storage status") {
            let Some(line) = lines.next() else {
                panic!("it ended with {:?}: {}", child.wait(), std::fs::read_to_string(dir.path().join("log")).unwrap())
            };
            greeting.push_str(&line.unwrap());
            greeting.push('\n');
        }
        let address = |what: &str| {
            let line = greeting.lines().find(|line| line.trim_start().starts_with(what)).unwrap();
            line.split_whitespace().last().unwrap().to_owned()
        };
        let (s3, admin) = (address("S3"), address("admin"));
        Self { dir, child, greeting, s3, admin }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// A command against this server, with the key of its data directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = umbra(arguments);
        command.env("UMBRA_ADMIN_URL", &self.admin).env("UMBRA_DATA_DIR", self.data_dir());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        Done::of(self.command(arguments).output().unwrap())
    }

    /// A command with another key.
    pub(crate) fn run_as(&self, key: (&str, &str), arguments: &[&str]) -> Done {
        let mut command = self.command(arguments);
        Done::of(command.env("UMBRA_ACCESS_KEY", key.0).env("UMBRA_SECRET_KEY", key.1).output().unwrap())
    }

    /// The status and the body of an unsigned GET on the admin address.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let address = self.admin.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops it in order and gives its exit status and its directory.
    pub(crate) fn stop(self, signal: Signal) -> (Option<i32>, TempDir) {
        self.signal(signal);
        self.wait()
    }

    /// Kills it, with no chance to do anything about it, and gives its directory.
    pub(crate) fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    /// Waits for its end and gives its exit status and its directory.
    pub(crate) fn wait(mut self) -> (Option<i32>, TempDir) {
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), None, "{}", self.log());
        (status.code(), std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The permission bits of a file.
pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The two halves of the key that a file holds.
pub(crate) fn key_in(path: &Path) -> (String, String) {
    let key: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let half = |name: &str| key[name].as_str().unwrap().to_owned();
    (half("access_key"), half("secret_key"))
}

/// A path as an argument.
pub(crate) fn text(path: &impl AsRef<OsStr>) -> &str {
    path.as_ref().to_str().unwrap()
}

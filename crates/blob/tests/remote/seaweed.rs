//! SeaweedFS in a process of its own, shared by all tests here.

use std::{
    env,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    thread::sleep,
    time::Duration,
};

use umbra_blob::{RemoteSettings, S3BlobStore};
use umbra_client::{Addressing, ClientSettings, Credentials, Endpoint, EndpointGuard, GuardPolicy, S3Client};

const BUCKET: &str = "blobs";
const CREDENTIALS: (&str, &str) = ("remoteblobskey0001", "remote/blobs+secret/0001");

/// A running SeaweedFS. Ends with the process of the tests, however that ends: its keeper waits for the end of its standard input.
pub(crate) struct SeaweedFs {
    port: u16,
    _keeper: Child,
}

static SHARED: LazyLock<Option<SeaweedFs>> = LazyLock::new(SeaweedFs::start);
static PREFIXES: AtomicU32 = AtomicU32::new(0);

/// The shared store; says so where there is none.
#[expect(clippy::print_stdout, reason = "the word of a test that is left out")]
pub(crate) fn shared() -> Option<&'static SeaweedFs> {
    let shared = SHARED.as_ref();
    if shared.is_none() {
        println!("left out: SeaweedFS is not installed (./test installs it; UMBRA_WEED names the program)");
    }
    shared
}

fn program() -> Option<PathBuf> {
    let given = env::var_os("UMBRA_WEED").map(PathBuf::from);
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.test-env/bin/weed");
    let on_path = env::var_os("PATH").into_iter().flat_map(|path| env::split_paths(&path).collect::<Vec<_>>()).map(|dir| dir.join("weed"));
    given.into_iter().chain([installed]).chain(on_path).find(|program| program.is_file())
}

impl SeaweedFs {
    fn start() -> Option<Self> {
        let program = program()?;
        let dir = tempfile::tempdir().unwrap().keep();
        let identity = format!(
            r#"{{"identities": [{{"name": "blobs", "actions": ["Admin", "Read", "Write", "List"],
                "credentials": [{{"accessKey": "{}", "secretKey": "{}"}}]}}]}}"#,
            CREDENTIALS.0, CREDENTIALS.1
        );
        std::fs::write(dir.join("s3.json"), identity).unwrap();
        let [master, volume, filer, s3] = [(); 4].map(|()| free_port());
        let script = format!(
            r#"cd "$1"; export HOME="$1"
            "$0" server -dir=. -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.port={master} -master.telemetry=false -master.volumeSizeLimitMB=128 \
                -volume.port={volume} -volume.max=100 -filer.port={filer} -filer.localSocket="$1/filer.sock" \
                -s3 -s3.port={s3} -s3.config=s3.json -s3.port.lance=0 -s3.port.iceberg=0 -s3.localSocket="$1/s3.sock" >log 2>&1 &
            read end; kill -9 $!; rm -rf "$1""#
        );
        let keeper = Command::new("sh").arg("-c").arg(script).arg(program).arg(&dir).stdin(Stdio::piped()).spawn().unwrap();
        let store = Self { port: s3, _keeper: keeper };
        until("SeaweedFS takes requests", || http(s3, "GET /status").contains(" 200 "));
        until("SeaweedFS makes a bucket", || http(filer, &format!("POST /buckets/{BUCKET}/")).contains(" 201 "));
        Some(store)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A client of its bucket.
    pub(crate) fn client(&self) -> S3Client {
        client(self.port, ClientSettings::default())
    }

    /// A store of its own prefix, which is given too.
    pub(crate) async fn store(&self, settings: RemoteSettings) -> (S3BlobStore, String) {
        let prefix = fresh_prefix();
        (S3BlobStore::open(self.client(), &prefix, settings).await.unwrap(), prefix)
    }
}

/// A prefix nobody else has.
pub(crate) fn fresh_prefix() -> String {
    format!("test/{}", PREFIXES.fetch_add(1, Ordering::Relaxed))
}

/// A client of the bucket at a port of this machine.
pub(crate) fn client(port: u16, settings: ClientSettings) -> S3Client {
    let endpoint = Endpoint::parse(&format!("http://127.0.0.1:{port}"), "us-east-1", Addressing::Path).unwrap();
    let guard = EndpointGuard::new(GuardPolicy { allow_loopback: true, ..GuardPolicy::default() });
    S3Client::new(endpoint, BUCKET, Credentials::new(CREDENTIALS.0, CREDENTIALS.1), guard, settings).unwrap()
}

/// A port that is free, and also 10,000 above it, where SeaweedFS speaks gRPC.
fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = 10_000 + port % 40_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

fn http(port: u16, line: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
    let mut answer = Vec::new();
    let _ = stream.write_all(format!("{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes());
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..600 {
        if condition() {
            return;
        }
        sleep(Duration::from_millis(100));
    }
    panic!("it does not come to be that {what}");
}

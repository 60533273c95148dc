//! An origin that follows a script, one act per request, and remembers what it was sent, byte by byte.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Request;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use umbra_client::{Addressing, ClientSettings, Credentials, Endpoint, EndpointGuard, GuardPolicy, S3Client};

/// What the origin does with a request.
#[derive(Clone)]
pub(crate) enum Act {
    /// Reads it, answers, and keeps the connection.
    Answer(Vec<u8>),
    /// Reads it, answers, and closes the connection.
    AnswerAndClose(Vec<u8>),
    /// Reads it, answers, and then neither sends nor closes.
    AnswerAndStall(Vec<u8>),
    /// Reads it, answers, and then sends a space now and then, for ever.
    AnswerAndDrip(Vec<u8>),
    /// Answers when it has read the head, reads on, and keeps the connection.
    AnswerEarly(Vec<u8>),
    /// Reads it and closes the connection.
    Close,
    /// Reads the head and resets the connection.
    Reset,
    /// Reads it and never answers.
    Stall,
    /// Reads the head and then nothing more.
    StopReading,
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The request line and the headers.
    pub(crate) head: String,
    /// What came of the body.
    pub(crate) body: Vec<u8>,
    /// Whether that was all of it.
    pub(crate) whole: bool,
    /// On which connection, counted from 0.
    pub(crate) connection: usize,
}

impl Seen {
    /// Method and target, byte by byte.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap().strip_suffix(" HTTP/1.1").unwrap()
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (header, value) = line.split_once(':')?;
            header.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The request without its body, for the verification of its signature.
    pub(crate) fn parts(&self) -> http::request::Parts {
        let (method, target) = self.line().split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(target);
        for line in self.head.lines().skip(1).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            request = request.header(name, value.trim());
        }
        request.body(()).unwrap().into_parts().0
    }
}

#[derive(Default)]
struct Script {
    acts: Mutex<VecDeque<Act>>,
    seen: Mutex<Vec<Seen>>,
}

pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    script: Arc<Script>,
    server: JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Origin {
    pub(crate) async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        Self::start_with(acts, |stream| async { Some(stream) }).await
    }

    /// An origin whose connections are first made into something else, such as TLS.
    pub(crate) async fn start_with<S, F>(acts: impl IntoIterator<Item = Act>, wrap: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Option<S>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Script { acts: Mutex::new(acts.into_iter().collect()), ..Script::default() });
        let shared = script.clone();
        let server = tokio::spawn(async move {
            // Dropped with the listener, and the connections with it.
            let mut connections = tokio::task::JoinSet::new();
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (stream, script) = (wrap(stream), shared.clone());
                connections.spawn(async move {
                    if let Some(stream) = stream.await {
                        serve(stream, &script, connection).await;
                    }
                });
            }
        });
        Self { address, script, server }
    }

    /// What came so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.script.seen.lock().unwrap().clone()
    }

    /// The one request that came.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }

    /// Waits until `count` requests have been read as far as they go, and returns the last.
    pub(crate) async fn after(&self, count: usize) -> Seen {
        let arrived = async {
            loop {
                if let Some(seen) = self.seen().get(count - 1) {
                    return seen.clone();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), arrived).await.expect("the requests arrive")
    }

    pub(crate) fn client(&self) -> S3Client {
        self.client_with(settings())
    }

    pub(crate) fn client_with(&self, settings: ClientSettings) -> S3Client {
        let endpoint = Endpoint::parse(&format!("http://{}", self.address), "auto", Addressing::Auto).unwrap();
        S3Client::new(endpoint, "photos", credentials(), loopback(), settings).unwrap()
    }
}

pub(crate) fn credentials() -> Credentials {
    Credentials::new("AKIDEXAMPLE", "hush")
}

pub(crate) fn loopback() -> EndpointGuard {
    EndpointGuard::new(GuardPolicy { allow_loopback: true, ..GuardPolicy::default() })
}

/// Settings without pauses.
pub(crate) fn settings() -> ClientSettings {
    ClientSettings { retry_delay: Duration::from_millis(1), ..ClientSettings::default() }
}

/// Settings that are out of patience soon.
pub(crate) fn impatient() -> ClientSettings {
    let soon = Duration::from_millis(500);
    ClientSettings { connect_timeout: soon, response_timeout: soon, completion_timeout: soon, idle_timeout: soon, ..settings() }
}

/// An answer with the right `Content-Length`.
pub(crate) fn answer(status: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// An error as S3 answers it.
pub(crate) fn error(status: &str, code: &str) -> Vec<u8> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>so it is</Message><RequestId>R1</RequestId></Error>"
    );
    answer(status, &[("x-amz-request-id", "R1"), ("Content-Type", "application/xml")], &body)
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, script: &Script, connection: usize) {
    let mut buffer = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break String::from_utf8(buffer.drain(..end + 4).collect()).unwrap();
            }
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let act = script.acts.lock().unwrap().pop_front().unwrap_or(Act::Answer(error("500 Off Script", "OffScript")));
        let mut seen = Seen { head, connection, ..Seen::default() };
        if let Act::AnswerEarly(bytes) = &act {
            stream.write_all(bytes).await.unwrap();
        }
        if let Act::Reset | Act::StopReading = &act {
            script.seen.lock().unwrap().push(seen);
            if let Act::StopReading = &act {
                std::future::pending::<()>().await;
            }
            // Closing with bytes unread resets the connection.
            return;
        }
        let length: usize = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
        while buffer.len() < length && stream.read_buf(&mut buffer).await.unwrap_or(0) > 0 {}
        seen.whole = buffer.len() >= length;
        seen.body = buffer.drain(..length.min(buffer.len())).collect();
        let whole = seen.whole;
        script.seen.lock().unwrap().push(seen);
        match act {
            _ if !whole => return,
            Act::Answer(bytes) => stream.write_all(&bytes).await.unwrap(),
            Act::AnswerAndClose(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                let _ = stream.shutdown().await;
                return;
            }
            Act::AnswerAndStall(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                std::future::pending::<()>().await;
            }
            Act::AnswerAndDrip(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                while stream.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                return;
            }
            Act::Stall => std::future::pending().await,
            Act::Close | Act::Reset | Act::StopReading => return,
            Act::AnswerEarly(_) => {}
        }
    }
}

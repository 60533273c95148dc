//! A proxy in front of the engine that spoils what passes: one fault for each connection.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};
use umbra_blob::{RemoteSettings, S3BlobStore};
use umbra_client::{ClientSettings, S3Client};

use crate::seaweed::{self, SeaweedFs};

/// What befalls a connection. Counts are of bytes behind the head of the request or of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Closed when the request got so far.
    CutRequest(usize),
    /// The request arrives, its answer does not.
    LoseAnswer,
    /// Closed when the answer got so far.
    CutAnswer(usize),
    /// A byte of the request is another on arrival.
    FlipRequest(usize),
    /// A byte of the answer is another on arrival.
    FlipAnswer(usize),
    /// Answered so, without asking the engine.
    Busy,
    /// A little at a time.
    Slow,
}

#[derive(Default)]
struct Plan {
    next: VecDeque<Fault>,
    always: Option<Fault>,
    /// Connections that had a fault.
    struck: usize,
    /// Connections.
    made: usize,
}

pub(crate) struct Proxy {
    port: u16,
    plan: Arc<Mutex<Plan>>,
    server: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Proxy {
    pub(crate) async fn start(seaweed: &SeaweedFs) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, behind) = (listener.local_addr().unwrap().port(), seaweed.port());
        let plan = Arc::new(Mutex::new(Plan::default()));
        let shared = Arc::clone(&plan);
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let fault = {
                    let mut plan = shared.lock().unwrap();
                    let fault = plan.next.pop_front().or(plan.always).unwrap_or(Fault::None);
                    plan.made += 1;
                    plan.struck += usize::from(fault != Fault::None);
                    fault
                };
                tokio::spawn(serve(stream, behind, fault));
            }
        });
        Self { port, plan, server }
    }

    /// Lets these befall the next connections, one each.
    pub(crate) fn then(&self, faults: impl IntoIterator<Item = Fault>) {
        self.plan.lock().unwrap().next.extend(faults);
    }

    /// Lets this befall every connection, from now on.
    pub(crate) fn always(&self, fault: Fault) {
        self.plan.lock().unwrap().always = Some(fault);
    }

    /// How many connections had a fault.
    pub(crate) fn struck(&self) -> usize {
        self.plan.lock().unwrap().struck
    }

    /// A client that makes a connection for each request.
    pub(crate) fn client(&self) -> S3Client {
        let settings = ClientSettings { idle_connections_max: 0, retry_delay: Duration::from_millis(5), ..ClientSettings::default() };
        seaweed::client(self.port, settings)
    }

    /// A store behind the proxy, and its prefix.
    pub(crate) async fn store(&self, part_bytes: usize) -> (S3BlobStore, String) {
        let (prefix, settings) = (seaweed::fresh_prefix(), RemoteSettings { part_bytes, ..RemoteSettings::default() });
        let made = || self.plan.lock().unwrap().made;
        let before = made();
        let store = S3BlobStore::open(self.client(), &prefix, settings).await.unwrap();
        // It asks for the bucket, puts, reads and deletes a blob, and then looks for uploads in the background.
        while made() < before + 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (store, prefix)
    }
}

async fn serve(mut stream: TcpStream, behind: u16, fault: Fault) {
    if fault == Fault::Busy {
        // The request is read first: an answer that comes before would be lost with the connection.
        let mut buffer = vec![0; 65_536];
        let _ = tokio::time::timeout(Duration::from_millis(200), async { while stream.read(&mut buffer).await.unwrap_or(0) > 0 {} }).await;
        let body = "<Error><Code>SlowDown</Code></Error>";
        let head = format!("HTTP/1.1 503 Slow Down\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let _ = stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).await;
        return;
    }
    let engine = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
    let ((from_client, to_client), (from_engine, to_engine)) = (stream.into_split(), engine.into_split());
    let (mut request, mut answer) = (Spoil::default(), Spoil::default());
    match fault {
        Fault::CutRequest(at) => request.cut = Some(at),
        Fault::FlipRequest(at) => request.flip = Some(at),
        Fault::CutAnswer(at) => answer.cut = Some(at),
        Fault::LoseAnswer => answer.cut_head = true,
        Fault::FlipAnswer(at) => answer.flip = Some(at),
        Fault::Slow => (request.slow, answer.slow) = (true, true),
        Fault::None | Fault::Busy => {}
    }
    // Whichever way ends first takes the other with it.
    tokio::select! {
        () = pass(from_client, to_engine, request) => {}
        () = pass(from_engine, to_client, answer) => {}
    }
}

#[derive(Default)]
struct Spoil {
    cut: Option<usize>,
    cut_head: bool,
    flip: Option<usize>,
    slow: bool,
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, spoil: Spoil) {
    let (mut head, mut passed, mut in_body) = (Vec::new(), 0, false);
    let mut buffer = vec![0; if spoil.slow { 4096 } else { 65_536 }];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        if spoil.cut_head {
            return;
        }
        let mut bytes = buffer[..count].to_vec();
        let mut body = 0..0;
        if in_body {
            body = 0..count;
        } else {
            let before = head.len();
            head.extend_from_slice(&bytes);
            if let Some(at) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                (in_body, body) = (true, at + 4 - before..count);
            }
        }
        if let Some(at) = spoil.flip.filter(|at| (passed..passed + body.len()).contains(at)) {
            bytes[body.start + at - passed] ^= 0x40;
        }
        if let Some(cut) = spoil.cut.filter(|cut| in_body && passed + body.len() >= *cut) {
            bytes.truncate(body.start + cut - passed);
            let _ = to.write_all(&bytes).await;
            return;
        }
        passed += body.len();
        if to.write_all(&bytes).await.is_err() {
            return;
        }
        if spoil.slow {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

//! A TCP proxy that loses what a test wants lost.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// What is done to the next commit that comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Nothing.
    None,
    /// It does not reach the database.
    Before,
    /// It takes place, and the answer is lost.
    Answer,
    /// The same, and nobody can connect any more.
    AnswerForGood,
}

#[derive(Debug)]
struct State {
    next: Cut,
    is_closed: bool,
}

/// A proxy to a database on this machine.
pub(super) struct Proxy {
    pub(super) port: u16,
    state: Arc<Mutex<State>>,
    accepting: AbortHandle,
}

impl Proxy {
    pub(super) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { next: Cut::None, is_closed: false }));
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if !shared.lock().is_closed {
                    tokio::spawn(carry(client, to, Arc::clone(&shared)));
                }
            }
        });
        Self { port, state, accepting: accepting.abort_handle() }
    }

    /// What becomes of the next commit.
    pub(super) fn cut_next(&self, cut: Cut) {
        *self.state.lock() = State { next: cut, is_closed: false };
    }

    /// Whether that commit came by.
    pub(super) fn has_cut(&self) -> bool {
        self.state.lock().next == Cut::None
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut client: TcpStream, to: u16, state: Arc<Mutex<State>>) {
    let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut awaits_commit = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(count @ 1..) = read else { return };
                if holds(&asked[..count], b"COMMIT\0") {
                    let mut state = state.lock();
                    let cut = std::mem::replace(&mut state.next, Cut::None);
                    state.is_closed = cut == Cut::AnswerForGood;
                    if cut == Cut::Before {
                        return;
                    }
                    awaits_commit = cut != Cut::None;
                }
                if server.write_all(&asked[..count]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(count @ 1..) = read else { return };
                if awaits_commit {
                    if holds(&answered[..count], b"COMMIT\0") {
                        return;
                    }
                } else if client.write_all(&answered[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

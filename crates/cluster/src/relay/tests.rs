use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header::CONNECTION};
use http_body_util::{BodyExt, Empty, Full};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use umbra_core::SystemClock;

use super::{Relay, RelayError};
use crate::{Door, Face, Leader, LeaderTurn, door::RELAY};

/// A node that leads, and answers as it is told.
struct Leading {
    url: String,
    asked: Arc<AtomicUsize>,
}

/// What a node that leads does with a request that it has read.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Answers with what it was sent.
    Echo,
    /// The same, without a word that it is a node.
    Foreign,
    /// Closes the connection.
    Cut,
    /// Says nothing.
    Freeze,
    /// Says so many times that it is another life than the one that was asked.
    Astray(usize),
}

impl Leading {
    async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                tokio::spawn(async move { serve(stream, manner, &count).await });
            }
        });
        Self { url, asked }
    }

    fn leader(&self) -> Leader {
        at(self.url.clone())
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, manner: Manner, asked: &AtomicUsize) {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    // The last byte of what is sent here ends it.
    while !read.ends_with(b"\r\n\r\n") && !read.ends_with(b"!") {
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => read.extend_from_slice(&buffer[..n]),
            _ => return,
        }
    }
    let before = asked.fetch_add(1, Ordering::SeqCst);
    let countersign = match manner {
        Manner::Foreign => String::new(),
        Manner::Astray(times) if before < times => countersign(&read, StatusCode::MISDIRECTED_REQUEST),
        _ => countersign(&read, StatusCode::OK),
    };
    match manner {
        Manner::Astray(times) if before < times => {
            let head = "HTTP/1.1 421 Misdirected Request\r\nconnection: close\r\nx-umbra-astray: 1\r\ncontent-length: 0\r\n";
            stream.write_all(format!("{head}{countersign}\r\n").as_bytes()).await.unwrap();
        }
        Manner::Echo | Manner::Foreign | Manner::Astray(_) => {
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n{countersign}\r\n", read.len());
            stream.write_all(&[head.as_bytes(), &read].concat()).await.unwrap();
        }
        Manner::Cut => {}
        Manner::Freeze => std::future::pending().await,
    }
}

/// The line that says that a node answers `request`.
fn countersign(request: &[u8], status: StatusCode) -> String {
    let request = std::str::from_utf8(request).unwrap();
    let mark = request.lines().find_map(|line| line.strip_prefix("x-umbra-relay: ")).unwrap();
    let mut answer = Response::new(());
    *answer.status_mut() = status;
    door("leading").countersign(&HeaderMap::from_iter([(RELAY, mark.parse().unwrap())])).put(&mut answer);
    answer.headers().iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap())).collect()
}

fn door(incarnation: &str) -> Door {
    Door::new(&[1; 32], Arc::new(SystemClock), incarnation, None, LeaderTurn::default())
}

fn relay(leader: Leader) -> (Relay, watch::Sender<Leader>) {
    let (sender, receiver) = watch::channel(leader);
    (Relay::new(door("ours"), receiver), sender)
}

fn at(url: String) -> Leader {
    Leader::At { incarnation: format!("life-of-{url}"), url }
}

const CLIENT: &str = "192.0.2.1,-,-";

fn put(body: &'static str) -> Request<Full<Bytes>> {
    let request = Request::put("/bucket/a%2Fb?x-id=PutObject").header("host", "bucket.example").header(CONNECTION, "keep-alive");
    request.header("expect", "100-continue").header("content-length", body.len()).body(Full::from(body)).unwrap()
}

#[tokio::test]
async fn a_request_goes_on_as_it_came() {
    let leading = Leading::start(Manner::Echo).await;
    let (relay, _sender) = relay(leading.leader());
    let answer = relay.pass(put("body!"), Face::S3, CLIENT).await.unwrap();
    assert_eq!((answer.status(), answer.headers().get(CONNECTION)), (StatusCode::OK, None));
    let echo = answer.into_body().collect().await.unwrap().to_bytes();
    let echo = std::str::from_utf8(&echo).unwrap();
    assert!(echo.starts_with("PUT /bucket/a%2Fb?x-id=PutObject HTTP/1.1\r\n") && echo.ends_with("\r\n\r\nbody!"), "{echo}");
    assert!(echo.contains("host: bucket.example\r\n") && echo.contains("x-umbra-relay: 1 "), "{echo}");
    assert!(!echo.contains("expect") && !echo.contains("keep-alive"), "{echo}");
}

/// Nobody listens there any more: nothing was sent, and all of it goes to the next.
#[tokio::test]
async fn a_request_of_which_nothing_was_sent_waits_for_the_next_leader() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (relay, sender) = relay(at(format!("http://{}", gone.local_addr().unwrap())));
    drop(gone);
    let waiting = {
        let relay = relay.clone();
        tokio::spawn(async move { relay.pass(put("body!"), Face::S3, CLIENT).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    sender.send(Leader::Nobody).unwrap();
    let leading = Leading::start(Manner::Echo).await;
    sender.send(leading.leader()).unwrap();
    let answer = waiting.await.unwrap().unwrap();
    assert!(answer.into_body().collect().await.unwrap().to_bytes().ends_with(b"body!"));
}

/// What may have been carried out is not sent again: a write, also one without a body.
#[tokio::test]
async fn a_write_whose_answer_is_lost_is_not_repeated() {
    let leading = Leading::start(Manner::Cut).await;
    let (relay, _sender) = relay(leading.leader());
    assert!(matches!(relay.pass(put("body!"), Face::S3, CLIENT).await, Err(RelayError::Lost(_))));
    let delete = Request::delete("/bucket/key").body(Empty::<Bytes>::new()).unwrap();
    assert!(matches!(relay.pass(delete, Face::S3, CLIENT).await, Err(RelayError::Lost(_))));
    assert_eq!(leading.asked(), 2);
}

/// Whoever else listens where a node was does not answer for the store: not what is there, and not that something was written.
#[tokio::test]
async fn a_foreign_answer_is_none() {
    let (foreign, next) = (Leading::start(Manner::Foreign).await, Leading::start(Manner::Echo).await);
    let (relay, sender) = relay(foreign.leader());
    let told = relay.pass(put("body!"), Face::S3, CLIENT).await.unwrap_err().to_string();
    assert!(told.ends_with("who answers (200 OK) is no node of this store"), "{told}");
    assert!(matches!(relay.ask(&foreign.url, "/who").await, Err(RelayError::Lost(_))));
    let read = tokio::spawn(async move {
        let request = Request::get("/b/k").body(Empty::<Bytes>::new()).unwrap();
        relay.pass(request, Face::S3, CLIENT).await.map(|answer| (answer.status(), answer.headers().len()))
    });
    while foreign.asked() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sender.send(next.leader()).unwrap();
    assert_eq!(read.await.unwrap().unwrap(), (StatusCode::OK, 1), "and what said so is not passed on");
}

/// One that stands still does not hold up what can be asked of the next.
#[tokio::test]
async fn a_read_goes_to_the_next_leader_and_a_write_is_given_up() {
    let (frozen, next) = (Leading::start(Manner::Freeze).await, Leading::start(Manner::Echo).await);
    let (relay, sender) = relay(frozen.leader());
    let ask = |method: Method| {
        let (relay, request) = (relay.clone(), Request::builder().method(method).uri("/b/k").body(Empty::<Bytes>::new()).unwrap());
        tokio::spawn(async move { relay.pass(request, Face::S3, CLIENT).await.map(|answer| answer.status()) })
    };
    let (read, write) = (ask(Method::GET), ask(Method::DELETE));
    while frozen.asked() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sender.send(next.leader()).unwrap();
    assert_eq!(read.await.unwrap().unwrap(), StatusCode::OK);
    assert!(matches!(write.await.unwrap(), Err(RelayError::Lost(_))));
    assert_eq!((frozen.asked(), next.asked()), (2, 1));
}

/// A leader that was started again carries out nothing that was for its former life: that waits until it is known, unless its body is gone.
#[tokio::test]
async fn what_was_for_another_life_is_asked_again() {
    let (again, next) = (Leading::start(Manner::Astray(usize::MAX)).await, Leading::start(Manner::Echo).await);
    let (relay_again, sender) = relay(again.leader());
    assert!(matches!(relay_again.pass(put("body!"), Face::S3, CLIENT).await, Err(RelayError::Lost(_))));
    let asked = |method: Method| Request::builder().method(method).uri("/b/k").body(Empty::<Bytes>::new()).unwrap();
    let read = tokio::spawn(async move { relay_again.pass(asked(Method::GET), Face::S3, CLIENT).await.map(|answer| answer.status()) });
    while again.asked() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sender.send(next.leader()).unwrap();
    assert_eq!((read.await.unwrap().unwrap(), next.asked()), (StatusCode::OK, 1));
    let later = Leading::start(Manner::Astray(2)).await;
    let (relay_later, _sender) = relay(later.leader());
    let answer = relay_later.pass(asked(Method::DELETE), Face::S3, CLIENT).await.unwrap();
    assert_eq!((answer.status(), later.asked()), (StatusCode::OK, 3));
}

/// A body that was not taken along leaves no word of itself, and nothing of a connection goes on to the next.
#[tokio::test]
async fn what_belongs_to_a_connection_stays_there() {
    let leading = Leading::start(Manner::Echo).await;
    let (relay, _sender) = relay(leading.leader());
    let request = Request::get("/page").header(CONNECTION, "close, X-Own").header("x-own", "1").header("content-length", "5");
    let request = request.header("keep-alive", "timeout=5").header("x-kept", "1").body(Empty::<Bytes>::new()).unwrap();
    let answer = relay.pass(request, Face::S3, CLIENT).await.unwrap();
    let echo = answer.into_body().collect().await.unwrap().to_bytes();
    let echo = std::str::from_utf8(&echo).unwrap();
    assert!(echo.contains("content-length: 0\r\n") && echo.contains("x-kept: 1"), "{echo}");
    assert!(!echo.contains("x-own") && !echo.contains("keep-alive") && !echo.contains("close"), "{echo}");
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_a_request_is_given_up_in_the_end() {
    let (relay, _sender) = relay(Leader::Nobody);
    assert!(relay.is_wanted());
    assert!(matches!(relay.pass(put("body!"), Face::S3, CLIENT).await, Err(RelayError::NoLeader)));
}

#[tokio::test]
async fn who_leads_itself_needs_no_relay() {
    let (relay, sender) = relay(Leader::Us);
    assert!(!relay.is_wanted());
    assert!(matches!(relay.pass(put("body!"), Face::S3, CLIENT).await, Err(RelayError::Ours)));
    drop(sender);
}

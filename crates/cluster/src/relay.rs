//! Has another node answer a request: everything of it goes there as it came, and the answer back.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, PROXY_AUTHENTICATE, TE, TRANSFER_ENCODING, UPGRADE},
};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use umbra_core::with_causes;

use crate::{ASTRAY, Door, Face, Leader};

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How long a request waits for a node that leads: longer than it takes to find another.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a question of the nodes' own may take, and how long its answer may be.
const ASK_MAX: Duration = Duration::from_secs(3);
const ANSWER_BYTES_MAX: usize = 4096;
const RETRY_EVERY: Duration = Duration::from_millis(200);
/// What belongs to a connection and not to a request.
const OF_THE_CONNECTION: [HeaderName; 7] = [
    CONNECTION,
    EXPECT,
    TE,
    UPGRADE,
    PROXY_AUTHENTICATE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];
/// How long a connection may wait for its next request: shorter than the other side lets it.
const IDLE_MAX: Duration = Duration::from_secs(20);
/// How soon a machine that is gone is noticed on a connection that is silent.
const KEEPALIVE: Duration = Duration::from_secs(10);

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type BoxBody = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;

/// Why no other node has answered.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Nobody leads.
    #[error("no node leads now")]
    NoLeader,
    /// This node leads itself meanwhile.
    #[error("this node has come to lead")]
    Ours,
    /// The request was sent, and no answer came. It may have been carried out.
    #[error("the node that leads did not answer: {0}")]
    Lost(String),
}

/// Passes requests on to the node that leads. Cheap to clone.
#[derive(Clone)]
pub struct Relay {
    door: Door,
    leader: watch::Receiver<Leader>,
    client: Client<HttpConnector, Sent>,
}

impl Relay {
    /// A relay to whoever `leader` says.
    pub fn new(door: Door, leader: watch::Receiver<Leader>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_MAX));
        connector.set_keepalive(Some(KEEPALIVE));
        let mut builder = Client::builder(TokioExecutor::new());
        let client = builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_MAX).build(connector);
        Self { door, leader, client }
    }

    /// Whether another node may lead: then some requests are for it.
    pub fn is_wanted(&self) -> bool {
        *self.leader.borrow() != Leader::Us
    }

    /// Has the node that leads answer `request`. While there is none, or it cannot be reached, waits for one to come.
    ///
    /// `face` is where it came in, `client` what this node says of its client. A request of which nothing was sent is sent again; one without a body, to read, also when its answer got lost.
    pub async fn pass<B>(&self, request: Request<B>, face: Face, client: &str) -> Result<Response<Incoming>, RelayError>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let (head, body) = request.into_parts();
        let has_body = !body.is_end_stream();
        let may_repeat = head.method.is_safe() && !has_body;
        let slot: Slot = Arc::new(Mutex::new(Some(Box::pin(Plain(Box::pin(body))))));
        let until = Instant::now() + PATIENCE;
        loop {
            let (url, incarnation) = self.await_leader(until).await?;
            let mut onward = Request::new(Sent::of(&slot).ok_or_else(|| RelayError::Lost("its body was sent".to_owned()))?);
            (*onward.method_mut(), *onward.headers_mut()) = (head.method.clone(), head.headers.clone());
            let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
            let uri = format!("{url}{target}").parse::<Uri>();
            *onward.uri_mut() = uri.map_err(|error| RelayError::Lost(format!("its address makes no sense: {error}")))?;
            drop_of_the_connection(onward.headers_mut(), has_body);
            let marked = self.door.mark(onward.headers_mut(), (&head.method, &head.uri), Some(&incarnation), face, client);
            let tag = marked.map_err(|error| RelayError::Lost(error.to_string()))?;
            let answered = tokio::select! {
                answered = self.client.request(onward) => answered.map_err(|error| (error.is_connect(), with_causes(&error))),
                // One that stands still would never say so.
                () = self.followed(&incarnation) => Err((false, "another node leads meanwhile".to_owned())),
            };
            let answered = answered.and_then(|mut answer| {
                if !self.door.is_countersigned(&tag, &mut answer) {
                    // It may be what stands between us and a node that has carried it out.
                    return Err((false, format!("who answers ({}) is no node of this store", answer.status())));
                }
                // The status is what is countersigned.
                let is_astray = answer.status() == StatusCode::MISDIRECTED_REQUEST && answer.headers().contains_key(ASTRAY);
                if is_astray { Err((true, "it is another life of it".to_owned())) } else { Ok(answer) }
            });
            match answered {
                Ok(mut answer) => {
                    answer.headers_mut().remove(CONNECTION);
                    return Ok(answer);
                }
                Err((is_unreached, why)) => {
                    let is_unsent = is_unreached || may_repeat || (has_body && slot.lock().is_some());
                    if !is_unsent || Instant::now() > until {
                        return Err(RelayError::Lost(format!("{url}: {why}")));
                    }
                    tracing::debug!(url, why, "the node that leads is not reached; trying again");
                    sleep(RETRY_EVERY).await;
                }
            }
        }
    }

    /// What the node at `url` answers to a request of the nodes' own.
    pub async fn ask(&self, url: &str, path: &str) -> Result<String, RelayError> {
        let lost = |why: String| RelayError::Lost(why);
        let uri = format!("{url}{path}").parse::<Uri>().map_err(|error| lost(error.to_string()))?;
        let nothing: BoxBody = Box::pin(Plain(Box::pin(String::new())));
        let mut request = Request::new(Sent::of(&Arc::new(Mutex::new(Some(nothing)))).ok_or_else(|| lost("it has no body".to_owned()))?);
        let marked = self.door.mark(request.headers_mut(), (&Method::GET, &uri), None, Face::Node, "-");
        let tag = marked.map_err(|error| lost(error.to_string()))?;
        *request.uri_mut() = uri;
        let asked = async {
            let mut answer = self.client.request(request).await.map_err(|error| lost(with_causes(&error)))?;
            let status = answer.status();
            if !self.door.is_countersigned(&tag, &mut answer) {
                return Err(lost(format!("who answers ({status}) is no node of this store")));
            }
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|error| lost(error.to_string()))?;
            let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            if status == StatusCode::OK { Ok(text) } else { Err(lost(format!("{status}: {text}"))) }
        };
        timeout(ASK_MAX, asked).await.unwrap_or_else(|_| Err(lost("no answer in time".to_owned())))
    }

    /// Waits until another node leads than `former`, or another life of it.
    async fn followed(&self, former: &str) {
        let mut leader = self.leader.clone();
        let is_other = |leader: &Leader| match leader {
            Leader::At { incarnation, .. } => incarnation != former,
            Leader::Us => true,
            Leader::Nobody => false,
        };
        if leader.wait_for(is_other).await.is_err() {
            // Nobody tells any more: this node is ending.
            std::future::pending::<()>().await;
        }
    }

    /// Where the node is that leads, and which life of it that is.
    async fn await_leader(&self, until: Instant) -> Result<(String, String), RelayError> {
        let mut leader = self.leader.clone();
        let known = timeout(until.saturating_duration_since(Instant::now()), leader.wait_for(|leader| *leader != Leader::Nobody)).await;
        match known.map(|known| known.map(|leader| leader.clone())) {
            Ok(Ok(Leader::At { url, incarnation })) => Ok((url, incarnation)),
            Ok(Ok(Leader::Us)) => Err(RelayError::Ours),
            _ => Err(RelayError::NoLeader),
        }
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("leader", &*self.leader.borrow()).finish_non_exhaustive()
    }
}

/// Removes what belongs to the connection that a request came on, and how its body was framed there if it has none any more.
fn drop_of_the_connection(headers: &mut HeaderMap, has_body: bool) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    OF_THE_CONNECTION.iter().chain(&named).for_each(|name| drop(headers.remove(name)));
    if !has_body {
        headers.remove(TRANSFER_ENCODING);
        if let Some(length) = headers.get_mut(CONTENT_LENGTH) {
            *length = HeaderValue::from_static("0");
        }
    }
}

/// Where a body is as long as nobody has read of it.
type Slot = Arc<Mutex<Option<BoxBody>>>;

/// A body on its way. One that was not read when it is dropped goes back to its slot.
struct Sent {
    slot: Slot,
    body: Option<BoxBody>,
    is_read: bool,
}

impl Sent {
    /// The body in `slot`; none when it was read.
    fn of(slot: &Slot) -> Option<Self> {
        let body = slot.lock().take()?;
        Some(Self { slot: Arc::clone(slot), body: Some(body), is_read: false })
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if !self.is_read {
            *self.slot.lock() = self.body.take();
        }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = body.as_mut().poll_frame(cx);
        self.is_read |= polled.is_ready();
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, |body| body.size_hint())
    }
}

/// A body whose errors are boxed.
struct Plain<B>(Pin<Box<B>>);

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> Body for Plain<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.as_mut().poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests;

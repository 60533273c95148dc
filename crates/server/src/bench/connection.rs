//! One keep-alive connection, and one request at a time over it.

use std::{io, net::SocketAddr, time::Duration};

use http::{Request, StatusCode, header::CONTENT_LENGTH};
use hyper::{body::Body as _, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinHandle};

use super::{
    content::{Content, STAMP_LEN},
    task::Answer,
};

/// No answer takes longer, unless something is wrong.
const TIMEOUT: Duration = Duration::from_secs(60);
/// As much of a document as is read: more than a page of a listing and than any error.
const DOCUMENT_MAX: usize = 8 << 20;

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    #[error("the answer was {0} {1}")]
    Refused(StatusCode, String),
    #[error("the answer was {0}")]
    Wrong(String),
}

/// A connection; closed when it is dropped.
pub(super) struct Connection {
    sender: http1::SendRequest<Content>,
    driver: JoinHandle<()>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Result<Self, CallError> {
        let stream = TcpStream::connect(address).await.map_err(CallError::Connect)?;
        stream.set_nodelay(true).map_err(CallError::Connect)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // How it ended is told to whoever waits for an answer.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, driver })
    }

    /// Sends a request and reads its answer to the end. After an error the connection is of no more use.
    pub(super) async fn call(&mut self, request: Request<Content>, wants_document: bool) -> Result<Answer, CallError> {
        tokio::time::timeout(TIMEOUT, self.exchange(request, wants_document)).await.unwrap_or(Err(CallError::Timeout))
    }

    async fn exchange(&mut self, request: Request<Content>, wants_document: bool) -> Result<Answer, CallError> {
        self.sender.ready().await?;
        let (head, mut body) = self.sender.send_request(request).await?.into_parts();
        let announced = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut answer = Answer { status: head.status, announced, ..Answer::default() };
        let kept = if wants_document || !head.status.is_success() { DOCUMENT_MAX } else { STAMP_LEN };
        while let Some(frame) = std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await {
            let Ok(data) = frame?.into_data() else { continue };
            answer.len += data.len() as u64;
            let wanted = kept.saturating_sub(answer.start.len()).min(data.len());
            answer.start.extend_from_slice(&data[..wanted]);
        }
        if answer.status.is_success() { Ok(answer) } else { Err(CallError::Refused(answer.status, code(&answer.start))) }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The code in an error document.
fn code(document: &[u8]) -> String {
    let text = String::from_utf8_lossy(document);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    code.map_or_else(String::new, |(code, _)| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn the_code_of_an_error_is_found() {
        assert_eq!(code(b"<?xml?><Error><Code>NoSuchBucket</Code><Message>m</Message></Error>"), "NoSuchBucket");
        for text in ["", "<Code>", "</Code><Code>", "\u{fffd}"] {
            assert_eq!(code(text.as_bytes()), "");
        }
    }
}

//! A server that is measured.

use std::{net::SocketAddr, sync::Arc};

use http::{
    HeaderName, Method, Request,
    header::{AUTHORIZATION, CONTENT_LENGTH, HOST},
};
use tokio::net::TcpStream;
use umbra_admin::api::SecretText;
use umbra_core::{Clock, SystemClock};
use url::Url;

use super::{
    connection::{CallError, Connection},
    content::{Content, Pool},
    signer::{Signer, UNSIGNED_PAYLOAD},
    task::{Answer, Task},
};
use crate::cli::{Failure, Outcome};

const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const X_AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// A server: where it is, how to speak to it, and its process.
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) pid: Option<u32>,
    address: SocketAddr,
    signer: Signer,
    pool: Arc<Pool>,
}

impl Peer {
    /// Finds the server at `endpoint`, which must be on this machine and listening.
    pub(super) async fn find(
        name: &str,
        endpoint: &str,
        access_key: &str,
        secret_key: &SecretText,
        pid: Option<u32>,
        pool: &Arc<Pool>,
    ) -> Outcome<Self> {
        let url = Url::parse(endpoint).ok().filter(|url| url.scheme() == "http" && url.path() == "/");
        let Some((host, port)) = url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?))) else {
            return Err(Failure::usage(format!("{endpoint} is not of the form http://HOST:PORT")));
        };
        let authority = format!("{host}:{port}");
        let address = find_address(&authority).await?;
        let signer = Signer::new(access_key, secret_key, &authority);
        Ok(Self { name: name.to_owned(), pid, address, signer, pool: Arc::clone(pool) })
    }

    pub(super) async fn connect(&self) -> Result<Connection, CallError> {
        Connection::open(self.address).await
    }

    /// Does `task` and judges the answer.
    pub(super) async fn call(&self, connection: &mut Connection, task: &Task) -> Result<Answer, CallError> {
        let answer = connection.call(self.request(task)?, task.wants_document()).await?;
        task.judge(&answer).map_err(CallError::Wrong)?;
        Ok(answer)
    }

    fn request(&self, task: &Task) -> Result<Request<Content>, CallError> {
        let (method, path, query) = (task.method(), task.path(), task.query());
        let signature = self.signer.sign(SystemClock.now(), method.as_str(), &path, &query);
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        let body = task.body(&self.pool);
        let mut request = Request::builder()
            .uri(target)
            .header(HOST, self.signer.host())
            .header(X_AMZ_CONTENT_SHA256, UNSIGNED_PAYLOAD)
            .header(X_AMZ_DATE, signature.date)
            .header(AUTHORIZATION, signature.authorization);
        if method == Method::PUT {
            request = request.header(CONTENT_LENGTH, body.len());
        }
        request.method(method).body(body).map_err(|error| CallError::Wrong(format!("not asked for: {error}")))
    }
}

/// The first address of `authority` that listens. Only this machine's own will do: a benchmark is an attack on anybody else.
async fn find_address(authority: &str) -> Outcome<SocketAddr> {
    let found = tokio::net::lookup_host(authority).await.map_err(|error| Failure::new(format!("look up {authority}")).because(&error))?;
    let found: Vec<_> = found.collect();
    if !found.iter().all(|address| address.ip().is_loopback()) {
        return Err(Failure::usage(format!("{authority} is not on this machine: only loopback addresses are measured")));
    }
    let mut last = None;
    for address in found {
        match TcpStream::connect(address).await {
            Ok(_) => return Ok(address),
            Err(error) => last = Some(error),
        }
    }
    let failure = Failure::new(format!("connect to {authority}"));
    Err(last.map_or_else(|| Failure::new("it has no address"), |error| failure.because(&error)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use umbra_admin::api::SecretText;

    use super::{Peer, Pool};

    #[tokio::test]
    async fn only_this_machine_is_measured() {
        let pool = Arc::new(Pool::new(16));
        for (endpoint, expected) in [
            ("http://192.0.2.1:9000", "only loopback"),
            ("http://[2001:db8::1]:9000", "only loopback"),
            ("https://127.0.0.1:9000", "not of the form"),
            ("http://127.0.0.1:9000/path", "not of the form"),
            ("127.0.0.1:9000", "not of the form"),
        ] {
            let found = Peer::find("p", endpoint, "k", &SecretText::new("s"), None, &pool).await;
            let failure = found.err().unwrap_or_else(|| panic!("{endpoint} was found"));
            assert!(failure.message().contains(expected), "{endpoint}: {failure:?}");
        }
    }
}

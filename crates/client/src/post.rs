//! Web hooks: documents posted to URLs that users name.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};

use crate::{ClientSettings, EndpointGuard, Error, Result, request_body::RequestBody, transport::Transport};

/// Posts documents, to addresses that the guard lets pass.
#[derive(Clone)]
pub struct Poster {
    transport: Transport,
    settings: ClientSettings,
}

impl Poster {
    /// A poster behind `guard`.
    pub fn new(guard: EndpointGuard, settings: ClientSettings) -> Result<Self> {
        Ok(Self { transport: Transport::new(guard, &settings)?, settings })
    }

    /// Posts `document` to `url` and gives the status of the answer; what else it says is not read. Redirects are answers like any other.
    pub async fn post(&self, url: &Uri, headers: HeaderMap, document: Bytes) -> Result<StatusCode> {
        let mut request = Request::new(RequestBody::Whole(document));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.clone();
        *request.headers_mut() = headers;
        if url.host().is_none() {
            return Err(Error::Request("the URL of a web hook names no host".to_owned()));
        }
        Ok(self.transport.send(request, None, self.settings.response_timeout).await?.status())
    }
}

impl fmt::Debug for Poster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poster").finish_non_exhaustive()
    }
}

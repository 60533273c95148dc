//! What can be set about a client.

use std::time::Duration;

use rustls::pki_types::CertificateDer;

/// Limits and timeouts of an [`S3Client`](crate::S3Client).
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// How long a connection may take to be made: name, TCP and TLS together. Default 5 s.
    pub connect_timeout: Duration,
    /// How long the origin may take to begin its answer, counted from when the request has been handed over whole; and then once more
    /// for the answer itself where that is a document, such as a page of a listing. Default 30 s.
    pub response_timeout: Duration,
    /// The same for the completion of a multipart upload, where engines put thousands of parts together first. Default 5 min.
    pub completion_timeout: Duration,
    /// How long nothing may arrive in the middle of an answer, or nothing be taken in the middle of a request. Default 30 s.
    pub idle_timeout: Duration,
    /// How often a request without a body is tried, the first time included. Default 3.
    pub attempts_max: u32,
    /// The pause before the second attempt, doubled for each further one and shortened at random. Default 100 ms.
    pub retry_delay: Duration,
    /// How many idle connections are kept. Default 64.
    pub idle_connections_max: usize,
    /// How long an idle connection is kept. Shorter than what engines allow, so that few are found dead. Default 15 s.
    pub idle_connection_timeout: Duration,
    /// Certificate authorities trusted besides the public ones, for origins with a private one.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(30),
            completion_timeout: Duration::from_secs(300),
            idle_timeout: Duration::from_secs(30),
            attempts_max: 3,
            retry_delay: Duration::from_millis(100),
            idle_connections_max: 64,
            idle_connection_timeout: Duration::from_secs(15),
            extra_roots: Vec::new(),
        }
    }
}

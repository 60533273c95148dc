//! Settings of the S3 front.

use std::time::Duration;

use crate::WebHooks;

/// What a user can set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Settings {
    /// The region this server says it is in. Default `us-east-1`.
    pub region: String,
    /// Whether requests must be signed for `region`. By default any region is accepted, so that clients need no setting.
    pub pin_region: bool,
    /// Whether signatures of version 2 are accepted, which old clients make. Default false.
    pub allow_sigv2: bool,
    /// The domain below which buckets have names of their own (`bucket.domain`). Without it, and for any other host, the bucket is in the path.
    pub domain: Option<String>,
    /// The domain below which buckets are websites (`bucket.domain`). Without it the whole host name is the bucket, or its first label.
    pub website_domain: Option<String>,
    /// The URL at which clients reach this server, where that is not the one they name: behind a proxy. For URLs that are signed here.
    pub public_url: Option<String>,
    /// The organization that owns buckets a root key creates through S3. Made when first needed. Default `default`.
    pub default_organization: String,
    /// How long a request's head may take to arrive. Default 30 s.
    pub head_timeout: Duration,
    /// How long a request's body may stand still. Default 60 s.
    pub body_timeout: Duration,
    /// The web hooks that buckets may name as receivers of events.
    pub web_hooks: WebHooks,
    /// How long a line of an access log waits for others before they are written. Default five minutes.
    pub access_log_interval: Duration,
    /// How many connections are served at once; more wait. Default 8,192.
    pub max_connections: usize,
}

impl Default for S3Settings {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            pin_region: false,
            allow_sigv2: false,
            domain: None,
            website_domain: None,
            public_url: None,
            default_organization: "default".to_owned(),
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(60),
            web_hooks: WebHooks::default(),
            access_log_interval: Duration::from_secs(5 * 60),
            max_connections: 8192,
        }
    }
}

//! Buckets in host names.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{HeaderMap, header::HOST};
use s3s::{
    S3Result,
    host::{S3Host, SingleDomain, VirtualHost},
};
use umbra_core::{Error, Fault, Result};

use crate::nearest::Nearest;

/// Tells the bucket that a host below a domain names. A host elsewhere never names one, nor does that of a region.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    domain: Arc<SingleDomain>,
    nearest: Option<Arc<Nearest>>,
}

impl Hosts {
    /// Buckets have names below `domain`.
    pub(crate) fn below(domain: &str, nearest: Option<Arc<Nearest>>) -> Result<Self> {
        let below = SingleDomain::new(domain).map(|parser| parser.with_cname_fallback(false));
        let domain =
            below.map_err(|error| Error::invalid(Fault::InvalidArgument, format!("{domain:?} cannot be a domain")).because(error))?;
        Ok(Self { domain: Arc::new(domain), nearest })
    }
}

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        if self.nearest.as_ref().is_some_and(|nearest| nearest.names_region(host)) {
            return Ok(VirtualHost::new(host));
        }
        self.domain.parse_host_header(host)
    }
}

/// The bucket that the host in `headers` names.
pub(crate) fn bucket(hosts: Option<&Hosts>, headers: &HeaderMap) -> Option<String> {
    let (hosts, host) = hosts.zip(headers.get(HOST).and_then(|host| host.to_str().ok()))?;
    let is_address = host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok();
    let host = hosts.parse_host_header(host).ok().filter(|_| !is_address)?;
    host.bucket().map(str::to_owned)
}

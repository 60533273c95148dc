//! Buckets in host names.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, header::HOST};
use s3s::host::{S3Host as _, SingleDomain};
use umbra_core::{Error, Fault, Result};

/// The parser of host names below `domain`. A host elsewhere never names a bucket.
pub(crate) fn parser(domain: &str) -> Result<SingleDomain> {
    SingleDomain::new(domain)
        .map(|parser| parser.with_cname_fallback(false))
        .map_err(|error| Error::invalid(Fault::InvalidArgument, format!("{domain:?} cannot be a domain")).because(error))
}

/// The bucket that the host in `headers` names.
pub(crate) fn bucket(parser: Option<&SingleDomain>, headers: &HeaderMap) -> Option<String> {
    let (parser, host) = parser.zip(headers.get(HOST).and_then(|host| host.to_str().ok()))?;
    let is_address = host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok();
    let host = parser.parse_host_header(host).ok().filter(|_| !is_address)?;
    host.bucket().map(str::to_owned)
}

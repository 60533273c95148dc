//! The endpoint guard: keeps a user-supplied endpoint from reaching what only we can reach.
//!
//! An endpoint's host is resolved, its addresses are checked, and the connection goes to a checked address, every time a connection
//! is made. So a name that resolves to something harmless first and to something inside later (DNS rebinding) gains nothing. The name
//! itself stays in use for TLS and for the `Host` header. Proxy variables of the environment are ignored, and redirects are never
//! followed.

mod address;
mod cidr;
mod connector;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use futures::future::BoxFuture;

pub use cidr::{Cidr, CidrError};
pub(crate) use connector::{GuardedConnector, GuardedStream};

use address::{Class, classify, embedded};

/// What an operator allows besides public addresses. Link-local addresses and metadata services are beyond permission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardPolicy {
    /// Networks that may be reached although they are not public, such as the LAN an origin lives in.
    pub allow: Vec<Cidr>,
    /// Whether this machine itself may be reached.
    pub allow_loopback: bool,
}

/// Resolves and checks hosts before anything connects to them. Cheap to clone.
#[derive(Clone)]
pub struct EndpointGuard {
    policy: Arc<GuardPolicy>,
    resolver: Arc<dyn Resolve>,
}

/// Why no connection was made.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// Every address of the host is refused.
    #[error("{host} is refused: {} is {reason}", if *host == address.to_string() { "it".to_owned() } else { address.to_string() })]
    Refused {
        /// The host.
        host: String,
        /// One of its addresses.
        address: IpAddr,
        /// What kind of address that is.
        reason: &'static str,
    },
    /// The host's name leads nowhere.
    #[error("{host} cannot be resolved")]
    Resolve {
        /// The host.
        host: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// None of the host's addresses took the connection.
    #[error("{host} does not take the connection")]
    Connect {
        /// The host.
        host: String,
        /// The cause, for the last address tried.
        #[source]
        source: io::Error,
    },
    /// The connection, TLS included, was not made in time.
    #[error("{host} did not take the connection in time")]
    Timeout {
        /// The host.
        host: String,
    },
}

/// Turns a name into addresses.
pub(crate) trait Resolve: Send + Sync + 'static {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            match tokio::net::lookup_host((host, port)).await {
                Ok(found) => Ok(found.collect()),
                // Names below localhost are this machine, though not every system's resolver knows: RFC 6761, section 6.3.
                Err(_) if host.ends_with(".localhost") => Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]),
                Err(error) => Err(error),
            }
        })
    }
}

impl EndpointGuard {
    /// A guard that lets public addresses pass and what `policy` adds.
    pub fn new(policy: GuardPolicy) -> Self {
        Self { policy: Arc::new(policy), resolver: Arc::new(SystemResolver) }
    }

    #[cfg(test)]
    pub(crate) fn with_resolver(policy: GuardPolicy, resolver: impl Resolve) -> Self {
        Self { policy: Arc::new(policy), resolver: Arc::new(resolver) }
    }

    /// Checks one address; the error says what kind of address it is.
    pub fn check(&self, address: IpAddr) -> Result<(), &'static str> {
        let IpAddr::V6(v6) = address else { return self.judge(&[address]) };
        match v6.to_ipv4_mapped() {
            // The system connects to the IPv4 address, so that is the one that counts.
            Some(v4) => self.judge(&[v4.into()]),
            None => {
                self.judge(&[address])?;
                embedded(v6).into_iter().try_for_each(|inner| self.judge(&[inner.into(), address]))
            }
        }
    }

    /// Judges the first of `names`; all of them are names under which the operator may have allowed it.
    fn judge(&self, names: &[IpAddr]) -> Result<(), &'static str> {
        let allowed = || names.iter().any(|name| self.policy.allow.iter().any(|network| network.contains(*name)));
        match names.first().map(|address| classify(*address)) {
            None | Some(Class::Public) => Ok(()),
            Some(Class::Loopback) if self.policy.allow_loopback || allowed() => Ok(()),
            Some(Class::Loopback) => Err("a loopback address"),
            Some(Class::Restricted(_)) if allowed() => Ok(()),
            Some(Class::Restricted(reason) | Class::Never(reason)) => Err(reason),
        }
    }

    /// The addresses of `host` that pass; at least one.
    pub(crate) async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, GuardError> {
        let found = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => {
                let failed = |source| GuardError::Resolve { host: host.to_owned(), source };
                self.resolver.resolve(host, port).await.map_err(failed)?
            }
        };
        let mut refused = None;
        let mut passed = Vec::with_capacity(found.len());
        for address in found {
            match self.check(address.ip()) {
                Ok(()) => passed.push(address),
                Err(reason) => refused = Some((address.ip(), reason)),
            }
        }
        match refused {
            Some((address, reason)) if passed.is_empty() => Err(GuardError::Refused { host: host.to_owned(), address, reason }),
            None if passed.is_empty() => Err(GuardError::Resolve { host: host.to_owned(), source: io::ErrorKind::NotFound.into() }),
            _ => Ok(passed),
        }
    }
}

impl Default for EndpointGuard {
    fn default() -> Self {
        Self::new(GuardPolicy::default())
    }
}

impl fmt::Debug for EndpointGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointGuard").field("policy", &self.policy).finish_non_exhaustive()
    }
}

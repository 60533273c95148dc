//! Where an origin is and how it wants to be addressed.

use std::{fmt, str::FromStr};

use http::{Uri, uri::Authority};
use url::{Host, Url};

use crate::encode;

/// How a bucket is named in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addressing {
    /// As the first part of the path.
    Path,
    /// As the first part of the host name.
    VirtualHost,
    /// In the host name at Amazon, unless the bucket's name has a dot, which its certificate would not cover; in the path elsewhere. Where a
    /// service wants it otherwise, the first requests find out.
    #[default]
    Auto,
}

impl FromStr for Addressing {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        match text {
            "path" => Ok(Self::Path),
            "virtual-host" => Ok(Self::VirtualHost),
            "auto" => Ok(Self::Auto),
            other => Err(EndpointError::Addressing(other.to_owned())),
        }
    }
}

/// The endpoint of an S3-compatible service.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: &'static str,
    host: String,
    port: Option<u16>,
    is_address: bool,
    /// Empty, or with a slash in front and none behind.
    base_path: String,
    region: String,
    addressing: Addressing,
}

/// What is wrong with an endpoint or a bucket's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum EndpointError {
    #[error("the endpoint must be a URL such as https://s3.example.com")]
    Malformed(#[source] url::ParseError),
    #[error("the endpoint must begin with https:// or http://, not {0}:")]
    Scheme(String),
    #[error("the endpoint must not contain credentials: give the access key and the secret by themselves")]
    Credentials,
    #[error("the endpoint must not contain a query")]
    Query,
    #[error("the endpoint must not contain a fragment")]
    Fragment,
    #[error("the endpoint must name a host")]
    Host,
    #[error("the region must be made of letters, digits and dashes: {0:?}")]
    Region(String),
    #[error("the addressing must be path, virtual-host or auto: {0:?}")]
    Addressing(String),
    #[error("virtual-host addressing needs a host name, not an address")]
    VirtualHostOfAddress,
    #[error("not the name of a bucket: {0:?}")]
    Bucket(String),
}

/// The host and the path under which a bucket's requests go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BucketAddress {
    scheme: &'static str,
    authority: Authority,
    /// With a slash in front and none behind, or empty.
    path: String,
}

impl Endpoint {
    /// Checks `url` and `region`. A region of `auto` is read from the URL where it says so; see [`Endpoint::signing_region`].
    pub fn parse(url: &str, region: &str, addressing: Addressing) -> Result<Self, EndpointError> {
        let parsed = Url::parse(url.trim()).map_err(EndpointError::Malformed)?;
        let scheme = match parsed.scheme() {
            "https" => "https",
            "http" => "http",
            other => return Err(EndpointError::Scheme(other.chars().take(32).collect())),
        };
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(EndpointError::Credentials);
        }
        if parsed.query().is_some() {
            return Err(EndpointError::Query);
        }
        if parsed.fragment().is_some() {
            return Err(EndpointError::Fragment);
        }
        let region = region.trim();
        let region = if region.is_empty() { "auto" } else { region };
        if !is_region(region) {
            return Err(EndpointError::Region(region.chars().take(64).collect()));
        }
        let is_address = !matches!(parsed.host(), Some(Host::Domain(_)));
        if is_address && addressing == Addressing::VirtualHost {
            return Err(EndpointError::VirtualHostOfAddress);
        }
        let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or(EndpointError::Host)?.to_owned();
        let base_path = parsed.path().trim_end_matches('/').to_owned();
        Ok(Self { scheme, host, port: parsed.port(), is_address, base_path, region: region.to_owned(), addressing })
    }

    /// The host, without port; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The region as it was given.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// How buckets are addressed.
    pub const fn addressing(&self) -> Addressing {
        self.addressing
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.scheme == "https"
    }

    /// The region that goes into signatures: the one given, or for `auto` what the host's name says, or else `us-east-1`.
    pub fn signing_region(&self) -> &str {
        if self.region != "auto" {
            return &self.region;
        }
        if self.host.ends_with(".r2.cloudflarestorage.com") {
            // https://developers.cloudflare.com/r2/api/s3/api/#bucket-region
            return "auto";
        }
        self.region_in_host().unwrap_or("us-east-1")
    }

    /// The content coding to ask for so that an object comes as it is stored.
    ///
    /// Google decompresses what is stored compressed unless it is asked not to, <https://cloud.google.com/storage/docs/transcoding>;
    /// others may compress what is not when they are allowed to.
    pub(crate) fn accept_encoding(&self) -> &'static str {
        if self.host == "storage.googleapis.com" || self.host.ends_with(".storage.googleapis.com") { "gzip" } else { "identity" }
    }

    /// Finds the label that names a region in `s3.<region>.amazonaws.com` and the like.
    fn region_in_host(&self) -> Option<&str> {
        const HOSTERS: [&str; 5] = [".amazonaws.com", ".amazonaws.com.cn", ".backblazeb2.com", ".wasabisys.com", ".scw.cloud"];
        let labels = HOSTERS.iter().find_map(|suffix| self.host.strip_suffix(suffix))?;
        let (_, last) = labels.rsplit_once('.').unwrap_or(("", labels));
        // The old form has a dash: s3-eu-west-1.amazonaws.com.
        let region = last.strip_prefix("s3-").unwrap_or(last);
        (region.contains('-') && !region.starts_with("s3") && region != "accelerate").then_some(region)
    }

    /// The other place for `bucket`, where its addressing was left to us and there is one: in the host name instead of the path, or the other way round.
    pub(crate) fn other_bucket(&self, bucket: &str) -> Option<BucketAddress> {
        if self.addressing != Addressing::Auto || self.is_address {
            return None;
        }
        // A dot would make a name that certificates do not cover, and a capital or a line one that is no host's.
        let fits_host = bucket.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let addressing = if self.is_in_host(bucket) { Addressing::Path } else { Addressing::VirtualHost };
        if addressing == Addressing::VirtualHost && !fits_host {
            return None;
        }
        Self { addressing, ..self.clone() }.bucket(bucket).ok()
    }

    /// Whether requests name `bucket` in the host name.
    pub(crate) fn is_in_host(&self, bucket: &str) -> bool {
        let at_amazon = self.host.ends_with(".amazonaws.com") || self.host.ends_with(".amazonaws.com.cn");
        match self.addressing {
            Addressing::Path => false,
            Addressing::VirtualHost => true,
            Addressing::Auto => at_amazon && !bucket.contains('.'),
        }
    }

    /// Where requests for `bucket` go.
    pub(crate) fn bucket(&self, bucket: &str) -> Result<BucketAddress, EndpointError> {
        let valid = (3..=255).contains(&bucket.len())
            && bucket.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
            && !bucket.starts_with('.')
            && !bucket.ends_with('.')
            && !bucket.contains("..");
        let error = || EndpointError::Bucket(bucket.chars().take(255).collect());
        if !valid {
            return Err(error());
        }
        let in_host = self.is_in_host(bucket);
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let (host, path) = if in_host && !self.is_address {
            (format!("{bucket}.{}{port}", self.host), self.base_path.clone())
        } else {
            (format!("{}{port}", self.host), format!("{}/{bucket}", self.base_path))
        };
        Ok(BucketAddress { scheme: self.scheme, authority: host.parse().map_err(|_| error())?, path })
    }
}

/// Whether `text` can be the name of a region.
pub(crate) fn is_region(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

impl BucketAddress {
    /// The value of the `Host` header.
    pub(crate) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// The target of a request for `key`, or for the bucket itself.
    pub(crate) fn uri(&self, key: Option<&str>, query: &str) -> Result<Uri, http::Error> {
        let mut target = self.path.clone();
        match key {
            Some(key) => {
                target.push('/');
                target.push_str(&encode::path(key));
            }
            None if target.is_empty() => target.push('/'),
            None => {}
        }
        if !query.is_empty() {
            target.push('?');
            target.push_str(query);
        }
        Uri::builder().scheme(self.scheme).authority(self.authority.clone()).path_and_query(target).build()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.base_path)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({}, {:?})", self.region, self.addressing)
    }
}

#[cfg(test)]
mod tests;

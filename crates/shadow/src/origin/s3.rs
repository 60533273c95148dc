//! An origin that speaks S3.

mod headers;
mod origin;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::sync::OnceCell;
use umbra_client::{Addressing, Credentials, Endpoint, EndpointGuard, GetOptions, GetResponse, S3Client};
use umbra_core::{Body, ByteRange, Error, ErrorKind, Fault, ShadowSettings};
use umbra_store::Secret;

use super::{ListOrder, Origin, OriginError, Result, ShadowPath, uncarried::CUSTOMER_KEY};
use crate::{attach::PROBE_KEY_PREFIX, origins::OriginFactory};
use headers::header_text;

/// The header that carries a [`ShadowPath`].
pub const SHADOW_PATH_HEADER: &str = "x-umbra-shadow-path";

/// What is told of a refusal; its cause says which.
pub(crate) const REFUSES: &str = "the origin refuses the request";

/// Makes origins that speak S3.
pub struct S3Origins {
    guard: EndpointGuard,
    settings: umbra_client::ClientSettings,
}

impl S3Origins {
    /// Origins behind `guard`.
    pub const fn new(guard: EndpointGuard, settings: umbra_client::ClientSettings) -> Self {
        Self { guard, settings }
    }
}

impl std::fmt::Debug for S3Origins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("S3Origins")
    }
}

impl OriginFactory for S3Origins {
    fn origin(&self, settings: &ShadowSettings, secret: &Secret) -> umbra_core::Result<Arc<dyn Origin>> {
        Ok(Arc::new(S3Origin::new(self.client(settings, secret)?)))
    }

    fn examined(&self, settings: &ShadowSettings, secret: &Secret) -> umbra_core::Result<(Arc<dyn Origin>, Option<S3Client>)> {
        // What the one learns the other knows: clones share it.
        let client = self.client(settings, secret)?;
        Ok((Arc::new(S3Origin::new(client.clone())), Some(client)))
    }
}

impl S3Origins {
    /// A client for the bucket that `settings` name.
    fn client(&self, settings: &ShadowSettings, secret: &Secret) -> umbra_core::Result<S3Client> {
        let wrong =
            |error: &dyn std::fmt::Display| Error::invalid(Fault::InvalidArgument, format!("the shadow's endpoint is wrong: {error}"));
        let endpoint = Endpoint::parse(&settings.endpoint, &settings.region, Addressing::Auto).map_err(|error| wrong(&error))?;
        let credentials = Credentials::new(settings.access_key.clone(), secret.expose());
        S3Client::new(endpoint, &settings.bucket, credentials, self.guard.clone(), self.settings.clone()).map_err(|error| wrong(&error))
    }
}

/// A bucket at an S3-compatible provider.
#[derive(Debug)]
pub struct S3Origin {
    client: S3Client,
    /// Whether its ETags were seen to be weak ones.
    has_weak_etags: AtomicBool,
    /// Whether it was seen to answer a request for a range with the whole.
    ignores_ranges: AtomicBool,
    /// Whether it was seen not to know GetObjectAttributes.
    lacks_attributes: AtomicBool,
    /// Whether it was seen to tell how many tags an object has.
    tells_tag_counts: AtomicBool,
    judges_conditions: OnceCell<bool>,
    introduced: OnceCell<()>,
}

impl S3Origin {
    fn new(client: S3Client) -> Self {
        Self {
            client,
            has_weak_etags: AtomicBool::new(false),
            ignores_ranges: AtomicBool::new(false),
            lacks_attributes: AtomicBool::new(false),
            tells_tag_counts: AtomicBool::new(false),
            judges_conditions: OnceCell::new(),
            introduced: OnceCell::new(),
        }
    }

    /// Asks something harmless before the first write, so that what the service wants otherwise is known before content, which cannot be sent
    /// twice, is on its way.
    async fn introduce(&self, path: &ShadowPath) {
        let ask = || async {
            if self.client.server().is_none() {
                // What is wrong with the service shows with the write itself.
                drop(self.client(path).head_bucket().await);
            }
        };
        self.introduced.get_or_init(ask).await;
    }

    fn client(&self, path: &ShadowPath) -> S3Client {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(&path.0.join(",")) {
            headers.insert(HeaderName::from_static(SHADOW_PATH_HEADER), value);
        }
        self.client.with_headers(headers)
    }

    /// Whether the answer to a GET says for certain how many tags the object has: by a count, or by none, from a service that tells it wherever
    /// there are tags. Amazon documents that, for whoever may read them; of others it must have been seen. Where it does not, each object costs
    /// a second request.
    fn tells_tags(&self, headers: &HeaderMap) -> bool {
        let counts = headers.contains_key("x-amz-tagging-count");
        if counts {
            self.tells_tag_counts.store(true, Ordering::Relaxed);
        }
        counts
            || self.tells_tag_counts.load(Ordering::Relaxed)
            || is_amazon(self.client.endpoint())
            || header_text(headers, "server").is_some_and(is_seaweedfs_4)
    }

    /// The headers of an object. A HEAD has no body to say what is missing or wrong: the bucket must be seen to be there, and for the rest one
    /// byte is asked for.
    async fn head_headers(&self, client: &S3Client, key: &str) -> Result<(HeaderMap, u64)> {
        let options = GetOptions { checksum_mode: true, ..GetOptions::default() };
        let place = client.is_bucket_in_host();
        let headers = match client.head_object(key, &options).await {
            Err(umbra_client::Error::S3(error)) if error.status == 404 => {
                client.head_bucket().await.map_err(of_read)?;
                if client.is_bucket_in_host() == place {
                    return Err(umbra_client::Error::S3(error).into());
                }
                // The bucket was looked for in the wrong place.
                client.head_object(key, &options).await.map_err(of_read)?
            }
            Err(umbra_client::Error::S3(error)) if error.status == 400 => return self.first_byte(client, key).await,
            answer => answer.map_err(of_read)?,
        };
        match header_text(&headers, "content-length").and_then(|size| size.parse().ok()) {
            Some(size) if headers.contains_key(header::ETAG) => Ok((headers, size)),
            _ => self.first_byte(client, key).await,
        }
    }

    /// The headers and the size of an object as the answer to a GET of its first byte has them.
    async fn first_byte(&self, client: &S3Client, key: &str) -> Result<(HeaderMap, u64)> {
        let options = GetOptions { range: Some(ByteRange::new(0, 1)), checksum_mode: true, ..GetOptions::default() };
        let GetResponse { headers, content_length, content_range, .. } = client.get_object(key, &options).await.map_err(of_read)?;
        let size = content_range.map_or(content_length, |content_range| content_range.size);
        let untold = || OriginError::certain(Error::new(ErrorKind::OriginUnavailable, "the origin does not tell the object's size"));
        Ok((headers, size.ok_or_else(untold)?))
    }

    /// Tries a condition that cannot hold on a key of ours.
    async fn try_condition(&self, path: &ShadowPath) -> Result<bool> {
        let client = self.client(path);
        let key = format!("{PROBE_KEY_PREFIX}condition");
        let headers = HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_static("\"umbra-probe\""))]);
        match client.put_object(&key, 0, Body::empty(), &headers).await {
            // It took no notice.
            Ok(_) => {
                client.delete_object(&key).await?;
                Ok(false)
            }
            Err(umbra_client::Error::S3(error)) => match error.status {
                404 | 412 => Ok(true),
                400 | 501 => Ok(false),
                _ => Err(umbra_client::Error::S3(error).into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}

impl From<umbra_client::Error> for OriginError {
    fn from(error: umbra_client::Error) -> Self {
        let (kind, outcome_unknown) = (error.kind(), error.outcome_unknown());
        let error = match error {
            // The body's own failure, as its source told it.
            umbra_client::Error::Body(cause) => cause,
            // It is not the origin that refuses.
            umbra_client::Error::Blocked(cause) => Error::new(kind, "the origin's address is not allowed").because(cause),
            error => {
                let message = match kind {
                    ErrorKind::OriginUnavailable => "the origin cannot answer now; please try again".to_owned(),
                    ErrorKind::OriginRefused => REFUSES.to_owned(),
                    ErrorKind::NotFound(_) => "the specified key does not exist".to_owned(),
                    ErrorKind::Invalid(Fault::InvalidObjectState) => {
                        "the object is archived at the origin; restore it there first".to_owned()
                    }
                    _ => {
                        format!("the origin refuses: {}", error.s3().and_then(|s3| s3.message.clone()).unwrap_or_else(|| error.to_string()))
                    }
                };
                Error::new(kind, message).because(error)
            }
        };
        Self { error, outcome_unknown }
    }
}

/// What the failure of a read means: only what S3 says of an object is handed on as it is. Anything else an origin may answer to a request that
/// is sound means that it cannot be read, which is not the client's doing.
fn of_read(error: umbra_client::Error) -> OriginError {
    if error.s3().is_some_and(is_about_customer_key) {
        return OriginError::certain(Error::new(ErrorKind::OriginRefused, CUSTOMER_KEY).because(error));
    }
    match error.kind() {
        ErrorKind::NotFound(_)
        | ErrorKind::Precondition
        | ErrorKind::NotModified
        | ErrorKind::Invalid(Fault::InvalidRange | Fault::InvalidObjectState)
        | ErrorKind::OriginUnavailable
        | ErrorKind::OriginRefused => error.into(),
        _ => OriginError::certain(Error::new(ErrorKind::OriginRefused, REFUSES).because(error)),
    }
}

/// Whether a refusal says that the object is encrypted under a customer's key: Amazon's code for it stands for much else.
fn is_about_customer_key(told: &umbra_client::S3Error) -> bool {
    let message = told.message.as_deref().unwrap_or_default().to_ascii_lowercase();
    told.status == 400 && told.code == "InvalidRequest" && (message.contains("server side encryption") || message.contains("sse-c"))
}

fn is_amazon(endpoint: &Endpoint) -> bool {
    [".amazonaws.com", ".amazonaws.com.cn"].iter().any(|suffix| endpoint.host().ends_with(suffix))
}

/// Whether a `Server` header is that of SeaweedFS from version 4 on, whose counts of tags the black-box tests hold: `SeaweedFS 8000GB 4.48`.
fn is_seaweedfs_4(server: &str) -> bool {
    let mut words = server.split(' ');
    let major = |version: &str| version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    words.next() == Some("SeaweedFS") && words.next_back().and_then(major).is_some_and(|major| major >= 4)
}

/// Whether the provider documents the order of bytes for its listings.
fn documented_order(endpoint: &Endpoint) -> ListOrder {
    const IN_BYTES: [&str; 8] = [
        ".amazonaws.com",
        ".amazonaws.com.cn",
        ".r2.cloudflarestorage.com",
        "storage.googleapis.com",
        ".backblazeb2.com",
        ".wasabisys.com",
        ".digitaloceanspaces.com",
        ".tigris.dev",
    ];
    // Amazon's directory buckets have no order at all.
    let is_directory_bucket = endpoint.host().contains("s3express");
    if IN_BYTES.iter().any(|suffix| endpoint.host().ends_with(suffix)) && !is_directory_bucket {
        ListOrder::Bytes
    } else {
        ListOrder::Unknown
    }
}

#[cfg(test)]
mod tests;

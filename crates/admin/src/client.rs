//! The other side of the admin API: what the command line speaks to a server with.

mod transport;

use std::{fmt, sync::Arc, time::Duration};

use http::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep};
use umbra_client::Credentials;
use umbra_core::{Clock, SystemClock};
use url::Url;

use crate::api::{
    AccessKeyList, BucketList, BucketStatus, BucketView, CreateAccessKey, CreateBucket, CreateOrganization, CreatedAccessKey,
    CreatedBucket, DoctorReport, ErrorBody, JobNotes, JobSettings, JobView, NodeList, OrganizationList, OrganizationView, PlacementView,
    RegionList, ShadowRequest, UncarriedList, UpdateBucket,
};

use crate::error::{LISTING_ORIGIN, NO_LEADER};
use transport::Transport;
pub use transport::Trust;

/// How long a call is repeated that found no node that leads: longer than it takes to find another.
const LEADER_WAIT: Duration = Duration::from_secs(30);
const LEADER_RETRY: Duration = Duration::from_millis(500);

/// Why a call failed, in one line for a person.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is no URL this client can use.
    #[error("the admin address {0:?} is not of the form http://HOST:PORT or https://HOST:PORT")]
    Address(String),
    /// The file of certificate authorities cannot be used.
    #[error("the certificate authorities to trust cannot be used")]
    Trust(#[source] rustls::Error),
    /// Nobody listens there.
    #[error("cannot reach the admin address {0}: is `umbra serve` running?")]
    Refused(String),
    /// What listens there speaks no TLS.
    #[error("what listens at the admin address {0} speaks no TLS: write http:// instead of https://")]
    Plain(String),
    /// What listens there may want TLS.
    #[error("what listens at the admin address {0} does not answer in HTTP: if it speaks TLS, write https:// instead of http://")]
    NotHttp(String),
    /// The connection failed in another way.
    #[error("cannot reach the admin address {0}: {1}")]
    Unreachable(String, String),
    /// Somebody answered, but not Umbra.
    #[error("what answers at the admin address {0} is not Umbra's admin API ({1})")]
    Foreign(String, String),
    /// The key cannot be used to sign.
    #[error("the access key cannot be used")]
    Sign(#[source] umbra_client::sigv4::SignError),
    /// The server said no.
    #[error("{message}")]
    Answer {
        /// The status of the answer.
        status: StatusCode,
        /// The kind of error.
        code: String,
        /// One line for a person.
        message: String,
    },
}

/// A client of one server's admin API, with one key.
pub struct AdminClient {
    base: Url,
    transport: Transport,
    credentials: Credentials,
    clock: Arc<dyn Clock>,
}

impl ClientError {
    /// Whether the origin is still being listed to find the answer out: ask again.
    pub fn is_listing(&self) -> bool {
        matches!(self, Self::Answer { code, .. } if code == LISTING_ORIGIN)
    }

    /// Whether there was nobody to answer: a server that starts again, perhaps.
    pub const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Unreachable(..))
    }

    /// Whether there is no such job.
    pub fn is_no_job(&self) -> bool {
        matches!(self, Self::Answer { code, .. } if code == "no_such_job")
    }

    /// Whether no node leads that could have done it: nothing was done.
    fn is_undone(&self) -> bool {
        matches!(self, Self::Answer { code, .. } if code == NO_LEADER)
    }
}

impl AdminClient {
    /// A client of the server at `url`.
    pub fn new(url: &str, credentials: Credentials, trust: Trust) -> Result<Self, ClientError> {
        // A path in front would have to be part of what is signed, and whoever strips it on the way would break the signature.
        let is_plain = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.path() == "/" && url.query().is_none();
        let base = Url::parse(url).ok().filter(is_plain);
        let base = base.ok_or_else(|| ClientError::Address(url.to_owned()))?;
        Ok(Self { base, transport: Transport::new(trust)?, credentials, clock: Arc::new(SystemClock) })
    }

    /// Creates a bucket.
    pub async fn create_bucket(&self, request: &CreateBucket) -> Result<CreatedBucket, ClientError> {
        self.call(Method::POST, self.url(&["buckets"]), Some(request)).await
    }

    /// Changes a bucket.
    pub async fn update_bucket(&self, name: &str, request: &UpdateBucket) -> Result<BucketView, ClientError> {
        self.call(Method::PATCH, self.url(&["buckets", name]), Some(request)).await
    }

    /// Lists every bucket, of one organization or of all the key may see.
    pub async fn buckets(&self, organization: Option<&str>) -> Result<Vec<BucketView>, ClientError> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut url = self.url(&["buckets"]);
            query(&mut url, "organization", organization);
            query(&mut url, "after", after.as_deref());
            let page: BucketList = self.call(Method::GET, url, NOTHING).await?;
            all.extend(page.buckets);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// How a bucket and its migration are doing.
    pub async fn bucket_status(&self, name: &str) -> Result<BucketStatus, ClientError> {
        self.call(Method::GET, self.url(&["buckets", name, "status"]), NOTHING).await
    }

    /// One page of the objects of which something could not be carried over, behind `after`.
    pub async fn uncarried(&self, name: &str, after: Option<&str>) -> Result<UncarriedList, ClientError> {
        let mut url = self.url(&["buckets", name, "uncarried"]);
        query(&mut url, "after", after);
        self.call(Method::GET, url, NOTHING).await
    }

    /// Destroys a bucket with everything in it.
    pub async fn destroy_bucket(&self, name: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, self.url(&["buckets", name]), NOTHING).await
    }

    /// Where a bucket's bytes are.
    pub async fn placement(&self, name: &str) -> Result<PlacementView, ClientError> {
        self.call(Method::GET, self.url(&["buckets", name, "placement"]), NOTHING).await
    }

    /// Has it put right.
    pub async fn place(&self, name: &str) -> Result<PlacementView, ClientError> {
        self.call(Method::POST, self.url(&["buckets", name, "placement"]), NOTHING).await
    }

    /// Looks at an origin from the server's network.
    pub async fn doctor(&self, request: &ShadowRequest) -> Result<DoctorReport, ClientError> {
        self.call(Method::POST, self.url(&["doctor"]), Some(request)).await
    }

    /// Starts a job of a bucket.
    pub async fn start_job(&self, name: &str, kind: &str, settings: &JobSettings) -> Result<JobView, ClientError> {
        self.call(Method::POST, self.url(&["buckets", name, "jobs", kind]), Some(settings)).await
    }

    /// A job of a bucket as it stands.
    pub async fn job(&self, name: &str, kind: &str) -> Result<JobView, ClientError> {
        self.call(Method::GET, self.url(&["buckets", name, "jobs", kind]), NOTHING).await
    }

    /// Pauses a job.
    pub async fn pause_job(&self, name: &str, kind: &str) -> Result<JobView, ClientError> {
        self.call(Method::POST, self.url(&["buckets", name, "jobs", kind, "pause"]), NOTHING).await
    }

    /// Lets a job go on, with what `settings` name changed.
    pub async fn resume_job(&self, name: &str, kind: &str, settings: &JobSettings) -> Result<JobView, ClientError> {
        self.call(Method::POST, self.url(&["buckets", name, "jobs", kind, "resume"]), Some(settings)).await
    }

    /// Ends a job for good.
    pub async fn cancel_job(&self, name: &str, kind: &str) -> Result<JobView, ClientError> {
        self.call(Method::POST, self.url(&["buckets", name, "jobs", kind, "cancel"]), NOTHING).await
    }

    /// One page of what a job noted of single keys, behind the key `after`.
    pub async fn job_notes(&self, name: &str, kind: &str, after: Option<&str>) -> Result<JobNotes, ClientError> {
        let mut url = self.url(&["buckets", name, "jobs", kind, "notes"]);
        query(&mut url, "after", after);
        self.call(Method::GET, url, NOTHING).await
    }

    /// Creates an organization.
    pub async fn create_organization(&self, name: &str) -> Result<OrganizationView, ClientError> {
        self.call(Method::POST, self.url(&["organizations"]), Some(&CreateOrganization { name: name.to_owned() })).await
    }

    /// Lists the nodes that share the store.
    pub async fn nodes(&self) -> Result<NodeList, ClientError> {
        self.call(Method::GET, self.url(&["nodes"]), NOTHING).await
    }

    /// Lists the regions of the store.
    pub async fn regions(&self) -> Result<RegionList, ClientError> {
        self.call(Method::GET, self.url(&["regions"]), NOTHING).await
    }

    /// Lists the organizations the key may see.
    pub async fn organizations(&self) -> Result<Vec<OrganizationView>, ClientError> {
        let list: OrganizationList = self.call(Method::GET, self.url(&["organizations"]), NOTHING).await?;
        Ok(list.organizations)
    }

    /// Deletes an organization that has neither buckets nor keys.
    pub async fn delete_organization(&self, name: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, self.url(&["organizations", name]), NOTHING).await
    }

    /// Creates an access key.
    pub async fn create_access_key(&self, request: &CreateAccessKey) -> Result<CreatedAccessKey, ClientError> {
        self.call(Method::POST, self.url(&["access-keys"]), Some(request)).await
    }

    /// Lists access keys.
    pub async fn access_keys(&self, organization: Option<&str>) -> Result<AccessKeyList, ClientError> {
        let mut url = self.url(&["access-keys"]);
        query(&mut url, "organization", organization);
        self.call(Method::GET, url, NOTHING).await
    }

    /// Deletes an access key.
    pub async fn delete_access_key(&self, access_key: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, self.url(&["access-keys", access_key]), NOTHING).await
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("an http URL has a path").pop_if_empty().push("v1").extend(segments);
        url
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, url: Url, request: Option<&impl Serialize>) -> Result<T, ClientError> {
        let body = request.map(|request| serde_json::to_vec(request).expect("a request is plain data")).unwrap_or_default();
        let until = Instant::now() + LEADER_WAIT;
        loop {
            match self.call_once(&method, &url, &body).await {
                Err(error) if error.is_undone() && Instant::now() < until => sleep(LEADER_RETRY).await,
                answer => return answer,
            }
        }
    }

    async fn call_once<T: DeserializeOwned>(&self, method: &Method, url: &Url, body: &[u8]) -> Result<T, ClientError> {
        let (status, answer) = self.transport.send(method.clone(), url, body.to_vec(), &self.credentials, self.clock.now()).await?;
        if status.is_success() {
            // An answer without content reads as `null`, which is what `()` is made of.
            let answer: &[u8] = if answer.is_empty() { b"null" } else { &answer };
            return serde_json::from_slice(answer).map_err(|error| self.foreign(&error));
        }
        match serde_json::from_slice::<ErrorBody>(&answer) {
            Ok(ErrorBody { error }) => Err(ClientError::Answer { status, code: error.code, message: error.message }),
            Err(_) => Err(self.foreign(&status)),
        }
    }

    fn foreign(&self, what: &dyn fmt::Display) -> ClientError {
        ClientError::Foreign(self.base.to_string(), what.to_string())
    }
}

impl fmt::Debug for AdminClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminClient").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// No body.
const NOTHING: Option<&()> = None;

fn query(url: &mut Url, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        url.query_pairs_mut().append_pair(name, value);
    }
}

#[cfg(test)]
mod tests;

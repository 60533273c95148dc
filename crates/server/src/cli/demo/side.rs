//! One of the two servers, with its bucket and clients for both of its APIs.

use std::{net::Ipv4Addr, path::PathBuf};

use umbra_admin::{
    AdminClient, Trust,
    api::{CreateBucket, CreatedBucket, ShadowRequest},
};
use umbra_client::{Addressing, ClientSettings, Credentials, Endpoint, EndpointGuard, GuardPolicy, S3Client};

use crate::{
    cli::{Failure, Outcome},
    settings::Settings,
    wire::Server,
};

/// A server, its bucket, and how to speak to it.
pub(super) struct Side {
    pub(super) server: Server,
    pub(super) admin: AdminClient,
    /// What `umbra storage create` would have printed.
    pub(super) created: CreatedBucket,
    /// The bucket, with the key that reaches it alone.
    pub(super) bucket: S3Client,
}

impl Side {
    /// Starts a server on ports of its own and creates a bucket in it.
    pub(super) async fn start(data_dir: PathBuf, bucket: &str, organization: &str, shadow: Option<ShadowRequest>) -> Outcome<Self> {
        let any_port = (Ipv4Addr::LOCALHOST, 0).into();
        let settings = Settings { data_dir, listen: any_port, admin_listen: any_port, drain_secs: 1, ..Settings::default() };
        let server = Server::start(&settings).await?;
        let root = Credentials::new(server.root_key.access_key.as_str(), server.root_key.secret_key.expose());
        let admin = AdminClient::new(&server.admin, root, Trust::Public)?;
        let request =
            CreateBucket { name: bucket.to_owned(), organization: Some(organization.to_owned()), shadow, ..CreateBucket::default() };
        let created = admin.create_bucket(&request).await?;
        let bucket = client(&created)?;
        Ok(Self { server, admin, created, bucket })
    }
}

fn client(created: &CreatedBucket) -> Outcome<S3Client> {
    let endpoint = Endpoint::parse(&created.endpoint, &created.region, Addressing::Auto)?;
    let key = &created.access_key;
    let credentials = Credentials::new(key.key.access_key.as_str(), key.secret_key.expose());
    let guard = EndpointGuard::new(GuardPolicy { allow_loopback: true, ..GuardPolicy::default() });
    S3Client::new(endpoint, &created.bucket.name, credentials, guard, ClientSettings::default())
        .map_err(|error| Failure::new("make an S3 client").because(&error))
}

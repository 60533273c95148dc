//! A server in memory, with an origin in memory, and two ways to speak to it: the client, and byte by byte.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use umbra_admin::{AdminClient, AdminParts, Readiness, Trust, api::CreateBucket};
use umbra_blob::MemoryBlobStore;
use umbra_client::{
    Credentials,
    sigv4::{sha256_hex, sign_request},
};
use umbra_core::{Clock, ManualClock, SystemClock, SystemRandom};
use umbra_meta::{FailingMetaStore, MemoryMetaStore, MetaStore};
use umbra_shadow::{
    Shadow, ShadowLimits, ShadowParts,
    origin::memory::{MemoryOrigin, OneOrigin},
};
use umbra_store::{Catalog, Native, NativeParts, NewKey, ReclaimHandle, Role, Sealer, Secret};

pub(crate) const ROOT: (&str, &str) = ("ROOT", "rootsecret");

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) meta: Arc<FailingMetaStore>,
    pub(crate) origin: Arc<MemoryOrigin>,
    pub(crate) readiness: Readiness,
}

/// An answer, read whole.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Holds that the request was refused with this status and code.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> String {
        assert_eq!((self.status, self.json()["error"]["code"].as_str()), (status, Some(code)), "{}", self.body);
        self.json()["error"]["message"].as_str().unwrap().to_owned()
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let meta = Arc::new(FailingMetaStore::new(Arc::new(MemoryMetaStore::new())));
        let origin = Arc::new(MemoryOrigin::default());
        let random = Arc::new(SystemRandom);
        let sealer = Arc::new(Sealer::new([7; 32], random.clone()));
        let seam: Arc<dyn MetaStore> = meta.clone();
        let catalog = Arc::new(Catalog::open(seam.clone(), sealer, clock.clone(), random.clone()).await.unwrap());
        let fixed = Some((ROOT.0.to_owned(), Secret::new(ROOT.1)));
        catalog.create_key(NewKey { organization: None, role: Role::Admin, bucket: None, fixed }).await.unwrap();
        let native = Native::new(NativeParts {
            meta: seam,
            blobs: Arc::new(MemoryBlobStore::new()),
            clock: clock.clone(),
            random: random.clone(),
            reclaimer: ReclaimHandle::new(Duration::ZERO),
            keys: Arc::new(umbra_store::Keyring::new([7; 32], [], random.clone())),
        });
        let shadow = Shadow::new(ShadowParts {
            native,
            catalog: catalog.clone(),
            origins: Arc::new(OneOrigin(origin.clone())),
            clock: clock.clone(),
            settings: ShadowLimits::default(),
        });
        let readiness = Readiness::default();
        let router = umbra_admin::router(AdminParts {
            nodes: None,
            auditor: None,
            catalog,
            shadow,
            clock: clock.clone(),
            random,
            registry: Registry::default(),
            metrics_name_buckets: true,
            readiness: readiness.clone(),
            endpoint: "http://s3.test".to_owned(),
            region: "fra".to_owned(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // It ends with the test's runtime.
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, clock, meta, origin, readiness }
    }

    /// The client that the command line uses.
    pub(crate) fn client(&self, key: (&str, &str)) -> AdminClient {
        AdminClient::new(&format!("http://{}", self.address), Credentials::new(key.0, key.1), Trust::Public).unwrap()
    }

    /// Creates a bucket of an organization with the root key.
    pub(crate) async fn create(&self, name: &str, organization: &str) {
        let request = CreateBucket { name: name.into(), organization: Some(organization.into()), ..CreateBucket::default() };
        self.client(ROOT).create_bucket(&request).await.unwrap();
    }

    /// A request without a signature.
    pub(crate) async fn unsigned(&self, method: &str, path: &str) -> Answer {
        self.send(&format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address)).await
    }

    /// A request signed with the root key; `body` is signed, and `sent` is sent.
    pub(crate) async fn signed(&self, method: &str, path: &str, body: &str, sent: &str) -> Answer {
        let request = http::Request::builder().method(method).uri(format!("http://{}{path}", self.address)).body(()).unwrap();
        let (mut parts, ()) = request.into_parts();
        let credentials = Credentials::new(ROOT.0, ROOT.1);
        sign_request(&mut parts, &sha256_hex(body.as_bytes()), &credentials, "any", "umbra", SystemClock.now()).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", sent.len());
        for (name, value) in &parts.headers {
            head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
        self.send(&format!("{head}\r\n{sent}")).await
    }

    /// A request signed with the root key.
    pub(crate) async fn root(&self, method: &str, path: &str, body: &str) -> Answer {
        self.signed(method, path, body, body).await
    }

    async fn send(&self, request: &str) -> Answer {
        let (mut reader, mut writer) = TcpStream::connect(self.address).await.unwrap().into_split();
        let request = request.to_owned();
        // A server that has refused a long body does not read all of it.
        let writing = tokio::spawn(async move { writer.write_all(request.as_bytes()).await.map(|()| writer) });
        let mut answer = Vec::new();
        let read = reader.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        drop(writing.await);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{read:?}: {answer}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }
}

//! Encrypted connections. The certificate is for `localhost` and `photos.localhost`, by an authority made up for this test.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::TlsAcceptor;
use umbra_client::{Addressing, ClientSettings, Endpoint, Error, GetOptions, S3Client};

use crate::origin::{Act, Origin, answer, credentials, impatient, loopback, settings};

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("../data/localhost.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../data/localhost.key")).unwrap();
    let builder = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config =
        builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn trusting() -> ClientSettings {
    let authority = CertificateDer::from_pem_slice(include_bytes!("../data/ca.pem")).unwrap();
    ClientSettings { extra_roots: vec![authority], ..settings() }
}

async fn origin() -> Origin {
    let acceptor = acceptor();
    Origin::start_with([Act::Answer(answer("200 OK", &[], "hello"))], move |stream| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(stream).await.ok() }
    })
    .await
}

async fn get(origin: &Origin, host: &str, addressing: Addressing, settings: ClientSettings) -> Result<String, Error> {
    let endpoint = Endpoint::parse(&format!("https://{host}:{}", origin.address.port()), "auto", addressing).unwrap();
    let client = S3Client::new(endpoint, "photos", credentials(), loopback(), settings).unwrap();
    let response = client.get_object("k", &GetOptions::default()).await?;
    Ok(String::from_utf8(response.body.collect(100).await.unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn the_name_stays_in_use_though_the_address_is_pinned() {
    let origin = origin().await;
    assert_eq!(get(&origin, "localhost", Addressing::Path, trusting()).await.unwrap(), "hello");
    assert_eq!(origin.only().header("host"), Some(format!("localhost:{}", origin.address.port()).as_str()));
}

#[tokio::test]
async fn a_certificate_for_another_name_or_by_nobody_known_is_refused() {
    let origin = origin().await;
    let other = get(&origin, "127.0.0.1", Addressing::Path, trusting()).await;
    assert!(matches!(other, Err(Error::Connect(_))), "{other:?}");
    let unknown = get(&origin, "localhost", Addressing::Path, settings()).await;
    assert!(matches!(unknown, Err(Error::Connect(_))), "{unknown:?}");
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn a_handshake_that_is_never_answered_ends() {
    let origin = Origin::start_with([], |stream: tokio::net::TcpStream| async move {
        std::future::pending::<()>().await;
        Some(stream)
    })
    .await;
    let silent = get(&origin, "localhost", Addressing::Path, ClientSettings { attempts_max: 1, ..impatient() }).await;
    assert!(matches!(silent, Err(Error::Connect(_))), "{silent:?}");
}

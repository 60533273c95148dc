//! TLS on the two addresses, with a certificate that can be changed while serving.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::RwLock;
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use tokio_rustls::TlsAcceptor;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read, or holds nothing of the kind.
    #[error("cannot use {0} for TLS")]
    Pem(PathBuf, #[source] pem::Error),
    /// There is no certificate in the file.
    #[error("there is no certificate in {0}")]
    Empty(PathBuf),
    /// The two do not go together, or are of a kind that is not supported.
    #[error("cannot use the certificate in {0}")]
    Refused(PathBuf, #[source] rustls::Error),
}

/// The certificate that is served, and where it is read from.
#[derive(Debug)]
pub(crate) struct Tls {
    cert: PathBuf,
    key: PathBuf,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
}

struct Current(RwLock<Arc<CertifiedKey>>);

impl Tls {
    /// Reads the certificate and its key.
    pub(crate) fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let current = Arc::new(Current(RwLock::new(read(&provider, cert, key)?)));
        let refused = |error| TlsError::Refused(cert.to_owned(), error);
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(refused)?;
        let mut config = config.with_no_client_auth().with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), current, config: Arc::new(config) })
    }

    /// Reads both again; connections made from now on see them. On an error the old ones stay.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let fresh = read(self.config.crypto_provider(), &self.cert, &self.key)?;
        *self.current.0.write() = fresh;
        Ok(())
    }

    /// What turns connections into TLS ones.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

fn read(provider: &CryptoProvider, cert: &Path, key: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let wrong = |path: &Path| {
        let path = path.to_owned();
        move |error| TlsError::Pem(path, error)
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert).map_err(wrong(cert))?.collect::<Result<_, _>>().map_err(wrong(cert))?;
    if chain.is_empty() {
        return Err(TlsError::Empty(cert.to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(wrong(key))?;
    let pair = CertifiedKey::from_der(chain, key, provider).map_err(|error| TlsError::Refused(cert.to_owned(), error))?;
    Ok(Arc::new(pair))
}

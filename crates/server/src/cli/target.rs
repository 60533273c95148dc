//! Which server a command speaks to, and with which key.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use clap::Args;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use umbra_admin::{AdminClient, Trust};
use umbra_client::Credentials;

use super::{Failure, Outcome};
use crate::root_key::{self, RootKey};

/// The flags of every command that speaks to a server.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The admin address of the server.
    #[arg(long, global = true, env = "UMBRA_ADMIN_URL", default_value = "http://127.0.0.1:9001", value_name = "URL")]
    admin: String,

    /// A file with the key to sign with: `{"access_key": …, "secret_key": …}`, as `umbra key create --json` prints it.
    ///
    /// Without it the key is taken from `UMBRA_ACCESS_KEY` and `UMBRA_SECRET_KEY`, else from the server's data directory.
    #[arg(long, global = true, value_name = "FILE")]
    profile: Option<PathBuf>,

    /// The data directory whose root key is used when no other key is given.
    #[arg(long, global = true, env = "UMBRA_DATA_DIR", default_value = "./umbra-data", value_name = "DIR")]
    data_dir: PathBuf,

    /// Certificate authorities to trust, in PEM, instead of the public ones.
    #[arg(long, global = true, env = "UMBRA_ADMIN_CA", value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Target {
    /// A client of that server with that key.
    pub(crate) fn client(&self) -> Outcome<AdminClient> {
        let key = self.key()?;
        let credentials = Credentials::new(key.access_key.as_str(), key.secret_key.expose());
        Ok(AdminClient::new(&self.admin, credentials, self.trust()?)?)
    }

    fn key(&self) -> Outcome<RootKey> {
        if let Some(profile) = &self.profile {
            return Ok(root_key::read_profile(profile)?);
        }
        let given = |name| env::var(name).ok().filter(|value| !value.is_empty());
        match (given("UMBRA_ACCESS_KEY"), given("UMBRA_SECRET_KEY")) {
            (Some(access_key), Some(secret_key)) => Ok(RootKey::new(access_key, secret_key)),
            (None, None) => self.local_key(),
            _ => Err(Failure::new("UMBRA_ACCESS_KEY and UMBRA_SECRET_KEY go together: set both or neither")),
        }
    }

    fn local_key(&self) -> Outcome<RootKey> {
        if self.data_dir.is_file() {
            return Err(Failure::new(format!("the data directory {} is a file, not a directory", self.data_dir.display())));
        }
        let path = root_key::path(&self.data_dir);
        if !path.exists() {
            return Err(Failure::new(format!(
                "no key to sign with: set UMBRA_ACCESS_KEY and UMBRA_SECRET_KEY, or give --profile, or --data-dir (there is no {})",
                path.display()
            )));
        }
        Ok(root_key::read_profile(&path)?)
    }

    fn trust(&self) -> Outcome<Trust> {
        self.ca.as_deref().map_or(Ok(Trust::Public), |path| authorities(path).map(Trust::Only))
    }
}

fn authorities(path: &Path) -> Outcome<Vec<CertificateDer<'static>>> {
    let wrong =
        |error: &(dyn std::error::Error + 'static)| Failure::new(format!("read the certificates in {}", path.display())).because(error);
    let pem = fs::read(path).map_err(|error| wrong(&error))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(Failure::new(format!("there is no certificate in {}", path.display()))),
        found => found.map_err(|error| wrong(&error)),
    }
}

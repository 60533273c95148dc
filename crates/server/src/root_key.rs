//! The root access key: given by the environment, or made at the first start and kept in the data directory.

use std::{
    env,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use umbra_core::Random;
use umbra_store::Secret;

use crate::private_file::{self, FileError};

/// An access key with its secret, as files hold it.
#[derive(Clone, Debug)]
pub(crate) struct RootKey {
    /// The access key.
    pub(crate) access_key: String,
    /// Its secret.
    pub(crate) secret_key: Secret,
}

/// Where the root key came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The environment.
    Environment,
    /// A file, which may just have been made.
    File(PathBuf),
}

/// Why there is no root key to use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootKeyError {
    /// One half of it is missing.
    #[error("UMBRA_ROOT_ACCESS_KEY and UMBRA_ROOT_SECRET_KEY go together: set both or neither")]
    Half,
    /// It cannot serve as a key.
    #[error("{0}")]
    Unfit(&'static str),
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file does not hold a key.
    #[error("{0} does not hold an access_key and a secret_key")]
    Form(PathBuf, #[source] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Form {
    access_key: String,
    secret_key: String,
}

impl RootKey {
    /// A key of its two halves.
    pub(crate) fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self { access_key: access_key.into(), secret_key: Secret::new(secret_key) }
    }

    fn generate(random: &dyn Random) -> Self {
        Self::new(format!("UMBR{}", hex::encode_upper(random.array::<8>())), hex::encode(random.array::<20>()))
    }

    fn check(self) -> Result<Self, RootKeyError> {
        let id = self.access_key.as_bytes();
        if !(3..=128).contains(&id.len()) || !id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return Err(RootKeyError::Unfit("the root access key must consist of 3 to 128 letters, digits, dashes and underscores"));
        }
        if self.secret_key.expose().len() < 8 {
            return Err(RootKeyError::Unfit("the root secret key must be at least 8 characters long"));
        }
        Ok(self)
    }
}

/// The file that keeps the root key of a data directory.
pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("root-key.json")
}

/// The root key from the environment, else from the data directory; made there at the first start.
pub(crate) fn obtain(data_dir: &Path, random: &dyn Random) -> Result<(RootKey, Origin), RootKeyError> {
    let given = |name| env::var(name).ok().filter(|value| !value.is_empty());
    match (given("UMBRA_ROOT_ACCESS_KEY"), given("UMBRA_ROOT_SECRET_KEY")) {
        (Some(access_key), Some(secret_key)) => Ok((RootKey::new(access_key, secret_key).check()?, Origin::Environment)),
        (None, None) => {
            let path = path(data_dir);
            Ok((kept(&path, random)?, Origin::File(path)))
        }
        _ => Err(RootKeyError::Half),
    }
}

fn kept(path: &Path, random: &dyn Random) -> Result<RootKey, RootKeyError> {
    if let Some(bytes) = private_file::read(path)? {
        return parse(path, &bytes)?.check();
    }
    let key = RootKey::generate(random);
    keep(path, &key)?;
    Ok(key)
}

/// Keeps `key` in the file, in the place of what it holds.
pub(crate) fn keep(path: &Path, key: &RootKey) -> Result<(), RootKeyError> {
    let form = Form { access_key: key.access_key.clone(), secret_key: key.secret_key.expose().to_owned() };
    let mut bytes = serde_json::to_vec_pretty(&form).map_err(|error| RootKeyError::Form(path.to_owned(), error))?;
    bytes.push(b'\n');
    Ok(private_file::create(path, &bytes)?)
}

/// Reads a key that a person keeps in a file.
pub(crate) fn read_profile(path: &Path) -> Result<RootKey, RootKeyError> {
    let bytes = std::fs::read(path).map_err(|error| FileError::Read(path.to_owned(), error))?;
    parse(path, &bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<RootKey, RootKeyError> {
    let form: Form = serde_json::from_slice(bytes).map_err(|error| RootKeyError::Form(path.to_owned(), error))?;
    Ok(RootKey::new(form.access_key, form.secret_key))
}

#[cfg(test)]
mod tests {
    use umbra_core::{SeededRandom, SystemRandom};

    use super::{RootKey, kept, parse, path, read_profile};

    #[test]
    fn a_key_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        let made = kept(&path, &SystemRandom).unwrap();
        assert_eq!(made.access_key.len(), 20);
        assert_eq!(made.secret_key.expose().len(), 40);
        let again = kept(&path, &SystemRandom).unwrap();
        assert_eq!(again.access_key, made.access_key);
        assert_eq!(read_profile(&path).unwrap().secret_key.expose(), made.secret_key.expose());
        assert_ne!(RootKey::generate(&SeededRandom::new(1)).access_key, made.access_key);
    }

    #[test]
    fn what_a_key_command_prints_is_a_profile() {
        let printed = br#"{"access_key": "UMBR1", "secret_key": "s", "role": "admin", "bucket": null}"#;
        assert_eq!(parse("p".as_ref(), printed).unwrap().access_key, "UMBR1");
        assert!(parse("p".as_ref(), b"{}").is_err());
    }

    #[test]
    fn what_cannot_be_signed_with_is_refused() {
        assert!(RootKey::new("admin", "password").check().is_ok());
        for (access_key, secret_key) in [("", "password"), ("ab", "password"), ("a/b", "password"), ("admin", "short")] {
            assert!(RootKey::new(access_key, secret_key).check().is_err(), "{access_key}");
        }
    }
}

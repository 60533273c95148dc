//! The key-encryption key: what secrets at rest are sealed with.

use std::{
    env,
    path::{Path, PathBuf},
};

use umbra_core::Random;

use crate::{
    data_dir::DataDir,
    private_file::{self, FileError},
};

const VARIABLE: &str = "UMBRA_MASTER_KEY";

/// Why there is no key-encryption key to use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MasterKeyError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no such file.
    #[error("there is no {0} with the key-encryption key")]
    NoFile(PathBuf),
    /// It is given twice.
    #[error("the key-encryption key is given twice: set UMBRA_MASTER_KEY or `master_key_file`, not both")]
    Twice,
    /// It is not 32 bytes in hexadecimal.
    #[error("{0} must hold 64 hexadecimal digits")]
    Form(String),
    /// The store has secrets, and the key that opens them is gone.
    #[error(
        "the key file {0} is missing, and the store was made with one: put it back, or give the key by UMBRA_MASTER_KEY or `master_key_file`"
    )]
    Lost(PathBuf),
}

/// The key-encryption key of a server.
#[derive(Clone, Copy)]
pub(crate) struct MasterKey {
    pub(crate) key: [u8; 32],
    /// Whether it was made just now.
    pub(crate) is_new: bool,
}

/// The key from the environment or from `file`, else from the data directory; made there at the first start.
pub(crate) fn obtain(dir: &DataDir, file: &Path, random: &dyn Random) -> Result<MasterKey, MasterKeyError> {
    let given = |key| MasterKey { key, is_new: false };
    let variable = env::var(VARIABLE).ok().filter(|value| !value.is_empty());
    if !file.as_os_str().is_empty() {
        return if variable.is_some() { Err(MasterKeyError::Twice) } else { named(file).map(given) };
    }
    if let Some(variable) = variable {
        return parse(variable.as_bytes()).map(given).ok_or_else(|| MasterKeyError::Form(VARIABLE.to_owned()));
    }
    kept(dir, random)
}

fn named(file: &Path) -> Result<[u8; 32], MasterKeyError> {
    let bytes = private_file::read(file)?.ok_or_else(|| MasterKeyError::NoFile(file.to_owned()))?;
    parse(&bytes).ok_or_else(|| MasterKeyError::Form(file.display().to_string()))
}

fn kept(dir: &DataDir, random: &dyn Random) -> Result<MasterKey, MasterKeyError> {
    let path = dir.secret_key();
    if let Some(bytes) = private_file::read(&path)? {
        let key = parse(&bytes).ok_or_else(|| MasterKeyError::Form(path.display().to_string()))?;
        return Ok(MasterKey { key, is_new: false });
    }
    if dir.metadata().exists() {
        return Err(MasterKeyError::Lost(path));
    }
    let key = random.array::<32>();
    private_file::create(&path, format!("{}\n", hex::encode(key)).as_bytes())?;
    Ok(MasterKey { key, is_new: true })
}

fn parse(text: &[u8]) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim_ascii(), &mut key).ok().map(|()| key)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use umbra_core::SystemRandom;

    use super::{MasterKeyError, kept, named, parse};
    use crate::data_dir::DataDir;

    #[test]
    fn the_key_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let dir = DataDir::open(dir.path()).unwrap();
        let (made, again) = (kept(&dir, &SystemRandom).unwrap(), kept(&dir, &SystemRandom).unwrap());
        assert_eq!((again.key, made.is_new, again.is_new), (made.key, true, false));
        assert_eq!(fs::metadata(dir.secret_key()).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(dir.secret_key(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(kept(&dir, &SystemRandom), Err(MasterKeyError::File(_))));
    }

    #[test]
    fn a_key_of_the_operator_is_read_from_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        assert!(matches!(named(&file), Err(MasterKeyError::NoFile(_))));
        for (text, good) in [("0a".repeat(32), true), ("0a".repeat(31), false)] {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            assert_eq!(named(&file).is_ok_and(|key| key == [10; 32]), good);
        }
    }

    #[test]
    fn a_lost_key_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let dir = DataDir::open(dir.path()).unwrap();
        fs::write(dir.metadata(), "").unwrap();
        assert!(matches!(kept(&dir, &SystemRandom), Err(MasterKeyError::Lost(_))));
        assert!(!dir.secret_key().exists());
    }

    #[test]
    fn a_key_is_64_hexadecimal_digits() {
        assert_eq!(parse(format!("{}\n", "0A".repeat(32)).as_bytes()), Some([10; 32]));
        for bad in ["", "00", &"0g".repeat(32), &"00".repeat(33)] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}

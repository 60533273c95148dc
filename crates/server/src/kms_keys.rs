//! The named keys of SSE-KMS.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use crate::private_file::{self, FileError};

/// A name, and the key an operator gave it.
pub(crate) type KmsKey = (String, Option<[u8; 32]>);

/// Characters of a name.
const NAME_MAX: usize = 256;

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KmsKeyError {
    /// The name is none.
    #[error("the setting kms_key: {0:?} is no name of a key: it consists of letters, digits and / _ - . and is at most 256 long")]
    Name(String),
    /// The name comes twice.
    #[error("the setting kms_key: {0:?} is named twice")]
    Twice(String),
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not there.
    #[error("the key file {0} is missing: put it back, what is encrypted with it cannot be read otherwise")]
    Missing(PathBuf),
    /// It is not 32 bytes in hexadecimal.
    #[error("the key file {0} must hold 64 hexadecimal digits")]
    Form(PathBuf),
}

/// Takes names, and names with files.
pub(crate) fn read(settings: &[String]) -> Result<Vec<KmsKey>, KmsKeyError> {
    let mut seen = HashSet::new();
    let one = |setting: &String| {
        let (name, file) = setting.split_once('=').map_or((setting.as_str(), None), |(name, file)| (name, Some(file)));
        if !is_name(name) {
            return Err(KmsKeyError::Name(name.to_owned()));
        }
        if !seen.insert(name.to_owned()) {
            return Err(KmsKeyError::Twice(name.to_owned()));
        }
        Ok((name.to_owned(), file.map(|file| material(Path::new(file))).transpose()?))
    };
    settings.iter().map(one).collect()
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-.".contains(&byte);
    // Clients write these before names.
    let is_free = !name.starts_with("alias/") && !name.starts_with("key/");
    is_free && !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(fits)
}

fn material(file: &Path) -> Result<[u8; 32], KmsKeyError> {
    let text = private_file::read(file)?.ok_or_else(|| KmsKeyError::Missing(file.to_owned()))?;
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim_ascii(), &mut key).map_err(|_| KmsKeyError::Form(file.to_owned()))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::{KmsKeyError, read};

    fn settings(given: &[&str]) -> Vec<String> {
        given.iter().map(|&setting| setting.to_owned()).collect()
    }

    #[test]
    fn names_come_alone_or_with_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        fs::write(&file, "41".repeat(32)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let keys = read(&settings(&["one", &format!("two={}", file.display())])).unwrap();
        assert_eq!(keys, [("one".to_owned(), None), ("two".to_owned(), Some([0x41; 32]))]);
        fs::write(&file, "41").unwrap();
        assert!(matches!(read(&settings(&[&format!("two={}", file.display())])), Err(KmsKeyError::Form(_))));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for name in ["", "a b", "alias/a", "key/a", "ä", &"x".repeat(257)] {
            assert!(matches!(read(&settings(&[name])), Err(KmsKeyError::Name(_))), "{name}");
        }
        assert!(matches!(read(&settings(&["a", "a"])), Err(KmsKeyError::Twice(_))));
        assert!(matches!(read(&settings(&["a=/nowhere/key"])), Err(KmsKeyError::Missing(_))));
    }
}

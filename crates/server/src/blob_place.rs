//! Where contents are kept: on this machine's disk, or in a bucket of an S3-compatible engine.

use std::{
    env,
    path::{Path, PathBuf},
};

use rustls_pki_types::{
    CertificateDer,
    pem::{self, PemObject},
};
use serde::Deserialize;
use umbra_client::{Addressing, Credentials, Endpoint};
use url::Url;

use crate::private_file::{self, FileError};

/// A place for contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BlobPlace {
    /// The data directory.
    Disk,
    /// A bucket.
    Bucket(BucketPlace),
}

/// A bucket for contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BucketPlace {
    pub(crate) endpoint: Endpoint,
    pub(crate) bucket: String,
    /// What the keys begin with; without slashes at its ends.
    pub(crate) prefix: String,
}

/// Why a bucket cannot be used for contents.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobKeyError {
    /// There is no key.
    #[error("there is no key for the bucket of `blobs`: set UMBRA_BLOBS_ACCESS_KEY and UMBRA_BLOBS_SECRET_KEY, or `blobs_key_file`")]
    Missing,
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no file.
    #[error("there is no {0} with the key for the bucket of `blobs`")]
    NoFile(PathBuf),
    /// The file does not hold a key.
    #[error("{0} does not hold an access_key and a secret_key")]
    Form(PathBuf, #[source] serde_json::Error),
    /// The file does not hold certificates.
    #[error("cannot use {0} for `blobs_ca`")]
    Authorities(PathBuf, #[source] pem::Error),
}

impl BlobPlace {
    /// Reads the setting `blobs`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::Disk);
        }
        // What is wrong with it may be that it holds a secret: it is not repeated.
        let url = Url::parse(text).ok().filter(|url| url.scheme() == "s3").ok_or("it must be empty or begin with s3://")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it must not contain credentials: give the key by UMBRA_BLOBS_ACCESS_KEY and UMBRA_BLOBS_SECRET_KEY".into());
        }
        let bucket = url.host_str().unwrap_or_default().to_owned();
        if bucket.is_empty() || url.port().is_some() || url.fragment().is_some() {
            return Err("it must be of the form s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=NAME".into());
        }
        let prefix = url.path().trim_matches('/').to_owned();
        if !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte)) || prefix.len() > 512 {
            return Err("its prefix must consist of letters, digits, dashes, dots, lines and slashes, and be short".into());
        }
        let (mut endpoint, mut region, mut addressing) = (None, None, Addressing::Auto);
        for (name, value) in url.query_pairs() {
            match &*name {
                "endpoint" => endpoint = Some(value.into_owned()),
                "region" => region = Some(value.into_owned()),
                "addressing" => addressing = value.parse().map_err(|error: umbra_client::EndpointError| error.to_string())?,
                other => return Err(format!("it has an unknown parameter {:?}", other.chars().take(32).collect::<String>())),
            }
        }
        let endpoint = match (endpoint, &region) {
            (Some(endpoint), _) => endpoint,
            (None, Some(region)) => format!("https://s3.{region}.amazonaws.com"),
            (None, None) => return Err("it says neither endpoint nor region".into()),
        };
        let endpoint = Endpoint::parse(&endpoint, region.as_deref().unwrap_or("auto"), addressing).map_err(|error| error.to_string())?;
        Ok(Self::Bucket(BucketPlace { endpoint, bucket, prefix }))
    }

    /// The place as a data directory remembers it. The endpoint is not part of it: that may change its name.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Disk => "disk".to_owned(),
            Self::Bucket(place) => format!("s3://{}/{}", place.bucket, place.prefix),
        }
    }
}

/// The key for the bucket: from `file`, or else from the environment.
pub(crate) fn credentials(file: &Path) -> Result<Credentials, BlobKeyError> {
    #[derive(Deserialize)]
    struct Form {
        access_key: String,
        secret_key: String,
    }
    if file.as_os_str().is_empty() {
        let given = |name| env::var(name).ok().filter(|value| !value.is_empty()).ok_or(BlobKeyError::Missing);
        return Ok(Credentials::new(given("UMBRA_BLOBS_ACCESS_KEY")?, given("UMBRA_BLOBS_SECRET_KEY")?));
    }
    let bytes = private_file::read(file)?.ok_or_else(|| BlobKeyError::NoFile(file.to_owned()))?;
    let form: Form = serde_json::from_slice(&bytes).map_err(|error| BlobKeyError::Form(file.to_owned(), error))?;
    Ok(Credentials::new(form.access_key, form.secret_key))
}

/// The authorities in `file`; none without one.
pub(crate) fn authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, BlobKeyError> {
    if file.as_os_str().is_empty() {
        return Ok(Vec::new());
    }
    let unusable = |error| BlobKeyError::Authorities(file.to_owned(), error);
    CertificateDer::pem_file_iter(file).map_err(unusable)?.collect::<Result<_, _>>().map_err(unusable)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::{BlobKeyError, BlobPlace, credentials};

    fn bucket(text: &str) -> super::BucketPlace {
        match BlobPlace::parse(text).unwrap() {
            BlobPlace::Bucket(place) => place,
            BlobPlace::Disk => panic!("{text}"),
        }
    }

    #[test]
    fn places_are_read() {
        assert_eq!(BlobPlace::parse("").unwrap(), BlobPlace::Disk);
        let place = bucket("s3://My_Bucket/some/prefix/?endpoint=https://s3.test:8333&region=fra&addressing=path");
        assert_eq!((place.bucket.as_str(), place.prefix.as_str()), ("My_Bucket", "some/prefix"));
        assert_eq!((place.endpoint.to_string(), place.endpoint.region()), ("https://s3.test:8333".to_owned(), "fra"));
        assert_eq!(BlobPlace::Bucket(place).name(), "s3://My_Bucket/some/prefix");
        let short = bucket("s3://b-1?endpoint=http%3A%2F%2F127.0.0.1%3A9");
        assert_eq!((short.prefix.as_str(), short.endpoint.region()), ("", "auto"));
        assert_eq!(bucket("s3://bucket?region=eu-west-1").endpoint.to_string(), "https://s3.eu-west-1.amazonaws.com");
    }

    #[test]
    fn other_places_are_refused_without_repeating_them() {
        for (text, told) in [
            ("disk", "must be empty or begin"),
            ("https://bucket?region=a", "must be empty or begin"),
            ("s3://AKID:hush@bucket?region=a", "must not contain credentials"),
            ("s3:///p?region=a", "of the form"),
            ("s3://bucket", "neither endpoint nor region"),
            ("s3://bucket?endpoint=ftp://x", "https:// or http://"),
            ("s3://bucket?region=a&secret=hush", "unknown parameter \"secret\""),
            ("s3://bucket?region=a&addressing=odd", "addressing"),
            ("s3://bucket/a%20b?region=a", "prefix"),
        ] {
            let error = BlobPlace::parse(text).unwrap_err();
            assert!(error.contains(told) && !error.contains("hush"), "{text}: {error}");
        }
    }

    #[test]
    fn a_key_is_read_from_a_private_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key.json");
        assert!(matches!(credentials(&file), Err(BlobKeyError::NoFile(_))));
        fs::write(&file, r#"{"access_key": "AK", "secret_key": "hush"}"#).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(credentials(&file), Err(BlobKeyError::File(_))));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(credentials(&file).unwrap().access_key(), "AK");
        fs::write(&file, "{}").unwrap();
        assert!(matches!(credentials(&file), Err(BlobKeyError::Form(..))));
    }
}

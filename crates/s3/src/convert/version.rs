//! Versions.

use umbra_core::{Result, VersionId};
use umbra_store::{Bucket, Versioning};

/// The version that a request names.
pub(crate) fn asked(version: Option<&str>) -> Result<Option<VersionId>> {
    version.map(VersionId::parse).transpose()
}

/// What the response to a write says of the `version` that was stored: while versioning is suspended there is nothing to tell it by.
pub(crate) fn stored(bucket: &Bucket, version: VersionId) -> Option<String> {
    (bucket.settings.versioning == Versioning::Enabled).then(|| version.to_string())
}

/// What a response says of `version`: nothing where there never were any.
pub(crate) fn shown(bucket: &Bucket, version: VersionId) -> Option<String> {
    (bucket.settings.versioning != Versioning::Off).then(|| version.to_string())
}

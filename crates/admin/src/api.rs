//! What travels over the admin API: one type per request and answer, shared by the routes and the client.
//!
//! Requests refuse fields they do not know, so that a misspelt setting is never silently ignored.
//! Answers may grow fields: clients ignore what they do not know. No answer ever holds a secret of an origin,
//! and the secret of an access key is told once, when the key is made.

mod access_keys;
mod buckets;
mod doctor;
mod jobs;
mod organizations;
mod secret_text;
mod status;

pub use access_keys::{AccessKeyList, AccessKeyView, CreateAccessKey, CreatedAccessKey, RoleName};
pub use buckets::{BucketList, BucketView, CreateBucket, CreatedBucket, ShadowRequest, ShadowView, UpdateBucket};
pub use doctor::{DoctorReport, FindingView};
pub use jobs::{DifferenceView, JobNote, JobNotes, JobSettings, JobView, OrderName};
pub use organizations::{CreateOrganization, OrganizationList, OrganizationView};
pub use secret_text::SecretText;
pub use status::{BucketStatus, OriginErrorView, PendingRepairView, ShadowStatusView};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use umbra_core::Timestamp;

/// The answer to a request that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// The kind of error: stable, in snake case.
    pub code: String,
    /// One line for a person.
    pub message: String,
}

/// A point in time as the API writes it: RFC 3339, in UTC, to the second.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp(time.as_secs())
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| time.as_secs().to_string())
}

#[cfg(test)]
mod tests {
    use umbra_core::Timestamp;

    #[test]
    fn times_are_written_to_the_second() {
        assert_eq!(super::rfc3339(Timestamp::from_millis(1_700_000_000_999)), "2023-11-14T22:13:20Z");
        assert_eq!(super::rfc3339(Timestamp::from_millis(i64::MAX)), (i64::MAX / 1000).to_string(), "past the calendar");
    }
}

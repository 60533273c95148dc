//! What travels over the admin API: one type per request and answer, shared by the routes and the client.
//!
//! Requests refuse fields they do not know, so that a misspelt setting is never silently ignored.
//! Answers may grow fields: clients ignore what they do not know. No answer ever holds a secret of an origin,
//! and the secret of an access key is told once, when the key is made.

mod access_keys;
mod buckets;
mod doctor;
mod jobs;
mod nodes;
mod organizations;
mod placement;
mod regions;
mod secret_text;
mod status;

pub use access_keys::{AccessKeyList, AccessKeyView, CreateAccessKey, CreatedAccessKey, RoleName};
pub use buckets::{BucketList, BucketView, CreateBucket, CreatedBucket, ShadowRequest, ShadowView, UpdateBucket};
pub use doctor::{DoctorFindingView, DoctorReport};
pub use jobs::{DifferenceView, FindingView, JobNote, JobNotes, JobSettings, JobView, OrderName, TallyView};
pub use nodes::{NodeList, NodeView, ReplicaView};
pub use organizations::{CreateOrganization, OrganizationList, OrganizationView};
pub use placement::{AuditView, PlacementView, RegionUseView};
pub use regions::{RegionList, RegionView};
pub use secret_text::SecretText;
pub use status::{
    BucketStatus, HealthView, OriginErrorView, OriginRequestsView, PendingRepairView, ShadowStatusView, UncarriedList, UncarriedObjectView,
    UncarriedSummaryView,
};

use serde::{Deserialize, Serialize};
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

/// A point in time as the API writes it.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    time.rfc3339()
}

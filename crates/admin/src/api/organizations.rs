//! Organizations.

use serde::{Deserialize, Serialize};

/// `POST /v1/organizations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateOrganization {
    /// Its name.
    pub name: String,
}

/// An organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganizationView {
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: String,
}

/// `GET /v1/organizations`: those the key may see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganizationList {
    /// The organizations.
    pub organizations: Vec<OrganizationView>,
}

//! Access keys.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use umbra_core::Error;
use umbra_store::Role;

use super::SecretText;

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleName {
    /// Read and list.
    Reader,
    /// And write and delete objects.
    Editor,
    /// And create, change and delete buckets and keys.
    Admin,
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Role::from(*self).name())
    }
}

impl FromStr for RoleName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Role::parse(text).map(Self::from)
    }
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Reader => Self::Reader,
            RoleName::Editor => Self::Editor,
            RoleName::Admin => Self::Admin,
        }
    }
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Reader => Self::Reader,
            Role::Editor => Self::Editor,
            Role::Admin => Self::Admin,
        }
    }
}

/// `POST /v1/access-keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateAccessKey {
    /// The organization it belongs to: that of the bucket, or of the caller, by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// What it may do.
    pub role: RoleName,
    /// The only bucket it reaches; all of the organization's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
}

/// An access key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKeyView {
    /// The access key itself.
    pub access_key: String,
    /// The organization it belongs to; `null` for the root key.
    pub organization: Option<String>,
    /// What it may do.
    pub role: RoleName,
    /// The only bucket it reaches; `null` for all of the organization's.
    pub bucket: Option<String>,
    /// When it was created.
    pub created: String,
}

/// A new access key with its secret: told once and never again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedAccessKey {
    /// The key.
    #[serde(flatten)]
    pub key: AccessKeyView,
    /// Its secret.
    pub secret_key: SecretText,
}

/// `GET /v1/access-keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKeyList {
    /// The keys.
    pub access_keys: Vec<AccessKeyView>,
}

#[cfg(test)]
mod tests {
    use umbra_store::Role;

    use super::RoleName;

    #[test]
    fn roles_are_written_as_they_are_read() {
        for role in Role::ALL {
            let name = RoleName::from(role);
            assert_eq!(name.to_string().parse::<RoleName>().unwrap(), name);
            assert_eq!(serde_json::to_value(name).unwrap(), role.name());
            assert_eq!(Role::from(name), role);
        }
        assert!("owner".parse::<RoleName>().is_err());
    }
}

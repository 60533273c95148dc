//! Buckets: creating, changing, listing.

use serde::{Deserialize, Serialize};

use super::{CreatedAccessKey, SecretText};

/// `POST /v1/buckets`: creates a bucket, and a key that reaches it alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateBucket {
    /// Its name.
    pub name: String,
    /// The organization it belongs to. An organization's own key may leave it out; the root key creates the organization if need be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// Whether anyone may read its objects.
    #[serde(default)]
    pub public: bool,
    /// Where objects live: `global` (the default), `multi:GEO`, `dual:A,B` or `single:REGION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The origin to shadow, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowRequest>,
}

/// The origin of a bucket. Creating needs all but `name` and `write_through`; changing takes any of them alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowRequest {
    /// The origin's endpoint: a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The region its requests are signed for; `auto` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The origin's bucket; the bucket's own name by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The access key at the origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
    /// The secret key at the origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<SecretText>,
    /// Whether writes and deletes go to the origin first; `false` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_through: Option<bool>,
}

impl ShadowRequest {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// `PATCH /v1/buckets/{name}`: changes what is given and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateBucket {
    /// Whether anyone may read its objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
    /// Where objects live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Attaches an origin, or changes single settings of the one attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowRequest>,
    /// Detaches the origin. Refused while objects remain there alone or repairs are pending.
    #[serde(default)]
    pub clear_shadow: bool,
    /// Detaches it all the same.
    #[serde(default)]
    pub force: bool,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketView {
    /// Its name.
    pub name: String,
    /// The organization it belongs to.
    pub organization: String,
    /// When it was created.
    pub created: String,
    /// Whether anyone may read its objects.
    pub public: bool,
    /// Where objects live.
    pub location: String,
    /// The origin it shadows; `null` when it shadows none.
    pub shadow: Option<ShadowView>,
}

/// The origin of a bucket, without its keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowView {
    /// The origin's endpoint.
    pub endpoint: String,
    /// The region its requests are signed for.
    pub region: String,
    /// The origin's bucket.
    pub name: String,
    /// Whether writes and deletes go to the origin first.
    pub write_through: bool,
}

/// The answer to [`CreateBucket`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedBucket {
    /// The bucket.
    pub bucket: BucketView,
    /// A new key that may read and write this bucket alone. Its secret is told here and never again.
    pub access_key: CreatedAccessKey,
    /// Where S3 requests go.
    pub endpoint: String,
    /// The region to sign them for.
    pub region: String,
    /// Whether the organization was created on the way.
    pub organization_created: bool,
}

/// `GET /v1/buckets`: one page, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketList {
    /// The buckets of this page.
    pub buckets: Vec<BucketView>,
    /// What to ask for as `after` to get the next page; `null` on the last one.
    pub next: Option<String>,
}

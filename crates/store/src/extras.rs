//! What a bucket has beyond the settings that everything else here depends on: mostly what Tigris's clients and S3's sub-resources set.

mod encryption;
mod event_hook;
mod logging;
mod object_lock;
mod website;

use umbra_core::{Acl, SealedSecret};

pub use self::{
    encryption::{DefaultEncryption, DefaultKmsKey},
    event_hook::{EventHook, EventHookKind},
    logging::{LogKeys, Logging},
    object_lock::{DefaultRetention, ObjectLockSettings, RetentionPeriod},
    website::{RoutingRule, Website, WebsiteRedirect},
};
use crate::Lifecycle;

/// Optional settings of a bucket. Absent is always what a new bucket has.
///
/// Whoever sets them bounds them: together they stay well below what a record may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Whether the bucket refuses to be deleted, by force too.
    pub protected: bool,
    /// Whether everyone may list a public bucket.
    pub lists_publicly: bool,
    /// Whether objects were allowed to have ACLs of their own. Kept; objects have none here.
    pub allows_object_acls: bool,
    /// The class of objects that come without one. Kept; nothing chooses it yet.
    pub storage_class: Option<String>,
    /// `Cache-Control` of objects that have none.
    pub cache_control: Option<String>,
    /// The domain under which the bucket is to be a website. Kept; nothing serves it yet.
    pub domain: Option<String>,
    /// Headers that reads of objects carry beside the objects' own.
    pub headers: Vec<(String, String)>,
    /// Who may ask from a browser.
    pub cors: Vec<CorsRule>,
    /// When objects move to another class or end.
    pub lifecycle: Lifecycle,
    /// Whom Tigris's clients have told of changes.
    pub notifications: Option<Notifications>,
    /// That versions can be kept from being deleted, and which are by default.
    pub object_lock: Option<ObjectLockSettings>,
    /// How objects are encrypted that ask for nothing themselves: with a key that is kept here.
    pub encryption: Option<DefaultEncryption>,
    /// The bucket policy, as its JSON was given.
    pub policy: Option<String>,
    /// Who else may do what with the bucket; `None`: nobody, or what [`crate::BucketSettings::public`] says.
    pub acl: Option<Acl>,
    /// What is kept from becoming public.
    pub public_access: Option<PublicAccessBlock>,
    /// Who owns objects that other organizations write; `None`: whoever writes them.
    pub ownership: Option<ObjectOwnership>,
    /// Its tags, in order of their keys.
    pub tags: Vec<(String, String)>,
    /// How it answers as a website.
    pub website: Option<Website>,
    /// Where its access log goes.
    pub logging: Option<Logging>,
    /// Whom S3's notification configuration has told of changes.
    pub event_hooks: Vec<EventHook>,
    /// Whether those who ask pay. Kept: nobody pays here.
    pub requester_pays: bool,
    /// Whether transfer acceleration is on, or was once. Kept: there is nothing to accelerate.
    pub accelerated: Option<bool>,
}

/// What is kept from becoming public.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublicAccessBlock {
    /// Whether ACLs that would make something public are refused.
    pub block_acls: bool,
    /// Whether ACLs that make something public have no effect.
    pub ignore_acls: bool,
    /// Whether policies that would make something public are refused.
    pub block_policy: bool,
    /// Whether a policy that makes something public opens nothing to others.
    pub restrict: bool,
}

/// Who owns objects that other organizations write.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectOwnership {
    /// The bucket's owner, always; ACLs have no effect.
    BucketOwnerEnforced,
    /// The bucket's owner, where the writer grants it full control.
    BucketOwnerPreferred,
    /// Who writes them.
    ObjectWriter,
}

/// Requests from other origins (in the browser's sense) that are allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CorsRule {
    /// A name of the user's own.
    pub id: Option<String>,
    /// Origins, each with at most one `*`.
    pub origins: Vec<String>,
    /// Methods; `*` is all of them.
    pub methods: Vec<String>,
    /// Request headers, each with at most one `*`.
    pub headers: Vec<String>,
    /// Response headers that scripts may see.
    pub exposed: Vec<String>,
    /// For how many seconds a browser may remember the answer.
    pub max_age_seconds: Option<u32>,
}

/// A web hook that is to learn of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notifications {
    /// Whether it is to be called.
    pub enabled: bool,
    /// Its URL.
    pub url: String,
    /// Which changes; empty means all.
    pub filter: String,
    /// How to authenticate with it.
    pub auth: Option<HookAuth>,
}

/// How to authenticate with a web hook. The secret is sealed for [`HookAuth::seal_context`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookAuth {
    /// The user of basic authentication; without one the secret is a bearer token.
    pub user: Option<String>,
    /// The password or token.
    pub secret: SealedSecret,
}

impl HookAuth {
    /// What the secret of a bucket's web hook is sealed for.
    pub fn seal_context(bucket: &crate::Bucket) -> String {
        format!("notifications/{}", bucket.partition.0)
    }
}

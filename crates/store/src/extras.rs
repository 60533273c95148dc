//! What a bucket has beyond the settings that everything else here depends on: mostly what Tigris's clients and S3's sub-resources set.

use umbra_core::{Acl, SealedSecret};

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
    /// When objects move to another class or end. Kept; nothing carries them out yet.
    pub lifecycle: Vec<LifecycleRule>,
    /// Whom to tell of changes. Kept; nobody is told yet.
    pub notifications: Option<Notifications>,
    /// The bucket policy, as its JSON was given.
    pub policy: Option<String>,
    /// Who else may do what with the bucket; `None`: nobody, or what [`crate::BucketSettings::public`] says.
    pub acl: Option<Acl>,
    /// What is kept from becoming public.
    pub public_access: Option<PublicAccessBlock>,
    /// Who owns objects that other organizations write; `None`: whoever writes them.
    pub ownership: Option<ObjectOwnership>,
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

/// What becomes of objects as they age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleRule {
    /// Its name.
    pub id: String,
    /// Whether it is to be carried out.
    pub enabled: bool,
    /// The objects it is for; all without one.
    pub prefix: Option<String>,
    /// The class objects move to, and when.
    pub transition: Option<(String, Due)>,
    /// When objects end.
    pub expiration: Option<Due>,
}

/// When a lifecycle rule is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// So many days after an object was written.
    Days(u32),
    /// On a day, as the client wrote it: `2030-01-31`.
    Date(String),
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

//! One decision from everything that has a say: roles, the bucket policy, ACLs, and what is kept from becoming public.
//!
//! 1. A root key may do everything.
//! 2. What the policy denies is denied, but that the bucket's own administrators can always read, replace and delete the policy.
//! 3. What the policy allows is allowed, to others only as far as the role of their access key goes, unless it is allowed to everyone.
//! 4. What the role of an access key of the bucket's own organization allows is allowed.
//! 5. What an ACL grants is allowed, as in 3.
//!
//! A grant to an organization holds for its keys that reach all of it; a key that is confined to one bucket has only what names that
//! very key, or everyone. Of an object that belongs to another organization than its bucket only its ACL opens the content ([`Judge::check_reader`]).

use std::{fmt, sync::Arc};

use s3s::{S3Error, S3ErrorCode};
use umbra_core::{
    Acl, Clock, ETag, Entity, Error, ErrorKind, Fault, Grantee, ObjectInfo, ObjectKey, Permission, RequestContext, Result, Tags, VersionId,
};
use umbra_store::{AccessKey, Action, Bucket, Catalog, GetOptions, ObjectOwnership, Objects, PublicAccessBlock, Role};

use super::{
    facts::{RequestFacts, Stated},
    needs::{ByAcl, Need},
};
use crate::{
    S3Settings,
    call::Call,
    error::Failure,
    policy::{Asked, Caller, Named, Policies, Policy, Verdict},
};

/// What administrators of a bucket can always do, whatever its policy says: they could not undo it otherwise.
const NEVER_DENIED: [&str; 3] = ["s3:DeleteBucketPolicy", "s3:GetBucketPolicy", "s3:PutBucketPolicy"];

/// Why something is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ground {
    /// Whether it is the object that is there, its ACL or its tags; any other may not be allowed.
    pub(super) is_of_object: bool,
    /// Whether it is an ACL, and nothing else.
    pub(super) is_acl: bool,
}

/// Decides.
#[derive(Clone)]
pub(crate) struct Judge {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) objects: Arc<dyn Objects>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) settings: Arc<S3Settings>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A request for something in a bucket.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) cx: &'a RequestContext,
    pub(crate) access_key: Option<&'a AccessKey>,
    pub(crate) bucket: &'a Bucket,
    /// The object it is about.
    pub(crate) object: Option<&'a str>,
    /// The version of it, where one is named.
    pub(crate) version: Option<VersionId>,
    pub(crate) stated: Stated<'a>,
    /// The tags that its document gives the object.
    pub(crate) given_tags: Option<&'a Tags>,
    /// The object that was read, to be judged in the place of what is there by now.
    pub(crate) held: Option<Held<'a>>,
}

/// What is known of an object that was read.
#[derive(Clone, Copy)]
pub(crate) struct Held<'a> {
    etag: Option<&'a ETag>,
    tags: Option<&'a Tags>,
    acl: Option<&'a Acl>,
}

impl<'a> Held<'a> {
    /// An object.
    pub(crate) fn of(info: &'a ObjectInfo) -> Self {
        Self { etag: Some(&info.etag), tags: info.tags.as_ref(), acl: info.attributes.acl.as_ref() }
    }

    /// What was read of it were its tags.
    pub(crate) fn of_tags(tags: &'a Tags) -> Self {
        Self { etag: None, tags: Some(tags), acl: None }
    }
}

impl<'a> Request<'a> {
    /// What `call` asks for in `bucket`.
    pub(crate) fn new(call: &'a Call, bucket: &'a Bucket, object: Option<&'a str>, stated: Stated<'a>) -> Self {
        let access_key = call.key.as_deref();
        Self { cx: &call.cx, access_key, bucket, object, version: None, stated, given_tags: None, held: None }
    }
}

impl Judge {
    /// Whether `request` is allowed what it needs.
    pub(crate) async fn allows(&self, request: Request<'_>, need: Need) -> Result<bool> {
        Ok(self.ground(request, need).await?.is_some())
    }

    /// What allows `request` what it needs, if anything does.
    pub(super) async fn ground(&self, request: Request<'_>, need: Need) -> Result<Option<Ground>> {
        let Request { access_key, bucket, .. } = request;
        if access_key.is_some_and(AccessKey::is_root) {
            return Ok(Some(Ground::default()));
        }
        let by_role = has_role(access_key, need.role, bucket);
        let mut ground = Ground::default();
        if let Some(policy) = self.policies.of(bucket)? {
            if policy.asks_for_tags() && object_of(request, need).is_some() {
                ground.is_of_object = true;
            }
            match self.verdict(&policy, request, need).await? {
                Verdict::Denied if !(NEVER_DENIED.contains(&need.action) && has_role(access_key, Action::ManageBuckets, bucket)) => {
                    return Ok(None);
                }
                Verdict::Allowed(named) if !is_restricted(&policy, access_key, bucket) && opens(named, access_key, need.role, bucket) => {
                    return Ok(Some(ground));
                }
                _ => {}
            }
        }
        if by_role {
            return Ok(Some(ground));
        }
        ground.is_of_object |= matches!(need.acl, ByAcl::Object(_));
        ground.is_acl = true;
        Ok(self.grants(request, need).await?.then_some(ground))
    }

    /// Refuses to destroy all that `request`'s bucket holds: to the bucket's own administrators alone it is open, and closed to them too
    /// where the policy denies them to delete any object of it. No policy can give this away.
    pub(crate) fn check_force(&self, request: Request<'_>) -> Result<()> {
        let Request { access_key, bucket, .. } = request;
        if access_key.is_some_and(AccessKey::is_root) {
            return Ok(());
        }
        let facts = self.facts(request, None, None);
        let policy = self.policies.of(bucket)?;
        let is_denied = |action| policy.as_ref().is_some_and(|policy| policy.may_deny_objects(action, caller(access_key), &facts));
        let may = has_role(access_key, Action::ManageBuckets, bucket)
            && ![super::DELETE, super::DELETE_VERSION].iter().any(|need| is_denied(need.action));
        if may {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Denied, "a bucket is deleted by force by those alone who may delete all it holds"))
        }
    }

    async fn verdict(&self, policy: &Policy, request: Request<'_>, need: Need) -> Result<Verdict> {
        let Request { access_key, bucket, object, .. } = request;
        let about = object_of(request, need);
        let existing_tags = if policy.asks_for_tags() && about.is_some() { self.tags(request).await? } else { None };
        let prefix = object.filter(|_| about.is_none());
        let resource = match about {
            Some(key) => format!("{}/{key}", bucket.name),
            None => bucket.name.to_string(),
        };
        let facts = self.facts(request, prefix, existing_tags);
        Ok(policy.judge(Asked { action: need.action, resource: &resource, caller: caller(access_key), facts: &facts }))
    }

    fn facts<'a>(&'a self, request: Request<'a>, prefix: Option<&'a str>, existing_tags: Option<Tags>) -> RequestFacts<'a> {
        let Request { access_key: key, bucket, stated, given_tags, .. } = request;
        RequestFacts { stated, key, bucket, region: &self.settings.region, now: self.clock.now(), prefix, existing_tags, given_tags }
    }

    /// The tags of the object; none where there is no such object.
    pub(super) async fn tags(&self, request: Request<'_>) -> Result<Option<Tags>> {
        if let Some(tags) = request.held.and_then(|held| held.tags) {
            return Ok(Some(tags.clone()));
        }
        let Some(key) = request.object.and_then(|key| ObjectKey::parse(key).ok()) else { return Ok(None) };
        let found = self.objects.tags(request.cx, request.bucket, &key, request.version).await;
        if let Some(etag) = request.held.and_then(|held| held.etag) {
            let options = GetOptions { version: request.version, is_of_record: true, ..GetOptions::default() };
            let now = self.objects.head(request.cx, request.bucket, &key, options).await;
            if !now.is_ok_and(|now| now.etag == *etag) {
                return Err(Error::new(ErrorKind::Conflict, "the object was replaced while it was read; please try again"));
            }
        }
        match found {
            Ok((tags, _)) => Ok(Some(tags)),
            Err(error) if is_without_object(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether an ACL grants what is needed.
    async fn grants(&self, request: Request<'_>, need: Need) -> Result<bool> {
        let Request { cx, access_key, bucket, object, .. } = request;
        let settings = &bucket.settings;
        match need.acl {
            ByAcl::No => Ok(false),
            ByAcl::Bucket(permission) => {
                if is_open(bucket) && settings.extras.lists_publicly && need.action == super::LIST.action {
                    return Ok(true);
                }
                Ok(settings.extras.acl.as_ref().is_some_and(|acl| grants(acl, access_key, permission, need.role, bucket)))
            }
            ByAcl::Object(_) => {
                if let Some(held) = request.held {
                    return Ok(Self::acl_opens(access_key, bucket, held.acl, need));
                }
                let Some(key) = object.and_then(|key| ObjectKey::parse(key).ok()) else { return Ok(false) };
                let acl = self.objects.acl(cx, bucket, &key, request.version).await?;
                Ok(Self::acl_opens(access_key, bucket, acl.as_ref(), need))
            }
        }
    }

    /// Whether the ACL of an object gives `access_key` what is needed.
    fn acl_opens(access_key: Option<&AccessKey>, bucket: &Bucket, acl: Option<&Acl>, need: Need) -> bool {
        let ByAcl::Object(permission) = need.acl else { return false };
        match acl.filter(|_| !is_enforced(bucket)) {
            Some(acl) => owns(acl, access_key, need.role, bucket) || grants(acl, access_key, permission, need.role, bucket),
            // As public as its bucket.
            None => is_open(bucket) && permission == Permission::Read,
        }
    }

    /// Whether `request` may see the content of the object that it holds, after it was allowed: what the bucket's
    /// policy and its owner's roles say holds for objects of the bucket's owner only.
    pub(crate) fn check_reader(request: Request<'_>, permission: Permission) -> bool {
        let Request { access_key, bucket, held, .. } = request;
        let Some(acl) = held.and_then(|held| held.acl).filter(|acl| is_foreign(acl, bucket) && !is_enforced(bucket)) else { return true };
        access_key.is_some_and(AccessKey::is_root)
            || owns(acl, access_key, Action::Read, bucket)
            || grants(acl, access_key, permission, Action::Read, bucket)
    }
}

/// The object that `need` is about. Whether a key that is not there is to be hidden is asked as if a listing of it was.
fn object_of<'a>(request: Request<'a>, need: Need) -> Option<&'a str> {
    request.object.filter(|_| need.action != super::LIST.action)
}

/// Whether what was asked for is no object: it is absent, or a delete marker.
fn is_without_object(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound(Entity::Object | Entity::Version) | ErrorKind::Invalid(Fault::MethodNotAllowed))
}

/// Whether ACLs of `bucket` and its objects have no effect.
pub(crate) fn is_enforced(bucket: &Bucket) -> bool {
    bucket.settings.extras.ownership == Some(ObjectOwnership::BucketOwnerEnforced)
}

/// What is kept from becoming public in `bucket`.
pub(crate) fn public_access(bucket: &Bucket) -> PublicAccessBlock {
    bucket.settings.extras.public_access.unwrap_or_default()
}

/// Whether what has no ACL in `bucket` is public.
fn is_open(bucket: &Bucket) -> bool {
    bucket.settings.public && !public_access(bucket).ignore_acls
}

/// Whether an object with this ACL belongs to another organization than its bucket.
fn is_foreign(acl: &Acl, bucket: &Bucket) -> bool {
    !acl.owner.is_empty() && acl.owner != bucket.organization
}

/// Who asks, as policies name them.
fn caller(key: Option<&AccessKey>) -> Caller<'_> {
    Caller { organization: key.and_then(|key| key.organization.as_deref()), key: key.map(|key| key.id.as_str()), service: None }
}

fn has_role(key: Option<&AccessKey>, action: Action, bucket: &Bucket) -> bool {
    key.is_some_and(|key| key.may(action, Some(bucket)))
}

/// Whether what a policy allows is kept from others, because it allows it to the public.
fn is_restricted(policy: &Policy, key: Option<&AccessKey>, bucket: &Bucket) -> bool {
    let is_own = key.is_some_and(|key| key.organization.as_ref() == Some(&bucket.organization));
    public_access(bucket).restrict && !is_own && policy.is_public()
}

/// Whether what is allowed to whom a statement names is allowed to `key`.
fn opens(named: Named, key: Option<&AccessKey>, action: Action, bucket: &Bucket) -> bool {
    match named {
        Named::Everyone => true,
        // No key is a service's.
        Named::Service => false,
        Named::Key => key.is_some_and(|key| goes_as_far(key, action)),
        Named::Organization => key.is_some_and(|key| goes_as_far(key, action) && !is_confined_elsewhere(key, bucket)),
    }
}

/// Whether the role of `key` goes as far as `action`, wherever it may do it.
fn goes_as_far(key: &AccessKey, action: Action) -> bool {
    key.role >= role_for(action)
}

/// The least role that may do `action`.
const fn role_for(action: Action) -> Role {
    match action {
        Action::Read | Action::List | Action::ListBuckets => Role::Reader,
        Action::Write => Role::Editor,
        Action::ManageBuckets => Role::Admin,
    }
}

/// The refusal of a request that lacks a right. Whoever has a key of the bucket's organization is told where it is the role that falls short.
pub(crate) fn denied(key: Option<&AccessKey>, bucket: &Bucket, action: Action) -> Failure {
    let is_own = |key: &&AccessKey| key.organization.as_ref() == Some(&bucket.organization) && !is_confined_elsewhere(key, bucket);
    match key.filter(is_own).filter(|key| !goes_as_far(key, action)) {
        Some(key) => {
            let (has, wanted) = (role_name(key.role), role_name(role_for(action)));
            let message = format!("Access Denied: it takes the role {wanted}, and this access key has the role {has}");
            S3Error::with_message(S3ErrorCode::AccessDenied, message).into()
        }
        None => S3ErrorCode::AccessDenied.into(),
    }
}

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Reader => "reader",
        Role::Editor => "editor",
        Role::Admin => "admin",
    }
}

fn is_confined_elsewhere(key: &AccessKey, bucket: &Bucket) -> bool {
    key.bucket.as_ref().is_some_and(|only| *only != bucket.name)
}

/// Whether `key` is of the organization that owns an object.
fn owns(acl: &Acl, key: Option<&AccessKey>, action: Action, bucket: &Bucket) -> bool {
    let owner = if acl.owner.is_empty() { &bucket.organization } else { &acl.owner };
    key.is_some_and(|key| key.organization.as_ref() == Some(owner)) && opens(Named::Organization, key, action, bucket)
}

/// Whether `acl` grants `permission` to `key`.
fn grants(acl: &Acl, key: Option<&AccessKey>, permission: Permission, action: Action, bucket: &Bucket) -> bool {
    if is_enforced(bucket) {
        return false;
    }
    let ignores_public = public_access(bucket).ignore_acls;
    acl.grants.iter().filter(|grant| grant.permission == permission || grant.permission == Permission::FullControl).any(
        |grant| match &grant.grantee {
            Grantee::Everyone => !ignores_public,
            Grantee::Authenticated => !ignores_public && key.is_some_and(|key| goes_as_far(key, action)),
            Grantee::Organization(name) => {
                key.is_some_and(|key| key.organization.as_ref() == Some(name)) && opens(Named::Organization, key, action, bucket)
            }
            Grantee::LogDelivery => false,
        },
    )
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}

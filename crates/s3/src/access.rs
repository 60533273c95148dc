//! Who may do what: resolves the bucket and the access key of every request, before anything of its input is read, and has it judged.
//!
//! Two operations are judged once their input is known, each by itself: DeleteObjects key by key, and PutObjectTagging where there is a
//! policy, which may ask for the tags.

mod facts;
mod judge;
mod needs;

use std::sync::Arc;

use async_trait::async_trait;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;
use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Result,
    access::{S3Access, S3AccessContext},
};
use umbra_core::{BucketName, Entity, Error, ErrorKind, Fault, ObjectKey, Permission, Region, RequestContext};
use umbra_store::{AccessKey, Action, Bucket, Catalog, GetOptions};

pub(crate) use self::{
    facts::{CIPHERS, Peer, Stated, TLS_VERSIONS, Way, word},
    judge::{Held, Judge, Request, denied, is_enforced, public_access},
    needs::{BYPASS, DELETE, DELETE_VERSION, GET_OBJECT, GET_OBJECT_VERSION, GET_TAGGING, LIST, Need, bypasses},
};

use crate::{
    call::Call,
    error::Failure,
    layer::{Progress, Stage},
    lenient::Verified,
};

use self::needs::ByAcl;

/// The region where a request came in that was passed on from another.
#[derive(Clone, Debug, Default)]
pub(crate) struct TakenIn(pub(crate) Option<Region>);

impl TakenIn {
    /// A bucket as the request sees it.
    pub(crate) fn bucket(&self, bucket: Arc<Bucket>) -> Arc<Bucket> {
        match &self.0 {
            None => bucket,
            taken_in => Arc::new(Bucket { taken_in: taken_in.clone(), ..(*bucket).clone() }),
        }
    }
}

/// The access check.
#[derive(Debug)]
pub(crate) struct Gate(pub(crate) Judge);

#[async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let call = self.admit(cx).await?;
        call.progress.reach(Stage::Admitted);
        cx.extensions_mut().insert(Arc::new(call));
        Ok(())
    }
}

/// Admits a request that is no operation of S3's: it must be signed in its headers, and whoever signed it must be allowed `action`.
pub(crate) async fn admit_signed<T>(
    catalog: &Catalog,
    request: &S3Request<T>,
    action: Action,
    bucket: Option<&str>,
) -> Result<Call, Failure> {
    let credentials = request.credentials.as_ref().filter(|_| request.headers.contains_key(AUTHORIZATION));
    let id = &credentials.ok_or(S3ErrorCode::AccessDenied)?.access_key;
    let key = catalog.key(id).await?.ok_or(S3ErrorCode::InvalidAccessKeyId)?;
    let progress = request.extensions.get::<Arc<Progress>>().cloned().unwrap_or_default();
    progress.trace.signed_by(&key);
    let bucket = match bucket {
        Some(name) => Some(catalog.bucket(&BucketName::parse(name)?).await?),
        None => None,
    };
    if !key.may(action, bucket.as_deref()) {
        return Err(S3ErrorCode::AccessDenied.into());
    }
    let cx = request.extensions.get::<RequestContext>().cloned().unwrap_or_default();
    if let Some(bucket) = &bucket {
        refuse_other_owner(&Stated::new(&request.uri, &request.headers, Way::default()), bucket)?;
        refuse_reflection(&cx, catalog.store_id(), bucket)?;
    }
    Ok(Call { cx, key: Some(key), bucket, hides_absence: false, by_object: Vec::new(), progress })
}

impl Gate {
    async fn admit(&self, cx: &mut S3AccessContext<'_>) -> Result<Call, Failure> {
        let Self(judge) = self;
        let extensions = cx.extensions_mut();
        let verified = extensions.get::<Verified>().map(|verified| verified.key.clone());
        let progress = extensions.get::<Arc<Progress>>().cloned().unwrap_or_default();
        let taken_in = extensions.get::<TakenIn>().cloned().unwrap_or_default();
        let (request, way) = (extensions.get::<RequestContext>().cloned().unwrap_or_default(), Way::of(extensions));
        let name = cx.s3_op().name();
        let in_bucket = needs::is_in_bucket(name).ok_or(S3ErrorCode::NotImplemented)?;
        let id = verified.or_else(|| cx.credentials().map(|credentials| credentials.access_key.clone()));
        let key = match &id {
            Some(id) => Some(judge.catalog.key(id).await?.ok_or(S3ErrorCode::InvalidAccessKeyId)?),
            None => None,
        };
        if let Some(key) = &key {
            progress.trace.signed_by(key);
        }
        if key.is_none() && overrides_headers(cx.uri().query()) {
            let message = "Request specific response headers cannot be used for anonymous GET requests.";
            return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, message).into());
        }
        let bucket = match cx.s3_path().get_bucket_name() {
            Some(name) if in_bucket => Some(taken_in.bucket(judge.catalog.bucket(&BucketName::parse(name)?).await?)),
            _ => None,
        };
        let mut call = Call { cx: request, key, bucket, hides_absence: false, by_object: Vec::new(), progress };
        let Some(bucket) = call.bucket.as_deref() else {
            // An anonymous list of buckets is an empty one.
            let may = call.key.as_ref().map_or(name == "ListBuckets", |key| key.may(action_without_bucket(name), None));
            let needs_all =
                call.key.is_some().then_some("Access Denied: it takes an access key of the role admin that is not confined to a bucket");
            let refusal =
                || needs_all.map_or(S3ErrorCode::AccessDenied.into(), |told| S3Error::with_message(S3ErrorCode::AccessDenied, told));
            return if may { Ok(call) } else { Err(refusal().into()) };
        };
        let stated = Stated::new(cx.uri(), cx.headers(), way);
        refuse_other_owner(&stated, bucket)?;
        refuse_reflection(&call.cx, judge.catalog.store_id(), bucket)?;
        (call.hides_absence, call.by_object) = judge.admit(&call, name, cx.s3_path().get_object_key(), stated).await?;
        Ok(call)
    }
}

impl Judge {
    /// Admits the operation `name`. Tells whether who asks must not learn that an object is absent, and what was allowed for the sake of the object that
    /// is there.
    async fn admit(&self, call: &Call, name: &str, object: Option<&str>, stated: Stated<'_>) -> Result<(bool, Vec<Need>), Failure> {
        let bucket = call.bucket()?;
        if name == "DeleteObjects" || (name == "PutObjectTagging" && bucket.settings.extras.policy.is_some()) {
            return Ok((false, Vec::new()));
        }
        let request = Request { version: stated.version(), ..Request::new(call, bucket, object, stated) };
        let (mut lacking, mut by_object) = (None, Vec::new());
        for need in needs::of(name, &stated, &bucket.organization) {
            let Some(ground) = self.ground(request, need).await? else {
                lacking = Some(need);
                break;
            };
            if ground.is_acl {
                call.progress.trace.allowed_by_acl();
            }
            if ground.is_of_object {
                by_object.push(need);
            }
        }
        let refusal = lacking.map(|need| denied(request.access_key, bucket, need.role));
        let reads = object.is_some() && READING.contains(&name);
        if !reads || call.key.as_ref().is_some_and(|key| key.may(Action::Read, Some(bucket))) && bucket.settings.extras.policy.is_none() {
            return refusal.map_or(Ok((false, by_object)), Err);
        }
        let may_list = self.allows(request, LIST).await?;
        let Some(refusal) = refusal else { return Ok((!may_list, by_object)) };
        Err(if may_list && self.is_absent(request).await? { S3ErrorCode::NoSuchKey.into() } else { refusal })
    }

    async fn is_absent(&self, request: Request<'_>) -> Result<bool, Failure> {
        let Some(key) = request.object.and_then(|key| ObjectKey::parse(key).ok()) else { return Ok(false) };
        let options = GetOptions { version: request.version, ..GetOptions::default() };
        match self.objects.head(request.cx, request.bucket, &key, options).await {
            Err(error) if error.kind() == ErrorKind::NotFound(Entity::Object) => Ok(true),
            _ => Ok(false),
        }
    }

    /// Refuses `request` unless it is allowed everything that the operation `name` needs.
    pub(crate) async fn check(&self, request: Request<'_>, name: &str) -> Result<(), Failure> {
        self.confirm(request, &needs::of(name, &request.stated, &request.bucket.organization)).await
    }

    /// Refuses `request` unless it is allowed `need`.
    pub(crate) async fn require(&self, request: Request<'_>, need: Need) -> Result<(), Failure> {
        if self.allows(request, need).await? { Ok(()) } else { Err(denied(request.access_key, request.bucket, need.role)) }
    }

    /// Refuses `call` unless the policy of its bucket, too, lets it do `action`, for what is no operation of S3's.
    pub(crate) async fn require_action(&self, call: &Call, stated: Stated<'_>, action: &'static str, role: Action) -> Result<(), Failure> {
        let request = Request::new(call, call.bucket()?, None, stated);
        self.require(request, Need { action, role, acl: ByAcl::No }).await
    }

    /// Judges the object that was read, which `request` holds, as far as what was `needed` was allowed for the sake of the one that was there.
    pub(crate) async fn confirm(&self, request: Request<'_>, needed: &[Need]) -> Result<(), Failure> {
        for need in needed {
            self.require(request, *need).await?;
        }
        Ok(())
    }

    /// Refuses a copy of `request`'s object unless who asks may read it. Gives what was allowed for the sake of the object that is there.
    pub(crate) async fn admit_source(&self, request: Request<'_>, has_version: bool) -> Result<Vec<Need>, Failure> {
        let need = if has_version { GET_OBJECT_VERSION } else { GET_OBJECT };
        match self.ground(request, need).await? {
            None => Err(S3ErrorCode::AccessDenied.into()),
            Some(ground) => Ok(ground.is_of_object.then_some(need).into_iter().collect()),
        }
    }

    /// Refuses a copy of the object that was read, which `request` holds, and of its tags where they are copied too.
    pub(crate) async fn check_source(&self, request: Request<'_>, needed: &[Need], copies_tags: bool) -> Result<(), Failure> {
        self.confirm(request, needed).await?;
        if request.access_key.is_some_and(AccessKey::is_root) {
            return Ok(());
        }
        if !Self::check_reader(request, Permission::Read) {
            return Err(S3ErrorCode::AccessDenied.into());
        }
        // Most have none: whoever may read the object may copy one without.
        if copies_tags && !self.allows(request, GET_TAGGING).await? && self.tags(request).await?.is_some_and(|tags| !tags.is_empty()) {
            return Err(S3ErrorCode::AccessDenied.into());
        }
        Ok(())
    }
}

/// The operations that tell whether an object is there.
const READING: [&str; 5] = ["GetObject", "GetObjectAcl", "GetObjectAttributes", "GetObjectTagging", "HeadObject"];

fn action_without_bucket(operation: &str) -> Action {
    if operation == "ListBuckets" { Action::ListBuckets } else { Action::ManageBuckets }
}

/// A client can name the owner it expects, so that a bucket of the same name elsewhere is not mistaken for its own.
fn refuse_other_owner(stated: &Stated<'_>, bucket: &Bucket) -> Result<(), Failure> {
    match stated.header("x-amz-expected-bucket-owner") {
        Some(owner) if owner != bucket.organization => Err(S3ErrorCode::AccessDenied.into()),
        _ => Ok(()),
    }
}

/// A request that already passed through this bucket's shadow has come round in a circle.
pub(crate) fn refuse_reflection(cx: &RequestContext, store: &str, bucket: &Bucket) -> Result<(), Error> {
    let is_here = |hop: &String| hop.split_once('/').is_some_and(|(id, name)| id == store && name == bucket.name.as_str());
    if cx.shadow_path.iter().any(is_here) {
        return Err(Error::new(
            ErrorKind::Invalid(Fault::InvalidRequest),
            "shadow loop: this bucket shadows itself, directly or in a circle",
        ));
    }
    Ok(())
}

fn overrides_headers(query: Option<&str>) -> bool {
    let name = |pair: &str| percent_decode_str(pair.split('=').next().unwrap_or_default()).decode_utf8_lossy().to_ascii_lowercase();
    let is_one = |pair: &str| name(pair).starts_with("response-");
    query.is_some_and(|query| query.split('&').any(is_one))
}

#[cfg(test)]
mod tests {
    use umbra_core::{BucketName, RequestContext, Timestamp};
    use umbra_store::{Bucket, BucketSettings};

    use super::{overrides_headers, refuse_reflection};

    fn bucket() -> Bucket {
        Bucket {
            name: BucketName::parse("photos").unwrap(),
            partition: umbra_meta::Partition(1),
            organization: "acme".to_owned(),
            created: Timestamp::default(),
            settings: BucketSettings::default(),
            revision: umbra_meta::Revision(1),
            taken_in: None,
        }
    }

    #[test]
    fn a_circle_of_shadows_is_seen() {
        let path =
            |hops: &[&str]| RequestContext { shadow_path: hops.iter().map(ToString::to_string).collect(), ..RequestContext::default() };
        assert!(refuse_reflection(&path(&["a/photos", "us/photos"]), "us", &bucket()).is_err());
        assert!(refuse_reflection(&path(&["us/other", "them/photos"]), "us", &bucket()).is_ok());
        assert!(refuse_reflection(&path(&[]), "us", &bucket()).is_ok());
    }

    #[test]
    fn overriding_headers_is_seen_anywhere_in_the_query() {
        assert!(overrides_headers(Some("versionId=null&response-content-type=text/html")));
        assert!(overrides_headers(Some("%72esponse-content-type=text/html")));
        assert!(overrides_headers(Some("response%2dcontent-type=text/html")));
        assert!(!overrides_headers(Some("prefix=response-content-type")));
        assert!(!overrides_headers(None));
    }
}

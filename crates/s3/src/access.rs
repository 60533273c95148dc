//! Who may do what: resolves the bucket and the access key of every request, before anything of its input is read.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, header::AUTHORIZATION};
use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Result,
    access::{S3Access, S3AccessContext},
};
use umbra_core::{BucketName, Error, ErrorKind, Fault, RequestContext};
use umbra_store::{AccessKey, Action, Bucket, Catalog};

use crate::{
    call::Call,
    error::Failure,
    layer::{Progress, Stage},
    lenient::Verified,
};

/// The access check.
#[derive(Debug)]
pub(crate) struct Gate(pub(crate) Arc<Catalog>);

#[async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let call = self.admit(cx).await?;
        cx.extensions_mut().insert(Arc::new(call));
        if let Some(progress) = cx.extensions_mut().get::<Arc<Progress>>() {
            progress.reach(Stage::Admitted);
        }
        Ok(())
    }
}

impl Gate {
    /// Admits a request that is no operation of S3's: it must be signed in its headers, and whoever signed it must be allowed `action`.
    pub(crate) async fn admit_signed<T>(&self, request: &S3Request<T>, action: Action, bucket: Option<&str>) -> Result<Call, Failure> {
        let credentials = request.credentials.as_ref().filter(|_| request.headers.contains_key(AUTHORIZATION));
        let id = &credentials.ok_or(S3ErrorCode::AccessDenied)?.access_key;
        let key = self.0.key(id).await?.ok_or(S3ErrorCode::InvalidAccessKeyId)?;
        let bucket = match bucket {
            Some(name) => Some(self.0.bucket(&BucketName::parse(name)?).await?),
            None => None,
        };
        if !key.may(action, bucket.as_deref()) {
            return Err(S3ErrorCode::AccessDenied.into());
        }
        let cx = request.extensions.get::<RequestContext>().cloned().unwrap_or_default();
        if let Some(bucket) = &bucket {
            refuse_other_owner(&request.headers, bucket)?;
            refuse_reflection(&cx, self.0.store_id(), bucket)?;
        }
        Ok(Call { cx, key: Some(key), bucket })
    }

    async fn admit(&self, cx: &mut S3AccessContext<'_>) -> Result<Call, Failure> {
        let wanted = Wanted::of(cx.s3_op().name()).ok_or(S3ErrorCode::NotImplemented)?;
        let verified = cx.extensions_mut().get::<Verified>().map(|verified| verified.0.clone());
        let id = verified.or_else(|| cx.credentials().map(|credentials| credentials.access_key.clone()));
        let key = match &id {
            Some(id) => Some(self.0.key(id).await?.ok_or(S3ErrorCode::InvalidAccessKeyId)?),
            None => None,
        };
        if key.is_none() && overrides_headers(cx.uri().query()) {
            let message = "Request specific response headers cannot be used for anonymous GET requests.";
            return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, message).into());
        }
        let bucket = match cx.s3_path().get_bucket_name() {
            Some(name) if wanted.in_bucket => Some(self.0.bucket(&BucketName::parse(name)?).await?),
            _ => None,
        };
        admit(wanted, key.as_deref(), bucket.as_deref())?;
        let request = cx.extensions_mut().get::<RequestContext>().cloned().unwrap_or_default();
        if let Some(bucket) = &bucket {
            refuse_other_owner(cx.headers(), bucket)?;
            refuse_reflection(&request, self.0.store_id(), bucket)?;
        }
        Ok(Call { cx: request, key, bucket })
    }
}

/// What an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    action: Action,
    /// Whether it works on a bucket that exists.
    in_bucket: bool,
    /// Whether a public bucket offers it to everyone.
    public: Public,
}

/// What a public bucket offers to everyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Public {
    /// Not this.
    No,
    /// This.
    Yes,
    /// This, if its owner wants it to be listed too.
    IfListed,
}

/// The operations that configure a bucket, or delete it.
const CONFIGURING: [&str; 46] = [
    "DeleteBucket",
    "GetBucketAccelerateConfiguration",
    "PutBucketAccelerateConfiguration",
    "GetBucketAcl",
    "PutBucketAcl",
    "GetBucketCors",
    "PutBucketCors",
    "DeleteBucketCors",
    "GetBucketEncryption",
    "PutBucketEncryption",
    "DeleteBucketEncryption",
    "GetBucketLifecycleConfiguration",
    "PutBucketLifecycleConfiguration",
    "DeleteBucketLifecycle",
    "GetBucketLogging",
    "PutBucketLogging",
    "GetBucketNotificationConfiguration",
    "PutBucketNotificationConfiguration",
    "GetBucketOwnershipControls",
    "PutBucketOwnershipControls",
    "DeleteBucketOwnershipControls",
    "GetBucketPolicy",
    "PutBucketPolicy",
    "DeleteBucketPolicy",
    "GetBucketPolicyStatus",
    "GetPublicAccessBlock",
    "PutPublicAccessBlock",
    "DeletePublicAccessBlock",
    "GetBucketReplication",
    "PutBucketReplication",
    "DeleteBucketReplication",
    "GetBucketRequestPayment",
    "PutBucketRequestPayment",
    "GetBucketTagging",
    "PutBucketTagging",
    "DeleteBucketTagging",
    "PutBucketVersioning",
    "GetBucketWebsite",
    "PutBucketWebsite",
    "DeleteBucketWebsite",
    "GetObjectLockConfiguration",
    "PutObjectLockConfiguration",
    "ListBucketAnalyticsConfigurations",
    "ListBucketIntelligentTieringConfigurations",
    "ListBucketInventoryConfigurations",
    "ListBucketMetricsConfigurations",
];

impl Wanted {
    /// What the operation that s3s calls `name` needs; `None` for those we do not have.
    fn of(name: &str) -> Option<Self> {
        let wanted = |action, in_bucket| Some(Self { action, in_bucket, public: Public::No });
        let offered = |action, public| Some(Self { action, in_bucket: true, public });
        match name {
            "ListBuckets" => wanted(Action::ListBuckets, false),
            "CreateBucket" => wanted(Action::ManageBuckets, false),
            name if CONFIGURING.contains(&name) => wanted(Action::ManageBuckets, true),
            "HeadBucket" | "GetBucketLocation" | "GetBucketVersioning" | "ListObjectVersions" | "ListMultipartUploads" | "ListParts" => {
                wanted(Action::List, true)
            }
            "ListObjects" | "ListObjectsV2" => offered(Action::List, Public::IfListed),
            "GetObject" | "HeadObject" => offered(Action::Read, Public::Yes),
            "GetObjectTagging" | "GetObjectAttributes" | "GetObjectAcl" | "GetObjectRetention" | "GetObjectLegalHold" => {
                wanted(Action::Read, true)
            }
            "PutObject"
            | "PutObjectAcl"
            | "PostObject"
            | "CopyObject"
            | "DeleteObject"
            | "DeleteObjects"
            | "CreateMultipartUpload"
            | "UploadPart"
            | "UploadPartCopy"
            | "CompleteMultipartUpload"
            | "AbortMultipartUpload"
            | "PutObjectTagging"
            | "PutObjectRetention"
            | "PutObjectLegalHold"
            | "RestoreObject"
            | "DeleteObjectTagging" => wanted(Action::Write, true),
            _ => None,
        }
    }
}

fn admit(wanted: Wanted, key: Option<&AccessKey>, bucket: Option<&Bucket>) -> Result<(), Failure> {
    let allowed = key.is_some_and(|key| key.may(wanted.action, bucket));
    let public = bucket.is_some_and(|Bucket { settings, .. }| match wanted.public {
        Public::No => false,
        Public::Yes => settings.public,
        Public::IfListed => settings.public && settings.extras.lists_publicly,
    });
    if allowed || public { Ok(()) } else { Err(S3ErrorCode::AccessDenied.into()) }
}

/// Whether `key` may read objects of `bucket`, as the source of a copy.
pub(crate) fn may_read(key: Option<&AccessKey>, bucket: &Bucket) -> Result<(), Failure> {
    admit(Wanted { action: Action::Read, in_bucket: true, public: Public::Yes }, key, Some(bucket))
}

/// A client can name the owner it expects, so that a bucket of the same name elsewhere is not mistaken for its own.
fn refuse_other_owner(headers: &HeaderMap, bucket: &Bucket) -> Result<(), Failure> {
    match headers.get("x-amz-expected-bucket-owner") {
        Some(owner) if owner.as_bytes() != bucket.organization.as_bytes() => Err(S3ErrorCode::AccessDenied.into()),
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
    query.is_some_and(|query| query.split('&').any(|pair| pair.starts_with("response-")))
}

#[cfg(test)]
mod tests {
    use umbra_core::{BucketName, RequestContext, Timestamp};
    use umbra_store::{AccessKey, Bucket, BucketSettings, Role, Secret};

    use super::{Wanted, admit, overrides_headers, refuse_reflection};

    fn bucket(public: bool) -> Bucket {
        Bucket {
            name: BucketName::parse("photos").unwrap(),
            partition: umbra_meta::Partition(1),
            organization: "acme".to_owned(),
            created: Timestamp::default(),
            settings: BucketSettings { public, ..BucketSettings::default() },
            revision: umbra_meta::Revision(1),
        }
    }

    fn key(organization: &str, role: Role) -> AccessKey {
        AccessKey {
            id: "id".to_owned(),
            secret: Secret::new("secret"),
            organization: Some(organization.to_owned()),
            role,
            bucket: None,
            created: Timestamp::default(),
        }
    }

    #[test]
    fn everyone_may_do_what_their_role_and_the_bucket_allow() {
        let (reader, admin, stranger) = (key("acme", Role::Reader), key("acme", Role::Admin), key("evil", Role::Admin));
        let cases = [
            ("GetObject", false, Some(&reader), true),
            ("GetObject", false, Some(&stranger), false),
            ("GetObject", false, None, false),
            ("GetObject", true, None, true),
            ("HeadObject", true, Some(&stranger), true),
            ("ListObjectsV2", true, None, false),
            ("GetObjectTagging", true, None, false),
            ("PutObject", true, None, false),
            ("PutObject", false, Some(&reader), false),
            ("PutObject", false, Some(&admin), true),
            ("DeleteBucket", false, Some(&admin), true),
            ("DeleteBucket", true, Some(&stranger), false),
        ];
        for (operation, public, key, expected) in cases {
            let admitted = admit(Wanted::of(operation).unwrap(), key, Some(&bucket(public)));
            assert_eq!(admitted.is_ok(), expected, "{operation}, public {public}, {key:?}");
        }
    }

    #[test]
    fn operations_we_do_not_have_are_nobodys() {
        assert_eq!(Wanted::of("CreateBucketMetadataTableConfiguration"), None);
        assert_eq!(Wanted::of(""), None);
    }

    #[test]
    fn a_circle_of_shadows_is_seen() {
        let path =
            |hops: &[&str]| RequestContext { request_id: String::new(), shadow_path: hops.iter().map(ToString::to_string).collect() };
        assert!(refuse_reflection(&path(&["a/photos", "us/photos"]), "us", &bucket(false)).is_err());
        assert!(refuse_reflection(&path(&["us/other", "them/photos"]), "us", &bucket(false)).is_ok());
        assert!(refuse_reflection(&path(&[]), "us", &bucket(false)).is_ok());
    }

    #[test]
    fn overriding_headers_is_seen_anywhere_in_the_query() {
        assert!(overrides_headers(Some("versionId=null&response-content-type=text/html")));
        assert!(!overrides_headers(Some("prefix=response-content-type")));
        assert!(!overrides_headers(None));
    }
}

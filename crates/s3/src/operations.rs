//! The operations: each method of s3s's trait is one call into a file of its own.

/// What `$request` says of itself, beside its input.
macro_rules! stated {
    ($request:expr) => {
        $crate::access::Stated::new(&$request.uri, &$request.headers, $crate::access::Way::of(&$request.extensions))
    };
}

mod absent;
mod bucket_acl;
mod bucket_billing;
mod bucket_cors;
mod bucket_encryption;
mod bucket_lifecycle;
mod bucket_logging;
mod bucket_notification;
mod bucket_ownership;
mod bucket_policy;
mod bucket_tagging;
mod bucket_website;
mod buckets;
mod complete_upload;
mod copy_object;
mod create_upload;
mod delete_object;
mod delete_objects;
mod get_object;
mod head_object;
pub(crate) mod list_buckets;
mod list_objects;
mod list_parts;
mod list_uploads;
mod list_versions;
mod object_acl;
mod object_attributes;
mod object_lock;
mod public_access;
mod put_object;
mod reads;
mod restore_object;
mod retention;
mod settings;
mod tagging;
mod upload_part;
mod versioning;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use s3s::{S3, S3Request, S3Response, S3Result, dto::*};
use umbra_core::Random;
use umbra_shadow::Shadow;
use umbra_store::{Catalog, Objects};

pub(crate) use buckets::{is_public, lists_publicly};

use crate::{S3Settings, access::Judge, layer::Progress};

/// What the operations work with.
pub(crate) struct Operations {
    pub(crate) settings: Arc<S3Settings>,
    pub(crate) objects: Arc<dyn Objects>,
    pub(crate) shadow: Shadow,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) judge: Judge,
    pub(crate) random: Arc<dyn Random>,
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations").field("objects", &self.objects).finish_non_exhaustive()
    }
}

/// The error of a change whose grounds are gone.
fn changed_meanwhile() -> umbra_core::Error {
    umbra_core::Error::new(umbra_core::ErrorKind::Conflict, "the bucket's settings were changed meanwhile; please try again")
}

/// Tells the outer layer which operation a request turned out to ask for.
fn begin<T>(request: &S3Request<T>, operation: &'static str) {
    if let Some(progress) = request.extensions.get::<Arc<Progress>>() {
        progress.begin(operation);
    }
}

/// Writes the methods of the trait: the name of each, its input and output, and the function that does it.
macro_rules! operations {
    ($($method:ident, $Input:ident, $Output:ident => $function:path;)*) => {
        #[async_trait]
        impl S3 for Operations {
            $(
                async fn $method(&self, request: S3Request<$Input>) -> S3Result<S3Response<$Output>> {
                    begin(&request, stringify!($method));
                    $function(self, request).await.map_err(Into::into)
                }
            )*
        }
    };
}

operations! {
    list_buckets, ListBucketsInput, ListBucketsOutput => list_buckets::list_buckets;
    create_bucket, CreateBucketInput, CreateBucketOutput => buckets::create_bucket;
    head_bucket, HeadBucketInput, HeadBucketOutput => buckets::head_bucket;
    delete_bucket, DeleteBucketInput, DeleteBucketOutput => buckets::delete_bucket;
    get_bucket_location, GetBucketLocationInput, GetBucketLocationOutput => buckets::get_bucket_location;
    get_bucket_versioning, GetBucketVersioningInput, GetBucketVersioningOutput => versioning::get_bucket_versioning;
    put_object_lock_configuration, PutObjectLockConfigurationInput, PutObjectLockConfigurationOutput => object_lock::put_object_lock_configuration;
    get_object_lock_configuration, GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput => object_lock::get_object_lock_configuration;
    put_object_retention, PutObjectRetentionInput, PutObjectRetentionOutput => retention::put_object_retention;
    get_object_retention, GetObjectRetentionInput, GetObjectRetentionOutput => retention::get_object_retention;
    put_object_legal_hold, PutObjectLegalHoldInput, PutObjectLegalHoldOutput => retention::put_object_legal_hold;
    get_object_legal_hold, GetObjectLegalHoldInput, GetObjectLegalHoldOutput => retention::get_object_legal_hold;
    put_bucket_versioning, PutBucketVersioningInput, PutBucketVersioningOutput => versioning::put_bucket_versioning;
    put_bucket_cors, PutBucketCorsInput, PutBucketCorsOutput => bucket_cors::put_bucket_cors;
    get_bucket_cors, GetBucketCorsInput, GetBucketCorsOutput => bucket_cors::get_bucket_cors;
    delete_bucket_cors, DeleteBucketCorsInput, DeleteBucketCorsOutput => bucket_cors::delete_bucket_cors;
    get_bucket_acl, GetBucketAclInput, GetBucketAclOutput => bucket_acl::get_bucket_acl;
    put_bucket_acl, PutBucketAclInput, PutBucketAclOutput => bucket_acl::put_bucket_acl;
    get_bucket_policy, GetBucketPolicyInput, GetBucketPolicyOutput => bucket_policy::get_bucket_policy;
    put_bucket_policy, PutBucketPolicyInput, PutBucketPolicyOutput => bucket_policy::put_bucket_policy;
    delete_bucket_policy, DeleteBucketPolicyInput, DeleteBucketPolicyOutput => bucket_policy::delete_bucket_policy;
    get_bucket_policy_status, GetBucketPolicyStatusInput, GetBucketPolicyStatusOutput => bucket_policy::get_bucket_policy_status;
    get_public_access_block, GetPublicAccessBlockInput, GetPublicAccessBlockOutput => public_access::get_public_access_block;
    put_public_access_block, PutPublicAccessBlockInput, PutPublicAccessBlockOutput => public_access::put_public_access_block;
    delete_public_access_block, DeletePublicAccessBlockInput, DeletePublicAccessBlockOutput => public_access::delete_public_access_block;
    get_bucket_ownership_controls, GetBucketOwnershipControlsInput, GetBucketOwnershipControlsOutput => bucket_ownership::get_bucket_ownership_controls;
    put_bucket_ownership_controls, PutBucketOwnershipControlsInput, PutBucketOwnershipControlsOutput => bucket_ownership::put_bucket_ownership_controls;
    delete_bucket_ownership_controls, DeleteBucketOwnershipControlsInput, DeleteBucketOwnershipControlsOutput => bucket_ownership::delete_bucket_ownership_controls;
    put_bucket_encryption, PutBucketEncryptionInput, PutBucketEncryptionOutput => bucket_encryption::put_bucket_encryption;
    get_bucket_encryption, GetBucketEncryptionInput, GetBucketEncryptionOutput => bucket_encryption::get_bucket_encryption;
    delete_bucket_encryption, DeleteBucketEncryptionInput, DeleteBucketEncryptionOutput => bucket_encryption::delete_bucket_encryption;
    put_bucket_lifecycle_configuration, PutBucketLifecycleConfigurationInput, PutBucketLifecycleConfigurationOutput => bucket_lifecycle::put_bucket_lifecycle_configuration;
    get_bucket_lifecycle_configuration, GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput => bucket_lifecycle::get_bucket_lifecycle_configuration;
    delete_bucket_lifecycle, DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput => bucket_lifecycle::delete_bucket_lifecycle;
    put_bucket_tagging, PutBucketTaggingInput, PutBucketTaggingOutput => bucket_tagging::put_bucket_tagging;
    get_bucket_tagging, GetBucketTaggingInput, GetBucketTaggingOutput => bucket_tagging::get_bucket_tagging;
    delete_bucket_tagging, DeleteBucketTaggingInput, DeleteBucketTaggingOutput => bucket_tagging::delete_bucket_tagging;
    put_bucket_website, PutBucketWebsiteInput, PutBucketWebsiteOutput => bucket_website::put_bucket_website;
    get_bucket_website, GetBucketWebsiteInput, GetBucketWebsiteOutput => bucket_website::get_bucket_website;
    delete_bucket_website, DeleteBucketWebsiteInput, DeleteBucketWebsiteOutput => bucket_website::delete_bucket_website;
    put_bucket_request_payment, PutBucketRequestPaymentInput, PutBucketRequestPaymentOutput => bucket_billing::put_bucket_request_payment;
    get_bucket_request_payment, GetBucketRequestPaymentInput, GetBucketRequestPaymentOutput => bucket_billing::get_bucket_request_payment;
    put_bucket_accelerate_configuration, PutBucketAccelerateConfigurationInput, PutBucketAccelerateConfigurationOutput => bucket_billing::put_bucket_accelerate_configuration;
    get_bucket_accelerate_configuration, GetBucketAccelerateConfigurationInput, GetBucketAccelerateConfigurationOutput => bucket_billing::get_bucket_accelerate_configuration;
    put_bucket_logging, PutBucketLoggingInput, PutBucketLoggingOutput => bucket_logging::put_bucket_logging;
    get_bucket_logging, GetBucketLoggingInput, GetBucketLoggingOutput => bucket_logging::get_bucket_logging;
    get_bucket_replication, GetBucketReplicationInput, GetBucketReplicationOutput => absent::get_bucket_replication;
    delete_bucket_replication, DeleteBucketReplicationInput, DeleteBucketReplicationOutput => absent::delete_bucket_replication;
    list_bucket_analytics_configurations, ListBucketAnalyticsConfigurationsInput, ListBucketAnalyticsConfigurationsOutput => absent::list_bucket_analytics_configurations;
    list_bucket_intelligent_tiering_configurations, ListBucketIntelligentTieringConfigurationsInput, ListBucketIntelligentTieringConfigurationsOutput => absent::list_bucket_intelligent_tiering_configurations;
    list_bucket_inventory_configurations, ListBucketInventoryConfigurationsInput, ListBucketInventoryConfigurationsOutput => absent::list_bucket_inventory_configurations;
    list_bucket_metrics_configurations, ListBucketMetricsConfigurationsInput, ListBucketMetricsConfigurationsOutput => absent::list_bucket_metrics_configurations;
    restore_object, RestoreObjectInput, RestoreObjectOutput => restore_object::restore_object;
    put_bucket_notification_configuration, PutBucketNotificationConfigurationInput, PutBucketNotificationConfigurationOutput => bucket_notification::put_bucket_notification_configuration;
    get_bucket_notification_configuration, GetBucketNotificationConfigurationInput, GetBucketNotificationConfigurationOutput => bucket_notification::get_bucket_notification_configuration;
    get_object, GetObjectInput, GetObjectOutput => get_object::get_object;
    head_object, HeadObjectInput, HeadObjectOutput => head_object::head_object;
    put_object, PutObjectInput, PutObjectOutput => put_object::put_object;
    copy_object, CopyObjectInput, CopyObjectOutput => copy_object::copy_object;
    delete_object, DeleteObjectInput, DeleteObjectOutput => delete_object::delete_object;
    delete_objects, DeleteObjectsInput, DeleteObjectsOutput => delete_objects::delete_objects;
    list_objects, ListObjectsInput, ListObjectsOutput => list_objects::list_objects;
    list_objects_v2, ListObjectsV2Input, ListObjectsV2Output => list_objects::list_objects_v2;
    list_object_versions, ListObjectVersionsInput, ListObjectVersionsOutput => list_versions::list_object_versions;
    get_object_acl, GetObjectAclInput, GetObjectAclOutput => object_acl::get_object_acl;
    put_object_acl, PutObjectAclInput, PutObjectAclOutput => object_acl::put_object_acl;
    get_object_tagging, GetObjectTaggingInput, GetObjectTaggingOutput => tagging::get_object_tagging;
    put_object_tagging, PutObjectTaggingInput, PutObjectTaggingOutput => tagging::put_object_tagging;
    delete_object_tagging, DeleteObjectTaggingInput, DeleteObjectTaggingOutput => tagging::delete_object_tagging;
    get_object_attributes, GetObjectAttributesInput, GetObjectAttributesOutput => object_attributes::get_object_attributes;
    create_multipart_upload, CreateMultipartUploadInput, CreateMultipartUploadOutput => create_upload::create_multipart_upload;
    upload_part, UploadPartInput, UploadPartOutput => upload_part::upload_part;
    upload_part_copy, UploadPartCopyInput, UploadPartCopyOutput => upload_part::upload_part_copy;
    complete_multipart_upload, CompleteMultipartUploadInput, CompleteMultipartUploadOutput => complete_upload::complete_multipart_upload;
    abort_multipart_upload, AbortMultipartUploadInput, AbortMultipartUploadOutput => complete_upload::abort_multipart_upload;
    list_parts, ListPartsInput, ListPartsOutput => list_parts::list_parts;
    list_multipart_uploads, ListMultipartUploadsInput, ListMultipartUploadsOutput => list_uploads::list_multipart_uploads;
}

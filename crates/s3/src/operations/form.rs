//! What a form says in the place of headers.

use http::Method;
use s3s::{S3Request, dto::PutObjectInput};

/// The fields of the form that `request` is, by the headers they stand for; `None` for one that is no form.
pub(super) fn fields(request: &S3Request<PutObjectInput>) -> Option<Vec<(&'static str, String)>> {
    if request.method != Method::POST {
        return None;
    }
    let input = &request.input;
    let fields = [
        ("x-amz-acl", input.acl.as_ref().map(|acl| acl.as_str().to_owned())),
        ("x-amz-grant-full-control", input.grant_full_control.clone()),
        ("x-amz-grant-read", input.grant_read.clone()),
        ("x-amz-grant-read-acp", input.grant_read_acp.clone()),
        ("x-amz-grant-write-acp", input.grant_write_acp.clone()),
        ("x-amz-object-lock-legal-hold", input.object_lock_legal_hold_status.as_ref().map(|status| status.as_str().to_owned())),
        ("x-amz-object-lock-mode", input.object_lock_mode.as_ref().map(|mode| mode.as_str().to_owned())),
        ("x-amz-server-side-encryption", input.server_side_encryption.as_ref().map(|algorithm| algorithm.as_str().to_owned())),
        ("x-amz-server-side-encryption-aws-kms-key-id", input.ssekms_key_id.clone()),
        ("x-amz-server-side-encryption-customer-algorithm", input.sse_customer_algorithm.clone()),
        ("x-amz-storage-class", input.storage_class.as_ref().map(|class| class.as_str().to_owned())),
        ("x-amz-tagging", input.tagging.clone()),
        ("x-amz-website-redirect-location", input.website_redirect_location.clone()),
    ];
    Some(fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

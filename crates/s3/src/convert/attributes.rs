//! What a request asks for of optional features, for the object it writes: one file for each feature.

pub(crate) mod encryption;
pub(crate) mod lock;
pub(crate) mod narrowed;

/// The attributes that the fields of `$input` ask for, for an object in `$bucket`, and how it is to be encrypted. Its ACL is for
/// [`crate::acl::on_write`] to say, and the regions that it is narrowed to for [`narrowed::asked`].
macro_rules! asked {
    ($input:expr, $bucket:expr) => {{
        let (input, bucket): (_, &umbra_store::Bucket) = (&$input, $bucket);
        let lock = $crate::convert::attributes::lock::asked(
            $crate::convert::attributes::lock::Asked {
                mode: input.object_lock_mode.as_ref(),
                until: input.object_lock_retain_until_date.as_ref(),
                legal_hold: input.object_lock_legal_hold_status.as_ref(),
            },
            bucket,
        )?;
        let sealing = $crate::convert::attributes::encryption::asked(
            $crate::convert::attributes::encryption::Asked {
                algorithm: input.server_side_encryption.as_ref(),
                kms_key: input.ssekms_key_id.as_deref(),
                context: input.ssekms_encryption_context.as_deref(),
                bucket_key: input.bucket_key_enabled,
                customer_algorithm: input.sse_customer_algorithm.as_deref(),
                customer_key: input.sse_customer_key.as_deref(),
                customer_key_md5: input.sse_customer_key_md5.as_deref(),
            },
            bucket,
        )?;
        let encryption = sealing.as_ref().map(umbra_store::Sealing::told);
        (umbra_core::Attributes { lock, acl: None, encryption, narrowed: None }, sealing)
    }};
}

pub(crate) use asked;

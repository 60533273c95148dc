//! What a request asks for of S3's optional features, for the object it writes: one file for each feature.

pub(crate) mod encryption;
pub(crate) mod lock;

/// The attributes that the fields of `$input` ask for, for an object in `$bucket`; its ACL is [`crate::acl::on_write`]'s to say.
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
        let encryption = $crate::convert::attributes::encryption::asked(
            $crate::convert::attributes::encryption::Asked {
                algorithm: input.server_side_encryption.as_ref(),
                kms_key: input.ssekms_key_id.as_deref(),
                customer_algorithm: input.sse_customer_algorithm.as_deref(),
                customer_key: input.sse_customer_key.as_deref(),
            },
            bucket,
        )?;
        umbra_core::Attributes { lock, acl: None, encryption }
    }};
}

pub(crate) use asked;

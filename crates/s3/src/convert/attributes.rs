//! What a request asks for of S3's optional features, for the object it writes: one file for each feature.

pub(crate) mod encryption;
pub(crate) mod grants;
pub(crate) mod lock;

/// The attributes that the fields of `$input` ask for, for an object in `$bucket`.
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
        let acl = $crate::convert::attributes::grants::asked(
            $crate::convert::attributes::grants::Asked {
                full_control: input.grant_full_control.as_deref(),
                read: input.grant_read.as_deref(),
                read_acp: input.grant_read_acp.as_deref(),
                write_acp: input.grant_write_acp.as_deref(),
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
        umbra_core::Attributes { lock, acl, encryption }
    }};
}

pub(crate) use asked;

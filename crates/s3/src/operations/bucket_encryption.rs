//! PutBucketEncryption, GetBucketEncryption, DeleteBucketEncryption.

use std::sync::Arc;

use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Response,
    dto::{
        BlockedEncryptionTypes, DeleteBucketEncryptionInput, DeleteBucketEncryptionOutput, EncryptionType, GetBucketEncryptionInput,
        GetBucketEncryptionOutput, PutBucketEncryptionInput, PutBucketEncryptionOutput, ServerSideEncryption,
        ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
    },
};
use umbra_store::{DefaultEncryption, DefaultKmsKey};

use super::Operations;
use crate::{
    call::Call,
    convert::attributes::encryption::kms_algorithm,
    error::{Answer, Failure, custom},
};

/// Bytes of a key's name: more than any ARN has.
const KEY_MAX: usize = 2048;

/// Sets how objects are encrypted that ask for nothing themselves.
pub(super) async fn put_bucket_encryption(
    operations: &Operations,
    request: S3Request<PutBucketEncryptionInput>,
) -> Answer<PutBucketEncryptionOutput> {
    let call = Call::of(&request)?;
    let encryption = taken(request.input.server_side_encryption_configuration)?;
    set(operations, &call, Some(encryption)).await?;
    Ok(S3Response::new(PutBucketEncryptionOutput::default()))
}

/// Shows it.
pub(super) async fn get_bucket_encryption(
    _operations: &Operations,
    request: S3Request<GetBucketEncryptionInput>,
) -> Answer<GetBucketEncryptionOutput> {
    let extras = &Call::of(&request)?.bucket()?.settings.extras.clone();
    let Some(encryption) = &extras.encryption else {
        let message = "The server side encryption configuration was not found";
        return Err(custom("ServerSideEncryptionConfigurationNotFoundError", http::StatusCode::NOT_FOUND, message).into());
    };
    let configuration = ServerSideEncryptionConfiguration { rules: vec![shown(encryption)] };
    Ok(S3Response::new(GetBucketEncryptionOutput { server_side_encryption_configuration: Some(configuration) }))
}

/// Has objects stored as they are again, those that ask for nothing. What is encrypted stays so.
pub(super) async fn delete_bucket_encryption(
    operations: &Operations,
    request: S3Request<DeleteBucketEncryptionInput>,
) -> Answer<DeleteBucketEncryptionOutput> {
    let call = Call::of(&request)?;
    set(operations, &call, None).await?;
    Ok(S3Response::new(DeleteBucketEncryptionOutput::default()))
}

async fn set(operations: &Operations, call: &Call, encryption: Option<DefaultEncryption>) -> Result<(), Failure> {
    let mut change = |settings: &mut umbra_store::BucketSettings| {
        Arc::make_mut(&mut settings.extras).encryption.clone_from(&encryption);
        Ok(())
    };
    operations.catalog.update_bucket(call.bucket()?, &mut change).await?;
    Ok(())
}

fn taken(configuration: ServerSideEncryptionConfiguration) -> Result<DefaultEncryption, Failure> {
    let [rule] = <[ServerSideEncryptionRule; 1]>::try_from(configuration.rules).map_err(|_| S3ErrorCode::MalformedXML)?;
    let ServerSideEncryptionRule { apply_server_side_encryption_by_default, blocked_encryption_types, bucket_key_enabled, .. } = rule;
    let kms = match apply_server_side_encryption_by_default {
        None => None,
        Some(default) => kms(default)?,
    };
    Ok(DefaultEncryption { kms, bucket_key: bucket_key_enabled, blocks_customer_keys: blocks(blocked_encryption_types)? })
}

fn kms(default: ServerSideEncryptionByDefault) -> Result<Option<DefaultKmsKey>, Failure> {
    let key = default.kms_master_key_id.filter(|key| !key.is_empty());
    let dual = match default.sse_algorithm.as_str() {
        ServerSideEncryption::AES256 if key.is_some() => {
            let message = "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse";
            return Err(S3Error::with_message(S3ErrorCode::InvalidArgument, message).into());
        }
        ServerSideEncryption::AES256 => return Ok(None),
        ServerSideEncryption::AWS_KMS => false,
        ServerSideEncryption::AWS_KMS_DSSE => true,
        _ => return Err(S3ErrorCode::MalformedXML.into()),
    };
    if key.as_ref().is_some_and(|key| key.len() > KEY_MAX) {
        return Err(S3Error::with_message(S3ErrorCode::InvalidArgument, "the KMSMasterKeyID is too long").into());
    }
    Ok(Some(DefaultKmsKey { key, dual }))
}

/// Whether `blocked` names SSE-C, the one kind that can be blocked.
fn blocks(blocked: Option<BlockedEncryptionTypes>) -> Result<bool, Failure> {
    let kinds = blocked.and_then(|blocked| blocked.encryption_type).unwrap_or_default();
    match kinds.iter().map(EncryptionType::as_str).collect::<Vec<_>>()[..] {
        [] | [EncryptionType::NONE] => Ok(false),
        [EncryptionType::SSE_C] => Ok(true),
        _ => Err(S3ErrorCode::MalformedXML.into()),
    }
}

fn shown(encryption: &DefaultEncryption) -> ServerSideEncryptionRule {
    let DefaultEncryption { kms, bucket_key, blocks_customer_keys } = encryption;
    let algorithm =
        kms.as_ref().map_or_else(|| ServerSideEncryption::from_static(ServerSideEncryption::AES256), |kms| kms_algorithm(kms.dual));
    let blocked = || BlockedEncryptionTypes { encryption_type: Some(vec![EncryptionType::from_static(EncryptionType::SSE_C)]) };
    ServerSideEncryptionRule {
        apply_server_side_encryption_by_default: Some(ServerSideEncryptionByDefault {
            kms_master_key_id: kms.as_ref().and_then(|kms| kms.key.clone()),
            sse_algorithm: algorithm,
        }),
        blocked_encryption_types: blocks_customer_keys.then(blocked),
        bucket_key_enabled: Some(*bucket_key == Some(true)),
    }
}

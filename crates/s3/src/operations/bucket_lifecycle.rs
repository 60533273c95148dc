//! PutBucketLifecycleConfiguration, GetBucketLifecycleConfiguration, DeleteBucketLifecycle.

use s3s::{
    S3ErrorCode, S3Request, S3Response,
    dto::{
        DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput, GetBucketLifecycleConfigurationInput,
        GetBucketLifecycleConfigurationOutput, PutBucketLifecycleConfigurationInput, PutBucketLifecycleConfigurationOutput,
        TransitionDefaultMinimumObjectSize,
    },
};
use umbra_core::{Error, Fault};
use umbra_store::Lifecycle;

use super::{Operations, settings::change_extras};
use crate::{
    call::Call,
    convert::lifecycle,
    error::{Answer, Failure},
};

/// Small objects stay where they are, whatever the class.
const ALL_CLASSES: &str = TransitionDefaultMinimumObjectSize::ALL_STORAGE_CLASSES_128K;
/// They may move to the archive classes.
const BY_CLASS: &str = TransitionDefaultMinimumObjectSize::VARIES_BY_STORAGE_CLASS;

/// Sets the rules. The worker begins with them at once.
pub(super) async fn put_bucket_lifecycle_configuration(
    operations: &Operations,
    request: S3Request<PutBucketLifecycleConfigurationInput>,
) -> Answer<PutBucketLifecycleConfigurationOutput> {
    let call = Call::of(&request)?;
    let input = request.input;
    let small_objects_move = match input.transition_default_minimum_object_size.as_ref().map(TransitionDefaultMinimumObjectSize::as_str) {
        None | Some(ALL_CLASSES) => false,
        Some(BY_CLASS) => true,
        Some(_) => {
            let message = format!("x-amz-transition-default-minimum-object-size is {ALL_CLASSES} or {BY_CLASS}");
            return Err(Error::invalid(Fault::InvalidArgument, message).into());
        }
    };
    let rules = lifecycle::taken(input.lifecycle_configuration.ok_or(S3ErrorCode::MalformedXML)?.rules)?;
    set(operations, &call, Lifecycle { rules, small_objects_move }).await?;
    let transition_default_minimum_object_size = Some(minimum(small_objects_move));
    Ok(S3Response::new(PutBucketLifecycleConfigurationOutput { transition_default_minimum_object_size }))
}

/// Shows the rules.
pub(super) async fn get_bucket_lifecycle_configuration(
    _operations: &Operations,
    request: S3Request<GetBucketLifecycleConfigurationInput>,
) -> Answer<GetBucketLifecycleConfigurationOutput> {
    let call = Call::of(&request)?;
    let Lifecycle { rules, small_objects_move } = &call.bucket()?.settings.extras.lifecycle;
    if rules.is_empty() {
        return Err(S3ErrorCode::NoSuchLifecycleConfiguration.into());
    }
    Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
        rules: Some(rules.iter().map(lifecycle::shown).collect()),
        transition_default_minimum_object_size: Some(minimum(*small_objects_move)),
    }))
}

/// Removes the rules.
pub(super) async fn delete_bucket_lifecycle(
    operations: &Operations,
    request: S3Request<DeleteBucketLifecycleInput>,
) -> Answer<DeleteBucketLifecycleOutput> {
    let call = Call::of(&request)?;
    set(operations, &call, Lifecycle::default()).await?;
    Ok(S3Response::new(DeleteBucketLifecycleOutput::default()))
}

async fn set(operations: &Operations, call: &Call, lifecycle: Lifecycle) -> Result<(), Failure> {
    change_extras(operations, call, |extras| extras.lifecycle.clone_from(&lifecycle)).await?;
    operations.shadow.lifecycle_changed();
    Ok(())
}

fn minimum(small_objects_move: bool) -> TransitionDefaultMinimumObjectSize {
    TransitionDefaultMinimumObjectSize::from_static(if small_objects_move { BY_CLASS } else { ALL_CLASSES })
}

//! PutBucketNotificationConfiguration, GetBucketNotificationConfiguration.

use std::collections::HashSet;

use s3s::{
    S3ErrorCode, S3Request, S3Response, dto,
    dto::{
        GetBucketNotificationConfigurationInput, GetBucketNotificationConfigurationOutput, PutBucketNotificationConfigurationInput,
        PutBucketNotificationConfigurationOutput,
    },
};
use umbra_core::{Error, ErrorKind, Fault, limits};
use umbra_store::{EventHook, EventHookKind, EventKind, event::TestEvent};

use super::{Operations, settings::change_extras};
use crate::{
    call::Call,
    error::{Answer, Failure},
};

/// Configurations of one bucket.
const HOOKS_MAX: usize = 100;
/// Characters of a configuration's name.
const ID_CHARACTERS_MAX: usize = 255;
/// Kinds of changes that S3 tells of and that do not happen here.
const NEVER: [&str; 11] = [
    "s3:ReducedRedundancyLostObject",
    "s3:ObjectRestore:*",
    "s3:ObjectRestore:Post",
    "s3:ObjectRestore:Completed",
    "s3:ObjectRestore:Delete",
    "s3:Replication:*",
    "s3:Replication:OperationFailedReplication",
    "s3:Replication:OperationNotTracked",
    "s3:Replication:OperationMissedThreshold",
    "s3:Replication:OperationReplicatedAfterThreshold",
    "s3:IntelligentTiering",
];
/// Kinds that S3 tells of and this server does not.
const UNTOLD: [&str; 5] =
    ["s3:LifecycleTransition", "s3:ObjectAcl:Put", "s3:ObjectTagging:*", "s3:ObjectTagging:Put", "s3:ObjectTagging:Delete"];

/// Sets who is told of what.
pub(super) async fn put_bucket_notification_configuration(
    operations: &Operations,
    request: S3Request<PutBucketNotificationConfigurationInput>,
) -> Answer<PutBucketNotificationConfigurationOutput> {
    let call = Call::of(&request)?;
    let hooks = taken(operations, request.input.notification_configuration)?;
    change_extras(operations, &call, |extras| extras.event_hooks.clone_from(&hooks)).await?;
    let (bell, bucket) = (operations.shadow.event_bell(), &call.bucket()?.name);
    // Functions are not tested, as at S3.
    if request.input.skip_destination_validation != Some(true) {
        let test = TestEvent { at: operations.judge.clock.now(), request: call.cx.request_id.clone() };
        let tested = hooks.iter().filter(|hook| hook.kind != EventHookKind::Function);
        tested.for_each(|hook| bell.add_test(bucket, &hook.id, test.clone()));
    }
    bell.ring(bucket);
    Ok(S3Response::new(PutBucketNotificationConfigurationOutput::default()))
}

/// Shows who is told of what.
pub(super) async fn get_bucket_notification_configuration(
    _operations: &Operations,
    request: S3Request<GetBucketNotificationConfigurationInput>,
) -> Answer<GetBucketNotificationConfigurationOutput> {
    let call = Call::of(&request)?;
    let mut output = GetBucketNotificationConfigurationOutput::default();
    for hook in call.bucket()?.settings.extras.event_hooks.iter().cloned() {
        let filter = shown_filter(&hook);
        let EventHook { id, kind, arn, events, .. } = hook;
        let (id, events) = (Some(id), events.into_iter().map(Into::into).collect());
        match kind {
            EventHookKind::Topic => {
                let shown = dto::TopicConfiguration { events, filter, id, topic_arn: arn };
                output.topic_configurations.get_or_insert_default().push(shown);
            }
            EventHookKind::Queue => {
                let shown = dto::QueueConfiguration { events, filter, id, queue_arn: arn };
                output.queue_configurations.get_or_insert_default().push(shown);
            }
            EventHookKind::Function => {
                let shown = dto::LambdaFunctionConfiguration { events, filter, id, lambda_function_arn: arn };
                output.lambda_function_configurations.get_or_insert_default().push(shown);
            }
        }
    }
    Ok(S3Response::new(output))
}

fn shown_filter(hook: &EventHook) -> Option<dto::NotificationConfigurationFilter> {
    let rule = |name: &'static str, value: &Option<String>| {
        value.clone().map(|value| dto::FilterRule { name: Some(dto::FilterRuleName::from_static(name)), value: Some(value) })
    };
    let rules: Vec<_> = rule("Prefix", &hook.prefix).into_iter().chain(rule("Suffix", &hook.suffix)).collect();
    (!rules.is_empty()).then_some(dto::NotificationConfigurationFilter { key: Some(dto::S3KeyFilter { filter_rules: Some(rules) }) })
}

fn taken(operations: &Operations, configuration: dto::NotificationConfiguration) -> Result<Vec<EventHook>, Failure> {
    let dto::NotificationConfiguration {
        event_bridge_configuration,
        lambda_function_configurations: functions,
        queue_configurations: queues,
        topic_configurations: topics,
    } = configuration;
    if event_bridge_configuration.is_some() {
        return Err(Error::new(ErrorKind::Unsupported, "there is no EventBridge here; name a web hook").into());
    }
    let topics =
        topics.unwrap_or_default().into_iter().map(|hook| (EventHookKind::Topic, hook.topic_arn, hook.id, hook.events, hook.filter));
    let queues =
        queues.unwrap_or_default().into_iter().map(|hook| (EventHookKind::Queue, hook.queue_arn, hook.id, hook.events, hook.filter));
    let functions = functions
        .unwrap_or_default()
        .into_iter()
        .map(|hook| (EventHookKind::Function, hook.lambda_function_arn, hook.id, hook.events, hook.filter));
    let mut hooks: Vec<EventHook> = Vec::new();
    for (kind, arn, id, events, filter) in topics.chain(queues).chain(functions) {
        if operations.settings.web_hooks.url(&arn).is_none() {
            let message = format!("Unable to validate the following destination configurations: {arn:?} names no web hook of this server");
            return Err(argument(&message));
        }
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| free_name(&hooks));
        let events = events.into_iter().map(String::from).collect();
        let (prefix, suffix) = filter.map(taken_filter).transpose()?.unwrap_or_default();
        hooks.push(EventHook { id, kind, arn, events, prefix, suffix });
    }
    check(&hooks)?;
    Ok(hooks)
}

/// A name for a configuration that came without one.
fn free_name(hooks: &[EventHook]) -> String {
    (1..).map(|number| format!("hook-{number}")).find(|name| hooks.iter().all(|hook| hook.id != *name)).unwrap_or_default()
}

fn taken_filter(filter: dto::NotificationConfigurationFilter) -> Result<(Option<String>, Option<String>), Failure> {
    let (mut prefix, mut suffix) = (None, None);
    for rule in filter.key.and_then(|key| key.filter_rules).unwrap_or_default() {
        let (name, value) = (rule.name.ok_or(S3ErrorCode::MalformedXML)?, rule.value.unwrap_or_default());
        let place = match name.as_str().to_ascii_lowercase().as_str() {
            "prefix" => &mut prefix,
            "suffix" => &mut suffix,
            _ => return Err(argument("filter rule name must be either prefix or suffix")),
        };
        if value.len() > limits::KEY_BYTES_MAX {
            return Err(argument("the value of a filter rule has at most 1024 bytes"));
        }
        if place.replace(value).is_some() {
            return Err(argument("Cannot specify more than one prefix rule, or more than one suffix rule, in a filter."));
        }
    }
    Ok((prefix, suffix))
}

fn check(hooks: &[EventHook]) -> Result<(), Failure> {
    if hooks.len() > HOOKS_MAX {
        return Err(argument("a bucket has at most 100 notification configurations"));
    }
    let mut ids = HashSet::new();
    for hook in hooks {
        if hook.id.chars().count() > ID_CHARACTERS_MAX || !ids.insert(&hook.id) {
            return Err(argument("the names of notification configurations are unique and have at most 255 characters"));
        }
        if hook.events.is_empty() {
            return Err(S3ErrorCode::MalformedXML.into());
        }
        for event in &hook.events {
            if UNTOLD.contains(&event.as_str()) {
                return Err(Error::new(ErrorKind::Unsupported, format!("changes of the kind {event:?} are not told")).into());
            }
            if !NEVER.contains(&event.as_str()) && !EventKind::ALL.iter().any(|kind| kind.is_named_by(event)) {
                return Err(argument("A specified event is not supported for notifications."));
            }
        }
    }
    let mut pairs = hooks.iter().enumerate().flat_map(|(at, one)| hooks[at + 1..].iter().map(move |other| (one, other)));
    if pairs.any(|(one, other)| overlap(one, other)) {
        return Err(argument("Configurations overlap. Configurations on the same bucket cannot share a common event type."));
    }
    Ok(())
}

/// Whether both could be told of one and the same change.
fn overlap(one: &EventHook, other: &EventHook) -> bool {
    let told = |hook: &EventHook, kind: &EventKind| hook.events.iter().any(|event| kind.is_named_by(event));
    let (one_prefix, other_prefix) = (one.prefix.as_deref().unwrap_or_default(), other.prefix.as_deref().unwrap_or_default());
    let (one_suffix, other_suffix) = (one.suffix.as_deref().unwrap_or_default(), other.suffix.as_deref().unwrap_or_default());
    EventKind::ALL.iter().any(|kind| told(one, kind) && told(other, kind))
        && (one_prefix.starts_with(other_prefix) || other_prefix.starts_with(one_prefix))
        && (one_suffix.ends_with(other_suffix) || other_suffix.ends_with(one_suffix))
}

fn argument(message: &str) -> Failure {
    Error::invalid(Fault::InvalidArgument, message).into()
}

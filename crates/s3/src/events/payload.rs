//! Events as they are posted.

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use umbra_core::Timestamp;
use umbra_store::{Bucket, Event, event::TestEvent};

use crate::convert::encoding;

/// Events as S3 writes them. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>
pub(super) fn of_s3(bucket: &Bucket, region: &str, id: &str, events: &[Event]) -> Value {
    let record = |event: &Event| {
        let mut object = json!({ "key": encoding::encode(event.key.as_str()), "sequencer": event.sequencer() });
        if let Some(size) = event.size {
            object["size"] = size.into();
        }
        if let Some(etag) = &event.etag {
            object["eTag"] = etag.as_str().into();
        }
        if let Some(version) = &event.version {
            object["versionId"] = version.as_str().into();
        }
        json!({
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": region,
            "eventTime": shown(event.at),
            "eventName": event.kind.name(),
            "userIdentity": { "principalId": bucket.organization },
            "requestParameters": {},
            "responseElements": {},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": id,
                "bucket": {
                    "name": bucket.name.as_str(),
                    "ownerIdentity": { "principalId": bucket.organization },
                    "arn": format!("arn:aws:s3:::{}", bucket.name),
                },
                "object": object,
            },
        })
    };
    json!({ "Records": events.iter().map(record).collect::<Vec<_>>() })
}

/// What a receiver is sent once it is set. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>
pub(super) fn of_test(bucket: &Bucket, host: &str, test: &TestEvent) -> Value {
    json!({
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": shown(test.at),
        "Bucket": bucket.name.as_str(),
        "RequestId": test.request,
        "HostId": host,
    })
}

/// Events as Tigris writes them. <https://www.tigrisdata.com/docs/buckets/object-notifications/>
pub(super) fn of_tigris(bucket: &Bucket, events: &[Event]) -> Value {
    let event = |event: &Event| {
        let mut object = json!({ "key": event.key.as_str() });
        if let Some(size) = event.size {
            object["size"] = size.into();
        }
        if let Some(etag) = &event.etag {
            object["eTag"] = etag.as_str().into();
        }
        json!({
            "eventVersion": "1",
            "eventSource": "tigris",
            "eventName": if event.kind.is_creation() { "OBJECT_CREATED_PUT" } else { "OBJECT_DELETED" },
            "eventTime": shown(event.at),
            "bucket": bucket.name.as_str(),
            "object": object,
        })
    };
    json!({ "events": events.iter().map(event).collect::<Vec<_>>() })
}

fn shown(at: Timestamp) -> String {
    let nanos = i128::from(at.as_millis()) * 1_000_000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(&Rfc3339).unwrap_or_default()
}

//! What clients are told of how objects and uploads will end: `x-amz-expiration`, `x-amz-abort-date`.
//!
//! It is told in days of the calendar, however short the days are that the worker counts in.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto;
use umbra_core::{ObjectInfo, ObjectKey, ReadSource, Tags, UploadId};
use umbra_store::{Bucket, GetOptions, LifecycleDay, PutObject, lifecycle::Aging, upload_initiated};

use crate::{call::Call, convert::time, operations::Operations};

/// What stands in a rule's name as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// When the object that `info` describes will end, for a bucket that has rules. What lives only at the origin is left to it.
///
/// Nothing fails for it: what cannot be told is left out.
pub(crate) async fn of_object(operations: &Operations, call: &Call, key: &ObjectKey, info: &ObjectInfo) -> Option<String> {
    let bucket = call.bucket().ok()?;
    let rules = &bucket.settings.extras.lifecycle;
    if !rules.is_active() || info.source == ReadSource::Origin {
        return None;
    }
    let seen = Aging { key: key.as_str(), size: info.size, since: info.last_modified, tags: None };
    let tags = match &info.tags {
        Some(tags) => Cow::Borrowed(tags),
        None if rules.asks_for_tags(&seen) && info.tag_count > 0 => {
            Cow::Owned(operations.objects.tags(&call.cx, bucket, key, Some(info.version)).await.ok()?.0)
        }
        None => Cow::Owned(Tags::default()),
    };
    told(bucket, &Aging { tags: Some(&tags), ..seen })
}

/// When an object will end that was just written with `tags`.
pub(crate) fn of_new_object(call: &Call, key: &ObjectKey, stored: &PutObject, tags: &Tags) -> Option<String> {
    told(call.bucket().ok()?, &Aging { key: key.as_str(), size: stored.size, since: stored.last_modified, tags: Some(tags) })
}

/// When the object will end that `key` holds now: for writes that do not know its tags.
pub(crate) async fn of_written(operations: &Operations, call: &Call, key: &ObjectKey) -> Option<String> {
    let bucket = call.bucket().ok().filter(|bucket| bucket.settings.extras.lifecycle.is_active())?;
    let info = operations.objects.head(&call.cx, bucket, key, GetOptions { is_of_record: true, ..GetOptions::default() }).await.ok()?;
    of_object(operations, call, key, &info).await
}

/// When an upload will be aborted, and by which rule.
pub(crate) fn of_upload(bucket: &Bucket, key: &ObjectKey, upload: &UploadId) -> (Option<dto::Timestamp>, Option<String>) {
    let rules = &bucket.settings.extras.lifecycle;
    let ends = upload_initiated(upload).and_then(|initiated| rules.upload_expiry(key.as_str(), initiated, LifecycleDay::Calendar));
    ends.map(|(at, rule)| (time::shown(at), encoded(&rule.id))).unzip()
}

fn told(bucket: &Bucket, object: &Aging<'_>) -> Option<String> {
    let (at, rule) = bucket.settings.extras.lifecycle.expiry(object, LifecycleDay::Calendar)?;
    let mut date = Vec::new();
    time::shown(at).format(dto::TimestampFormat::HttpDate, &mut date).ok()?;
    let date = String::from_utf8(date).ok()?;
    Some(format!("expiry-date=\"{date}\", rule-id=\"{}\"", encoded(&rule.id)))
}

fn encoded(id: &str) -> String {
    utf8_percent_encode(id, UNRESERVED).to_string()
}

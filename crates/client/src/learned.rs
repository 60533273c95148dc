//! What a service teaches us about itself: its clock, its region, how it wants the bucket named, which listing it knows.
//!
//! Learned from answers, adopted for the requests that follow, and forgotten with the client. Nothing learned leads to another host than the
//! endpoint's own: at most the bucket's name moves between its path and its host name.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};

use parking_lot::RwLock;
use umbra_core::Timestamp;

use crate::{Error, endpoint::is_region};

/// Clocks may differ by so much before S3 refuses a signature: 15 minutes. A difference well below is no reason for a refusal.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>, `RequestTimeTooSkewed`
const SKEW_MIN_MS: i64 = 5 * 60 * 1000;
/// How an engine says that it wants the bucket in the other place. Amazon's own codes first, then those of Alibaba and Tencent.
const ELSEWHERE: [&str; 7] = [
    "NoSuchBucket",
    "InvalidBucketName",
    "MethodNotAllowed",
    "InvalidURI",
    "SecondLevelDomainForbidden",
    "PathStyleDomainForbidden",
    "VirtualHostStyleForbidden",
];

/// Which listing a service knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListVersion {
    /// ListObjects.
    V1,
    /// ListObjectsV2.
    V2,
}

/// What was learned of one bucket's service.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    region: RwLock<Option<String>>,
    server: RwLock<Option<String>>,
    clock_ahead_ms: AtomicI64,
    /// Whether the bucket's name goes to the other place than the endpoint's addressing puts it.
    is_elsewhere: AtomicBool,
    /// Whether an answer has shown that the bucket is where its name was put.
    is_settled: AtomicBool,
    /// 0 while it is not known.
    list_version: AtomicU8,
}

/// What a repetition does differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lesson {
    /// The signature is dated by the service's clock.
    Clock,
    /// The signature is made for another region.
    Region,
    /// The bucket's name goes to the other place.
    Addressing,
}

impl Learned {
    /// The region to sign for, where the service named another than the endpoint's.
    pub(crate) fn region(&self) -> Option<String> {
        self.region.read().clone()
    }

    /// What the service calls itself in its `Server` header.
    pub(crate) fn server(&self) -> Option<String> {
        self.server.read().clone()
    }

    /// How far the service's clock is ahead of ours, in milliseconds; 0 unless the service minds.
    pub(crate) fn clock_ahead_ms(&self) -> i64 {
        self.clock_ahead_ms.load(Ordering::Relaxed)
    }

    /// Our time as the service has it.
    pub(crate) fn service_time(&self, ours: Timestamp) -> Timestamp {
        Timestamp::from_millis(ours.as_millis().saturating_add(self.clock_ahead_ms()))
    }

    /// Whether the bucket's name goes to the other place than the endpoint's addressing puts it.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.is_elsewhere.load(Ordering::Relaxed)
    }

    /// Puts the bucket's name in the other place, or back.
    pub(crate) fn move_bucket(&self, elsewhere: bool) {
        self.is_elsewhere.store(elsewhere, Ordering::Relaxed);
    }

    /// Which listing the service knows, where that has been seen.
    pub(crate) fn list_version(&self) -> Option<ListVersion> {
        match self.list_version.load(Ordering::Relaxed) {
            1 => Some(ListVersion::V1),
            2 => Some(ListVersion::V2),
            _ => None,
        }
    }

    /// Remembers which listing the service knows.
    pub(crate) fn learn_list_version(&self, version: ListVersion) {
        self.list_version.store(if version == ListVersion::V1 { 1 } else { 2 }, Ordering::Relaxed);
    }

    /// Notes a success: the bucket is where it was looked for.
    pub(crate) fn settle(&self, server: Option<&str>) {
        self.is_settled.store(true, Ordering::Relaxed);
        if server.is_some_and(|server| self.server.read().as_deref() != Some(server)) {
            *self.server.write() = server.map(str::to_owned);
        }
    }

    /// What to do differently after `error`, if the service has said what was wrong with the request; adopted at once.
    ///
    /// `signed_for` is the region the failed request was signed for, `ours` our own time, and `in_host` where the bucket's name was put, if it has
    /// another place.
    pub(crate) fn lesson(&self, error: &Error, signed_for: &str, ours: Timestamp, in_host: Option<bool>) -> Option<Lesson> {
        if let Some(told) = error.s3() {
            // The answer to a HEAD cannot name its reason; a date that is far off is reason enough to try once more.
            let may_be_skew = told.code == "RequestTimeTooSkewed" || (told.status == 403 && told.message.is_none());
            if let Some(date) = told.date.filter(|_| may_be_skew) {
                let ahead = date.as_millis().saturating_sub(ours.as_millis());
                if ahead.saturating_sub(self.clock_ahead_ms()).saturating_abs() >= SKEW_MIN_MS {
                    self.clock_ahead_ms.store(ahead, Ordering::Relaxed);
                    return Some(Lesson::Clock);
                }
            }
            let is_about_region = matches!(told.status, 301 | 307 | 400) || told.code == "AuthorizationHeaderMalformed";
            if let Some(region) = told.region.as_deref().filter(|region| is_about_region && *region != signed_for && is_region(region)) {
                *self.region.write() = Some(region.to_owned());
                return Some(Lesson::Region);
            }
        }
        let may_move = !self.is_settled.load(Ordering::Relaxed) && !self.is_elsewhere();
        in_host.is_some_and(|in_host| may_move && suggests_elsewhere(error, in_host)).then(|| {
            self.move_bucket(true);
            Lesson::Addressing
        })
    }
}

/// Whether an error may be due to the bucket's name being in the wrong place.
fn suggests_elsewhere(error: &Error, in_host: bool) -> bool {
    match error {
        // The host name with the bucket in front may not exist, or its certificate not cover it.
        Error::Connect(_) => in_host,
        Error::S3(told) => {
            let is_silent = told.code.is_empty() && matches!(told.status, 400 | 403 | 404 | 405);
            is_silent || ELSEWHERE.contains(&told.code.as_str())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use umbra_core::Timestamp;

    use super::{Learned, Lesson};
    use crate::{Error, S3Error};

    fn told(status: u16, code: &str) -> S3Error {
        S3Error {
            status,
            code: code.to_owned(),
            message: Some("so it is".to_owned()),
            request_id: None,
            region: None,
            endpoint: None,
            retry_after: None,
            date: None,
        }
    }

    #[test]
    fn each_lesson_is_taken_once() {
        let learned = Learned::default();
        let now = Timestamp::from_millis(1_000_000_000_000);
        let late = Timestamp::from_millis(now.as_millis() + 3_600_000);
        let skewed = Error::from(S3Error { date: Some(late), ..told(403, "RequestTimeTooSkewed") });
        assert_eq!(learned.lesson(&skewed, "r", now, None), Some(Lesson::Clock));
        assert_eq!(learned.service_time(now), late);
        assert_eq!(learned.lesson(&skewed, "r", now, None), None, "the offset is in use");
        let other = Error::from(S3Error { region: Some("eu-west-1".into()), ..told(400, "AuthorizationHeaderMalformed") });
        assert_eq!(learned.lesson(&other, "us-east-1", now, None), Some(Lesson::Region));
        assert_eq!(learned.lesson(&other, "eu-west-1", now, None), None);
        let missing = Error::from(told(404, "NoSuchBucket"));
        assert_eq!(learned.lesson(&missing, "r", now, None), None, "there is no other place");
        assert_eq!(learned.lesson(&missing, "r", now, Some(false)), Some(Lesson::Addressing));
        assert_eq!(learned.lesson(&missing, "r", now, Some(true)), None);
    }

    #[test]
    fn what_is_settled_or_unsound_teaches_nothing() {
        let learned = Learned::default();
        let now = Timestamp::from_millis(1_000_000_000_000);
        let near = Timestamp::from_millis(now.as_millis() + 60_000);
        let denied = Error::from(S3Error { date: Some(near), ..told(403, "AccessDenied") });
        assert_eq!(learned.lesson(&denied, "r", now, Some(false)), None);
        let hostile = Error::from(S3Error { region: Some("eu/../west\r\n".into()), ..told(301, "PermanentRedirect") });
        assert_eq!(learned.lesson(&hostile, "r", now, Some(false)), None);
        learned.settle(Some("Elsewhere"));
        assert_eq!(learned.lesson(&Error::from(told(404, "NoSuchBucket")), "r", now, Some(false)), None);
        assert_eq!(learned.server().as_deref(), Some("Elsewhere"));
    }
}

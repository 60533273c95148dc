//! The keys of logs.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerLogs.html#server-log-keyname-format>

use time::{OffsetDateTime, Time, format_description::BorrowedFormatItem, macros::format_description};
use umbra_core::{Random, Timestamp};
use umbra_store::{Bucket, LogKeys, Logging};

const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]/[month]/[day]/");
const MOMENT: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]-[hour]-[minute]-[second]-");

/// The key of a log of requests to `source`, the first of which came at `event`, that is delivered at `delivery`.
pub(super) fn key(logging: &Logging, source: &Bucket, region: &str, event: Timestamp, delivery: Timestamp, random: &dyn Random) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(if logging.keys == LogKeys::ByEventTime { event } else { delivery }.as_secs());
    let mut moment = moment.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    if logging.keys == LogKeys::ByEventTime {
        moment = moment.replace_time(Time::MIDNIGHT);
    }
    let shown = |format| moment.format(format).expect("every part of the format is one of a date");
    let place = match logging.keys {
        LogKeys::Simple => String::new(),
        LogKeys::ByEventTime | LogKeys::ByDeliveryTime => format!("{}/{region}/{}/{}", source.organization, source.name, shown(DAY)),
    };
    let unique = hex::encode_upper(random.array::<8>());
    format!("{}{place}{}{unique}", logging.prefix, shown(MOMENT))
}

/// The day of `at`, where each day has logs of its own.
pub(super) fn day(logging: &Logging, at: Timestamp) -> Option<i64> {
    (logging.keys == LogKeys::ByEventTime).then(|| at.as_secs().div_euclid(24 * 60 * 60))
}

#[cfg(test)]
mod tests {
    use umbra_core::{SeededRandom, Timestamp};
    use umbra_store::{LogKeys, Logging};

    use super::{day, key};
    use crate::access_log::tests::source;

    #[test]
    fn keys_are_as_s3_documents_them() {
        let (event, delivery) = (Timestamp::from_millis(1_549_411_238_999), Timestamp::from_millis(1_549_497_600_000));
        let cases = [
            (LogKeys::Simple, "p/2019-02-07-00-00-00-"),
            (LogKeys::ByDeliveryTime, "p/acme/auto/photos/2019/02/07/2019-02-07-00-00-00-"),
            (LogKeys::ByEventTime, "p/acme/auto/photos/2019/02/06/2019-02-06-00-00-00-"),
        ];
        for (keys, expected) in cases {
            let logging = Logging { bucket: "logs".to_owned(), prefix: "p/".to_owned(), keys, grants: vec![] };
            let made = key(&logging, &source(logging.clone()), "auto", event, delivery, &SeededRandom::new(1));
            let unique = made.strip_prefix(expected).unwrap_or_else(|| panic!("{made}"));
            assert!(unique.len() == 16 && unique.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
            assert_eq!(day(&logging, event), (keys == LogKeys::ByEventTime).then_some(17933));
        }
    }
}

//! Points in time.

use http::HeaderValue;
use s3s::dto;
use time::OffsetDateTime;
use umbra_core::Timestamp;

/// `at` for s3s, which writes it in milliseconds into documents and in whole seconds into headers.
///
/// The milliseconds matter: clients that synchronize directories compare them with those of files.
pub(crate) fn shown(at: Timestamp) -> dto::Timestamp {
    let nanos = i128::from(at.as_millis()) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH).into()
}

/// `at` as a header.
pub(crate) fn header(at: Timestamp) -> Option<HeaderValue> {
    let mut date = Vec::new();
    shown(at).format(dto::TimestampFormat::HttpDate, &mut date).ok()?;
    HeaderValue::try_from(date).ok()
}

/// Takes a time a client sends.
pub(crate) fn taken(at: &dto::Timestamp) -> Timestamp {
    let at = OffsetDateTime::from(at.clone());
    Timestamp::from_millis(at.unix_timestamp().saturating_mul(1000).saturating_add(i64::from(at.millisecond())))
}

#[cfg(test)]
mod tests {
    use umbra_core::Timestamp;

    use super::{shown, taken};

    #[test]
    fn times_survive() {
        for (millis, expected) in [(0, 0), (1_234_567_890_123, 1_234_567_890_123), (-500, -500)] {
            assert_eq!(taken(&shown(Timestamp::from_millis(millis))), Timestamp::from_millis(expected));
        }
        assert_eq!(taken(&shown(Timestamp::from_millis(i64::MAX))), Timestamp::from_millis(0));
    }
}

//! How long a day is.

use std::time::Duration;

use umbra_core::Timestamp;

/// A day of the calendar, in milliseconds.
const DAY_MS: i64 = 86_400_000;

/// How long a day of a lifecycle rule is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LifecycleDay {
    /// A day of the calendar. What falls due does so at the midnight UTC behind it.
    #[default]
    Calendar,
    /// A shorter one, for tests. Nothing is rounded.
    Short(Duration),
}

impl LifecycleDay {
    /// A day of so many seconds.
    pub fn of_secs(secs: u64) -> Self {
        if secs.saturating_mul(1000) == DAY_MS.unsigned_abs() { Self::Calendar } else { Self::Short(Duration::from_secs(secs)) }
    }

    /// When what began `from` is `days` old.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html#intro-lifecycle-rules-number-of-days>
    pub fn after(self, from: Timestamp, days: u32) -> Timestamp {
        match self {
            Self::Calendar => {
                let exact = from.as_millis().saturating_add(i64::from(days) * DAY_MS);
                Timestamp::from_millis(exact.div_euclid(DAY_MS).saturating_add(1).saturating_mul(DAY_MS))
            }
            Self::Short(length) => from.plus(length.saturating_mul(days)),
        }
    }

    /// When those that wait for something to fall due look again, who looked at `last`.
    pub fn next_look(self, last: Timestamp) -> Timestamp {
        match self {
            Self::Calendar => self.after(last, 0),
            Self::Short(length) => last.plus(length / 4),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use umbra_core::Timestamp;

    use super::{DAY_MS, LifecycleDay};

    #[test]
    fn days_of_the_calendar_end_at_midnight() {
        let at = |days: i64, ms: i64| Timestamp::from_millis(days * DAY_MS + ms);
        let cases = [(at(10, 1), 3, at(14, 0)), (at(10, DAY_MS - 1), 1, at(12, 0)), (at(10, 0), 1, at(12, 0)), (at(10, 5), 0, at(11, 0))];
        for (from, days, expected) in cases {
            assert_eq!(LifecycleDay::of_secs(86_400).after(from, days), expected, "{from:?} {days}");
        }
        assert_eq!(LifecycleDay::Calendar.after(Timestamp::from_millis(i64::MAX), u32::MAX).as_millis(), i64::MAX);
    }

    #[test]
    fn short_days_are_exact() {
        let day = LifecycleDay::of_secs(2);
        assert_eq!(day, LifecycleDay::Short(Duration::from_secs(2)));
        assert_eq!(day.after(Timestamp::from_millis(500), 3).as_millis(), 6500);
        assert_eq!(day.next_look(Timestamp::from_millis(0)).as_millis(), 500);
    }
}

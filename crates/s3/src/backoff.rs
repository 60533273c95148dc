//! How long to wait before something that failed is tried again.

use std::time::Duration;

/// The wait after the first failure.
pub(crate) const FIRST: Duration = Duration::from_millis(500);
/// The longest wait.
const LAST: Duration = Duration::from_secs(300);

/// The wait after so many failures in a row: each is twice the one before, up to the longest.
pub(crate) fn after(failures: u32) -> Duration {
    FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LAST)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{LAST, after};

    #[test]
    fn waits_double_to_the_longest() {
        assert_eq!([1, 2, 4].map(after), [500, 1000, 4000].map(Duration::from_millis));
        assert_eq!([11, 99, u32::MAX].map(after), [LAST; 3]);
    }
}

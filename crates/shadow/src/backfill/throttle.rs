//! How many objects a backfill moves at once: additive increase, multiplicative decrease, and less while users are there. Pure.

use std::time::Duration;

/// The longest rest after the origin pushed back.
const REST_MAX: Duration = Duration::from_secs(30);

/// How much the origin bears, as far as it has shown.
#[derive(Debug)]
pub(super) struct Throttle {
    /// The objects that may be under way at once.
    window: f64,
    /// The rest after the next push back.
    rest: Duration,
    first_rest: Duration,
}

impl Throttle {
    /// Begins with the full width; an origin that cannot bear it says so at once.
    pub(super) fn new(parallel: usize, first_rest: Duration) -> Self {
        Self { window: parallel as f64, rest: first_rest, first_rest }
    }

    /// How many may be under way now, while `users` requests of users are.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a window is small and positive")]
    pub(super) fn width(&self, parallel: usize, users: usize) -> usize {
        let window = (self.window as usize).clamp(1, parallel.max(1));
        (window / (1 + users)).max(1)
    }

    /// An object came: one more at once for every window of them.
    pub(super) fn succeeded(&mut self, parallel: usize) {
        self.window = (self.window + 1.0 / self.window.max(1.0)).min(parallel as f64).max(1.0);
        self.rest = self.first_rest;
    }

    /// The origin pushed back: half as many, after a rest that doubles each time.
    pub(super) fn pushed_back(&mut self) -> Duration {
        self.window = (self.window / 2.0).max(1.0);
        let rest = self.rest;
        self.rest = (self.rest * 2).min(REST_MAX);
        rest
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Throttle;

    #[test]
    fn it_halves_and_grows_by_one() {
        let mut throttle = Throttle::new(16, Duration::from_secs(1));
        assert_eq!(throttle.width(16, 0), 16);
        assert_eq!(throttle.pushed_back(), Duration::from_secs(1));
        assert_eq!(throttle.pushed_back(), Duration::from_secs(2));
        assert_eq!(throttle.width(16, 0), 4);
        for _ in 0..5 {
            throttle.succeeded(16);
        }
        assert_eq!(throttle.width(16, 0), 5, "one more after a window of successes");
        assert_eq!(throttle.pushed_back(), Duration::from_secs(1), "it recovered in between");
        for _ in 0..10 {
            throttle.pushed_back();
        }
        assert_eq!((throttle.width(16, 0), throttle.pushed_back()), (1, Duration::from_secs(30)));
        for _ in 0..1000 {
            throttle.succeeded(16);
        }
        assert_eq!(throttle.width(16, 0), 16);
    }

    #[test]
    fn users_come_first() {
        let throttle = Throttle::new(16, Duration::from_secs(1));
        assert_eq!([0, 1, 3, 15, 1000].map(|users| throttle.width(16, users)), [16, 8, 4, 1, 1]);
        assert_eq!(throttle.width(2, 0), 2, "the width was lowered while it ran");
    }
}

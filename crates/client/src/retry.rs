//! Trying again: the one place that does.
//!
//! Only requests without a body that are safe to repeat come here, and only until an answer's head is there. What a client of ours
//! waits for is bounded by the number of attempts, and what an ailing origin is burdened with by a budget: each repetition takes from
//! it, each success gives a little back.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::time::sleep;
use umbra_core::{Random, SystemRandom};

use crate::{Error, Result};

/// What the budget holds at most.
const BUDGET: u32 = 200;
/// What a repetition costs. A success gives back 1: with the budget spent, at most one request in five is a repetition.
const COST: u32 = 5;
/// The longest pause, also when the origin asks for a longer one: a client of ours is waiting.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// When to try again, and how often.
#[derive(Debug)]
pub(crate) struct RetryPolicy {
    attempts_max: u32,
    delay: Duration,
    budget: AtomicU32,
}

impl RetryPolicy {
    pub(crate) const fn new(attempts_max: u32, delay: Duration) -> Self {
        Self { attempts_max, delay, budget: AtomicU32::new(BUDGET) }
    }

    /// Runs `attempt` until it succeeds, fails for good, or has been tried often enough.
    ///
    /// Of one that `changes` something, the last error does not hide that an earlier attempt may have been applied.
    pub(crate) async fn run<T, F: Future<Output = Result<T>>>(&self, changes: bool, mut attempt: impl FnMut() -> F) -> Result<T> {
        let (mut attempts, mut unknown) = (1, None);
        loop {
            let error = match attempt().await {
                Ok(success) => {
                    self.earn();
                    return Ok(success);
                }
                Err(error) => error,
            };
            if attempts >= self.attempts_max || !error.is_worth_retrying() || !self.spend() {
                return Err(if error.outcome_unknown() { error } else { unknown.unwrap_or(error) });
            }
            let pause = self.pause(attempts, &error);
            tracing::debug!(attempts, ?pause, error = &error as &dyn std::error::Error, "the request to the origin is tried again");
            sleep(pause).await;
            if changes && error.outcome_unknown() {
                unknown = Some(error);
            }
            attempts += 1;
        }
    }

    fn earn(&self) {
        let _ = self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |budget| (budget < BUDGET).then_some(budget + 1));
    }

    fn spend(&self) -> bool {
        self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |budget| budget.checked_sub(COST)).is_ok()
    }

    /// Half of the delay for this attempt, and a random part of the other half.
    fn pause(&self, attempts: u32, error: &Error) -> Duration {
        let asked = error.s3().and_then(|answer| answer.retry_after).unwrap_or_default();
        let full = self.delay.saturating_mul(1 << (attempts - 1).min(16)).max(asked).min(PAUSE_MAX);
        let mut random = [0; 1];
        SystemRandom.fill(&mut random);
        full / 2 + full.mul_f64(f64::from(random[0]) / 510.0)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use super::{BUDGET, COST, RetryPolicy};
    use crate::{Error, Result};

    fn broken() -> Error {
        Error::Broken { sent: true, source: "gone".into() }
    }

    /// How often something is tried that fails `failures` times.
    async fn attempts(policy: &RetryPolicy, failures: u32, error: fn() -> Error) -> (u32, Result<()>) {
        let count = Cell::new(0);
        let outcome = policy
            .run(false, || {
                count.set(count.get() + 1);
                std::future::ready(if count.get() <= failures { Err(error()) } else { Ok(()) })
            })
            .await;
        (count.get(), outcome)
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
        let policy = RetryPolicy::new(3, Duration::from_millis(100));
        assert!(matches!(attempts(&policy, 0, broken).await, (1, Ok(()))));
        assert!(matches!(attempts(&policy, 2, broken).await, (3, Ok(()))));
        assert!(matches!(attempts(&policy, 3, broken).await, (3, Err(Error::Broken { .. }))));
        assert!(matches!(attempts(&policy, 3, || Error::Timeout).await, (1, Err(Error::Timeout))));
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_ends_repetition_and_successes_refill_it() {
        let policy = RetryPolicy::new(2, Duration::from_millis(1));
        for _ in 0..BUDGET / COST {
            assert_eq!(attempts(&policy, 9, broken).await.0, 2);
        }
        assert_eq!(attempts(&policy, 9, broken).await.0, 1, "the budget is spent");
        for _ in 0..COST {
            assert_eq!(attempts(&policy, 0, broken).await.0, 1);
        }
        assert_eq!(attempts(&policy, 9, broken).await.0, 2);
        assert_eq!(attempts(&policy, 9, broken).await.0, 1);
    }

    #[test]
    fn pauses_grow_within_bounds() {
        let policy = RetryPolicy::new(3, Duration::from_millis(100));
        for (attempts, full) in [(1, 100), (2, 200), (3, 400), (9, 2000), (99, 2000)] {
            let pause = policy.pause(attempts, &broken());
            assert!(pause >= Duration::from_millis(full / 2) && pause <= Duration::from_millis(full), "{attempts}: {pause:?}");
        }
    }
}

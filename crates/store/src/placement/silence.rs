//! Regions that swallow what they are asked.
//!
//! A region that refuses costs nobody any time. One that takes a request and never answers would hold up whoever asks it for each content in
//! turn. So an answer is waited for for a limited time. Then work in the background asks that region nothing for a while, and readers ask others
//! first that have copies.

use std::{collections::HashMap, future::Future, io, sync::Arc, time::Duration};

use parking_lot::Mutex;
use umbra_blob::{Error, Result};
use umbra_core::{Clock, Timestamp};

/// How long a region may take for an answer, or for the next bytes of one.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(20);
/// For how long one that did not answer is asked nothing.
const SILENT_FOR: Duration = Duration::from_secs(60);

/// The regions that did not answer, and until when they are asked nothing.
pub(super) struct Silence {
    clock: Arc<dyn Clock>,
    until: Mutex<HashMap<String, Timestamp>>,
}

impl Silence {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, until: Mutex::default() }
    }

    /// What `region` answers to something that is asked in the background, unless it does not for too long, or did not lately.
    pub(super) async fn heard<T>(&self, region: &str, asked: impl Future<Output = Result<T>>) -> Result<T> {
        if self.is_of(region) { Err(silent(region)) } else { self.answered(region, asked).await }
    }

    /// What `region` answers, unless it does not for too long.
    pub(super) async fn answered<T>(&self, region: &str, asked: impl Future<Output = Result<T>>) -> Result<T> {
        let Ok(answer) = tokio::time::timeout(ANSWER_MAX, asked).await else {
            self.note(region);
            return Err(silent(region));
        };
        if answer.is_ok() && self.until.lock().remove(region).is_some() {
            tracing::info!(region, "a region answers again");
        }
        answer
    }

    /// Notes that `region` let somebody wait in vain.
    pub(super) fn note(&self, region: &str) {
        let was_silent = self.is_of(region);
        self.until.lock().insert(region.to_owned(), self.clock.now().plus(SILENT_FOR));
        if !was_silent {
            tracing::warn!(
                region,
                "a region takes requests and does not answer; copies of its contents wait, and others are made and read meanwhile"
            );
        }
    }

    /// Whether `region` did not answer lately.
    pub(super) fn is_of(&self, region: &str) -> bool {
        self.until.lock().get(region).is_some_and(|until| *until > self.clock.now())
    }
}

pub(super) fn silent(region: &str) -> Error {
    Error::Io { doing: "reach a region", source: io::Error::new(io::ErrorKind::TimedOut, format!("{region} does not answer")) }
}

//! How far a request got, and how its body fared: what the outer layer must know to tell one failure from another.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use s3s::{S3Error, S3ErrorCode, StdError};

use crate::{
    error::{SHA256_MISMATCH, custom},
    slow_body::SlowBody,
};

/// How far a request got, once it got anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// Past the access check.
    Admitted = 1,
    /// In an operation.
    Reached = 2,
}

const SLOW: u8 = 1;
const BROKEN: u8 = 2;

/// Shared by the layer, the access check, the operations and the body of one request.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    stage: AtomicU8,
    body: AtomicU8,
}

impl Progress {
    /// Notes that the request got as far as `stage`.
    pub(crate) fn reach(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::Relaxed);
    }

    /// What was wrong with the body, when the request failed between the access check and its operation: s3s gathers bodies there.
    pub(super) fn body_fault(&self) -> Option<S3Error> {
        if self.stage.load(Ordering::Relaxed) != Stage::Admitted as u8 {
            return None;
        }
        Some(match self.body.load(Ordering::Relaxed) {
            SLOW => S3ErrorCode::RequestTimeout.into(),
            BROKEN => S3ErrorCode::IncompleteBody.into(),
            _ => custom(
                SHA256_MISMATCH,
                StatusCode::BAD_REQUEST,
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            ),
        })
    }
}

/// A body that reports its failure.
pub(super) struct ReportingBody<B> {
    body: B,
    progress: Arc<Progress>,
}

impl<B> ReportingBody<B> {
    pub(super) fn new(body: B, progress: Arc<Progress>) -> Self {
        Self { body, progress }
    }
}

impl<B: Body<Data = Bytes, Error = StdError> + Unpin> Body for ReportingBody<B> {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let poll = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = &poll {
            let fault = if error.is::<SlowBody>() { SLOW } else { BROKEN };
            self.progress.body.fetch_max(fault, Ordering::Relaxed);
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::{Progress, Stage};

    #[test]
    fn only_a_failure_between_check_and_operation_is_the_bodys() {
        let progress = Progress::default();
        assert!(progress.body_fault().is_none());
        progress.reach(Stage::Admitted);
        assert_eq!(progress.body_fault().unwrap().code().as_str(), "XAmzContentSHA256Mismatch");
        progress.reach(Stage::Reached);
        progress.reach(Stage::Admitted);
        assert!(progress.body_fault().is_none());
    }
}

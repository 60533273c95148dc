//! How far a request got, and how its body fared: what the outer layer must know to tell one failure from another.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, AtomicU8, Ordering},
};

use http::StatusCode;
use s3s::{S3Error, S3ErrorCode};

use super::Trace;
use crate::error::{SHA256_MISMATCH, custom};

/// How far a request got, once it got anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// Past the access check.
    Admitted = 1,
    /// In an operation.
    Reached = 2,
}

/// What was wrong with a body as it came over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Fault {
    /// It stood still.
    Slow = 1,
    /// It broke off, or was not framed as announced.
    Broken = 2,
    /// It is not what its digest says.
    Digest = 3,
}

/// Shared by the layer, the access check, the operations and the body of one request.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    stage: AtomicU8,
    fault: AtomicU8,
    last: AtomicBool,
    operation: OnceLock<&'static str>,
    /// What its line in the access log is to tell.
    pub(crate) trace: Trace,
}

impl Progress {
    /// Notes that the request got as far as `stage`.
    pub(crate) fn reach(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::Relaxed);
    }

    /// Notes which operation the request turned out to ask for.
    pub(crate) fn begin(&self, operation: &'static str) {
        self.operation.get_or_init(|| operation);
    }

    /// The operation, if the request came as far.
    pub(super) fn operation(&self) -> Option<&'static str> {
        self.operation.get().copied()
    }

    /// Notes what was wrong with the body.
    pub(super) fn fail(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::Relaxed);
    }

    /// Notes that nothing else can follow on this connection: the rest of the body will not be read, or was never asked for.
    pub(super) fn end_connection(&self) {
        self.last.store(true, Ordering::Relaxed);
    }

    /// Whether nothing else can follow on this connection.
    pub(super) fn ends_connection(&self) -> bool {
        self.last.load(Ordering::Relaxed)
    }

    /// What was wrong with the body, when the request failed between the access check and its operation: s3s gathers bodies there.
    pub(super) fn body_fault(&self) -> Option<S3Error> {
        if self.stage.load(Ordering::Relaxed) != Stage::Admitted as u8 {
            return None;
        }
        let fault = self.fault.load(Ordering::Relaxed);
        Some(if fault == Fault::Slow as u8 {
            S3ErrorCode::RequestTimeout.into()
        } else if fault == Fault::Broken as u8 {
            S3ErrorCode::IncompleteBody.into()
        } else if fault == Fault::Digest as u8 {
            S3ErrorCode::BadDigest.into()
        } else {
            // The wire was fine, so it was the hash in the signature that did not fit.
            let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
            custom(SHA256_MISMATCH, StatusCode::BAD_REQUEST, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Progress, Stage};

    #[test]
    fn only_a_failure_between_check_and_operation_is_the_bodys() {
        let progress = Progress::default();
        progress.fail(Fault::Broken);
        assert!(progress.body_fault().is_none());
        progress.reach(Stage::Admitted);
        assert_eq!(progress.body_fault().unwrap().code().as_str(), "IncompleteBody");
        progress.reach(Stage::Reached);
        progress.reach(Stage::Admitted);
        assert!(progress.body_fault().is_none());
    }

    #[test]
    fn faults_have_their_codes() {
        let told = |fault: Option<Fault>| {
            let progress = Progress::default();
            progress.reach(Stage::Admitted);
            if let Some(fault) = fault {
                progress.fail(fault);
            }
            progress.body_fault().unwrap().code().as_str().to_owned()
        };
        assert_eq!(told(None), "XAmzContentSHA256Mismatch");
        assert_eq!(told(Some(Fault::Slow)), "RequestTimeout");
        assert_eq!(told(Some(Fault::Digest)), "BadDigest");
    }
}

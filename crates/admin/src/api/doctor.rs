//! The doctor's report on an origin.

use serde::{Deserialize, Serialize};

/// The answer to `POST /v1/doctor`, whose request is a [`ShadowRequest`](super::ShadowRequest).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorReport {
    /// Whether nothing has failed.
    pub healthy: bool,
    /// What each check found, in the order they were made.
    pub findings: Vec<FindingView>,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingView {
    /// What was checked, in a word or two.
    pub check: String,
    /// `ok`, `warning` or `failed`.
    pub verdict: String,
    /// What that means, in one line.
    pub meaning: String,
    /// What to do about it, where there is something to do.
    pub advice: Option<String>,
}

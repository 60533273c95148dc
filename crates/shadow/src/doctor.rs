//! The doctor: looks at an origin before it is attached, and says in one line each what is well, what is peculiar and what is missing.
//!
//! It asks what serving and moving objects will ask, of the server's own network. Without write-through it only reads, one byte at most of an object;
//! with it, it writes keys of its own and deletes them again.

mod reading;
mod writing;

use std::fmt;

use umbra_client::S3Client;
use umbra_core::{ErrorKind, RequestContext, Result, SealedSecret, ShadowSettings, Timestamp};
use umbra_store::Secret;

use crate::{
    Shadow,
    origin::{Origin, OriginError, ShadowPath},
};

/// The origin to look at.
#[derive(Clone, Debug)]
pub struct Examination {
    /// The origin's endpoint.
    pub endpoint: String,
    /// The region requests are signed for.
    pub region: String,
    /// The origin's bucket.
    pub bucket: String,
    /// The access key at the origin.
    pub access_key: String,
    /// The secret key at the origin.
    pub secret_key: Secret,
    /// Whether writes are to go to the origin too.
    pub write_through: bool,
}

/// How one check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and something is worth knowing.
    Warning,
    /// It does not work like this.
    Failed,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was checked, in a word or two.
    pub check: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What that means.
    pub meaning: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// A visit at an origin: what to look at it with, and what was found so far.
struct Visit<'a> {
    origin: &'a dyn Origin,
    /// For a closer look, where the origin speaks S3.
    client: Option<S3Client>,
    path: ShadowPath,
    settings: &'a ShadowSettings,
    now: Timestamp,
    /// Makes the keys written here differ from those of others.
    nonce: String,
    findings: Vec<Finding>,
}

impl Visit<'_> {
    fn note(&mut self, check: &'static str, verdict: Verdict, meaning: impl Into<String>, advice: &str) {
        let advice = (!advice.is_empty()).then(|| advice.to_owned());
        self.findings.push(Finding { check, verdict, meaning: meaning.into(), advice });
    }

    fn ok(&mut self, check: &'static str, meaning: impl Into<String>) {
        self.note(check, Verdict::Ok, meaning, "");
    }

    fn warn(&mut self, check: &'static str, meaning: impl Into<String>, advice: &str) {
        self.note(check, Verdict::Warning, meaning, advice);
    }

    fn fail(&mut self, check: &'static str, meaning: impl Into<String>, advice: &str) {
        self.note(check, Verdict::Failed, meaning, advice);
    }
}

impl Shadow {
    /// Looks at an origin that is not attached.
    pub async fn examine(&self, cx: &RequestContext, examination: &Examination) -> Result<Vec<Finding>> {
        let settings = ShadowSettings {
            endpoint: examination.endpoint.clone(),
            region: examination.region.clone(),
            bucket: examination.bucket.clone(),
            access_key: examination.access_key.clone(),
            // It is used as it is and kept nowhere.
            secret_key: SealedSecret(Vec::new()),
            write_through: examination.write_through,
        };
        let (origin, client) = match self.0.origins.examined(&settings, &examination.secret_key) {
            Ok(made) => made,
            Err(error) if error.kind() == ErrorKind::Internal => return Err(error),
            Err(error) => {
                let meaning = error.message().to_owned();
                return Ok(vec![Finding { check: "endpoint", verdict: Verdict::Failed, meaning, advice: None }]);
            }
        };
        let mut path = cx.shadow_path.clone();
        path.push(format!("{}/doctor", self.0.catalog.store_id()));
        let nonce = hex::encode(self.native().random().array::<8>());
        let (path, now) = (ShadowPath(path), self.0.clock.now());
        let mut visit = Visit { origin: &*origin, client, path, settings: &settings, now, nonce, findings: Vec::new() };
        if visit.reach().await && visit.list().await {
            let written = if settings.write_through { visit.write().await } else { None };
            visit.read(written.clone()).await;
            if let Some(written) = written {
                visit.clean_up(&written).await;
            }
        }
        Ok(visit.findings)
    }
}

/// An error with what is behind it, in one line.
fn told(error: &OriginError) -> String {
    let text = format!("{:?}", error.error);
    text.split_once(": ").map_or(text.clone(), |(_, rest)| rest.to_owned()).replace('\n', " ")
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        })
    }
}

//! Whether a bucket takes the logs of another.
//!
//! As at S3 its policy must let the service that delivers them put objects, or its ACL must let the group of log delivery write.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use umbra_core::{Grantee, Permission, Result, Timestamp};
use umbra_store::Bucket;

use crate::{
    access::{Judge, is_enforced},
    policy::{Asked, Caller, Facts, Verdict},
};

/// The principal that delivers logs.
const SERVICE: &str = "logging.s3.amazonaws.com";

impl Judge {
    /// Whether `target` takes a log of `source` as `key`, which begins with `prefix`.
    ///
    /// A statement may name the prefix itself as its resource: that is what Ceph documents.
    pub(crate) fn takes_logs(&self, source: &Bucket, target: &Bucket, prefix: &str, key: &str) -> Result<bool> {
        let Some(policy) = self.policies.of(target)? else { return Ok(grants(target)) };
        let facts = Delivery { source, target, region: &self.settings.region, now: self.clock.now() };
        let verdict = |key: &str| {
            let resource = format!("{}/{key}", target.name);
            policy.judge(Asked { action: "s3:PutObject", resource: &resource, caller: Caller::of_service(SERVICE), facts: &facts })
        };
        let verdicts = [verdict(key), verdict(prefix)];
        let is_allowed = verdicts.iter().any(|verdict| matches!(verdict, Verdict::Allowed(_)));
        Ok(!verdicts.contains(&Verdict::Denied) && (is_allowed || grants(target)))
    }
}

/// Whether the ACL of `target` lets logs in.
fn grants(target: &Bucket) -> bool {
    let Some(acl) = target.settings.extras.acl.as_ref().filter(|_| !is_enforced(target)) else { return false };
    [Permission::Write, Permission::ReadAcp].iter().all(|wanted| {
        acl.grants.iter().any(|grant| {
            grant.grantee == Grantee::LogDelivery && (grant.permission == *wanted || grant.permission == Permission::FullControl)
        })
    })
}

/// What a delivery says of itself.
struct Delivery<'a> {
    source: &'a Bucket,
    target: &'a Bucket,
    region: &'a str,
    now: Timestamp,
}

impl Facts for Delivery<'_> {
    fn values(&self, key: &str) -> Vec<String> {
        let now = || OffsetDateTime::from_unix_timestamp(self.now.as_secs()).ok()?.format(&Rfc3339).ok();
        let value = match key {
            "aws:sourceaccount" => Some(self.source.organization.clone()),
            "aws:sourcearn" => Some(format!("arn:aws:s3:::{}", self.source.name)),
            "aws:resourceaccount" | "s3:resourceaccount" => Some(self.target.organization.clone()),
            "aws:principalisawsservice" => Some(true.to_string()),
            "aws:principalservicename" | "aws:principalservicenameslist" => Some(SERVICE.to_owned()),
            // It goes over no network.
            "aws:securetransport" => Some(true.to_string()),
            "aws:requestedregion" => Some(self.region.to_owned()),
            "aws:currenttime" => now(),
            "aws:epochtime" => Some(self.now.as_secs().to_string()),
            _ => None,
        };
        value.into_iter().collect()
    }
}

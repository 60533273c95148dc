//! `p`: where the audit of a bucket's placement has got to, and what the last one found. All of it is in the body.

use std::collections::BTreeMap;

use bytes::Bytes;
use minicbor::{Decode, Encode, bytes::ByteVec};
use umbra_core::{Location, Result, Timestamp};

use crate::placement::{Audit, AuditFindings, FinishedAudit, RegionUse};

const WHAT: &str = "an audit";
const VERSION: u8 = 1;

#[derive(Encode, Decode)]
struct V1 {
    #[n(0)]
    run: Run,
    /// The row it got to.
    #[n(1)]
    after: ByteVec,
    #[n(2)]
    retries: u32,
    #[n(3)]
    settles: bool,
    #[n(4)]
    last: Option<Finished>,
}

#[derive(Encode, Decode)]
struct Run {
    #[n(0)]
    location: String,
    #[n(1)]
    began: i64,
    #[n(2)]
    findings: Findings,
}

#[derive(Encode, Decode)]
struct Finished {
    #[n(0)]
    run: Run,
    #[n(1)]
    ended: i64,
}

#[derive(Encode, Decode)]
struct Findings {
    #[n(0)]
    regions: Vec<Region>,
    #[n(1)]
    missing: u64,
    #[n(2)]
    lost: u64,
    #[n(3)]
    removed: u64,
    #[n(4)]
    moved: u64,
    #[n(5)]
    pending: u64,
    #[n(6)]
    failed: u64,
    /// Left out where there are none.
    #[n(7)]
    gone: Option<u64>,
    #[n(8)]
    failure: Option<String>,
}

#[derive(Encode, Decode)]
struct Region {
    #[n(0)]
    name: String,
    #[n(1)]
    homes: u64,
    #[n(2)]
    home_bytes: u64,
    #[n(3)]
    copies: u64,
    #[n(4)]
    copy_bytes: u64,
}

/// The body of the record of `audit`.
pub(crate) fn encode(audit: &Audit) -> Bytes {
    let last =
        audit.last.as_ref().map(|last| Finished { run: run(&last.location, last.began, &last.findings), ended: last.ended.as_millis() });
    let run = run(&audit.location, audit.began, &audit.findings);
    super::encode(VERSION, &V1 { run, after: audit.after.clone().into(), retries: audit.retries, settles: audit.settles, last })
}

/// The audit that `body` holds.
pub(crate) fn decode(body: &[u8]) -> Result<Audit> {
    match super::split(WHAT, body)? {
        (VERSION, cbor) => {
            let V1 { run, after, retries, settles, last } = super::decode(WHAT, cbor)?;
            let (location, began, findings) = read(run)?;
            let last = last.map(|Finished { run, ended }| {
                let (location, began, findings) = read(run)?;
                Ok::<_, umbra_core::Error>(FinishedAudit { location, began, findings, ended: Timestamp::from_millis(ended) })
            });
            Ok(Audit { location, began, findings, after: after.to_vec(), retries, settles, last: last.transpose()? })
        }
        (version, _) => Err(super::unknown_version(WHAT, version)),
    }
}

fn run(location: &Location, began: Timestamp, findings: &AuditFindings) -> Run {
    let AuditFindings { regions, missing, lost, removed, moved, pending, failed, failure, gone } = findings;
    let region = |(name, used): (&String, &RegionUse)| {
        let RegionUse { homes, home_bytes, copies, copy_bytes } = *used;
        Region { name: name.clone(), homes, home_bytes, copies, copy_bytes }
    };
    let regions = regions.iter().map(region).collect();
    let (missing, lost, removed, moved, pending, failed) = (*missing, *lost, *removed, *moved, *pending, *failed);
    let gone = Some(*gone).filter(|gone| *gone > 0);
    let findings = Findings { regions, missing, lost, removed, moved, pending, failed, gone, failure: failure.clone() };
    Run { location: location.to_string(), began: began.as_millis(), findings }
}

fn read(run: Run) -> Result<(Location, Timestamp, AuditFindings)> {
    let Findings { regions, missing, lost, removed, moved, pending, failed, gone, failure } = run.findings;
    let region = |Region { name, homes, home_bytes, copies, copy_bytes }| (name, RegionUse { homes, home_bytes, copies, copy_bytes });
    let regions: BTreeMap<_, _> = regions.into_iter().map(region).collect();
    let location = Location::parse(&run.location).map_err(|error| super::corrupt(WHAT, error))?;
    let findings = AuditFindings { regions, missing, lost, removed, moved, pending, failed, failure, gone: gone.unwrap_or(0) };
    Ok((location, Timestamp::from_millis(run.began), findings))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use umbra_core::{Location, Timestamp};

    use super::{decode, encode};
    use crate::{
        placement::{Audit, AuditFindings, FinishedAudit, RegionUse},
        record::golden,
    };

    fn audit() -> Audit {
        let used = RegionUse { homes: 1, home_bytes: 2, copies: 3, copy_bytes: 4 };
        let findings = AuditFindings {
            regions: BTreeMap::from([("fra".to_owned(), used)]),
            missing: 5,
            lost: 6,
            removed: 7,
            moved: 8,
            pending: 9,
            failed: 10,
            failure: None,
            gone: 0,
        };
        let (location, began) = (Location::parse("dual:fra,iad").unwrap(), Timestamp::from_millis(1_750_000_000_000));
        let last = FinishedAudit { location: Location::Global, began, findings: findings.clone(), ended: Timestamp::from_millis(11) };
        Audit { location, began, findings, after: b"o/key".to_vec(), retries: 12, settles: true, last: Some(last) }
    }

    #[test]
    fn every_released_format_is_read() {
        assert_eq!(decode(&golden::check("audit/v1", Some(&encode(&audit())))).unwrap(), audit());
        let first = Audit { last: None, ..audit() };
        assert_eq!(decode(&encode(&first)).unwrap(), first);
        let lossy = Audit { findings: AuditFindings { gone: 13, failure: Some("away".to_owned()), ..first.findings.clone() }, ..first };
        assert_eq!(decode(&golden::check("audit/v1-lossy", Some(&encode(&lossy)))).unwrap(), lossy);
    }

    #[test]
    fn damage_is_refused() {
        golden::check_refusals(&encode(&audit()), decode);
    }
}

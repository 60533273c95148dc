//! A verdict on a shadow, from what its origin answered lately.

use umbra_core::Timestamp;

use crate::{detach::counted, stats::OriginFault};

/// Faults older than this do not tell of now, once the origin has answered again.
const RECENT_MS: i64 = 5 * 60 * 1000;

/// How a shadow is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong, as far as is known.
    Ok,
    /// It works, and something needs to be looked at or has still to be done.
    Degraded,
    /// The origin refuses us or cannot be reached now: what is only there cannot be read.
    Failing,
}

impl Verdict {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failing => "failing",
        }
    }
}

/// A verdict, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// How it is doing.
    pub verdict: Verdict,
    /// Why, in one line.
    pub reason: String,
}

/// What the verdict is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signs<'a> {
    pub(crate) now: Timestamp,
    /// When the origin last answered, and how many faults followed.
    pub(crate) latest: (Option<Timestamp>, u64),
    /// The latest faults, the newest last.
    pub(crate) faults: &'a [OriginFault],
    /// Writes that are half done.
    pub(crate) repairs: usize,
}

/// Judges. Nothing is asked of the origin for it: what it answered last speaks for now.
pub(crate) fn judge(signs: Signs<'_>) -> Health {
    let Signs { now, latest: (answered, faults_in_a_row), faults, repairs } = signs;
    let ago = |at: Timestamp| format!("{} s ago", (now.as_millis() - at.as_millis()).max(0) / 1000);
    let told = |fault: &OriginFault| format!("{} failed {}: {}", fault.doing, ago(fault.at), fault.message);
    if let Some(fault) = faults.last().filter(|_| faults_in_a_row > 0) {
        return Health { verdict: Verdict::Failing, reason: format!("the origin does not answer as it should: {}", told(fault)) };
    }
    let recent = faults.iter().rfind(|fault| now.as_millis() - fault.at.as_millis() <= RECENT_MS);
    let mut reasons = Vec::new();
    if repairs > 0 {
        reasons.push(format!("{}, to be repaired", counted(repairs as u64, "write is half done", "writes are half done")));
    }
    if let Some(fault) = recent {
        reasons.push(format!("the origin answers again, but {}", told(fault)));
    }
    if !reasons.is_empty() {
        return Health { verdict: Verdict::Degraded, reason: reasons.join("; ") };
    }
    let reason = match answered {
        Some(at) => format!("the origin answered {}", ago(at)),
        None => "the origin was not asked since the server started".to_owned(),
    };
    Health { verdict: Verdict::Ok, reason }
}

#[cfg(test)]
mod tests {
    use umbra_core::Timestamp;

    use super::{OriginFault, Signs, Verdict, judge};

    #[test]
    fn the_verdict_is_about_now() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let fault = |seconds| OriginFault { at: at(seconds), doing: "read", message: "refused".to_owned() };
        let now = at(10_000);
        for (name, latest, faults, repairs, verdict, says) in [
            ("fresh", (None, 0), vec![], 0, Verdict::Ok, "not asked"),
            ("answering", (Some(at(9_990)), 0), vec![], 0, Verdict::Ok, "answered 10 s ago"),
            ("an old fault", (Some(at(9_990)), 0), vec![fault(9_000)], 0, Verdict::Ok, "answered 10 s ago"),
            (
                "a recent fault",
                (Some(at(9_990)), 0),
                vec![fault(9_000), fault(9_900)],
                0,
                Verdict::Degraded,
                "read failed 100 s ago: refused",
            ),
            ("one repair", (Some(at(9_990)), 0), vec![], 1, Verdict::Degraded, "1 write is half done, to be repaired"),
            ("repairs", (Some(at(9_990)), 0), vec![], 2, Verdict::Degraded, "2 writes"),
            ("failing", (Some(at(9_000)), 1), vec![fault(9_900)], 0, Verdict::Failing, "read failed 100 s ago: refused"),
            ("failing for long", (Some(at(1)), 3), vec![fault(2)], 2, Verdict::Failing, "refused"),
        ] {
            let health = judge(Signs { now, latest, faults: &faults, repairs });
            assert_eq!(health.verdict, verdict, "{name}");
            assert!(health.reason.contains(says), "{name}: {}", health.reason);
        }
    }
}

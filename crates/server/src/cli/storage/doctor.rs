//! `umbra storage doctor`.

use clap::Args;
use umbra_admin::api::DoctorReport;

use super::shadow_flags::{ShadowFlags, Sources};
use crate::cli::{Failure, Outcome, out, target::Target};

/// Looks at an origin before it is attached.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The name of the bucket to be; the old bucket is taken to have the same name unless --shadow-name says otherwise.
    #[arg(short, long)]
    name: Option<String>,

    #[command(flatten)]
    shadow: ShadowFlags,
}

impl Doctor {
    pub(crate) async fn run(self, target: &Target) -> Outcome {
        let needed = || Failure::usage("name the origin: --shadow-endpoint, --shadow-region, --shadow-name and its keys");
        let mut request = self.shadow.for_new(&mut Sources::of_process())?.ok_or_else(needed)?;
        request.name = request.name.or(self.name);
        if request.name.is_none() {
            return Err(needed());
        }
        let report = target.client()?.doctor(&request).await?;
        if target.json {
            out::json(&report)?;
        } else {
            out::text_of(render(&report))?;
        }
        let failed = report.findings.iter().filter(|finding| finding.verdict == "failed").count();
        match (report.healthy, failed) {
            (true, _) => Ok(()),
            (false, 1) => Err(Failure::new("one check failed")),
            (false, _) => Err(Failure::new(format!("{failed} checks failed"))),
        }
    }
}

/// A line for each finding, and one for what to do about it.
fn render(report: &DoctorReport) -> String {
    let width = report.findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    report.findings.iter().fold(String::new(), |mut text, finding| {
        text.push_str(&format!("{:7}  {:width$}  {}", finding.verdict, finding.check, finding.meaning));
        if let Some(advice) = &finding.advice {
            text.push_str(&format!("; {advice}"));
        }
        text.push('\n');
        text
    })
}

#[cfg(test)]
mod tests {
    use umbra_admin::api::{DoctorReport, FindingView};

    #[test]
    fn each_finding_is_one_line() {
        let finding = |check: &str, verdict: &str, advice: Option<&str>| FindingView {
            check: check.into(),
            verdict: verdict.into(),
            meaning: "it is so".into(),
            advice: advice.map(str::to_owned),
        };
        let report = DoctorReport {
            healthy: false,
            findings: vec![finding("reach", "ok", None), finding("absent keys", "failed", Some("do this"))],
        };
        assert_eq!(super::render(&report), "ok       reach        it is so\nfailed   absent keys  it is so; do this\n");
    }
}

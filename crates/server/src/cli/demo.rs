//! `umbra demo`: a migration to look at, without an account anywhere.
//!
//! Two servers run in this process, in a temporary directory: one plays the old provider, the other is Umbra with a bucket in
//! front of it. Everything goes through their real S3 and admin APIs.

mod samples;
mod side;
mod tour;

use clap::Args;
use umbra_admin::api::{SecretText, ShadowRequest};

use super::{Failure, Outcome, out};
use crate::{settings::Settings, shutdown::StopSignals, telemetry};

use side::Side;

/// Shows a migration happening: an old provider, a new bucket in front of it, and what moves when it is used.
///
/// On a terminal both servers then keep running until Ctrl-C, to be tried out; otherwise they end.
#[derive(Debug, Args)]
pub(crate) struct Demo {}

impl Demo {
    pub(crate) async fn run(self) -> Outcome {
        telemetry::start(&Settings { log: "warn".to_owned(), ..Settings::default() })?;
        let mut signals = StopSignals::listen()?;
        let directory = tempfile::tempdir().map_err(|error| Failure::new("make a temporary directory").because(&error))?;
        let shown = async {
            let old = Side::start(directory.path().join("old-provider"), "photos", "them", None).await?;
            samples::fill(&old.bucket).await?;
            let new = Side::start(directory.path().join("umbra"), "photos", "demo", Some(shadow_of(&old))).await?;
            tour::tour(&old, &new).await?;
            Ok::<_, Failure>((old, new))
        };
        let (old, new) = tokio::select! {
            shown = shown => shown?,
            () = signals.received() => return Ok(()),
        };
        if out::is_terminal() {
            out::text_of(invitation(&new))?;
            signals.received().await;
        }
        signals.exit_at_the_next();
        new.server.stop().await;
        old.server.stop().await;
        Ok(())
    }
}

/// What `--shadow-…` would say.
fn shadow_of(old: &Side) -> ShadowRequest {
    ShadowRequest {
        endpoint: Some(old.created.endpoint.clone()),
        region: Some(old.created.region.clone()),
        name: Some(old.created.bucket.name.clone()),
        access_key: Some(old.created.access_key.key.access_key.clone()),
        secret_key: Some(SecretText::new(old.created.access_key.secret_key.expose())),
        ..ShadowRequest::default()
    }
}

/// What to try on the servers that keep running.
fn invitation(new: &Side) -> String {
    let key = &new.created.access_key;
    format!(
        "\nUmbra keeps running until Ctrl-C. In another terminal:\n\n\
         \x20 export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={} AWS_REGION={}\n\
         \x20 aws --endpoint-url {} s3 ls --recursive s3://{}\n\n\
         \x20 export UMBRA_ACCESS_KEY={} UMBRA_SECRET_KEY={}\n\
         \x20 umbra storage status {} --watch --admin {}\n",
        key.key.access_key,
        key.secret_key.expose(),
        new.created.region,
        new.created.endpoint,
        new.created.bucket.name,
        new.server.root_key.access_key,
        new.server.root_key.secret_key.expose(),
        new.created.bucket.name,
        new.server.admin,
    )
}

//! `umbra serve`.

use std::path::PathBuf;

use clap::Args;

use super::{Outcome, out};
use crate::{
    root_key::Origin,
    settings::{Settings, SettingsLayer},
    shutdown::StopSignals,
    telemetry,
    wire::Server,
};

/// Runs the server until SIGTERM or SIGINT.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// A file with the same settings, in TOML. Flags win over the environment, the environment over the file.
    #[arg(long, env = "UMBRA_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    layer: SettingsLayer,
}

impl Serve {
    pub(crate) async fn run(self) -> Outcome {
        let settings = Settings::load(self.layer, self.config.as_deref())?;
        telemetry::start(&settings)?;
        let mut signals = StopSignals::listen()?;
        let server = tokio::select! {
            started = Server::start(&settings) => started?,
            () = signals.received() => return Ok(()),
        };
        server.reload.clone().listen()?;
        out::text_of(greeting(&settings, &server))?;
        signals.received().await;
        tracing::info!("stopping");
        signals.exit_at_the_next();
        server.stop().await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Where everything is, and what to try next.
fn greeting(settings: &Settings, server: &Server) -> String {
    let key = match &server.root_key_origin {
        Origin::Environment => "from UMBRA_ROOT_ACCESS_KEY and UMBRA_ROOT_SECRET_KEY".to_owned(),
        Origin::File(path) => format!("in {}", path.display()),
    };
    let (defaults, dir) = (Settings::default(), settings.data_dir.display());
    let mut flags = String::new();
    if settings.admin_listen != defaults.admin_listen || settings.has_tls() {
        flags.push_str(&format!(" --admin {}", server.admin));
    }
    if settings.data_dir != defaults.data_dir && server.root_key_origin != Origin::Environment {
        flags.push_str(&format!(" --data-dir {dir}"));
    }
    let websites = server.websites.as_ref().map_or_else(String::new, |url| format!("  websites  {url}\n"));
    format!(
        "Umbra is ready.\n\
         \x20 S3        {}\n\
         \x20 admin     {}\n{websites}\
         \x20 root key  {} ({key})\n\
         \n\
         Try next:\n\
         \x20 umbra storage create{flags} --name photos --org my-org\n\
         \x20 umbra storage status{flags} photos\n",
        server.endpoint, server.admin, server.root_key.access_key
    )
}

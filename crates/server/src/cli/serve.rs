//! `umbra serve`.

use std::path::PathBuf;

use clap::Args;

use super::{Outcome, out, table::counted};
use crate::{
    region_blobs,
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
    let nodes = server.among_nodes().map_or_else(String::new, node_line) + &region_line(settings);
    format!(
        "Umbra is ready.\n\
         \x20 S3        {}\n\
         \x20 admin     {}\n{websites}{nodes}\
         \x20 root key  {} ({key})\n\
         \n\
         Try next:\n\
         \x20 umbra storage create{flags} --name photos --org my-org\n\
         \x20 umbra storage status{flags} photos\n",
        server.endpoint, server.admin, server.root_key.access_key
    )
}

/// How this server stands among the nodes of its store.
fn node_line((url, leads, others): (Option<&str>, bool, usize)) -> String {
    let place = url.unwrap_or("reached by no other");
    let role = if leads { "leads" } else { "does not lead" };
    format!("  node      {place}, {role}, {} beside it\n", counted(others as u64, "other", "others"))
}

/// The regions of the store, where there are several, and whether clients are sent to the nearest.
fn region_line(settings: &Settings) -> String {
    let others = region_blobs::parse(settings).unwrap_or_default();
    if others.is_empty() {
        return String::new();
    }
    let names: Vec<_> = others.iter().map(|other| other.name.as_str()).collect();
    let map = settings.region_map.display();
    let sends =
        if settings.region_map.as_os_str().is_empty() { String::new() } else { format!("; clients are sent to the nearest by {map}") };
    format!("  region    {}, beside {}{sends}\n", settings.region, names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::{node_line, region_line};
    use crate::settings::Settings;

    #[test]
    fn a_server_says_how_it_stands_among_others() {
        assert_eq!(node_line((Some("http://10.0.0.1:9003"), true, 0)), "  node      http://10.0.0.1:9003, leads, 0 others beside it\n");
        assert_eq!(node_line((None, false, 1)), "  node      reached by no other, does not lead, 1 other beside it\n");
        assert_eq!(region_line(&Settings::default()), "");
        let two = Settings {
            region: "fra".to_owned(),
            blobs: "s3://b/fra?region=a".to_owned(),
            metadata: "postgres://h/d".to_owned().into(),
            region_blobs: ["iad", "sin"].map(|name| format!("{name}=s3://b/{name}?region=a")).to_vec(),
            ..Settings::default()
        };
        assert_eq!(region_line(&two), "  region    fra, beside iad, sin\n");
        let sent = region_line(&Settings { region_map: "/etc/map".into(), ..two });
        assert_eq!(sent, "  region    fra, beside iad, sin; clients are sent to the nearest by /etc/map\n");
    }
}

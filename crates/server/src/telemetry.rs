//! What is logged, and how it looks: on standard error, because standard output is for what was asked.

use tracing_subscriber::{EnvFilter, filter::ParseError};

use crate::settings::{LogFormat, Settings};

/// s3s logs every refused request as an error of its own, with what the client sent; ours says it once, without. Among what clients send
/// are keys to encrypt with: it stays off whatever the operator says. So does the client of PostgreSQL, which logs each statement with its
/// values, among them content and secrets.
const ALWAYS: &str = "s3s=off,tokio_postgres=info,tokio_postgres::query=info,tokio_postgres::prepare=info";

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("the setting log is not a level, nor targets with levels")]
pub(crate) struct TelemetryError(#[from] ParseError);

/// Starts logging. To be called once.
pub(crate) fn start(settings: &Settings) -> Result<(), TelemetryError> {
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter(&settings.log)?).with_writer(std::io::stderr);
    // Whoever has a subscriber already, as a test may, keeps it.
    let started = match settings.log_format {
        LogFormat::Human => subscriber.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    drop(started);
    Ok(())
}

fn filter(log: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(format!("{log},{ALWAYS}"))
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn levels_and_targets_are_understood() {
        for good in ["info", "off", "warn,umbra_shadow=debug", "s3s=debug"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        assert!(filter("umbra=loudly").is_err());
    }

    #[test]
    fn what_a_database_is_sent_is_not_logged() {
        for asked in ["trace", "info,tokio_postgres=trace", "tokio_postgres::query=debug"] {
            let shown = filter(asked).unwrap().to_string();
            for target in ["tokio_postgres", "tokio_postgres::query"] {
                assert!(shown.contains(&format!("{target}=info")) && !shown.contains(&format!("{target}=d")), "{shown}");
            }
        }
    }

    #[test]
    fn what_clients_send_is_not_logged() {
        for asked in ["info", "trace", "info,s3s=debug"] {
            let shown = filter(asked).unwrap().to_string();
            assert!(shown.contains("s3s=off") && !shown.contains("s3s=debug"), "{shown}");
        }
    }
}

//! Where the database is: the URL, and what it says about TLS.

use std::{fmt, time::Duration};

use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use url::Url;

use super::tls::Tls;
use crate::{Error, Result};

/// How long one attempt to connect to one host may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// After how long a host that no longer answers is given up, on a connection where something is under way or idle.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// A database that can be connected to. Its password is in it, and is never shown.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) config: tokio_postgres::Config,
    pub(super) tls: Option<Tls>,
}

impl Target {
    /// Reads the URL of a standby, which has one host: what is known of one standby is not true of another.
    pub(super) fn parse_standby(text: &str, password: Option<&str>) -> Result<Self> {
        let mut target = Self::parse(text, password)?;
        if target.config.get_hosts().len() > 1 {
            return Err(Error::Unavailable("the URL of the metadata replica names several hosts: name one".to_owned()));
        }
        target.config.target_session_attrs(TargetSessionAttrs::Any);
        Ok(target)
    }

    /// Reads `postgres://USER[:PASSWORD]@HOST[:PORT][,HOST...]/DATABASE[?...]`; `password` wins over the one in it.
    pub(super) fn parse(text: &str, password: Option<&str>) -> Result<Self> {
        // Whatever is wrong with it, the text may hold a password: it is not repeated.
        let refused = |why: &str| Error::Unavailable(format!("the URL of the metadata database {why}"));
        let (rest, options) = split_options(text).map_err(|why| refused(&why))?;
        let mut config: tokio_postgres::Config = rest.parse().map_err(|error| refused(&format!("cannot be read: {error}")))?;
        if config.get_hosts().is_empty() {
            return Err(refused("names no host"));
        }
        if let Some(password) = password {
            config.password(password);
        }
        let tls = match options.sslmode.as_deref() {
            Some("disable") => None,
            Some("require" | "verify-full") => Some(Tls::believing(options.sslrootcert.as_deref())?),
            Some(_) => return Err(refused("has an sslmode that is not `disable`, `require` or `verify-full`")),
            None if options.sslrootcert.is_none() && config.get_hosts().iter().all(is_this_machine) => None,
            None => Some(Tls::believing(options.sslrootcert.as_deref())?),
        };
        config
            .ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable })
            .application_name("umbra")
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives_idle(SILENCE_MAX / 3)
            .keepalives_interval(SILENCE_MAX / 3)
            .keepalives_retries(2)
            .tcp_user_timeout(SILENCE_MAX)
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        Ok(Self { config, tls })
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("hosts", &self.config.get_hosts())
            .field("ports", &self.config.get_ports())
            .field("database", &self.config.get_dbname())
            .finish_non_exhaustive()
    }
}

/// What of the URL's options is ours to act on.
#[derive(Default)]
struct Options {
    sslmode: Option<String>,
    sslrootcert: Option<String>,
}

/// Takes the options about TLS out of the URL: the driver knows fewer values of them than other clients do.
fn split_options(text: &str) -> Result<(String, Options), String> {
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return Err("does not begin with postgres://".to_owned());
    }
    let mut options = Options::default();
    // Several hosts make it no URL in the eyes of a parser, so only what is behind the question mark is given to one.
    let Some((rest, query)) = text.split_once('?') else { return Ok((text.to_owned(), options)) };
    let pairs = Url::parse(&format!("options:?{query}")).map_err(|error| format!("cannot be read: {error}"))?;
    let mut kept = Url::parse("options:").map_err(|error| error.to_string())?;
    for (name, value) in pairs.query_pairs() {
        match &*name {
            "sslmode" => options.sslmode = Some(value.into_owned()),
            "sslrootcert" => options.sslrootcert = Some(value.into_owned()),
            // It would be shown where only what is before an @ is hidden.
            "password" => return Err("has its password behind the question mark".to_owned()),
            _ => drop(kept.query_pairs_mut().append_pair(&name, &value)),
        }
    }
    // A form writes a space as `+`, which the driver does not read as one.
    let kept = kept.query().map(|query| format!("?{}", query.replace('+', "%20"))).unwrap_or_default();
    Ok((format!("{rest}{kept}"), options))
}

/// Whether what is said to the host stays on this machine.
fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()),
        Host::Unix(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn a_url_says_where_and_whether_with_tls() {
        let cases = [
            ("postgres://u:p@127.0.0.1:5433/db", Some(false)),
            ("postgresql://u@localhost/db?application_name=x", Some(false)),
            ("postgres://u@db.example/db", Some(true)),
            ("postgres://u@db.example/db?sslmode=disable", Some(false)),
            ("postgres://u@127.0.0.1/db?sslmode=verify-full", Some(true)),
            ("postgres://u@a.example:1,b.example:2/db?sslmode=require&options=-c%20a%3Db", Some(true)),
            ("postgres://u@%2Frun%2Fpostgresql/db", Some(false)),
            ("postgres:///db?host=/run/postgresql", Some(false)),
            ("postgres://u@db.example/db?sslmode=prefer", None),
            ("postgres://u@db.example/db?sslrootcert=/does/not/exist", None),
            ("postgres://u@db.example/db?nonsense=1", None),
            ("postgres:///db", None),
            ("postgres://u@localhost/db?password=x", None),
            ("mysql://u@h/db", None),
        ];
        for (url, tls) in cases {
            let parsed = Target::parse(url, None).map(|target| target.tls.is_some());
            assert_eq!(parsed.as_ref().ok().copied(), tls, "{url}: {parsed:?}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let target = Target::parse("postgres://u:hidden-1@db.example/db", Some("hidden-2")).unwrap();
        assert_eq!(target.config.get_password(), Some(&b"hidden-2"[..]));
        let refused = [
            Target::parse("postgres://u:hidden-1@db.example:x/db", None),
            Target::parse("postgres://u:hidden-1@db.example/db?sslmode=no", None),
            Target::parse("hidden-1", None),
        ];
        let shown = format!("{target:?} {refused:?}");
        assert!(refused.iter().all(Result::is_err) && !shown.contains("hidden"), "{shown}");
    }
}

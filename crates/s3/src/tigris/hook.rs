//! Notifications as Tigris's clients write them.

use http::Uri;
use serde::Deserialize;
use serde_json::{Value, json};
use umbra_core::{Error, Fault, Result};
use umbra_store::{Bucket, Catalog, HookAuth, Notifications};

use crate::events::Filter;

/// What stands for a secret that is kept. Tigris's clients read all settings, change one and write all of them back.
const KEPT: &str = "********";
/// The most characters of each text.
const CHARACTERS_MAX: usize = 2048;

/// `object_notifications`.
#[derive(Deserialize)]
pub(super) struct Document {
    enabled: Option<bool>,
    web_hook: Option<String>,
    #[serde(default)]
    filter: String,
    auth: Option<Auth>,
}

#[derive(Deserialize)]
struct Auth {
    token: Option<String>,
    basic_user: Option<String>,
    basic_pass: Option<String>,
}

/// The notifications as they are shown: without their secret.
pub(super) fn shown(notifications: &Notifications) -> Value {
    let Notifications { enabled, url, filter, auth } = notifications;
    let mut shown = json!({ "enabled": enabled, "web_hook": url, "filter": filter });
    match auth {
        Some(HookAuth { user: Some(user), .. }) => shown["auth"] = json!({ "basic_user": user, "basic_pass": KEPT }),
        Some(HookAuth { user: None, .. }) => shown["auth"] = json!({ "token": KEPT }),
        None => {}
    }
    shown
}

/// The notifications that `document` sets; none when it names no hook.
pub(super) fn taken(document: Document, bucket: &Bucket, catalog: &Catalog) -> Result<Option<Notifications>> {
    let Some(url) = document.web_hook.filter(|url| !url.is_empty()) else { return Ok(None) };
    let is_url = url.parse::<Uri>().is_ok_and(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some());
    if !is_url || url.len() > CHARACTERS_MAX || document.filter.len() > CHARACTERS_MAX {
        return Err(refused("a web hook is an http or https URL, and it and its filter have at most 2048 characters"));
    }
    Filter::parse(&document.filter)?;
    let auth = match document.auth {
        None | Some(Auth { token: None, basic_user: None, basic_pass: None }) => None,
        Some(Auth { token: Some(token), .. }) => Some(seal(None, &token, &url, bucket, catalog)?),
        Some(Auth { basic_user: Some(user), basic_pass: Some(password), .. }) => Some(seal(Some(user), &password, &url, bucket, catalog)?),
        Some(_) => return Err(refused("a web hook is called with a token, or with a user and a password")),
    };
    Ok(Some(Notifications { enabled: document.enabled.unwrap_or(true), url, filter: document.filter, auth }))
}

fn seal(user: Option<String>, secret: &str, url: &str, bucket: &Bucket, catalog: &Catalog) -> Result<HookAuth> {
    if secret.len() > CHARACTERS_MAX || user.as_ref().is_some_and(|user| user.len() > CHARACTERS_MAX) {
        return Err(refused("the user and the secret of a web hook have at most 2048 characters"));
    }
    if secret != KEPT {
        return Ok(HookAuth { user, secret: catalog.sealer().seal(&HookAuth::seal_context(bucket), secret) });
    }
    // Whoever may change the settings but does not know the secret must not have it sent to himself.
    let now = bucket.settings.extras.notifications.as_ref().filter(|now| is_same_place(&now.url, url)).and_then(|now| now.auth.clone());
    now.filter(|now| now.user == user).ok_or_else(|| refused("there is no secret of a web hook at this host to keep: give it anew"))
}

/// Whether both URLs lead to one server: by their schemes, hosts and ports.
fn is_same_place(one: &str, other: &str) -> bool {
    let place = |url: &str| {
        let url: Uri = url.parse().ok()?;
        let scheme = url.scheme_str()?.to_ascii_lowercase();
        let port = url.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        Some((scheme, url.host()?.to_ascii_lowercase(), port))
    };
    place(one).is_some_and(|one| place(other) == Some(one))
}

fn refused(message: &str) -> Error {
    Error::invalid(Fault::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use super::is_same_place;

    #[test]
    fn places_are_schemes_hosts_and_ports() {
        let cases = [
            ("http://a.example/x", "http://a.example/y?z", true),
            ("http://a.example/x", "HTTP://A.example:80/x", true),
            ("https://a.example/", "https://a.example:443", true),
            ("https://a.example/", "http://a.example/", false),
            ("http://a.example/", "http://a.example:8080/", false),
            ("http://a.example/", "http://b.example/", false),
            ("http://a.example/", "http://a.example@b.example/", false),
            ("http://a.example/", "/", false),
            ("", "", false),
        ];
        for (one, other, expected) in cases {
            assert_eq!(is_same_place(one, other), expected, "{one} {other}");
        }
    }
}

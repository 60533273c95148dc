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
        Some(Auth { token: Some(token), .. }) => Some(seal(None, &token, bucket, catalog)?),
        Some(Auth { basic_user: Some(user), basic_pass: Some(password), .. }) => Some(seal(Some(user), &password, bucket, catalog)?),
        Some(_) => return Err(refused("a web hook is called with a token, or with a user and a password")),
    };
    Ok(Some(Notifications { enabled: document.enabled.unwrap_or(true), url, filter: document.filter, auth }))
}

fn seal(user: Option<String>, secret: &str, bucket: &Bucket, catalog: &Catalog) -> Result<HookAuth> {
    if secret.len() > CHARACTERS_MAX || user.as_ref().is_some_and(|user| user.len() > CHARACTERS_MAX) {
        return Err(refused("the user and the secret of a web hook have at most 2048 characters"));
    }
    if secret != KEPT {
        return Ok(HookAuth { user, secret: catalog.sealer().seal(&HookAuth::seal_context(bucket), secret) });
    }
    let now = bucket.settings.extras.notifications.as_ref().and_then(|now| now.auth.clone());
    now.filter(|now| now.user == user).ok_or_else(|| refused("there is no secret of this web hook to keep"))
}

fn refused(message: &str) -> Error {
    Error::invalid(Fault::InvalidArgument, message)
}

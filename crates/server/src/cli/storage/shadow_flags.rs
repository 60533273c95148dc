//! The flags that describe an origin, and the other places its secrets may come from.

use std::{
    env,
    io::{self, BufRead},
};

use clap::Args;
use umbra_admin::api::{SecretText, ShadowRequest};

use crate::cli::{
    Failure, Outcome,
    profile::{self, Profile},
};

const ACCESS_KEY: &str = "UMBRA_SHADOW_ACCESS_KEY";
const SECRET_KEY: &str = "UMBRA_SHADOW_SECRET_KEY";

/// The origin of a bucket.
#[derive(Debug, Default, Args)]
#[group(multiple = true)]
pub(super) struct ShadowFlags {
    /// The endpoint of the provider that holds the old bucket, as `https://s3.us-east-1.amazonaws.com`.
    #[arg(long, value_name = "URL")]
    shadow_endpoint: Option<String>,

    /// The region requests to it are signed for. Optional: without it `auto`, which is read from AWS's endpoints and right for R2
    /// and Google.
    #[arg(long, value_name = "REGION")]
    shadow_region: Option<String>,

    /// The old bucket's name; the new one's by default.
    #[arg(long, value_name = "BUCKET")]
    shadow_name: Option<String>,

    /// The access key at the origin; also taken from `UMBRA_SHADOW_ACCESS_KEY`.
    #[arg(long, value_name = "KEY")]
    shadow_access_key: Option<String>,

    /// The secret key at the origin; `-` reads it from standard input. Better not given here, where the shell remembers it
    /// and other users may see it: it is also taken from `UMBRA_SHADOW_SECRET_KEY`.
    #[arg(long, value_name = "SECRET", allow_hyphen_values = true)]
    shadow_secret_key: Option<String>,

    /// A profile of the AWS command line to take the keys, the region and the endpoint from, where no other flag says otherwise.
    #[arg(long, value_name = "PROFILE")]
    shadow_profile: Option<String>,

    /// Write and delete at the origin first, so that one can go back to it at any time. It does not reach back: what was written or
    /// deleted here while this was off is not at the origin until `umbra storage rollback` copies it back.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    shadow_write_through: Option<bool>,
}

/// Where secrets come from besides the flags.
pub(super) struct Sources<'a> {
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    pub(super) stdin: Box<dyn BufRead + 'a>,
    pub(super) profile: &'a dyn Fn(&str) -> Outcome<Profile>,
}

impl Sources<'static> {
    /// The environment and the standard input of this process, and the profiles of its user.
    pub(super) fn of_process() -> Self {
        Self { env: &environment, stdin: Box::new(io::stdin().lock()), profile: &profile::load }
    }
}

fn environment(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

impl ShadowFlags {
    /// The origin of a new bucket, if one is asked for: then complete.
    pub(super) fn for_new(self, sources: &mut Sources<'_>) -> Outcome<Option<ShadowRequest>> {
        if self.is_empty() {
            return Ok(None);
        }
        let request = self.gather(sources, true)?;
        let needed = [
            ("--shadow-endpoint", request.endpoint.is_some()),
            ("--shadow-access-key", request.access_key.is_some()),
            ("--shadow-secret-key", request.secret_key.is_some()),
        ];
        let missing: Vec<_> = needed.into_iter().filter(|(_, given)| !given).map(|(flag, _)| flag).collect();
        if missing.is_empty() {
            return Ok(Some(request));
        }
        Err(Failure::usage(format!("a shadow needs an endpoint, an access key and a secret key; missing: {}", missing.join(", "))))
    }

    /// The changes to an origin, if any are asked for.
    ///
    /// Variables left over in the environment must not rotate keys unasked: they count when a flag is about the keys.
    pub(super) fn for_existing(self, sources: &mut Sources<'_>) -> Outcome<Option<ShadowRequest>> {
        let about_keys = self.shadow_endpoint.is_some() || self.shadow_access_key.is_some() || self.shadow_secret_key.is_some();
        Ok(Some(self.gather(sources, about_keys)?).filter(|request| !request.is_empty()))
    }

    const fn is_empty(&self) -> bool {
        let Self {
            shadow_endpoint,
            shadow_region,
            shadow_name,
            shadow_access_key,
            shadow_secret_key,
            shadow_profile,
            shadow_write_through,
        } = self;
        shadow_endpoint.is_none()
            && shadow_region.is_none()
            && shadow_name.is_none()
            && shadow_access_key.is_none()
            && shadow_secret_key.is_none()
            && shadow_profile.is_none()
            && shadow_write_through.is_none()
    }

    /// Flags first, then the profile, then the environment.
    fn gather(self, sources: &mut Sources<'_>, use_environment: bool) -> Outcome<ShadowRequest> {
        let profile = self.shadow_profile.as_deref().map(|name| (sources.profile)(name)).transpose()?;
        let given_secret = match self.shadow_secret_key.as_deref() {
            Some("-") => Some(read_line(&mut *sources.stdin)?),
            given => given.map(str::to_owned),
        };
        let from_environment = |name| if use_environment { (sources.env)(name) } else { None };
        let (access_key, secret_key, region, endpoint) = match profile {
            Some(profile) => {
                let endpoint = profile.endpoint.or_else(|| profile.region.as_deref().map(aws_endpoint));
                (Some(profile.access_key), Some(profile.secret_key), profile.region, endpoint)
            }
            None => (from_environment(ACCESS_KEY), from_environment(SECRET_KEY), None, None),
        };
        Ok(ShadowRequest {
            endpoint: self.shadow_endpoint.or(endpoint),
            region: self.shadow_region.or(region),
            name: self.shadow_name,
            access_key: self.shadow_access_key.or(access_key),
            secret_key: given_secret.or(secret_key).map(SecretText::new),
            write_through: self.shadow_write_through,
        })
    }
}

/// Where a profile without an endpoint leads.
fn aws_endpoint(region: &str) -> String {
    format!("https://s3.{region}.amazonaws.com")
}

fn read_line(from: &mut dyn BufRead) -> Outcome<String> {
    let mut line = String::new();
    from.read_line(&mut line).map_err(|error| Failure::new("read the secret key from standard input").because(&error))?;
    let secret = line.trim_end_matches(['\r', '\n']);
    if secret.is_empty() { Err(Failure::new("there is no secret key on standard input")) } else { Ok(secret.to_owned()) }
}

#[cfg(test)]
mod tests {
    use umbra_admin::api::SecretText;

    use super::{ShadowFlags, Sources};
    use crate::cli::{Outcome, profile::Profile};

    fn flags() -> ShadowFlags {
        ShadowFlags { shadow_endpoint: Some("https://old.test".into()), shadow_region: Some("r".into()), ..ShadowFlags::default() }
    }

    fn with<T>(environment: &[(&str, &str)], stdin: &str, run: impl FnOnce(&mut Sources<'_>) -> T) -> T {
        let env = |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let profile = |_: &str| -> Outcome<Profile> {
            Ok(Profile { access_key: "PA".into(), secret_key: "PS".into(), region: Some("eu-west-1".into()), endpoint: None })
        };
        run(&mut Sources { env: &env, stdin: Box::new(stdin.as_bytes()), profile: &profile })
    }

    #[test]
    fn without_a_flag_there_is_no_shadow() {
        let found = with(&[("UMBRA_SHADOW_SECRET_KEY", "left over")], "", |sources| ShadowFlags::default().for_new(sources));
        assert_eq!(found.unwrap(), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let failure = with(&[], "", |sources| flags().for_new(sources)).unwrap_err();
        assert!(failure.message().ends_with("missing: --shadow-access-key, --shadow-secret-key"), "{failure:?}");
    }

    #[test]
    fn secrets_come_from_where_they_are_put() {
        let environment = [("UMBRA_SHADOW_ACCESS_KEY", "EA"), ("UMBRA_SHADOW_SECRET_KEY", "ES")];
        let found = with(&environment, "", |sources| flags().for_new(sources)).unwrap().unwrap();
        assert_eq!((found.access_key.as_deref(), found.secret_key), (Some("EA"), Some(SecretText::new("ES"))));

        let piped = ShadowFlags { shadow_access_key: Some("FA".into()), shadow_secret_key: Some("-".into()), ..flags() };
        let found = with(&environment, "piped\r\n", |sources| piped.for_new(sources)).unwrap().unwrap();
        assert_eq!((found.access_key.as_deref(), found.secret_key), (Some("FA"), Some(SecretText::new("piped"))));

        let nothing = ShadowFlags { shadow_secret_key: Some("-".into()), ..flags() };
        assert!(with(&environment, "\n", |sources| nothing.for_new(sources)).is_err());
    }

    #[test]
    fn a_profile_fills_what_no_flag_says() {
        let flags = ShadowFlags { shadow_profile: Some("old".into()), shadow_name: Some("b".into()), ..ShadowFlags::default() };
        let found = with(&[("UMBRA_SHADOW_ACCESS_KEY", "EA")], "", |sources| flags.for_new(sources)).unwrap().unwrap();
        assert_eq!(found.endpoint.as_deref(), Some("https://s3.eu-west-1.amazonaws.com"));
        assert_eq!(found.region.as_deref(), Some("eu-west-1"));
        assert_eq!((found.access_key.as_deref(), found.secret_key), (Some("PA"), Some(SecretText::new("PS"))));
        assert_eq!(found.name.as_deref(), Some("b"));
    }
}

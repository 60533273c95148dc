//! `umbra storage update`.

use std::time::Duration;

use clap::Args;
use umbra_admin::api::UpdateBucket;

use super::{
    shadow_flags::{ShadowFlags, Sources},
    status,
};
use crate::cli::{Failure, Outcome, out, target::Target};

/// How often the server is asked again while it lists the origin to find out what is left there.
const LISTING_INTERVAL: Duration = Duration::from_secs(1);

/// Changes a bucket: what is given, and nothing else.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The bucket.
    name: String,

    /// Let anyone read its objects.
    #[arg(short, long, conflicts_with = "private")]
    public: bool,

    /// Let only its keys read its objects.
    #[arg(long)]
    private: bool,

    /// Where objects live: `global`, `multi:GEO`, `dual:A,B` or `single:REGION`.
    #[arg(long)]
    location: Option<String>,

    #[command(flatten)]
    shadow: ShadowFlags,

    /// Detach the origin, once it was listed through. Refused while objects remain there alone or repairs are pending.
    #[arg(long, conflicts_with = "ShadowFlags")]
    clear_shadow: bool,

    /// Detach the origin all the same: what remains there alone is then out of reach here.
    #[arg(long, requires = "clear_shadow")]
    force: bool,

    /// Ask nothing. There is nothing to ask here; accepted so that scripts may always give it.
    #[arg(short, long)]
    yes: bool,
}

impl Update {
    pub(crate) async fn run(self, target: &Target) -> Outcome {
        let name = self.name.clone();
        let request = self.request(&mut Sources::of_process())?;
        let client = target.client()?;
        while let Err(error) = client.update_bucket(&name, &request).await {
            if !error.is_listing() {
                return Err(error.into());
            }
            out::note(&error);
            tokio::time::sleep(LISTING_INTERVAL).await;
        }
        let status = client.bucket_status(&name).await?;
        if target.json { out::json(&status) } else { out::text_of(status::render(&status, false)) }
    }

    fn request(self, sources: &mut Sources<'_>) -> Outcome<UpdateBucket> {
        let public = (self.public || self.private).then_some(self.public);
        let plain = public.is_some() || self.location.is_some() || self.clear_shadow;
        let shadow = if self.clear_shadow { None } else { self.shadow.for_existing(sources)? };
        if !plain && shadow.is_none() {
            return Err(Failure::usage(
                "nothing to change: give at least one setting (see `umbra storage update --help`); keys are taken from the environment \
                 when --shadow-access-key or --shadow-endpoint is given",
            ));
        }
        Ok(UpdateBucket { public, location: self.location, shadow, clear_shadow: self.clear_shadow, force: self.force })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use umbra_admin::api::{SecretText, ShadowRequest, UpdateBucket};

    use super::{Sources, Update};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        update: Update,
    }

    fn request(arguments: &[&str], environment: &[(&str, &str)]) -> Option<UpdateBucket> {
        let update = Command::try_parse_from([&["update", "photos"], arguments].concat()).ok()?.update;
        let env = |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        update.request(&mut Sources { env: &env, stdin: Box::new(&b"from stdin\n"[..]), profile: &|_| unreachable!() }).ok()
    }

    #[test]
    fn settings_change_one_at_a_time() {
        let none = UpdateBucket::default;
        assert_eq!(request(&["--public"], &[]), Some(UpdateBucket { public: Some(true), ..none() }));
        assert_eq!(request(&["--private"], &[]), Some(UpdateBucket { public: Some(false), ..none() }));
        assert_eq!(request(&["--clear-shadow", "--force"], &[]), Some(UpdateBucket { clear_shadow: true, force: true, ..none() }));
        for (flag, value) in
            [("--shadow-write-through", true), ("--shadow-write-through=true", true), ("--shadow-write-through=false", false)]
        {
            let shadow = ShadowRequest { write_through: Some(value), ..ShadowRequest::default() };
            assert_eq!(request(&[flag], &[]), Some(UpdateBucket { shadow: Some(shadow), ..none() }), "{flag}");
        }
        let changes = [
            (["--shadow-hydrate", "touched"], ShadowRequest { hydrate: Some("touched".into()), ..ShadowRequest::default() }),
            (["--shadow-revalidate", "10m"], ShadowRequest { revalidate_seconds: Some(600), ..ShadowRequest::default() }),
            (["--shadow-revalidate", "off"], ShadowRequest { revalidate_seconds: Some(0), ..ShadowRequest::default() }),
            (["--shadow-price-per-gb", "0.09"], ShadowRequest { price_per_gb: Some("0.09".into()), ..ShadowRequest::default() }),
            (["--shadow-price-per-gb", "off"], ShadowRequest { price_per_gb: Some("0".into()), ..ShadowRequest::default() }),
        ];
        for (flags, shadow) in changes {
            assert_eq!(request(&flags, &[]), Some(UpdateBucket { shadow: Some(shadow), ..none() }), "{flags:?}");
        }
        for bad in [["--shadow-hydrate", "some"], ["--shadow-revalidate", "10"], ["--shadow-price-per-gb", "cheap"]] {
            assert_eq!(request(&bad, &[]), None, "{bad:?}");
        }
        for contradiction in [&["--public", "--private"][..], &["--clear-shadow", "--shadow-region", "x"], &["--force"], &[]] {
            assert_eq!(request(contradiction, &[]), None, "{contradiction:?}");
        }
    }

    #[test]
    fn secrets_come_from_the_environment_only_where_they_are_meant() {
        let environment = [("UMBRA_SHADOW_ACCESS_KEY", "AK"), ("UMBRA_SHADOW_SECRET_KEY", "SK")];
        let keys = || ShadowRequest { access_key: Some("AK".into()), secret_key: Some(SecretText::new("SK")), ..ShadowRequest::default() };
        assert_eq!(request(&[], &environment), None, "nothing was asked for");
        let shadow = |arguments: &[&str]| request(arguments, &environment).unwrap().shadow;
        assert_eq!(shadow(&["--public"]), None, "a bucket is made public, no key rotated");
        assert_eq!(shadow(&["--shadow-region", "x"]), Some(ShadowRequest { region: Some("x".into()), ..ShadowRequest::default() }));
        assert_eq!(shadow(&["--shadow-endpoint", "e"]), Some(ShadowRequest { endpoint: Some("e".into()), ..keys() }));
        assert_eq!(shadow(&["--shadow-access-key", "OTHER"]), Some(ShadowRequest { access_key: Some("OTHER".into()), ..keys() }));
        let piped = Some(SecretText::new("from stdin"));
        assert_eq!(shadow(&["--shadow-secret-key", "-"]), Some(ShadowRequest { secret_key: piped, ..keys() }));
    }
}

//! `umbra storage create`.

use clap::Args;
use umbra_admin::api::{CreateBucket, CreatedBucket};

use super::shadow_flags::{ShadowFlags, Sources};
use crate::cli::{Outcome, out, target::Target};

/// Creates a bucket, and a key that reaches it alone.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its name.
    #[arg(short, long)]
    name: String,

    /// The organization it belongs to. With the root key, naming a new one creates it.
    #[arg(short, long, value_name = "ORG")]
    org: Option<String>,

    /// Let anyone read its objects.
    #[arg(short, long)]
    public: bool,

    /// Where objects live: `global` (the default), `multi:GEO`, `dual:A,B` or `single:REGION`.
    #[arg(long)]
    location: Option<String>,

    #[command(flatten)]
    shadow: ShadowFlags,

    /// Ask nothing. There is nothing to ask here; accepted so that scripts may always give it.
    #[arg(short, long)]
    yes: bool,
}

impl Create {
    pub(crate) async fn run(self, target: &Target) -> Outcome {
        let shadow = self.shadow.for_new(&mut Sources::of_process())?;
        let request = CreateBucket { name: self.name, organization: self.org, public: self.public, location: self.location, shadow };
        let created = target.client()?.create_bucket(&request).await?;
        if target.json {
            return out::json(&created);
        }
        if created.organization_created {
            out::note(format_args!("Organization {} did not exist and was created.", created.bucket.organization));
        }
        match &created.bucket.shadow {
            Some(shadow) => {
                out::note(format_args!("Bucket {} is ready and shadows {} at {}.\n", created.bucket.name, shadow.name, shadow.endpoint))
            }
            None => out::note(format_args!("Bucket {} is ready.\n", created.bucket.name)),
        }
        variables(&created).iter().try_for_each(|(name, value)| out::line(format_args!("{name}: {value}")))
    }
}

/// What an application needs to know, by name.
fn variables(created: &CreatedBucket) -> [(&'static str, &str); 5] {
    [
        ("AWS_ACCESS_KEY_ID", &created.access_key.key.access_key),
        ("AWS_ENDPOINT_URL_S3", &created.endpoint),
        ("AWS_REGION", &created.region),
        ("AWS_SECRET_ACCESS_KEY", created.access_key.secret_key.expose()),
        ("BUCKET_NAME", &created.bucket.name),
    ]
}

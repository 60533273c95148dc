//! Attaching a shadow, and changing it: one setting at a time, probed before anything is changed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use umbra_core::{Body, Error, ErrorKind, Fault, HydratePolicy, Money, ObjectKey, RequestContext, Result, ShadowSettings};
use umbra_store::{Bucket, Secret};

use crate::{
    Shadow,
    origin::{Origin, OriginAttributes, OriginError, OriginList, PutConditions, ShadowPath},
    origins::seal_context,
};

/// What the key begins with that a probe writes to an origin, and deletes there. No listing of the origin shows such keys.
pub const PROBE_KEY_PREFIX: &str = ".umbra-probe-";

/// What is to be set. `None` keeps what is set already.
#[derive(Clone, Debug, Default)]
pub struct AttachRequest {
    /// The origin's endpoint.
    pub endpoint: Option<String>,
    /// The region requests are signed for; `auto` where nothing was ever set.
    pub region: Option<String>,
    /// The origin's bucket; the bucket's own name where nothing was ever set.
    pub bucket: Option<String>,
    /// The access key at the origin.
    pub access_key: Option<String>,
    /// The secret key at the origin.
    pub secret_key: Option<Secret>,
    /// Whether writes go to the origin first.
    pub write_through: Option<bool>,
    /// How much of a cold object a reader brings here.
    pub hydrate: Option<HydratePolicy>,
    /// How often unmodified hydrated objects are held against the origin; zero for never.
    pub revalidate: Option<Duration>,
    /// What a gigabyte leaving the origin costs; zero for no estimates.
    pub price_per_gb: Option<Money>,
}

impl Shadow {
    /// Attaches an origin to a bucket, or changes the one it has. Probes the origin first and refuses, saying which right is missing.
    ///
    /// `bucket` is the one that the caller may change: refuses if another has its name meanwhile.
    pub async fn attach(&self, cx: &RequestContext, bucket: &Bucket, request: AttachRequest) -> Result<Arc<Bucket>> {
        let bucket = self.0.catalog.current(bucket).await?;
        let (settings, secret) = self.wanted(&bucket, &request)?;
        refuse_to_forget_cold_objects(&bucket, &settings)?;
        self.refuse_to_forget_repairs(&bucket, &settings).await?;
        if needs_probe(bucket.settings.shadow.as_ref(), &settings, &request) {
            // Counted apart: what goes wrong in a trial is no fault of the origin in use.
            let origin = self.0.origins.make(&settings, &secret, &Arc::default(), &self.0.clock, CancellationToken::new())?;
            probe(&*origin, &self.path(cx, &bucket), settings.write_through).await.map_err(|error| at(&settings, &error))?;
            if let Some(now) = bucket.settings.shadow.as_ref().filter(|now| now.endpoint != settings.endpoint) {
                self.refuse_another_bucket(cx, &bucket, now, &settings, &*origin).await?;
            }
        }
        let before = &bucket.settings.shadow;
        let moves = before.as_ref().is_some_and(|now| now.endpoint != settings.endpoint);
        let held = match before {
            Some(before) if before.write_through && (moves || !settings.write_through) => Some(self.hold_writes_back(&bucket).await?),
            _ => None,
        };
        // One that was under way may be half done now.
        self.refuse_to_forget_repairs(&bucket, &settings).await?;
        let updated = self
            .0
            .catalog
            .update_bucket(&bucket, &mut |current| {
                if current.shadow != *before {
                    return Err(Error::new(ErrorKind::Conflict, "the bucket's shadow was changed by somebody else; please try again"));
                }
                if current.shadow.is_none() {
                    current.generation += 1;
                }
                current.shadow = Some(settings.clone());
                Ok(())
            })
            .await?;
        self.0.revalidations.forget(updated.partition);
        if moves {
            // What was begun at the old address ends, and nothing begins there any more. Half-done writes and uploads go on at the new one.
            self.0.flights.cancel(updated.partition);
            self.0.origins.replace(&updated);
        }
        drop(held);
        // Known from now on, to the metrics for one.
        self.stats(&updated);
        if before.as_ref().is_some_and(|before| before.write_through && !settings.write_through) {
            // Off is off: what had begun to go through is over before this is acknowledged.
            self.writes_in_progress_end(&bucket).await?;
        }
        tracing::info!(bucket = %updated.name, endpoint = %settings.endpoint, origin = %settings.bucket, write_through = settings.write_through, "shadow attached");
        Ok(updated)
    }

    /// The settings as they are to be, with the secret opened.
    fn wanted(&self, bucket: &Bucket, request: &AttachRequest) -> Result<(ShadowSettings, Secret)> {
        let missing = |what: &str| Error::invalid(Fault::InvalidArgument, format!("the shadow needs {what}"));
        let now = bucket.settings.shadow.as_ref();
        let pick = |new: &Option<String>, old: Option<&String>| new.clone().or_else(|| old.cloned());
        let endpoint = pick(&request.endpoint, now.map(|now| &now.endpoint)).ok_or_else(|| missing("an endpoint"))?;
        let access_key = pick(&request.access_key, now.map(|now| &now.access_key)).ok_or_else(|| missing("an access key"))?;
        let context = seal_context(bucket.partition);
        let secret = match (&request.secret_key, now) {
            (Some(secret), _) => secret.clone(),
            (None, Some(now)) => self.0.catalog.sealer().open(&context, &now.secret_key)?,
            (None, None) => return Err(missing("a secret key")),
        };
        let settings = ShadowSettings {
            endpoint,
            region: pick(&request.region, now.map(|now| &now.region)).unwrap_or_else(|| "auto".to_owned()),
            bucket: pick(&request.bucket, now.map(|now| &now.bucket)).unwrap_or_else(|| bucket.name.to_string()),
            access_key,
            secret_key: self.0.catalog.sealer().seal(&context, secret.expose()),
            write_through: request.write_through.or(now.map(|now| now.write_through)).unwrap_or(false),
            hydrate: request.hydrate.or(now.map(|now| now.hydrate)).unwrap_or_default(),
            revalidate: request.revalidate.or(now.and_then(|now| now.revalidate)).filter(|interval| !interval.is_zero()),
            price_per_gb: request.price_per_gb.or(now.and_then(|now| now.price_per_gb)).filter(|price| !price.is_zero()),
        };
        Ok((settings, secret))
    }

    /// A half-done write can only be repaired while write-through is still on.
    async fn refuse_to_forget_repairs(&self, bucket: &Bucket, wanted: &ShadowSettings) -> Result<()> {
        let Some(now) = &bucket.settings.shadow else { return Ok(()) };
        if now.write_through && !wanted.write_through && !self.pending_repairs(bucket, 1).await?.is_empty() {
            return Err(Error::invalid(
                Fault::InvalidRequest,
                "repairs are pending; wait until `umbra storage status` shows none, then change the shadow",
            ));
        }
        Ok(())
    }
}

/// What is cold would be lost from sight with the bucket that holds it: only the gate of a detach knows whether anything is. An endpoint may
/// change, for one origin may have several ([`Shadow::refuse_another_bucket`]).
fn refuse_to_forget_cold_objects(bucket: &Bucket, wanted: &ShadowSettings) -> Result<()> {
    let Some(now) = bucket.settings.shadow.as_ref().filter(|now| now.bucket != wanted.bucket) else { return Ok(()) };
    let message = format!("the bucket shadows {}; clear that shadow before it shadows {}", now.bucket, wanted.bucket);
    Err(Error::invalid(Fault::InvalidRequest, message))
}

/// Whether the change needs anything of the origin: write-through can be switched off, and what concerns us alone changed, while the origin
/// is down.
fn needs_probe(now: Option<&ShadowSettings>, wanted: &ShadowSettings, request: &AttachRequest) -> bool {
    now.is_none_or(|now| {
        let access = |settings: &ShadowSettings| {
            (settings.endpoint.clone(), settings.region.clone(), settings.bucket.clone(), settings.access_key.clone())
        };
        let same = access(wanted) == access(now);
        !same || request.secret_key.is_some() || (wanted.write_through && !now.write_through)
    })
}

/// Tries every right the shadow will need.
async fn probe(origin: &dyn Origin, path: &ShadowPath, write_through: bool) -> Result<()> {
    let page = origin
        .list(path, &OriginList { limit: 1, ..OriginList::default() })
        .await
        .map_err(|error| refused("list the origin's bucket", error))?;
    let stranger = ObjectKey::parse(&format!("{PROBE_KEY_PREFIX}{}", path.0.join("-").replace('/', "-")))?;
    let (key, exists) = page.objects.into_iter().next().map_or((stranger.clone(), false), |object| (object.key, true));
    match origin.head(path, &key).await {
        Ok(_) => {}
        Err(error) if error.is_not_found() => {}
        // An archived object's headers can be read; an answer like this tells that reading is allowed.
        Err(error) if error.error.kind() == ErrorKind::Invalid(Fault::InvalidObjectState) && exists => {}
        Err(error) => return Err(refused("read objects at the origin", error)),
    }
    // Without the right to list a bucket Amazon says of absent keys that they are forbidden: then nothing could ever be said to be absent.
    match origin.head(path, &stranger).await {
        Err(error) if error.is_not_found() => {}
        Ok(_) => {}
        Err(error) => return Err(refused("tell that a key does not exist at the origin (it needs s3:ListBucket)", error)),
    }
    if write_through {
        let body = Body::from_bytes(Bytes::from_static(b"umbra"));
        let size = body.size().unwrap_or_default();
        origin
            .put(path, &stranger, size, body, &OriginAttributes::default(), &PutConditions::default())
            .await
            .map_err(|error| refused("write to the origin", error))?;
        origin.delete(path, &stranger).await.map_err(|error| refused("delete at the origin", error))?;
    }
    Ok(())
}

/// Says which origin it was: an endpoint or a bucket misspelt is seen at once.
fn at(settings: &ShadowSettings, error: &Error) -> Error {
    Error::new(error.kind(), format!("{} (the bucket {} at {})", error.message(), settings.bucket, settings.endpoint))
}

/// Whether an address was refused that the operator can allow, by what the endpoint guard says of it.
pub(crate) fn is_to_allow(cause: &str) -> bool {
    cause.contains(" is refused: ") && !cause.contains("never allowed")
}

/// Says which right is missing. The kind tells the origin's refusal, which is the user's to mend, from its absence.
fn refused(right: &str, error: OriginError) -> Error {
    let mut cause = format!("{:?}", error.error);
    if let Some((_, text)) = cause.split_once(": ") {
        cause = text.to_owned();
    }
    let how = if is_to_allow(&cause) { " (`umbra serve --shadow-allow-cidr` allows a network)" } else { "" };
    let message = format!("cannot {right}: {cause}{how}");
    match error.error.kind() {
        ErrorKind::OriginUnavailable => Error::new(ErrorKind::OriginUnavailable, message),
        _ => Error::invalid(Fault::InvalidRequest, message),
    }
}

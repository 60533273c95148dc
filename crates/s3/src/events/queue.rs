//! What waits for one receiver, posted oldest first.

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use tokio_util::sync::CancellationToken;
use umbra_client::Poster;
use umbra_core::{Entity, Error, ErrorKind, Result, Timestamp};
use umbra_meta::{Batch, Entry, Expect, Projection, counter_value, key};
use umbra_store::{
    Bucket, Event, HookAuth, Notifications,
    event::{EVENTS, TIGRIS_RECEIVER},
};

use super::{AGE_MAX, Filter, Queue, Shared, WAITING_MAX, payload};

/// Events in one post.
const EVENTS_PER_POST: usize = 16;
/// Rows dropped at once.
const DROPPED_AT_ONCE: usize = 256;

/// Where and how events are posted.
struct Hook<'a> {
    poster: &'a Poster,
    url: Uri,
    headers: HeaderMap,
    filter: Filter,
}

impl Shared {
    /// The receivers of a bucket, by name.
    pub(super) fn receivers(&self, bucket: &Bucket) -> impl Iterator<Item = String> {
        let extras = &bucket.settings.extras;
        let tigris = extras.notifications.as_ref().filter(|notifications| notifications.enabled).map(|_| TIGRIS_RECEIVER.to_owned());
        extras.event_hooks.iter().map(|hook| hook.id.clone()).chain(tigris).collect::<Vec<_>>().into_iter()
    }

    /// Posts what waits in `queue` until nothing does. Fails when the receiver does, or `stop` says so.
    pub(super) async fn deliver(&self, queue: &Queue, stop: &CancellationToken) -> Result<()> {
        let (name, receiver) = queue;
        while !stop.is_cancelled() {
            let bucket = self.catalog.bucket(name).await?;
            let hook = self.hook(&bucket, receiver)?;
            let rows = self.meta.scan(bucket.partition, key::event_range(receiver), EVENTS_PER_POST, Projection::Full).await?;
            if rows.is_empty() {
                return Ok(());
            }
            if self.waits_too_long(&rows) || self.waiting(&bucket).await? > WAITING_MAX {
                self.metrics.dropped.inc_by(rows.len() as u64);
                tracing::warn!(bucket = %name, receiver, events = rows.len(), "events are dropped: they wait too long, or are too many");
                self.take_away(&bucket, &rows).await?;
                continue;
            }
            self.post(&bucket, receiver, &hook, &rows).await?;
            self.take_away(&bucket, &rows).await?;
        }
        Err(Error::new(ErrorKind::Cancelled, "the server is stopping"))
    }

    async fn post(&self, bucket: &Bucket, receiver: &str, hook: &Hook<'_>, rows: &[Entry]) -> Result<()> {
        // One that cannot be read can never be told.
        let events =
            rows.iter().filter_map(|row| Event::decode(row).inspect_err(|error| tracing::error!(?error, "an event is damaged")).ok());
        let events: Vec<_> = events.filter(|event| hook.filter.passes(event.key.as_str(), event.size)).collect();
        if events.is_empty() {
            return Ok(());
        }
        let document = match receiver {
            TIGRIS_RECEIVER => payload::of_tigris(bucket, &events),
            id => payload::of_s3(bucket, &self.region, id, &events),
        };
        let answer = hook.poster.post(&hook.url, hook.headers.clone(), Bytes::from(document.to_string())).await;
        let failure = match answer {
            Ok(status) if status.is_success() => {
                self.metrics.delivered.inc_by(events.len() as u64);
                return Ok(());
            }
            Ok(status) => refused(status),
            Err(error) => Error::new(ErrorKind::Unavailable, "a receiver of events cannot be reached").because(error),
        };
        self.metrics.failed.inc();
        Err(failure)
    }

    fn hook(&self, bucket: &Bucket, receiver: &str) -> Result<Hook<'_>> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static("Umbra"));
        let extras = &bucket.settings.extras;
        if receiver != TIGRIS_RECEIVER {
            let hook = extras.event_hooks.iter().find(|hook| hook.id == receiver).ok_or_else(gone)?;
            let unset = || Error::new(ErrorKind::Unavailable, format!("the web hook of {} is not set at this server", hook.arn));
            let url = self.hooks.url(&hook.arn).cloned().ok_or_else(unset)?;
            return Ok(Hook { poster: &self.trusted, url, headers, filter: Filter::default() });
        }
        let Notifications { url, filter, auth, .. } = extras.notifications.as_ref().filter(|hook| hook.enabled).ok_or_else(gone)?;
        if let Some(auth) = auth {
            headers.insert(AUTHORIZATION, self.authorization(bucket, auth)?);
        }
        let url = url.parse().map_err(|error| Error::internal("the URL of a web hook cannot be read").because(error))?;
        // Filters were not read when they were kept at first. One that says nothing to us lets everything pass: rather too much is told.
        Ok(Hook { poster: &self.guarded, url, headers, filter: Filter::parse(filter).unwrap_or_default() })
    }

    fn authorization(&self, bucket: &Bucket, auth: &HookAuth) -> Result<HeaderValue> {
        let secret = self.catalog.sealer().open(&HookAuth::seal_context(bucket), &auth.secret)?;
        let value = match &auth.user {
            Some(user) => format!("Basic {}", BASE64.encode(format!("{user}:{}", secret.expose()))),
            None => format!("Bearer {}", secret.expose()),
        };
        let mut value =
            HeaderValue::try_from(value).map_err(|error| Error::internal("the secret of a web hook cannot be a header").because(error))?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn waits_too_long(&self, rows: &[Entry]) -> bool {
        let at = rows.last().and_then(|row| key::parse_event(&row.key)).map_or(0, |(_, at)| at);
        Timestamp::from_millis(i64::try_from(at).unwrap_or(i64::MAX)).plus(AGE_MAX) < self.clock.now()
    }

    async fn waiting(&self, bucket: &Bucket) -> Result<i64> {
        let counter = self.meta.get(bucket.partition, &key::counter(EVENTS)).await?;
        Ok(counter.and_then(|counter| counter_value(&counter.head)).unwrap_or(0))
    }

    async fn take_away(&self, bucket: &Bucket, rows: &[Entry]) -> Result<()> {
        let mut batch = Batch::new(bucket.partition).check(key::settings(), Expect::Exists);
        for row in rows {
            // With a check, so that the counter follows what is there, whoever else takes it away.
            batch = batch.check(row.key.to_vec(), Expect::Revision(row.revision)).delete(row.key.to_vec());
        }
        let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        self.meta.commit(batch.add(key::counter(EVENTS), -count)).await?;
        Ok(())
    }

    /// Drops what waits for receivers that are none of `receivers`.
    pub(super) async fn drop_others(&self, bucket: &Bucket, receivers: &HashSet<String>) -> Result<()> {
        let mut range = key::all_events();
        loop {
            let first = self.meta.scan(bucket.partition, range.clone(), 1, Projection::Head).await?.pop();
            let Some((receiver, _)) = first.as_ref().and_then(|first| key::parse_event(&first.key)) else { return Ok(()) };
            let own = key::event_range(&receiver);
            if !receivers.contains(&receiver) {
                loop {
                    let rows = self.meta.scan(bucket.partition, own.clone(), DROPPED_AT_ONCE, Projection::Head).await?;
                    if rows.is_empty() {
                        break;
                    }
                    self.take_away(bucket, &rows).await?;
                }
            }
            let Some(behind) = own.end else { return Ok(()) };
            range.start = behind;
        }
    }
}

fn gone() -> Error {
    Error::not_found(Entity::Setting)
}

fn refused(status: StatusCode) -> Error {
    Error::new(ErrorKind::Unavailable, format!("a receiver of events answered {}", status.as_u16()))
}

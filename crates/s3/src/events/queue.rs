//! What waits for one receiver, posted oldest first.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use umbra_client::Poster;
use umbra_core::{Entity, Error, ErrorKind, Result};
use umbra_meta::{Entry, Projection};
use umbra_store::{Bucket, Event, HookAuth, Notifications, event::TIGRIS_RECEIVER};

use super::{AGE_MAX, Filter, Queue, Shared, WAITING_MAX, payload, waiting::Waiting};

/// Events in one post.
const EVENTS_PER_POST: usize = 16;
/// Posts before another queue has its turn.
const POSTS_PER_TURN: usize = 4;

/// How long a turn may have lasted for another post to begin: a receiver that is slow to answer keeps its place no longer.
const TURN_MAX: Duration = Duration::from_secs(2);

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing waits any more.
    Empty,
    /// Something may still wait.
    Over,
}

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

    /// Posts some of what waits in `queue`. Fails when the receiver does, or `stop` says so.
    pub(super) async fn deliver(&self, queue: &Queue, stop: &CancellationToken) -> Result<Turn> {
        let Queue { bucket: name, receiver, organization } = queue;
        let until = self.clock.now().plus(TURN_MAX);
        for _ in 0..POSTS_PER_TURN {
            if self.clock.now() > until {
                break;
            }
            if stop.is_cancelled() {
                return Err(Error::new(ErrorKind::Cancelled, "the server is stopping"));
            }
            let bucket = self.catalog.bucket(name).await?;
            if bucket.organization != *organization {
                return Err(gone());
            }
            // Before it is known whether there is a hook to call: what waits for one that is not set is bounded all the same.
            self.bound(&bucket, receiver).await?;
            self.test(&bucket, receiver).await?;
            let waiting = self.waiting(&bucket);
            let rows = waiting.oldest(receiver, EVENTS_PER_POST, Projection::Full).await?;
            if rows.is_empty() {
                return Ok(Turn::Empty);
            }
            self.post(&bucket, receiver, &self.hook(&bucket, receiver)?, &rows).await?;
            waiting.take_away(rows).await?;
        }
        Ok(Turn::Over)
    }

    pub(super) fn waiting(&self, bucket: &Bucket) -> Waiting<'_> {
        Waiting { meta: &*self.meta, partition: bucket.partition }
    }

    /// Drops what waits too long for `receiver`, and what the bucket has too much of.
    async fn bound(&self, bucket: &Bucket, receiver: &str) -> Result<()> {
        let oldest = u64::try_from(self.clock.now().as_millis()).unwrap_or(0).saturating_sub(AGE_MAX);
        let waiting = self.waiting(bucket);
        let dropped = waiting.drop_older(receiver, oldest).await? + waiting.drop_surplus(WAITING_MAX).await?;
        if dropped > 0 {
            self.metrics.dropped.inc_by(dropped);
            tracing::warn!(bucket = %bucket.name, events = dropped, "events are dropped: they wait too long, or are too many");
        }
        Ok(())
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
        self.send(hook, &document).await?;
        self.metrics.delivered.inc_by(events.len() as u64);
        Ok(())
    }

    /// Posts the test of a receiver that was just set, if it had none yet. The first to be told of it is the first to be told of anything.
    async fn test(&self, bucket: &Bucket, receiver: &str) -> Result<()> {
        let Some(test) = self.bell.test(&bucket.name, receiver) else { return Ok(()) };
        if self.clock.now() < test.at.plus(Duration::from_millis(AGE_MAX)) {
            self.send(&self.hook(bucket, receiver)?, &payload::of_test(bucket, self.catalog.store_id(), &test)).await?;
        }
        self.bell.end_test(&bucket.name, receiver, &test);
        Ok(())
    }

    async fn send(&self, hook: &Hook<'_>, document: &Value) -> Result<()> {
        let answer = hook.poster.post(&hook.url, hook.headers.clone(), Bytes::from(document.to_string())).await;
        let failure = match answer {
            Ok(status) if status.is_success() => return Ok(()),
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
}

fn gone() -> Error {
    Error::not_found(Entity::Setting)
}

fn refused(status: StatusCode) -> Error {
    Error::new(ErrorKind::Unavailable, format!("a receiver of events answered {}", status.as_u16()))
}

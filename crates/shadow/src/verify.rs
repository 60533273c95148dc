//! Verify: compares both sides, key by key, a page at a time.
//!
//! What differs is looked at once more under the key's lock before it is reported: then no write is between the two sides. Nothing here
//! writes anywhere, and without `deep` no content moves.

use umbra_core::{ETag, Error, ErrorKind, ObjectKey, Result};
use umbra_store::{GetOptions, ListedObject, Stored};

use crate::{
    Shadow,
    both::Ahead,
    contents::{Compared, compare},
    difference::{DifferenceKind, Discrepancy},
    examine::{Look, Seen},
    origin::Origin as _,
    slice::Slice,
};

/// How often a key is looked at that keeps changing.
const ATTEMPTS_MAX: usize = 4;

/// What one page of a verification came to.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    /// Behind which key the next page begins; `None` when it was the last.
    pub(crate) next: Option<String>,
    /// Keys that are the same on both sides, and their bytes.
    pub(crate) same: (u64, u64),
    /// Keys that differ.
    pub(crate) found: Vec<Discrepancy>,
    /// Why, where the origin was asked of keys and answered for none: rather a fault of the origin than of those keys.
    pub(crate) silence: Option<Error>,
}

/// What was found of one key.
#[derive(Debug)]
enum Found {
    /// Neither side has it.
    Nothing,
    /// Both sides have the same, of so many bytes.
    Same(u64),
    Differs(Discrepancy),
}

impl Shadow {
    /// Compares the keys behind `after` that begin with `prefix`, as many as the slice of time allows.
    /// What the origin does not tell of single keys is among what was found.
    pub(crate) async fn verify_page(
        &self,
        look: &Look<'_>,
        prefix: &str,
        after: Option<&str>,
        deep: bool,
        slice: &Slice<'_>,
        ahead: &mut Ahead,
    ) -> Result<Verified> {
        let page = self.both_sides(look.bucket, &look.paced, &look.path, prefix, after, ahead).await?;
        let (mut verified, mut answered) = (Verified::default(), false);
        let work = |(key, listed): (ObjectKey, Option<ListedObject>)| async move {
            let outcome = self.verify_key(look, &key, listed.as_ref(), deep).await;
            (key, outcome)
        };
        let take = |key: ObjectKey, outcome: Result<Found>| {
            match outcome {
                Ok(found) => {
                    answered |= !matches!(&found, Found::Differs(found) if found.kind == DifferenceKind::Cold);
                    verified.count(found);
                }
                Err(error) if is_of_origin(error.kind()) => {
                    verified.found.push(not_compared(&key, &error, 0));
                    verified.silence.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
            Ok(())
        };
        let next = page.work_through(look.parallel, slice, work, take).await?;
        let silence = verified.silence.take().filter(|_| !answered);
        Ok(Verified { next, silence, ..verified })
    }

    async fn verify_key(&self, look: &Look<'_>, key: &ObjectKey, listed: Option<&ListedObject>, deep: bool) -> Result<Found> {
        for _ in 0..ATTEMPTS_MAX {
            let view = self.view(look.bucket, key).await?;
            if view.is_cold() && !view.is_dead {
                let cold = |listed: &ListedObject| Found::Differs(Discrepancy::cold(key, listed.size));
                return Ok(listed.map_or(Found::Nothing, cold));
            }
            let mut seen = self.examine(look, &look.paced, key, &view).await?;
            let mut stored = view.object;
            if seen.difference.is_some() {
                let _lock = self.0.locks.lock(look.bucket.partition, key).await;
                let view = self.view(look.bucket, key).await?;
                seen = self.examine(look, &**look.direct(), key, &view).await?;
                stored = view.object;
            }
            match (seen, stored) {
                (Seen { difference: Some(difference), .. }, _) => return Ok(Found::Differs(difference)),
                (Seen { there: Some(there), .. }, Some(stored)) => {
                    let size = stored.object.size;
                    if !deep {
                        return Ok(Found::Same(size));
                    }
                    if let Some(found) = self.compare_contents(look, key, &stored, &there.etag).await? {
                        return Ok(found);
                    }
                }
                _ => return Ok(Found::Nothing),
            }
        }
        Ok(Found::Differs(Discrepancy::new(key, DifferenceKind::NotCompared, "it keeps changing", 0)))
    }

    /// Compares the contents of an object that looks alike on both sides. `None` when it changed under the comparison.
    async fn compare_contents(&self, look: &Look<'_>, key: &ObjectKey, stored: &Stored, etag: &ETag) -> Result<Option<Found>> {
        let size = stored.object.size;
        let unreadable = |error: &Error| format!("cannot be read here: {}", error.message());
        let local = match self.native().open(look.bucket, stored, &GetOptions::default()).await {
            Ok(object) => object.body,
            Err(error) => return self.unless_changed(look, key, stored, unreadable(&error)).await,
        };
        let origin = match look.paced.get(&look.path, key, None, Some(etag)).await {
            Ok(object) => object.body,
            Err(error) if matches!(error.error.kind(), ErrorKind::Precondition | ErrorKind::NotFound(_)) => return Ok(None),
            Err(error) => return Ok(Some(Found::Differs(not_compared(key, &error.error, size)))),
        };
        match compare(local.into_stream(), origin.into_stream()).await {
            Compared::Same => Ok(Some(Found::Same(size))),
            Compared::DifferFrom(at) => self.unless_changed(look, key, stored, format!("the contents differ from byte {at} on")).await,
            Compared::LocalFailed(error) => self.unless_changed(look, key, stored, unreadable(&error)).await,
            Compared::OriginFailed(error) => Ok(Some(Found::Differs(not_compared(key, &error, size)))),
        }
    }

    async fn unless_changed(&self, look: &Look<'_>, key: &ObjectKey, stored: &Stored, detail: String) -> Result<Option<Found>> {
        let now = self.native().find(look.bucket, key).await?;
        if now.is_none_or(|now| now.revision != stored.revision) {
            return Ok(None);
        }
        Ok(Some(Found::Differs(Discrepancy::new(key, DifferenceKind::Content, detail, stored.object.size))))
    }
}

impl Verified {
    fn count(&mut self, found: Found) {
        match found {
            Found::Nothing => {}
            Found::Same(size) => {
                self.same.0 += 1;
                self.same.1 += size;
            }
            Found::Differs(found) => self.found.push(found),
        }
    }
}

/// Whether an error of this kind is the origin's answer, or the lack of one.
pub(crate) const fn is_of_origin(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::OriginUnavailable | ErrorKind::OriginRefused | ErrorKind::Invalid(_) | ErrorKind::Unsupported)
}

fn not_compared(key: &ObjectKey, error: &Error, size: u64) -> Discrepancy {
    Discrepancy::new(key, DifferenceKind::NotCompared, crate::jobs::reason(error), size)
}

//! Verify: compares both sides, key by key, a page at a time.
//!
//! What differs is looked at once more under the key's lock before it is reported: then no write is between the two sides. Nothing here
//! writes anywhere, and without `deep` no content moves.

use futures::{StreamExt, stream};
use umbra_core::{ETag, ErrorKind, ObjectKey, Result};
use umbra_store::{GetOptions, ListedObject, Stored};

use crate::{
    Shadow,
    contents::{Compared, compare},
    difference::{Difference, DifferenceKind},
    examine::{Look, Seen},
};

/// Keys compared by one step: what an origin lists at once.
const PAGE: usize = 1000;
/// Keys whose contents are compared by one step. A step that is cut off reads them again.
const PAGE_DEEP: usize = 32;
/// How often a key is looked at that keeps changing.
const ATTEMPTS_MAX: usize = 4;

/// What one step of a verification came to.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    /// Behind which key the next step begins; `None` when it was the last.
    pub(crate) next: Option<String>,
    /// Keys that are the same on both sides, and their bytes.
    pub(crate) same: (u64, u64),
    /// Bytes of content that left the origin.
    pub(crate) egress: u64,
    /// Keys that differ.
    pub(crate) differences: Vec<(Difference, u64)>,
}

/// What was found of one key.
#[derive(Debug)]
enum Found {
    /// Neither side has it.
    Nothing,
    Same(u64),
    /// They differ; with the size of the object.
    Differs(Difference, u64),
}

impl Shadow {
    /// Compares the keys behind `after` that begin with `prefix`, `parallel` at once.
    ///
    /// Fails only if the origin answered for none of them: what it does not tell of single keys is in the report. With `insists`, that
    /// is too.
    pub(crate) async fn verify_page(
        &self,
        look: &Look<'_>,
        prefix: &str,
        after: Option<&str>,
        deep: bool,
        parallel: usize,
        insists: bool,
    ) -> Result<Verified> {
        let limit = if deep { PAGE_DEEP } else { PAGE };
        let page = self.both_sides(look.bucket, &**look.origin, &look.path, prefix, after, limit).await?;
        let mut verified = Verified { next: page.next, ..Verified::default() };
        let mut answered = insists;
        let mut failed = Vec::new();
        let mut found = stream::iter(page.keys)
            .map(|(key, listed)| async move { (self.verify_key(look, &key, listed.as_ref(), deep).await, key) })
            .buffered(parallel);
        while let Some((outcome, key)) = found.next().await {
            match outcome {
                Ok((found, egress)) => {
                    answered |= !matches!(&found, Found::Differs(difference, _) if difference.kind == DifferenceKind::Cold);
                    verified.egress += egress;
                    verified.count(found);
                }
                Err(error) if is_of_origin(error.kind()) => failed.push((key, error)),
                Err(error) => return Err(error),
            }
        }
        for (key, error) in failed {
            if !answered {
                return Err(error);
            }
            verified.count(Found::Differs(not_compared(&key, &error), 0));
        }
        Ok(verified)
    }

    async fn verify_key(&self, look: &Look<'_>, key: &ObjectKey, listed: Option<&ListedObject>, deep: bool) -> Result<(Found, u64)> {
        let mut egress = 0;
        for _ in 0..ATTEMPTS_MAX {
            let view = self.view(look.bucket, key).await?;
            if view.is_cold() && !view.is_dead {
                return Ok((listed.map_or(Found::Nothing, |listed| cold(key, listed)), egress));
            }
            let mut seen = self.examine(look, key, &view).await?;
            let mut stored = view.object;
            if seen.difference.is_some() {
                let _lock = self.0.locks.lock(look.bucket.partition, key).await;
                let view = self.view(look.bucket, key).await?;
                seen = self.examine(look, key, &view).await?;
                stored = view.object;
            }
            match (seen, stored) {
                (Seen { difference: Some(difference), there }, stored) => {
                    let size = stored.map(|stored| stored.object.size).or(there.map(|there| there.size));
                    return Ok((Found::Differs(difference, size.unwrap_or(0)), egress));
                }
                (Seen { there: Some(there), .. }, Some(stored)) => {
                    let size = stored.object.size;
                    if !deep {
                        return Ok((Found::Same(size), egress));
                    }
                    egress += size;
                    if let Some(found) = self.compare_contents(look, key, stored, &there.etag).await? {
                        return Ok((found, egress));
                    }
                }
                _ => return Ok((Found::Nothing, egress)),
            }
        }
        let detail = "it keeps changing".to_owned();
        Ok((Found::Differs(Difference { key: key.clone(), kind: DifferenceKind::NotCompared, fields: vec![], detail }, 0), egress))
    }

    /// Compares the contents of an object that looks alike on both sides. `None` when it changed under the comparison.
    async fn compare_contents(&self, look: &Look<'_>, key: &ObjectKey, stored: Stored, etag: &ETag) -> Result<Option<Found>> {
        let size = stored.object.size;
        let local = match self.native().open(&stored, &GetOptions::default()).await {
            Ok(object) => object.body,
            Err(error) => return self.unless_changed(look, key, &stored, format!("cannot be read here: {}", error.message())).await,
        };
        let origin = match look.origin.get(&look.path, key, None, Some(etag)).await {
            Ok(object) => object.body,
            Err(error) if matches!(error.error.kind(), ErrorKind::Precondition | ErrorKind::NotFound(_)) => return Ok(None),
            Err(error) => return Ok(Some(Found::Differs(not_compared(key, &error.error), size))),
        };
        match compare(local.into_stream(), origin.into_stream()).await {
            Compared::Same => Ok(Some(Found::Same(size))),
            Compared::DifferFrom(at) => self.unless_changed(look, key, &stored, format!("the contents differ from byte {at} on")).await,
            Compared::LocalFailed(error) => {
                self.unless_changed(look, key, &stored, format!("cannot be read here: {}", error.message())).await
            }
            Compared::OriginFailed(error) => Ok(Some(Found::Differs(not_compared(key, &error), size))),
        }
    }

    async fn unless_changed(&self, look: &Look<'_>, key: &ObjectKey, stored: &Stored, detail: String) -> Result<Option<Found>> {
        let now = self.native().find(look.bucket, key).await?;
        if now.is_none_or(|now| now.revision != stored.revision) {
            return Ok(None);
        }
        let difference = Difference { key: key.clone(), kind: DifferenceKind::Content, fields: vec![], detail };
        Ok(Some(Found::Differs(difference, stored.object.size)))
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
            Found::Differs(difference, size) => self.differences.push((difference, size)),
        }
    }
}

/// Whether an error of this kind is the origin's answer, or the lack of one.
pub(crate) const fn is_of_origin(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::OriginUnavailable | ErrorKind::OriginRefused | ErrorKind::Invalid(_) | ErrorKind::Unsupported)
}

fn cold(key: &ObjectKey, listed: &ListedObject) -> Found {
    let detail = format!("{} bytes at the origin", listed.size);
    Found::Differs(Difference { key: key.clone(), kind: DifferenceKind::Cold, fields: vec![], detail }, listed.size)
}

fn not_compared(key: &ObjectKey, error: &umbra_core::Error) -> Difference {
    Difference { key: key.clone(), kind: DifferenceKind::NotCompared, fields: vec![], detail: error.message().to_owned() }
}

//! What is done to one object or upload that is due.

use umbra_core::{Entity, Error, ErrorKind, ObjectKey, Preconditions, Result};
use umbra_meta::{Check, Entry, Expect, Revision, key};
use umbra_store::{ListedObject, Objects, Stored, Terms, lifecycle::Aging};

use super::pass::Step;
use crate::shadow::writes_through;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Nothing,
    Expire,
    Move(String),
}

impl Step<'_> {
    /// Does what is due to the object that `row` is the head of.
    pub(super) async fn object(&self, row: &Entry) -> Result<()> {
        let listed = ListedObject::decode(row)?;
        let aging = Aging { key: listed.key.as_str(), size: listed.size, since: listed.last_modified, tags: None };
        if self.wanted(&aging, listed.storage_class.as_deref()) == Wanted::Nothing {
            return Ok(());
        }
        // Seen from afar it is due. The whole record decides.
        let Some(Stored { object, revision }) = self.shadow.native().find(self.bucket, &listed.key).await? else { return Ok(()) };
        let aging = Aging { key: listed.key.as_str(), size: object.size, since: object.last_modified, tags: Some(&object.tags) };
        let done = match self.wanted(&aging, object.headers.storage_class.as_deref()) {
            Wanted::Nothing => Ok(()),
            Wanted::Expire => self.expire(&listed.key, revision).await,
            Wanted::Move(class) => {
                let terms = Terms { checks: self.unchanged(&listed.key, revision), ..Terms::default() };
                self.shadow.native().relabel(self.bucket, &listed.key, None, class, terms).await
            }
        };
        unless_changed(done)
    }

    fn wanted(&self, aging: &Aging<'_>, class: Option<&str>) -> Wanted {
        let rules = &self.bucket.settings.extras.lifecycle;
        if rules.expiry(aging, self.day).is_some_and(|(at, _)| at <= self.now) {
            return Wanted::Expire;
        }
        // The class of a copy is its original's, until there is no original any more.
        let is_free = self.bucket.settings.shadow.is_none();
        let class = if is_free { rules.transition(aging, class, self.now, self.day) } else { None };
        class.map_or(Wanted::Nothing, |class| Wanted::Move(class.to_owned()))
    }

    /// Deletes the object of `key` while its record is at `revision`, as a user would.
    async fn expire(&self, key: &ObjectKey, revision: Revision) -> Result<()> {
        let (shadow, bucket) = (self.shadow, self.bucket);
        let unchanged = self.unchanged(key, revision);
        match shadow.origin(bucket)? {
            None => {
                let mut terms = Terms { checks: unchanged, ..Terms::default() };
                terms.expires = true;
                shadow.native().remove(bucket, key, &Preconditions::default(), terms).await.map(drop)
            }
            Some(origin) if writes_through(bucket) => shadow.expire_through(&self.cx, bucket, key, unchanged, origin).await,
            Some(_) => {
                let mut terms = shadow.terms_of_delete(bucket, key);
                terms.checks.extend(unchanged);
                terms.expires = true;
                shadow.remove_here(bucket, key, &Preconditions::default(), terms).await.map(drop)
            }
        }
    }

    /// Ends the upload that `row` is the place of in the index, if it is due.
    pub(super) async fn upload(&self, row: &Entry) -> Result<()> {
        let umbra_store::ListedUpload { key, upload, initiated, .. } = umbra_store::decode_upload_index(row)?;
        let rules = &self.bucket.settings.extras.lifecycle;
        if rules.upload_expiry(key.as_str(), initiated, self.day).is_none_or(|(at, _)| at > self.now) {
            return Ok(());
        }
        if !self.is_current().await? {
            return Ok(());
        }
        match self.shadow.abort_upload(&self.cx, self.bucket, &key, &upload).await {
            // Completed or aborted meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound(Entity::Upload) => Ok(()),
            aborted => aborted,
        }
    }

    /// Holds as long as neither the object nor the rules changed.
    fn unchanged(&self, key: &ObjectKey, revision: Revision) -> Vec<Check> {
        vec![Check { key: key::object(key), expect: Expect::Revision(revision) }, self.settings_unchanged()]
    }
}

/// What changed since it was looked at is not due any more, or is so to the next look.
fn unless_changed(done: Result<(), Error>) -> Result<()> {
    match done {
        Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound(_)) => Ok(()),
        done => done,
    }
}
